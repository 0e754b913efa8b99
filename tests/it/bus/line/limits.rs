//! Silence, turnaround, deadlines, the port, and a line that never falls silent.

use std::time::Duration;

use metergate::bus::line::PortEvent;
use metergate::bus::view::PortState;

use super::bench::{Ask, BUSY, Bench, NO_PATH, NO_RESPONSE, reply, settings};

#[test]
fn three_and_a_half_characters_of_silence_go_before_each_request() {
    let mut bench = Bench::of(&[1]);
    bench.read(1, Ask::of(1), 0, 1);
    let first = bench.sent();
    assert!((2.0..2.01).contains(&first.at), "{}", first.at);
    bench.read(2, Ask::of(1), 10, 1);
    bench.to(50.0);
    bench.frame(1, &[3, 2, 0, 0]);
    let second = bench.sent();
    assert!((52.0..52.01).contains(&second.at), "{}", second.at);
}

#[test]
fn noise_begins_the_silence_anew() {
    let mut bench = Bench::of(&[1]);
    bench.to(100.0);
    bench.bytes(&[0]);
    bench.to(101.0);
    bench.read(1, Ask::of(1), 0, 1);
    let sent = bench.sent();
    assert!((102.0..102.01).contains(&sent.at), "{}", sent.at);
}

#[test]
fn the_gap_of_a_unit_holds_back_its_own_requests_only() {
    let mut slow = settings(&[1, 2]);
    slow.units[0].request_gap = Duration::from_millis(50);
    let mut bench = Bench::new(slow);
    bench.read(1, Ask::of(1), 0, 1);
    bench.read(2, Ask::of(2), 0, 1);
    let first = bench.serve(1);
    assert_eq!(first.unit, 2);
    assert!((2.0..2.01).contains(&first.at), "{}", first.at);
    let second = bench.sent();
    assert_eq!(second.unit, 1);
    assert!((second.at - bench.now()).abs() < 0.001);
    assert!((62.0..62.02).contains(&second.at), "{}", second.at);
}

#[test]
fn what_waits_behind_a_broadcast_does_not_wake_the_line() {
    let mut gaps = settings(&[1]);
    gaps.request_gap = Duration::from_millis(30);
    let mut bench = Bench::new(gaps);
    bench.ask(1, Ask::of(0), &[6, 0, 1, 0, 1]);
    bench.read(2, Ask::of(1).on(2, 2), 0, 1);
    assert_eq!((bench.sent().unit, bench.now().round()), (0, 30.0));
}

#[test]
fn the_turnaround_delay_follows_a_broadcast() {
    let mut bench = Bench::of(&[1]);
    bench.ask(1, Ask::of(0), &[6, 0, 1, 0, 1]);
    bench.read(2, Ask::of(1), 0, 1);
    let broadcast = bench.sent();
    let (id, at, answer) = bench.timed_answer();
    assert_eq!((id, answer), (1, metergate::bus::request::Answer::Sent));
    assert!((4.16..4.18).contains(&(at - broadcast.at)), "{at}");
    let next = bench.sent();
    assert!((104.16..104.18).contains(&(next.at - broadcast.at)), "{}", next.at);
}

#[test]
fn a_deadline_before_the_sending_is_told_by_0x06() {
    let mut bench = Bench::of(&[1, 2]);
    bench.read(1, Ask::of(1), 0, 1);
    bench.sent();
    bench.read(2, Ask { deadline: 100.0, ..Ask::of(2) }.on(2, 2), 0, 10);
    let (id, at, answer) = bench.timed_answer();
    assert_eq!((id, answer), (2, BUSY));
    // In time to be of use: its answer could not have come any more.
    assert!(at < 102.0 && at > 60.0, "{at}");
}

#[test]
fn a_deadline_after_the_sending_is_told_by_0x0b() {
    let mut bench = Bench::of(&[1]);
    bench.read(1, Ask { deadline: 100.0, ..Ask::of(1) }, 0, 1);
    bench.sent();
    assert_eq!(bench.timed_answer(), (1, 100.0, NO_RESPONSE));
}

