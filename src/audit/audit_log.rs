//! The audit file: one line of JSON for each write, synced to the disk by a thread of its own.
//!
//! Owns the file, its size and its rotated predecessors. Appending never waits: if the thread cannot keep up or the
//! disk is full, lines are lost, counted, and their number is reported, in the log and in the file.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TryRecvError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, SystemTime};

use nix::libc;
use tokio::time::Instant;
use tracing::{error, info, warn};

use crate::audit::audit_state::AuditState;
use crate::audit::settings::{AuditSettings, KEPT, numbered};
use crate::runtime::timestamp::utc;
use crate::runtime::{LogKind, LogRateLimiter};

/// The handle of the thread that writes the audit file. The thread ends with the last handle, after it has written
/// everything appended.
#[derive(Debug)]
pub struct AuditLog {
    settings: AuditSettings,
    commands: SyncSender<AuditCommand>,
    /// Lines whose loss is not in the file yet.
    lost: Arc<AtomicU64>,
    state: Arc<AuditState>,
    ended: Mutex<Receiver<()>>,
}

#[derive(Debug)]
enum AuditCommand {
    Line(String),
    Reopen,
}

impl AuditLog {
    /// Opens the file, creates it if it is missing, and starts its thread.
    ///
    /// # Errors
    /// If the file cannot be opened for appending.
    pub fn open(settings: &AuditSettings) -> io::Result<Self> {
        let file = open(&settings.file)?;
        let (commands, receiver) = sync_channel(WAITING_MAX);
        let (ending, ended) = sync_channel(1);
        let lost = Arc::new(AtomicU64::new(0));
        let state = Arc::new(AuditState::new(settings.file.clone()));
        let mut writer = Writer {
            settings: settings.clone(),
            size: size_of(&file),
            file,
            is_torn: false,
            lost: Arc::clone(&lost),
            state: Arc::clone(&state),
            log_limiter: LogRateLimiter::new(),
            complaint: None,
            naming_complaint: None,
            retry: RETRY,
        };
        thread::Builder::new().name("audit".into()).spawn(move || {
            writer.run(&receiver);
            // The receiver is gone if the process did not wait.
            let _ignored = ending.try_send(());
        })?;
        Ok(Self { settings: settings.clone(), commands, lost, state, ended: Mutex::new(ended) })
    }

    /// The settings it was opened with.
    #[must_use]
    pub fn settings(&self) -> &AuditSettings {
        &self.settings
    }

    /// Its state, for those who watch the gateway.
    #[must_use]
    pub fn state(&self) -> &Arc<AuditState> {
        &self.state
    }

    /// Appends a line, given without its end. Never waits: if the queue is full the line is counted as lost.
    pub fn append(&self, line: String) {
        if self.commands.try_send(AuditCommand::Line(line)).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
            self.state.note_lost(1);
        }
    }

    /// Requests the file to be reopened by its name, after another program has moved it.
    pub fn reopen(&self) {
        // With the queue full the file is being written to; the rotation can be requested again.
        if self.commands.try_send(AuditCommand::Reopen).is_err() {
            warn!("the audit file was not reopened: too many lines are waiting to be written");
        }
    }

    /// Waits until everything is written, but only up to a limit: a disk may hang.
    pub fn close(self) {
        let Self { commands, ended, settings, .. } = self;
        drop(commands);
        let ended = ended.into_inner().unwrap_or_else(PoisonError::into_inner);
        if ended.recv_timeout(CLOSING_MAX) == Err(RecvTimeoutError::Timeout) {
            error!(file = %settings.file.display(), "the audit file cannot be written; its last lines are lost");
        }
    }
}

struct Writer {
    settings: AuditSettings,
    file: File,
    size: u64,
    /// Whether it ends in part of a line that could not be written in full.
    is_torn: bool,
    lost: Arc<AtomicU64>,
    state: Arc<AuditState>,
    /// Limits log lines: a disk may be full and free again many times a second.
    log_limiter: LogRateLimiter,
    /// The complaint in the log, until writing works again.
    complaint: Option<String>,
    /// The complaint in the log about the file's name, until a new file could be begun: written lines do not end it.
    naming_complaint: Option<String>,
    /// How often the disk is tried while lines are missing.
    retry: Duration,
}

impl Writer {
    fn run(&mut self, commands: &Receiver<AuditCommand>) {
        loop {
            let first = match commands.recv_timeout(self.patience()) {
                Ok(first) => first,
                Err(RecvTimeoutError::Timeout) => {
                    self.report_lost();
                    continue;
                }
                Err(RecvTimeoutError::Disconnected) => return,
            };
            let mut text = String::new();
            let mut lines = 0;
            let mut next = Ok(first);
            // Waiting lines are written together, with one sync for all.
            loop {
                match next {
                    Ok(AuditCommand::Line(line)) => {
                        text.push_str(&line);
                        text.push('\n');
                        lines += 1;
                    }
                    Ok(AuditCommand::Reopen) => {
                        self.write(&std::mem::take(&mut text), std::mem::take(&mut lines));
                        self.reopen();
                    }
                    Err(TryRecvError::Empty | TryRecvError::Disconnected) => break,
                }
                if text.len() >= BATCH_SIZE {
                    break;
                }
                next = commands.try_recv();
            }
            self.write(&text, lines);
            self.report_lost();
        }
    }

