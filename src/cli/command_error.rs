//! Why a command goes no further: the exit code and what to say.
//!
//! Lets the steps of a command return with `?`. It never prints before the command has ended.

use super::exit::Exit;
use super::output;
use crate::client::Failure;
use crate::document::{Problem, Problems};

/// The end of a command that could not do what it was asked.
#[derive(Debug)]
pub enum CommandError {
    /// With this exit code, saying this.
    Failed(Exit, String),
    /// A file has faults, which name it and their places.
    Faulty(Problems),
}

impl CommandError {
    /// The command line is wrong.
    pub(super) fn usage(text: impl Into<String>) -> Self {
        Self::Failed(Exit::Usage, text.into())
    }

    /// The target cannot be reached.
    pub(super) fn unreachable(failure: &Failure) -> Self {
        Self::Failed(Exit::CannotStart, failure.to_string())
    }

    /// What is wrong, in one line.
    pub(super) fn headline(&self) -> String {
        match self {
            Self::Failed(_, text) => text.clone(),
            Self::Faulty(problems) => {
                problems.errors().first().map_or_else(|| problems.to_string(), Problem::headline)
            }
        }
    }

    /// Prints it on stderr. Returns the exit code.
    #[must_use]
    pub fn report(&self) -> Exit {
        match self {
            Self::Failed(exit, text) => {
                output::complain(text);
                *exit
            }
            Self::Faulty(problems) => {
                output::report(problems);
                Exit::Configuration
            }
        }
    }
}

impl From<Problems> for CommandError {
    fn from(problems: Problems) -> Self {
        Self::Faulty(problems)
    }
}
