//! The chain that `simulate` and `demo` run: from a scenario's file, or from the command line alone.
//!
//! Owns reading the file, opening the chain, and what is said of either; what stands in the file is `simulator`'s.

use std::path::Path;

use super::args::Units;
use super::exit::Exit;
use super::output;
use crate::config::read_bounded;
use crate::document::{Problems, decode, unreadable};
use crate::simulator::{Chain, ChainSettings, fault_schedule, scenario};

/// Reads a scenario. What is wrong with it is reported, and the exit code is the one of a wrong configuration.
pub(super) fn load(path: &Path) -> Result<ChainSettings, Exit> {
    read(path).map_err(|problems| {
        output::report(&problems);
        Exit::Configuration
    })
}

/// The chain of these settings, on a pseudo terminal. That none can be had is reported.
pub(super) fn open(settings: ChainSettings) -> Result<(Chain, ChainSettings), Exit> {
    match Chain::open(settings.clone()) {
        Ok(chain) => Ok((chain, settings)),
        Err(error) => {
            output::complain(&format!("no pseudo terminal can be had: {error}"));
            Err(Exit::CannotStart)
        }
    }
}

fn read(path: &Path) -> Result<ChainSettings, Problems> {
    let name = path.display().to_string();
    let cannot_be_read = |error| unreadable(&name, format!("the file cannot be read: {error}"), None);
    let bytes = read_bounded(path).map_err(cannot_be_read)?;
    scenario::parse(decode(&bytes, &name)?, &name)
}

/// The identifiers on the line, each once.
pub(super) fn units(chain: &ChainSettings) -> Units {
    Units::of(chain.meters.iter().map(|meter| meter.unit))
}

/// What will go wrong, for people; empty where nothing will.
pub(super) fn fault_schedule(chain: &ChainSettings) -> String {
    let lines = fault_schedule::fault_schedule(chain);
    if lines.is_empty() {
        return String::new();
    }
    let lines: Vec<_> = lines.into_iter().map(|line| format!("  {line}\n")).collect();
    format!("What goes wrong, after the start:\n{}\n", lines.concat())
}
