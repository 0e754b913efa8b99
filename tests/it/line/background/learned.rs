//! Ranges learned from clients: kept through a lost answer, for the shortest age, for as long as they are used.

use super::*;

const WANTED: ReadRange = registers(10, 4);

/// Unit 2 has no profile; unit 1 is read once an hour.
fn start() -> Rig {
    let mut rig = Rig::start(Pace::Every(3600 * SECOND));
    rig.serve(1, FLOATS, 7);
    rig
}

/// Reads twice, which is enough to learn the range.
fn learn(rig: &mut Rig, range: ReadRange, max_age: Duration) {
    for to in 900..902 {
        rig.read(to, 2, range, max_age);
        rig.serve(2, range, 1);
        rig.now += max_age + MS;
    }
}

#[test]
fn an_answer_that_comes_just_after_its_timeout_is_kept() {
    let mut rig = start();
    for to in 1..=2 {
        rig.read(to, 2, WANTED, 5 * SECOND);
        assert_eq!(rig.next_sent(), Some((2, WANTED.request())));
        let until = rig.now + 600 * MS;
        rig.pass(until);
        assert_eq!(rig.answered(to), Answer::NoAnswer(ExceptionCode::GATEWAY_TARGET_FAILED_TO_RESPOND));
        rig.answer(2, &reply(WANTED, 5), 50 * MS);
        assert_eq!(rig.held(2, WANTED, 5 * SECOND), Some(reply(WANTED, 5)));
        rig.now += 6 * SECOND;
    }
}

#[test]
fn one_lost_answer_does_not_forget_a_range() {
    let mut rig = start();
    learn(&mut rig, WANTED, 5 * SECOND);
    rig.read(1, 2, WANTED, 5 * SECOND);
    assert_eq!(rig.next_sent(), Some((2, WANTED.request())));
    assert_eq!(rig.next_sent(), None, "no answer");
    assert_eq!(rig.view.polling.learned, 1);
    rig.read(2, 2, WANTED, 5 * SECOND);
    rig.serve(2, WANTED, 6);
    // It is whole again: a client's read of a part refreshes it.
    rig.now += 6 * SECOND;
    rig.read(3, 2, registers(11, 2), 5 * SECOND);
    rig.serve(2, WANTED, 7);
}

#[test]
fn a_range_that_is_never_answered_takes_no_room_and_is_not_read_for_others() {
    let mut rig = start();
    let too_long = registers(0, 125);
    for to in 1..=2 {
        rig.read(to, 2, too_long, 5 * SECOND);
        assert_eq!(rig.next_sent(), Some((2, too_long.request())));
        rig.read(to + 10, 2, WANTED, Duration::ZERO);
        rig.serve(2, WANTED, 1);
        assert_eq!(rig.view.polling.learned, 0, "after {to} silences");
    }
    rig.read(20, 2, registers(20, 2), 5 * SECOND);
    rig.serve(2, registers(20, 2), 1);
}

#[test]
fn a_range_that_is_silent_twice_is_not_read_in_the_background_until_it_is_answered_again() {
    let mut rig = start();
    learn(&mut rig, WANTED, 5 * SECOND);
    for to in 1..=2 {
        rig.read(to, 2, WANTED, 5 * SECOND);
        assert_eq!(rig.next_sent(), Some((2, WANTED.request())));
        assert_eq!(rig.next_sent(), None, "after {to} silences");
    }
    rig.read(3, 2, WANTED, 5 * SECOND);
    rig.serve(2, WANTED, 2);
    assert!(rig.held(2, WANTED, 5 * SECOND).is_some());
    rig.serve(2, WANTED, 3);
}

#[test]
fn a_range_no_client_reads_any_more_is_not_read_again_because_it_was_silent() {
    let mut rig = start();
    learn(&mut rig, WANTED, 5 * SECOND);
    rig.read(1, 2, WANTED, 5 * SECOND);
    rig.serve(2, WANTED, 2);
    assert!(rig.held(2, WANTED, 5 * SECOND).is_some());
    // In use, so it is read again; then no client reads it, and the meter is silent.
    assert_eq!(rig.next_sent(), Some((2, WANTED.request())));
    assert_eq!(rig.next_sent(), None);
    assert_eq!(rig.next_sent(), None);
}

#[test]
fn of_two_ages_the_shorter_is_kept_fresh_although_it_asks_for_a_part() {
    let mut rig = start();
    learn(&mut rig, WANTED, 5 * SECOND);
    let (mut misses, warm) = (0, rig.now + 6 * SECOND);
    for step in 0..120 {
        let at_hand = rig.want(step * 2, 2, registers(11, 2), 2 * SECOND);
        rig.want(step * 2 + 1, 2, WANTED, 5 * SECOND);
        misses += u32::from(!at_hand && rig.now > warm);
        let until = rig.now + 250 * MS;
        rig.pass(until);
    }
    assert_eq!(misses, 0, "in half a minute of asking four times a second");
}

