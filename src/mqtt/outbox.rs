//! What waits for a broker: states, of which only the last of each topic counts, announcements, and readings.
//!
//! Owns the bounds: readings are kept up to a number of bytes, and the oldest goes first; states and announcements are as
//! many as the configuration has units and points. Readings keep their order and leave it only for those that were sent
//! and not acknowledged, which return to their place. A message with which connection after connection is lost makes room
//! for the others.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::mem;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::Notify;

use super::wall_clock::WallClock;
use crate::line::Now;
use crate::runtime::timestamp;

/// One message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Its topic.
    pub topic: Arc<str>,
    /// Its content; empty and retained: what is retained at the topic is removed.
    pub payload: Bytes,
    /// Whether the broker keeps it for those who subscribe later.
    pub retained: bool,
    /// When its reading began, if it is one: sent again, it has the time by the clock of then.
    pub begun: Option<Now>,
}

/// A reading that waits: an object of JSON whose first member is the time, which is written when it is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reading {
    /// The topic of its message.
    pub topic: Arc<str>,
    /// When it began.
    pub begun: Now,
    /// What follows the time and its comma.
    pub rest: Bytes,
}

/// Retained messages beside the states, made one at a time because together they may be megabytes.
pub trait Announcements: fmt::Debug + Send + Sync {
    /// The message at this place; `None`: there are no more.
    fn get(&self, index: usize) -> Option<Message>;

    /// How many there are.
    fn count(&self) -> usize;

    /// Whether one of them is at this topic.
    fn is_announced(&self, topic: &str) -> bool;

    /// Whether this retained message of the broker is one that this gateway wrote once and nothing publishes any more.
    fn is_left_over(&self, topic: &str, payload: &[u8]) -> bool;

    /// The topic filters below which such messages are.
    fn filters(&self) -> Vec<String>;
}

/// What waits for one broker. The publisher fills it, the client empties it.
#[derive(Debug)]
pub struct Outbox {
    inner: Mutex<Inner>,
    filled: Notify,
}

#[derive(Debug)]
struct Inner {
    /// The last state of each topic.
    states: BTreeMap<Arc<str>, Bytes>,
    /// Topics whose state the broker does not have yet.
    unsent: VecDeque<Arc<str>>,
    announcements: Option<Arc<dyn Announcements>>,
    /// The next announcement.
    announced: usize,
    /// Announcements of earlier configurations, whose topics are to be removed unless they are announced again.
    former: VecDeque<Former>,
    /// Topics of retained messages to remove; none of them is among `states`.
    removals: BTreeSet<Arc<str>>,
    readings: VecDeque<Reading>,
    /// `None`: nothing has been kept yet.
    clock: Option<WallClock>,
    bytes: usize,
    limit: usize,
    dropped: u64,
    last_dropped: Option<Instant>,
    /// Messages per second at most.
    pace: u32,
    /// Counts the changes of `announcements`.
    edition: u64,
    /// Nothing is published any more: everything that is retained is removed.
    is_retired: bool,
    /// Connections in a row that ended with unacknowledged messages.
    losses: u32,
    suspect: Option<Suspect>,
    /// Topics of retained messages that the broker does not take, and since when.
    refused: BTreeMap<Arc<str>, Instant>,
}

/// Announcements of an earlier configuration.
#[derive(Debug)]
struct Former {
    announcements: Arc<dyn Announcements>,
    /// The next one to look at.
    next: usize,
}

/// The first message that was not acknowledged when a connection ended.
#[derive(Debug)]
struct Suspect {
    message: Message,
    /// How many connections in a row.
    losses: u32,
}

/// How much waits, and what became of the rest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OutboxCounts {
    /// Readings that wait.
    pub queued: usize,
    /// The memory they take.
    pub bytes: usize,
    /// Messages that were dropped: they made room for newer ones, or the broker did not take them.
    pub dropped: u64,
    /// When the last one was.
    pub last_dropped: Option<Instant>,
}

