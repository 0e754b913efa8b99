//! What is learned from clients: kept through a lost answer, for the shortest age, for as long as it is wanted.

use super::*;

const WANTED: ReadRange = registers(10, 4);

/// Unit 2 has no profile; unit 1 is read once an hour.
fn start() -> Rig {
    let mut rig = Rig::start(Pace::Every(3600 * SECOND));
    rig.serve(1, FLOATS, 7);
    rig
}

/// Asks twice, which is often enough.
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
    // It is whole again: who asks for a part refreshes it.
    rig.now += 6 * SECOND;
    rig.read(3, 2, registers(11, 2), 5 * SECOND);
    rig.serve(2, WANTED, 7);
}

#[test]
fn a_range_that_is_never_answered_while_others_are_is_forgotten() {
    let mut rig = start();
    for (to, learned) in [(1, 1), (2, 0)] {
        rig.read(to, 2, registers(0, 125), 5 * SECOND);
        assert_eq!(rig.next_sent(), Some((2, registers(0, 125).request())));
        rig.read(to + 10, 2, WANTED, Duration::ZERO);
        rig.serve(2, WANTED, 1);
        assert_eq!(rig.view.polling.learned, learned, "after {to} silences");
    }
}

#[test]
fn a_range_that_was_read_is_only_forgotten_after_ten_silences() {
    let mut rig = start();
    learn(&mut rig, WANTED, SECOND);
    for round in 1..=10 {
        assert_eq!(rig.view.polling.learned, 1, "before silence {round}");
        rig.read(round, 2, WANTED, SECOND);
        assert_eq!(rig.next_sent(), Some((2, WANTED.request())));
        rig.read(round + 100, 2, registers(100, 1), Duration::ZERO);
        rig.serve(2, registers(100, 1), 1);
    }
    assert_eq!(rig.view.polling.learned, 0);
}

