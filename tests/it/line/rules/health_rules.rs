//! Dead units, dead lines, and reads that a healthy unit ignores: what each costs, and that every unit which answers
//! again is found again.

use std::time::Duration;

use metergate::line::{LineEvent, LineSettings, OfflineAfter, UnitState};

use super::bench::{Ask, Bench, Client, NO_RESPONSE, REFUSED_OFFLINE, Sent, registers, reply, settings};

fn impatient(units: &[u8]) -> LineSettings {
    LineSettings { retries: 0, ..settings(units) }
}

fn read(start: u8, quantity: u8) -> Vec<u8> {
    vec![3, 0, start, 0, quantity]
}

fn input(start: u8, quantity: u8) -> Vec<u8> {
    vec![4, 0, start, 0, quantity]
}

fn answered(sent: &Sent) -> Option<(f64, Vec<u8>)> {
    Some((5.0, registers(&sent.pdu, 1)))
}

/// Sends `pdu` to unit 1 until it is off-line.
fn lose(bench: &mut Bench, pdu: &[u8]) {
    let mut attempts = 0;
    while bench.state(1) != UnitState::Offline {
        attempts += 1;
        assert!(attempts < 20);
        bench.ask(attempts, Ask::of(1), pdu);
        bench.answer();
    }
    while bench.next_sent().is_some() {}
}

/// Makes unit 1 ignore `pdu` twice, with an answer between, so that it is marked.
fn mark(bench: &mut Bench, pdu: &[u8]) {
    for _ in 0..2 {
        bench.ask(900, Ask::of(1), pdu);
        bench.sent();
        assert_eq!(bench.answer(), (900, NO_RESPONSE));
        while bench.next_sent().is_some() {}
        bench.read(901, Ask::of(1), 0, 1);
        bench.serve(1);
        assert_eq!(bench.answer().0, 901);
    }
}

// Suspicion and confirmation.

#[test]
fn a_suspected_unit_is_asked_what_it_answered_last_and_requests_wait_meanwhile() {
    let mut bench = Bench::new(impatient(&[1]));
    bench.read(1, Ask::of(1), 40, 2);
    bench.serve(1);
    bench.answer();
    for id in 2..5 {
        bench.read(id, Ask::of(1), 9, 1);
        assert_eq!(bench.sent().pdu, read(9, 1));
        bench.answer();
    }
    // The fourth failure in more than three seconds.
    bench.read(5, Ask::of(1), 9, 1);
    bench.sent();
    bench.read(6, Ask::of(1).on(2, 2), 50, 1);
    assert_eq!(bench.answer(), (5, NO_RESPONSE));
    assert_eq!(bench.state(1), UnitState::Confirming);
    let confirmation = bench.sent();
    assert_eq!(confirmation.pdu, read(40, 2));
    bench.no_answer();
    bench.to(confirmation.at + 20.0);
    bench.frame(1, &registers(&confirmation.pdu, 1));
    assert_eq!(bench.state(1), UnitState::Online);
    assert_eq!(bench.sent().pdu, read(50, 1), "what waited");
}

#[test]
fn confirmation_takes_the_retries_of_the_bus() {
    for retries in [0, 2] {
        let mut bench = Bench::new(LineSettings { retries, ..settings(&[1]) });
        bench.read(1, Ask::of(1), 40, 2);
        bench.serve(1);
        bench.answer();
        let mut id = 1;
        let mut confirmations = 0;
        while bench.state(1) != UnitState::Offline {
            if bench.state(1) != UnitState::Confirming {
                id += 1;
                bench.read(id, Ask::of(1), 9, 1);
            }
            confirmations += u32::from(bench.sent().pdu == read(40, 2));
            while bench.take_answer().is_some() {}
            let later = bench.now() + 600.0;
            bench.to(later);
        }
        assert_eq!(confirmations, retries + 1);
    }
}

