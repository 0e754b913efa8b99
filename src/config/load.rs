//! Loads a configuration from a file, a text or sections in code, or returns all its problems.

use std::io;
use std::path::{self, Path};

use super::check;
use super::profiles::read_bounded;
use super::section::{
    Audit, Broker, Bus, Events, File, Listener, ListenerSection, MAX_BUSES, OfflineAfter, Rule,
    SerialListener, Sparkplug, StatusPage, StatusTls, Tls, Unit,
};
use super::settings::{Config, Loaded};
use crate::document::{self, Format, Node, Problems, Reader, decode, unreadable};

/// Reads and checks a configuration file.
///
/// # Errors
/// All problems of the file, or that it cannot be read.
pub fn load(path: &Path) -> Result<Loaded, Problems> {
    let name = path.display().to_string();
    let cannot_be_read = |error: io::Error| {
        let help = if error.kind() == io::ErrorKind::NotFound {
            Some(
                "`--config FILE` names another, and `metergate scan /dev/ttyUSB0 > metergate.yaml` makes a first one",
            )
        } else if error.kind() == io::ErrorKind::PermissionDenied {
            Some("the user this runs as must be able to read it and to enter its directory")
        } else {
            None
        };
        unreadable(&name, format!("the file cannot be read: {error}"), help)
    };
    let bytes = read_bounded(path).map_err(cannot_be_read)?;
    parse(decode(&bytes, &name)?, &name)
}

/// Checks the text of a configuration file; `file_name` is shown in messages, and relative paths begin in its folder.
/// Reads the files that it names.
///
/// # Errors
/// All problems of the text.
pub fn parse(text: &str, file_name: &str) -> Result<Loaded, Problems> {
    let (config, warnings) = document::read(text, file_name, &FORMAT, |reader, root| {
        let mut file = read(reader, root)?;
        // Where the process was started is no place for the files of a service.
        let named = Path::new(file_name).parent().filter(|folder| *folder != Path::new(""));
        if let Ok(folder) = path::absolute(named.unwrap_or(Path::new("."))) {
            file.resolve_paths(&folder);
        }
        check::check(&file, reader)
    })?;
    Ok(Loaded { config, warnings })
}

impl TryFrom<File> for Loaded {
    type Error = Problems;

    fn try_from(file: File) -> Result<Self, Problems> {
        let checked = document::without_text("configuration", &FORMAT, |reader| check::check(&file, reader));
        checked.map(|(config, warnings)| Self { config, warnings })
    }
}

impl TryFrom<File> for Config {
    type Error = Problems;

    fn try_from(file: File) -> Result<Self, Problems> {
        Loaded::try_from(file).map(|loaded| loaded.config)
    }
}

/// Reads each listener, bus and unit by itself. Faulty values are reported and have their defaults.
fn read<'n>(reader: &mut Reader<'n, '_>, root: &'n Node) -> Option<File> {
    let mut file: File = reader.section(root, "")?;
    file.listeners =
        reader.sections::<Listener, _>(root, "", "listeners", MAX_LISTENERS, |reader, node, path| {
            let rules =
                reader.sections_if_any::<Rule, _>(node, path, "rules", MAX_RULES, |reader, node, path| {
                    reader.section::<Rule>(node, path).unwrap_or_default()
                });
            if node.entry("device").is_some() {
                let listener = reader.section::<SerialListener>(node, path).unwrap_or_default();
                ListenerSection::Serial(SerialListener { rules, ..listener })
            } else {
                let listener = reader.section::<Listener>(node, path).unwrap_or_default();
                ListenerSection::Tcp(Listener { rules, ..listener })
            }
        });
    file.buses = reader.sections::<Bus, _>(root, "", "buses", MAX_BUSES, |reader, node, path| {
        let mut bus = reader.section::<Bus>(node, path).unwrap_or_default();
        bus.units = reader.sections::<Unit, _>(node, path, "units", MAX_UNITS, |reader, node, path| {
            reader.section::<Unit>(node, path).unwrap_or_default()
        });
        bus
    });
    file.mqtt = reader.sections_or_none::<Broker, _>(root, "", "mqtt", MAX_BROKERS, |reader, node, path| {
        reader.section::<Broker>(node, path).unwrap_or_default()
    });
    Some(file)
}

static FORMAT: Format = Format {
    holds: "a file with `listeners:` and `buses:`",
    sections: &[
        document::section::<File>,
        document::section::<Listener>,
        document::section::<SerialListener>,
        document::section::<Rule>,
        document::section::<Tls>,
        document::section::<Bus>,
        document::section::<OfflineAfter>,
        document::section::<Unit>,
        document::section::<StatusPage>,
        document::section::<StatusTls>,
        document::section::<Audit>,
        document::section::<Events>,
        document::section::<Broker>,
        document::section::<Sparkplug>,
    ],
};

/// Largest number of listeners.
const MAX_LISTENERS: usize = 64;
/// Largest number of rules of a listener.
const MAX_RULES: usize = 64;
/// Largest number of brokers.
const MAX_BROKERS: usize = 8;
/// Largest number of entries of `units`: as many as there are identifiers on a line.
const MAX_UNITS: usize = 255;
