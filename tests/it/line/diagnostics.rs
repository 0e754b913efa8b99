//! The diagnostics unit, register by register, as in docs/diagnostics-unit.md.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use metergate::line::diagnostics::answer;
use metergate::line::{
    Availability, Block, ClientCounters, DiagnosticsView, LineCounters, PortState, Snapshot, UnitCounters,
    UnitId, UnitState, UnitStatistics, UnitView, View,
};
use metergate::modbus::pdu::{ExceptionCode, FunctionCode, ReadRange, RequestPdu};

use crate::support::settings;

const SECOND: Duration = Duration::from_secs(1);

fn unit(id: u8) -> UnitId {
    UnitId::new(id).unwrap()
}

fn range(start: u16, quantity: u16) -> ReadRange {
    ReadRange { function: FunctionCode::READ_HOLDING_REGISTERS, start, quantity }
}

fn block(range: ReadRange, begun: Instant) -> Block {
    let mut pdu = vec![3, u8::try_from(range.byte_count()).unwrap()];
    pdu.resize(2 + range.byte_count(), 0);
    Block::new(range, Bytes::from(pdu), begun, 1)
}

/// A unit that was never seen.
fn quiet(id: u8) -> UnitView {
    UnitView::new(&settings::unit(id))
}

/// A gateway that has run for 100000 s with two buses; clients address unit 2 of the second as 12.
fn picture(now: Instant) -> DiagnosticsView {
    let busy = UnitView {
        state: UnitState::Offline,
        counters: UnitCounters {
            transactions: 0x0001_0002,
            timeouts: 3,
            crc_errors: 4,
            late_answers: 5,
            unexpected: 6,
            exceptions: 7,
        },
        statistics: UnitStatistics::default(),
        last_exception: Some(ExceptionCode::ILLEGAL_DATA_ADDRESS),
        last_good: Some(now - 70 * SECOND),
        response_time: Some(Duration::from_micros(5_250)),
        snapshot: Arc::new(
            Snapshot::default()
                .with(block(range(256, 90), now - Duration::from_millis(2500)))
                .with(block(range(0, 2), now - 9 * SECOND)),
        ),
        measured: Arc::from([range(256, 90)]),
        is_measured: true,
        ..quiet(2)
    };
    let first = View { port: PortState::Closed, units: vec![Arc::new(quiet(1))], ..View::default() };
    let second = View {
        port: PortState::Open,
        counters: LineCounters { transactions: 0x0002_0001, failures: 9, ..LineCounters::default() },
        waiting: 4,
        units: vec![Arc::new(quiet(1)), Arc::new(busy)],
        ..View::default()
    };
    DiagnosticsView {
        started: now - 100_000 * SECOND,
        clients: ClientCounters { connections: 3, requests: 0x0003_0004, exceptions: 5, hits: 6, misses: 7 },
        buses: vec![Arc::new(first), Arc::new(second)],
        units: BTreeMap::from([(1, (0, unit(1))), (11, (1, unit(1))), (12, (1, unit(2)))]),
    }
}

fn ask(function: u8, start: u16, quantity: u16) -> Result<Vec<u16>, ExceptionCode> {
    let now = Instant::now() + 200_000 * SECOND;
    let mut pdu = vec![function];
    pdu.extend(start.to_be_bytes());
    pdu.extend(quantity.to_be_bytes());
    let reply = answer(&picture(now), &RequestPdu::decode(Bytes::from(pdu)).unwrap(), now)?;
    assert_eq!(reply[..2], [function, u8::try_from(quantity * 2).unwrap()]);
    Ok(reply[2..].chunks_exact(2).map(|word| u16::from_be_bytes([word[0], word[1]])).collect())
}

#[test]
fn the_gateway_stands_at_0_to_19() {
    let expected = [2, 2, 1, 34464, 0, 3, 3, 4, 0, 5, 0, 6, 0, 7, 0, 0, 0, 0, 0, 0];
    assert_eq!(ask(3, 0, 20).unwrap(), expected);
    assert_eq!(ask(4, 0, 20).unwrap(), expected, "both tables alike");
}

#[test]
fn each_bus_has_ten_registers_from_20_on() {
    let closed = [0, 0, 0, 0, 0, 0, 0, 1, 0, 0];
    assert_eq!(ask(3, 20, 10).unwrap(), closed, "its unit is unreachable");
    assert_eq!(ask(3, 30, 10).unwrap(), [1, 0, 2, 1, 0, 9, 4, 1, 0, 0]);
    assert_eq!(ask(3, 40, 1), Err(ExceptionCode::ILLEGAL_DATA_ADDRESS), "there is no third bus");
}

#[test]
fn a_busy_line_shows_its_utilisation_before_the_first_ten_seconds_are_over() {
    let start = Instant::now();
    let mut view = View { port: PortState::Open, ..View::default() };
    let mut shown = |busy: u32, at: u32| {
        view.counters.busy = busy * SECOND / 10;
        view.window.note(view.counters.busy, start + at * SECOND / 10);
        view.utilisation(start + at * SECOND / 10)
    };
    assert_eq!(shown(0, 0), 0);
    assert_eq!(shown(4, 9), 0, "a share of less than a second says nothing");
    assert_eq!(shown(4, 10), 4_000);
    assert_eq!(shown(10, 40), 2_500);
    assert_eq!(shown(30, 100), 3_000);
    // From here on a whole stretch is shown until the next is over.
    assert_eq!(shown(80, 150), 3_000);
    assert_eq!(shown(90, 200), 6_000);
}

