//! The plan of background readings: spread evenly, in phase, and with no measure of delays it did not cause.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use metergate::line::{Due, Pace, PollBlock, PollPlan, UnitId};
use metergate::modbus::pdu::{FunctionCode, ReadRange};

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);
const COST: Duration = Duration::from_millis(107);
const FLOATS: ReadRange =
    ReadRange { function: FunctionCode::READ_HOLDING_REGISTERS, start: 256, quantity: 90 };

fn unit(id: u8) -> UnitId {
    UnitId::new(id).unwrap()
}

fn blocks(count: u8, pace: Pace) -> Vec<PollBlock> {
    let block = |id| PollBlock { unit: unit(id), range: FLOATS, measured: true, pace, cost: COST };
    (1..=count).map(block).collect()
}

/// Reads what is due until `end`, on a line that is otherwise free; returns when each reading began.
fn run(
    plan: &mut PollPlan,
    from: Instant,
    end: Instant,
    usable: impl Fn(UnitId) -> bool,
) -> Vec<(Instant, UnitId)> {
    let (mut now, mut read) = (from, Vec::new());
    loop {
        if let Some(Due { unit, range }) = plan.due(now, &usable) {
            plan.note_begun(unit, &range, now);
            read.push((now, unit));
            now += COST;
            plan.spend(COST, COST);
        } else {
            match plan.next_due(&usable) {
                Some(next) if next < end => now = now.max(next),
                Some(_) | None => return read,
            }
        }
    }
}

/// The shortest and the longest time from one reading to the next.
fn gaps(read: &[(Instant, UnitId)]) -> (Duration, Duration) {
    let gaps: Vec<_> = read.windows(2).map(|pair| pair[1].0 - pair[0].0).collect();
    (*gaps.iter().min().unwrap(), *gaps.iter().max().unwrap())
}

#[test]
fn slow_blocks_are_known_soon_and_spread_over_their_whole_interval_from_then_on() {
    let start = Instant::now();
    let mut plan = PollPlan::new(blocks(8, Pace::Every(60 * SECOND)), 0.6, start);
    let first = run(&mut plan, start, start + 10 * SECOND, |_| true);
    let known: BTreeSet<_> = first.iter().map(|(_, id)| *id).collect();
    assert_eq!(known.len(), 8, "within ten seconds");
    let from = start + 70 * SECOND;
    run(&mut plan, start + 10 * SECOND, from, |_| true);
    let (shortest, longest) = gaps(&run(&mut plan, from, from + 300 * SECOND, |_| true));
    assert!(shortest > 7 * SECOND && longest < 8 * SECOND, "{shortest:?} to {longest:?}, not 7.5 s");
}

#[test]
fn slow_blocks_are_known_soon_although_a_new_plan_is_made_meanwhile() {
    let start = Instant::now();
    let mut plan = PollPlan::new(blocks(8, Pace::Every(60 * SECOND)), 0.6, start);
    let mut read = Vec::new();
    for second in 0..10 {
        // As when the line opens, and with each unit that is found off-line.
        plan.replan(|_| true, start + second * SECOND);
        read.extend(run(&mut plan, start + second * SECOND, start + (second + 1) * SECOND, |_| true));
    }
    let known: BTreeSet<_> = read.iter().map(|(_, id)| *id).collect();
    assert_eq!(known.len(), 8, "within ten seconds: {read:?}");
}

#[test]
fn after_an_outage_readings_are_spread_again_instead_of_staying_bunched() {
    let start = Instant::now();
    for interval in [8 * SECOND, 60 * SECOND] {
        let mut plan = PollPlan::new(blocks(8, Pace::Every(interval)), 0.6, start);
        run(&mut plan, start, start + 2 * interval, |_| true);
        plan.interrupt();
        let back = start + 20 * interval;
        plan.replan(|_| true, back);
        let first = run(&mut plan, back, back + 10 * SECOND, |_| true);
        assert!(first.len() >= 8, "all within ten seconds of the return");
        let from = back + 2 * interval;
        run(&mut plan, back + 10 * SECOND, from, |_| true);
        let (shortest, longest) = gaps(&run(&mut plan, from, from + 4 * interval, |_| true));
        let even = interval / 8;
        assert!(
            shortest > even * 9 / 10 && longest < even * 11 / 10,
            "{shortest:?} to {longest:?}, not {even:?}"
        );
    }
}

#[test]
fn a_unit_that_comes_back_finds_its_place_between_the_others() {
    let start = Instant::now();
    let mut plan = PollPlan::new(blocks(8, Pace::Auto), 0.4, start);
    let but_one = |id: UnitId| id.get() < 8;
    plan.replan(but_one, start);
    let alone = plan.auto_interval();
    run(&mut plan, start, start + 60 * SECOND, but_one);
    let back = start + 60 * SECOND;
    plan.replan(|_| true, back);
    assert!(plan.auto_interval() > alone);
    let read = run(&mut plan, back, back + 60 * SECOND, |_| true);
    assert_eq!(read[0].1, unit(8), "first of all what has waited longest");
    let even = plan.auto_interval() / 8;
    let (shortest, longest) = gaps(&read[8..]);
    assert!(
        shortest > even * 9 / 10 && longest < even * 11 / 10,
        "{shortest:?} to {longest:?}, not {even:?}"
    );
}

