//! A Modbus TCP server in place of the wire: segments arrive whole or in two, in the order in which they were sent, and
//! its answers in any order.
//!
//! What can go wrong with an answer: late, lost, doubled, with the identifier of another request or unit, of another
//! function or length, cut to one byte, or in place of the unit's. What is left of one connection may be delivered in the next.

use std::collections::BTreeMap;

use bytes::BytesMut;

use metergate::modbus::mbap::Adu;

use super::rng::Rng;
use super::wire::{MILLI, Nanos};

/// Rates in permille of answers, or of requests for those that no answer brings about.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct UpstreamFaults {
    pub(crate) slow: u64,
    pub(crate) late: u64,
    pub(crate) dropped: u64,
    pub(crate) doubled: u64,
    pub(crate) foreign_id: u64,
    pub(crate) foreign_unit: u64,
    pub(crate) wrong_function: u64,
    pub(crate) oversize: u64,
    pub(crate) exception: u64,
    /// An exception without its code: the shortest PDU there is.
    pub(crate) bare: u64,
    /// 0x0A or 0x0B for a unit that is there.
    pub(crate) unreached: u64,
    /// The server closes the connection, in the usual course.
    pub(crate) closed: u64,
    /// Of attempts to connect again, those that fail.
    pub(crate) unreachable: u64,
    /// Of connections that end, those whose rest is delivered in the next.
    pub(crate) left_over: u64,
}

#[derive(Debug)]
pub(crate) struct Upstream {
    pub(crate) rng: Rng,
    pub(crate) faults: UpstreamFaults,
    /// Whether it closes the connection after each answer.
    pub(crate) closes_after_answer: bool,
    /// The number of the present connection.
    pub(crate) connection: u64,
    /// Whether it answers for a unit that is not there.
    pub(crate) is_gateway: bool,
    /// The identifier of the last request.
    pub(crate) last_id: u16,
    /// What is on its way, by its time of arrival.
    segments: BTreeMap<(Nanos, u64), (Part, Vec<u8>)>,
    order: u64,
}

/// Which part of what was sent at once a segment is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    First,
    Rest,
}

impl Upstream {
    pub(crate) fn new(mut rng: Rng) -> Self {
        let mut rate = |most: u64| if rng.chance(500) { 0 } else { rng.range(1, most) };
        let faults = UpstreamFaults {
            slow: rate(300),
            late: rate(200),
            dropped: rate(150),
            doubled: rate(150),
            foreign_id: rate(100),
            foreign_unit: rate(100),
            wrong_function: rate(100),
            oversize: rate(100),
            exception: rate(150),
            unreached: rate(200),
            closed: rate(100),
            unreachable: rate(200),
            left_over: rate(800),
            bare: rate(100),
        };
        let (closes_after_answer, is_gateway) = (rng.chance(150), rng.chance(500));
        Self {
            rng,
            faults,
            closes_after_answer,
            connection: 0,
            is_gateway,
            last_id: 0,
            segments: BTreeMap::new(),
            order: 0,
        }
    }

    pub(crate) fn next_delivery(&self) -> Option<Nanos> {
        self.segments.keys().next().map(|key| key.0)
    }

    /// Everything due at `now`.
    pub(crate) fn deliver(&mut self, now: Nanos) -> Vec<u8> {
        let rest = self.segments.split_off(&(now + 1, 0));
        std::mem::replace(&mut self.segments, rest).into_values().flat_map(|(_, bytes)| bytes).collect()
    }

    /// The connection has ended. Only what arrives in the next one is left of it.
    pub(crate) fn end_connection(&mut self) {
        self.connection += 1;
        if !self.rng.chance(self.faults.left_over) {
            self.segments.clear();
        }
        // What the next connection begins with is whole.
        if self.segments.first_key_value().is_some_and(|(_, (part, _))| *part == Part::Rest) {
            self.segments.pop_first();
        }
    }

    /// The process that was connected has ended. Where the identifiers of its successor begin: elsewhere.
    pub(crate) fn restart(&mut self) -> u16 {
        self.end_connection();
        let away = u16::try_from(self.rng.range(100, 10_000)).expect("small");
        self.last_id.wrapping_add(away)
    }

    /// How long after its request an answer leaves.
    pub(crate) fn delay(&mut self, response_timeout: Nanos) -> Nanos {
        if self.rng.chance(self.faults.late) {
            self.rng.range(response_timeout, response_timeout * 4)
        } else if self.rng.chance(self.faults.slow) {
            self.rng.range(20 * MILLI, response_timeout * 9 / 10)
        } else {
            self.rng.range(MILLI / 10, 20 * MILLI)
        }
    }

    /// Sends the answer to the request with this identifier, whatever becomes of it. When it has arrived in full; `None`:
    /// it is of no use.
    pub(crate) fn send(&mut self, at: Nanos, id: u16, unit: u8, pdu: &[u8]) -> Option<Nanos> {
        let faults = self.faults;
        if self.rng.chance(faults.dropped) {
            return None;
        }
        let (mut id, mut unit, mut pdu, mut is_useful) = (id, unit, pdu.to_vec(), true);
        if self.rng.chance(faults.foreign_id) {
            // Never that of a request to come, or of one given up, whose answer it would be.
            let back = u16::try_from(self.rng.range(20_000, 30_000)).expect("small");
            (id, is_useful) = (id.wrapping_sub(back), false);
        } else if self.rng.chance(faults.foreign_unit) {
            (unit, is_useful) = (self.rng.pick(&[0, STRANGER, unit ^ 1]), false);
        } else if self.rng.chance(faults.wrong_function) {
            pdu[0] ^= self.rng.pick(&[1, 2, 7]);
            is_useful = false;
        } else if self.rng.chance(faults.oversize) && matches!(pdu[0], 1..=4) && pdu.len() < 200 {
            pdu[1] += 2;
            pdu.extend([0x55, 0xAA]);
            is_useful = false;
        } else if self.rng.chance(faults.bare) {
            pdu = vec![pdu[0] | 0x80];
            is_useful = false;
        }
        let mut bytes = BytesMut::new();
        Adu { transaction_id: id, unit, pdu: pdu.into() }.encode(&mut bytes);
        if self.rng.chance(faults.doubled) {
            bytes = [&bytes[..], &bytes[..]].concat()[..].into();
        }
        let cut = usize::try_from(self.rng.below(bytes.len() as u64)).expect("small");
        let pause = self.rng.pick(&[0, 0, 1, 30]) * MILLI;
        self.push(at, Part::First, &bytes[..cut]);
        let arrived = self.push(at + pause, Part::Rest, &bytes[cut..]);
        is_useful.then_some(arrived)
    }

    /// Behind everything that was sent before: TCP keeps the order.
    fn push(&mut self, at: Nanos, part: Part, bytes: &[u8]) -> Nanos {
        let at = at.max(self.segments.keys().next_back().map_or(0, |key| key.0));
        self.order += 1;
        self.segments.insert((at, self.order), (part, bytes.to_vec()));
        at
    }
}

/// An identifier of no unit.
const STRANGER: u8 = 247;
