//! An edge node between the publisher, which fills it, and the client, which sends what it says.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Instant, SystemTime};

use tokio::sync::Notify;

use super::outbox::{Message, OutboxCounts};
use crate::sparkplug::{
    Counts, DeviceDefinition, EdgeNode, MetricValue, Outgoing, Quality, Received, Taken, millis,
};

/// What waits for one broker as an edge node.
#[derive(Debug)]
pub struct SparkplugOutbox {
    node: Mutex<EdgeNode>,
    filled: Notify,
    /// Messages per second at most.
    pace: AtomicU32,
}

impl SparkplugOutbox {
    /// The outbox of a node.
    #[must_use]
    pub fn new(node: EdgeNode) -> Self {
        Self { node: Mutex::new(node), filled: Notify::new(), pace: AtomicU32::new(u32::MAX) }
    }

    /// Replaces the devices.
    pub fn define(&self, devices: Vec<DeviceDefinition>) {
        self.lock().define(devices);
        self.filled.notify_one();
    }

    /// Whether a meter answers.
    pub fn set_alive(&self, device: &str, is_alive: bool, now: Taken) {
        if self.lock().set_alive(device, is_alive, now) {
            self.filled.notify_one();
        }
    }

    /// Keeps what has changed with a reading until it is sent.
    pub fn record(
        &self,
        device: &str,
        taken: Taken,
        quality: Quality,
        values: Vec<(&str, Option<MetricValue>)>,
        now: Instant,
    ) {
        if self.lock().record(device, taken, quality, values, now) {
            self.filled.notify_one();
        }
    }

    /// The clock on the wall was set: it is ahead by so many milliseconds of what it was.
    pub fn shift_times(&self, millis: i64) {
        self.lock().shift_times(millis);
        self.filled.notify_one();
    }

    /// How much waits, and what became of the rest.
    #[must_use]
    pub fn counts(&self) -> OutboxCounts {
        let Counts { queued, bytes, dropped, last_dropped } = self.lock().counts();
        OutboxCounts { queued, bytes, dropped, last_dropped }
    }

    pub(super) fn set_limit(&self, limit: usize) {
        self.lock().set_limit(limit);
    }

    /// Sets the host that births wait for, from the next connection on.
    pub fn set_primary_host(&self, host: Option<String>) {
        self.lock().set_primary_host(host);
    }

    pub(super) fn set_pace(&self, pace: u32) {
        self.pace.store(pace, Ordering::Relaxed);
    }

    pub(super) fn pace(&self) -> u32 {
        self.pace.load(Ordering::Relaxed)
    }

    pub(super) async fn filled(&self) {
        self.filled.notified().await;
    }

    /// A CONNECT is about to be sent: its will.
    pub fn connect(&self, wall: SystemTime) -> Message {
        message(self.lock().connect(millis(wall)))
    }

    pub(super) fn filters(&self) -> Vec<String> {
        self.lock().filters()
    }

    /// The broker has accepted the connection. Returns the primary host that births wait for, if there is one.
    pub fn begin(&self) -> Option<String> {
        let mut node = self.lock();
        node.begin();
        node.awaited_host().map(str::to_owned)
    }

    pub(super) fn handle_message(&self, topic: &str, payload: &[u8]) -> Received {
        self.lock().handle_message(topic, payload)
    }

    /// When births that a host has requested are sent although nothing happens.
    pub(super) fn rebirth_due(&self) -> Option<Instant> {
        self.lock().rebirth_due()
    }

    /// The next message; `None`: nothing is to be sent now.
    pub fn next(&self, now: Taken) -> Option<Message> {
        self.lock().next(now).map(message)
    }

    pub(super) fn end(&self, wall: SystemTime) -> Message {
        message(self.lock().end(millis(wall)))
    }

    pub(super) fn disconnect(&self) {
        self.lock().disconnect();
    }

    fn lock(&self) -> MutexGuard<'_, EdgeNode> {
        self.node.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn message(outgoing: Outgoing) -> Message {
    let Outgoing { topic, payload } = outgoing;
    Message { topic, payload, retained: false, begun: None }
}
