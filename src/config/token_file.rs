//! The token of the status page, read from its file, so that `check` refuses one that cannot be used.

use std::fs::{self, File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::config::Token;

/// The token in a file.
///
/// # Errors
/// What is wrong, and after a semicolon what would be right.
pub(crate) fn read_token(path: &Path) -> Result<Token, String> {
    let shown = path.display();
    let cannot_be_read = |error: io::Error| {
        let remedy = if error.kind() == io::ErrorKind::NotFound {
            format!("; {MAKE_ONE}")
        } else if error.kind() == io::ErrorKind::PermissionDenied {
            "; the service reads it through its group (`chgrp metergate` and `chmod 640`); commands need `sudo`, or a \
             user in that group"
                .to_owned()
        } else {
            String::new()
        };
        format!("found {shown}, which cannot be read: {error}{remedy}")
    };
    // Checked before it is opened: opening a pipe waits for its writer.
    let metadata = fs::metadata(path).map_err(cannot_be_read)?;
    if !metadata.is_file() {
        return Err(format!("found {shown}, which is no file; allowed: a file with the token in it"));
    }
    if others_may_read(&metadata) {
        return Err(format!(
            "found {shown}, which every user of this machine can read; `chmod o= {shown}` would do"
        ));
    }
    let file = File::open(path).map_err(cannot_be_read)?;
    let mut bytes = Vec::new();
    let most = u64::try_from(Token::LONGEST).unwrap_or(u64::MAX) + LINE_END;
    file.take(most).read_to_end(&mut bytes).map_err(cannot_be_read)?;
    let text = String::from_utf8(bytes).unwrap_or_else(|_| "\u{fffd}".to_owned());
    Token::parse(&text).map_err(|found| {
        format!(
            "{shown}: {found}; allowed: one line of {} to {} printable ASCII characters without a space ({MAKE_ONE})",
            Token::SHORTEST,
            Token::LONGEST
        )
    })
}

fn others_may_read(metadata: &Metadata) -> bool {
    metadata.mode() & 0o007 != 0
}

/// How a user gets a token.
pub(super) const MAKE_ONE: &str = "`metergate token FILE` makes one";

/// Bytes after the token that do not belong to it, and one more to tell that it is too long.
const LINE_END: u64 = 3;