#[test]
fn a_unit_that_is_asked_only_what_it_once_ignored_is_found_off_line() {
    let mut bench = Bench::new(settings(&[1, 2]));
    bench.read(90, Ask::of(1), 0, 1);
    bench.serve(1);
    bench.answer();
    // It ignores one read, answers another, and is then without power.
    let mut clients = [
        Client::new(Ask::of(1).on(1, 1), [read(99, 1)], 1_000.0),
        Client::new(Ask::of(2).on(2, 2), [read(0, 10)], 0.0),
    ];
    let start = bench.now();
    bench.run(start + 3_000.0, &mut clients, |sent| answered(sent).filter(|_| sent.unit == 2));
    bench.read(90, Ask::of(1), 0, 1);
    let mut clients = [
        Client::new(Ask::of(1).on(1, 1), [read(99, 1)], 1_000.0),
        Client::new(Ask::of(2).on(2, 2), [read(0, 10)], 0.0),
    ];
    bench.run(start + 20_000.0, &mut clients, |sent| answered(sent).filter(|_| sent.unit == 2));
    assert_eq!(bench.state(1), UnitState::Offline);
    // From then on it takes no more than its share.
    let before = clients[1].served();
    bench.run(start + 80_000.0, &mut clients, |sent| answered(sent).filter(|_| sent.unit == 2));
    assert!(clients[1].served() - before > 1_700, "{}", clients[1].served() - before);
}

#[test]
fn a_silent_try_of_a_marked_read_without_any_other_answer_is_suspicion_at_once() {
    let mut bench = Bench::new(LineSettings { failure_share: 1.0, ..impatient(&[1]) });
    mark(&mut bench, &read(99, 1));
    // The try of the first pause ends in silence, though the unit has answered something before it; that of the
    // second, which nothing was answered before, raises the suspicion.
    for state in [UnitState::Online, UnitState::Confirming] {
        let later = bench.now() + 3_000.0;
        bench.to(later);
        bench.ask(1, Ask::of(1), &read(99, 1));
        assert_eq!(bench.sent().pdu, read(99, 1));
        assert_eq!(bench.answer(), (1, NO_RESPONSE));
        assert_eq!(bench.state(1), state);
    }
    assert_eq!(bench.sent().pdu, read(0, 1), "what it answered last");
}

#[test]
fn a_client_that_asks_twelve_ignored_registers_does_not_take_the_unit_from_another() {
    let mut bench = Bench::new(settings(&[1]));
    let mut clients = [
        Client::new(
            Ask { deadline: 3_000.0, ..Ask::of(1).on(1, 1) },
            (100..112).map(|start| read(start, 1)),
            100.0,
        ),
        Client::new(Ask { deadline: 3_000.0, ..Ask::of(1).on(2, 2) }, [read(0, 4)], 100.0),
    ];
    bench.run(120_000.0, &mut clients, |sent| answered(sent).filter(|_| sent.pdu[2] < 100));
    assert_eq!(bench.state(1), UnitState::Online);
    let lost = bench.events.iter().any(|event| matches!(event, LineEvent::Lost { .. }));
    assert!(!lost, "it has been off-line");
    let late = clients[1].answers.iter().skip_while(|(at, _)| *at < 60_000.0);
    let late: Vec<_> = late.map(|(_, answer)| answer).collect();
    assert!(late.len() > 400, "{}", late.len());
    assert!(late.iter().all(|answer| **answer == reply(&registers(&read(0, 4), 1))));
}

// Marks.

#[test]
fn a_read_that_was_ignored_twice_is_refused_at_once_and_others_are_not() {
    let mut bench = Bench::new(impatient(&[1]));
    mark(&mut bench, &read(99, 1));
    let now = bench.now();
    bench.ask(1, Ask::of(1), &read(99, 1));
    assert_eq!(bench.timed_answer(), (1, now, REFUSED_OFFLINE));
    let never = bench.view.units[0].never_answered.clone().expect("the read that is marked");
    assert_eq!(
        (never.count, never.last.range.map(|range| (range.start, range.quantity))),
        (1, Some((99, 1)))
    );
    bench.ask(2, Ask::of(1), &read(99, 2));
    assert_eq!(bench.serve(4).pdu, read(99, 2));
    assert_eq!(bench.answer().0, 2);
    assert_eq!(bench.view.units[0].ignored_reads, 1);
    assert_eq!(bench.view.units[0].never_answered, None, "it was, as a part of another");
}

