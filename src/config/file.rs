//! The file as a whole: from bytes to a checked configuration, or to everything that is wrong with it.
//!
//! Owns the top level's keys; never stops at the first fault it can step over.
//! Contract section 1.

use std::io;
use std::path::Path;

use super::keys::Part;
use super::profiles::{Profiles, read_bounded};
use super::settings::{Config, Loaded, LogLevel};
use super::value::diagnostics_unit;
use super::{bus, cross, listener, status, value, words};
use crate::io::settings::AuditSettings;
use crate::yaml::problem::{Faults, Problems, unreadable};
use crate::yaml::section::Section;
use crate::yaml::text;
use crate::yaml::tree;
use crate::yaml::value::choice;

/// Reads and checks a configuration file.
///
/// # Errors
/// Everything that is wrong with it, a file that cannot be read included.
pub fn load(path: &Path) -> Result<Loaded, Problems> {
    let name = path.display().to_string();
    let cannot_be_read = |error: io::Error| {
        let remedy = if error.kind() == io::ErrorKind::NotFound {
            "; `--config FILE` names another, and `metergate scan /dev/ttyUSB0 > metergate.yaml` makes a first one"
        } else if error.kind() == io::ErrorKind::PermissionDenied {
            "; the user this runs as must be able to read it and to enter its directory"
        } else {
            ""
        };
        unreadable(&name, format!("the file cannot be read: {error}{remedy}"))
    };
    let bytes = read_bounded(path).map_err(cannot_be_read)?;
    parse(text::decode(&bytes, &name)?, &name)
}

/// Checks the text of a configuration file; `file_name` stands in the messages. The files of the profiles its
/// units name are read too.
///
/// # Errors
/// Everything that is wrong with it.
pub fn parse(text: &str, file_name: &str) -> Result<Loaded, Problems> {
    let text = text::bounded(text, file_name)?;
    let mut faults = Faults::new(file_name, text);
    let config = read(text, &mut faults);
    let warnings = faults.finish()?;
    match config {
        Some(config) => Ok(Loaded { config, warnings }),
        // Not reached: a part is missing only where a fault was noted.
        None => Err(unreadable(file_name, "the configuration is incomplete".to_owned())),
    }
}

fn read(text: &str, faults: &mut Faults<'_>) -> Option<Config> {
    let root = text::read(text, "a mapping with listeners and buses", faults)?;
    let section = Section::open(&root, "", Part::File, faults)?;
    let levels = |node: &tree::Node| choice(node, words::LOG_LEVELS, words::log_level);
    let log_level: Option<LogLevel> = section.value("log_level", faults, levels);
    let listeners = section.list("listeners", MAX_LISTENERS, faults).map(|items| {
        let read = |(path, item): (String, &tree::Node)| listener::read(item, &path, faults);
        items.into_iter().map(read).collect::<Vec<_>>()
    });
    let diagnostics_at = section.place_of("diagnostics_unit");
    let diagnostics = section.value("diagnostics_unit", faults, diagnostics_unit);
    let mut profiles = Profiles::of(&section, faults);
    let buses = section.list("buses", MAX_BUSES, faults).map(|items| {
        let read = |(path, item): (String, &tree::Node)| bus::read(item, &path, &mut profiles, faults);
        items.into_iter().map(read).collect::<Vec<_>>()
    });
    for (path, item) in section.list_again("listeners", MAX_LISTENERS) {
        let _dropped = listener::read(item, &path, faults);
    }
    for (path, item) in section.list_again("buses", MAX_BUSES) {
        let _dropped = bus::read(item, &path, &mut profiles, faults);
    }
    let (listeners, buses) = (listeners.unwrap_or_default(), buses.unwrap_or_default());
    let audit = read_audit(&section, faults);
    let routes = cross::check(&listeners, &buses, faults);
    let status = status::read(&section, &listeners, faults);
    if let Some(Some(id)) = diagnostics {
        cross::check_diagnostics(id, &diagnostics_at, &listeners, &routes, &buses, faults);
    }
    let pairs = listeners.into_iter().zip(routes);
    let listeners = pairs.map(|(read, route)| read?.finish(route?)).collect::<Option<_>>()?;
    let buses = buses.into_iter().map(|read| read?.finish()).collect::<Option<_>>()?;
    Some(Config {
        listeners,
        buses,
        log_level: log_level?,
        diagnostics_unit: diagnostics?,
        profiles: profiles.directory()?.to_owned(),
        audit: audit?,
        status: status?,
    })
}

/// Absent: the log only. Reported: `None`. The file itself is not looked at.
fn read_audit(section: &Section<'_, Part>, faults: &mut Faults<'_>) -> Option<Option<AuditSettings>> {
    let Some(node) = section.node("audit") else { return Some(None) };
    let inner = Section::open(node, &section.place_of("audit").key, Part::Audit, faults)?;
    let file = inner.value("file", faults, value::file);
    let max_size = inner.value("max_size", faults, |n| value::bytes(n, MIN_AUDIT, MAX_AUDIT));
    Some(Some(AuditSettings { file: file?, max_size: max_size? }))
}

/// Listeners of one gateway.
const MAX_LISTENERS: usize = 64;
/// Buses of one gateway.
pub(super) const MAX_BUSES: usize = 64;
/// Sizes of the audit file: some hundred writes, and what a small disk holds of it and its predecessors.
const MIN_AUDIT: u64 = 64_000;
const MAX_AUDIT: u64 = 1_000_000_000;
