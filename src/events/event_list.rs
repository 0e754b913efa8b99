//! The list of events: conditions that begin and end, and what happens in an instant.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};

use super::event::{Condition, Event, EventKind, Key};
use super::span::Span;

/// The events that are kept, the oldest first. Knows no clock and no file.
#[derive(Clone, Debug, Default)]
pub struct EventList {
    events: VecDeque<Event>,
    /// Events that go on.
    open: BTreeMap<Key, u64>,
    /// When the events of this run began, by the clock that is never set.
    began: BTreeMap<u64, Instant>,
    last_id: u64,
    /// Events that have changed since they were last taken to be saved.
    changed: BTreeSet<u64>,
}

/// Buses and units about which nothing can be said at the moment: what is open there stays open. A unit that has not
/// been asked since the start, or cannot be reached, may still be off-line or not.
#[derive(Clone, Debug, Default)]
pub struct Undecided {
    /// By bus and the identifier that clients use.
    pub units: BTreeSet<(String, u8)>,
}

/// Most events that are kept.
pub const EVENTS_MAX: usize = 2_000;

/// The writes of a client within so long a time are one event.
const WRITES_PERIOD: Duration = Duration::from_secs(60 * 60);

impl EventList {
    /// Goes on from the events of earlier runs, and notes the start of this one.
    #[must_use]
    pub fn restored(events: Vec<Event>, now: Timestamp, at: Instant) -> Self {
        let mut list = Self::default();
        let stopped = events.last().map(|last| (last.kind, last.begin));
        for event in events {
            list.last_id = list.last_id.max(event.id);
            if event.end.is_none() && event.kind != EventKind::Writes {
                list.open.insert(event.key(), event.id);
            }
            list.events.push_back(event);
        }
        let text = match stopped {
            None => "metergate started".to_owned(),
            Some((EventKind::Stop, when)) => {
                format!("metergate started, {} after it was stopped", Span(since(when, now)))
            }
            Some(_) => {
                "metergate started; it had ended without being stopped: a crash or a loss of power".to_owned()
            }
        };
        list.note(EventKind::Start, text, now, at);
        list.trim();
        list
    }

    /// The events, the newest beginning first.
    pub fn newest_first(&self) -> impl Iterator<Item = &Event> {
        self.events.iter().rev()
    }

    /// Compares what holds now with what was open: begins and ends events.
    pub fn observe(&mut self, conditions: &[Condition], undecided: &Undecided, now: Timestamp, at: Instant) {
        let mut held = BTreeSet::new();
        for condition in conditions {
            let key = condition.key();
            if !self.open.contains_key(&key) {
                self.begin(condition, key.clone(), now, at);
            }
            held.insert(key);
        }
        let is_over = |key: &Key| {
            let unit = key.unit.map(|unit| (key.bus.clone(), unit));
            !held.contains(key) && !unit.is_some_and(|unit| undecided.units.contains(&unit))
        };
        let over: Vec<(Key, u64)> =
            self.open.iter().filter(|(key, _)| is_over(key)).map(|(key, id)| (key.clone(), *id)).collect();
        for (key, id) in over {
            self.open.remove(&key);
            self.end(id, now, at);
        }
        self.trim();
    }

    /// Something that happened in an instant.
    pub fn note(&mut self, kind: EventKind, text: String, now: Timestamp, at: Instant) {
        let id = self.next_id();
        self.began.insert(id, at);
        self.push(Event {
            id,
            kind,
            bus: None,
            unit: None,
            name: None,
            client: None,
            subject: None,
            begin: now,
            end: Some(now),
            seconds: None,
            text,
        });
        self.trim();
    }

    /// A client has sent `count` more writes. Those within an hour are one event.
    pub fn note_writes(&mut self, client: IpAddr, count: u64, now: Timestamp, at: Instant) {
        let open = self.events.iter_mut().rev().find(|event| {
            event.kind == EventKind::Writes && event.client == Some(client) && event.end.is_none()
        });
        let id = match open {
            Some(event) => {
                let before = event.subject.as_ref().and_then(|count| count.parse::<u64>().ok()).unwrap_or(0);
                describe_writes(event, before + count);
                event.id
            }
            None => {
                let id = self.next_id();
                let mut event = Event {
                    id,
                    kind: EventKind::Writes,
                    bus: None,
                    unit: None,
                    name: None,
                    client: Some(client),
                    subject: None,
                    begin: now,
                    end: None,
                    seconds: None,
                    text: String::new(),
                };
                describe_writes(&mut event, count);
                self.began.insert(id, at);
                self.push(event);
                id
            }
        };
        self.changed.insert(id);
    }