#[test]
fn retries_are_part_of_one_request_and_its_deadline_ends_it_too() {
    for deadline in [10_000.0, 900.0] {
        let mut bench = Bench::of(&[1]);
        for times in 1..=2 {
            bench.ask(1, Ask { deadline, ..Ask::of(1) }, &read(99, 1));
            assert_eq!(bench.answer(), (1, NO_RESPONSE));
            while bench.next_sent().is_some() {}
            bench.read(2, Ask::of(1), 0, 1);
            bench.serve(1);
            bench.answer();
            assert_eq!(bench.view.units[0].ignored_reads, times / 2, "after {times}, deadline {deadline}");
        }
    }
}

#[test]
fn a_request_given_up_at_its_deadline_on_the_wire_counts_as_ignored() {
    let mut bench = Bench::of(&[1]);
    for _ in 0..2 {
        bench.ask(1, Ask { deadline: 400.0, ..Ask::of(1) }, &read(99, 1));
        assert_eq!(bench.answer(), (1, NO_RESPONSE));
        while bench.next_sent().is_some() {}
        bench.read(2, Ask::of(1), 0, 1);
        bench.serve(1);
        bench.answer();
        // The unit rests after the first answer that follows a lost one.
        bench.to(bench.now() + 500.0);
    }
    assert_eq!(bench.view.units[0].ignored_reads, 1);
}

#[test]
fn the_first_client_after_the_pause_tries_a_marked_read_once_and_an_answer_clears_it() {
    let mut bench = Bench::new(LineSettings { failure_share: 1.0, ..settings(&[1]) });
    mark(&mut bench, &read(99, 1));
    let later = bench.now() + 1_100.0;
    bench.to(later);
    bench.ask(1, Ask::of(1), &read(99, 1));
    bench.ask(2, Ask::of(1).on(2, 2), &read(99, 1));
    assert_eq!(bench.answer(), (2, REFUSED_OFFLINE), "one try at a time");
    bench.sent();
    assert_eq!(bench.answer(), (1, NO_RESPONSE));
    // No retry. The pause doubles.
    bench.read(3, Ask::of(1), 0, 1);
    assert_eq!(bench.serve(1).pdu, read(0, 1));
    bench.answer();
    let later = bench.now() + 1_300.0;
    bench.to(later);
    bench.ask(4, Ask::of(1), &read(99, 1));
    assert_eq!(bench.answer(), (4, REFUSED_OFFLINE));
    let later = bench.now() + 1_000.0;
    bench.to(later);
    bench.ask(5, Ask::of(1), &read(99, 1));
    bench.serve(8);
    assert_eq!(bench.answer(), (5, reply(&[3, 2, 8, 8])));
    assert_eq!(bench.view.units[0].ignored_reads, 0);
}

#[test]
fn a_try_that_was_not_sent_is_given_to_the_next_client() {
    let mut bench = Bench::of(&[1, 2]);
    mark(&mut bench, &read(99, 1));
    let later = bench.now() + 1_100.0;
    bench.to(later);
    // The line is taken for as long as the first client waits.
    bench.read(1, Ask::of(2).on(3, 3), 0, 1);
    bench.sent();
    bench.ask(2, Ask { deadline: 100.0, ..Ask::of(1) }, &read(99, 1));
    assert_eq!(bench.answer().0, 2);
    bench.ask(3, Ask::of(1).on(2, 2), &read(99, 1));
    bench.no_answer();
    let mut asked = Vec::new();
    while asked.last() != Some(&read(99, 1)) {
        asked.push(bench.sent().pdu);
        assert!(asked.len() < 5, "{asked:?}");
    }
}

#[test]
fn tries_of_marked_reads_take_no_more_than_failure_share() {
    let mut bench = Bench::new(settings(&[1]));
    let ignored = Ask { deadline: 3_000.0, ..Ask::of(1).on(1, 1) };
    let mut clients = [
        Client::new(ignored, (100..106).map(|start| read(start, 1)), 0.0),
        Client::new(Ask::of(1).on(2, 2), [read(0, 4)], 50.0),
    ];
    let respond = |sent: &Sent| answered(sent).filter(|_| sent.pdu[2] < 100);
    bench.run(60_000.0, &mut clients, respond);
    bench.records.clear();
    bench.run(360_000.0, &mut clients, respond);
    let share = bench.line_time(1) / 300_000.0;
    // Two percent, and one burst.
    assert!(share < 0.024, "{share}");
}

