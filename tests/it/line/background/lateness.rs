//! A unit that is later than its guard is not read in the background while a late answer may come; the others are.

use super::*;

/// What unit 1 loses: as long as its block, so that the answers to both could be confused.
const LOST: ReadRange = registers(1000, FLOATS.quantity);

/// How late the unit was seen to be, and so for how long it is not polled after it has lost an answer.
const SEEN: Duration = Duration::from_secs(3);
const LATENESS: Duration = Duration::from_millis(3750);
const RESPONSE_TIMEOUT: Duration = Duration::from_millis(500);

/// Two units with the same block, read every second; the first needs such a gap, and has been seen to be so late.
fn late_unit(request_gap: Duration) -> Rig {
    let mut settings = settings(Pace::Every(SECOND), Duration::ZERO);
    settings.units[0].request_gap = request_gap;
    settings.units[1].polling = settings.units[0].polling.clone();
    let mut rig = Rig::of(settings);
    let short = registers(0, 2);
    rig.pass(rig.now + 2 * SECOND);
    rig.read(1, 1, short, Duration::ZERO);
    let sent = lose(&mut rig, short);
    let meter = |_, range| (range != short).then(|| reply(range, 1));
    rig.pass_with(sent + FRAMING.wire_time(8) + RESPONSE_TIMEOUT + SEEN, meter);
    rig.answer(1, &reply(short, 1), Duration::ZERO);
    assert_eq!(rig.view.units[0].counters.late_answers, 1);
    rig
}

/// Answers what comes before the read of `range` by unit 1; that is sent, and gets no answer. When it was sent.
fn lose(rig: &mut Rig, range: ReadRange) -> Instant {
    loop {
        let (id, pdu) = rig.next_sent().expect("the read is sent");
        let read = RequestPdu::decode(pdu).unwrap().range().unwrap();
        if (id, read) == (1, range) {
            return rig.now;
        }
        rig.answer_in_time(id, read, 5 * MS);
    }
}

/// The others are read as planned while unit 1 may still answer the read that was sent at `sent`. When that is over.
fn expect_readings_of_the_others(rig: &mut Rig, sent: Instant) -> Instant {
    let over = sent + FRAMING.wire_time(8) + RESPONSE_TIMEOUT + LATENESS;
    let read = rig.pass(over - 10 * MS);
    let of = |unit: u8| read.iter().filter(|(_, id, _)| *id == unit).count();
    assert!((3..=5).contains(&of(2)), "unit 2 is read {} times in four seconds", of(2));
    assert_eq!(of(1), 0, "its answer could be taken for the one that is owed");
    over
}

#[test]
fn while_one_unit_may_answer_unusually_late_the_others_are_read_as_planned() {
    let mut rig = late_unit(Duration::ZERO);
    rig.read(2, 1, LOST, Duration::ZERO);
    let sent = lose(&mut rig, LOST);
    let over = expect_readings_of_the_others(&mut rig, sent);
    let read = rig.pass(over + SECOND);
    let again = read.iter().find(|(_, id, _)| *id == 1).map(|(at, ..)| at.saturating_duration_since(over));
    assert!(again.is_some_and(|after| after < 250 * MS), "read again {again:?} after that is over");
}

#[test]
fn a_reading_that_waits_for_such_a_unit_holds_up_no_other() {
    // The line is kept free for a read of a client when the block of the same unit becomes due.
    let mut rig = late_unit(500 * MS);
    let last = loop {
        let read = rig.pass(rig.now + 100 * MS);
        if let Some((at, ..)) = read.iter().find(|(_, id, _)| *id == 1) {
            break *at;
        }
    };
    rig.pass(last + 900 * MS);
    rig.read(2, 1, LOST, Duration::ZERO);
    let sent = lose(&mut rig, LOST);
    assert!(sent > last + SECOND, "the block was due before: {:?}", sent - last);
    expect_readings_of_the_others(&mut rig, sent);
}