#[test]
fn the_shorter_age_lapses_when_no_client_has_used_it_for_a_while() {
    let mut rig = start();
    learn(&mut rig, WANTED, 5 * SECOND);
    rig.read(1, 2, registers(11, 2), 2 * SECOND);
    let mut read = Vec::new();
    for step in 10..130 {
        rig.want(step, 2, WANTED, 5 * SECOND);
        let until = rig.now + 250 * MS;
        read.extend(rig.pass(until));
    }
    let last: Vec<_> = read.iter().rev().take(4).map(|(at, ..)| *at).collect();
    let gaps: Vec<_> = last.windows(2).map(|pair| pair[0] - pair[1]).collect();
    assert!(gaps.iter().all(|gap| *gap > 3 * SECOND), "as often as five seconds need: {gaps:?}");
}

#[test]
fn a_range_that_is_only_served_from_the_snapshot_is_not_forgotten() {
    let mut rig = start();
    let age = 1000 * SECOND;
    learn(&mut rig, WANTED, age);
    rig.read(1, 2, WANTED, age);
    rig.serve(2, WANTED, 3);
    let read_at = rig.now;
    // Too late for its refreshing, which no client had wanted until then: it is read when it is too old.
    rig.pass(read_at + 900 * SECOND);
    assert!(rig.held(2, WANTED, age).is_some());
    let read = rig.pass(read_at + 1200 * SECOND);
    let read: Vec<_> = read.into_iter().filter(|(_, id, _)| *id == 2).collect();
    assert!(matches!(read[..], [(at, 2, WANTED)] if at - read_at < 1001 * SECOND), "{read:?}");
    assert_eq!(rig.view.polling.learned, 1);
    assert!(rig.held(2, registers(11, 2), age).is_some());
}

#[test]
fn what_is_asked_once_takes_no_room_from_what_is_wanted_again_and_again() {
    let mut rig = start();
    learn(&mut rig, WANTED, 30 * SECOND);
    rig.read(1, 2, WANTED, 30 * SECOND);
    rig.serve(2, WANTED, 3);
    // More than there is room for.
    for index in 0..10_u16 {
        assert!(rig.held(2, WANTED, 30 * SECOND).is_some(), "after {index}");
        let once = registers(100 + index * 2, 1);
        rig.read(u64::from(index) + 10, 2, once, 30 * SECOND);
        rig.serve(2, once, 1);
        rig.now += SECOND;
    }
    assert_eq!(rig.view.polling.learned, 1);
    assert!(!rig.view.polling.is_learning_full);
    assert!(
        rig.held(2, registers(118, 1), 30 * SECOND).is_some(),
        "what was read once is served while it is young"
    );
}

#[test]
fn a_range_in_use_is_not_given_up_for_a_new_one_and_one_long_unused_is() {
    let mut rig = start();
    for index in 0..4 {
        learn(&mut rig, registers(index * 10, 2), SECOND);
    }
    let new = registers(100, 1);
    learn(&mut rig, new, SECOND);
    assert_eq!(rig.view.polling.learned, 4);
    assert!(rig.view.polling.is_learning_full);
    rig.now += 61 * SECOND;
    // A part of it is read by itself as long as the range has no room, and as the whole from then on.
    learn(&mut rig, new, SECOND);
    assert_eq!(rig.view.polling.learned, 4);
    assert!(!rig.view.polling.is_learning_full);
}

#[test]
fn a_client_served_a_read_that_was_not_kept_is_not_served_an_older_block_next() {
    let mut settings = settings(Pace::Every(3600 * SECOND), Duration::ZERO);
    settings.learn_limit = 0;
    let mut rig = Rig::of(settings);
    rig.serve(1, FLOATS, 7);
    rig.now += SECOND;
    let across = registers(250, 10);
    rig.read(1, 1, across, 60 * SECOND);
    rig.serve(1, across, 9);
    assert_eq!(rig.answered(1), Answer::Reply(reply(across, 9)));
    assert_eq!(rig.held(1, registers(256, 2), 60 * SECOND), None, "it would show 7");
}

#[test]
fn a_range_asked_for_repeatedly_is_learned_on_a_unit_without_a_profile() {
    let mut rig = Rig::start(Pace::Every(3600 * SECOND));
    rig.serve(1, FLOATS, 7);
    let asked = registers(10, 4);
    for to in 1..=2 {
        rig.read(to, 2, asked, 5 * SECOND);
        rig.serve(2, asked, 5);
        rig.now += 6 * SECOND;
    }
    // Learned now: a smaller read inside it refreshes it whole.
    rig.read(3, 2, registers(11, 2), 5 * SECOND);
    rig.serve(2, asked, 6);
    assert_eq!(rig.answered(3), Answer::Reply(reply(registers(11, 2), 6)));
    // A client is served from it, so it is read again before its data expires.
    let begun = rig.now;
    assert!(rig.held(2, asked, 5 * SECOND).is_some());
    rig.serve(2, asked, 8);
    assert!(rig.now - begun < 5 * SECOND, "after {:?}", rig.now - begun);
    // No client is: it is not read again.
    assert_eq!(rig.next_sent(), None);
}