#[test]
fn on_a_unit_that_ignores_many_reads_what_it_never_answered_takes_a_tenth_of_the_line() {
    let mut bench = Bench::new(settings(&[1, 2]));
    let ignored = Ask { deadline: 3_000.0, ..Ask::of(1).on(1, 1) };
    // Two hundred reads that the unit ignores, one after the other.
    let mut clients = [
        Client::new(ignored, (40..240).map(|start| read(start, 1)), 0.0),
        Client::new(Ask::of(1).on(2, 2), [read(0, 4)], 50.0),
        Client::new(Ask::of(2).on(3, 3), [read(0, 40)], 0.0),
    ];
    let respond = |sent: &Sent| answered(sent).filter(|_| sent.unit == 2 || sent.pdu[2] < 40);
    let mut warm: Vec<Client> = vec![
        Client::new(ignored, (20..32).map(|start| read(start, 2)), 0.0),
        Client::new(Ask::of(1).on(2, 2), [read(0, 4)], 50.0),
    ];
    bench.run(60_000.0, &mut warm, |sent| respond(sent).filter(|_| sent.pdu[2] < 20));
    assert!(bench.view.units[0].ignored_reads > 8);
    bench.records.clear();
    bench.run(180_000.0, &mut clients, respond);
    let share = bench.line_time(1) / 120_000.0;
    assert!((0.05..0.14).contains(&share), "{share}");
    assert_eq!(bench.state(1), UnitState::Online);
}

#[test]
fn writes_are_never_marked() {
    let mut bench = Bench::of(&[1]);
    mark(&mut bench, &[6, 0, 99, 0, 1]);
    mark(&mut bench, &[6, 0, 99, 0, 1]);
    bench.ask(1, Ask::of(1), &[6, 0, 99, 0, 1]);
    assert_eq!(bench.sent().pdu[0], 6);
}

#[test]
fn off_line_clears_all_marks() {
    let mut bench = Bench::new(impatient(&[1]));
    mark(&mut bench, &read(99, 1));
    lose(&mut bench, &read(0, 1));
    assert_eq!(bench.view.units[0].ignored_reads, 0);
}

// Probes.

#[test]
fn a_unit_that_gives_input_registers_only_and_was_dark_at_the_start_is_found_within_two_probe_pauses() {
    let mut bench = Bench::new(impatient(&[1, 2]));
    bench.read(50, Ask::of(2), 0, 1);
    bench.serve(1);
    bench.answer();
    lose(&mut bench, &read(0, 1));
    let lost = bench.now();
    bench.run(lost + 10_000.0, &mut [], |sent| answered(sent).filter(|_| sent.pdu[0] == 4));
    assert_eq!(bench.state(1), UnitState::Online);
    let found = bench.events.iter().any(|event| {
        matches!(event, LineEvent::Found { unit, away, .. }
        if unit.get() == 1 && *away < Duration::from_millis(8_000))
    });
    assert!(found, "{:?}", bench.events);
}

#[test]
fn a_unit_that_answers_only_what_a_client_asks_is_found_by_that_request() {
    let mut bench = Bench::new(impatient(&[1, 2]));
    lose(&mut bench, &read(0, 1));
    let lost = bench.now();
    // It answers a write and nothing else.
    let write = vec![6, 0, 9, 0, 1];
    let ask = Ask { deadline: 3_000.0, ..Ask::of(1) };
    let mut clients = [Client::new(ask, [write.clone()], 100.0)];
    bench.run(lost + 5_000.0, &mut clients, |sent| (sent.pdu == write).then(|| (5.0, write.clone())));
    assert!(clients[0].served() > 20, "{}", clients[0].served());
    assert_eq!(bench.state(1), UnitState::Online);
}

/// The unit is lost, and the next request sent is this client's.
fn probed_by(bench: &mut Bench, pdu: &[u8]) -> Sent {
    lose(bench, &read(0, 1));
    // The gateway's own probe goes first, and its guard; then the client's.
    let later = bench.now() + 1_300.0;
    bench.to(later);
    while bench.next_sent().is_some() {}
    bench.ask(1, Ask { max_age: 5_000.0, ..Ask::of(1) }, pdu);
    let mut probe = bench.sent();
    while probe.pdu != pdu {
        probe = bench.sent();
    }
    probe
}

