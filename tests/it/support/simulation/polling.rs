//! What the line reads on its own account in one seed, and what a counter of a unit tells.
//!
//! Blocks lie over registers that hold written values, over some that change with each reading, over counters
//! that run with time, and over some that do not exist.

use std::collections::BTreeSet;
use std::time::Duration;

use metergate::line::{DemandedBlock, LineSettings, Pace, PolledBlock, Polling};
use metergate::modbus::pdu::{FunctionCode, ReadRange};

use super::rng::{Rng, mix};
use super::unit::END;
use super::wire::{MILLI, Nanos};

/// First register of the counters, and their end. Each is a pair, the high word first.
pub(crate) const COUNTERS: u16 = 0x0100;
pub(crate) const COUNTERS_END: u16 = 0x0140;

/// Gives some of the units blocks, in about half of the seeds. False: nothing is polled.
pub(crate) fn draw(settings: &mut LineSettings, rng: &mut Rng) -> bool {
    settings.learn_limit = rng.pick(&[0, 1, 2, 4, 256]);
    settings.poll_share = rng.pick(&[0.05, 0.2, 0.6, 0.6, 0.9]);
    let polled = rng.chance(500);
    if !polled {
        return false;
    }
    let mut left = rng.range(1, 5);
    for unit in &mut settings.units {
        let mirrored = rng.chance(300);
        let mut blocks = Vec::new();
        for range in ranges() {
            if left > 0 && rng.chance(400) {
                left -= 1;
                blocks.push(block(range, rng));
            }
        }
        unit.polling = Polling { blocks, mirrored, uncut: uncut(), ..Polling::default() };
    }
    true
}

/// Gives some of the units blocks that are read once a client has asked for a part of them, in a part of the seeds.
pub(crate) fn draw_demanded(settings: &mut LineSettings, rng: &mut Rng) {
    if !rng.chance(300) {
        return;
    }
    for unit in &mut settings.units {
        let polling = &mut unit.polling;
        let is_polled = |range: &ReadRange| {
            polling.blocks.iter().any(|block| polling.tables().overlap(&block.range, range))
        };
        let free: Vec<ReadRange> = ranges().into_iter().filter(|range| !is_polled(range)).collect();
        let drawn = free.into_iter().filter(|_| rng.chance(600));
        polling.demanded = drawn.map(|range| DemandedBlock { range, core: None }).collect();
        polling.uncut = uncut();
    }
}

/// What the words of `reply` to `range` say of the time, in milliseconds; `Err`: a pair is torn, or two pairs
/// are of different times. `None`: there is no whole counter in it.
pub(crate) fn time_told(
    unit: u8,
    table: u8,
    range: &ReadRange,
    reply: &[u8],
) -> Result<Option<Nanos>, String> {
    let mut told = None;
    let odd = range.start % 2;
    let pairs = reply[2..].get(usize::from(odd) * 2..).unwrap_or_default().chunks_exact(4);
    for (address, pair) in (range.start + odd..).step_by(2).zip(pairs) {
        if !(COUNTERS..COUNTERS_END).contains(&address) {
            continue;
        }
        let value = u32::from_be_bytes([pair[0], pair[1], pair[2], pair[3]]) ^ mask(unit, table, address);
        let (high, low) = (value >> 16, value & 0xFFFF);
        let millis = low | (high.wrapping_sub(low) & 0xFFFF) << 16;
        if *told.get_or_insert(millis) != millis {
            return Err(format!("torn: counters of different times in {reply:02X?}"));
        }
    }
    Ok(told.map(|millis| Nanos::from(millis) * MILLI))
}

/// The word at `address` of the counters: in both words of a pair something changes each millisecond.
pub(crate) fn counter(unit: u8, table: u8, address: u16, now: Nanos) -> u16 {
    let millis = u32::try_from(now / MILLI).expect("less than a month");
    let value = millis.wrapping_mul(0x0001_0001) ^ mask(unit, table, address & !1);
    let [h1, h0, l1, l0] = value.to_be_bytes();
    u16::from_be_bytes(if address.is_multiple_of(2) { [h1, h0] } else { [l1, l0] })
}

/// Unlike any other counter's.
fn mask(unit: u8, table: u8, address: u16) -> u32 {
    let own = mix(u64::from(unit) << 24 | u64::from(table) << 16 | u64::from(address));
    u32::try_from(own >> 32).expect("32 bits")
}

fn block(range: ReadRange, rng: &mut Rng) -> PolledBlock {
    let half = ReadRange { quantity: range.quantity / 4 * 2, ..range };
    let seconds = rng.pick(&[1, 1, 2, 5, 30]);
    PolledBlock {
        range,
        core: (half.quantity > 0 && rng.chance(300)).then_some(half),
        measured: rng.chance(700),
        pace: if rng.chance(300) { Pace::Auto } else { Pace::Every(Duration::from_secs(seconds)) },
    }
}

fn ranges() -> [ReadRange; 6] {
    let range = |function, start, quantity| ReadRange { function, start, quantity };
    let (holding, input) = (FunctionCode::READ_HOLDING_REGISTERS, FunctionCode::READ_INPUT_REGISTERS);
    [
        range(holding, 0, 12),
        range(holding, COUNTERS, 32),
        range(holding, COUNTERS + 32, 32),
        range(holding, 64, 20),
        range(input, 100, 10),
        range(holding, END - 16, 32),
    ]
}

/// The second words of all pairs.
fn uncut() -> BTreeSet<(FunctionCode, u16)> {
    let second = |range: ReadRange| {
        (range.start..range.start + range.quantity)
            .filter(|at| at % 2 == 1)
            .map(move |at| (range.function, at))
    };
    ranges().into_iter().flat_map(second).collect()
}
