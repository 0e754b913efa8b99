//! `check`: reads a configuration as `run` would, and opens no port.

use std::path::Path;

use super::exit::Exit;
use super::output;
use crate::config;

/// Shows the resolved configuration, or everything that is wrong with it.
#[must_use]
pub fn check(path: &Path) -> Exit {
    match config::load(path) {
        Ok(loaded) => {
            for warning in &loaded.warnings {
                output::report(warning);
            }
            output::print(format!("{}ok\n", loaded.config.to_yaml()).as_bytes())
        }
        Err(problems) => {
            output::report(&problems);
            Exit::Configuration
        }
    }
}
