//! The one request on the wire: what it waits for, and until when.

use std::time::{Duration, Instant};

use bytes::Bytes;

use super::echo::Phase;
use super::queue::Item;
use super::record::Outcome;
use super::recording::Askers;
use super::request::Target;

/// Why something is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// A client waits for it.
    Client,
    /// An off-line unit may be back.
    Probe,
    /// It must be known whether the adapter echoes before a write whose answer equals it.
    EchoCheck,
}

/// How a request ended that got no good answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// Nothing that could be the answer came in time.
    Silent,
    /// The answer broke off.
    Truncated,
    /// The answer came whole, with a wrong CRC.
    Garbled,
}

impl Failure {
    /// The same in a record.
    pub(crate) fn outcome(self) -> Outcome {
        match self {
            Self::Silent => Outcome::Silent,
            Self::Truncated => Outcome::Truncated,
            Self::Garbled => Outcome::Garbled,
        }
    }
}

/// The request on the wire.
#[derive(Debug)]
pub(crate) struct Exchange<T> {
    pub(crate) item: Item<T>,
    pub(crate) purpose: Purpose,
    /// As it was sent.
    pub(crate) adu: Bytes,
    pub(crate) askers: Askers,
    /// When its first byte began to be sent.
    pub(crate) sent_at: Instant,
    /// When its last byte is on the wire.
    pub(crate) wire_end: Instant,
    /// When its answer must have begun.
    pub(crate) response_deadline: Instant,
    /// When it is over whatever arrives.
    pub(crate) hard_deadline: Instant,
    pub(crate) echo: Phase,
    /// What had been written to the unit when it was sent: data read under another epoch is not kept.
    pub(crate) epoch: u64,
    /// Whether anything at all arrived.
    pub(crate) any_byte: bool,
}

impl<T> Exchange<T> {
    pub(crate) fn is_broadcast(&self) -> bool {
        self.item.target == Target::Broadcast
    }

    /// The next instant at which it must be looked at, given when the bytes `pending` become noise.
    pub(crate) fn due(&self, pending_over: Option<Instant>) -> Instant {
        if self.is_broadcast() {
            return self.wire_end;
        }
        pending_over.unwrap_or(self.response_deadline).min(self.hard_deadline)
    }

    /// Line time it took, from its first byte to `now`.
    pub(crate) fn line_time(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.sent_at)
    }
}
