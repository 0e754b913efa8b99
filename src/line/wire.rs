//! The wire of a line, in one of two forms: the transaction in flight, and the meaning of every received byte.
//!
//! Each decides which request a frame answers, and when a request has timed out; the consequences are not decided here.
//! Both have one request in flight.

use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::modbus::pdu::{ExceptionCode, FunctionCode, RequestPdu};

use super::mbap_wire::{Disconnection, MbapWire};
use super::now::Now;
use super::receive::Frame;
use super::record::Received;
use super::rtu_wire::RtuWire;
use super::settings::{Echo, Protocol, Replies, UnitId};
use super::unit::Units;
use super::view::PortState;

/// A request to send, and how long its answer may take.
#[derive(Clone, Debug)]
pub(super) struct Outgoing {
    /// `None`: a broadcast.
    pub(super) unit: Option<UnitId>,
    pub(super) request: RequestPdu,
    pub(super) response_timeout: Duration,
    pub(super) byte_timeout: Duration,
    pub(super) replies: Replies,
    pub(super) misfits: Misfits,
    pub(super) origin: Origin,
    /// The queue's key of what it was sent for; a retry has the same.
    pub(super) item: u64,
}

/// When the data of an answer was read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Origin {
    /// When the first read that it may answer was sent.
    pub(super) begun: Now,
    /// When the last such read was.
    pub(super) latest: Instant,
    /// The unit's write epoch at that time.
    pub(super) epoch: u64,
}

/// What an intact answer that does not fit means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Misfits {
    /// It ends the request: the unit has answered all requests recently, so this is the answer.
    End,
    /// It may be the late answer to an earlier request: the wait continues.
    MayBeLate,
}

/// A transaction that has ended.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) adu: Bytes,
    pub(super) sent_at: Instant,
    pub(super) wire_end: Instant,
    /// Everything received until it ended.
    pub(super) received: Received,
    /// The last answer that did not fit.
    pub(super) misfit: Option<Misfit>,
}

/// An intact answer of the addressed unit that does not fit its request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Misfit {
    /// It has another length than requested.
    Length {
        /// The function.
        function: FunctionCode,
        /// Bytes of data: behind function and byte count, or behind the function where there is no count.
        answered: usize,
        /// The same of the requested answer, where that is known.
        asked: Option<usize>,
    },
    /// It carries another function.
    Function {
        /// The function of the answer.
        answered: FunctionCode,
        /// The function of the request.
        asked: FunctionCode,
    },
}

/// How a request without a fitting answer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AttemptFailure {
    /// No answer came in time.
    Silent,
    /// The answer stopped before its end.
    Truncated,
    /// The whole answer came with a wrong CRC.
    Garbled,
    /// The answer was intact and did not fit.
    Misfit,
    /// The connection ended before the answer.
    Interrupted,
}

/// An event on the wire.
#[derive(Debug)]
pub(super) enum WireEvent {
    /// The request in flight was answered.
    Answered { ended: Ended, frame: Frame, response_time: Duration },
    /// The server answered in place of the unit: the unit did not answer it, or it has no way to the unit.
    Unreached { ended: Ended, frame: Frame },
    /// The request in flight got no fitting answer.
    Failed { ended: Ended, failure: AttemptFailure },
    /// The broadcast in flight was sent in full.
    Sent { ended: Ended },
    /// A frame came that answers a request given up.
    Late { frame: Frame },
    /// The unit sent an intact frame that fits no request and proves it is alive.
    Alive { unit: UnitId, misfit: Misfit },
    /// The unit answered with another function, which proves nothing.
    OtherFunction { unit: UnitId, misfit: Misfit },
    /// A frame of a unit other than the addressed one, or of one that owes nothing.
    Foreign { frame: Frame, awaited: Option<UnitId> },
    /// The answer to an earlier request, and how long after that it came.
    Outdated { outgoing: Outgoing, frame: Frame, after: Duration },
    /// An answer that names no request of the gateway, or none whose answer is still missing.
    Unmatched { unit: Option<UnitId> },
    /// Nothing can be had of the connection any more: it must be closed.
    Disconnect(Disconnection),
    /// A request that is not the gateway's.
    ForeignRequest,
    /// Bytes that were due as an echo differ from what was sent.
    Collision,
    /// The line is occupied.
    Occupied { ended: Option<Ended> },
    /// The line is free again.
    Free,
    /// Bytes received while no answer was awaited, for the record.
    Stray(Received),
}

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

/// How an answer that does not fit differs from the requested one.
pub(super) fn misfit_of(request: &RequestPdu, pdu: &[u8]) -> Misfit {
    let asked = request.function();
    if pdu[0] & !EXCEPTION_BIT != asked.0 {
        return Misfit::Function { answered: FunctionCode(pdu[0]), asked };
    }
    let (has_count, expected) = match request.range() {
        Some(range) => (1, Some(range.byte_count())),
        None => (0, None),
    };
    Misfit::Length { function: asked, answered: pdu.len().saturating_sub(1 + has_count), asked: expected }
}

impl std::fmt::Display for Misfit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Length { function, answered, asked: Some(asked) } => {
                write!(f, "answered {answered} bytes where {asked} were asked (function {function})")
            }
            Self::Length { function, answered, asked: None } => {
                write!(f, "answered {answered} bytes that do not fit the request (function {function})")
            }
            Self::Function { answered, asked } => {
                write!(f, "answered function {answered} where {asked} was asked")
            }
        }
    }
}

/// The exception in a unit's reply, if it is one.
pub(super) fn exception_of(pdu: &[u8]) -> Option<ExceptionCode> {
    match pdu {
        [function, code, ..] if function & EXCEPTION_BIT != 0 => Some(ExceptionCode(*code)),
        _ => None,
    }
}

pub(super) const EXCEPTION_BIT: u8 = 0x80;