impl Outbox {
    /// An empty one that keeps readings of so many bytes.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        let inner = Inner {
            states: BTreeMap::new(),
            unsent: VecDeque::new(),
            announcements: None,
            announced: 0,
            former: VecDeque::new(),
            removals: BTreeSet::new(),
            readings: VecDeque::new(),
            clock: None,
            bytes: 0,
            limit,
            dropped: 0,
            last_dropped: None,
            pace: u32::MAX,
            edition: 0,
            is_retired: false,
            losses: 0,
            suspect: None,
            refused: BTreeMap::new(),
        };
        Self { inner: Mutex::new(inner), filled: Notify::new() }
    }

    /// Sets how many bytes of readings are kept.
    pub fn set_limit(&self, limit: usize) {
        let mut inner = self.lock();
        inner.limit = limit;
        inner.trim();
    }

    /// Sets the clock by which readings have their times, before the first of them is kept.
    pub fn set_clock(&self, clock: WallClock) {
        self.lock().clock = Some(clock);
    }

    /// Sets how many messages per second are sent at most, so that what was kept does not come as a flood.
    pub fn set_pace(&self, pace: u32) {
        self.lock().pace = pace;
    }

    /// Sets what is announced with each new connection, and announces it now. What was announced before and is no more, is
    /// removed.
    pub fn announce(&self, announcements: Arc<dyn Announcements>) {
        let mut inner = self.lock();
        let former = inner.announcements.replace(announcements);
        inner.retract(former);
        inner.announced = 0;
        inner.edition += 1;
        inner.refused.clear();
        drop(inner);
        self.filled.notify_one();
    }

    /// Has the broker forget everything that is retained there but the status. Nothing is published from now on.
    pub fn retire(&self) {
        let mut inner = self.lock();
        let former = inner.announcements.take();
        inner.retract(former);
        inner.unsent.clear();
        let states = mem::take(&mut inner.states);
        inner.removals.extend(states.into_keys());
        inner.readings = VecDeque::new();
        inner.bytes = 0;
        inner.is_retired = true;
        drop(inner);
        self.filled.notify_one();
    }

    /// Whether nothing is published any more.
    pub(super) fn is_retired(&self) -> bool {
        self.lock().is_retired
    }

    /// Sets the state at a topic.
    pub fn set_state(&self, topic: Arc<str>, payload: Bytes) {
        let mut inner = self.lock();
        if inner.is_retired || inner.states.get(&topic) == Some(&payload) {
            return;
        }
        inner.removals.remove(&topic);
        inner.states.insert(Arc::clone(&topic), payload);
        // It may have been a broker that could not keep any connection.
        if inner.refused.get(&topic).is_some_and(|since| since.elapsed() >= REFUSED_FOR) {
            inner.refused.remove(&topic);
        }
        if !inner.unsent.contains(&topic) && !inner.refused.contains_key(&topic) {
            inner.unsent.push_back(topic);
        }
        drop(inner);
        self.filled.notify_one();
    }

    /// Forgets the states for which `gone` holds, and has the broker forget them.
    pub fn forget_states(&self, gone: impl Fn(&str) -> bool) {
        let mut inner = self.lock();
        let topics: Vec<_> = inner.states.keys().filter(|topic| gone(topic)).cloned().collect();
        for topic in topics {
            inner.states.remove(&topic);
            // What is beyond the bound is found at the broker as left over.
            if inner.removals.len() < MOST_LEFT_OVER {
                inner.removals.insert(topic);
            }
        }
        let Inner { unsent, states, .. } = &mut *inner;
        unsent.retain(|topic| states.contains_key(topic));
        drop(inner);
        self.filled.notify_one();
    }

    /// Keeps a reading until the broker has it. The oldest make room.
    pub fn push(&self, reading: Reading, now: Instant) {
        let mut inner = self.lock();
        if inner.is_retired {
            return;
        }
        inner.bytes += cost(&reading);
        inner.readings.push_back(reading);
        if inner.trim() {
            inner.last_dropped = Some(now);
        }
        drop(inner);
        self.filled.notify_one();
    }

    /// How much waits, and what became of the rest.
    #[must_use]
    pub fn counts(&self) -> OutboxCounts {
        let Inner { bytes, dropped, last_dropped, ref readings, .. } = *self.lock();
        OutboxCounts { queued: readings.len(), bytes, dropped, last_dropped }
    }

    /// A new connection: the broker may have forgotten every retained message. `online` follows the states, so that a
    /// state of an earlier run does not count for a moment.
    pub(super) fn begin(&self, status_topic: &str) {
        let mut inner = self.lock();
        if inner.is_retired {
            return;
        }
        let status: Arc<str> = status_topic.into();
        inner.states.remove(&status);
        inner.unsent =
            inner.states.keys().filter(|topic| !inner.refused.contains_key(*topic)).cloned().collect();
        inner.unsent.push_back(Arc::clone(&status));
        inner.removals.remove(&status);
        inner.states.insert(status, Bytes::from_static(ONLINE));
        inner.announced = 0;
    }

    /// The broker holds another status than this one: an earlier client of this topic has left later than this one came.
    pub(super) fn correct_status(&self, status_topic: &str, payload: &[u8]) {
        let mut inner = self.lock();
        let Some((topic, status)) = inner.states.get_key_value(status_topic) else { return };
        if status == payload {
            return;
        }
        let topic = Arc::clone(topic);
        if !inner.unsent.contains(&topic) {
            inner.unsent.push_back(topic);
        }
    }

    /// Messages per second at most.
    pub(super) fn pace(&self) -> u32 {
        self.lock().pace
    }

    /// Retained messages that the broker may hold of this gateway.
    pub(super) fn retained(&self) -> usize {
        let inner = self.lock();
        inner.states.len() + inner.announcements.as_ref().map_or(0, |all| all.count())
    }

    /// Whether messages are to be sent one at a time, because connections are lost with some message among them.
    pub(super) fn is_careful(&self) -> bool {
        self.lock().losses >= CAREFUL_AFTER
    }

    /// The next message: states first, for they are few and tell whether readings still come; readings last.
    pub fn next(&self) -> Option<Message> {
        let mut inner = self.lock();
        if let Some(topic) = inner.unsent.pop_front() {
            let payload = inner.states.get(&topic).cloned().unwrap_or_default();
            return Some(Message { topic, payload, retained: true, begun: None });
        }
        if let Some(topic) = inner.removals.pop_first() {
            return Some(Message { topic, payload: Bytes::new(), retained: true, begun: None });
        }
        if let Some(topic) = inner.next_retraction() {
            return Some(Message { topic, payload: Bytes::new(), retained: true, begun: None });
        }
        while let Some(message) = inner.announcements.as_ref().and_then(|all| all.get(inner.announced)) {
            inner.announced += 1;
            if !inner.refused.contains_key(&message.topic) {
                return Some(message);
            }
        }
        let clock = inner.clock?;
        let reading = inner.readings.pop_front()?;
        inner.bytes -= cost(&reading);
        inner.give_back_capacity();
        Some(reading.into_message(&clock))
    }

    /// Takes back what was sent and not acknowledged when the client stopped, in the order in which it was sent. Retained
    /// messages are sent anew with the next connection anyway.
    pub(super) fn put_back(&self, sent: VecDeque<Message>) {
        self.lock().put_back(sent);
    }

    /// The same when the broker has ended the connection. Returns the topic of a message that was dropped because several connections in a
    /// row were lost with it.
    pub(super) fn put_back_lost(&self, mut sent: VecDeque<Message>) -> Option<Arc<str>> {
        let mut inner = self.lock();
        let dropped = inner.suspect(&mut sent);
        inner.put_back(sent);
        dropped
    }

    /// Looks at a retained message of the broker; one that is left over is removed.
    pub(super) fn reconcile(&self, topic: &str, payload: &[u8]) {
        let Some(announcements) = self.lock().announcements.clone() else { return };
        let is_own = topic.len() <= LONGEST_TOPIC && announcements.is_left_over(topic, payload);
        if payload.is_empty() || !is_own {
            return;
        }
        let mut inner = self.lock();
        if inner.removals.len() < MOST_LEFT_OVER && !inner.states.contains_key(topic) {
            inner.removals.insert(topic.into());
        }
    }

    /// Counts the changes of what is announced.
    pub(super) fn edition(&self) -> u64 {
        self.lock().edition
    }

    /// The filters below which retained messages may be left over.
    pub(super) fn filters(&self) -> Vec<String> {
        self.lock().announcements.as_ref().map(|all| all.filters()).unwrap_or_default()
    }

    /// Waits until something was added.
    pub(super) async fn filled(&self) {
        self.filled.notified().await;
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Reading {
    fn into_message(self, clock: &WallClock) -> Message {
        let time = timestamp::utc(clock.time_at(self.begun));
        let payload = [TIME_BEGINS, time.as_bytes(), TIME_ENDS, &self.rest].concat().into();
        Message { topic: self.topic, payload, retained: false, begun: Some(self.begun) }
    }

    /// As it was before it was sent.
    fn of_message(message: Message, begun: Now) -> Self {
        let rest = message.payload.slice(TIME_LENGTH.min(message.payload.len())..);
        Self { topic: message.topic, begun, rest }
    }
}

impl Inner {
    /// Drops the oldest readings until the others fit; returns whether there were any.
    fn trim(&mut self) -> bool {
        let before = self.dropped;
        while self.bytes > self.limit {
            let Some(oldest) = self.readings.pop_front() else { break };
            self.bytes -= cost(&oldest);
            self.dropped += 1;
        }
        self.give_back_capacity();
        self.dropped > before
    }

    fn put_back(&mut self, sent: VecDeque<Message>) {
        for message in sent.into_iter().rev() {
            if let Some(begun) = message.begun {
                if !self.is_retired {
                    let reading = Reading::of_message(message, begun);
                    self.bytes += cost(&reading);
                    self.readings.push_front(reading);
                }
            } else if message.payload.is_empty() && !self.states.contains_key(&message.topic) {
                self.removals.insert(message.topic);
            }
        }
        self.trim();
    }

    /// A queue never gets smaller by itself.
    fn give_back_capacity(&mut self) {
        if self.readings.capacity() > SMALL_QUEUE.max(4 * self.readings.len()) {
            self.readings.shrink_to(2 * self.readings.len());
        }
    }

    fn retract(&mut self, former: Option<Arc<dyn Announcements>>) {
        self.former.extend(former.map(|announcements| Former { announcements, next: 0 }));
        while self.former.len() > MOST_FORMER {
            self.former.pop_front();
        }
    }

    /// The topic of an earlier announcement that nothing announces any more.
    fn next_retraction(&mut self) -> Option<Arc<str>> {
        while let Some(former) = self.former.front_mut() {
            let Some(message) = former.announcements.get(former.next) else {
                self.former.pop_front();
                continue;
            };
            former.next += 1;
            if !self.announcements.as_ref().is_some_and(|all| all.is_announced(&message.topic)) {
                return Some(message.topic);
            }
        }
        None
    }

    /// Looks for a message that ends connections: a broker may end one for the size of a message, or for its topic, and
    /// everything would wait behind it for ever.
    fn suspect(&mut self, sent: &mut VecDeque<Message>) -> Option<Arc<str>> {
        let Some(first) = sent.front() else {
            (self.losses, self.suspect) = (0, None);
            return None;
        };
        self.losses = self.losses.saturating_add(1);
        // The state at a topic may be another by now.
        let is_same = |before: &Message| before.topic == first.topic && (first.retained || before == first);
        let before = self.suspect.take().filter(|suspect| is_same(&suspect.message));
        let losses = before.map_or(0, |suspect| suspect.losses) + 1;
        if losses < LOSSES_MAX {
            self.suspect = Some(Suspect { message: first.clone(), losses });
            return None;
        }
        let dropped = sent.pop_front()?;
        self.losses = 0;
        self.dropped += 1;
        if dropped.retained && self.refused.len() < MOST_REFUSED {
            self.refused.insert(Arc::clone(&dropped.topic), Instant::now());
        }
        Some(dropped.topic)
    }
}

/// What a reading takes: its content, and what keeps it.
fn cost(reading: &Reading) -> usize {
    reading.rest.len() + OVERHEAD
}

/// What surrounds the time of a reading.
const TIME_BEGINS: &[u8] = br#"{"time":""#;
const TIME_ENDS: &[u8] = br#"","#;

/// All of it: times have the same length for eight thousand years.
const TIME_LENGTH: usize = TIME_BEGINS.len() + "2026-11-22T14:30:00.123Z".len() + TIME_ENDS.len();

/// What the status topic says while the connection lasts.
const ONLINE: &[u8] = b"online";

/// Bytes of a reading beside its content: its place in the queue, which is up to twice as long as its contents, and the
/// allocation of the content. Topics are shared.
const OVERHEAD: usize = 2 * size_of::<Reading>() + 16;

/// Places of a queue that are not given back.
const SMALL_QUEUE: usize = 256;

/// Bytes of a topic that this gateway may have published at.
const LONGEST_TOPIC: usize = 1024;

/// Retained messages that are left over and wait for their removal; the rest is found again with the next connection.
const MOST_LEFT_OVER: usize = 4096;

/// Earlier announcements that are looked through: so many reloads may fall into one outage of the broker.
const MOST_FORMER: usize = 8;

/// Connections in a row that may be lost with the same first message.
const LOSSES_MAX: u32 = 3;

/// Connections in a row lost with unacknowledged messages, after which it is found out which one is to blame.
const CAREFUL_AFTER: u32 = 2;

/// Topics of retained messages that are not tried again before the next reload.
const MOST_REFUSED: usize = 64;

/// How long no change of such a state is sent.
const REFUSED_FOR: Duration = Duration::from_secs(600);

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::*;

    /// The contents of all messages; of readings only what follows the time.
    fn texts(outbox: &Outbox) -> Vec<String> {
        let text = |message: Message| {
            let length = if message.begun.is_some() { TIME_LENGTH } else { 0 };
            String::from_utf8_lossy(&message.payload[length..]).into_owned()
        };
        std::iter::from_fn(|| outbox.next()).map(text).collect()
    }

    fn push(outbox: &Outbox, text: &'static str) {
        push_at(outbox, text, Instant::now());
    }

    fn push_at(outbox: &Outbox, text: &'static str, begun: Instant) {
        if outbox.lock().clock.is_none() {
            outbox.set_clock(WallClock::new(begun.into(), SystemTime::UNIX_EPOCH));
        }
        let rest = Bytes::from_static(text.as_bytes());
        outbox.push(Reading { topic: "t/b/1/floats".into(), begun: begun.into(), rest }, begun);
    }

    fn sent(outbox: &Outbox, count: usize) -> VecDeque<Message> {
        (0..count).filter_map(|_| outbox.next()).collect()
    }

    #[derive(Debug)]
    struct Two;

    /// The first of them only.
    #[derive(Debug)]
    struct One;

    impl Announcements for One {
        fn get(&self, index: usize) -> Option<Message> {
            Two.get(index).filter(|_| index == 0)
        }

        fn count(&self) -> usize {
            1
        }

        fn is_announced(&self, topic: &str) -> bool {
            topic == "ha/0/config"
        }

        fn is_left_over(&self, _: &str, _: &[u8]) -> bool {
            false
        }

        fn filters(&self) -> Vec<String> {
            Vec::new()
        }
    }

    impl Announcements for Two {
        fn get(&self, index: usize) -> Option<Message> {
            let payload = Bytes::from(format!("announced {index}"));
            (index < 2).then(|| Message {
                topic: format!("ha/{index}/config").into(),
                payload,
                retained: true,
                begun: None,
            })
        }

        fn count(&self) -> usize {
            2
        }

        fn is_announced(&self, topic: &str) -> bool {
            matches!(topic, "ha/0/config" | "ha/1/config")
        }

        fn is_left_over(&self, topic: &str, _: &[u8]) -> bool {
            topic.starts_with("ha/old")
        }

        fn filters(&self) -> Vec<String> {
            vec!["ha/#".to_owned()]
        }
    }

    #[test]
    fn the_oldest_readings_make_room_and_are_counted() {
        let outbox = Outbox::new(2 * (OVERHEAD + 1));
        for text in ["1", "2", "3"] {
            push(&outbox, text);
        }
        let counts = outbox.counts();
        assert_eq!((counts.queued, counts.bytes, counts.dropped), (2, 2 * (OVERHEAD + 1), 1));
        assert!(counts.last_dropped.is_some());
        assert_eq!(texts(&outbox), ["2", "3"]);
        let counts = outbox.counts();
        assert_eq!((counts.queued, counts.bytes, counts.dropped), (0, 0, 1));
    }

    #[test]
    fn what_was_not_acknowledged_returns_to_its_place() {
        let outbox = Outbox::new(1000);
        for text in ["1", "2", "3", "4"] {
            push(&outbox, text);
        }
        outbox.put_back(sent(&outbox, 2));
        assert_eq!(texts(&outbox), ["1", "2", "3", "4"]);
    }

    #[test]
    fn what_waits_or_is_sent_again_has_its_time_by_the_clock_as_it_was_set_since() {
        let (outbox, start) = (Outbox::new(10_000), Instant::now());
        let second = Duration::from_secs(1);
        let text = |message: &Message| String::from_utf8(message.payload.to_vec()).unwrap();
        for (seconds, rest) in [(5, "1}"), (6, "2}"), (7, "3}")] {
            push_at(&outbox, rest, start + seconds * second);
        }
        // The clock began to count at the start: it was not set.
        outbox.set_clock(WallClock::new(start.into(), SystemTime::UNIX_EPOCH));
        let sent = sent(&outbox, 2);
        assert_eq!(text(&sent[0]), r#"{"time":"1970-01-01T00:00:05.000Z",1}"#);
        let set = SystemTime::UNIX_EPOCH + 1_800_000_000 * second;
        outbox.set_clock(WallClock::new((start + 10 * second).into(), set));
        let bytes = outbox.counts().bytes;
        outbox.put_back(sent);
        assert_eq!(outbox.counts().bytes, 3 * bytes);
        let again: Vec<_> = std::iter::from_fn(|| outbox.next()).map(|one| text(&one)).collect();
        let times = ["07:59:55", "07:59:56", "07:59:57"];
        let expected: Vec<_> = times
            .iter()
            .zip(1..)
            .map(|(time, number)| format!(r#"{{"time":"2027-01-15T{time}.000Z",{number}}}"#))
            .collect();
        assert_eq!(again, expected);
    }

    #[test]
    fn only_the_last_state_counts_and_each_connection_gets_all_of_them_first() {
        let outbox = Outbox::new(1000);
        outbox.announce(Arc::new(Two));
        push(&outbox, "1");
        let state = |topic: &str, text: &'static str| {
            outbox.set_state(topic.into(), Bytes::from_static(text.as_bytes()));
        };
        state("t/b/1/state", "online");
        state("t/b/1/state", "offline");
        state("t/b/2/state", "online");
        assert_eq!(texts(&outbox), ["offline", "online", "announced 0", "announced 1", "1"]);
        state("t/b/2/state", "online");
        assert_eq!(texts(&outbox), [""; 0], "nothing has changed");
        outbox.begin("t/b/0");
        let states = ["offline", "online", "online", "announced 0", "announced 1"];
        assert_eq!(texts(&outbox), states, "the status is the last of the states, wherever its name sorts");
    }

    #[test]
    fn what_is_left_over_at_the_broker_is_removed_and_nothing_else_is() {
        let outbox = Outbox::new(1000);
        outbox.announce(Arc::new(Two));
        let _announced = texts(&outbox);
        for topic in ["ha/0/config", "ha/old/config", "ha/old/config"] {
            outbox.reconcile(topic, b"{}");
        }
        let topic = "ha/old/config".into();
        let removal = Message { topic, payload: Bytes::new(), retained: true, begun: None };
        assert_eq!(outbox.next(), Some(removal.clone()));
        assert_eq!(outbox.next(), None);
        outbox.put_back(VecDeque::from([removal.clone()]));
        assert_eq!(outbox.next(), Some(removal), "the broker has not confirmed it");
    }

    #[test]
    fn what_is_left_over_is_removed_in_bounded_steps() {
        let outbox = Outbox::new(1000);
        outbox.announce(Arc::new(Two));
        let _announced = texts(&outbox);
        for number in 0..2 * MOST_LEFT_OVER {
            outbox.reconcile(&format!("ha/old/{number}"), b"{}");
        }
        assert_eq!(texts(&outbox).len(), MOST_LEFT_OVER);
        outbox.reconcile(&format!("ha/old/{}", "x".repeat(LONGEST_TOPIC)), b"{}");
        assert_eq!(texts(&outbox), [""; 0], "a topic that is none of this gateway's");

        // Buses that get another name with each reload while the broker is away.
        for number in 0..MOST_LEFT_OVER + 8 {
            outbox.set_state(format!("t/{number}/1/state").into(), Bytes::from_static(b"{}"));
        }
        outbox.forget_states(|_| true);
        assert_eq!(texts(&outbox).len(), MOST_LEFT_OVER);
    }

    #[test]
    fn a_state_that_is_published_again_is_not_removed_any_more() {
        let outbox = Outbox::new(1000);
        let set = || outbox.set_state("t/b/1/state".into(), Bytes::from_static(b"{}"));
        set();
        assert_eq!(texts(&outbox), ["{}"]);
        // The unit leaves the configuration and comes back while the broker is away.
        outbox.forget_states(|_| true);
        set();
        outbox.begin("t/status");
        assert_eq!(texts(&outbox), ["{}", "online"]);

        // The same with a removal that was sent and not acknowledged.
        outbox.forget_states(|topic| topic == "t/b/1/state");
        let removal = sent(&outbox, 1);
        assert!(removal[0].payload.is_empty());
        set();
        outbox.put_back(removal);
        outbox.begin("t/status");
        assert_eq!(texts(&outbox), ["{}", "online"]);
    }

    #[test]
    fn what_is_announced_no_more_is_removed_however_many_reloads_there_were() {
        let outbox = Outbox::new(1000);
        outbox.announce(Arc::new(Two));
        outbox.announce(Arc::new(One));
        outbox.announce(Arc::new(One));
        let messages: Vec<_> = std::iter::from_fn(|| outbox.next()).collect();
        let topics: Vec<_> = messages.iter().map(|one| (&*one.topic, one.payload.is_empty())).collect();
        assert_eq!(topics, [("ha/1/config", true), ("ha/0/config", false)]);
    }

    #[test]
    fn a_retired_outbox_removes_everything_and_takes_nothing_more() {
        let outbox = Outbox::new(1000);
        outbox.announce(Arc::new(Two));
        outbox.set_state("t/b/1/state".into(), Bytes::from_static(b"{}"));
        push(&outbox, "1");
        outbox.retire();
        push(&outbox, "2");
        outbox.set_state("t/b/1/state".into(), Bytes::from_static(b"{}"));
        let messages: Vec<_> = std::iter::from_fn(|| outbox.next()).collect();
        assert!(messages.iter().all(|one| one.retained && one.payload.is_empty()), "{messages:?}");
        let topics: Vec<_> = messages.iter().map(|one| &*one.topic).collect();
        assert_eq!(topics, ["t/b/1/state", "ha/0/config", "ha/1/config"]);
    }

    #[test]
    fn another_status_is_corrected_and_the_right_one_is_not() {
        let outbox = Outbox::new(1000);
        outbox.begin("t/status");
        assert_eq!(texts(&outbox), ["online"]);
        outbox.correct_status("t/status", b"online");
        assert_eq!(texts(&outbox), [""; 0]);
        outbox.correct_status("t/status", b"offline");
        assert_eq!(texts(&outbox), ["online"]);
    }

    #[test]
    fn a_message_with_which_three_connections_were_lost_makes_room() {
        let outbox = Outbox::new(1000);
        push(&outbox, "bad");
        push(&outbox, "good");
        for is_careful in [false, false, true] {
            assert_eq!(outbox.is_careful(), is_careful);
            let dropped = outbox.put_back_lost(sent(&outbox, 2));
            assert_eq!(dropped.as_deref(), is_careful.then_some("t/b/1/floats"));
        }
        assert!(!outbox.is_careful());
        assert_eq!(texts(&outbox), ["good"]);
        assert_eq!(outbox.counts().dropped, 1);

        // A state is not sent again with the next connection, and everything else is.
        outbox.set_state("t/b/1/state".into(), Bytes::from_static(b"bad"));
        outbox.set_state("t/b/2/state".into(), Bytes::from_static(b"good"));
        for _ in 0..3 {
            outbox.begin("t/status");
            let _dropped = outbox.put_back_lost(sent(&outbox, 3));
        }
        outbox.begin("t/status");
        assert_eq!(texts(&outbox), ["good", "online"]);
        outbox.set_state("t/b/1/state".into(), Bytes::from_static(b"worse"));
        outbox.set_state("t/b/1/state".into(), Bytes::from_static(b"bad"));
        assert_eq!(texts(&outbox), [""; 0], "another state at the same topic would end connections again");
        outbox.announce(Arc::new(One));
        outbox.begin("t/status");
        assert_eq!(texts(&outbox), ["bad", "good", "online", "announced 0"], "a reload is a new attempt");
    }

    #[test]
    fn other_messages_are_not_blamed() {
        let outbox = Outbox::new(1000);
        for text in ["1", "2", "3", "4"] {
            push(&outbox, text);
            assert_eq!(outbox.put_back_lost(sent(&outbox, 1)), None);
            // Acknowledged by the next connection.
            let _acknowledged = sent(&outbox, 1);
        }
        assert_eq!(outbox.counts().dropped, 0);
    }

    #[test]
    fn a_queue_that_is_drained_gives_its_memory_back() {
        let outbox = Outbox::new(100_000_000);
        for _ in 0..10_000 {
            push(&outbox, "1");
        }
        let _drained = texts(&outbox);
        let capacity = outbox.lock().readings.capacity();
        assert!(capacity <= SMALL_QUEUE, "{capacity}");
    }
}
