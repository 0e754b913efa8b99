//! The snapshot and the plans: one block a reply, ages from the beginning, budgets kept.

use std::time::{Duration, Instant};

use bytes::Bytes;
use metergate::line::{
    Block, Due, INTERVAL_MIN, ListenerId, Pace, PollBlock, PollPlan, Snapshot, Tables, UnitId,
};
use metergate::modbus::pdu::{FunctionCode, ReadRange};

fn registers(start: u16, quantity: u16) -> ReadRange {
    ReadRange { function: FunctionCode::READ_HOLDING_REGISTERS, start, quantity }
}

/// A reply whose registers all hold `value`.
fn reply(range: ReadRange, value: u16) -> Bytes {
    let mut pdu = vec![range.function.0, u8::try_from(range.byte_count()).unwrap()];
    pdu.extend((0..range.quantity).flat_map(|_| value.to_be_bytes()));
    Bytes::from(pdu)
}

fn block(range: ReadRange, value: u16, begun: Instant, generation: u64) -> Block {
    Block::new(range, reply(range, value), begun, generation)
}

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn a_reply_is_cut_from_one_block_and_never_stitched_from_two() {
    let now = Instant::now();
    let snapshot = Snapshot::default().with(block(registers(0, 10), 1, now, 1)).with(block(
        registers(10, 10),
        2,
        now,
        2,
    ));
    assert_eq!(
        snapshot.answer(&registers(3, 4), SECOND, ListenerId::default(), now),
        Some(reply(registers(3, 4), 1))
    );
    assert_eq!(
        snapshot.answer(&registers(10, 10), SECOND, ListenerId::default(), now),
        Some(reply(registers(10, 10), 2))
    );
    assert_eq!(
        snapshot.answer(&registers(8, 4), SECOND, ListenerId::default(), now),
        None,
        "both halves are there, in two blocks"
    );
}

#[test]
fn the_youngest_block_that_covers_is_taken() {
    let now = Instant::now();
    let later = now + SECOND;
    let snapshot = Snapshot::default().with(block(registers(0, 20), 2, later, 2)).with(block(
        registers(0, 10),
        1,
        now,
        1,
    ));
    assert_eq!(
        snapshot.answer(&registers(0, 5), 10 * SECOND, ListenerId::default(), later),
        Some(reply(registers(0, 5), 2))
    );
}

#[test]
fn age_counts_from_the_beginning_and_is_kept_to_the_edge() {
    let begun = Instant::now();
    let snapshot = Snapshot::default().with(block(registers(0, 2), 7, begun, 1));
    let at =
        |age| snapshot.answer(&registers(0, 2), 5 * SECOND, ListenerId::default(), begun + age).is_some();
    assert!(at(Duration::ZERO) && at(5 * SECOND));
    assert!(!at(5 * SECOND + Duration::from_nanos(1)));
    assert_eq!(
        snapshot.answer(&registers(0, 2), Duration::ZERO, ListenerId::default(), begun),
        None,
        "0s always goes to the line"
    );
}

#[test]
fn a_table_serves_the_other_only_where_the_profile_says_so() {
    let now = Instant::now();
    let input = ReadRange { function: FunctionCode::READ_INPUT_REGISTERS, ..registers(2, 2) };
    let held = |tables| Snapshot::new(tables, [].into()).with(block(registers(0, 10), 9, now, 1));
    assert_eq!(held(Tables::Apart).answer(&input, SECOND, ListenerId::default(), now), None);
    assert_eq!(
        held(Tables::Mirrored).answer(&input, SECOND, ListenerId::default(), now),
        Some(reply(input, 9))
    );
    let coils = ReadRange { function: FunctionCode::READ_COILS, ..registers(0, 2) };
    assert_eq!(held(Tables::Mirrored).answer(&coils, SECOND, ListenerId::default(), now), None);
}

/// A unit whose register 0 is scaled by register 100: the values that register 100 is known to have had, and when, in
/// seconds from the start.
fn ratios(snapshot: &Snapshot, start: Instant) -> Vec<(u64, u8)> {
    let reads = snapshot.reads().filter(|(range, ..)| *range == registers(100, 1));
    let mut ratios: Vec<_> =
        reads.map(|(_, reply, at)| (at.saturating_duration_since(start).as_secs(), reply[3])).collect();
    ratios.sort_unstable();
    ratios
}

