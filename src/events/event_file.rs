//! The file that keeps events over restarts: one line of JSON for each beginning, and one more for each end.
//!
//! Of the lines with one number, the last counts. A line that cannot be read is skipped and stays where it is. When the
//! file has grown to its bound it is written anew with the newest events, under another name that then replaces it, so
//! that no moment has half a file.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tracing::{info, warn};

use super::event::Event;

/// Which file, and how large it may grow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventFileSettings {
    /// The file.
    pub file: PathBuf,
    /// It is written anew before it grows beyond this, in bytes.
    pub max_size: u64,
}

/// The file of events. Blocks: a disk may hang.
#[derive(Debug)]
pub struct EventFile {
    settings: EventFileSettings,
    /// What was logged last, until the file can be written again.
    complaint: Option<String>,
    /// The file ends within a line.
    is_torn: bool,
    /// It holds something else than events, and is left alone.
    is_foreign: bool,
}

/// Changes are written together, at most once in so long a time: the file is on a flash card as a rule.
pub const SAVE_PERIOD: Duration = Duration::from_secs(10);

impl EventFile {
    /// The file that `settings` name, and the events in it. One that cannot be read is logged, and has none: events
    /// are no reason for a gateway not to start.
    #[must_use]
    pub fn open(settings: EventFileSettings) -> (Self, Vec<Event>) {
        let mut file = Self { settings, complaint: None, is_torn: false, is_foreign: false };
        let text = match file.read() {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            Err(error) => {
                file.complain(&format!("cannot be read: {error}"));
                String::new()
            }
        };
        file.is_torn = !text.is_empty() && !text.ends_with('\n');
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
        if events.is_empty() && skipped > 0 {
            file.is_foreign = true;
            file.complain(NOT_OURS);
        } else if skipped > 0 {
            warn!(file = %file.shown(), "event file: {skipped} lines are no events and were skipped");
        }
        (file, events.into_values().collect())
    }

    /// What it was opened with.
    #[must_use]
    pub fn settings(&self) -> &EventFileSettings {
        &self.settings
    }

    /// Appends `changed`; or, where the file would grow beyond its bound, writes it anew with the newest of `all`,
    /// which are given the oldest first.
    ///
    /// # Errors
    /// When they are not in the file now. It has been logged, once for as long as it lasts.
    pub fn save(&mut self, changed: &[Event], all: &[Event]) -> io::Result<()> {
        if self.is_foreign {
            return Err(io::Error::other(NOT_OURS));
        }
        let text = lines(changed);
        let size = fs::metadata(&self.settings.file).map_or(0, |file| file.len());
        let saved = if let Err(error) = self.check_kind() {
            Err(error)
        } else if size > 0 && size + text.len() as u64 > self.settings.max_size {
            self.replace(all)
        } else {
            self.append(&text)
        };
        match &saved {
            Ok(()) => {
                if self.complaint.take().is_some() {
                    info!(file = %self.shown(), "the event file is written again");
                }
            }
            Err(error) => self.complain(&format!("cannot be written: {error}; events are kept in memory")),
        }
        saved
    }

    fn read(&self) -> io::Result<String> {
        self.check_kind()?;
        Ok(String::from_utf8_lossy(&fs::read(&self.settings.file)?).into_owned())
    }

    /// Opening a pipe waits for its other end.
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
        // Half of what it may hold, so that it is not written anew at each change.
        // What goes on is kept however old it is.
        let mut room = usize::try_from(self.settings.max_size / 2).unwrap_or(usize::MAX);
        let fits = |event: &&Event| {
            let length = line(event).len();
            let fits = length <= room;
            room = if fits { room - length } else { 0 };
            fits || event.end.is_none()
        };
        let mut kept: Vec<Event> = all.iter().rev().filter(fits).cloned().collect();
        kept.reverse();
        let beside = beside(&self.settings.file);
        let mut file = options().write(true).truncate(true).open(&beside)?;
        file.write_all(lines(&kept).as_bytes())?;
        file.sync_all()?;
        fs::rename(&beside, &self.settings.file)?;
        self.is_torn = false;
        sync_directory(&self.settings.file)
    }

    fn complain(&mut self, complaint: &str) {
        if self.complaint.as_deref() != Some(complaint) {
            warn!(file = %self.shown(), "event file: {complaint}");
            self.complaint = Some(complaint.to_owned());
        }
    }

    fn shown(&self) -> std::path::Display<'_> {
        self.settings.file.display()
    }
}

/// Numbers beyond this are of no list of ours: programs that read JSON may round them.
const ID_MAX: u64 = 1 << 53;

const NOT_OURS: &str = "it holds something else than events and is left alone; name another file";

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

/// The name under which the next file is written before it takes the place of the present one.
fn beside(file: &Path) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(".new");
    name.into()
}

fn sync_directory(file: &Path) -> io::Result<()> {
    let directory = file.parent().filter(|directory| !directory.as_os_str().is_empty());
    File::open(directory.unwrap_or(Path::new(".")))?.sync_all()
}
