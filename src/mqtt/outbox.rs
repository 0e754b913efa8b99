//! What waits for a broker: states, of which only the last of each topic counts, announcements, and readings.
//!
//! Owns the bounds: readings are kept up to a number of bytes, and the oldest goes first; states and announcements are as
//! many as the configuration has units and points. Readings keep their order and leave it only for those that were sent
//! and not acknowledged, which return to their place.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use tokio::sync::Notify;

/// One message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Its topic.
    pub topic: Arc<str>,
    /// Its content; empty and retained: what is retained at the topic is removed.
    pub payload: Bytes,
    /// Whether the broker keeps it for those who subscribe later.
    pub retained: bool,
}

/// Retained messages beside the states, made one at a time because together they may be megabytes.
pub trait Announcements: fmt::Debug + Send + Sync {
    /// The message at this place; `None`: there are no more.
    fn get(&self, index: usize) -> Option<Message>;

    /// Whether the broker holds a retained message here that this gateway wrote once and nothing publishes any more.
    fn is_left_over(&self, topic: &str) -> bool;

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
    /// Retained messages to remove.
    removals: VecDeque<Arc<str>>,
    readings: VecDeque<Message>,
    bytes: usize,
    limit: usize,
    dropped: u64,
    /// Counts the changes of `announcements`.
    edition: u64,
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
            removals: VecDeque::new(),
            readings: VecDeque::new(),
            bytes: 0,
            limit,
            dropped: 0,
            edition: 0,
        };
        Self { inner: Mutex::new(inner), filled: Notify::new() }
    }

    /// Sets how many bytes of readings are kept.
    pub fn set_limit(&self, limit: usize) {
        let mut inner = self.lock();
        inner.limit = limit;
        inner.trim();
    }

    /// Sets what is announced with each new connection, and announces it now.
    pub fn announce(&self, announcements: Arc<dyn Announcements>) {
        let mut inner = self.lock();
        inner.announcements = Some(announcements);
        inner.announced = 0;
        inner.edition += 1;
        drop(inner);
        self.filled.notify_one();
    }

    /// Sets the state at a topic.
    pub fn set_state(&self, topic: Arc<str>, payload: Bytes) {
        let mut inner = self.lock();
        if inner.states.get(&topic) == Some(&payload) {
            return;
        }
        inner.states.insert(Arc::clone(&topic), payload);
        if !inner.unsent.contains(&topic) {
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
            inner.unsent.retain(|unsent| *unsent != topic);
            inner.remove_retained(topic);
        }
        drop(inner);
        self.filled.notify_one();
    }

    /// Keeps a reading until the broker has it. The oldest make room.
    pub fn push(&self, message: Message) {
        let mut inner = self.lock();
        inner.bytes += cost(&message);
        inner.readings.push_back(message);
        inner.trim();
        drop(inner);
        self.filled.notify_one();
    }

    /// Readings that wait, the bytes they take, and how many made room.
    #[must_use]
    pub fn counts(&self) -> (usize, usize, u64) {
        let inner = self.lock();
        (inner.readings.len(), inner.bytes, inner.dropped)
    }

    /// A new connection: the broker may have forgotten every retained message. `online` follows the states, so that a
    /// state of an earlier run does not count for a moment.
    pub(super) fn begin(&self, status_topic: &str) {
        let mut inner = self.lock();
        let status: Arc<str> = status_topic.into();
        inner.states.remove(&status);
        inner.unsent = inner.states.keys().cloned().collect();
        inner.unsent.push_back(Arc::clone(&status));
        inner.states.insert(status, Bytes::from_static(ONLINE));
        inner.announced = 0;
    }

    /// The next message: states first, for they are few and tell whether readings still come; readings last.
    pub fn next(&self) -> Option<Message> {
        let mut inner = self.lock();
        if let Some(topic) = inner.unsent.pop_front() {
            let payload = inner.states.get(&topic).cloned().unwrap_or_default();
            return Some(Message { topic, payload, retained: true });
        }
        if let Some(topic) = inner.removals.pop_front() {
            return Some(Message { topic, payload: Bytes::new(), retained: true });
        }
        if let Some(message) = inner.announcements.as_ref().and_then(|all| all.get(inner.announced)) {
            inner.announced += 1;
            return Some(message);
        }
        let message = inner.readings.pop_front()?;
        inner.bytes -= cost(&message);
        Some(message)
    }

    /// Takes back what was sent and not acknowledged, in the order in which it was sent. Retained messages are sent anew
    /// with the next connection anyway.
    pub(super) fn put_back(&self, sent: impl DoubleEndedIterator<Item = Message>) {
        let mut inner = self.lock();
        for message in sent.rev() {
            if !message.retained {
                inner.bytes += cost(&message);
                inner.readings.push_front(message);
            } else if message.payload.is_empty() {
                inner.remove_retained(message.topic);
            }
        }
        inner.trim();
    }

    /// Looks at a retained message of the broker; one that is left over is removed.
    pub(super) fn reconcile(&self, topic: &str) {
        let mut inner = self.lock();
        if inner.announcements.as_ref().is_some_and(|all| all.is_left_over(topic)) {
            inner.remove_retained(topic.into());
        }
    }

    /// The filters below which retained messages may be left over, and the number of the announcements they belong to.
    pub(super) fn filters(&self) -> (u64, Vec<String>) {
        let inner = self.lock();
        (inner.edition, inner.announcements.as_ref().map(|all| all.filters()).unwrap_or_default())
    }

    /// Waits until something was added.
    pub(super) async fn filled(&self) {
        self.filled.notified().await;
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn trim(&mut self) {
        while self.bytes > self.limit {
            let Some(oldest) = self.readings.pop_front() else { return };
            self.bytes -= cost(&oldest);
            self.dropped += 1;
        }
    }

    fn remove_retained(&mut self, topic: Arc<str>) {
        if self.removals.len() < MOST_REMOVALS && !self.removals.contains(&topic) {
            self.removals.push_back(topic);
        }
    }
}