#[test]
fn what_waited_too_long_is_not_sent_after_a_stall() {
    let mut bench = Bench::of(&[1]);
    bench.read(1, Ask::of(1), 0, 1);
    bench.sent();
    bench.ask(2, Ask { deadline: 300.0, ..Ask::of(1) }, &[6, 0, 0, 0, 1]);
    bench.to(200.0);
    bench.frame(1, &[3, 2, 0, 0]);
    assert_eq!(bench.answer().0, 1);
    // The task comes back late, and a request is what it finds first.
    bench.stall(1_000.0);
    bench.read(3, Ask::of(1).on(2, 2), 0, 1);
    assert_eq!(bench.answer(), (2, BUSY));
    assert_eq!(bench.sent().pdu[0], 3);
}

#[test]
fn a_lost_port_answers_everybody_with_0x0a() {
    let mut bench = Bench::of(&[1]);
    bench.read(1, Ask::of(1), 0, 1);
    bench.sent();
    bench.ask(2, Ask::of(1), &[6, 0, 0, 0, 1]);
    bench.port(PortEvent::Lost);
    assert_eq!(bench.answer(), (1, NO_PATH));
    assert_eq!(bench.answer(), (2, NO_PATH));
    bench.read(3, Ask::of(1), 0, 1);
    let refused = metergate::bus::request::Answer::Refused(
        metergate::modbus::pdu::ExceptionCode::GATEWAY_PATH_UNAVAILABLE,
    );
    assert_eq!(bench.answer(), (3, refused));
    bench.port(PortEvent::Opened);
    bench.read(4, Ask::of(1), 0, 1);
    bench.serve(3);
    assert_eq!(bench.answer(), (4, reply(&[3, 2, 3, 3])));
}

#[test]
fn an_answer_owed_when_the_port_was_lost_is_not_given_to_the_next_request() {
    let mut bench = Bench::of(&[1]);
    bench.read(1, Ask::of(1), 0, 1);
    bench.sent();
    bench.to(50.0);
    bench.port(PortEvent::Lost);
    assert_eq!(bench.answer(), (1, NO_PATH));
    bench.to(100.0);
    bench.port(PortEvent::Opened);
    bench.read(2, Ask::of(1), 50, 1);
    bench.silent_to(300.0);
    bench.frame(1, &[3, 2, 0xBA, 0xD0]);
    bench.no_answer();
    assert_eq!(bench.sent().pdu, [3, 0, 50, 0, 1]);
}

/// Bytes that are no frame, every 10 ms from now on.
fn babble(bench: &mut Bench, until: f64) {
    while bench.now() < until {
        bench.bytes(&[0xFF, 0xFE, 0xFD]);
        let next = bench.now() + 10.0;
        bench.to(next);
    }
}

#[test]
fn bytes_without_end_occupy_the_line_which_recovers_by_itself() {
    let mut bench = Bench::of(&[1]);
    babble(&mut bench, 1_100.0);
    assert_eq!(bench.view.port, PortState::Occupied);
    bench.read(1, Ask::of(1), 0, 1);
    let refused = metergate::bus::request::Answer::Refused(
        metergate::modbus::pdu::ExceptionCode::GATEWAY_PATH_UNAVAILABLE,
    );
    assert_eq!(bench.answer(), (1, refused));
    bench.to(1_300.0);
    assert_eq!(bench.view.port, PortState::Open);
    bench.read(2, Ask::of(1), 0, 1);
    bench.serve(3);
    assert_eq!(bench.answer(), (2, reply(&[3, 2, 3, 3])));
}

#[test]
fn babble_is_noticed_although_a_request_is_on_the_wire() {
    let mut bench = Bench::of(&[1, 2, 3, 4]);
    for unit in 1..=4 {
        bench.read(u32::from(unit), Ask::of(unit), 0, 1);
    }
    babble(&mut bench, 1_100.0);
    assert_eq!(bench.view.port, PortState::Occupied);
}

#[test]
fn an_occupied_line_keeps_no_bytes() {
    let mut bench = Bench::of(&[1]);
    // Long enough to fill what a record keeps.
    babble(&mut bench, 10_000.0);
    let before = format!("{:?}", bench.line).len();
    babble(&mut bench, 20_000.0);
    let after = format!("{:?}", bench.line).len();
    assert!(after < before + 100, "{before} {after}");
}

#[test]
fn a_unit_that_repeats_a_good_frame_for_ever_occupies_the_line_too() {
    let mut bench = Bench::of(&[1]);
    while bench.now() < 2_000.0 {
        bench.frame(9, &[3, 2, 0, 0]);
        let next = bench.now() + 5.0;
        bench.to(next);
    }
    assert_eq!(bench.view.port, PortState::Occupied);
    bench.to(2_300.0);
    assert_eq!(bench.view.port, PortState::Open);
}
