//! What a client delivers, by the form in which it is published.

use std::sync::Arc;
use std::time::SystemTime;

use super::outbox::{Message, Outbox, OutboxCounts};
use super::session::goodbye;
use super::settings::BrokerSettings;
use super::sparkplug_outbox::SparkplugOutbox;

/// What waits for a broker.
#[derive(Clone, Debug)]
pub enum Delivery {
    /// States and readings, each delivered at least once.
    Json(Arc<Outbox>),
    /// Births, deaths and data of an edge node.
    Sparkplug(Arc<SparkplugOutbox>),
}

impl Delivery {
    /// Sets how many bytes of readings are kept.
    pub fn set_limit(&self, limit: usize) {
        match self {
            Self::Json(outbox) => outbox.set_limit(limit),
            Self::Sparkplug(outbox) => outbox.set_limit(limit),
        }
    }

    /// Sets how many messages per second are sent at most.
    pub fn set_pace(&self, pace: u32) {
        match self {
            Self::Json(outbox) => outbox.set_pace(pace),
            Self::Sparkplug(outbox) => outbox.set_pace(pace),
        }
    }

    /// How much waits, and what became of the rest.
    #[must_use]
    pub fn counts(&self) -> OutboxCounts {
        match self {
            Self::Json(outbox) => outbox.counts(),
            Self::Sparkplug(outbox) => outbox.counts(),
        }
    }

    /// A CONNECT is about to be sent: its will.
    pub(super) fn connect(&self, settings: &BrokerSettings, wall: SystemTime) -> Message {
        match self {
            Self::Json(_) => goodbye(settings),
            Self::Sparkplug(outbox) => outbox.connect(wall),
        }
    }

    /// Messages per second at most.
    pub(super) fn pace(&self) -> u32 {
        match self {
            Self::Json(outbox) => outbox.pace(),
            Self::Sparkplug(outbox) => outbox.pace(),
        }
    }

    /// Waits until something was added.
    pub(super) async fn filled(&self) {
        match self {
            Self::Json(outbox) => outbox.filled().await,
            Self::Sparkplug(outbox) => outbox.filled().await,
        }
    }
}
