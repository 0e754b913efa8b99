//! A line on which more is to be read than fits: who gets what, and which events report it.

use super::*;

/// Unit 1 has `count` blocks of 90 registers, unit 2 no profile.
fn blocks(count: u16, pace: Pace) -> LineSettings {
    let mut settings = settings(pace, Duration::ZERO);
    let block = |index| PolledBlock { range: registers(index * 100, 90), core: None, measured: true, pace };
    settings.units[0].polling.blocks = (0..count).map(block).collect();
    settings.learn_limit = 256;
    settings
}

/// Clients want six ranges of unit 2 at once, four times a second for `time`. How often they were not at hand, and
/// what was read.
fn want_for(rig: &mut Rig, time: Duration) -> (u32, Vec<(Instant, u8, ReadRange)>) {
    let (mut misses, mut read, end) = (0, Vec::new(), rig.now + time);
    for to in (1000..).step_by(6) {
        if rig.now >= end {
            break;
        }
        for index in 0..6_u16 {
            let at_hand = rig.want(to + u64::from(index), 2, registers(index * 100, 50), 3 * SECOND);
            misses += u32::from(!at_hand);
        }
        let until = rig.now + 250 * MS;
        read.extend(rig.pass(until));
    }
    (misses, read)
}

#[test]
fn learned_ranges_are_kept_fresh_on_a_line_that_is_planned_to_the_full() {
    for pace in [Pace::Auto, Pace::Every(SECOND)] {
        // Eight blocks of more than 100 ms each, every second or as often as 60 % allow.
        let mut rig = Rig::of(blocks(8, pace));
        want_for(&mut rig, 20 * SECOND);
        let from = rig.now;
        let (misses, read) = want_for(&mut rig, 60 * SECOND);
        assert_eq!(misses, 0, "{pace:?}: every one of them is at hand");
        let used: Duration = read.iter().map(|(.., range)| line_time(*range, 5 * MS)).sum();
        let share = used.as_secs_f64() / (rig.now - from).as_secs_f64();
        assert!(share < 0.62, "{pace:?}: {share} of the line");
        for index in 0..8 {
            let times = read.iter().filter(|(_, id, range)| (*id, range.start) == (1, index * 100)).count();
            assert!(times > 20, "{pace:?}: block {index} is read {times} times a minute");
        }
    }
}

#[test]
fn the_automatic_interval_makes_room_for_what_is_learned_and_takes_it_back() {
    let mut rig = Rig::of(blocks(8, Pace::Auto));
    let until = rig.now + 20 * SECOND;
    rig.pass(until);
    let alone = rig.view.polling.interval;
    want_for(&mut rig, 40 * SECOND);
    let shared = rig.view.polling.interval;
    assert!(shared > alone * 11 / 10, "{alone:?} alone, {shared:?} shared");
    assert!(rig.view.polling.slowdown < 1.2, "so that it is read as planned: {}", rig.view.polling.slowdown);
    let until = rig.now + 60 * SECOND;
    rig.pass(until);
    assert_eq!(rig.view.polling.interval, alone);
}

#[test]
fn a_unit_that_has_become_slower_makes_the_automatic_interval_longer() {
    let mut rig = Rig::of(blocks(8, Pace::Auto));
    let until = rig.now + 20 * SECOND;
    rig.pass(until);
    let before = rig.view.polling.interval;
    for _ in 0..60 {
        let (id, pdu) = rig.next_sent().unwrap();
        let range = RequestPdu::decode(pdu).unwrap().range().unwrap();
        rig.answer_in_time(id, range, 200 * MS);
    }
    let after = rig.view.polling.interval;
    assert!(after > before * 2, "{before:?}, then {after:?}");
}

fn too_full(rig: &Rig) -> Vec<&LineEvent> {
    rig.events.iter().filter(|event| matches!(event, LineEvent::TooFull { .. })).collect()
}

fn as_planned_again(rig: &Rig) -> usize {
    rig.events.iter().filter(|event| **event == LineEvent::AsPlanned).count()
}

#[test]
fn a_line_planned_beyond_its_share_is_reported_once_as_too_full() {
    let mut rig = Rig::of(blocks(8, Pace::Every(SECOND)));
    assert!(!rig.view.polling.is_full);
    let until = rig.now + 300 * SECOND;
    rig.pass(until);
    assert!(rig.view.polling.is_full && rig.view.polling.slowdown > 1.25);
    let events = too_full(&rig);
    assert!(matches!(events[..], [LineEvent::TooFull { is_beyond_share: true, .. }]), "{events:?}");
    assert_eq!(as_planned_again(&rig), 0);
}

#[test]
fn a_line_that_clients_fill_is_reported_once_as_too_full_and_once_as_planned_again() {
    let mut rig = Rig::of(blocks(5, Pace::Every(SECOND)));
    // Clients that take no aged data ask for all there is, then leave.
    let end = rig.now + 120 * SECOND;
    for to in 0.. {
        if rig.now >= end {
            break;
        }
        for client in 0..4_u16 {
            rig.read(to * 4 + u64::from(client), 2, registers(client * 200, 125), Duration::ZERO);
        }
        let until = rig.now + 500 * MS;
        rig.pass(until);
        rig.answers.clear();
    }
    let until = rig.now + 120 * SECOND;
    rig.pass(until);
    let events = too_full(&rig);
    assert!(matches!(events[..], [LineEvent::TooFull { is_beyond_share: false, .. }]), "{events:?}");
    assert_eq!(as_planned_again(&rig), 1);
}

#[test]
fn neither_a_line_that_is_as_planned_nor_an_outage_is_reported_as_too_full() {
    let mut rig = Rig::of(blocks(5, Pace::Every(2 * SECOND)));
    let until = rig.now + 60 * SECOND;
    rig.pass(until);
    rig.line.handle_port(PortEvent::Lost, rig.now);
    rig.drain();
    rig.now += 300 * SECOND;
    rig.open();
    let until = rig.now + 60 * SECOND;
    rig.pass(until);
    assert!(rig.view.polling.slowdown < 1.1, "{}", rig.view.polling.slowdown);
    assert_eq!((too_full(&rig).len(), as_planned_again(&rig)), (0, 0));
}