    /// How long to wait for the next line: what is missing is reported as soon as the disk takes it, not with the next
    /// write, which may come in a week.
    fn patience(&self) -> Duration {
        let is_missing = self.complaint.is_some() || self.lost.load(Ordering::Relaxed) > 0;
        if is_missing { self.retry } else { Duration::MAX }
    }

    fn write(&mut self, text: &str, lines: u64) {
        if text.is_empty() {
            return;
        }
        let followed = self.follow_name();
        if followed.is_ok() && self.is_full_for(text) {
            self.make_room();
        }
        if let Err(error) = followed.and_then(|()| self.append(text)) {
            self.lost.fetch_add(lines, Ordering::Relaxed);
            self.state.note_lost(lines);
            self.complain(&format!("cannot write: {error}"));
        }
    }

    /// Notices what another program did to the file. Three calls of the system are nothing beside the sync of each write,
    /// and lines in a file that was removed would be lost in silence.
    ///
    /// # Errors
    /// The file was removed, and no other can be begun under its name.
    fn follow_name(&mut self) -> io::Result<()> {
        let Ok(written) = self.file.metadata() else { return Ok(()) };
        if !written.is_file() {
            return Ok(());
        }
        if self.has_its_name() {
            let (before, now) = (self.size, written.len());
            if now < before {
                self.warn(&format!("another program shortened the audit file from {before} to {now} bytes"));
            }
            (self.size, self.is_torn) = (now, self.is_torn && now > 0);
            return Ok(());
        }
        match open(&self.settings.file) {
            Ok(file) => {
                self.take(file);
                self.warn("another program moved or removed the audit file; it is begun anew");
                Ok(())
            }
            Err(error) if written.nlink() == 0 => {
                let what = format!("another program removed the file, and it cannot be begun anew: {error}");
                Err(io::Error::new(error.kind(), what))
            }
            Err(error) => {
                self.complain_of_name(&format!("cannot be reopened, the old one is continued: {error}"));
                Ok(())
            }
        }
    }

