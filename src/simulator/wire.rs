//! The simulated line as decisions: when a request has arrived, who answers it, when each byte becomes visible.
//!
//! A pseudo terminal has no speed, so the time of the wire is computed here. Time and bytes are arguments; this
//! file never reads a clock and never waits. After each `handle_*`, take outputs until there are none, then
//! sleep until [`Wire::poll_timeout`].
//! Source: MODBUS over Serial Line Specification and Implementation Guide V1.02, chapters 2.4 and 2.5.1.

use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::meter::Meter;
use crate::modbus::rtu;

/// The line and the meters on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChainSettings {
    /// Bits per second.
    pub baud_rate: NonZeroU32,
    /// Bits of one character: start, eight data bits, parity if any, stop bits; 10 or 11.
    pub character_bits: u32,
    /// A meter's pause between the end of a request and the first byte of its reply.
    pub turnaround: Duration,
    /// Unit identifiers of the meters, 1 to 247.
    pub units: Vec<u8>,
    /// Equal seeds make equal meters.
    pub seed: u64,
}

/// What happened on the line since it was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Requests that arrived whole, whoever they were for.
    pub requests: u64,
    /// Replies whose last byte went out.
    pub replies: u64,
    /// Requests that were cut off, garbled, or too long: met with silence.
    pub garbled: u64,
    /// Bursts of bytes that came while a request was being answered: ignored.
    pub collisions: u64,
}

/// The line's state. Single file: one request at a time, and whatever comes meanwhile is lost.
#[derive(Debug)]
pub struct Wire {
    settings: ChainSettings,
    meters: Vec<Meter>,
    state: State,
    counters: Counters,
    output: Option<Bytes>,
}

#[derive(Debug)]
enum State {
    /// Nothing on the line.
    Idle,
    /// Bytes of a request, not yet known to be whole. `began` is when the first one came.
    Receiving { bytes: Vec<u8>, began: Instant, last: Instant },
    /// Bytes that will not be looked at, until the line has been silent.
    Ignoring { last: Instant },
    /// A whole request whose last bit is still under way.
    Arriving { adu: Vec<u8>, at: Instant },
    /// A reply under way; its first bit leaves at `begins`.
    Replying { adu: Bytes, sent: usize, begins: Instant },
}

impl Wire {
    /// A silent line with its meters, which begin to count energy at `now`.
    #[must_use]
    pub fn new(settings: ChainSettings, now: Instant) -> Self {
        let meters = settings.units.iter().map(|unit| Meter::new(*unit, settings.seed, now)).collect();
        Self { settings, meters, state: State::Idle, counters: Counters::default(), output: None }
    }

    /// What happened so far.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// Bytes that a client put on the line at `now`, in pieces of any size.
    pub fn handle_bytes(&mut self, bytes: &[u8], now: Instant) {
        self.handle_timeout(now);
        if bytes.is_empty() {
            return;
        }
        match &mut self.state {
            State::Idle => self.state = State::Receiving { bytes: bytes.to_vec(), began: now, last: now },
            State::Receiving { bytes: received, last, .. } => {
                received.extend_from_slice(bytes);
                *last = now;
            }
            State::Ignoring { last } => *last = now,
            State::Arriving { .. } | State::Replying { .. } => self.counters.collisions += 1,
        }
        self.judge();
    }

    /// Does what is due at `now`.
    pub fn handle_timeout(&mut self, now: Instant) {
        while self.poll_timeout().is_some_and(|due| due <= now) {
            match std::mem::replace(&mut self.state, State::Idle) {
                State::Idle => {}
                State::Ignoring { .. } => {}
                State::Receiving { bytes, began, last } => self.end_by_silence(bytes, began, last),
                State::Arriving { adu, at } => self.deliver(&adu, at),
                State::Replying { adu, sent, begins } => self.send(adu, sent, begins, now),
            }
            if self.output.is_some() {
                break;
            }
        }
    }

    /// Bytes to make visible to the client now, a few characters at a time.
    #[must_use]
    pub fn poll_output(&mut self) -> Option<Bytes> {
        self.output.take()
    }

