//! The two wires: when each byte is on them, which senders collide, and when the machine receives what.
//!
//! Two senders at once damage both frames. Bytes reach the machine at their wire time or, as
//! behind a USB adapter, in lumps up to 16 ms later, always in order.
//!
//! Bytes that two talks damaged would have a right CRC by chance once in 65536 times, and nothing on a line can
//! tell them from an answer then: they are damaged once more.

use std::collections::{BTreeMap, VecDeque};

use metergate::modbus::rtu;

use super::rng::Rng;
use super::swarm::Delivery;

/// Nanoseconds of virtual time.
pub(crate) type Nanos = u64;

#[derive(Debug)]
pub(crate) struct Wire {
    delivery: Delivery,
    bits: u32,
    baud_rate: u32,
    /// By delivery, end on the wire and order of arrival: what the machine has not been given yet.
    bytes: BTreeMap<(Nanos, Nanos, u64), Byte>,
    order: u64,
    talks: Vec<Talk>,
    given: Given,
}

#[derive(Clone, Copy, Debug)]
struct Byte {
    value: u8,
    /// None: our own, as the adapter gives it back.
    talk: Option<usize>,
    damaged: bool,
}

#[derive(Clone, Copy, Debug)]
struct Talk {
    start: Nanos,
    end: Nanos,
    damaged: bool,
}

impl Wire {
    pub(crate) fn new(delivery: Delivery, bits: u32, baud_rate: u32) -> Self {
        Self {
            delivery,
            bits,
            baud_rate,
            bytes: BTreeMap::new(),
            order: 0,
            talks: Vec::new(),
            given: Given::default(),
        }
    }

    /// The time so many bytes take.
    pub(crate) fn time(&self, bytes: usize) -> Nanos {
        nanos(rtu::wire_time(bytes, self.bits, self.baud_rate))
    }

    /// A sender begins at `start`. The machine receives it if `heard`. Returns the number of the transmission.
    pub(crate) fn talk(&mut self, start: Nanos, bytes: &[u8], heard: bool, rng: &mut Rng) -> usize {
        let end = start + self.time(bytes.len());
        let mut overlaps: Vec<(Nanos, Nanos)> = Vec::new();
        for talk in &mut self.talks {
            if talk.start < end && start < talk.end {
                talk.damaged = true;
                overlaps.push((talk.start.max(start), talk.end.min(end)));
            }
        }
        let in_overlap = |at: Nanos| overlaps.iter().any(|&(from, to)| from < at && at <= to);
        for ((_, at, _), byte) in &mut self.bytes {
            if in_overlap(*at) {
                byte.value ^= rng.byte() | 1;
                byte.damaged = true;
            }
        }
        if heard {
            for (index, &byte) in bytes.iter().enumerate() {
                let at = start + self.time(index + 1);
                let damaged = in_overlap(at);
                let value = if damaged { byte ^ (rng.byte() | 1) } else { byte };
                let byte = Byte { value, talk: Some(self.talks.len()), damaged };
                self.bytes.insert((self.delivered_at(at), at, self.order), byte);
                self.order += 1;
            }
        }
        self.talks.push(Talk { start, end, damaged: !overlaps.is_empty() });
        self.talks.len() - 1
    }

    /// The adapter gives the machine what it sends, as it is on the wire.
    pub(crate) fn echo(&mut self, start: Nanos, bytes: &[u8]) {
        for (index, &value) in bytes.iter().enumerate() {
            let at = start + self.time(index + 1);
            let byte = Byte { value, talk: None, damaged: false };
            self.bytes.insert((self.delivered_at(at), at, self.order), byte);
            self.order += 1;
        }
    }

    /// What was sent is no frame: nothing with its bytes has a right CRC by chance.
    pub(crate) fn spoil(&mut self, talk: usize) {
        self.talks[talk].damaged = true;
        self.bytes.values_mut().filter(|byte| byte.talk == Some(talk)).for_each(|byte| byte.damaged = true);
    }

    /// Whether another transmission collided with this one.
    pub(crate) fn is_damaged(&self, talk: usize) -> bool {
        self.talks[talk].damaged
    }

    pub(crate) fn next_delivery(&self) -> Option<Nanos> {
        self.bytes.keys().next().map(|key| key.0)
    }

    /// Everything due at `now`, in the order of the wire.
    pub(crate) fn deliver(&mut self, now: Nanos) -> Vec<u8> {
        let rest = self.bytes.split_off(&(now + 1, 0, 0));
        let due = std::mem::replace(&mut self.bytes, rest);
        let is_damaged = |byte: Byte| byte.talk.is_some_and(|talk| self.talks[talk].damaged);
        due.into_values().map(|byte| self.given.next(byte, is_damaged(byte))).collect()
    }

    /// When the machine receives what was on the wire at this time.
    pub(crate) fn delivered_at(&self, at: Nanos) -> Nanos {
        match self.delivery {
            Delivery::Bytewise => at,
            Delivery::Lumps(millis) => at.next_multiple_of(millis * MILLI),
        }
    }
}

/// What the machine was given last, the youngest byte first.
#[derive(Debug, Default)]
struct Given {
    last: VecDeque<Byte>,
    /// The CRC from each of these bytes on, in their order; none while nothing is damaged.
    crcs: VecDeque<u16>,
}

impl Given {
    /// The value of `byte`, changed as long as a CRC over damaged bytes is right with it; `amid_damage`: its
    /// talk is damaged.
    fn next(&mut self, mut byte: Byte, amid_damage: bool) -> u8 {
        if !amid_damage {
            self.crcs.clear();
        } else if self.crcs.is_empty() {
            let values: Vec<u8> = self.last.iter().rev().map(|byte| byte.value).collect();
            self.crcs = (0..values.len()).rev().map(|from| rtu::crc(&values[from..])).collect();
        }
        if amid_damage {
            while self.is_right_by_chance(byte) {
                byte = Byte { value: byte.value.wrapping_add(1), damaged: true, ..byte };
            }
            self.crcs.push_front(rtu::crc(&[]));
            self.crcs.truncate(rtu::ADU_MAX);
            for crc in &mut self.crcs {
                *crc = rtu::crc_with(*crc, byte.value);
            }
        }
        self.last.push_front(byte);
        self.last.truncate(rtu::ADU_MAX);
        byte.value
    }

    fn is_right_by_chance(&self, byte: Byte) -> bool {
        let mut damaged = byte.damaged;
        self.last.iter().zip(&self.crcs).any(|(last, &crc)| {
            damaged |= last.damaged;
            damaged && rtu::crc_with(crc, byte.value) == 0
        })
    }
}

pub(crate) fn nanos(duration: std::time::Duration) -> Nanos {
    u64::try_from(duration.as_nanos()).expect("below 584 years")
}

pub(crate) const MILLI: Nanos = 1_000_000;

/// The shortest wait for any answer.
pub(crate) const SHORTEST_WAIT: Nanos = 100 * MILLI;