    /// Appends whole lines. If only a part of them can be written, that part stays, because the file is never cut; the
    /// next line begins behind it.
    fn append(&mut self, text: &str) -> io::Result<()> {
        if self.is_torn {
            self.file.write_all(b"\n")?;
            self.size += 1;
            self.is_torn = false;
        }
        let mut rest = text.as_bytes();
        while !rest.is_empty() {
            let written = match self.file.write(rest) {
                Ok(0) => Err(io::ErrorKind::WriteZero.into()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                written => written,
            };
            let length = written.inspect_err(|_| self.is_torn = rest.len() < text.len())?;
            self.size += length as u64;
            rest = &rest[length..];
        }
        sync(&self.file)
    }

    /// Reports once that writes are missing, in the file if it can be written, else with the next line it accepts.
    fn report_lost(&mut self) {
        let lost = self.lost.swap(0, Ordering::Relaxed);
        if lost == 0 && self.complaint.is_none() {
            return;
        }
        let text = format!("{{\"time\":\"{}\",\"lost\":{lost}}}\n", utc(SystemTime::now()));
        if lost == 0 {
            // The last lines went through.
            self.end_complaint();
            return;
        }
        match self.follow_name().and_then(|()| self.append(&text)) {
            Ok(()) => {
                self.end_complaint();
                if let Some(held_back) = self.log_limiter.permit(LogKind::AuditFile, Instant::now()) {
                    let file = self.settings.file.display();
                    warn!(%file, lost, held_back, "writes are missing from the audit file");
                }
            }
            Err(error) => {
                self.lost.fetch_add(lost, Ordering::Relaxed);
                self.complain(&format!("cannot write: {error}"));
            }
        }
    }

    fn is_full_for(&self, text: &str) -> bool {
        self.size > 0 && self.size + text.len() as u64 > self.settings.max_size
    }

    /// Whether the name still leads to the file that is written.
    fn has_its_name(&self) -> bool {
        match (self.file.metadata(), fs::metadata(&self.settings.file)) {
            (Ok(written), Ok(named)) => (written.dev(), written.ino()) == (named.dev(), named.ino()),
            (Err(_), _) | (_, Err(_)) => false,
        }
    }

    fn make_room(&mut self) {
        if !self.file.metadata().is_ok_and(|file| file.is_file()) {
            // A pipe or a device has no size.
            self.size = 0;
            return;
        }
        // One that has lost its name is no predecessor, and none needs to be rotated.
        if self.has_its_name() {
            self.rotate();
        }
    }

    /// The file becomes the first of its predecessors, and the oldest is deleted.
    fn rotate(&mut self) {
        let path = &self.settings.file;
        let first = numbered(path, 1);
        let moved = shift(path).and_then(|()| fs::rename(path, &first)).and_then(|()| {
            open(path).inspect_err(|_| {
                // Writing continues, so the file keeps its name; if that fails too, the missing name is detected next
                // time.
                let _ignored = fs::rename(&first, path);
            })
        });
        match moved {
            Ok(file) => {
                (self.file, self.size, self.is_torn) = (file, 0, false);
                sync_directory(path);
                self.end_naming_complaint();
            }
            Err(error) => {
                self.complain_of_name(&format!("cannot begin a new file, the old one is continued: {error}"));
            }
        }
    }

    fn reopen(&mut self) {
        match open(&self.settings.file) {
            Ok(file) => self.take(file),
            Err(error) => {
                self.complain_of_name(&format!("cannot be reopened, the old one is continued: {error}"));
            }
        }
    }

    /// Continues with a file that was opened by its name.
    fn take(&mut self, file: File) {
        (self.size, self.file, self.is_torn) = (size_of(&file), file, false);
        sync_directory(&self.settings.file);
        self.end_naming_complaint();
    }

    /// Logs once for each kind of trouble, until it is over.
    fn complain(&mut self, complaint: &str) {
        if self.complaint.as_deref() != Some(complaint) {
            self.complaint = Some(complaint.to_owned());
            self.state.note_problem(complaint.to_owned(), Instant::now().into_std());
            if let Some(held_back) = self.log_limiter.permit(LogKind::AuditFile, Instant::now()) {
                let file = self.settings.file.display();
                error!(%file, held_back, "audit file: {complaint}; the gateway continues without it");
            }
        }
    }

    /// The same for a file that accepts lines, but under another name or beyond its size.
    fn complain_of_name(&mut self, complaint: &str) {
        if self.naming_complaint.as_deref() != Some(complaint) {
            self.naming_complaint = Some(complaint.to_owned());
            if let Some(held_back) = self.log_limiter.permit(LogKind::AuditFile, Instant::now()) {
                error!(file = %self.settings.file.display(), held_back, "audit file: {complaint}");
            }
        }
    }

    fn end_naming_complaint(&mut self) {
        if self.naming_complaint.take().is_some() {
            self.log("the audit file was begun anew");
        }
    }

    fn end_complaint(&mut self) {
        if self.complaint.take().is_some() {
            self.state.end_problem();
            self.log("the audit file is written again");
        }
    }

    fn warn(&self, what: &str) {
        if let Some(held_back) = self.log_limiter.permit(LogKind::AuditFile, Instant::now()) {
            warn!(file = %self.settings.file.display(), held_back, "{what}");
        }
    }

    fn log(&self, what: &str) {
        if let Some(held_back) = self.log_limiter.permit(LogKind::AuditFile, Instant::now()) {
            info!(file = %self.settings.file.display(), held_back, "{what}");
        }
    }
}

/// Opens for appending, never truncating. A new file is accessible to its owner and group, whatever the umask; an
/// existing one keeps its mode. A file that ends in half a line, as after a loss of power, gets the end of that line.
fn open(path: &Path) -> io::Result<File> {
    // Never waits for the other end of a pipe.
    let nonblocking = libc::O_NONBLOCK;
    let options = |read: bool| {
        let mut options = OpenOptions::new();
        options.append(true).create(true).read(read).mode(MODE).custom_flags(nonblocking);
        options
    };
    let is_new = !path.exists();
    let mut file = options(true).open(path).or_else(|_| options(false).open(path))?;
    if is_new {
        // A file system without modes has none to set.
        let _ignored = file.set_permissions(Permissions::from_mode(MODE));
    }
    if ends_in_half_a_line(&mut file)? {
        file.write_all(b"\n")?;
    }
    Ok(file)
}

/// Whether the next line would be written behind part of another one. Devices and pipes are not checked.
fn ends_in_half_a_line(file: &mut File) -> io::Result<bool> {
    let metadata = file.metadata()?;
    if !metadata.is_file() || metadata.len() == 0 {
        return Ok(false);
    }
    let mut last = [0];
    file.seek(SeekFrom::End(-1))?;
    Ok(file.read_exact(&mut last).is_ok() && last != *b"\n")
}

fn size_of(file: &File) -> u64 {
    file.metadata().map_or(0, |file| file.len())
}

/// Syncs to the disk, if there is one: devices and pipes have nothing to sync.
fn sync(file: &File) -> io::Result<()> {
    match file.sync_data() {
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => Ok(()),
        done => done,
    }
}

/// A new name is on the disk only when its directory is. If that fails, the file itself is still synced.
fn sync_directory(path: &Path) {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    if let Ok(directory) = File::open(directory.unwrap_or(Path::new("."))) {
        let _unsynced = directory.sync_all();
    }
}

/// Renames each predecessor to the next number, up to the first gap: repeated failures to begin a new file find the gap
/// of the first attempt, and rename nothing more.
fn shift(path: &Path) -> io::Result<()> {
    let present = |number: &u32| fs::symlink_metadata(numbered(path, *number)).is_ok();
    let gap = (1..KEPT).find(|number| !present(number)).unwrap_or(KEPT);
    (1..gap).rev().try_for_each(|number| fs::rename(numbered(path, number), numbered(path, number + 1)))
}

/// Lines that wait for the disk; further ones are lost.
pub(super) const WAITING_MAX: usize = 1_024;

/// [`Writer::retry`], tests aside.
const RETRY: Duration = Duration::from_secs(10);

/// Group readable, not world readable.
const MODE: u32 = 0o640;

/// Largest write in bytes; one more line may go beyond it.
const BATCH_SIZE: usize = 32 * 1024;

/// How long the end of the program waits for the disk.
const CLOSING_MAX: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use nix::sys::stat::Mode;
    use nix::unistd::mkfifo;

