//! Reads a secret from its file: the token of the status page, the password for a broker. So `check` refuses an unusable
//! one.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::config::{NotAToken, Token};
use crate::document::Reader;
use crate::mqtt::{NotAPassword, Password};

/// Why there is no secret in a file.
#[derive(Debug)]
pub(crate) struct SecretFileError {
    path: PathBuf,
    secret: Secret,
    reason: Reason,
}

/// What a file is to hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Secret {
    Token,
    Password,
}

#[derive(Debug)]
enum Reason {
    Unreadable(io::Error),
    NotAFile,
    NotAToken(NotAToken),
    NotAPassword(NotAPassword),
}

impl SecretFileError {
    /// What to do about it.
    pub(crate) fn remedy(&self) -> String {
        match &self.reason {
            Reason::Unreadable(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                "the service reads it through its group (`chgrp metergate` and `chmod 640`); commands need `sudo`, or a \
                 user in that group"
                    .to_owned()
            }
            Reason::Unreadable(_) => match self.secret {
                Secret::Token => MAKE_TOKEN.to_owned(),
                Secret::Password => {
                    "make it with the password in its only line, readable for the service's group alone".to_owned()
                }
            },
            Reason::NotAFile => match self.secret {
                Secret::Token => "allowed: a file with the token in it".to_owned(),
                Secret::Password => "allowed: a file with the password in it".to_owned(),
            },
            Reason::NotAToken(_) => format!(
                "allowed: one line of {} to {} printable ASCII characters without a space ({MAKE_TOKEN})",
                Token::SHORTEST,
                Token::LONGEST
            ),
            Reason::NotAPassword(_) => {
                format!("allowed: one line with the password, of at most {} bytes", Password::LONGEST)
            }
        }
    }
}

impl fmt::Display for SecretFileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display();
        match &self.reason {
            Reason::Unreadable(error) => write!(f, "found {path}, which cannot be read: {error}"),
            Reason::NotAFile => write!(f, "found {path}, which is not a file"),
            Reason::NotAToken(why) => write!(f, "{path}: {why}"),
            Reason::NotAPassword(why) => write!(f, "{path}: {why}"),
        }
    }
}

impl std::error::Error for SecretFileError {}

/// Reads the token from a file.
///
/// # Errors
/// The file cannot be read, or it holds no token.
pub(crate) fn read_token(path: &Path) -> Result<Token, SecretFileError> {
    let token = read(path, Token::LONGEST).and_then(|text| Token::parse(&text).map_err(Reason::NotAToken));
    token.map_err(|reason| SecretFileError { path: path.to_owned(), secret: Secret::Token, reason })
}

/// Reads the password for a broker from a file.
///
/// # Errors
/// The file cannot be read, or it holds no password.
pub(super) fn read_password(path: &Path) -> Result<Password, SecretFileError> {
    let text = read(path, Password::LONGEST);
    let password = text.and_then(|text| Password::parse(&text).map_err(Reason::NotAPassword));
    password.map_err(|reason| SecretFileError { path: path.to_owned(), secret: Secret::Password, reason })
}

/// The text of a file, of which at most `longest` bytes and a line end are needed.
fn read(path: &Path, longest: usize) -> Result<String, Reason> {
    // Checked before the file is opened: opening a pipe waits for its writer.
    let metadata = fs::metadata(path).map_err(Reason::Unreadable)?;
    if !metadata.is_file() {
        return Err(Reason::NotAFile);
    }
    let file = File::open(path).map_err(Reason::Unreadable)?;
    let mut bytes = Vec::new();
    let most = u64::try_from(longest).unwrap_or(u64::MAX) + LINE_END;
    file.take(most).read_to_end(&mut bytes).map_err(Reason::Unreadable)?;
    Ok(String::from_utf8(bytes).unwrap_or_else(|_| char::REPLACEMENT_CHARACTER.to_string()))
}

/// Warns of a secret at a key of the configuration that every user of this machine can read.
pub(super) fn warn_if_exposed(path: &Path, key: &str, reader: &mut Reader<'_, '_>) {
    let is_exposed =
        fs::metadata(path).is_ok_and(|metadata| metadata.is_file() && metadata.mode() & OTHERS != 0);
    if is_exposed && reader.is_sound(key) {
        let what = format!("every user of this machine can read {}", path.display());
        let help =
            format!("take it from them (`chmod o= {}`); if it was long so, make a new one", path.display());
        reader.warning(key, &what, &help);
    }
}

/// The permissions of all users but the owner and the group.
const OTHERS: u32 = 0o007;

/// How to make a token.
pub(super) const MAKE_TOKEN: &str = "`metergate token FILE` makes one";

/// Bytes of a line end, and one more to notice that the secret is too long.
const LINE_END: u64 = 3;
