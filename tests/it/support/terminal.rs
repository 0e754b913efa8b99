//! A pseudo terminal of a test. No program that another test starts meanwhile inherits it, so the far end is gone when
//! the test lets it go.

use std::fs::{File, OpenOptions};
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use nix::fcntl::OFlag;
use nix::libc::O_NOCTTY;
use nix::pty::{grantpt, posix_openpt, ptsname_r, unlockpt};
use nix::sys::termios::{SetArg, cfmakeraw, tcgetattr, tcsetattr};

pub(crate) struct Terminal {
    /// The meters' end.
    pub(crate) far: File,
    /// What the other end opens.
    pub(crate) device: PathBuf,
    /// The other end, raw, not claimed exclusively: without it the far end would see a hang-up.
    pub(crate) held: OwnedFd,
}

impl Terminal {
    pub(crate) fn open() -> Self {
        let far = posix_openpt(OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC).unwrap();
        grantpt(&far).unwrap();
        unlockpt(&far).unwrap();
        let device = PathBuf::from(ptsname_r(&far).unwrap());
        let held = OpenOptions::new().read(true).write(true).custom_flags(O_NOCTTY).open(&device).unwrap();
        let mut termios = tcgetattr(&held).unwrap();
        cfmakeraw(&mut termios);
        tcsetattr(&held, SetArg::TCSANOW, &termios).unwrap();
        Self { far: OwnedFd::from(far).into(), device, held: held.into() }
    }
}
