//! `request_gap`: kept, and its unit served.

use std::time::Duration;

use metergate::line::{LineSettings, OfflineAfter, PortEvent, UnitState};

use super::bench::{Ask, Bench, Client, Sent, registers, reply, settings};

/// Unit 1 needs rest before each request; unit 2 does not.
fn with_gap(gap: u64) -> LineSettings {
    let mut line = settings(&[1, 2]);
    line.units[0].request_gap = Duration::from_millis(gap);
    line
}

/// Every unit answers 5 ms after its request.
fn prompt(sent: &Sent) -> Option<(f64, Vec<u8>)> {
    Some((5.0, registers(&sent.pdu, sent.unit)))
}

#[test]
fn a_unit_that_needs_rest_is_served_beside_one_that_is_read_without_pause() {
    let mut bench = Bench::new(with_gap(200));
    let patient = Ask { deadline: 3_000.0, ..Ask::of(1) };
    let mut clients = [
        Client::new(patient.on(1, 1), [vec![3, 0, 0, 0, 10]], 1_000.0),
        Client::new(Ask::of(2).on(2, 2), [vec![3, 0, 0, 0, 10]], 0.0),
        Client::new(Ask::of(2).on(3, 3), [vec![3, 0, 9, 0, 10]], 0.0),
    ];
    bench.run(60_000.0, &mut clients, prompt);
    let [slow, others @ ..] = &clients;
    assert!(slow.served() >= 45, "{} reads of the unit with the gap", slow.served());
    assert!(slow.served() >= slow.answers.len() - 1);
    assert!(others.iter().all(|other| other.served() > 400), "the line stands still for one unit");
}

#[test]
fn the_gap_is_kept_before_each_request_to_its_unit() {
    let mut bench = Bench::new(with_gap(200));
    let mut clients = [
        Client::new(Ask::of(1).on(1, 1), [vec![3, 0, 0, 0, 1]], 0.0),
        Client::new(Ask::of(2).on(2, 2), [vec![3, 0, 0, 0, 1]], 0.0),
    ];
    let sent = bench.run(10_000.0, &mut clients, prompt);
    // Request, pause and answer: 12.8 ms; before a request to unit 1 the gap besides.
    for pair in sent.windows(2).filter(|pair| pair[1].unit == 1) {
        let since = pair[1].at - pair[0].at;
        assert!((212.8..213.1).contains(&since), "{since}");
    }
    assert!(clients[0].served() > 20 && clients[1].served() > 200);
}

#[test]
fn the_gap_counts_from_the_opening_of_the_port_too() {
    let mut bench = Bench::new(with_gap(3_000));
    bench.port(PortEvent::Lost);
    bench.port(PortEvent::Opened);
    let opened = bench.now();
    bench.read(1, Ask { deadline: 10_000.0, ..Ask::of(1) }, 0, 1);
    let after = bench.sent().at - opened;
    assert!((3_000.0..3_003.0).contains(&after), "{after}");
}

#[test]
fn the_line_kept_free_is_charged_to_the_flow_it_is_kept_free_for() {
    let mut bench = Bench::new(with_gap(200));
    let mut clients = [
        Client::new(Ask::of(1).on(1, 1), [vec![3, 0, 0, 0, 1]], 0.0),
        Client::new(Ask::of(2).on(2, 2), [vec![3, 0, 0, 0, 1]], 0.0),
    ];
    bench.run(60_000.0, &mut clients, prompt);
    // Half of the line for each: 213 ms a read for the one, 15 ms for the other.
    assert!((120..150).contains(&clients[0].served()), "{}", clients[0].served());
    assert!((1_900..2_200).contains(&clients[1].served()), "{}", clients[1].served());
}

#[test]
fn stray_bytes_restart_only_the_three_and_a_half_characters() {
    let mut bench = Bench::new(with_gap(200));
    bench.read(1, Ask::of(2), 0, 1);
    let served = bench.serve(1);
    bench.read(2, Ask::of(1), 0, 1);
    let frame_end = served.at + 10.0;
    for at in [50.0, 100.0, 150.0] {
        bench.to(frame_end + at);
        bench.bytes(&[0xFF]);
    }
    let sent = bench.sent();
    assert!((200.0..200.1).contains(&(sent.at - frame_end)), "{}", sent.at - frame_end);
}

#[test]
fn an_unrequested_frame_restarts_the_gap_but_never_keeps_a_unit_from_its_turn() {
    let mut bench = Bench::new(with_gap(200));
    bench.frame(9, &[3, 2, 0, 0]);
    bench.read(1, Ask::of(1), 0, 1);
    // A frame each 90 ms: no gap of 200 ms is ever left.
    let mut asked = None;
    for at in (1..20).map(|step| f64::from(step) * 90.0) {
        bench.to(at);
        bench.frame(9, &[3, 2, 0, 0]);
        asked = asked.or_else(|| bench.next_sent());
    }
    let asked = asked.expect("the reservation ends");
    assert!(asked.at < 210.0, "{}", asked.at);
}

#[test]
fn probes_of_an_off_line_unit_with_a_gap_are_sent_on_a_busy_line() {
    let offline_after = OfflineAfter { failures: 1, time: Duration::ZERO };
    let mut bench = Bench::new(LineSettings { retries: 0, offline_after, ..with_gap(200) });
    let mut clients = [
        Client::new(Ask::of(1).on(1, 1), [vec![3, 0, 0, 0, 1]], 1_000_000.0),
        Client::new(Ask::of(2).on(2, 2), [vec![3, 0, 0, 0, 10]], 0.0),
        Client::new(Ask::of(2).on(3, 3), [vec![3, 0, 9, 0, 10]], 0.0),
    ];
    // Unit 1 is back after 20 s.
    bench.run(60_000.0, &mut clients, |sent| prompt(sent).filter(|_| sent.unit == 2 || sent.at > 20_000.0));
    assert_eq!(bench.state(1), UnitState::Online);
}

#[test]
fn a_unit_that_owes_an_answer_has_no_turn_and_the_line_is_not_kept_free_for_it() {
    let mut bench = Bench::new(LineSettings { retries: 0, ..with_gap(200) });
    bench.read(1, Ask::of(1), 0, 1);
    let lost = bench.sent();
    bench.answer();
    bench.read(2, Ask::of(1), 0, 1);
    bench.read(3, Ask::of(2).on(2, 2), 0, 1);
    let next = bench.serve(7);
    assert_eq!(next.unit, 2);
    assert!(next.at - lost.at < 510.0, "{}", next.at - lost.at);
    assert_eq!(bench.answer(), (3, reply(&[3, 2, 7, 7])));
}
