//! The service that runs the gateway, where systemd has one: stopped for the scan, started at the end.

use std::path::Path;
use std::process::{Command, Stdio};

use super::print;
use crate::cli::command_error::CommandError;
use crate::cli::exit::Exit;
use crate::cli::instances::CONFIGURATION;

/// A unit of systemd, or none.
pub(super) struct Service {
    /// `None`: nothing is started.
    name: Option<String>,
    /// Whether the configuration is the packages' own.
    is_default: bool,
    state: State,
}

/// What became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// As it was.
    Untouched,
    /// Stopped, and to be started again.
    Paused,
    /// Started with the new configuration.
    Started,
}

impl Service {
    /// The unit that is `named`, else the packages' own for their configuration.
    pub(super) fn find(named: Option<&str>, config: &Path) -> Self {
        let is_default = config == Path::new(CONFIGURATION);
        let name = named.or(is_default.then_some(SERVICE));
        let name = name.filter(|name| systemctl(&["cat", name])).map(str::to_owned);
        Self { name, is_default, state: State::Untouched }
    }

    pub(super) fn is_default(&self) -> bool {
        self.is_default
    }

    pub(super) fn is_running(&self) -> bool {
        self.name.as_ref().is_some_and(|name| systemctl(&["is-active", "--quiet", name]))
    }

    pub(super) fn is_started(&self) -> bool {
        self.state == State::Started
    }

    /// Stops it for a while.
    ///
    /// # Errors
    /// systemd refuses.
    pub(super) fn pause(&mut self) -> Result<(), CommandError> {
        let Some(name) = &self.name else { return Ok(()) };
        if !systemctl(&["stop", name]) {
            let text = format!("the service cannot be stopped (`systemctl stop {name}`); run this with sudo");
            return Err(CommandError::Failed(Exit::CannotStart, text));
        }
        self.state = State::Paused;
        Ok(())
    }

    /// Starts it with the new configuration, or has it read that; says what to do where there is none.
    ///
    /// # Errors
    /// It does not start.
    pub(super) fn start(&mut self, config: &Path) -> Result<(), CommandError> {
        let Some(name) = &self.name else {
            if self.is_default {
                print(&format!(
                    "There is no service to start; `metergate run` runs the gateway with {}.\n",
                    config.display()
                ));
            }
            return Ok(());
        };
        let verb = if self.is_running() { "reload-or-restart" } else { "start" };
        if !systemctl(&[verb, name]) {
            let text = format!(
                "the configuration is written, but the service does not start with it; `systemctl status {name}` says \
                 why"
            );
            // Trying once more would not help.
            self.state = State::Untouched;
            return Err(CommandError::Failed(Exit::CannotStart, text));
        }
        self.state = State::Started;
        print(&format!("The service {name} runs with it.\n"));
        Ok(())
    }

    /// Starts it again if it is still stopped for the scan.
    pub(super) fn resume(&mut self) {
        if let (State::Paused, Some(name)) = (self.state, &self.name) {
            let is_up = systemctl(&["start", name]);
            let outcome = if is_up { "runs again, as before" } else { "could not be started again" };
            print(&format!("The service {name} {outcome}.\n"));
            self.state = State::Untouched;
        }
    }
}

/// Whether systemctl does it. Where it is missing there is nothing it could do.
fn systemctl(words: &[&str]) -> bool {
    let mut command = Command::new("systemctl");
    command.args(words).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// The packages' unit.
const SERVICE: &str = "metergate";
