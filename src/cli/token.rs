//! `token`: a file with a new token for the status page, which the service can read and other users cannot.
//!
//! Owns how it is made: random bytes of the system, complete or not there, and never over a file that is there unless
//! that is asked for. What a token may look like is `config`'s.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

use nix::unistd::{Uid, User};

use super::args::Token;
use super::command_error::CommandError;
use super::exit::Exit;
use super::{output, service_user};

/// Makes the file, and says what to do with it.
#[must_use]
pub fn token(args: &Token) -> Exit {
    let overwrite = if args.force { Overwrite::Allowed } else { Overwrite::Refused };
    match make(&args.file, args.user.as_deref(), overwrite) {
        Ok(made) => output::print(&output::escape(made.instructions().as_bytes())),
        Err(stop) => stop.report(),
    }
}

/// What becomes of a file that is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Overwrite {
    /// The new one takes its place.
    Allowed,
    /// It stays.
    Refused,
}

/// A token file that was made.
#[derive(Debug)]
pub(super) struct Made {
    path: PathBuf,
    readers: Readers,
}

/// Who can read it.
#[derive(Debug)]
enum Readers {
    /// Root, and the service through its group.
    Service { user: String },
    /// The user who made it, who is to run the gateway too.
    Own,
    /// The user who made it, who could not hand it to the service.
    NotService { user: String },
}

/// Makes a token file for the service, whose user may be `named`.
///
/// # Errors
/// It is there, or cannot be made.
pub(super) fn make(path: &Path, named: Option<&str>, overwrite: Overwrite) -> Result<Made, CommandError> {
    let user = service_user::find(named)?;
    let cannot = |path: &Path, error: &io::Error| {
        CommandError::Failed(Exit::Fault, format!("cannot make {}: {error}", path.display()))
    };
    let path = std::path::absolute(path).map_err(|error| cannot(path, &error))?;
    let failed = |error: io::Error| {
        if error.kind() == io::ErrorKind::AlreadyExists {
            let text = format!(
                "{} is there already; --force puts a new token in its place, and locks out all who use the old one",
                path.display()
            );
            return CommandError::Failed(Exit::Fault, text);
        }
        cannot(&path, &error)
    };
    if overwrite == Overwrite::Refused && path.symlink_metadata().is_ok() {
        return Err(failed(io::ErrorKind::AlreadyExists.into()));
    }
    let readers = write(&path, user.as_ref(), overwrite).map_err(failed)?;
    Ok(Made { path, readers })
}

/// Writes it under another name and gives it its own at the end, so that it is never seen half made.
fn write(path: &Path, user: Option<&User>, overwrite: Overwrite) -> io::Result<Readers> {
    let mut name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?.to_owned();
    name.push(format!(".{}", std::process::id()));
    let unfinished = path.with_file_name(name);
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&unfinished)?;
    let done = fill(file, user).and_then(|readers| {
        match overwrite {
            Overwrite::Allowed => fs::rename(&unfinished, path)?,
            // Unlike a renaming this fails where a file is.
            Overwrite::Refused => fs::hard_link(&unfinished, path)?,
        }
        Ok(readers)
    });
    if overwrite == Overwrite::Refused || done.is_err() {
        let _no_more_than_a_stray_file = fs::remove_file(&unfinished);
    }
    done
}

fn fill(mut file: File, user: Option<&User>) -> io::Result<Readers> {
    writeln!(file, "{}", random_token()?)?;
    let readers = match user {
        Some(user) if user.uid == Uid::effective() => Readers::Own,
        Some(user) if service_user::is_root() => {
            fchown(&file, None, Some(user.gid.as_raw()))?;
            file.set_permissions(Permissions::from_mode(0o640))?;
            Readers::Service { user: user.name.clone() }
        }
        Some(user) => Readers::NotService { user: user.name.clone() },
        None => Readers::Own,
    };
    file.sync_all()?;
    Ok(readers)
}

/// 32 bytes of the system's random numbers, as 64 hexadecimal digits.
fn random_token() -> io::Result<String> {
    let mut bytes = [0; 32];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

impl Made {
    /// The value of the key `status` that uses it.
    pub(super) fn status_value(&self, address: &str) -> String {
        // JSON's quotes are YAML's, too.
        let path = serde_json::Value::from(self.path.display().to_string());
        format!("{{address: {address}, token_file: {path}}}")
    }

    fn instructions(&self) -> String {
        let path = self.path.display();
        let (readers, sudo) = match &self.readers {
            Readers::Service { user } => {
                (format!("the service's user {user} can read it, other users cannot"), "sudo ")
            }
            Readers::Own => ("only you can read it".to_owned(), ""),
            Readers::NotService { user } => (
                format!(
                    "only you can read it, so the service, which runs as {user}, cannot; make it with sudo for the \
                     service"
                ),
                "",
            ),
        };
        let reload = match self.readers {
            Readers::Service { .. } => "sudo systemctl reload metergate",
            Readers::Own | Readers::NotService { .. } => "kill -HUP PID   # of the running gateway",
        };
        format!(
            "{path}: a new token; {readers}.\n\nPut this into the configuration, in place of the key `status` if it \
             has one:\n\nstatus:\n  {}\n\nThen check and reload it:\n\n  {sudo}metergate check && {reload}\n\nA \
             browser asks for a name and a password: any name, and the token ({sudo}cat {path}).\n",
            self.status_value("0.0.0.0:8502"),
        )
    }
}
