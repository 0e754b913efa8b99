//! Local echo: whether the adapter returns what is sent, and how the echo is stripped from the front of an answer.
//!
//! The answer to 0x05, 0x06, 0x08/00 and 0x16 *is* the request, and the answer to a read of coils may happen to equal
//! it. So only requests whose answer cannot equal them distinguish an echo from an answer: the verdict is formed on
//! those, and two disagreeing verdicts in a row change it. `echo: on` and `off` are the verdict a port begins with: with
//! the wrong one a unit that does not answer would seem to carry out writes, or none would ever be confirmed.

use bytes::Bytes;

use crate::modbus::pdu::RequestPdu;
use crate::modbus::reply::{self, Length};

use super::settings::Echo;

/// The verdict on the adapter's echo.
#[derive(Debug)]
pub(super) struct EchoDetector {
    setting: Echo,
    verdict: Option<bool>,
    contrary: u32,
}

/// The echo of the request on the wire.
#[derive(Debug)]
pub(super) enum EchoPhase {
    /// The first bytes may be the echo of this request, or must be by the verdict.
    Watching(Bytes),
    /// The echo came and was stripped.
    Seen,
    /// The bytes differ from the request, or no echo is expected.
    Absent,
}

/// What the first bytes after a request turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Front {
    /// So many bytes of echo, to be taken off.
    Echo(usize),
    /// All bytes so far equal the request; more are needed to decide.
    Undecided,
    /// No echo.
    Other,
    /// No echo where one was due: something else was on the line at the same time.
    Collision,
}

impl EchoDetector {
    /// A detector with this setting.
    #[must_use]
    pub(super) fn new(setting: Echo) -> Self {
        let verdict = match setting {
            Echo::Auto => None,
            Echo::On => Some(true),
            Echo::Off => Some(false),
        };
        Self { setting, verdict, contrary: 0 }
    }

    /// A port was opened: the verdict is that of the setting again; with `auto` it is open.
    pub(super) fn reset(&mut self) {
        *self = Self::new(self.setting);
    }

    /// Whether the adapter echoes; `None` while there is no verdict.
    #[must_use]
    pub(super) fn verdict(&self) -> Option<bool> {
        self.verdict
    }

    /// Whether `request` may be sent: its answer differs from an echo, or there is a verdict.
    #[must_use]
    pub(super) fn may_send(&self, request: &RequestPdu) -> bool {
        self.verdict.is_some() || differs_from_its_answer(request)
    }

    /// What to expect after `request` was sent as `adu`.
    #[must_use]
    pub(super) fn watch(&self, request: &RequestPdu, adu: &Bytes) -> EchoPhase {
        if self.verdict == Some(true) || differs_from_its_answer(request) {
            EchoPhase::Watching(adu.clone())
        } else {
            EchoPhase::Absent
        }
    }

    /// Inspects the first bytes received after a request, while `phase` is still watching for its echo.
    pub(super) fn inspect(&mut self, phase: &mut EchoPhase, received: &[u8]) -> Front {
        let EchoPhase::Watching(sent) = phase else { return Front::Other };
        let common = sent.len().min(received.len());
        if sent[..common] != received[..common] {
            *phase = EchoPhase::Absent;
            return if self.verdict == Some(true) { Front::Collision } else { Front::Other };
        }
        if common < sent.len() {
            return Front::Undecided;
        }
        let length = sent.len();
        *phase = EchoPhase::Seen;
        Front::Echo(length)
    }

    /// Whether everything received after `phase` is no echo: it was stripped, or this line has none.
    #[must_use]
    pub(super) fn is_past(&self, phase: &EchoPhase) -> bool {
        match phase {
            EchoPhase::Seen => true,
            EchoPhase::Absent | EchoPhase::Watching(_) => self.verdict == Some(false),
        }
    }

    /// Whether a frame that equals `request` is its echo rather than its answer, because noise hid the echo and it is
    /// still due.
    #[must_use]
    pub(super) fn is_still_due(&self, request: &RequestPdu, phase: &EchoPhase) -> bool {
        self.verdict == Some(true) && !differs_from_its_answer(request) && !self.is_past(phase)
    }

    /// Draws the verdict from a transaction in which not a single byte came. Where there was an echo, or `echo: on` says
    /// so, the adapter may be dead: an echo that comes again must not be taken for the answer to a write.
    pub(super) fn conclude_from_silence(&mut self, request: &RequestPdu, phase: &EchoPhase) {
        match self.setting {
            Echo::Auto if self.verdict == Some(true) => {}
            Echo::Auto | Echo::Off => self.conclude(request, phase),
            Echo::On => {}
        }
    }

    /// Draws the verdict from a transaction in which the echo was seen, or a valid answer came first. Garbled bytes
    /// prove nothing and must not be passed.
    pub(super) fn conclude(&mut self, request: &RequestPdu, phase: &EchoPhase) {
        if !differs_from_its_answer(request) {
            return;
        }
        let seen = match phase {
            EchoPhase::Seen => true,
            EchoPhase::Absent | EchoPhase::Watching(_) => false,
        };
        match self.verdict {
            Some(verdict) if verdict == seen => self.contrary = 0,
            Some(_) if self.contrary + 1 < VERDICTS_TO_CHANGE => self.contrary += 1,
            Some(_) | None => {
                self.verdict = Some(seen);
                self.contrary = 0;
            }
        }
    }
}

/// Whether no correct answer to this request can equal it: the two differ in length or in the byte count.
#[must_use]
pub(super) fn differs_from_its_answer(request: &RequestPdu) -> bool {
    let asked = request.bytes();
    match request.function().0 {
        // The answer has a byte count where the request has the high byte of an address.
        0x01..=0x04 | 0x14 | 0x17 => match reply::length(request, &asked[..1]) {
            Length::Exact(length) => length != asked.len() || usize::from(asked[1]) != length - 2,
            Length::Pending | Length::Unknown => false,
        },
        // Longer or shorter than any answer to them.
        0x07 | 0x0B | 0x0C | 0x0F..=0x11 | 0x18 => true,
        0x2B => asked.len() < SHORTEST_IDENTIFICATION && asked.get(1) == Some(&0x0E),
        _ => false,
    }
}

/// The shortest answer to a read of the device identification (MODBUS Application Protocol V1.1b3, chapter 6.21).
const SHORTEST_IDENTIFICATION: usize = 7;

/// Disagreeing verdicts in a row that change the verdict.
const VERDICTS_TO_CHANGE: u32 = 2;

#[cfg(test)]
mod tests {
    use super::*;

    fn differs(pdu: &'static [u8]) -> bool {
        differs_from_its_answer(&RequestPdu::decode(Bytes::from_static(pdu)).expect("a good request"))
    }

    #[test]
    fn a_read_of_coils_whose_answer_may_be_the_request_tells_nothing() {
        assert!(!differs(&[1, 3, 0, 0, 24]), "24 coils from 768: the answer may be 01 03 00 00 18");
        assert!(differs(&[1, 0, 0, 0, 24]));
        assert!(differs(&[1, 3, 0, 0, 16]));
        assert!(differs(&[3, 2, 0, 0, 1]), "an answer of 4 bytes");
    }

    #[test]
    fn the_answer_to_a_single_write_is_the_request() {
        assert!(!differs(&[6, 0, 1, 0, 1]));
        assert!(!differs(&[8, 0, 0, 0, 1]));
        assert!(differs(&[16, 0, 1, 0, 1, 2, 0, 1]));
    }
}
