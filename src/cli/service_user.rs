//! The user the service runs as: who it is, and seeing files with its eyes.
//!
//! Owns the name the packages give it. It changes nothing but the identity of this process.

use nix::unistd::{Uid, User, initgroups, setgid, setuid};
use std::ffi::CString;

use super::command_error::CommandError;
use super::exit::Exit;

/// The user of the service: the one that is `named`, else the packages' own where it exists.
///
/// # Errors
/// There is no user of that name.
pub(super) fn find(named: Option<&str>) -> Result<Option<User>, CommandError> {
    let name = named.unwrap_or(SERVICE_USER);
    let found = User::from_name(name).map_err(|error| {
        CommandError::Failed(Exit::CannotStart, format!("cannot look up the user {name}: {error}"))
    })?;
    match (found, named) {
        (None, Some(name)) => Err(CommandError::usage(format!("--user: there is no user {name}"))),
        (found, _) => Ok(found),
    }
}

/// Whether this process runs as root.
pub(super) fn is_root() -> bool {
    Uid::effective().is_root()
}

/// Goes on as this user, with its groups, for good: the system itself then judges what it may read and write, access
/// lists and all. To be called while the process has one thread.
///
/// # Errors
/// The system does not allow it.
pub(super) fn switch_to(user: &User) -> Result<(), CommandError> {
    let refused = |error| {
        CommandError::Failed(Exit::CannotStart, format!("cannot go on as the user {}: {error}", user.name))
    };
    let name = CString::new(user.name.as_str()).unwrap_or_default();
    initgroups(&name, user.gid).map_err(refused)?;
    setgid(user.gid).map_err(refused)?;
    setuid(user.uid).map_err(refused)
}

/// As the packages name it.
pub(super) const SERVICE_USER: &str = "metergate";