#[test]
fn a_clients_write_to_a_unit_that_is_off_line_is_its_probe_and_waits_the_whole_response_timeout() {
    let mut bench = Bench::new(impatient(&[1]));
    let write = [6, 0, 7, 0, 3];
    let probe = probed_by(&mut bench, &write);
    bench.to(probe.at + 490.0);
    bench.no_answer();
    bench.frame(1, &write);
    assert_eq!(bench.answer(), (1, reply(&write)));
    assert_eq!(bench.state(1), UnitState::Online);
}

#[test]
fn a_clients_read_as_a_probe_is_sent_as_it_was_asked_waits_as_long_as_reads_take_and_finds_the_unit_later_too()
 {
    let mut bench = Bench::new(impatient(&[1]));
    bench.read(1, Ask::of(1), 0, 1);
    bench.serve(1);
    bench.answer();
    let probe = probed_by(&mut bench, &input(7, 3));
    bench.to(probe.at + 50.0);
    bench.no_answer();
    bench.to(probe.at + 150.0);
    assert_eq!(bench.take_answer(), Some((1, NO_RESPONSE)), "four times what it usually takes has passed");
    bench.to(probe.at + 490.0);
    bench.frame(1, &registers(&input(7, 3), 2));
    assert_eq!(bench.state(1), UnitState::Online);
}

#[test]
fn probes_ask_only_for_reads_of_the_four_tables() {
    let mut bench = Bench::new(impatient(&[1]));
    lose(&mut bench, &read(0, 1));
    let mut clients = [Client::new(Ask::of(1), [vec![0x11], vec![0x2B, 0x0E, 1, 0], vec![7]], 40.0)];
    let start = bench.now();
    bench.run(start + 60_000.0, &mut clients, |_| None);
    // Each client's probe is in a record with its source; the others are the gateway's own.
    let own = bench.records.iter().filter_map(|record| match &**record {
        metergate::line::Record::Transaction(own) if own.source.is_none() => Some(own.request[1]),
        metergate::line::Record::Transaction(_) | metergate::line::Record::Stray(_) => None,
    });
    assert!(own.clone().count() > 10);
    assert!(own.clone().all(|function| (1..=4).contains(&function)), "{:?}", own.collect::<Vec<_>>());
}

#[test]
fn what_answers_again_is_found_by_the_read_that_was_refused_to_a_client() {
    let mut bench = Bench::new(impatient(&[1, 2]));
    lose(&mut bench, &input(30, 2));
    bench.ask(1, Ask::of(1), &input(30, 2));
    assert_eq!(bench.answer(), (1, REFUSED_OFFLINE));
    let lost = bench.now();
    // No client sends requests any more; the unit has only these two registers.
    bench.run(lost + 60_000.0, &mut [], |sent| answered(sent).filter(|_| sent.pdu == input(30, 2)));
    assert_eq!(bench.state(1), UnitState::Online);
}

#[test]
fn each_kind_of_probe_finds_a_unit_again_within_two_of_its_pauses() {
    // A unit away for a minute: the pauses have grown to 10.4 s, as each probe costs 104 ms.
    for asks in [false, true] {
        let mut bench = Bench::new(impatient(&[1, 2]));
        for unit in [1, 2] {
            bench.read(1, Ask::of(unit), 0, 1);
            bench.serve(1);
            bench.answer();
        }
        lose(&mut bench, &read(9, 1));
        let lost = bench.now();
        let mut clients = vec![Client::new(Ask::of(2).on(2, 2), [read(0, 1)], 100.0)];
        if asks {
            clients.push(Client::new(Ask::of(1).on(3, 3), [input(77, 2)], 100.0));
        }
        // When it is back it has other registers than before.
        let back = lost + 60_000.0;
        let respond = |sent: &Sent| {
            let is_known = if asks { sent.pdu == input(77, 2) } else { sent.pdu == read(0, 1) };
            answered(sent).filter(|_| sent.unit == 2 || sent.at > back && is_known)
        };
        bench.run(back, &mut clients, respond);
        assert_eq!(bench.state(1), UnitState::Offline);
        bench.run(back + 2.0 * 10_400.0 + 500.0, &mut clients, respond);
        assert_eq!(bench.state(1), UnitState::Online, "a client asks: {asks}");
    }
}

