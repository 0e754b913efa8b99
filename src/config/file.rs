//! The file as a whole: from bytes to a checked configuration, or to everything that is wrong with it.
//!
//! Owns the bounds of the file and the top level's keys; never stops at the first fault it can step over.
//! Contract section 1.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use super::keys::Part;
use super::listener::ListenerRead;
use super::problem::{Faults, Problems, Spot, unreadable};
use super::section::Section;
use super::settings::{Config, Loaded, LogLevel};
use super::tree::{self, top};
use super::value::choice;
use super::{bus, cross, listener, words};

/// Reads and checks a configuration file.
///
/// # Errors
/// Everything that is wrong with it, a file that cannot be read included.
pub fn load(path: &Path) -> Result<Loaded, Problems> {
    let name = path.display().to_string();
    let mut bytes = Vec::new();
    let opened = File::open(path).and_then(|file| file.take(MAX_FILE + 1).read_to_end(&mut bytes));
    if let Err(error) = opened {
        return Err(unreadable(&name, format!("the file cannot be read: {error}")));
    }
    match std::str::from_utf8(&bytes) {
        Ok(text) => parse(text, &name),
        // The bound cuts a long file anywhere, within a character too.
        Err(_) if bytes.len() as u64 > MAX_FILE => Err(too_large(&name)),
        Err(error) => Err(not_utf8(&bytes, error.valid_up_to(), &name)),
    }
}

/// Checks the text of a configuration file; `file_name` stands in the messages.
///
/// # Errors
/// Everything that is wrong with it.
pub fn parse(text: &str, file_name: &str) -> Result<Loaded, Problems> {
    if text.len() as u64 > MAX_FILE {
        return Err(too_large(file_name));
    }
    // The mark some editors put before UTF-8 text says nothing.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
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
    if let Some(spot) = first_control_character(text) {
        let message = "found a control character; allowed: printable text, spaces and ends of line";
        faults.error(&top(spot), message);
        return None;
    }
    let root = tree::read(text, faults)?;
    let section = Section::open(&root, "", Part::File, faults)?;
    let levels = |node: &tree::Node| choice(node, words::LOG_LEVELS, words::log_level);
    let log_level: Option<LogLevel> = section.value("log_level", faults, levels);
    let listeners = section.list("listeners", MAX_LISTENERS, faults).map(|items| {
        let read = |(path, item): (String, &tree::Node)| listener::read(item, &path, faults);
        items.into_iter().map(read).collect::<Vec<_>>()
    });
    let buses = section.list("buses", MAX_BUSES, faults).map(|items| {
        let read = |(path, item): (String, &tree::Node)| bus::read(item, &path, faults);
        items.into_iter().map(read).collect::<Vec<_>>()
    });
    for (path, item) in section.list_again("listeners", MAX_LISTENERS) {
        let _dropped = listener::read(item, &path, faults);
    }
    for (path, item) in section.list_again("buses", MAX_BUSES) {
        let _dropped = bus::read(item, &path, faults);
    }
    let (listeners, buses) = (listeners.unwrap_or_default(), buses.unwrap_or_default());
    let routes = cross::check(&listeners, &buses, faults);
    let settings = |read: Option<ListenerRead>| read.and_then(|read| read.settings);
    let pairs = listeners.into_iter().map(settings).zip(routes);
    let listeners =
        pairs.map(|(settings, route)| cross::listener(settings?, route?)).collect::<Option<_>>()?;
    let buses = buses.into_iter().map(|read| read?.finish()).collect::<Option<_>>()?;
    Some(Config { listeners, buses, log_level: log_level? })
}

fn too_large(name: &str) -> Problems {
    unreadable(name, format!("the file is larger than {} KiB; allowed: up to that", MAX_FILE / 1024))
}

fn not_utf8(bytes: &[u8], at: usize, name: &str) -> Problems {
    let before = String::from_utf8_lossy(&bytes[..at]).into_owned();
    let whole = String::from_utf8_lossy(bytes);
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().map_or(0, |last| last.chars().count()) + 1;
    let utf16 = bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]);
    let found = if utf16 { "UTF-16 text".to_owned() } else { format!("the byte {:02X}", bytes[at]) };
    let mut faults = Faults::new(name, &whole);
    faults
        .error(&top(Spot { line, column, width: 1 }), format!("found {found}; allowed: text saved as UTF-8"));
    match faults.finish() {
        Err(problems) => problems,
        Ok(_) => unreadable(name, "the file is not UTF-8".to_owned()),
    }
}

/// YAML's reader takes a zero for the end of the text, and a lone carriage return for the end of a line.
fn first_control_character(text: &str) -> Option<Spot> {
    let mut spot = Spot::START;
    let mut characters = text.chars().peekable();
    while let Some(c) = characters.next() {
        match c {
            '\n' => spot = Spot { line: spot.line + 1, ..Spot::START },
            '\r' if characters.peek() == Some(&'\n') => {}
            '\t' => spot.column += 1,
            c if c.is_control() => return Some(spot),
            _ => spot.column += 1,
        }
    }
    None
}

/// Bytes of a configuration file.
const MAX_FILE: u64 = 1024 * 1024;
/// Listeners of one gateway.
const MAX_LISTENERS: usize = 64;
/// Buses of one gateway.
pub(super) const MAX_BUSES: usize = 64;
