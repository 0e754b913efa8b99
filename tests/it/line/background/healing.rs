//! Ranges that a unit failed to answer for a while are read as before soon after, and those it never answers in parts.

use metergate::line::{DemandedBlock, UnitState};

use super::*;

const AGE: Duration = Duration::from_secs(5);
const PARTS: [ReadRange; 4] = [registers(0, 10), registers(10, 10), registers(20, 10), registers(30, 10)];
const WHOLE: ReadRange = registers(0, 40);

fn refusal(range: ReadRange) -> Bytes {
    exception_reply(range.function, ExceptionCode::ILLEGAL_DATA_ADDRESS)
}

/// Clients want these of unit 1 four times a second for `time`. What was read.
fn want_for(
    rig: &mut Rig,
    wanted: &[ReadRange],
    time: Duration,
    meter: fn(ReadRange) -> Bytes,
) -> Vec<ReadRange> {
    let (mut read, end) = (Vec::new(), rig.now + time);
    while rig.now < end {
        for (to, range) in (0..).zip(wanted) {
            rig.want(to, 1, *range, AGE);
        }
        let until = rig.now + 250 * MS;
        read.extend(rig.pass_with(until, |_, range| Some(meter(range))).into_iter().map(|(.., range)| range));
        rig.answers.clear();
    }
    read
}

fn distinct(read: &[ReadRange]) -> BTreeSet<(u16, u16)> {
    read.iter().map(|range| (range.start, range.quantity)).collect()
}

#[test]
fn a_unit_that_refused_everything_for_a_moment_is_read_as_before_within_a_minute() {
    let mut settings = settings(Pace::Every(SECOND), Duration::ZERO);
    let demanded = registers(1, 52);
    settings.units[0].polling.demanded = vec![DemandedBlock { range: demanded, core: None }];
    let mut rig = Rig::of(settings);
    let wanted = [registers(5, 1), registers(500, 4), registers(300, 2)];
    let good = |range| reply(range, 1);
    want_for(&mut rig, &wanted, 20 * SECOND, good);
    let before = distinct(&want_for(&mut rig, &wanted, 10 * SECOND, good));
    let whole: BTreeSet<_> = [(256, 90), (1, 52), (500, 4)].into();
    assert_eq!(before, whole);
    want_for(&mut rig, &wanted, 20 * SECOND, refusal);
    want_for(&mut rig, &wanted, 60 * SECOND, good);
    assert_eq!(distinct(&want_for(&mut rig, &wanted, 10 * SECOND, good)), whole);
    assert_eq!(rig.view.units[0].measured[..], [FLOATS]);
}

/// A rig whose unit 2 is read as a whole for any client of one of the parts.
fn merged() -> Rig {
    let mut rig = Rig::start(Pace::Every(3600 * SECOND));
    rig.serve(1, FLOATS, 7);
    for (to, part) in (0..).zip(PARTS) {
        rig.read(to, 2, part, AGE);
        rig.serve(2, part, 1);
    }
    rig.now += 6 * SECOND;
    rig.read(10, 2, PARTS[0], AGE);
    rig.serve(2, WHOLE, 2);
    rig.answers.clear();
    rig.now += 6 * SECOND;
    rig
}

/// The whole is sent for a client that wants a part, and refused; the part is read by itself.
fn refuse(rig: &mut Rig) {
    rig.read(20, 2, PARTS[1], AGE);
    assert_eq!(rig.next_sent(), Some((2, WHOLE.request())));
    rig.answer(2, &refusal(WHOLE), 20 * MS);
    rig.serve(2, PARTS[1], 3);
    assert_eq!(rig.answered(20), Answer::Reply(reply(PARTS[1], 3)));
    rig.now += 6 * SECOND;
}

/// What is read for a client that wants a part.
fn read_for(rig: &mut Rig, part: ReadRange) -> ReadRange {
    rig.read(30, 2, part, AGE);
    let (id, pdu) = rig.next_sent().unwrap();
    let range = RequestPdu::decode(pdu).unwrap().range().unwrap();
    rig.answer(id, &reply(range, 4), 20 * MS);
    assert_eq!(rig.answered(30), Answer::Reply(reply(part, 4)));
    rig.now += 6 * SECOND;
    range
}