    /// When [`handle_timeout`](Self::handle_timeout) has something to do; `None`: only when bytes come.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        match &self.state {
            State::Idle => None,
            State::Ignoring { last } => Some(*last + self.silence()),
            State::Receiving { bytes, began, last } => Some(self.silent_at(bytes.len(), *began, *last)),
            State::Arriving { at, .. } => Some(*at),
            State::Replying { adu, sent, begins } => {
                Some(*begins + self.wire_time((sent + self.piece()).min(adu.len())))
            }
        }
    }

    /// Looks whether what was received is a whole request by its own length.
    fn judge(&mut self) {
        let State::Receiving { bytes, began, last } = &mut self.state else {
            return;
        };
        let (began, last) = (*began, *last);
        match request_length(bytes) {
            Length::Known(length) if bytes.len() >= length => {
                if bytes.len() == length && rtu::crc_is_right(bytes) {
                    let adu = std::mem::take(bytes);
                    let at = (began + self.wire_time(length)).max(last);
                    self.state = State::Arriving { adu, at };
                } else {
                    self.ignore_until_silence(last);
                }
            }
            Length::Known(_) | Length::EndsBySilence if bytes.len() > rtu::ADU_MAX => {
                self.ignore_until_silence(last);
            }
            Length::Known(_) | Length::EndsBySilence => {}
        }
    }

    fn ignore_until_silence(&mut self, last: Instant) {
        self.counters.garbled += 1;
        self.state = State::Ignoring { last };
    }

    /// The line fell silent before a length was reached: whole if the CRC says so, else cut off.
    fn end_by_silence(&mut self, bytes: Vec<u8>, began: Instant, last: Instant) {
        if request_length(&bytes) == Length::EndsBySilence && rtu::crc_is_right(&bytes) {
            let at = self.silent_at(bytes.len(), began, last);
            self.state = State::Arriving { adu: bytes, at };
        } else {
            self.counters.garbled += 1;
        }
    }

    /// Hands a whole request to the unit it is for. Unit 0 is for all, and none of them answers.
    fn deliver(&mut self, adu: &[u8], at: Instant) {
        self.counters.requests += 1;
        let pdu = &adu[1..adu.len() - 2];
        match adu[0] {
            0 => {
                for meter in &mut self.meters {
                    meter.handle_broadcast(pdu, at);
                }
            }
            unit => {
                if let Some(meter) = self.meters.iter_mut().find(|meter| meter.unit() == unit) {
                    let adu = rtu::encode(unit, &meter.answer(pdu, at));
                    self.state = State::Replying { adu, sent: 0, begins: at + self.settings.turnaround };
                }
            }
        }
    }

    /// Makes every byte visible whose last bit has passed by `now`.
    fn send(&mut self, adu: Bytes, sent: usize, begins: Instant, now: Instant) {
        let passed =
            (sent + 1..=adu.len()).take_while(|count| begins + self.wire_time(*count) <= now).count();
        let visible = sent + passed;
        self.output = Some(adu.slice(sent..visible));
        if visible < adu.len() {
            self.state = State::Replying { adu, sent: visible, begins };
        } else {
            self.counters.replies += 1;
        }
    }

    /// Characters made visible at a time: what passes in [`PIECE`], at least one.
    fn piece(&self) -> usize {
        let mut count = 1;
        while count < rtu::ADU_MAX && self.wire_time(count + 1) <= PIECE {
            count += 1;
        }
        count
    }

    /// When the silence after so many bytes is over. Bytes that came all at once still take their time.
    fn silent_at(&self, bytes: usize, began: Instant, last: Instant) -> Instant {
        (began + self.wire_time(bytes)).max(last) + self.silence()
    }

    fn wire_time(&self, bytes: usize) -> Duration {
        rtu::wire_time(bytes, self.settings.character_bits, self.settings.baud_rate.get())
    }

    fn silence(&self) -> Duration {
        rtu::silence(self.settings.baud_rate.get()).max(SILENCE_FLOOR)
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Length {
    /// Bytes of the whole ADU, by its function and its own counts.
    Known(usize),
    /// Too little has come to tell, or the function is one whose requests do not tell their length.
    EndsBySilence,
}

/// How long the request ADU that begins with `bytes` is (chapter 6 of the application protocol).
fn request_length(bytes: &[u8]) -> Length {
    let counted = |at: usize, around: usize| {
        bytes.get(at).map_or(Length::EndsBySilence, |count| Length::Known(around + usize::from(*count)))
    };
    match bytes.get(1) {
        Some(0x01..=0x06) => Length::Known(8),
        Some(0x07 | 0x0B | 0x0C | 0x11) => Length::Known(4),
        Some(0x0F | 0x10) => counted(6, 9),
        Some(0x14 | 0x15) => counted(2, 5),
        Some(0x16) => Length::Known(10),
        Some(0x17) => counted(10, 13),
        Some(0x18) => Length::Known(6),
        Some(0x2B) if bytes.get(2) == Some(&0x0E) => Length::Known(7),
        Some(_) | None => Length::EndsBySilence,
    }
}

/// Replies become visible in pieces that take about this long on the wire, finer than any adapter's lumps.
const PIECE: Duration = Duration::from_millis(2);

/// Silence that ends a frame whose length does not, where 3.5 characters are shorter: timers are coarse.
const SILENCE_FLOOR: Duration = Duration::from_millis(5);
