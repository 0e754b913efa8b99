//! A simulated unit: real state behind every function, and values that identify their execution.
//!
//! Addresses below [`STATE`] hold what was written to them, or a value of their own unit, table and address.
//! From there on each execution gives other values, so that one answer can never be taken for another; in
//! between lie counters that run with time.

use std::collections::BTreeMap;

use metergate::modbus::pdu::RequestPdu;

use super::polling::{COUNTERS, COUNTERS_END, counter};
use super::rng::{Rng, mix};
use super::wire::Nanos;

/// First address whose values change with every execution.
pub(crate) const STATE: u16 = 64;

/// First address that does not exist: ranges beyond it are refused with 0x02.
pub(crate) const END: u16 = 0x0600;

/// Registers that exist and that no unit answers, and their end.
pub(crate) const IGNORED: u16 = 0x0300;
pub(crate) const IGNORED_END: u16 = 0x0320;

/// Whether units hear the read in silence.
pub(crate) fn is_ignored(pdu: &RequestPdu) -> bool {
    pdu.range().is_some_and(|range| {
        matches!(range.function.0, 3 | 4)
            && range.start < IGNORED_END
            && range.start + range.quantity > IGNORED
    })
}

/// How often a unit limits what is written to it.
#[derive(Debug)]
pub(crate) struct Limits {
    /// Permille of writes.
    pub(crate) rate: u64,
    pub(crate) rng: Rng,
}

#[derive(Debug)]
pub(crate) struct VirtualUnit {
    id: u8,
    /// Input registers repeat holding registers.
    mirrored: bool,
    now: Nanos,
    written: BTreeMap<(u8, u16), u16>,
    executions: u64,
    /// None: it takes whatever is written to it.
    limits: Option<Limits>,
    /// Instant, in nanoseconds, until which it still works on an answer and hears nothing.
    pub(crate) busy_until: u64,
}

impl VirtualUnit {
    pub(crate) fn new(id: u8, mirrored: bool) -> Self {
        Self { id, mirrored, now: 0, written: BTreeMap::new(), executions: 0, limits: None, busy_until: 0 }
    }

    pub(crate) fn with_limits(self, limits: Option<Limits>) -> Self {
        Self { limits, ..self }
    }