    use super::*;

    /// All that is there to read now.
    fn drain(reader: &mut File) -> String {
        let mut read = Vec::new();
        // The other end stays open, so it ends with an error: nothing more is there.
        assert_eq!(reader.read_to_end(&mut read).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        String::from_utf8(read).unwrap()
    }

    /// Writes to a pipe, which is full after 64 KiB, and its other end.
    fn writer_to_a_pipe(name: &str) -> (Writer, File) {
        let path = std::env::temp_dir().join(format!("metergate-audit_log-{name}-{}", std::process::id()));
        mkfifo(&path, Mode::S_IRUSR | Mode::S_IWUSR).unwrap();
        let reader = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(&path).unwrap();
        let writer = Writer {
            settings: AuditSettings { file: path.clone(), max_size: u64::MAX },
            file: open(&path).unwrap(),
            size: 0,
            is_torn: false,
            lost: Arc::default(),
            state: Arc::new(AuditState::new(path.clone())),
            log_limiter: LogRateLimiter::new(),
            complaint: None,
            naming_complaint: None,
            retry: Duration::from_millis(10),
        };
        fs::remove_file(&path).unwrap();
        (writer, reader)
    }

    /// More than a pipe takes.
    fn a_hundred_lines() -> String {
        format!("{}\n", "1".repeat(999)).repeat(100)
    }

    #[test]
    fn what_could_be_written_only_in_part_is_ended_before_the_next_line_and_is_not_cut() {
        let (mut writer, mut reader) = writer_to_a_pipe("part");
        let text = a_hundred_lines();
        writer.write(&text, 100);
        writer.report_lost();
        assert!(writer.is_torn && writer.complaint.is_some());
        assert_eq!(writer.lost.load(Ordering::Relaxed), 100);
        assert_eq!(writer.state.lost(), 100);
        assert!(writer.state.problem().is_some_and(|problem| problem.what.starts_with("cannot write: ")));
        let part = drain(&mut reader);
        assert!(text.starts_with(&part) && !part.ends_with('\n'), "{} bytes", part.len());
        writer.write("{\"n\":1}\n", 1);
        writer.report_lost();
        let rest = drain(&mut reader);
        assert!(rest.starts_with("\n{\"n\":1}\n{\"time\":") && rest.ends_with("\"lost\":100}\n"), "{rest}");
        assert!(writer.complaint.is_none() && !writer.is_torn);
        assert_eq!(writer.size, (part.len() + rest.len()) as u64);
    }

    #[test]
    fn a_disk_that_takes_lines_again_is_noticed_without_a_further_write() {
        let (mut writer, mut reader) = writer_to_a_pipe("again");
        assert_eq!(writer.patience(), Duration::MAX, "nothing is missing");
        writer.write(&a_hundred_lines(), 100);
        let state = Arc::clone(&writer.state);
        assert!(state.problem().is_some());
        let (commands, receiver) = sync_channel(WAITING_MAX);
        let thread = thread::spawn(move || writer.run(&receiver));
        let deadline = std::time::Instant::now() + Duration::from_secs(60);
        let mut rest = drain(&mut reader);
        while !rest.ends_with("\"lost\":100}\n") {
            assert!(std::time::Instant::now() < deadline, "not tried again: {rest}");
            thread::sleep(Duration::from_millis(1));
            rest += &drain(&mut reader);
        }
        drop(commands);
        thread.join().unwrap();
        assert!(state.problem().is_none());
    }
}
