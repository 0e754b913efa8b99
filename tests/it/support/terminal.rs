//! A pseudo terminal of a test. No program that another test starts meanwhile inherits it, so the far end is gone when
//! the test lets it go.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use rustix::fs::{Mode, OFlags};
use rustix::pty::OpenptFlags;
use rustix::termios::OptionalActions;

pub(crate) struct Terminal {
    /// The meters' end.
    pub(crate) far: File,
    /// What the other end opens.
    pub(crate) device: PathBuf,
    /// The other end, raw, without a claim: with nobody there the far end would see a hang-up.
    pub(crate) held: OwnedFd,
}

impl Terminal {
    pub(crate) fn open() -> Self {
        let far =
            rustix::pty::openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
        rustix::pty::grantpt(&far).unwrap();
        rustix::pty::unlockpt(&far).unwrap();
        let name = rustix::pty::ptsname(&far, Vec::new()).unwrap();
        let device = PathBuf::from(name.into_string().unwrap());
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
        let held = rustix::fs::open(&device, flags, Mode::empty()).unwrap();
        let mut termios = rustix::termios::tcgetattr(&held).unwrap();
        termios.make_raw();
        rustix::termios::tcsetattr(&held, OptionalActions::Now, &termios).unwrap();
        Self { far: far.into(), device, held }
    }
}
