//! Bytes from the line into frames: by length, never by the silence between bytes.
//!
//! Owns the bytes that are not yet a frame. It has no clock: the caller decides when nothing more will come. USB
//! adapters deliver bytes in bursts of up to 16 ms, so a pause inside a frame means nothing; only a frame of unknown
//! length ends at a pause. Source: MODBUS over Serial Line V1.02, chapter 2.5.1.

use bytes::{Buf, Bytes, BytesMut};

use crate::modbus::pdu::RequestPdu;
use crate::modbus::reply::{self, Length};
use crate::modbus::rtu;

use super::settings::UnitId;

/// A whole frame with a correct CRC. Which request it answers is not decided here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// The unit identifier it carries.
    pub unit: UnitId,
    /// The PDU, function code first.
    pub pdu: Bytes,
    /// Whether it is the first thing received since the last request, apart from an echo.
    pub is_first: bool,
}

/// Whether more bytes may come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finality {
    /// More bytes may come at any moment.
    Open,
    /// The line has been quiet for [`QUIET`](super::rtu_wire::QUIET): a frame of unknown length may end here.
    Quiet,
    /// Nothing more will come: bytes that form no frame are noise.
    Over,
}

/// The bytes of the line that are not yet a frame.
#[derive(Debug, Default)]
pub struct Receiver {
    buffer: BytesMut,
    expected: usize,
    noise: u64,
    garbled: bool,
    truncated: bool,
    /// Whether anything but an echo has come since the last request.
    disturbed: bool,
}

impl Receiver {
    /// Appends received bytes.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// Discards what came before a new request, except for the count of noise.
    pub fn begin(&mut self) {
        self.noise += self.buffer.len() as u64;
        self.buffer.clear();
        self.garbled = false;
        self.truncated = false;
        self.disturbed = false;
    }

    /// Bytes not yet a frame.
    #[must_use]
    pub fn pending(&self) -> usize {
        self.buffer.len()
    }

    /// Bytes missing of the frame that seems to be arriving, judging by its head.
    #[must_use]
    pub fn missing(&self) -> usize {
        self.expected.saturating_sub(self.buffer.len())
    }

    /// Whether the first bytes received had the length, unit and function of the awaited answer and a wrong CRC.
    #[must_use]
    pub fn is_garbled(&self) -> bool {
        self.garbled
    }

    /// Whether the awaited answer began to arrive and stopped.
    #[must_use]
    pub fn is_truncated(&self) -> bool {
        self.truncated
    }

    /// Bytes dropped since the last call because they were part of no frame.
    #[must_use]
    pub fn take_noise(&mut self) -> u64 {
        std::mem::take(&mut self.noise)
    }

    /// Drops the first `count` bytes, which are an echo.
    pub fn strip(&mut self, count: usize) {
        self.buffer.advance(count);
    }