#[test]
fn ranges_of_clients_that_take_no_aged_data_are_neither_kept_nor_learned() {
    let mut rig = Rig::start(Pace::Every(3600 * SECOND));
    rig.serve(1, FLOATS, 7);
    for to in 1..=5 {
        rig.read(to, 2, registers(10, 4), Duration::ZERO);
        rig.serve(2, registers(10, 4), 5);
    }
    assert_eq!(rig.held(2, registers(10, 4), 3600 * SECOND), None);
    assert_eq!(rig.view.polling.learned, 0);
}

#[test]
fn a_range_met_with_silence_is_not_read_for_those_who_ask_for_a_part_of_it() {
    let mut rig = Rig::start(Pace::Every(3600 * SECOND));
    rig.serve(1, FLOATS, 7);
    let too_long = registers(0, 125);
    for to in 1..=2 {
        rig.read(to, 2, too_long, 5 * SECOND);
        assert_eq!(rig.next_sent(), Some((2, too_long.request())));
        assert_eq!(rig.next_sent(), None);
    }
    rig.read(3, 2, registers(10, 4), 5 * SECOND);
    rig.serve(2, registers(10, 4), 5);
    assert_eq!(rig.answered(3), Answer::Reply(reply(registers(10, 4), 5)));
}

#[test]
fn a_client_that_joined_a_read_is_not_served_an_older_block_next() {
    let mut rig = Rig::start(Pace::Every(3600 * SECOND));
    rig.serve(1, FLOATS, 7);
    let narrow = registers(10, 2);
    rig.read(1, 2, narrow, 60 * SECOND);
    rig.serve(2, narrow, 1);
    rig.now += 40 * SECOND;
    // A wider read of a client that accepts no aged data is on the wire, and is joined.
    rig.read(2, 2, registers(8, 8), Duration::ZERO);
    assert_eq!(rig.next_sent(), Some((2, registers(8, 8).request())));
    rig.read(3, 2, registers(10, 4), 60 * SECOND);
    rig.answer(2, &reply(registers(8, 8), 2), 20 * MS);
    assert_eq!(rig.answered(3), Answer::Reply(reply(registers(10, 4), 2)));
    assert_eq!(rig.held(2, narrow, 60 * SECOND), None, "it would show 1, after 2");
}

#[test]
fn what_is_older_than_a_served_block_stays_unserved_when_that_is_dropped() {
    let mut rig = start();
    let (old, young) = (registers(0, 4), registers(2, 4));
    let age = 2000 * SECOND;
    rig.read(1, 2, old, age);
    rig.serve(2, old, 1);
    rig.now += SECOND;
    rig.read(2, 2, young, 60 * SECOND);
    rig.serve(2, young, 2);
    assert_eq!(rig.answered(2), Answer::Reply(reply(young, 2)));
    // The young one is forgotten for want of use, and goes when something else is kept.
    let until = rig.now + 700 * SECOND;
    rig.pass(until);
    assert_eq!(rig.held(2, registers(0, 2), age), Some(reply(registers(0, 2), 1)));
    rig.read(3, 2, registers(50, 2), age);
    rig.serve(2, registers(50, 2), 3);
    let snapshot = &rig.view.units[1].snapshot;
    assert!(snapshot.block(&young).is_none());
    assert_eq!(rig.held(2, registers(2, 2), age), None, "it would show 1, after 2");
    let elsewhere = snapshot.answer(&registers(2, 2), age, ListenerId(1), rig.now);
    assert_eq!(elsewhere, Some(reply(registers(2, 2), 1)), "on a listener that was given nothing younger");
}

#[test]
fn what_shares_a_register_with_a_younger_read_that_is_not_kept_is_not_served_next() {
    // Each overlaps the one before it, and no other.
    let chain = [registers(0, 4), registers(2, 8), registers(8, 8)];
    let mut settings = settings(Pace::Every(3600 * SECOND), Duration::ZERO);
    settings.learn_limit = 0;
    let pace = Pace::Every(3600 * SECOND);
    let block = |range| PolledBlock { range, core: None, measured: true, pace };
    settings.units[0].polling.blocks = chain.into_iter().map(block).collect();
    let mut rig = Rig::of(settings);
    rig.serve(1, chain[0], 0);
    for (value, range) in (1..).zip(&chain[1..]) {
        rig.read(u64::from(value), 1, *range, 60 * SECOND);
        rig.serve(1, *range, value);
    }
    assert_eq!(rig.held(1, registers(2, 2), 60 * SECOND), Some(reply(registers(2, 2), 1)));
    let without_room = registers(14, 4);
    rig.read(9, 1, without_room, 60 * SECOND);
    rig.serve(1, without_room, 9);
    assert_eq!(rig.held(1, without_room, 60 * SECOND), None, "no room");
    assert_eq!(rig.held(1, registers(14, 2), 60 * SECOND), None, "it would show 2, after 9");
    let apart = registers(2, 2);
    assert_eq!(rig.held(1, apart, 60 * SECOND), Some(reply(apart, 1)), "what shares none is");
}
