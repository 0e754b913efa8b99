//! The wire of a line, in one of two forms: the transaction in flight, and the meaning of every received byte.
//!
//! Each decides which request a frame answers, and when a request has timed out; the consequences are not decided here.
//! Both have one request in flight.

use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::modbus::pdu::RequestPdu;

use super::attempt::{Ended, Outgoing, WireEvent};
use super::mbap_wire::MbapWire;
use super::record::Received;
use super::rtu_wire::RtuWire;
use super::settings::{Echo, Protocol};
use super::unit::Units;
use super::view::PortState;

/// The wire of a line.
#[derive(Debug)]
pub(super) enum Wire {
    /// A serial line.
    Rtu(Box<RtuWire>),
    /// A connection to a Modbus TCP server.
    Mbap(Box<MbapWire>),
}

impl Wire {
    /// The wire of a closed port.
    pub(super) fn new(protocol: Protocol, echo: Echo) -> Self {
        match protocol {
            Protocol::Rtu(framing) => Self::Rtu(Box::new(RtuWire::new(framing, echo))),
            Protocol::Tcp => Self::Mbap(Box::default()),
        }
    }

    /// Applies settings before the port is reopened with them.
    pub(super) fn configure(&mut self, protocol: Protocol, echo: Echo) {
        match (&mut *self, protocol) {
            (Self::Rtu(wire), Protocol::Rtu(framing)) => wire.configure(framing, echo),
            (Self::Mbap(_), Protocol::Tcp) => {}
            (Self::Rtu(_) | Self::Mbap(_), _) => *self = Self::new(protocol, echo),
        }
    }

    /// Whether the answer to a request given up may be taken for the answer to another one.
    pub(super) fn owes_answers(&self) -> bool {
        match self {
            Self::Rtu(_) => true,
            Self::Mbap(_) => false,
        }
    }

    pub(super) fn port(&self) -> PortState {
        match self {
            Self::Rtu(wire) => wire.port(),
            Self::Mbap(wire) => wire.port(),
        }
    }

    /// Whether the adapter echoes; `None` while there is no verdict.
    pub(super) fn echo_verdict(&self) -> Option<bool> {
        match self {
            Self::Rtu(wire) => wire.echo_verdict(),
            Self::Mbap(_) => Some(false),
        }
    }

    /// Whether `request` may be sent: its answer differs from an echo, or there is a verdict.
    pub(super) fn may_send(&self, request: &RequestPdu) -> bool {
        match self {
            Self::Rtu(wire) => wire.may_send(request),
            Self::Mbap(_) => true,
        }
    }

    /// The port was opened.
    pub(super) fn open(&mut self, now: Instant) {
        match self {
            Self::Rtu(wire) => wire.open(now),
            Self::Mbap(wire) => wire.open(now),
        }
    }

    /// The port is gone; returns the transaction in flight.
    pub(super) fn close(&mut self) -> Option<Ended> {
        match self {
            Self::Rtu(wire) => wire.close(),
            Self::Mbap(wire) => wire.close(),
        }
    }

    /// The connection has ended and is being made again; returns the transaction in flight.
    pub(super) fn interrupt(&mut self, now: Instant) -> Option<Ended> {
        match self {
            Self::Rtu(wire) => wire.close(),
            Self::Mbap(wire) => wire.interrupt(now),
        }
    }

    /// Blocks sending before `until`.
    pub(super) fn block_until(&mut self, until: Instant) {
        match self {
            Self::Rtu(wire) => wire.block_until(until),
            Self::Mbap(wire) => wire.block_until(until),
        }
    }

    /// Whether a request could be sent once the line has been silent for long enough. Stray bytes do not delay it,
    /// however often they come; bytes that may become an owed answer do.
    pub(super) fn is_free(&self, units: &Units, now: Instant) -> bool {
        match self {
            Self::Rtu(wire) => wire.is_free(units, now),
            Self::Mbap(wire) => wire.is_free(),
        }
    }

    /// When the silence before a request ends: that of the protocol for every request, and for one that needs more the
    /// `gap` after the last frame.
    pub(super) fn silent_from(&self, gap: Duration) -> Instant {
        match self {
            Self::Rtu(wire) => wire.silent_from(gap),
            Self::Mbap(wire) => wire.silent_from(gap),
        }
    }

    /// Until when the server is taken to work on a request that was given up, for which it lets others wait.
    pub(super) fn held_until(&self) -> Option<Instant> {
        match self {
            Self::Rtu(_) => None,
            Self::Mbap(wire) => wire.held_until(),
        }
    }

    /// Has the next request carry this transaction identifier; a serial line has none.
    pub(super) fn begin_identifiers_at(&mut self, id: u16) {
        match self {
            Self::Rtu(_) => {}
            Self::Mbap(wire) => wire.begin_identifiers_at(id),
        }
    }

    /// Begins a transaction: returns the bytes to send.
    pub(super) fn begin(&mut self, outgoing: Outgoing, now: Instant) -> Bytes {
        match self {
            Self::Rtu(wire) => wire.begin(outgoing, now),
            Self::Mbap(wire) => wire.begin(outgoing, now),
        }
    }

    /// Bytes arrived. Call [`next_event`](Self::next_event) until there is none.
    pub(super) fn handle_bytes(&mut self, bytes: &[u8], now: Instant) {
        match self {
            Self::Rtu(wire) => wire.handle_bytes(bytes, now),
            Self::Mbap(wire) => wire.handle_bytes(bytes, now),
        }
    }

    /// The next event, up to `now`.
    pub(super) fn next_event(&mut self, units: &Units, now: Instant) -> Option<WireEvent> {
        match self {
            Self::Rtu(wire) => wire.next_event(units, now),
            Self::Mbap(wire) => wire.next_event(now),
        }
    }

    /// When [`next_event`](Self::next_event) may have one without further bytes.
    pub(super) fn poll_timeout(&self, units: &Units, now: Instant) -> Option<Instant> {
        match self {
            Self::Rtu(wire) => wire.poll_timeout(units, now),
            Self::Mbap(wire) => wire.poll_timeout(),
        }
    }

    /// Received bytes that form no frame yet will form none: a request is about to be sent.
    pub(super) fn discard_pending(&mut self) {
        match self {
            Self::Rtu(wire) => wire.discard_pending(),
            // The stream has a structure: what has begun will be completed.
            Self::Mbap(_) => {}
        }
    }

    /// Everything received that is in no record yet, as a record of its own.
    pub(super) fn take_stray(&mut self) -> Option<Received> {
        match self {
            Self::Rtu(wire) => wire.take_stray(),
            Self::Mbap(wire) => wire.take_stray(),
        }
    }

    /// Bytes in no frame that have come since the last call.
    pub(super) fn take_noise(&mut self) -> u64 {
        match self {
            Self::Rtu(wire) => wire.take_noise(),
            Self::Mbap(_) => 0,
        }
    }
}
