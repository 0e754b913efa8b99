//! A record of each attempt on the line: when, for which client, the bytes in both directions, and the outcome.
//!
//! Owns the shape of a record and the recorder of received bytes. It decides nothing: the line behaves the same whether
//! or not records are read.

use std::fmt;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::request::{Source, Target};
use super::settings::UnitId;
use crate::modbus::AduFraming;
use crate::modbus::pdu::{ExceptionCode, FunctionCode};

/// One record of the line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// A request was sent and has ended.
    Transaction(Transaction),
    /// Bytes came while no answer was awaited: a late answer, an unrequested frame, noise.
    Stray(Stray),
}

impl Record {
    /// Increases by one over the records of a bus, from 1.
    #[must_use]
    pub fn number(&self) -> u64 {
        match self {
            Self::Transaction(transaction) => transaction.number,
            Self::Stray(stray) => stray.number,
        }
    }

    /// When it began: the first byte sent, or received where nothing was.
    #[must_use]
    pub fn begun(&self) -> Instant {
        match self {
            Self::Transaction(transaction) => transaction.sent_at,
            Self::Stray(stray) => stray.received.first_at.unwrap_or(stray.ended_at),
        }
    }

    /// How the ADUs in it are framed.
    #[must_use]
    pub fn framing(&self) -> AduFraming {
        match self {
            Self::Transaction(transaction) => transaction.framing,
            Self::Stray(stray) => stray.framing,
        }
    }

    /// What was received.
    #[must_use]
    pub fn received(&self) -> &Received {
        match self {
            Self::Transaction(transaction) => &transaction.received,
            Self::Stray(stray) => &stray.received,
        }
    }
}

/// One attempt: a request on the wire and its outcome.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transaction {
    /// Increases over the records of a bus.
    pub number: u64,
    /// Why it was sent.
    pub cause: Cause,
    /// The client that requested it first, if any.
    pub source: Option<Source>,
    /// Clients that waited for the answer, the first included.
    pub clients: usize,
    /// The addressed unit, or all units.
    pub target: Target,
    /// 1 for the first sending of a request.
    pub attempt: u32,
    /// How the ADUs are framed.
    pub framing: AduFraming,
    /// The ADU as sent.
    pub request: Bytes,
    /// Everything received until it ended.
    pub received: Received,
    /// When its first byte began to be sent.
    pub sent_at: Instant,
    /// When its last byte was on the wire, computed.
    pub wire_end: Instant,
    /// When it ended.
    pub ended_at: Instant,
    /// How it ended.
    pub outcome: Outcome,
}

impl Transaction {
    /// The PDU of the request.
    #[must_use]
    pub fn request_pdu(&self) -> &[u8] {
        self.framing.pdu_of(&self.request)
    }

    /// The PDU of the answer; empty if none came whole.
    #[must_use]
    pub fn answer_pdu(&self) -> &[u8] {
        let answer = self.received.segments.iter().find(|piece| piece.kind == SegmentKind::Answer);
        let adu = answer.and_then(|piece| self.received.bytes.get(piece.start..piece.start + piece.length));
        adu.map(|adu| self.framing.pdu_of(adu)).unwrap_or_default()
    }

    /// From the end of the request on the wire to the first byte of the answer, if one came whole.
    #[must_use]
    pub fn answer_time(&self) -> Option<Duration> {
        let answer = self.received.segments.iter().find(|piece| piece.kind == SegmentKind::Answer)?;
        Some(answer.at.saturating_duration_since(self.wire_end))
    }
}

/// Bytes received while no answer was awaited.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stray {
    /// Increases over the records of a bus.
    pub number: u64,
    /// How the ADUs are framed.
    pub framing: AduFraming,
    /// The bytes.
    pub received: Received,
    /// When the record was made.
    pub ended_at: Instant,
}

/// Why a request was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// A client's request.
    Client,
    /// A background reading; clients may have joined it.
    Background,
    /// A probe of an off-line unit, or a confirmation that a unit still answers.
    Probe,
    /// A check whether the adapter echoes.
    EchoCheck,
}

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// With data, or the echo of a write.
    Answered,
    /// With an exception of the unit.
    Exception(ExceptionCode),
    /// The broadcast was sent in full.
    Sent,
    /// No answer came in time.
    Silent,
    /// The answer stopped before its end.
    Truncated,
    /// The whole answer came with a wrong CRC.
    Garbled,
    /// The answer was intact and did not fit the request.
    Misfit(Misfit),
    /// The port or the connection was lost during the attempt.
    PortLost,
    /// The line was declared occupied during the attempt.
    Occupied,
}

impl Outcome {
    /// Whether the unit answered, with data or an exception, or no answer was due.
    #[must_use]
    pub fn is_good(self) -> bool {
        match self {
            Self::Answered | Self::Exception(_) | Self::Sent => true,
            Self::Silent
            | Self::Truncated
            | Self::Garbled
            | Self::Misfit(_)
            | Self::PortLost
            | Self::Occupied => false,
        }
    }

    /// The outcome as one word, for filters.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::Exception(_) => "exception",
            Self::Sent => "sent",
            Self::Silent => "silent",
            Self::Truncated => "truncated",
            Self::Garbled => "garbled",
            Self::Misfit(_) => "misfit",
            Self::PortLost => "port-lost",
            Self::Occupied => "occupied",
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Answered => f.write_str("answered"),
            Self::Exception(code) => write!(f, "exception {code}"),
            Self::Sent => f.write_str("sent to all units"),
            Self::Silent => f.write_str("no answer"),
            Self::Truncated => f.write_str("the answer broke off"),
            Self::Garbled => f.write_str("wrong CRC"),
            Self::Misfit(misfit) => misfit.fmt(f),
            Self::PortLost => f.write_str("the port was lost"),
            Self::Occupied => f.write_str("the line was occupied"),
        }
    }
}