    /// Ends the events of writes whose hour is over.
    pub fn end_writes(&mut self, now: Timestamp, at: Instant) {
        let over: Vec<u64> = self
            .events
            .iter()
            .filter(|event| event.kind == EventKind::Writes && event.end.is_none())
            .filter(|event| match self.began.get(&event.id) {
                Some(began) => at.saturating_duration_since(*began) >= WRITES_PERIOD,
                // Of an earlier run, whose counters are gone.
                None => true,
            })
            .map(|event| event.id)
            .collect();
        for id in over {
            self.end(id, now, at);
        }
    }

    /// The clock was set: by `step` the instants of this run had been wrong. Notes it.
    pub fn step_clock(&mut self, step: SignedDuration, now: Timestamp, at: Instant) {
        for event in self.events.iter_mut().filter(|event| self.began.contains_key(&event.id)) {
            event.begin = event.begin.checked_add(step).unwrap_or(event.begin);
            event.end = event.end.map(|end| end.checked_add(step).unwrap_or(end));
            self.changed.insert(event.id);
        }
        let (way, by) =
            if step.is_negative() { ("back", step.unsigned_abs()) } else { ("forward", step.unsigned_abs()) };
        self.note(EventKind::ClockStep, format!("the clock was set {way} by {}", Span(by)), now, at);
    }

    /// Each event that has changed since the last call.
    pub fn take_changed(&mut self) -> Vec<Event> {
        let changed = std::mem::take(&mut self.changed);
        self.events.iter().filter(|event| changed.contains(&event.id)).cloned().collect()
    }

    /// All of them are to be saved, in a file that has none yet.
    pub fn change_all(&mut self) {
        self.changed = self.events.iter().map(|event| event.id).collect();
    }

    /// The events, the oldest beginning first.
    #[must_use]
    pub fn oldest_first(&self) -> Vec<Event> {
        self.events.iter().cloned().collect()
    }

    /// What [`take_changed`](Self::take_changed) gave could not be saved, and is to be given again.
    pub fn give_back(&mut self, events: &[Event]) {
        self.changed.extend(events.iter().map(|event| event.id));
    }

    fn begin(&mut self, condition: &Condition, key: Key, now: Timestamp, at: Instant) {
        let id = self.next_id();
        self.open.insert(key, id);
        if let Some(began) = at.checked_sub(condition.held_for) {
            self.began.insert(id, began);
        }
        self.push(Event {
            id,
            kind: condition.kind,
            bus: Some(condition.bus.clone()),
            unit: condition.unit,
            name: condition.name.clone(),
            client: None,
            subject: condition.subject.clone(),
            begin: earlier(now, condition.held_for),
            end: None,
            seconds: None,
            text: condition.text.clone(),
        });
    }

    fn end(&mut self, id: u64, now: Timestamp, at: Instant) {
        let lasted = self.began.get(&id).map(|began| at.saturating_duration_since(*began));
        let Some(event) = self.events.iter_mut().rev().find(|event| event.id == id) else { return };
        event.end = Some(now.max(event.begin));
        event.seconds = Some(lasted.unwrap_or_else(|| since(event.begin, now)).as_secs());
        self.changed.insert(id);
    }

    fn next_id(&mut self) -> u64 {
        self.last_id += 1;
        self.last_id
    }

    fn push(&mut self, event: Event) {
        self.changed.insert(event.id);
        self.events.push_back(event);
    }

    /// The oldest that have ended go; one that goes on stays as long as there are others.
    fn trim(&mut self) {
        while self.events.len() > EVENTS_MAX {
            let at = self.events.iter().position(|event| event.end.is_some()).unwrap_or(0);
            let Some(gone) = self.events.remove(at) else { return };
            self.open.retain(|_, id| *id != gone.id);
            self.began.remove(&gone.id);
            self.changed.remove(&gone.id);
        }
    }
}

fn describe_writes(event: &mut Event, count: u64) {
    let writes = if count == 1 { "write" } else { "writes" };
    event.text = format!("{count} {writes}; the audit has each of them");
    event.subject = Some(count.to_string());
}

fn since(begin: Timestamp, now: Timestamp) -> Duration {
    now.duration_since(begin).try_into().unwrap_or_default()
}

fn earlier(now: Timestamp, by: Duration) -> Timestamp {
    now.checked_sub(by).unwrap_or(now)
}