#[test]
fn a_range_nobody_asks_for_any_more_is_not_read_again_because_it_was_silent() {
    let mut rig = start();
    learn(&mut rig, WANTED, 5 * SECOND);
    rig.read(1, 2, WANTED, 5 * SECOND);
    rig.serve(2, WANTED, 2);
    assert!(rig.held(2, WANTED, 5 * SECOND).is_some());
    // Wanted, so it is read again; then nobody asks, and the meter is silent.
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
fn the_shorter_age_lapses_when_nobody_has_asked_with_it_for_a_while() {
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
    // Too late for its refreshing, which nobody had wanted until then; it is known to be wanted all the same.
    rig.pass(read_at + 900 * SECOND);
    assert!(rig.held(2, WANTED, age).is_some());
    rig.pass(read_at + 1200 * SECOND);
    assert_eq!(rig.view.polling.learned, 1);
    rig.read(2, 2, registers(11, 2), age);
    rig.serve(2, WANTED, 4);
}

#[test]
fn what_is_asked_once_makes_room_before_what_is_wanted_again_and_again() {
    let mut rig = start();
    learn(&mut rig, WANTED, 30 * SECOND);
    rig.read(1, 2, WANTED, 30 * SECOND);
    rig.serve(2, WANTED, 3);
    // Many pass by, more than are remembered.
    for index in 0..10_u16 {
        assert!(rig.held(2, WANTED, 30 * SECOND).is_some(), "after {index}");
        let once = registers(100 + index, 1);
        rig.read(u64::from(index) + 10, 2, once, 30 * SECOND);
        rig.serve(2, once, 1);
        rig.now += SECOND;
    }
    assert_eq!(rig.view.polling.learned, 4);
    // They left one place that is contested, and three that are not.
    assert!(rig.held(2, registers(109, 1), 30 * SECOND).is_some());
}

#[test]
fn a_range_in_use_is_not_given_up_for_a_new_one_and_one_long_unused_is() {
    let mut rig = start();
    for index in 0..4 {
        learn(&mut rig, registers(index * 10, 2), SECOND);
    }
    let new = registers(100, 1);
    rig.read(1, 2, new, SECOND);
    rig.serve(2, new, 1);
    assert_eq!(rig.held(2, new, SECOND), None, "no room");
    rig.now += 61 * SECOND;
    rig.read(2, 2, new, SECOND);
    rig.serve(2, new, 1);
    assert!(rig.held(2, new, SECOND).is_some());
}

#[test]
fn who_was_given_what_there_is_no_room_for_is_not_given_an_older_block_next() {
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
    // Somebody is served from it, so it is read again before it gets too old for him.
    let begun = rig.now;
    assert!(rig.held(2, asked, 5 * SECOND).is_some());
    rig.serve(2, asked, 8);
    assert!(rig.now - begun < 5 * SECOND, "after {:?}", rig.now - begun);
    // Nobody is: it is left alone.
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
fn who_was_given_a_read_he_joined_is_not_given_an_older_block_next() {
    let mut rig = Rig::start(Pace::Every(3600 * SECOND));
    rig.serve(1, FLOATS, 7);
    let narrow = registers(10, 2);
    rig.read(1, 2, narrow, 60 * SECOND);
    rig.serve(2, narrow, 1);
    rig.now += 40 * SECOND;
    // A wider read of somebody who takes no aged data is on the wire, and is joined.
    rig.read(2, 2, registers(8, 8), Duration::ZERO);
    assert_eq!(rig.next_sent(), Some((2, registers(8, 8).request())));
    rig.read(3, 2, registers(10, 4), 60 * SECOND);
    rig.answer(2, &reply(registers(8, 8), 2), 20 * MS);
    assert_eq!(rig.answered(3), Answer::Reply(reply(registers(10, 4), 2)));
    assert_eq!(rig.held(2, narrow, 60 * SECOND), Some(reply(narrow, 2)));
}

#[test]
fn what_is_older_than_a_block_that_is_dropped_goes_with_it() {
    let mut rig = Rig::start(Pace::Every(3600 * SECOND));
    rig.serve(1, FLOATS, 7);
    // Five ranges, one more than are learned: the first is forgotten when the last is asked for.
    let range = |index: u16| registers(index * 2, 4);
    for index in 0..5 {
        rig.read(u64::from(index), 2, range(index), 60 * SECOND);
        rig.serve(2, range(index), index);
        rig.now += SECOND;
    }
    assert_eq!(rig.held(2, range(0), 60 * SECOND), None);
    // Of what overlaps it nothing older is left, of what is younger everything.
    assert_eq!(rig.held(2, range(1), 60 * SECOND), Some(reply(range(1), 1)));
}

#[test]
fn what_is_older_than_what_a_read_without_room_drops_goes_with_it_link_by_link() {
    let mut settings = settings(Pace::Every(3600 * SECOND), Duration::ZERO);
    settings.learn_limit = 3;
    let mut rig = Rig::of(settings);
    rig.serve(1, FLOATS, 7);
    // Each overlaps the one before it, and no other; all are in use.
    let chain = [registers(0, 4), registers(2, 8), registers(8, 8)];
    for (to, range) in (0..).zip(chain) {
        rig.read(to, 2, range, 60 * SECOND);
        rig.serve(2, range, u16::try_from(to).unwrap());
        assert!(rig.held(2, range, 60 * SECOND).is_some());
        rig.now += SECOND;
    }
    assert_eq!(rig.held(2, registers(2, 2), 60 * SECOND), Some(reply(registers(2, 2), 1)));
    let without_room = registers(14, 4);
    rig.read(9, 2, without_room, 60 * SECOND);
    rig.serve(2, without_room, 9);
    assert_eq!(rig.held(2, without_room, 60 * SECOND), None, "no room");
    assert_eq!(rig.held(2, registers(2, 2), 60 * SECOND), None, "it would show 0, after 1");
}