#[test]
fn what_was_read_all_at_once_is_spread_over_the_interval_to_come() {
    let start = Instant::now();
    let mut plan = PollPlan::new(blocks(6, Pace::Every(60 * SECOND)), 0.6, start);
    (1..=6).for_each(|id| plan.note_begun(unit(id), &FLOATS, start));
    (1..=6).for_each(|id| plan.note_begun(unit(id), &FLOATS, start + MS));
    plan.replan(|_| true, start + SECOND);
    let read = run(&mut plan, start + SECOND, start + 62 * SECOND, |_| true);
    let (shortest, longest) = gaps(&read);
    assert_eq!(read.len(), 6, "each once");
    assert!(shortest > 9 * SECOND && longest < 11 * SECOND, "{shortest:?} to {longest:?}, not 10 s");
}

#[test]
fn a_new_plan_reads_nothing_sooner_than_a_meter_renews_its_values() {
    let start = Instant::now();
    let mut plan = PollPlan::new(blocks(5, Pace::Every(SECOND)), 0.6, start);
    (1..=5).for_each(|id| plan.note_begun(unit(id), &FLOATS, start));
    plan.replan(|_| true, start + 100 * MS);
    assert_eq!(plan.due(start + 999 * MS, |_| true), None);
    assert!(plan.due(start + SECOND, |_| true).is_some());
}

#[test]
fn a_late_reading_leaves_the_next_one_in_its_place() {
    let start = Instant::now();
    let mut plan = PollPlan::new(blocks(1, Pace::Every(5 * SECOND)), 0.6, start);
    plan.note_begun(unit(1), &FLOATS, start + 400 * MS);
    assert!(plan.next_due(|_| true).unwrap() <= start + 5 * SECOND);
    assert_eq!(plan.due(start + 5 * SECOND - MS, |_| true), None);
    assert!(plan.due(start + 5 * SECOND, |_| true).is_some());
    // Very late: a quarter of the interval is caught up, no more.
    plan.note_begun(unit(1), &FLOATS, start + 29 * SECOND);
    assert_eq!(plan.due(start + 32 * SECOND, |_| true), None);
    assert!(plan.due(start + 29 * SECOND + 3750 * MS, |_| true).is_some());
}

#[test]
fn catching_up_never_reads_sooner_than_a_meter_renews_its_values() {
    let start = Instant::now();
    let mut plan = PollPlan::new(blocks(1, Pace::Every(SECOND)), 0.6, start);
    plan.note_begun(unit(1), &FLOATS, start + 200 * MS);
    assert_eq!(plan.due(start + 1199 * MS, |_| true), None);
    assert!(plan.due(start + 1200 * MS, |_| true).is_some());
}

#[test]
fn the_slowdown_does_not_span_an_outage_nor_a_failed_reading() {
    let start = Instant::now();
    let mut plan = PollPlan::new(blocks(4, Pace::Every(2 * SECOND)), 0.6, start);
    run(&mut plan, start, start + 10 * SECOND, |_| true);
    plan.interrupt();
    let back = start + 1000 * SECOND;
    plan.replan(|_| true, back);
    run(&mut plan, back, back + 10 * SECOND, |_| true);
    assert!(
        plan.slowdown() < 1.1 && plan.cycle_slowdown() < 1.1,
        "{} {}",
        plan.slowdown(),
        plan.cycle_slowdown()
    );
    // A unit that is off-line is no measure either.
    plan.replan(|id| id.get() > 1, back + 10 * SECOND);
    let later = back + 500 * SECOND;
    run(&mut plan, back + 10 * SECOND, later, |id| id.get() > 1);
    plan.replan(|_| true, later);
    run(&mut plan, later, later + 10 * SECOND, |_| true);
    assert!(plan.slowdown() < 1.1, "{}", plan.slowdown());
    plan.note_failed(unit(1), &FLOATS);
    plan.note_begun(unit(1), &FLOATS, later + 100 * SECOND);
    assert!(plan.slowdown() < 1.1, "{}", plan.slowdown());
}

#[test]
fn what_is_learned_comes_off_the_share_of_the_automatic_interval_up_to_a_half() {
    let now = Instant::now();
    let mut plan = PollPlan::new(blocks(8, Pace::Auto), 0.6, now);
    let alone = plan.auto_interval().as_secs_f64();
    assert!(!plan.reserve(0.01), "too little for a new plan");
    for (wanted, slower) in [(0.2, 1.5), (0.5, 2.0), (0.04, 15.0 / 14.0), (0.0, 1.0)] {
        assert!(plan.reserve(wanted));
        plan.replan(|_| true, now);
        let interval = plan.auto_interval().as_secs_f64();
        assert!(
            (interval / alone - slower).abs() < 1e-6,
            "{wanted}: {interval} s, not {slower} times {alone} s"
        );
    }
}