#[test]
fn the_ratios_read_right_before_and_right_after_a_value_are_kept_with_it() {
    let start = Instant::now();
    let mut snapshot = Snapshot::new(Tables::Apart, [registers(100, 1)].into());
    let mut generation = 0;
    let mut read = |snapshot: &Snapshot, start_of_range, value, second: u32| {
        generation += 1;
        snapshot.with(block(registers(start_of_range, 1), value, start + SECOND * second, generation))
    };
    for (second, ratio) in [(0, 10), (2, 10), (4, 10)] {
        snapshot = read(&snapshot, 100, ratio, second);
    }
    assert_eq!(ratios(&snapshot, start), [(4, 10)], "nothing else was read that it could scale");
    snapshot = read(&snapshot, 0, 230, 5);
    for (second, ratio) in [(6, 20), (8, 10), (10, 20), (12, 30)] {
        snapshot = read(&snapshot, 100, ratio, second);
    }
    assert_eq!(ratios(&snapshot, start), [(4, 10), (6, 20), (12, 30)]);
    assert_eq!(snapshot.blocks().len(), 2, "clients are served from none of the earlier ones");
    let wanted = registers(100, 1);
    let served = snapshot.answer(&wanted, 60 * SECOND, ListenerId::default(), start + 13 * SECOND);
    assert_eq!(served, Some(reply(wanted, 30)));
    snapshot = read(&snapshot, 0, 115, 15);
    assert_eq!(ratios(&snapshot, start), [(12, 30)], "the value they were kept for is gone");
    snapshot = read(&snapshot, 100, 30, 16);
    assert_eq!(ratios(&snapshot, start), [(12, 30), (16, 30)]);
    // A write drops them with all values.
    assert_eq!(ratios(&snapshot.without(|_| true), start), []);
    let forgotten = snapshot.without(|block| block.range == registers(100, 1));
    assert_eq!(ratios(&forgotten, start), [], "its range is read no longer");
}

#[test]
fn earlier_ratios_are_bounded() {
    let start = Instant::now();
    let mut snapshot = Snapshot::new(Tables::Apart, [registers(100, 1)].into());
    // The worst case: many ranges, and the ratio read anew between any two of them.
    for turn in 0..100_u16 {
        let at = start + SECOND * u32::from(turn);
        snapshot = snapshot.with(block(registers(100, 1), turn, at, u64::from(turn) * 2));
        snapshot =
            snapshot.with(block(registers(1000 + turn, 1), 1, at + SECOND / 2, u64::from(turn) * 2 + 1));
    }
    assert_eq!(snapshot.reads().count() - snapshot.blocks().len(), 32);
    assert_eq!(ratios(&snapshot, start).first().map(|(second, _)| *second), Some(67));
}

#[test]
fn values_that_nothing_scales_keep_no_earlier_reads() {
    let start = Instant::now();
    let mut snapshot = Snapshot::default();
    for second in 0..10_u16 {
        let at = start + SECOND * u32::from(second);
        let range = registers(100 * (second % 2), 1);
        snapshot = snapshot.with(block(range, second, at, second.into()));
    }
    assert_eq!(snapshot.reads().count(), 2);
}

#[test]
fn a_block_remembers_the_most_demanding_of_those_it_answered() {
    let now = Instant::now();
    let snapshot = Snapshot::default().with(block(registers(0, 2), 7, now, 1));
    let wanted = || snapshot.block(&registers(0, 2)).unwrap().wanted_age();
    assert_eq!(wanted(), None);
    let _ = snapshot.answer(&registers(0, 2), 9 * SECOND, ListenerId::default(), now);
    let _ = snapshot.answer(&registers(1, 1), 4 * SECOND, ListenerId::default(), now);
    let _ = snapshot.answer(&registers(0, 2), 6 * SECOND, ListenerId::default(), now);
    assert_eq!(wanted(), Some(4 * SECOND));
}

fn unit(id: u8) -> UnitId {
    UnitId::new(id).unwrap()
}

fn planned(id: u8, pace: Pace, cost_ms: u64) -> PollBlock {
    PollBlock {
        unit: unit(id),
        range: registers(256, 90),
        measured: true,
        pace,
        cost: Duration::from_millis(cost_ms),
    }
}

/// Runs a plan for `time` of line time on which each reading takes its cost, and returns what was read when.
fn run(plan: &mut PollPlan, start: Instant, time: Duration, cost: Duration) -> Vec<(Duration, UnitId)> {
    let (mut now, mut read) = (start, Vec::new());
    while now < start + time {
        if let Some(Due { unit, range }) = plan.due(now, |_| true) {
            plan.note_begun(unit, &range, now);
            read.push((now - start, unit));
            now += cost;
            plan.spend(cost, cost);
        } else {
            let next = plan.next_due(|_| true).unwrap();
            assert!(next > now, "a plan that is due gives something to do");
            now = next;
        }
    }
    read
}