#[test]
fn a_merged_read_refused_twice_is_divided_at_the_join_nearest_its_middle() {
    let mut rig = merged();
    refuse(&mut rig);
    refuse(&mut rig);
    assert_eq!(read_for(&mut rig, PARTS[1]), registers(0, 20));
    assert_eq!(read_for(&mut rig, PARTS[2]), registers(20, 20));
}

#[test]
fn a_merged_read_that_is_given_in_between_is_not_divided() {
    let mut rig = merged();
    for _ in 0..3 {
        refuse(&mut rig);
        assert_eq!(read_for(&mut rig, PARTS[2]), WHOLE);
    }
}

#[test]
fn a_merged_read_unanswered_twice_is_divided_and_its_clients_are_answered_in_time() {
    let mut rig = merged();
    for to in 20..22 {
        let begun = rig.now;
        rig.read(to, 2, PARTS[1], AGE);
        assert_eq!(rig.next_sent(), Some((2, WHOLE.request())));
        rig.serve(2, PARTS[1], 3);
        assert_eq!(rig.answered(to), Answer::Reply(reply(PARTS[1], 3)));
        assert!(rig.now - begun < 3 * SECOND);
        rig.now += 6 * SECOND;
    }
    assert_eq!(read_for(&mut rig, PARTS[1]), registers(0, 20));
}

#[test]
fn a_join_that_failed_is_made_again_after_ten_minutes() {
    let mut rig = merged();
    refuse(&mut rig);
    refuse(&mut rig);
    let divided = rig.now;
    while rig.now < divided + 580 * SECOND {
        for part in PARTS {
            assert!(read_for(&mut rig, part).quantity <= 20);
        }
        rig.now += 60 * SECOND;
    }
    rig.now = divided + 600 * SECOND;
    assert_eq!(read_for(&mut rig, PARTS[3]), WHOLE);
}

#[test]
fn a_join_that_failed_is_made_again_when_the_unit_is_back_from_off_line() {
    let mut rig = merged();
    refuse(&mut rig);
    refuse(&mut rig);
    let mut meter = |_, _| None;
    for to in 40.. {
        if rig.view.units[1].state == UnitState::Offline {
            break;
        }
        assert!(to < 60, "never off-line");
        rig.read(to, 2, registers(500, 1), Duration::ZERO);
        let until = rig.now + 2 * SECOND;
        while rig.step(until, &mut meter, &mut Vec::new()) {}
        rig.now = until;
    }
    let until = rig.now + 5 * SECOND;
    rig.pass(until);
    assert_eq!(rig.view.units[1].state, UnitState::Online);
    rig.answers.clear();
    rig.now += 6 * SECOND;
    assert_eq!(read_for(&mut rig, PARTS[1]), WHOLE);
}

#[test]
fn a_failed_try_of_a_divided_block_gives_its_parts_back_at_once() {
    let mut rig = Rig::start(Pace::Every(2 * SECOND));
    let halves: BTreeSet<_> = [(256, 44), (300, 46)].into();
    let whole_refused = |range| if range == FLOATS { refusal(range) } else { reply(range, 1) };
    want_for(&mut rig, &[], 5 * SECOND, whole_refused);
    // Twenty minutes later the retry of the whole is not answered.
    let mut tried = 0;
    let until = rig.now + 1200 * SECOND;
    let read = rig.pass_with(until, |_, range| {
        tried += u32::from(range == FLOATS);
        (range != FLOATS).then(|| reply(range, 1))
    });
    assert!((2..10).contains(&tried), "{tried} tries of the whole");
    let parts: Vec<_> = read.iter().filter(|(.., range)| *range != FLOATS).collect();
    let longest = parts.windows(2).map(|pair| pair[1].0 - pair[0].0).max().unwrap();
    assert!(longest < 5 * SECOND, "a part is read at least every {longest:?}");
    let read: Vec<_> = parts.iter().map(|(.., range)| *range).collect();
    assert_eq!(distinct(&read), halves);
    assert_eq!(rig.view.units[0].measured.len(), 2);
}
