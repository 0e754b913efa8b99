//! The event list of a running gateway: updated once a second from the published views, saved by a thread that may
//! block.
//!
//! Owns the list, its file and its clocks. No line and no client waits for it: only the thread of the status page and
//! the start, reload and stop of the gateway lock the list.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use jiff::{SignedDuration, Timestamp};
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::timeout;
use tracing::warn;

use crate::audit::WriteCounter;
use crate::events::{EventFile, EventFileSettings, EventKind, EventList, SAVE_PERIOD};
use crate::line::Now;
use crate::serial::clock;
use crate::status::{self, Published};
use crate::web::{SharedEvents, SharedHistory};

/// The event list and its file.
#[derive(Clone, Debug)]
pub(super) struct EventLog {
    list: SharedEvents,
    /// Locked only by threads that may wait for a disk.
    file: Arc<Mutex<Option<EventFile>>>,
    writes: Arc<WriteCounter>,
}

impl EventLog {
    /// Opens the file, if there is one, and continues its events.
    pub(super) fn open(settings: Option<&EventFileSettings>) -> Self {
        let (file, events) = settings.cloned().map(EventFile::open).unzip();
        let list = EventList::restored(events.unwrap_or_default(), now(), Instant::now());
        Self { list: SharedEvents::new(list), file: Arc::new(Mutex::new(file)), writes: Arc::default() }
    }

    /// The counter of the writes of clients.
    pub(super) fn writes(&self) -> Arc<WriteCounter> {
        Arc::clone(&self.writes)
    }

    /// The list, for the status page.
    pub(super) fn shared(&self) -> SharedEvents {
        self.list.clone()
    }

    /// Records an event without duration.
    pub(super) fn note(&self, kind: EventKind, text: String) {
        self.list.with(|list| list.note(kind, text, now(), Instant::now()));
    }

    /// Moves all events to another file, or to none, after a reload, which does not wait for the disk.
    pub(super) fn move_to(&self, settings: Option<EventFileSettings>) {
        let log = self.clone();
        let _moving = spawn_blocking(move || {
            let mut file = log.file.lock().unwrap_or_else(PoisonError::into_inner);
            if file.as_ref().map(EventFile::settings) == settings.as_ref() {
                return;
            }
            let (next, earlier) = settings.map(EventFile::open).unzip();
            *file = next;
            log.list.with(|list| list.prepend(earlier.unwrap_or_default()));
        });
    }

    fn collect_writes(&self) {
        let (wall, at) = (now(), Instant::now());
        self.list.with(|list| {
            list.end_writes(wall, at);
            for (client, writes) in self.writes.take() {
                list.note_writes(client, writes, wall, at);
            }
        });
    }

    /// Saves the changed events. Waits for the disk.
    fn save(&self) {
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(file) = file.as_mut() else { return };
        let (changed, all) = self.list.with(|list| (list.take_changed(), list.oldest_first()));
        if !changed.is_empty() && file.save(&changed, &all).is_err() {
            self.list.with(|list| list.mark_changed(&changed));
        }
    }

    /// Records the stop and saves the changed events, but does not wait long for a disk that hangs.
    pub(super) async fn close(self) {
        self.collect_writes();
        // The last event: the next start distinguishes a stop from a crash by it.
        self.note(EventKind::Stop, "metergate stopped".to_owned());
        let saving = spawn_blocking(move || self.save());
        if timeout(CLOSING_MAX, saving).await.is_err() {
            warn!("the last events are not in the event file: the disk did not accept them in time");
        }
    }
}

/// Samples the gateway for the event list; holds what is needed from one sample to the next.
pub(super) struct EventSampler {
    log: EventLog,
    /// The wall clock and the monotonic time, suspended time included, at the last sample.
    clocks: (Timestamp, Now),
    saved: Instant,
    saving: Option<JoinHandle<()>>,
}

impl EventSampler {
    pub(super) fn new(log: EventLog) -> Self {
        let at = Instant::now();
        Self { log, clocks: (now(), clock::now()), saved: at, saving: None }
    }

    /// Takes one sample; to be called about once a second.
    pub(super) fn sample(&mut self, published: &Published, history: &SharedHistory) {
        if published.generation == 0 {
            // Nothing has been published yet.
            return;
        }
        let (wall, at) = (now(), published.at);
        let (conditions, undecided) = history.with(|history| status::conditions(published, history));
        let step = self.clock_step(wall, clock::now());
        self.log.list.with(|list| {
            if let Some(step) = step {
                list.step_clock(step, wall, at);
            }
            list.observe(&conditions, &undecided, wall, at);
        });
        self.log.collect_writes();
        let is_saving = self.saving.as_ref().is_some_and(|saving| !saving.is_finished());
        if !is_saving && at.saturating_duration_since(self.saved) >= SAVE_PERIOD {
            self.saved = at;
            let log = self.log.clone();
            self.saving = Some(spawn_blocking(move || log.save()));
        }
    }

    /// The difference between wall clock and monotonic time since the last sample, if the wall clock was set.
    fn clock_step(&mut self, wall: Timestamp, now: Now) -> Option<SignedDuration> {
        let (wall_before, before) = std::mem::replace(&mut self.clocks, (wall, now));
        let awake = now.instant.saturating_duration_since(before.instant);
        let asleep = now.slept.saturating_sub(before.slept);
        let passed = SignedDuration::try_from(awake + asleep).ok()?;
        let step = wall.duration_since(wall_before) - passed;
        (step.abs() >= CLOCK_STEP).then_some(step)
    }
}

fn now() -> Timestamp {
    Timestamp::try_from(SystemTime::now()).unwrap_or_default()
}

/// A step of at least this size means that the clock was set; smaller ones are gradual corrections.
const CLOCK_STEP: SignedDuration = SignedDuration::from_secs(5);

/// How long the process waits for the disk before it ends.
const CLOSING_MAX: Duration = Duration::from_secs(2);
