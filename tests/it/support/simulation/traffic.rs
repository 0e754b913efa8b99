//! The requests of clients: reads of all kinds from few ranges, so that they overlap, and writes that all differ.

use bytes::Bytes;

use metergate::modbus::pdu::RequestPdu;

use super::polling::COUNTERS;
use super::rng::Rng;
use super::swarm::Swarm;
use super::unit::{END, IGNORED};

/// A read of any kind, or of a few registers that all clients read.
pub(crate) fn read(rng: &mut Rng, swarm: &Swarm) -> RequestPdu {
    if swarm.habits && rng.chance(800) {
        let (function, start, quantity, _) = rng.pick(&HABITS);
        return range(function, start, quantity);
    }
    if swarm.polled && rng.chance(600) {
        return read_polled(rng);
    }
    if swarm.hot {
        return range(3, rng.pick(&[0, 0, 1]), rng.pick(&[1, 2, 4]));
    }
    let start = rng.pick(&[0, 2, 10, 64, 64, 100, 0x0200, 0x0404, END - 10]);
    match rng.below(20) {
        0..=8 => range(3, start, rng.pick(&[1, 2, 2, 4, 10, 50, 125])),
        9..=13 => range(4, start, rng.pick(&[1, 2, 2, 4, 10, 50, 125])),
        14 => range(1, start, rng.pick(&[1, 8, 13, 200])),
        15 => range(2, start, rng.pick(&[1, 8, 13, 200])),
        _ => {
            let sub = rng.pick(&[0, 2, 0x0B]);
            let data = if sub == 0 { rng.byte() } else { 0 };
            let others: [&[u8]; 8] = [
                &[0x07],
                &[0x08, 0, sub, 0, data],
                &[0x0B],
                &[0x0C],
                &[0x11],
                &[0x14, 7, 6, 0, 1, 0, 0, 0, 2],
                &[0x18, 0, 4],
                &[0x2B, 0x0E, 1, 0],
            ];
            checked(rng.pick(&others))
        }
    }
}

/// The next step of a client that reads single registers one after the other, by both functions.
pub(crate) fn step(at: u64, rng: &mut Rng) -> RequestPdu {
    let offset = u16::try_from(at % 24).expect("small");
    range(rng.pick(&[3, 3, 4]), rng.pick(&[0, COUNTERS, COUNTERS]) + offset, 1)
}

/// A read of registers that no unit answers.
pub(crate) fn ignored(rng: &mut Rng) -> RequestPdu {
    range(rng.pick(&[3, 4]), IGNORED + rng.pick(&[0, 2, 16]), rng.pick(&[1, 2, 4]))
}

/// The oldest data a client takes, in milliseconds; one with a habit always the same.
pub(crate) fn max_age(rng: &mut Rng, swarm: &Swarm, pdu: &RequestPdu) -> u64 {
    let known = pdu.range().filter(|_| swarm.habits).and_then(|range| {
        let same =
            |habit: &&Habit| (habit.0, habit.1, habit.2) == (range.function.0, range.start, range.quantity);
        HABITS.iter().find(same)
    });
    match known {
        Some((.., max_age)) => *max_age,
        None if swarm.hot => rng.pick(&[0, 5000]),
        None => rng.pick(&[0, 0, 20, 200, 1500, 5000]),
    }
}

/// Function, start, quantity and age in milliseconds of a read that is asked for again and again.
type Habit = (u8, u16, u16, u64);

/// Wholes and parts of them, through either table, with ages that are kept fresh and ones that are not.
const HABITS: [Habit; 6] = [
    (3, COUNTERS, 16, 5000),
    (3, COUNTERS + 2, 4, 1500),
    (4, COUNTERS, 16, 5000),
    (4, COUNTERS + 4, 2, 2000),
    (3, COUNTERS + 8, 16, 1500),
    (4, COUNTERS + 36, 2, 200),
];

/// A read of what is read in the background as well, or of what reaches over its edges.
fn read_polled(rng: &mut Rng) -> RequestPdu {
    let start = rng.pick(&[0, 0, 2, COUNTERS, COUNTERS + 2, COUNTERS + 24, COUNTERS + 32, 64, 72, 100]);
    range(rng.pick(&[3, 3, 4, 4]), start, rng.pick(&[2, 2, 4, 10, 12, 20, 32, 50]))
}

/// A write of any kind that carries `serial`, which makes it unlike any other of the run.
pub(crate) fn write(rng: &mut Rng, serial: u16) -> RequestPdu {
    let [s1, s0] = serial.to_be_bytes();
    let address = rng.pick(&[0, 1, 2, 10, 11]);
    match rng.below(9) {
        0 => checked(&[0x05, s1, s0, 0xFF, 0]),
        1..=3 => checked(&[0x06, 0, address, s1, s0]),
        4 => checked(&[0x10, 0, address, 0, 2, 4, s1, s0, s0, s1]),
        5 => checked(&[0x16, 0, address, s1, s0, s0, s1]),
        6 => checked(&[0x17, 0, address, 0, 2, 0, address, 0, 1, 2, s1, s0]),
        7 => checked(&[0x15, 9, 6, 0, 1, 0, 0, 0, 1, s1, s0]),
        _ => checked(&[0x41, s0, s1, s0]),
    }
}

/// A write that a unit may limit, to one of few addresses: the answer to one looks like the limited answer to another.
pub(crate) fn limitable(rng: &mut Rng, serial: u16) -> RequestPdu {
    let [s1, s0] = serial.to_be_bytes();
    let address = rng.pick(&[0, 1, 2]);
    let quantity = 17 + s0 % 16;
    match rng.below(5) {
        0 => checked(&[0x05, s1, s0, rng.pick(&[0, 0xFF]), 0]),
        1 | 2 => checked(&[0x06, 0, address, s1, s0]),
        3 => {
            let values = [s1, s0, s0, s1];
            let count = quantity.div_ceil(8);
            checked(&[&[0x0F, 0, address, 0, quantity, count][..], &values[..usize::from(count)]].concat())
        }
        _ => {
            let values = [s1, s0].repeat(usize::from(quantity));
            checked(&[&[0x10, 0, address, 0, quantity, quantity * 2][..], &values].concat())
        }
    }
}

/// A write that may go to all units.
pub(crate) fn broadcast(rng: &mut Rng, serial: u16) -> RequestPdu {
    let [s1, s0] = serial.to_be_bytes();
    match rng.below(4) {
        0 => checked(&[0x05, s1, s0, 0xFF, 0]),
        1 => checked(&[0x06, 0, 2, s1, s0]),
        2 => checked(&[0x0F, s1, s0, 0, 8, 1, s0]),
        _ => checked(&[0x10, 0, 1, 0, 2, 4, s1, s0, s0, s1]),
    }
}

/// A read of registers or bits.
pub(crate) fn range(function: u8, start: u16, quantity: u16) -> RequestPdu {
    let [s1, s0] = start.to_be_bytes();
    let [q1, q0] = quantity.to_be_bytes();
    checked(&[function, s1, s0, q1, q0])
}

fn checked(pdu: &[u8]) -> RequestPdu {
    RequestPdu::decode(Bytes::copy_from_slice(pdu)).expect("a request inside the standard's limits")
}
