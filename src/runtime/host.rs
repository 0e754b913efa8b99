//! The machine the program runs on.

use nix::sys::utsname::uname;

/// The host's name, where it has one of its own.
#[must_use]
pub fn host_name() -> Option<String> {
    let name = uname().ok()?.nodename().to_str()?.to_owned();
    (!matches!(name.as_str(), "" | "localhost" | "(none)")).then_some(name)
}