#[test]
fn a_unit_stands_where_the_identifier_clients_use_puts_it() {
    let expected = [
        2, 2, // off-line, last exception 0x02
        0, 2500, // age of its measurement block; the other block is no measurement
        0, 70, // seconds since the last good answer
        1, 2, 0, 3, 0, 4, 0, 5, 0, 7, // transactions, timeouts, CRC errors, late answers, exceptions
        52, 2, 0, 0, // 5.2 ms, 2 s
    ];
    assert_eq!(ask(3, 100 + 20 * 12, 20).unwrap(), expected);
    let unreachable =
        [4, 0, 0xFFFF, 0xFFFF, 0xFFFF, 0xFFFF, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xFFFF, 0xFFFF, 0, 0];
    assert_eq!(ask(4, 100 + 20, 20).unwrap(), unreachable);
}

#[test]
fn a_reply_may_span_neighbours_and_no_undefined_register() {
    let both = ask(3, 100 + 20 * 11, 40).unwrap();
    assert_eq!((both[0], both[20]), (0, 2));
    for (start, quantity) in
        [(0, 41), (100, 1), (119, 2), (100 + 20 * 13, 1), (139, 2), (5100, 1), (65535, 1)]
    {
        let refused = ask(3, start, quantity);
        assert_eq!(refused, Err(ExceptionCode::ILLEGAL_DATA_ADDRESS), "{quantity} from {start}");
    }
}

#[test]
fn it_is_read_only_and_knows_two_functions() {
    let now = Instant::now() + 200_000 * SECOND;
    for pdu in [&[0x01, 0, 0, 0, 1][..], &[0x06, 0, 0, 0, 1], &[0x10, 0, 0, 0, 1, 2, 0, 0], &[0x11], &[0x41]]
    {
        let request = RequestPdu::decode(Bytes::copy_from_slice(pdu)).unwrap();
        assert_eq!(answer(&picture(now), &request, now), Err(ExceptionCode::ILLEGAL_FUNCTION), "{pdu:02X?}");
    }
}

#[test]
fn without_a_profile_the_age_is_that_of_the_newest_block() {
    let now = Instant::now() + 100 * SECOND;
    let view = UnitView {
        state: UnitState::Online,
        snapshot: Arc::new(
            Snapshot::default()
                .with(block(range(0, 2), now - 9 * SECOND))
                .with(block(range(5, 2), now - 3 * SECOND)),
        ),
        ..quiet(1)
    };
    assert_eq!(view.age(now), Some(3 * SECOND));
    let two = UnitView { measured: Arc::from([range(0, 2), range(5, 2)]), is_measured: true, ..view.clone() };
    assert_eq!(two.age(now), Some(9 * SECOND), "the oldest measurement block");
    let missing =
        UnitView { measured: Arc::from([range(0, 2), range(7, 2)]), is_measured: true, ..view.clone() };
    assert_eq!(missing.age(now), None, "one of them has not been read");
    let refused = UnitView { is_measured: true, ..view };
    assert_eq!(refused.age(now), None, "the unit gives none of them");
}

#[test]
fn with_a_profile_that_is_not_polled_the_age_is_that_of_the_oldest_measurement_clients_read() {
    let now = Instant::now() + 100 * SECOND;
    let read = |blocks: &[(u16, u32)]| {
        let blocks = blocks.iter().map(|&(start, age)| block(range(start, 2), now - age * SECOND));
        UnitView {
            snapshot: Arc::new(blocks.fold(Snapshot::default(), |snapshot, block| snapshot.with(block))),
            measurements: Arc::from([range(0, 10), range(50, 10)]),
            ..quiet(1)
        }
    };
    // From 20 on there is no measurement, and a client may have read a part of a block.
    assert_eq!(read(&[(20, 1), (8, 4), (50, 7)]).age(now), Some(7 * SECOND));
    assert_eq!(read(&[(20, 1), (9, 4)]).age(now), Some(4 * SECOND));
    assert_eq!(read(&[(20, 1)]).age(now), None, "clients have read no measurement");
}

#[test]
fn a_closed_port_and_a_silent_line_make_their_units_unreachable_and_idle() {
    let now = Instant::now() + 100 * SECOND;
    let online = || Arc::new(UnitView { state: UnitState::Online, ..quiet(1) });
    let mut view = View { port: PortState::Open, units: vec![online()], ..View::default() };
    view.window.note(Duration::ZERO, now - 20 * SECOND);
    view.counters.busy = 10 * SECOND;
    assert_eq!(view.availability(unit(1)), Availability::Online);
    assert_eq!((view.count_lost(), view.utilisation(now)), (0, 5_000));
    let silent = View { is_silent: true, ..view.clone() };
    assert_eq!((silent.availability(unit(1)), silent.count_lost()), (Availability::Unreachable, 1));
    let closed = View { port: PortState::Closed, ..view };
    assert_eq!((closed.availability(unit(1)), closed.count_lost()), (Availability::Unreachable, 1));
    assert_eq!(closed.utilisation(now), 0);
}