#[test]
fn the_automatic_interval_is_the_shortest_the_share_allows() {
    let now = Instant::now();
    let blocks = |count: u8| (1..=count).map(|id| planned(id, Pace::Auto, 107)).collect();
    // Eight floats of 107 ms are 0.86 s of line time: within 60 %, every 1.43 s.
    let eight = PollPlan::new(blocks(8), 0.6, now).auto_interval();
    assert!((eight.as_secs_f64() - 8.0 * 0.107 / 0.6).abs() < 1e-6, "{eight:?}");
    // One alone could be read six times a second, but the meter renews its values once.
    assert_eq!(PollPlan::new(blocks(1), 0.6, now).auto_interval(), INTERVAL_MIN);
    // What is read at fixed intervals comes off the share first.
    let mut mixed: Vec<_> = blocks(8);
    mixed.push(planned(9, Pace::Every(SECOND), 300));
    let mixed = PollPlan::new(mixed, 0.6, now).auto_interval();
    assert!((mixed.as_secs_f64() - 8.0 * 0.107 / 0.3).abs() < 1e-6, "{mixed:?}");
}

#[test]
fn readings_are_spread_over_the_interval_and_every_block_keeps_its_pace() {
    let (start, cost) = (Instant::now(), Duration::from_millis(107));
    let mut plan = PollPlan::new((1..=8).map(|id| planned(id, Pace::Auto, 107)).collect(), 0.6, start);
    let interval = plan.auto_interval();
    let read = run(&mut plan, start, 60 * SECOND, cost);
    for id in 1..=8 {
        let times: Vec<_> = read.iter().filter(|(_, of)| *of == unit(id)).map(|(at, _)| *at).collect();
        let gaps: Vec<_> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
        let longest = gaps.iter().max().unwrap();
        assert!(
            *longest <= interval + 2 * cost,
            "unit {id}: {longest:?} between two readings, not {interval:?}"
        );
    }
    let pauses =
        read.windows(2).filter(|pair| pair[1].0 - pair[0].0 >= cost + Duration::from_millis(20)).count();
    assert!(pauses * 2 > read.len(), "{pauses} pauses between {} readings", read.len());
}

#[test]
fn background_readings_never_take_more_than_their_share() {
    let (start, cost) = (Instant::now(), Duration::from_millis(200));
    // Five times the line: the requested readings cannot all be done.
    let blocks = (1..=25).map(|id| planned(id, Pace::Every(SECOND), 200)).collect();
    let mut plan = PollPlan::new(blocks, 0.5, start);
    let read = run(&mut plan, start, 100 * SECOND, cost);
    let used = cost * u32::try_from(read.len()).unwrap();
    assert!(used <= 51 * SECOND, "{used:?} of 100 s");
    assert!(used >= 48 * SECOND, "{used:?} of 100 s: the share is used");
    let counts: Vec<_> = (1..=25).map(|id| read.iter().filter(|(_, of)| *of == unit(id)).count()).collect();
    assert!(counts.iter().max().unwrap() - counts.iter().min().unwrap() <= 1, "{counts:?}");
    assert!(plan.slowdown() > 8.0, "slower than planned by {}", plan.slowdown());
}

#[test]
fn a_share_of_nothing_reads_nothing() {
    let now = Instant::now();
    let mut plan = PollPlan::new(vec![planned(1, Pace::Auto, 107)], 0.0, now);
    assert_eq!(plan.due(now + 100 * SECOND, |_| true), None);
    assert_eq!(plan.next_due(|_| true), None);
}

#[test]
fn a_reading_that_a_client_caused_puts_the_next_one_off() {
    let now = Instant::now();
    let mut plan = PollPlan::new(vec![planned(1, Pace::Every(5 * SECOND), 107)], 0.6, now);
    plan.note_begun(unit(1), &registers(256, 90), now);
    plan.note_begun(unit(1), &registers(256, 90), now + 2 * SECOND);
    assert_eq!(plan.due(now + 6 * SECOND, |_| true), None);
    assert!(plan.due(now + 7 * SECOND, |_| true).is_some());
}

#[test]
fn readings_are_compared_with_what_the_configuration_told() {
    let mut plan = PollPlan::new(vec![planned(1, Pace::Auto, 107)], 0.6, Instant::now());
    assert_eq!(plan.overrun(), None);
    let compared =
        (0..200).filter(|_| plan.spend(Duration::from_millis(150), Duration::from_millis(100))).count();
    assert_eq!(compared, 2, "every ten seconds of line time");
    assert!((plan.overrun().unwrap() - 1.5).abs() < 1e-9);
}
