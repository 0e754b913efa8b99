//! The simulated line without I/O: when a request has arrived, which meters receive and answer it, and the effect of
//! faults.
//!
//! A pseudo terminal has no speed, so the time of the wire is computed here. Time and bytes are arguments; this file
//! never reads a clock and never waits. After each `handle_*`, poll outputs until there are none, then sleep until
//! [`Wire::poll_timeout`]. Source: MODBUS over Serial Line Specification and Implementation Guide V1.02, chapters 2.4
//! and 2.5.1.

use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};

use super::medium::{Character, Medium, Transmission, Transmitter};
use super::meter::Meter;
use super::rng::Rng;
use super::settings::{ChainSettings, Fault, FaultKind};
use crate::modbus::rtu;

/// Counters of the line since it was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Requests that arrived whole, for any unit.
    pub requests: u64,
    /// Replies whose last byte was sent.
    pub replies: u64,
    /// Requests that were cut off, garbled, or too long: not answered.
    pub garbled: u64,
    /// Collisions on the line: a request during a reply, or two replies at once.
    pub collisions: u64,
    /// Requests and replies damaged by noise.
    pub damaged: u64,
}

/// The line's state.
#[derive(Debug)]
pub struct Wire {
    settings: ChainSettings,
    started: Instant,
    meters: Vec<Meter>,
    /// The rate of the clients.
    rate: NonZeroU32,
    state: State,
    medium: Medium,
    rng: Rng,
    counters: Counters,
    /// Visible bytes that were not polled yet.
    output: BytesMut,
}

/// What the meters receive of the clients.
#[derive(Debug)]
enum State {
    /// Nothing.
    Idle,
    /// Bytes of a request, not yet known to be whole. `began` is when the first one came.
    Receiving { bytes: Vec<u8>, began: Instant, last: Instant },
    /// Bytes that are ignored until the line has been silent.
    Ignoring { last: Instant },
    /// A whole request whose last bit has not arrived yet.
    Arriving { adu: Vec<u8>, began: Instant, at: Instant },
}

impl Wire {
    /// A silent line with its meters, which have run for [`ChainSettings::age`] at `now`.
    #[must_use]
    pub fn new(settings: ChainSettings, now: Instant) -> Self {
        let age = settings.age;
        Self {
            meters: Meter::all_of(&settings, now).into_iter().map(|meter| meter.aged(age)).collect(),
            started: now,
            rate: settings.baud_rate,
            state: State::Idle,
            medium: Medium::default(),
            rng: Rng::new(settings.seed, NOISE),
            counters: Counters::default(),
            output: BytesMut::new(),
            settings,
        }
    }

    /// The counters so far.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// The meters, in the order of the settings.
    pub fn meters(&mut self) -> &mut [Meter] {
        &mut self.meters
    }

    /// The rate of the next bytes of clients. Only meters set to it understand them.
    pub fn set_rate(&mut self, rate: NonZeroU32) {
        self.rate = rate;
    }

    /// Bytes that a client sent at `now`, in pieces of any size.
    pub fn handle_bytes(&mut self, bytes: &[u8], now: Instant) {
        self.handle_timeout(now);
        if bytes.is_empty() {
            return;
        }
        if self.is_on(now, |fault| matches!(fault.kind, FaultKind::Echo)) {
            let begins = self.medium.echo_ends().map_or(now, |ends| ends.max(now));
            self.send(Transmitter::Echo, begins, Bytes::copy_from_slice(bytes));
        }
        let talking = self.medium.is_talking(now);
        match &mut self.state {
            State::Ignoring { last } => *last = now,
            State::Arriving { .. } => self.counters.collisions += 1,
            State::Idle | State::Receiving { .. } if talking => {
                self.counters.collisions += 1;
                self.state = State::Ignoring { last: now };
            }
            State::Idle => self.state = State::Receiving { bytes: bytes.to_vec(), began: now, last: now },
            State::Receiving { bytes: received, last, .. } => {
                received.extend_from_slice(bytes);
                *last = now;
            }
        }
        self.check_length();
    }

