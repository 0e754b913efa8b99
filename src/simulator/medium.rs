//! The bytes in flight on the simulated line, each with the time its last bit has passed.
//!
//! Owns when bytes become visible, and how two senders at once corrupt each other. It never interprets bytes and never
//! reads a clock.

use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};

use crate::modbus::rtu;

/// All bytes in flight, sent or scheduled.
#[derive(Debug, Default)]
pub(crate) struct Medium {
    /// In order of their sending.
    frames: Vec<Transmission>,
    /// When the last reply to end began and ended.
    last: Option<(Instant, Instant)>,
}

/// Bytes without pauses between them.
#[derive(Debug)]
pub(crate) struct Transmission {
    source: Transmitter,
    begins: Instant,
    character: Character,
    bytes: Bytes,
    /// Bytes that have become visible, or were lost in others.
    passed: usize,
}

/// The sender of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transmitter {
    /// A meter, by its place.
    Meter(usize),
    /// The client itself: local echo.
    Echo,
}

/// How long a character takes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Character {
    pub(crate) bits: u32,
    /// Bits per second.
    pub(crate) rate: NonZeroU32,
}

impl Medium {
    /// Puts a frame on the line, at once or later; returns whether it collides with another.
    pub(crate) fn send(&mut self, frame: Transmission) -> bool {
        let meets =
            self.frames.iter().any(|other| other.begins < frame.ends() && frame.begins < other.ends());
        self.frames.push(frame);
        meets
    }

    /// Whether a meter is sending at this instant.
    pub(crate) fn is_talking(&self, now: Instant) -> bool {
        self.meters().any(|frame| frame.begins <= now && now < frame.ends())
    }

    /// Whether a meter was sending between two instants.
    pub(crate) fn was_talking(&self, from: Instant, to: Instant) -> bool {
        let now = self.meters().map(|frame| (frame.begins, frame.ends()));
        now.chain(self.last).any(|(begins, ends)| begins < to && from < ends)
    }

    /// Whether that meter has a reply scheduled or in flight.
    pub(crate) fn is_waiting(&self, meter: usize) -> bool {
        self.frames.iter().any(|frame| frame.source == Transmitter::Meter(meter) && !frame.is_over())
    }

    /// When the last echo ends.
    pub(crate) fn echo_ends(&self) -> Option<Instant> {
        self.frames.iter().filter(|frame| frame.source == Transmitter::Echo).map(Transmission::ends).max()
    }

    /// When the next bytes become visible.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.frames.iter().filter(|frame| !frame.is_over()).map(Transmission::next_piece).min()
    }

    /// Every byte whose last bit has passed by `now`, in order, and how many replies ended with them.
    pub(crate) fn drain(&mut self, now: Instant) -> (Bytes, u64) {
        let mut visible: Vec<(Instant, u8)> = Vec::new();
        for (index, frame) in self.frames.iter().enumerate() {
            let due = (frame.passed..frame.bytes.len()).take_while(|at| frame.byte_ends(*at) <= now);
            for at in due {
                if let Some(byte) = self.received(index, at) {
                    visible.push((frame.byte_ends(at), byte));
                }
            }
        }
        let mut replies = 0;
        for frame in self.frames.iter_mut().filter(|frame| !frame.is_over()) {
            while !frame.is_over() && frame.byte_ends(frame.passed) <= now {
                frame.passed += 1;
            }
            if frame.is_over() && frame.source != Transmitter::Echo {
                self.last = Some((frame.begins, frame.ends()));
                replies += 1;
            }
        }
        self.forget();
        visible.sort_by_key(|(at, _)| *at);
        let mut bytes = BytesMut::with_capacity(visible.len());
        bytes.extend(visible.into_iter().map(|(_, byte)| byte));
        (bytes.freeze(), replies)
    }

    /// One byte as a client receives it. If two send at once, a receiver sees one character made of both: the one that
    /// began first, with the zeros of the other pulled into it. `None`: it was lost in an earlier one.
    fn received(&self, frame: usize, at: usize) -> Option<u8> {
        let own = &self.frames[frame];
        let (begins, ends) = (own.byte_begins(at), own.byte_ends(at));
        let mut byte = own.bytes[at];
        for (index, other) in self.frames.iter().enumerate().filter(|(index, _)| *index != frame) {
            for met in (0..other.bytes.len())
                .filter(|met| other.byte_begins(*met) < ends && begins < other.byte_ends(*met))
            {
                if (other.begins, index) < (own.begins, frame) {
                    return None;
                }
                byte &= other.bytes[met];
            }
        }
        Some(byte)
    }

    /// Removes frames that can no longer collide.
    fn forget(&mut self) {
        let earliest = self.frames.iter().filter(|frame| !frame.is_over()).map(|frame| frame.begins).min();
        self.frames.retain(|frame| !frame.is_over() || earliest.is_some_and(|begins| begins < frame.ends()));
    }

    fn meters(&self) -> impl Iterator<Item = &Transmission> {
        self.frames.iter().filter(|frame| frame.source != Transmitter::Echo)
    }
}

impl Transmission {
    /// Bytes, at least one, whose first bit leaves at `begins`.
    pub(crate) fn new(source: Transmitter, begins: Instant, character: Character, bytes: Bytes) -> Self {
        Self { source, begins, character, bytes, passed: 0 }
    }

    fn is_over(&self) -> bool {
        self.passed >= self.bytes.len()
    }

    fn ends(&self) -> Instant {
        self.begins + self.time_of(self.bytes.len())
    }

    fn byte_begins(&self, at: usize) -> Instant {
        self.begins + self.time_of(at)
    }

    fn byte_ends(&self, at: usize) -> Instant {
        self.begins + self.time_of(at + 1)
    }

    /// When the next few characters have passed: as many as take [`PIECE`], at least one.
    fn next_piece(&self) -> Instant {
        let mut count = 1;
        while count < self.bytes.len() && self.time_of(count + 1) <= PIECE {
            count += 1;
        }
        self.begins + self.time_of((self.passed + count).min(self.bytes.len()))
    }

    fn time_of(&self, bytes: usize) -> Duration {
        rtu::wire_time(bytes, self.character.bits, self.character.rate.get())
    }
}

/// Replies become visible in pieces that take about this long on the wire, finer than any adapter's bursts.
const PIECE: Duration = Duration::from_millis(2);
