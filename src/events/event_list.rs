//! The list of events: conditions that begin and end, and events without duration.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};

use super::event::{Condition, ConditionKey, Event, EventKind, Writes};
use super::span::Span;
use crate::endpoint::ClientAddress;

/// The events, in the order in which they were recorded. Reads no clock and no file: instants are arguments.
#[derive(Clone, Debug, Default)]
pub struct EventList {
    events: VecDeque<Event>,
    /// The identifiers of events that continue.
    open: BTreeMap<ConditionKey, u64>,
    /// When the events of this run began, by the monotonic clock.
    began: BTreeMap<u64, Instant>,
    last_id: u64,
    /// The identifiers of events not yet saved in their present state.
    changed: BTreeSet<u64>,
}

/// Ports, lines and units whose condition is unknown at the moment: their open events stay open.
#[derive(Clone, Debug, Default)]
pub struct Undecided {
    /// Buses whose port has not been opened yet.
    pub ports: BTreeSet<String>,
    /// Buses on whose line nothing has been sent yet.
    pub lines: BTreeSet<String>,
    /// Units that have received no request yet or cannot be reached, by bus and the identifier that clients use.
    pub units: BTreeSet<(String, u8)>,
    /// Brokers that have not been connected to yet.
    pub brokers: BTreeSet<String>,
}

impl Undecided {
    fn holds(&self, key: &ConditionKey) -> bool {
        match (key.kind, key.unit) {
            (EventKind::BrokerLost, _) => {
                key.subject.as_ref().is_some_and(|broker| self.brokers.contains(broker))
            }
            (EventKind::PortLost, _) => self.ports.contains(&key.bus),
            (_, None) => self.lines.contains(&key.bus),
            (_, Some(unit)) => self.units.contains(&(key.bus.clone(), unit)),
        }
    }
}

/// Largest number of events kept.
pub const EVENTS_MAX: usize = 2_000;

/// Largest number of clients whose writes are separate events within an hour.
pub const WRITERS_MAX: usize = 50;

/// The writes of a client within this time are one event.
const WRITES_PERIOD: Duration = Duration::from_secs(60 * 60);

impl EventList {
    /// Continues the events of earlier runs and records the start of this one.
    #[must_use]
    pub fn restored(events: Vec<Event>, now: Timestamp, at: Instant) -> Self {
        let mut list = Self::default();
        let last = events.last().map(|last| (last.kind, last.begin));
        for event in events {
            list.last_id = list.last_id.max(event.id);
            if event.end.is_none() && event.kind != EventKind::Writes {
                list.open.insert(event.key(), event.id);
            }
            list.events.push_back(event);
        }
        let text = match last {
            None | Some((EventKind::Stop, _)) => "metergate started",
            Some(_) => "metergate started; it had ended without being stopped: a crash or a loss of power",
        };
        list.note(EventKind::Start, text.to_owned(), now, at);
        // The start begins at the stop before, so its duration is the time without the gateway.
        if let (Some((EventKind::Stop, stopped)), Some(start)) = (last, list.events.back_mut()) {
            start.begin = stopped;
            start.seconds = Some(since(stopped, now).as_secs());
        }
        list.trim();
        list
    }

    /// The events, the last begun first. They were recorded in another order: an outage is known only some seconds after
    /// it began, a finding up to minutes.
    pub fn newest_first(&self) -> impl Iterator<Item = &Event> {
        let mut events: Vec<&Event> = self.events.iter().collect();
        events.sort_by_key(|event| Reverse((event.begin, event.id)));
        events.into_iter()
    }

    /// Compares the conditions that hold now with the open events: begins and ends events.
    pub fn observe(&mut self, conditions: &[Condition], undecided: &Undecided, now: Timestamp, at: Instant) {
        let mut held = BTreeSet::new();
        for condition in conditions {
            let key = condition.key();
            match self.open.get(&key).copied() {
                None => self.begin(condition, key.clone(), now, at),
                // Ages and counts in the text change.
                Some(id) => self.update_text(id, &condition.text),
            }
            held.insert(key);
        }
        let is_over = |key: &ConditionKey| !held.contains(key) && !undecided.holds(key);
        let over: Vec<(ConditionKey, u64)> =
            self.open.iter().filter(|(key, _)| is_over(key)).map(|(key, id)| (key.clone(), *id)).collect();
        for (key, id) in over {
            self.open.remove(&key);
            self.end(id, now, at);
        }
        self.trim();
    }

    /// Records an event without duration.
    pub fn note(&mut self, kind: EventKind, text: String, now: Timestamp, at: Instant) {
        let id = self.next_id();
        self.began.insert(id, at);
        self.push(Event::instant(id, kind, text, now));
        self.trim();
    }

