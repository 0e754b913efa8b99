//! Reads the token of the status page from its file, so that `check` refuses an unusable one.

use std::fmt;
use std::fs::{self, File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::config::{NotAToken, Token};

/// Why there is no token in a file.
#[derive(Debug)]
pub(crate) struct TokenFileError {
    path: PathBuf,
    reason: Reason,
}

#[derive(Debug)]
enum Reason {
    Unreadable(io::Error),
    NotAFile,
    ReadableByOthers,
    NotAToken(NotAToken),
}

impl TokenFileError {
    /// What to do about it.
    pub(crate) fn remedy(&self) -> String {
        match &self.reason {
            Reason::Unreadable(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                "the service reads it through its group (`chgrp metergate` and `chmod 640`); commands need `sudo`, or a \
                 user in that group"
                    .to_owned()
            }
            Reason::Unreadable(_) => MAKE_TOKEN.to_owned(),
            Reason::NotAFile => "allowed: a file with the token in it".to_owned(),
            Reason::ReadableByOthers => format!("`chmod o= {}` would do", self.path.display()),
            Reason::NotAToken(_) => format!(
                "allowed: one line of {} to {} printable ASCII characters without a space ({MAKE_TOKEN})",
                Token::SHORTEST,
                Token::LONGEST
            ),
        }
    }
}

impl fmt::Display for TokenFileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display();
        match &self.reason {
            Reason::Unreadable(error) => write!(f, "found {path}, which cannot be read: {error}"),
            Reason::NotAFile => write!(f, "found {path}, which is not a file"),
            Reason::ReadableByOthers => {
                write!(f, "found {path}, which every user of this machine can read")
            }
            Reason::NotAToken(why) => write!(f, "{path}: {why}"),
        }
    }
}

impl std::error::Error for TokenFileError {}

/// Reads the token from a file.
///
/// # Errors
/// The file cannot be read, others can read it, or it holds no token.
pub(crate) fn read_token(path: &Path) -> Result<Token, TokenFileError> {
    read(path).map_err(|reason| TokenFileError { path: path.to_owned(), reason })
}

fn read(path: &Path) -> Result<Token, Reason> {
    // Checked before the file is opened: opening a pipe waits for its writer.
    let metadata = fs::metadata(path).map_err(Reason::Unreadable)?;
    if !metadata.is_file() {
        return Err(Reason::NotAFile);
    }
    if others_may_read(&metadata) {
        return Err(Reason::ReadableByOthers);
    }
    let file = File::open(path).map_err(Reason::Unreadable)?;
    let mut bytes = Vec::new();
    let most = u64::try_from(Token::LONGEST).unwrap_or(u64::MAX) + LINE_END;
    file.take(most).read_to_end(&mut bytes).map_err(Reason::Unreadable)?;
    let text = String::from_utf8(bytes).unwrap_or_else(|_| "\u{fffd}".to_owned());
    Token::parse(&text).map_err(Reason::NotAToken)
}

fn others_may_read(metadata: &Metadata) -> bool {
    metadata.mode() & 0o007 != 0
}

/// How to make a token.
pub(super) const MAKE_TOKEN: &str = "`metergate token FILE` makes one";

/// Bytes of a line end, and one more to notice that the token is too long.
const LINE_END: u64 = 3;