    /// Handles everything due at `now`.
    pub fn handle_timeout(&mut self, now: Instant) {
        loop {
            let received = self.reception_end().filter(|due| *due <= now);
            let visible = self.medium.due().filter(|due| *due <= now);
            match (received, visible) {
                (None, None) => break,
                (Some(_), None) => self.finish_reception(),
                (Some(received), Some(visible)) if received <= visible => self.finish_reception(),
                // One after the other, however late the call is: a received request may put more on the line.
                (_, Some(visible)) => {
                    let (bytes, replies) = self.medium.drain(visible);
                    self.counters.replies += replies;
                    self.output.extend_from_slice(&bytes);
                }
            }
        }
    }

    /// Bytes to make visible to the client now, a few characters at a time.
    #[must_use]
    pub fn poll_output(&mut self) -> Option<Bytes> {
        (!self.output.is_empty()).then(|| self.output.split().freeze())
    }

    /// When [`handle_timeout`](Self::handle_timeout) has something to do; `None`: only when bytes come.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.reception_end().into_iter().chain(self.medium.due()).min()
    }

    /// When the reception in progress ends.
    fn reception_end(&self) -> Option<Instant> {
        match &self.state {
            State::Idle => None,
            State::Ignoring { last } => Some(*last + self.silence()),
            State::Receiving { bytes, began, last } => Some(self.silent_at(bytes.len(), *began, *last)),
            State::Arriving { at, .. } => Some(*at),
        }
    }

    fn finish_reception(&mut self) {
        match std::mem::replace(&mut self.state, State::Idle) {
            State::Idle | State::Ignoring { .. } => {}
            State::Receiving { bytes, began, last } => self.end_by_silence(bytes, began, last),
            State::Arriving { adu, began, at } => self.deliver(&adu, began, at),
        }
    }

    /// Checks whether the bytes received are a whole request by its own length.
    fn check_length(&mut self) {
        let State::Receiving { bytes, began, last } = &mut self.state else {
            return;
        };
        let (began, last) = (*began, *last);
        match rtu::request_length(bytes) {
            Some(length) if bytes.len() >= length => {
                if bytes.len() == length && rtu::crc_is_right(bytes) {
                    let adu = std::mem::take(bytes);
                    let at = (began + self.wire_time(length)).max(last);
                    self.state = State::Arriving { adu, began, at };
                } else {
                    self.ignore_until_silence(last);
                }
            }
            Some(_) | None if bytes.len() > rtu::ADU_MAX => self.ignore_until_silence(last),
            Some(_) | None => {}
        }
    }

    fn ignore_until_silence(&mut self, last: Instant) {
        self.counters.garbled += 1;
        self.state = State::Ignoring { last };
    }

    /// The line fell silent before a length was reached: a whole request if its CRC is correct, else cut off.
    fn end_by_silence(&mut self, bytes: Vec<u8>, began: Instant, last: Instant) {
        if rtu::request_length(&bytes).is_none() && rtu::crc_is_right(&bytes) {
            let at = self.silent_at(bytes.len(), began, last);
            self.state = State::Arriving { adu: bytes, began, at };
        } else {
            self.counters.garbled += 1;
        }
    }

    /// Delivers a whole request to the addressed units. Unit 0 addresses all units, and none answers.
    fn deliver(&mut self, adu: &[u8], began: Instant, at: Instant) {
        self.counters.requests += 1;
        if self.medium.was_talking(began, at) {
            self.counters.collisions += 1;
            return;
        }
        if self.noise_falls(None, at) {
            return;
        }
        let pdu = &adu[1..adu.len() - 2];
        let addressed = |unit: u8| adu[0] == 0 || adu[0] == unit;
        for index in 0..self.meters.len() {
            if !addressed(self.meters[index].unit()) || !self.receives(index, at) {
                continue;
            }
            if adu[0] == 0 {
                self.meters[index].handle_broadcast(pdu, at);
            } else if !self.noise_falls(Some(index), at) {
                let reply = self.meters[index].answer(pdu, at);
                self.reply(index, &reply, at);
            }
        }
    }

    /// Whether a meter receives a request. One with a pending answer does not.
    fn receives(&self, index: usize, at: Instant) -> bool {
        let rate = self.settings.meters[index].baud_rate.unwrap_or(self.settings.baud_rate);
        let dead = self.is_on(at, |fault| fault.kind == FaultKind::Dead && fault.meters.contains(&index));
        rate == self.rate && !dead && self.meters[index].is_up(at) && !self.medium.is_waiting(index)
    }

    /// Sends a meter's reply, as its faults change it.
    fn reply(&mut self, index: usize, pdu: &[u8], at: Instant) {
        let passed = at.saturating_duration_since(self.started);
        let mut unit = self.meters[index].unit();
        let mut begins = at + self.settings.meters[index].turnaround;
        let mut garbage = false;
        for fault in &self.settings.faults {
            if !fault.is_on(passed) || !fault.meters.contains(&index) {
                continue;
            }
            match &fault.kind {
                FaultKind::Late(delay) => begins += *delay,
                FaultKind::WrongUnit(other) => unit = *other,
                FaultKind::Garbage => garbage = true,
                FaultKind::Dead
                | FaultKind::Noisy(_)
                | FaultKind::Echo
                | FaultKind::ReversedCt(_)
                | FaultKind::PhaseLoss(_)
                | FaultKind::PowerCycle => {}
            }
        }
        let mut adu = rtu::encode(unit, pdu).to_vec();
        if garbage {
            let length = 1 + self.rng.below(adu.len());
            adu = (0..length).map(|_| self.rng.byte()).collect();
            // Random bytes must not form a frame.
            while rtu::crc_is_right(&adu) {
                adu.pop();
            }
        } else if self.noise_falls(Some(index), begins) || self.noise_falls(None, begins) {
            self.damage(&mut adu);
        }
        if self.meters[index].is_up(begins) {
            self.send(Transmitter::Meter(index), begins, adu.into());
        }
    }

    fn send(&mut self, source: Transmitter, begins: Instant, bytes: Bytes) {
        let character = Character { bits: self.settings.character_bits, rate: self.rate };
        let met = self.medium.send(Transmission::new(source, begins, character, bytes));
        self.counters.collisions += u64::from(met);
    }

    /// Whether noise damages a frame of that meter, or of any.
    fn noise_falls(&mut self, meter: Option<usize>, at: Instant) -> bool {
        let passed = at.saturating_duration_since(self.started);
        let mut falls = false;
        for fault in &self.settings.faults {
            let own = meter.map_or(fault.meters.is_empty(), |index| fault.meters.contains(&index));
            if let FaultKind::Noisy(share) = fault.kind {
                falls |= own && fault.is_on(passed) && self.rng.between(0.0, 1.0) < share;
            }
        }
        self.counters.damaged += u64::from(falls);
        falls
    }

    /// Flips one to three bits, or overwrites some bytes with a burst of others.
    fn damage(&mut self, adu: &mut [u8]) {
        if self.rng.below(2) == 0 {
            for _ in 0..=self.rng.below(3) {
                let at = self.rng.below(adu.len());
                adu[at] ^= 1 << self.rng.below(8);
            }
            return;
        }
        let at = self.rng.below(adu.len());
        let length = 1 + self.rng.below(BURST);
        for byte in adu.iter_mut().skip(at).take(length) {
            *byte = self.rng.byte();
        }
    }

    fn is_on(&self, now: Instant, which: impl Fn(&Fault) -> bool) -> bool {
        let passed = now.saturating_duration_since(self.started);
        self.settings.faults.iter().any(|fault| fault.is_on(passed) && which(fault))
    }

    /// When the silence after this many bytes ends. Bytes that came all at once still take their time on the wire.
    fn silent_at(&self, bytes: usize, began: Instant, last: Instant) -> Instant {
        (began + self.wire_time(bytes)).max(last) + self.silence()
    }

    fn wire_time(&self, bytes: usize) -> Duration {
        rtu::wire_time(bytes, self.settings.character_bits, self.rate.get())
    }

    fn silence(&self) -> Duration {
        rtu::silence(self.rate.get()).max(SILENCE_FLOOR)
    }
}

/// Distinguishes the generator of the line from those of the meters.
const NOISE: u64 = 1 << 40;

/// Largest number of bytes of one burst of noise.
const BURST: usize = 8;

/// Shortest silence that ends a frame of unknown length, where 3.5 characters are shorter: timers are coarse.
const SILENCE_FLOOR: Duration = Duration::from_millis(5);