    /// Carries out a request PDU, `now`, and returns the reply PDU.
    pub(crate) fn execute(&mut self, pdu: &[u8], now: Nanos) -> Vec<u8> {
        self.now = now;
        self.executions += 1;
        let limited = self.limit(pdu);
        let pdu = limited.as_deref().unwrap_or(pdu);
        let word = |at: usize| u16::from_be_bytes([pdu[at], pdu[at + 1]]);
        let exists = |start: u16, quantity: u16| u32::from(start) + u32::from(quantity) <= u32::from(END);
        let refused = vec![pdu[0] | 0x80, 2];
        match pdu[0] {
            table @ (1 | 2) if exists(word(1), word(3)) => self.bits(table, word(1), word(3)),
            table @ (3 | 4) if exists(word(1), word(3)) => self.registers(table, table, word(1), word(3)),
            5 => self.write(1, word(1), &[word(3)], pdu.to_vec()),
            6 => self.write(3, word(1), &[word(3)], pdu.to_vec()),
            7 => vec![7, self.stamp(0)[0]],
            8 if word(1) == 0 => pdu.to_vec(),
            8 => [&pdu[..3], &self.stamp(0)[..2]].concat(),
            0x0B => [&[0x0B][..], &self.stamp(0)[..4]].concat(),
            0x0C => self.counted(0x0C, 6 + usize::from(self.stamp(1)[0] % 8)),
            0x0F => self.write(1, word(1), &[u16::from(pdu[6])], pdu[..5].to_vec()),
            0x10 => {
                let values: Vec<u16> =
                    pdu[6..].chunks(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]])).collect();
                self.write(3, word(1), &values, pdu[..5].to_vec())
            }
            0x11 => self.counted(0x11, 3 + usize::from(self.stamp(1)[0] % 20)),
            0x14 => {
                let count = u8::try_from(word(7)).expect("a few words") * 2;
                let values = self.values(usize::from(count));
                [&[0x14, count + 2, count + 1, 6][..], &values].concat()
            }
            0x15 | 0x16 => pdu.to_vec(),
            0x17 => {
                let values: Vec<u16> =
                    pdu[10..].chunks(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]])).collect();
                self.write(3, word(5), &values, Vec::new());
                self.registers(0x17, 3, word(1), word(3))
            }
            0x18 => {
                let count = 1 + u16::from(self.stamp(1)[0] % 8);
                let [_, bytes] = (2 + count * 2).to_be_bytes();
                let values = self.values(usize::from(count) * 2);
                [&[0x18, 0, bytes, 0, count.to_be_bytes()[1]][..], &values].concat()
            }
            0x2B => {
                let text = self.values(5);
                [&[0x2B, 0x0E, pdu[2], 1, 0, 0, 2, 0, 5][..], &text, &[1, 2, 7, 7]].concat()
            }
            0x41 => [&[0x41][..], &self.values(3 + usize::from(pdu[1] % 8))].concat(),
            _ => refused,
        }
    }

    /// The write as the unit carries it out, where it limits it: with the right address and another value or quantity,
    /// unlike those of its other writes to the same address.
    fn limit(&mut self, pdu: &[u8]) -> Option<Vec<u8>> {
        let executions = self.executions;
        let limits = self.limits.as_mut()?;
        if !limits.rng.chance(limits.rate) {
            return None;
        }
        let fewer = |asked: u16| {
            (asked > 1).then(|| {
                let rest = executions % u64::from(asked - 1);
                1 + u16::try_from(rest).expect("less than what was asked")
            })
        };
        let with_quantity = |quantity: u16| [&pdu[..3], &quantity.to_be_bytes()].concat();
        match *pdu {
            [0x05, a1, a0, value, _] => Some(vec![0x05, a1, a0, !value, 0]),
            // Serial numbers never get there.
            [0x06, a1, a0, v1, v0] => Some(vec![0x06, a1, a0, v1 | 0x40, v0]),
            [0x0F, _, _, q1, q0, _, ref values @ ..] => {
                let quantity = fewer(u16::from_be_bytes([q1, q0]))?;
                let count = quantity.div_ceil(8);
                let values = &values[..usize::from(count)];
                Some([&with_quantity(quantity)[..], &count.to_be_bytes()[1..], values].concat())
            }
            [0x10, _, _, q1, q0, _, ref values @ ..] => {
                let quantity = fewer(u16::from_be_bytes([q1, q0]))?;
                let count = quantity * 2;
                let values = &values[..usize::from(count)];
                Some([&with_quantity(quantity)[..], &count.to_be_bytes()[1..], values].concat())
            }
            _ => None,
        }
    }

    fn registers(&self, function: u8, table: u8, start: u16, quantity: u16) -> Vec<u8> {
        let mut reply = vec![function, u8::try_from(quantity * 2).expect("at most 125")];
        for address in start..start + quantity {
            reply.extend(self.value(table, address).to_be_bytes());
        }
        reply
    }

    fn bits(&self, table: u8, start: u16, quantity: u16) -> Vec<u8> {
        let mut values = vec![0_u8; usize::from(quantity).div_ceil(8)];
        for bit in 0..quantity {
            let value = u8::from(self.value(table, start + bit) % 2 == 1);
            values[usize::from(bit / 8)] |= value << (bit % 8);
        }
        [&[table, u8::try_from(values.len()).expect("at most 250")][..], &values].concat()
    }

    fn value(&self, table: u8, address: u16) -> u16 {
        let table = if self.mirrored && table == 4 { 3 } else { table };
        if matches!(table, 3 | 4) && (COUNTERS..COUNTERS_END).contains(&address) {
            return counter(self.id, table, address, self.now);
        }
        let version = if address < STATE { 0 } else { self.executions };
        let own = mix(u64::from(self.id) << 40 | u64::from(table) << 32 | u64::from(address) | version << 48);
        self.written
            .get(&(table, address))
            .copied()
            .unwrap_or(u16::from_le_bytes([own.to_le_bytes()[0], own.to_le_bytes()[1]]))
    }

    fn write(&mut self, table: u8, start: u16, values: &[u16], reply: Vec<u8>) -> Vec<u8> {
        for (address, value) in (start..).zip(values) {
            self.written.insert((table, address), *value);
        }
        reply
    }

    fn stamp(&self, salt: u64) -> [u8; 8] {
        mix(u64::from(self.id) << 56 | self.executions << 8 | salt).to_le_bytes()
    }

    fn values(&self, count: usize) -> Vec<u8> {
        (0..count as u64).map(|index| self.stamp(2 + index)[0]).collect()
    }

    fn counted(&self, function: u8, count: usize) -> Vec<u8> {
        [&[function, u8::try_from(count).expect("small")][..], &self.values(count)].concat()
    }
}
