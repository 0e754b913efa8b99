//! On one listener no register goes back in time, whatever ranges are read with whatever age.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

/// One read by a client of a listener, after some time.
#[derive(Clone, Debug)]
struct Step {
    wait: u64,
    listener: u8,
    range: ReadRange,
    max_age: u64,
    /// Whether the unit does not answer until the client gives up.
    is_silent: bool,
}

fn step() -> impl Strategy<Value = Step> {
    let range = (0_u16..200, prop_oneof![1_u16..20, 60_u16..125]);
    let age = prop_oneof![Just(1_u64), Just(2), Just(5), Just(60)];
    (0_u64..4000, 0_u8..2, range, age, prop::bool::weighted(0.05)).prop_map(
        |(wait, listener, (start, quantity), max_age, is_silent)| Step {
            wait,
            listener,
            range: registers(start, quantity),
            max_age,
            is_silent,
        },
    )
}

/// Two polled blocks that overlap each other, and whatever is learned.
fn overlapping() -> Rig {
    let mut settings = settings(Pace::Every(2 * SECOND), Duration::ZERO);
    let block = |range| PolledBlock { range, core: None, measured: true, pace: Pace::Every(2 * SECOND) };
    settings.units[0].polling.blocks = vec![block(registers(20, 40)), block(registers(50, 30))];
    Rig::of(settings)
}

/// Every register of each reply, which say how many reads came before it.
fn values(pdu: &Bytes) -> Vec<u16> {
    pdu[2..].chunks(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]])).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn no_register_goes_back_on_a_listener(steps in prop::collection::vec(step(), 1..60)) {
        let mut rig = overlapping();
        let mut given: BTreeMap<(u8, u16), u16> = BTreeMap::new();
        let mut count = 0_u16;
        for (to, Step { wait, listener, range, max_age, is_silent }) in (0..).zip(steps) {
            let until = rig.now + Duration::from_millis(wait);
            rig.pass_with(until, |_, range| {
                count += 1;
                Some(reply(range, count))
            });
            let (max_age, listener_id) = (Duration::from_secs(max_age), ListenerId(listener));
            let held = rig.view.units[0].snapshot.answer(&range, max_age, listener_id, rig.now);
            let answer = held.map(Answer::Reply).unwrap_or_else(|| {
                let request = rig.request(to, 1, &range.request(), max_age);
                rig.line.handle_request(Request { listener: listener_id, ..request }, rig.now);
                rig.drain();
                let mut meter = |_, range| {
                    count += 1;
                    (!is_silent).then(|| reply(range, count))
                };
                let until = rig.now + 4 * SECOND;
                while rig.answers.is_empty() && rig.step(until, &mut meter, &mut Vec::new()) {}
                rig.answered(to)
            });
            let Answer::Reply(pdu) = answer else { continue };
            if pdu.len() < 3 {
                continue;
            }
            for (register, value) in (range.start..).zip(values(&pdu)) {
                let before = given.insert((listener, register), value);
                prop_assert!(before <= Some(value), "{register} is {value} after {before:?}");
            }
        }
    }
}

#[test]
fn what_one_listener_was_given_does_not_bind_another() {
    let mut rig = Rig::start(Pace::Every(3600 * SECOND));
    rig.serve(1, FLOATS, 7);
    let (older, younger) = (registers(0, 10), registers(5, 10));
    let age = 60 * SECOND;
    rig.read(1, 2, older, age);
    rig.serve(2, older, 1);
    rig.now += SECOND;
    rig.read(2, 2, younger, age);
    rig.serve(2, younger, 2);
    let snapshot = Arc::clone(&rig.view.units[1].snapshot);
    assert_eq!(snapshot.answer(&older, age, ListenerId(0), rig.now), None);
    assert_eq!(snapshot.answer(&older, age, ListenerId(1), rig.now), Some(reply(older, 1)));
    assert_eq!(
        snapshot.answer(&registers(0, 5), age, ListenerId(0), rig.now),
        Some(reply(registers(0, 5), 1))
    );
}

#[test]
fn an_older_block_goes_with_a_served_one_that_is_read_again_for_no_client() {
    let mut settings = settings(Pace::Every(3600 * SECOND), Duration::ZERO);
    settings.units[0].polling.blocks[0].pace = Pace::Every(2 * SECOND);
    let mut rig = Rig::of(settings);
    rig.serve(1, FLOATS, 1);
    let across = registers(250, 10);
    rig.read(1, 1, across, 60 * SECOND);
    rig.serve(1, across, 2);
    rig.serve(1, FLOATS, 3);
    assert!(rig.held(1, FLOATS, 60 * SECOND).is_some());
    rig.serve(1, FLOATS, 4);
    assert_eq!(rig.held(1, across, 60 * SECOND), None, "it would show 2, after 3");
}

#[test]
fn ranges_that_cannot_be_merged_and_undo_each_other_are_named_with_their_clients() {
    let mut rig = Rig::start(Pace::Every(3600 * SECOND));
    rig.serve(1, FLOATS, 7);
    let ranges = [registers(0, 100), registers(60, 100)];
    for to in 0..30 {
        rig.want(to % 2, 2, ranges[usize::try_from(to % 2).unwrap()], 30 * SECOND);
        let until = rig.now + SECOND;
        rig.pass(until);
    }
    let conflicts = &rig.view.polling.conflicts;
    assert_eq!(conflicts.len(), 1);
    assert_eq!((conflicts[0].unit, conflicts[0].ranges), (unit(2), ranges));
    let clients: Vec<_> = conflicts[0].clients.iter().map(|source| source.connection).collect();
    assert_eq!(clients, [0, 1]);
}

#[test]
fn ranges_that_have_only_become_too_old_are_no_conflict() {
    let mut rig = Rig::start(Pace::Every(3600 * SECOND));
    rig.serve(1, FLOATS, 7);
    let ranges = [registers(0, 100), registers(60, 100)];
    for to in 0..30 {
        rig.want(to % 2, 2, ranges[usize::try_from(to % 2).unwrap()], SECOND);
        let until = rig.now + 1500 * MS;
        rig.pass(until);
    }
    assert_eq!(rig.view.polling.conflicts, []);
}

#[test]
fn an_answer_that_may_belong_to_an_earlier_sending_takes_no_register_back() {
    let units = vec![settings::unit(2)];
    let mut rig = Rig::of(LineSettings { retries: 0, units, ..settings::line(&[]) });
    let (other, pair, four) = (registers(9, 1), registers(0, 2), registers(0, 4));
    let refused = Answer::NoAnswer(ExceptionCode::GATEWAY_TARGET_FAILED_TO_RESPOND);
    // The unit is seen to be later than its guard.
    rig.read(1, 2, other, Duration::ZERO);
    rig.pass_with(rig.now + 4 * SECOND, |_, _| None);
    rig.answer(2, &reply(other, 1), Duration::ZERO);
    // One answer is owed beyond the guard; meanwhile younger values of the same registers are served.
    rig.read(2, 2, pair, Duration::ZERO);
    rig.pass_with(rig.now + 1200 * MS, |_, _| None);
    rig.read(3, 2, four, Duration::ZERO);
    rig.serve(2, four, 9);
    rig.read(4, 2, pair, Duration::ZERO);
    rig.serve(2, pair, 5);
    assert_eq!(rig.answered(3), Answer::Reply(reply(four, 9)));
    assert_eq!(rig.answered(4), refused, "this may be what was asked before the four were read");
}