// The silent line.

/// Three units that have answered once, then the cable is cut, and clients continue to send requests. Returns when the
/// line was found silent.
fn cut(bench: &mut Bench) -> f64 {
    for unit in 1..=3 {
        bench.read(u32::from(unit), Ask::of(unit), unit, 1);
        bench.serve(1);
        bench.answer();
    }
    let cut = bench.now();
    while !bench.view.is_silent {
        assert!(bench.now() < cut + 10_000.0, "not found silent");
        if bench.line.is_idle() {
            for unit in 1..=3_u8 {
                bench.read(u32::from(unit), Ask { deadline: 3_000.0, ..Ask::of(unit) }, unit, 1);
            }
        }
        bench.step();
    }
    while bench.next_sent().is_some() {}
    while bench.take_answer().is_some() {}
    bench.now()
}

#[test]
fn a_silent_line_refuses_at_once_and_sends_one_probe_a_second_to_one_unit_after_the_other() {
    let mut bench = Bench::new(settings(&[1, 2, 3, 4]));
    let silent_at = cut(&mut bench);
    assert!(bench.events.iter().any(|event| matches!(event, LineEvent::LineSilent { .. })));
    for unit in 1..=4 {
        assert_ne!(bench.state(unit), UnitState::Offline, "unit {unit} cannot be known to be gone");
    }
    bench.read(1, Ask::of(2), 0, 1);
    assert_eq!(bench.timed_answer(), (1, silent_at, REFUSED_OFFLINE));
    let probes: Vec<Sent> = (0..5).map(|_| bench.sent()).collect();
    let units: Vec<u8> = probes.iter().map(|probe| probe.unit).collect();
    assert_eq!(units, [3, 4, 1, 2, 3], "the one that answered last comes first");
    assert!(probes[0].at - silent_at >= 999.0);
    for pair in probes.windows(2) {
        assert!((999.0..1_100.0).contains(&(pair[1].at - pair[0].at)), "{probes:?}");
    }
}

#[test]
fn a_young_snapshot_is_served_on_a_silent_line_and_of_an_off_line_unit() {
    for units in [&[1][..], &[1, 2, 3]] {
        let mut bench = Bench::new(impatient(units));
        let aged = Ask { max_age: 60_000.0, ..Ask::of(1) };
        bench.read(1, aged, 0, 4);
        bench.serve(9);
        bench.answer();
        while bench.state(1) != UnitState::Offline && !bench.view.is_silent {
            if bench.line.is_idle() {
                for unit in units {
                    bench.read(2, Ask::of(*unit).on(*unit, 7), 50, 1);
                }
            }
            bench.step();
        }
        while bench.take_answer().is_some() {}
        bench.read(3, aged, 2, 2);
        assert_eq!(bench.answer(), (3, reply(&registers(&read(2, 2), 9))));
        bench.read(4, aged, 9, 1);
        assert_eq!(bench.answer(), (4, REFUSED_OFFLINE));
    }
}

#[test]
fn the_first_frame_ends_the_silence_and_each_other_unit_is_asked_once_before_it_is_off_line() {
    let mut bench = Bench::new(settings(&[1, 2, 3]));
    cut(&mut bench);
    let probe = bench.sent();
    bench.to(probe.at + 20.0);
    bench.frame(probe.unit, &registers(&probe.pdu, 1));
    assert!(!bench.view.is_silent);
    assert_eq!((bench.state(1), bench.state(2)), (UnitState::Confirming, UnitState::Confirming));
    let first = bench.serve(1);
    let second = bench.sent();
    assert_eq!((first.unit, second.unit), (1, 2));
    assert_eq!(bench.state(1), UnitState::Online);
    let later = second.at + 600.0;
    bench.to(later);
    assert_eq!(bench.state(2), UnitState::Offline, "asked once");
}