/// Bytes as they were received.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Received {
    /// The first [`RECEIVED_MAX`] of them.
    pub bytes: Bytes,
    /// How many there were.
    pub total: usize,
    /// The recognised frames, in order; bytes in none of these are noise.
    pub segments: Vec<RxSegment>,
    /// When the first one was received.
    pub first_at: Option<Instant>,
    /// When the last one was.
    pub last_at: Option<Instant>,
}

impl Received {
    /// Whether more were received than are kept.
    #[must_use]
    pub fn is_cut(&self) -> bool {
        self.total > self.bytes.len()
    }

    /// The kept bytes that are in no recognised frame.
    pub fn unframed(&self) -> impl Iterator<Item = u8> {
        let parts = self.parts().into_iter().filter(|part| part.kind.is_none());
        parts.flat_map(|part| part.bytes.iter().copied())
    }

    /// Every kept byte once, in order: the segments, with the noise between them, and when each began.
    #[must_use]
    pub fn parts(&self) -> Vec<ReceivedPart<'_>> {
        let mut parts = Vec::new();
        let mut done = 0;
        let begun = self.first_at.or(self.last_at);
        let noise = |from: usize, to: usize| {
            let bytes = self.bytes.get(from..to).filter(|bytes| !bytes.is_empty())?;
            Some(ReceivedPart { kind: None, bytes, at: begun })
        };
        for piece in &self.segments {
            let end = piece.start + piece.length;
            let Some(bytes) = self.bytes.get(piece.start..end) else { continue };
            parts.extend(noise(done, piece.start));
            parts.push(ReceivedPart { kind: Some(piece.kind), bytes, at: Some(piece.at) });
            done = end;
        }
        parts.extend(noise(done, self.bytes.len()));
        parts
    }
}

/// A stretch of the received bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReceivedPart<'r> {
    /// What they are; `None`: noise, or the rest of a damaged frame.
    pub kind: Option<SegmentKind>,
    /// The bytes.
    pub bytes: &'r [u8],
    /// When the first of them was received, as far as known.
    pub at: Option<Instant>,
}

/// Received bytes that were recognised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RxSegment {
    /// What they are.
    pub kind: SegmentKind,
    /// Offset of the first of them.
    pub start: usize,
    /// How many.
    pub length: usize,
    /// When the first of them was received, or when the bytes before them were processed.
    pub at: Instant,
}

/// What received bytes were.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SegmentKind {
    /// The request, handed back by the adapter.
    Echo,
    /// The frame that ended the transaction.
    Answer,
    /// A whole frame that answers no request of the gateway.
    Foreign,
    /// The answer of this unit to an earlier request that had been given up.
    Late(UnitId),
}

/// Received bytes that are in no record yet.
#[derive(Debug, Default)]
pub(super) struct RxRecorder {
    bytes: Vec<u8>,
    total: usize,
    segments: Vec<RxSegment>,
    first_at: Option<Instant>,
    last_at: Option<Instant>,
}

impl RxRecorder {
    /// Appends received bytes.
    pub(super) fn push(&mut self, bytes: &[u8], now: Instant) {
        let room = RECEIVED_MAX.saturating_sub(self.bytes.len());
        self.bytes.extend_from_slice(&bytes[..bytes.len().min(room)]);
        self.total += bytes.len();
        self.first_at.get_or_insert(now);
        self.last_at = Some(now);
    }

    /// Marks the `length` bytes ahead of the last `pending` ones. Nothing is noted beyond the kept bytes.
    pub(super) fn mark(&mut self, kind: SegmentKind, length: usize, pending: usize, at: Instant) {
        let end = self.total.saturating_sub(pending);
        if end <= RECEIVED_MAX && length <= end {
            self.segments.push(RxSegment { kind, start: end - length, length, at });
        }
    }

    /// Whether nothing was received.
    pub(super) fn is_empty(&self) -> bool {
        self.total == 0
    }

    /// Whether anything but noise was received.
    pub(super) fn has_segments(&self) -> bool {
        !self.segments.is_empty()
    }

    /// Everything received except the last bytes, `pending`, which came since `pending_since` and stay for the next
    /// record.
    pub(super) fn drain(&mut self, pending: &[u8], pending_since: Option<Instant>) -> Received {
        let mut rest = Self::default();
        if let Some(since) = pending_since.filter(|_| !pending.is_empty()) {
            rest.push(pending, since);
            rest.last_at = self.last_at;
        }
        let taken = std::mem::replace(self, rest);
        let total = taken.total - pending.len().min(taken.total);
        let (mut bytes, mut segments) = (taken.bytes, taken.segments);
        bytes.truncate(total);
        // Thousands of records are kept.
        bytes.shrink_to_fit();
        segments.shrink_to_fit();
        let some = total > 0;
        Received {
            bytes: bytes.into(),
            total,
            segments,
            first_at: taken.first_at.filter(|_| some),
            last_at: taken.last_at.filter(|_| some),
        }
    }
}

/// Received bytes that a record keeps: an echo and an answer of full length.
pub const RECEIVED_MAX: usize = 512;

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

impl fmt::Display for Misfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
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