/// What a message takes: its content, and what keeps it.
fn cost(message: &Message) -> usize {
    message.payload.len() + OVERHEAD
}

/// What the status topic says while the connection lasts.
const ONLINE: &[u8] = b"online";

/// Bytes of a message beside its content: its place in the queue, and the allocation of the content. Topics are shared.
const OVERHEAD: usize = 96;

/// Retained messages to remove that may wait; the rest is found again with the next connection.
const MOST_REMOVALS: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(text: &'static str) -> Message {
        Message {
            topic: "t/b/1/floats".into(),
            payload: Bytes::from_static(text.as_bytes()),
            retained: false,
        }
    }

    fn texts(outbox: &Outbox) -> Vec<String> {
        std::iter::from_fn(|| outbox.next())
            .map(|message| String::from_utf8_lossy(&message.payload).into_owned())
            .collect()
    }

    #[derive(Debug)]
    struct Two;

    impl Announcements for Two {
        fn get(&self, index: usize) -> Option<Message> {
            let payload = Bytes::from(format!("announced {index}"));
            (index < 2).then(|| Message { topic: "ha/config".into(), payload, retained: true })
        }

        fn is_left_over(&self, topic: &str) -> bool {
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
            outbox.push(reading(text));
        }
        assert_eq!(outbox.counts(), (2, 2 * (OVERHEAD + 1), 1));
        assert_eq!(texts(&outbox), ["2", "3"]);
        assert_eq!(outbox.counts(), (0, 0, 1));
    }

    #[test]
    fn what_was_not_acknowledged_returns_to_its_place() {
        let outbox = Outbox::new(1000);
        for text in ["1", "2", "3", "4"] {
            outbox.push(reading(text));
        }
        let sent: Vec<_> = (0..2).filter_map(|_| outbox.next()).collect();
        outbox.put_back(sent.into_iter());
        assert_eq!(texts(&outbox), ["1", "2", "3", "4"]);
    }

    #[test]
    fn only_the_last_state_counts_and_each_connection_gets_all_of_them_first() {
        let outbox = Outbox::new(1000);
        outbox.announce(Arc::new(Two));
        outbox.push(reading("1"));
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
        assert_eq!(texts(&outbox), states, "the status is the last of the states, whatever its name");
    }

    #[test]
    fn what_is_left_over_at_the_broker_is_removed_and_nothing_else_is() {
        let outbox = Outbox::new(1000);
        outbox.announce(Arc::new(Two));
        let _announced = texts(&outbox);
        for topic in ["ha/config", "ha/old/config", "ha/old/config"] {
            outbox.reconcile(topic);
        }
        let removal = Message { topic: "ha/old/config".into(), payload: Bytes::new(), retained: true };
        assert_eq!(outbox.next(), Some(removal.clone()));
        assert_eq!(outbox.next(), None);
        outbox.put_back(std::iter::once(removal.clone()));
        assert_eq!(outbox.next(), Some(removal), "the broker has not confirmed it");
    }

    #[test]
    fn removals_are_bounded() {
        let outbox = Outbox::new(1000);
        outbox.announce(Arc::new(Two));
        let _announced = texts(&outbox);
        for number in 0..2 * MOST_REMOVALS {
            outbox.reconcile(&format!("ha/old/{number}"));
        }
        assert_eq!(texts(&outbox).len(), MOST_REMOVALS);
    }
}
