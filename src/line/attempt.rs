//! One attempt of a transaction: what is sent, and how it ended. Both forms of the wire speak in these.

use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::modbus::mbap::FramingError;
use crate::modbus::pdu::{ExceptionCode, FunctionCode, RequestPdu};

use super::now::Now;
use super::receive::Frame;
use super::record::{Misfit, Received};
use super::settings::{Replies, UnitId};

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

/// Why a connection is to be closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disconnection {
    /// What came is no Modbus TCP; nothing after it can be decoded.
    Misframed(FramingError),
    /// The server takes requests and answers none, or has stopped within an answer.
    Hung,
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

/// The exception in a unit's reply, if it is one.
pub(super) fn exception_of(pdu: &[u8]) -> Option<ExceptionCode> {
    match pdu {
        [function, code, ..] if function & EXCEPTION_BIT != 0 => Some(ExceptionCode(*code)),
        _ => None,
    }
}

pub(super) const EXCEPTION_BIT: u8 = 0x80;
