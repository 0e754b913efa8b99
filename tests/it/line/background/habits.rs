//! Clients that read point by point get the same freshness for the same line time as clients that read blocks.

use metergate::line::DemandedBlock;

use super::*;

const MAX_AGE: Duration = Duration::from_secs(5);
const PERIOD: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_millis(5);
const INTEGERS: ReadRange = registers(1, 52);

type Point = (u8, ReadRange);

const fn input(range: ReadRange) -> ReadRange {
    ReadRange { function: FunctionCode::READ_INPUT_REGISTERS, ..range }
}

/// How one walk over all points went.
#[derive(Debug)]
struct Walk {
    took: Duration,
    /// Points that were not at hand.
    waited: usize,
}

/// One client that reads the points one after the other, each when the one before is answered, and all of them again
/// every two seconds, or as soon as it can. The walks, and the share of the line in use from the start of the
/// `steady` one on.
fn walk(rig: &mut Rig, points: &[Point], walks: usize, steady: usize) -> (Vec<Walk>, f64) {
    let mut meter = |_, range| Some(reply(range, 1));
    let (mut done, mut since) = (Vec::new(), (rig.now, rig.busy));
    for index in 0..walks {
        if index + 1 == steady {
            since = (rig.now, rig.busy);
        }
        let begun = rig.now;
        let mut waited = 0;
        for (to, (id, range)) in (0..).zip(points) {
            if rig.want(to, *id, *range, MAX_AGE) {
                continue;
            }
            waited += 1;
            let until = rig.now + 3 * SECOND;
            while rig.answers.is_empty() {
                assert!(
                    rig.step(until, &mut meter, &mut Vec::new()),
                    "{range:?} of unit {id} is not answered"
                );
            }
            assert_eq!(rig.answered(to), Answer::Reply(reply(*range, 1)));
        }
        done.push(Walk { took: rig.now - begun, waited });
        let next = (begun + PERIOD).max(rig.now);
        rig.pass(next);
    }
    let busy = (rig.busy - since.1).as_secs_f64() / (rig.now - since.0).as_secs_f64();
    (done, busy)
}

/// A bus with `units` units, each with the planned floats and demanded blocks of a profile for both tables.
fn with_profile(units: u8) -> LineSettings {
    let polling = settings(Pace::Auto, Duration::ZERO).units[0].polling.clone();
    let demanded = [INTEGERS, input(INTEGERS), input(FLOATS)];
    let demanded = demanded.map(|range| DemandedBlock { range, core: None }).to_vec();
    let polling = Polling { demanded, ..polling };
    let unit = |id| UnitSettings { polling: polling.clone(), ..settings::unit(id) };
    LineSettings { units: (1..=units).map(unit).collect(), ..settings::line(&[]) }
}

fn without_profile(units: u8, merge_gap: u16) -> LineSettings {
    let unit = |id| UnitSettings { merge_gap: Some(merge_gap), ..settings::unit(id) };
    LineSettings { units: (1..=units).map(unit).collect(), ..settings::line(&[]) }
}

/// Unit by unit, or point by point as the second: register by register of all units.
fn orders(units: u8, points: &[ReadRange]) -> [Vec<Point>; 2] {
    let by_unit = (1..=units).flat_map(|id| points.iter().map(move |range| (id, *range)));
    let by_point = points.iter().flat_map(|range| (1..=units).map(move |id| (id, *range)));
    [by_unit.collect(), by_point.collect()]
}

fn assert_at_hand(walks: &[Walk], from: usize) {
    for (index, walk) in walks.iter().enumerate().skip(from - 1) {
        assert_eq!(walk.waited, 0, "walk {} of {walks:?}", index + 1);
    }
}

/// Walks over points in this demanded block of each unit.
fn check_demanded(units: u8, block: ReadRange, points: &[ReadRange]) {
    for points in orders(units, points) {
        let mut rig = Rig::of(with_profile(units));
        let (walks, busy) = walk(&mut rig, &points, 20, 2);
        let blocks = (line_time(block, PAUSE) + line_time(FLOATS, PAUSE)) * u32::from(units);
        assert!(walks[0].took <= blocks * 3 / 2, "{walks:?}, where the blocks take {blocks:?}");
        assert_at_hand(&walks, 2);
        assert!(busy < 0.7, "{busy} of the line");
    }
}

#[test]
fn integers_read_point_by_point_cost_what_their_demanded_block_costs() {
    let points: Vec<_> = (1..53).map(|start| registers(start, 1)).collect();
    check_demanded(6, INTEGERS, &points);
}

#[test]
fn every_second_integer_costs_what_its_demanded_block_costs() {
    let points: Vec<_> = (1..53).step_by(2).map(|start| registers(start, 1)).collect();
    check_demanded(6, INTEGERS, &points);
}

#[test]
fn floats_read_point_by_point_from_the_further_table_cost_what_their_block_costs() {
    let points: Vec<_> = (256..346).step_by(2).map(|start| input(registers(start, 2))).collect();
    check_demanded(8, input(FLOATS), &points);
}

#[test]
fn single_registers_without_a_profile_are_at_hand_from_the_third_walk_on() {
    let points: Vec<_> = (100..140).map(|start| registers(start, 1)).collect();
    for points in orders(8, &points) {
        let mut rig = Rig::of(without_profile(8, 0));
        let (walks, busy) = walk(&mut rig, &points, 20, 3);
        assert_at_hand(&walks, 3);
        assert!(busy < 0.7, "{busy} of the line");
        assert_eq!(rig.view.polling.learned, 8);
    }
}

#[test]
fn every_second_register_with_a_gap_of_one_is_at_hand_from_the_third_walk_on() {
    let points: Vec<_> = (100..180).step_by(2).map(|start| registers(start, 1)).collect();
    for points in orders(8, &points) {
        let mut rig = Rig::of(without_profile(8, 1));
        let (walks, busy) = walk(&mut rig, &points, 20, 3);
        assert_at_hand(&walks, 3);
        assert!(busy < 0.7, "{busy} of the line");
        assert_eq!(rig.view.polling.learned, 8);
    }
}

#[test]
fn a_miss_whose_deadline_the_enclosing_read_does_not_fit_reads_its_own_range() {
    let mut rig = Rig::start(Pace::Every(3600 * SECOND));
    rig.serve(1, FLOATS, 7);
    rig.now += 10 * SECOND;
    let own = registers(260, 2);
    let request = rig.request(1, 1, &own.request(), MAX_AGE);
    rig.line.handle_request(Request { deadline: rig.now + 60 * MS, ..request }, rig.now);
    rig.drain();
    assert_eq!(rig.next_sent(), Some((1, own.request())));
    rig.answer(1, &reply(own, 8), 20 * MS);
    assert_eq!(rig.answered(1), Answer::Reply(reply(own, 8)));
}

#[test]
fn a_full_table_is_visible_and_reported_once() {
    let mut rig = Rig::of(LineSettings { learn_limit: 2, ..without_profile(1, 0) });
    let ranges: Vec<_> = (0..4).map(|index| registers(index * 100, 4)).collect();
    for to in 0..20 {
        for range in &ranges {
            rig.want(to, 1, *range, 2 * SECOND);
        }
        let until = rig.now + SECOND;
        rig.pass(until);
    }
    assert!(rig.view.polling.is_learning_full);
    assert_eq!(rig.view.polling.learned, 2);
    let reported = rig.events.iter().filter(|event| **event == LineEvent::LearnLimit { limit: 2 });
    assert_eq!(reported.count(), 1);
}
