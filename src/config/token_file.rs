//! Reads the token of the status page from its file, so that `check` refuses an unusable one.

use std::fs::{self, File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::config::Token;

/// Reads the token from a file.
///
/// # Errors
/// The problem, and after a semicolon the remedy.
pub(crate) fn read_token(path: &Path) -> Result<Token, String> {
    let shown = path.display();
    let cannot_be_read = |error: io::Error| {
        let remedy = if error.kind() == io::ErrorKind::NotFound {
            format!("; {MAKE_TOKEN}")
        } else if error.kind() == io::ErrorKind::PermissionDenied {
            "; the service reads it through its group (`chgrp metergate` and `chmod 640`); commands need `sudo`, or a \
             user in that group"
                .to_owned()
        } else {
            String::new()
        };
        format!("found {shown}, which cannot be read: {error}{remedy}")
    };
    // Checked before the file is opened: opening a pipe waits for its writer.
    let metadata = fs::metadata(path).map_err(cannot_be_read)?;
    if !metadata.is_file() {
        return Err(format!("found {shown}, which is not a file; allowed: a file with the token in it"));
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
            "{shown}: {found}; allowed: one line of {} to {} printable ASCII characters without a space ({MAKE_TOKEN})",
            Token::SHORTEST,
            Token::LONGEST
        )
    })
}

fn others_may_read(metadata: &Metadata) -> bool {
    metadata.mode() & 0o007 != 0
}

/// How to make a token.
pub(super) const MAKE_TOKEN: &str = "`metergate token FILE` makes one";

/// Bytes of a line end, and one more to notice that the token is too long.
const LINE_END: u64 = 3;