    /// Records writes of a client. Those within an hour are one event; clients beyond [`WRITERS_MAX`] share one.
    pub fn note_writes(&mut self, client: ClientAddress, writes: Writes, now: Timestamp, at: Instant) {
        let is_open = |event: &&mut Event| event.kind == EventKind::Writes && event.end.is_none();
        let writers = self.events.iter_mut().filter(is_open).filter(|event| event.client.is_some()).count();
        let is_known =
            self.events.iter_mut().filter(is_open).any(|event| event.client.as_ref() == Some(&client));
        let client = Some(client).filter(|_| is_known || writers < WRITERS_MAX);
        let open = self.events.iter_mut().rev().filter(is_open).find(|event| event.client == client);
        let id = match open {
            Some(event) => {
                event.add_writes(writes);
                event.id
            }
            None => {
                let id = self.next_id();
                let mut event =
                    Event { client, end: None, ..Event::instant(id, EventKind::Writes, String::new(), now) };
                event.add_writes(writes);
                self.began.insert(id, at);
                self.push(event);
                id
            }
        };
        self.changed.insert(id);
        self.trim();
    }

    /// Ends the events of writes whose hour is over.
    pub fn end_writes(&mut self, now: Timestamp, at: Instant) {
        let over: Vec<u64> = self
            .events
            .iter()
            .filter(|event| event.kind == EventKind::Writes && event.end.is_none())
            .filter(|event| match self.began.get(&event.id) {
                Some(began) => at.saturating_duration_since(*began) >= WRITES_PERIOD,
                // From an earlier run, whose counters are lost.
                None => true,
            })
            .map(|event| event.id)
            .collect();
        for id in over {
            let begin = self.events.iter().find(|event| event.id == id).map_or(now, |event| event.begin);
            self.end(id, now.min(later(begin, WRITES_PERIOD)), at);
        }
    }

    /// Corrects the instants of this run by `step`, by which the clock was set, and records the step.
    pub fn step_clock(&mut self, step: SignedDuration, now: Timestamp, at: Instant) {
        for event in self.events.iter_mut().filter(|event| self.began.contains_key(&event.id)) {
            event.end = event.end.map(|end| end.checked_add(step).unwrap_or(end));
            if event.kind == EventKind::Start && event.seconds.is_some() {
                // Its begin is the stop before, by the clock of that time.
                event.seconds = event.end.map(|end| since(event.begin, end).as_secs());
            } else {
                event.begin = event.begin.checked_add(step).unwrap_or(event.begin);
            }
            self.changed.insert(event.id);
        }
        let direction = if step.is_negative() { "back" } else { "forward" };
        let text = format!("the clock was set {direction} by {}", Span(step.unsigned_abs()));
        self.note(EventKind::ClockStep, text, now, at);
    }

    /// Returns the events that have changed since the last call.
    pub fn take_changed(&mut self) -> Vec<Event> {
        let changed = std::mem::take(&mut self.changed);
        self.events.iter().filter(|event| changed.contains(&event.id)).cloned().collect()
    }

    /// Inserts the `earlier` events of a file before its own, which get numbers above theirs. All must be saved.
    pub fn prepend(&mut self, earlier: Vec<Event>) {
        let highest = earlier.iter().map(|event| event.id).max().unwrap_or(0);
        self.last_id += highest;
        self.open.values_mut().for_each(|id| *id += highest);
        self.began = std::mem::take(&mut self.began).into_iter().map(|(id, at)| (id + highest, at)).collect();
        for event in &mut self.events {
            event.id += highest;
        }
        for mut event in earlier.into_iter().rev() {
            // From another gateway, or from a time when this one used another file: its end is unknown.
            event.end = event.end.or(Some(event.begin));
            self.events.push_front(event);
        }
        self.changed = self.events.iter().map(|event| event.id).collect();
        self.trim();
    }

    /// The events, the first recorded first: the order of the file.
    #[must_use]
    pub fn oldest_first(&self) -> Vec<Event> {
        self.events.iter().cloned().collect()
    }

    /// Marks events as changed again: what [`take_changed`](Self::take_changed) returned could not be saved.
    pub fn mark_changed(&mut self, events: &[Event]) {
        self.changed.extend(events.iter().map(|event| event.id));
    }

    fn begin(&mut self, condition: &Condition, key: ConditionKey, now: Timestamp, at: Instant) {
        let id = self.next_id();
        self.open.insert(key, id);
        if let Some(began) = at.checked_sub(condition.held_for) {
            self.began.insert(id, began);
        }
        self.push(Event {
            bus: Some(condition.bus.clone()).filter(|bus| !bus.is_empty()),
            unit: condition.unit,
            name: condition.name.clone(),
            subject: condition.subject.clone(),
            begin: earlier(now, condition.held_for),
            end: None,
            ..Event::instant(id, condition.kind, condition.text.clone(), now)
        });
    }

    /// Replaces the text of an open event. It is saved with the end of the event, not now.
    fn update_text(&mut self, id: u64, text: &str) {
        if let Some(event) = self.events.iter_mut().rev().find(|event| event.id == id) {
            text.clone_into(&mut event.text);
        }
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

    /// Removes the oldest ended events beyond the limit; open ones only if there are no others.
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

fn since(begin: Timestamp, now: Timestamp) -> Duration {
    now.duration_since(begin).try_into().unwrap_or_default()
}

fn earlier(now: Timestamp, by: Duration) -> Timestamp {
    now.checked_sub(by).unwrap_or(now)
}

fn later(begin: Timestamp, by: Duration) -> Timestamp {
    begin.checked_add(by).unwrap_or(begin)
}