#[test]
fn a_line_of_one_unit_is_never_silent_and_one_of_two_needs_both() {
    let mut bench = Bench::new(impatient(&[1]));
    lose(&mut bench, &read(0, 1));
    assert!(!bench.view.is_silent);
    let mut bench = Bench::new(impatient(&[1, 2]));
    let mut clients = [
        Client::new(Ask::of(1).on(1, 1), [read(0, 1)], 0.0),
        Client::new(Ask::of(2).on(2, 2), [read(0, 1)], 0.0),
    ];
    bench.run(2_500.0, &mut clients, |_| None);
    assert!(!bench.view.is_silent, "three seconds have not passed");
    bench.run(4_500.0, &mut clients, |_| None);
    assert!(bench.view.is_silent);
}

#[test]
fn one_unit_that_answers_keeps_the_line_from_being_silent() {
    let mut bench = Bench::new(settings(&[1, 2, 3, 4]));
    let mut clients = [
        Client::new(Ask::of(1).on(1, 1), [read(0, 1)], 100.0),
        Client::new(Ask::of(2).on(2, 2), [read(0, 1)], 100.0),
        Client::new(Ask::of(3).on(3, 3), [read(0, 1)], 100.0),
        Client::new(Ask::of(4).on(4, 4), [read(0, 1)], 2_000.0),
    ];
    bench.run(60_000.0, &mut clients, |sent| answered(sent).filter(|_| sent.unit == 4));
    assert!(!bench.events.iter().any(|event| matches!(event, LineEvent::LineSilent { .. })));
    assert_eq!(bench.state(1), UnitState::Offline);
}

#[test]
fn a_line_that_was_dark_from_the_start_is_found_whatever_its_units_answer() {
    let offline_after = OfflineAfter { failures: 100, time: Duration::from_secs(600) };
    let mut bench = Bench::new(LineSettings { offline_after, ..impatient(&[1, 2, 3]) });
    let mut clients: Vec<Client> =
        (1..=3).map(|unit| Client::new(Ask::of(unit).on(unit, u64::from(unit)), [read(0, 1)], 0.0)).collect();
    bench.run(5_000.0, &mut clients, |_| None);
    assert!(bench.view.is_silent);
    // Only input registers.
    bench.run(15_000.0, &mut [], |sent| answered(sent).filter(|_| sent.pdu[0] == 4));
    assert!(!bench.view.is_silent);
}

#[test]
fn a_unit_that_only_answers_writes_is_not_offline_because_the_others_are_silent() {
    let mut bench = Bench::of(&[1, 2, 3, 4]);
    let write = [6, 0, 1, 0, 1];
    bench.ask(0, Ask::of(4), &write);
    bench.sent();
    bench.frame(4, &write);
    bench.answer();
    for id in 1..=9 {
        bench.read(id, Ask::of(u8::try_from((id - 1) % 3 + 1).expect("1 to 3")), 0, 1);
        bench.answer();
    }
    assert_eq!(bench.state(4), UnitState::Online);
    assert_eq!(bench.state(1), UnitState::Offline, "each of the silent ones is found by itself");
}

#[test]
fn a_silent_line_whose_units_answer_only_what_clients_ask_is_found_by_that() {
    let mut bench = Bench::new(settings(&[1, 2, 3]));
    cut(&mut bench);
    let write = vec![6, 0, 1, 0, 1];
    let mut clients: Vec<Client> = (1..=3)
        .map(|unit| Client::new(Ask::of(unit).on(unit, u64::from(unit)), [write.clone()], 100.0))
        .collect();
    let silent = bench.now();
    let (mut own, mut asked) = (0, 0);
    bench.run(silent + 10_000.0, &mut clients, |sent| {
        *(if sent.pdu == write { &mut asked } else { &mut own }) += 1;
        None
    });
    assert!(bench.view.is_silent);
    assert!(own >= 5, "the gateway's own probes go on: {own}");
    assert!((3..=20).contains(&asked), "{asked}");
    bench.run(silent + 15_000.0, &mut clients, |sent| (sent.pdu == write).then(|| (5.0, write.clone())));
    assert!(!bench.view.is_silent);
    assert!(clients.iter().any(|client| client.served() > 0));
}
