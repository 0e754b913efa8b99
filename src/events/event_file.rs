//! The file that keeps events over restarts: one line of JSON for each begin, and one more for each end.
//!
//! The last line with a number counts. A line that cannot be read is skipped and kept. When the file has reached its
//! bound, the newest events are written to a temporary file that then replaces it, so that the file is complete at any
//! moment.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tracing::{info, warn};

use super::event::Event;

/// The file and its size limit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventFileSettings {
    /// The file.
    pub file: PathBuf,
    /// Limit in bytes; the file is rewritten before it grows beyond.
    pub max_size: u64,
}

impl EventFileSettings {
    /// The file, and the one that replaces it.
    pub(crate) fn files(&self) -> [PathBuf; 2] {
        [self.file.clone(), temporary_name(&self.file)]
    }
}

/// The file of events. Its methods block: a disk may hang.
#[derive(Debug)]
pub struct EventFile {
    settings: EventFileSettings,
    /// The last warning, until the file can be written again.
    last_warning: Option<String>,
    /// The length of the file when it was read or written last.
    length: u64,
    /// The last line of the file is incomplete.
    is_torn: bool,
    /// The file holds something else than events and must not be changed.
    is_foreign: bool,
}

/// Changes are collected for this long before they are written: the file is usually on a flash card.
pub const SAVE_PERIOD: Duration = Duration::from_secs(10);

impl EventFile {
    /// Opens the file and reads its events. A file that cannot be read is logged and yields none: events must not keep
    /// the gateway from starting.
    #[must_use]
    pub fn open(settings: EventFileSettings) -> (Self, Vec<Event>) {
        let mut file = Self { settings, last_warning: None, length: 0, is_torn: false, is_foreign: false };
        let text = match file.read() {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            Err(error) => {
                file.warn_once(&format!("cannot be read: {error}"));
                String::new()
            }
        };
        file.length = file.size();
        file.is_torn = !text.is_empty() && !text.ends_with('\n');
        let (events, skipped) = parse(&text);
        if events.is_empty() && skipped > 0 {
            file.is_foreign = true;
            file.warn_once(FOREIGN);
        } else if skipped > 0 {
            warn!(file = %file.shown(), "event file: {skipped} lines are no events and were skipped");
        }
        (file, events.into_values().collect())
    }

    /// The settings it was opened with.
    #[must_use]
    pub fn settings(&self) -> &EventFileSettings {
        &self.settings
    }

    /// Appends `changed`, or rewrites the file with the newest of `all` (oldest first) if it would grow beyond its
    /// limit, or has lost some of its events to another program.
    ///
    /// # Errors
    /// When the events could not be written. The reason has been logged, once until writing works again.
    pub fn save(&mut self, changed: &[Event], all: &[Event]) -> io::Result<()> {
        if self.is_foreign {
            return Err(io::Error::other(FOREIGN));
        }
        let text = lines(changed);
        let size = self.size();
        let is_shortened = size < self.length;
        if is_shortened && size > 0 && self.read().is_ok_and(|text| parse(&text).0.is_empty()) {
            self.is_foreign = true;
            self.warn_once(FOREIGN);
            return Err(io::Error::other(FOREIGN));
        }
        let saved = if let Err(error) = self.check_kind() {
            Err(error)
        } else if is_shortened || size > 0 && size + text.len() as u64 > self.settings.max_size {
            self.replace(all)
        } else {
            self.append(&text)
        };
        match &saved {
            Ok(()) => {
                if is_shortened {
                    let file = self.shown();
                    warn!(%file, "another program removed or shortened the event file; it is written anew");
                }
                self.length = self.size();
                if self.last_warning.take().is_some() {
                    info!(file = %self.shown(), "the event file is written again");
                }
            }
            Err(error) => self.warn_once(&format!("cannot be written: {error}; events are kept in memory")),
        }
        saved
    }

    /// Its present length; 0: it is not there.
    fn size(&self) -> u64 {
        fs::metadata(&self.settings.file).map_or(0, |file| file.len())
    }

    fn read(&self) -> io::Result<String> {
        self.check_kind()?;
        Ok(String::from_utf8_lossy(&fs::read(&self.settings.file)?).into_owned())
    }

    /// Refuses anything but regular files: opening a pipe waits for its other end.
    fn check_kind(&self) -> io::Result<()> {
        match fs::metadata(&self.settings.file) {
            Ok(file) if !file.is_file() => Err(io::Error::other("it is not a regular file")),
            Ok(_) | Err(_) => Ok(()),
        }
    }

    fn append(&mut self, text: &str) -> io::Result<()> {
        let mut file = options().append(true).open(&self.settings.file)?;
        if self.is_torn {
            file.write_all(b"\n")?;
        }
        self.is_torn = true;
        file.write_all(text.as_bytes())?;
        self.is_torn = false;
        file.sync_data()
    }

    fn replace(&mut self, all: &[Event]) -> io::Result<()> {
        // Only half of the limit is used, so that the file is not rewritten at each change. Events without an end are
        // kept at any age.
        let mut room = usize::try_from(self.settings.max_size / 2).unwrap_or(usize::MAX);
        let fits = |event: &&Event| {
            let length = line(event).len();
            let fits = length <= room;
            room = if fits { room - length } else { 0 };
            fits || event.end.is_none()
        };
        let mut kept: Vec<Event> = all.iter().rev().filter(fits).cloned().collect();
        kept.reverse();
        let temporary = temporary_name(&self.settings.file);
        let mut file = options().write(true).truncate(true).open(&temporary)?;
        file.write_all(lines(&kept).as_bytes())?;
        file.sync_all()?;
        fs::rename(&temporary, &self.settings.file)?;
        // The rename has happened, even if the directory cannot be synced.
        self.length = self.size();
        self.is_torn = false;
        sync_directory(&self.settings.file)
    }

    fn warn_once(&mut self, warning: &str) {
        if self.last_warning.as_deref() != Some(warning) {
            warn!(file = %self.shown(), "event file: {warning}");
            self.last_warning = Some(warning.to_owned());
        }
    }

    fn shown(&self) -> std::path::Display<'_> {
        self.settings.file.display()
    }
}

/// The events of a file, by their identifiers, and how many lines are none.
fn parse(text: &str) -> (BTreeMap<u64, Event>, usize) {
    let mut events = BTreeMap::new();
    let mut skipped = 0;
    for line in text.lines().filter(|line| !line.trim().is_empty()) {
        match serde_json::from_str::<Event>(line) {
            Ok(event) if event.id <= ID_MAX => {
                events.insert(event.id, event);
            }
            Ok(_) | Err(_) => skipped += 1,
        }
    }
    (events, skipped)
}

/// Larger numbers are not from this program: JSON readers may round them.
const ID_MAX: u64 = 1 << 53;

const FOREIGN: &str = "it holds something else than events and is left alone; name another file";

fn options() -> OpenOptions {
    let mut options = File::options();
    options.create(true).mode(0o640);
    options
}

fn lines(events: &[Event]) -> String {
    events.iter().map(line).collect()
}

fn line(event: &Event) -> String {
    let mut line = serde_json::to_string(event).expect("an event has no map and no failing part");
    line.push('\n');
    line
}

/// The name under which the next file is written before it replaces the present one.
fn temporary_name(file: &Path) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(".new");
    name.into()
}

fn sync_directory(file: &Path) -> io::Result<()> {
    let directory = file.parent().filter(|directory| !directory.as_os_str().is_empty());
    File::open(directory.unwrap_or(Path::new(".")))?.sync_all()
}
