//! The diagnostics unit: the state of the gateway as registers any Modbus client can read.
//!
//! Owns the map of docs/diagnostics-unit.md (map version 2): tables 3 and 4 alike, read only, every register of one
//! reply from one instant, 32-bit values with the high word first on even addresses. Never uses a line.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::modbus::pdu::{ExceptionCode, FunctionCode, ReadRange, RequestPdu};

use super::availability::Availability;
use super::settings::UnitId;
use super::view::{PortState, UnitView, View};

/// What one listener's diagnostics unit shows, at one instant.
#[derive(Clone, Debug)]
pub struct DiagnosticsView {
    /// When the gateway started.
    pub started: Instant,
    /// The listener's counters.
    pub clients: ClientCounters,
    /// The buses of the listener, in its order.
    pub buses: Vec<Arc<View>>,
    /// The units of the listener by the identifiers clients use: index of the bus, identifier on its line.
    pub units: BTreeMap<u8, (usize, UnitId)>,
}

/// The client counters of a listener.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClientCounters {
    /// Connections open now.
    pub connections: u32,
    /// Requests since the start.
    pub requests: u32,
    /// Of these, answered with an exception.
    pub exceptions: u32,
    /// Reads answered from the snapshot.
    pub hits: u32,
    /// Reads the snapshot could have answered but did not.
    pub misses: u32,
}

/// Whether the diagnostics unit has the function.
#[must_use]
pub fn has_function(function: FunctionCode) -> bool {
    matches!(function, FunctionCode::READ_HOLDING_REGISTERS | FunctionCode::READ_INPUT_REGISTERS)
}

/// The reply PDU of the diagnostics unit to `request`.
///
/// # Errors
/// 0x01 for every function but 0x03 and 0x04, 0x02 if any register of the range is not in the map.
pub fn answer(view: &DiagnosticsView, request: &RequestPdu, now: Instant) -> Result<Bytes, ExceptionCode> {
    let range = request.range().filter(|range| has_function(range.function));
    let Some(ReadRange { function, start, quantity }) = range else {
        return Err(ExceptionCode::ILLEGAL_FUNCTION);
    };
    let count = u8::try_from(quantity * 2).expect("a checked request asks for 125 registers at most");
    let mut reply = vec![function.0, count];
    let mut section: Option<(u16, Vec<u16>)> = None;
    for address in start..=start + (quantity - 1) {
        let first = section_of(address);
        if section.as_ref().is_none_or(|(begin, _)| *begin != first) {
            let words = view.section(first, now).ok_or(ExceptionCode::ILLEGAL_DATA_ADDRESS)?;
            section = Some((first, words));
        }
        let word = section.as_ref().and_then(|(begin, words)| words.get(usize::from(address - begin)));
        reply.extend(word.ok_or(ExceptionCode::ILLEGAL_DATA_ADDRESS)?.to_be_bytes());
    }
    Ok(Bytes::from(reply))
}

impl DiagnosticsView {
    /// The registers of the section that begins at `first`; `None` if there is none.
    fn section(&self, first: u16, now: Instant) -> Option<Vec<u16>> {
        if first == 0 {
            return Some(self.gateway(now));
        }
        if first < UNITS {
            return self.buses.get(usize::from((first - BUSES) / BUS_SIZE)).map(|view| bus(view, now));
        }
        let identifier = u8::try_from((first - UNITS) / UNIT_SIZE).ok()?;
        let (bus, id) = self.units.get(&identifier)?;
        let view = self.buses.get(*bus)?;
        view.unit(*id).map(|of| unit(of, view.availability(*id), now))
    }

    fn gateway(&self, now: Instant) -> Vec<u16> {
        let ClientCounters { connections, requests, exceptions, hits, misses } = self.clients;
        let uptime = seconds(now.saturating_duration_since(self.started));
        let mut words = vec![MAP_VERSION, u16::try_from(self.buses.len()).unwrap_or(u16::MAX)];
        for value in [uptime, connections, requests, exceptions, hits, misses] {
            words.extend(halves(value));
        }
        words.resize(usize::from(BUSES), 0);
        words
    }
}

fn bus(view: &View, now: Instant) -> Vec<u16> {
    let port = match view.port {
        PortState::Closed => 0,
        PortState::Open => 1,
        PortState::Occupied => 2,
    };
    let mut words = vec![port, view.utilisation(now)];
    words.extend(halves(wrapped(view.counters.transactions)));
    words.extend(halves(wrapped(view.counters.failures)));
    words.push(u16::try_from(view.waiting).unwrap_or(u16::MAX));
    words.push(u16::try_from(view.count_lost()).unwrap_or(u16::MAX));
    words.resize(usize::from(BUS_SIZE), 0);
    words
}

fn unit(view: &UnitView, availability: Availability, now: Instant) -> Vec<u16> {
    let state = match availability {
        Availability::NeverSeen => 0,
        Availability::Online => 1,
        Availability::Offline => 2,
        Availability::Confirming => 3,
        Availability::Unreachable => 4,
    };
    let age = view.age(now);
    let counters = view.counters;
    let mut words = vec![state, view.last_exception.map_or(0, |code| u16::from(code.0))];
    for value in [
        age.map_or(NONE, |age| u32::try_from(age.as_millis()).unwrap_or(NONE - 1).min(NONE - 1)),
        view.last_good.map_or(NONE, |at| seconds(now.saturating_duration_since(at))),
        wrapped(counters.transactions),
        wrapped(counters.timeouts),
        wrapped(counters.crc_errors),
        wrapped(counters.late_answers),
        wrapped(counters.exceptions),
    ] {
        words.extend(halves(value));
    }
    words.push(view.response_time.map_or(NONE_SHORT, |time| short(time.as_micros() / 100)));
    words.push(age.map_or(NONE_SHORT, |age| short(u128::from(age.as_secs()))));
    words.resize(usize::from(UNIT_SIZE), 0);
    words
}

/// Where the section begins in which a register lies.
fn section_of(address: u16) -> u16 {
    let aligned = |begin: u16, size: u16| address - (address - begin) % size;
    match address {
        0..BUSES => 0,
        BUSES..UNITS => aligned(BUSES, BUS_SIZE),
        UNITS.. => aligned(UNITS, UNIT_SIZE),
    }
}

fn halves(value: u32) -> [u16; 2] {
    let [a, b, c, d] = value.to_be_bytes();
    [u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d])]
}

/// A counter as 32 bits; it wraps round to zero.
fn wrapped(counter: u64) -> u32 {
    u32::try_from(counter & u64::from(u32::MAX)).unwrap_or_default()
}

/// Whole seconds, capped below the value that means none.
fn seconds(duration: Duration) -> u32 {
    u32::try_from(duration.as_secs()).unwrap_or(NONE - 1).min(NONE - 1)
}

fn short(value: u128) -> u16 {
    u16::try_from(value).unwrap_or(NONE_SHORT - 1).min(NONE_SHORT - 1)
}

/// The map this file describes; a map that moves a register gets another number.
const MAP_VERSION: u16 = 2;

/// Where the buses begin, and the registers of each.
const BUSES: u16 = 20;
const BUS_SIZE: u16 = 10;

/// Where unit 0 would begin, and the registers of each unit.
const UNITS: u16 = 100;
const UNIT_SIZE: u16 = 20;

/// No such value, in 32 and in 16 bits.
const NONE: u32 = u32::MAX;
const NONE_SHORT: u16 = u16::MAX;