    /// The bytes not yet a frame.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.buffer
    }

    /// The next frame. `request_of` returns the request that this unit and function would answer, and whether it is the
    /// one on the wire (rather than one whose answer is late); `is_known`: whether a unit is on this line.
    pub fn next<'a>(
        &mut self,
        request_of: impl Fn(UnitId, u8) -> Option<(&'a RequestPdu, Expected)>,
        is_known: impl Fn(UnitId) -> bool,
        finality: Finality,
    ) -> Option<Frame> {
        // A line that is never silent must not fill memory: beyond two frames, bytes that lead to no frame are noise.
        let finality = if self.buffer.len() > 2 * rtu::ADU_MAX { Finality::Over } else { finality };
        loop {
            self.expected = 0;
            let may_speak = |unit: &UnitId| unit.get() <= UnitId::STANDARD_MAX || is_known(*unit);
            let unit = UnitId::new(*self.buffer.first()?).filter(may_speak);
            let Some((unit, function)) = unit.zip(self.buffer.get(1).map(|code| code & 0x7F)) else {
                if unit.is_none() || finality == Finality::Over {
                    self.drop_noise(1);
                    continue;
                }
                self.expected = rtu::OVERHEAD + 2;
                return None;
            };
            let asked = request_of(unit, function);
            let is_awaited = asked.is_some_and(|(_, expected)| expected == Expected::OnTheWire);
            let total = self.total(0, asked.map(|(request, _)| request), finality);
            let whole =
                |length: usize| length <= self.buffer.len() && rtu::crc_is_right(&self.buffer[..length]);
            if total > 0 && whole(total) {
                return Some(self.split_frame(unit, total));
            }
            // A long answer may begin with eight bytes that look like a whole frame.
            let may_be_request = asked.is_none() || total <= self.buffer.len() || finality == Finality::Over;
            let request = request_length(&self.buffer).filter(|length| may_be_request && whole(*length));
            if let Some(length) = request {
                return Some(self.split_frame(unit, length));
            }
            let is_damaged = is_awaited && total > 0 && total <= self.buffer.len();
            if (!is_awaited || is_damaged)
                && let Some(noise) = self.noise_before_answer(&request_of, finality)
            {
                self.drop_noise(noise);
                continue;
            }
            if total > self.buffer.len() {
                if finality == Finality::Over {
                    self.truncated |= is_awaited;
                    self.drop_noise(1);
                    continue;
                }
                self.expected = total;
                return None;
            }
            // An answer longer than its byte count says ends as one of unknown length does.
            if is_damaged && finality == Finality::Open {
                self.expected = total;
                return None;
            }
            if is_damaged && let Some(length) = length_by_crc(&self.buffer).filter(|length| *length > total) {
                return Some(self.split_frame(unit, length));
            }
            // The awaited head, and as many bytes as its length requires: the answer came damaged. Behind noise it may
            // be part of the noise, with the answer still to come.
            self.garbled |= is_damaged && !self.disturbed;
            self.drop_noise(1);
        }
    }

    /// The length of the frame that begins at `start`, as far as its bytes show; 0: no frame begins there.
    fn total(&self, start: usize, request: Option<&RequestPdu>, finality: Finality) -> usize {
        let bytes = &self.buffer[start..];
        let length = match request {
            _ if bytes[1] & 0x7F == 0 => Length::Exact(0),
            Some(request) => reply::length(request, &bytes[1..]),
            None => reply::length_by_counts(&bytes[1..]),
        };
        match length {
            Length::Exact(0) => 0,
            Length::Exact(pdu) => pdu + rtu::OVERHEAD,
            Length::Unknown if finality != Finality::Open => length_by_crc(bytes).unwrap_or(rtu::ADU_MAX),
            Length::Unknown | Length::Pending => rtu::ADU_MAX,
        }
    }

    /// How many bytes precede the whole awaited answer where they look like the head of another frame: a transceiver
    /// that changes direction produces a wrong byte.
    fn noise_before_answer<'a>(
        &self,
        request_of: impl Fn(UnitId, u8) -> Option<(&'a RequestPdu, Expected)>,
        finality: Finality,
    ) -> Option<usize> {
        (1..self.buffer.len().saturating_sub(1)).find(|&start| {
            let unit = UnitId::new(self.buffer[start]);
            let asked = unit.and_then(|unit| request_of(unit, self.buffer[start + 1] & 0x7F));
            let Some((request, Expected::OnTheWire)) = asked else { return false };
            let end = start + self.total(start, Some(request), finality);
            end > start && end <= self.buffer.len() && rtu::crc_is_right(&self.buffer[start..end])
        })
    }

    fn split_frame(&mut self, unit: UnitId, total: usize) -> Frame {
        let pdu = Bytes::copy_from_slice(&self.buffer[1..total - 2]);
        self.buffer.advance(total);
        Frame { unit, pdu, is_first: !std::mem::replace(&mut self.disturbed, true) }
    }

    fn drop_noise(&mut self, count: usize) {
        self.buffer.advance(count);
        self.noise += count as u64;
        self.disturbed = true;
    }
}

/// Which request a frame would answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    /// The one on the wire.
    OnTheWire,
    /// One that was given up.
    Late,
}

/// The length of a frame, no longer than a frame can be, whose CRC is correct at the end of everything received. Zeros
/// behind a correct CRC keep it correct, and a released line reads as zeros, so two or more are no part of the frame. A
/// single one is, because one CRC in 256 ends in a zero.
fn length_by_crc(bytes: &[u8]) -> Option<usize> {
    let end = bytes.len();
    let right = |length: &usize| rtu::crc_is_right(&bytes[..*length]);
    let zeros = bytes.iter().rev().take_while(|&&byte| byte == 0).count();
    let shortest = (end - zeros..end).find(right).filter(|_| zeros > 1);
    shortest.or(Some(end)).filter(right).filter(|&length| length <= rtu::ADU_MAX)
}

/// The length of a request by function 01 to 06, 0F or 10, as another client on this wire sends it.
fn request_length(bytes: &[u8]) -> Option<usize> {
    match bytes.get(1)? {
        0x01..=0x06 => Some(8),
        0x0F | 0x10 => bytes.get(6).map(|count| 9 + usize::from(*count)),
        _ => None,
    }
}
