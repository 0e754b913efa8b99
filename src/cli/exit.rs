//! How the process ends: the exit codes that scripts and service managers rely on (docs/cli.md).

use std::process::ExitCode;

/// The end of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// 0: it did what was asked.
    Ok,
    /// 1: it ran and found a fault, or broke off.
    Fault,
    /// 2: the command line is wrong.
    Usage,
    /// 3: the configuration is wrong.
    Configuration,
    /// 4: an address cannot be listened on.
    CannotBind,
    /// 5: something else it needs cannot be had.
    CannotStart,
}

impl Exit {
    /// The number the system is given.
    #[must_use]
    pub fn code(self) -> u8 {
        match self {
            Self::Ok => 0,
            Self::Fault => 1,
            Self::Usage => 2,
            Self::Configuration => 3,
            Self::CannotBind => 4,
            Self::CannotStart => 5,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}
