//! Silence, turnaround, deadlines, the port, and a line that never falls silent.

use std::time::Duration;

use metergate::line::{Framing, PortEvent, PortState, Protocol};

use crate::support::settings::FRAMING;

use super::bench::{Ask, BUSY, Bench, NO_PATH, NO_RESPONSE, reply, settings};

#[test]
fn three_and_a_half_characters_of_silence_go_before_each_request() {
    let mut bench = Bench::of(&[1]);
    bench.read(1, Ask::of(1), 0, 1);
    let first = bench.sent();
    assert!(first.at < 0.01, "the line has been silent for long: {}", first.at);
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
fn what_waits_behind_a_broadcast_does_not_wake_the_line() {
    let mut gaps = settings(&[1]);
    gaps.request_gap = Duration::from_millis(30);
    let mut bench = Bench::new(gaps);
    bench.frame(9, &[3, 2, 0, 0]);
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
    assert_eq!((id, answer), (1, metergate::line::Answer::Sent));
    assert!((4.16..4.18).contains(&(at - broadcast.at)), "{at}");
    let next = bench.sent();
    assert!((104.16..104.18).contains(&(next.at - broadcast.at)), "{}", next.at);
}

#[test]
fn a_deadline_before_the_sending_is_answered_with_0x06() {
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
fn a_deadline_after_the_sending_is_answered_with_0x0b() {
    let mut bench = Bench::of(&[1]);
    bench.read(1, Ask { deadline: 100.0, ..Ask::of(1) }, 0, 1);
    bench.sent();
    assert_eq!(bench.timed_answer(), (1, 100.0, NO_RESPONSE));
}

#[test]
fn a_write_that_a_slow_unit_cannot_answer_in_time_is_not_sent_while_that_is_fresh() {
    let mut bench = Bench::of(&[1]);
    bench.read(1, Ask::of(1), 0, 1);
    let sent = bench.sent();
    bench.to(sent.at + 400.0);
    bench.frame(1, &[3, 2, 0, 0]);
    assert_eq!(bench.answer().0, 1);
    let within = Ask { deadline: 300.0, ..Ask::of(1) };
    bench.to(1_000.0);
    bench.ask(2, within, &[6, 0, 0, 0, 1]);
    assert_eq!(bench.answer(), (2, BUSY));
    // The estimate is corrected by reads, or forgotten.
    bench.read(3, within, 0, 1);
    bench.sent();
    bench.to(1_100.0);
    bench.frame(1, &[3, 2, 0, 0]);
    assert_eq!(bench.answer().0, 3);
    bench.silent_to(70_000.0);
    bench.ask(4, within, &[6, 0, 0, 0, 1]);
    assert_eq!(bench.sent().pdu[0], 6);
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
    // The task returns late, and finds a request first.
    bench.stall(1_000.0);
    bench.read(3, Ask::of(1).on(2, 2), 0, 1);
    assert_eq!(bench.answer(), (2, BUSY));
    assert_eq!(bench.sent().pdu[0], 3);
}

#[test]
fn a_lost_port_answers_every_client_with_0x0a() {
    let mut bench = Bench::of(&[1]);
    bench.read(1, Ask::of(1), 0, 1);
    bench.sent();
    bench.ask(2, Ask::of(1), &[6, 0, 0, 0, 1]);
    bench.port(PortEvent::Lost);
    assert_eq!(bench.answer(), (1, NO_PATH));
    let not_sent =
        metergate::line::Answer::NotSent(metergate::modbus::pdu::ExceptionCode::GATEWAY_PATH_UNAVAILABLE);
    assert_eq!(bench.answer(), (2, not_sent), "it waited");
    bench.read(3, Ask::of(1), 0, 1);
    let refused =
        metergate::line::Answer::Refused(metergate::modbus::pdu::ExceptionCode::GATEWAY_PATH_UNAVAILABLE);
    assert_eq!(bench.answer(), (3, refused));
    bench.port(PortEvent::Opened);
    bench.read(4, Ask::of(1), 0, 1);
    bench.serve(3);
    assert_eq!(bench.answer(), (4, reply(&[3, 2, 3, 3])));
}

#[test]
fn an_answer_to_a_request_from_before_the_port_was_opened_is_none_too_many() {
    let mut bench = Bench::of(&[1]);
    bench.port(PortEvent::Lost);
    bench.port(PortEvent::Opened);
    let opened = bench.now();
    bench.to(opened + 250.0);
    bench.frame(1, &[3, 2, 0, 5]);
    assert_eq!(bench.view.units[0].counters.unexpected, 0);
    bench.read(1, Ask::of(1), 0, 1);
    bench.serve(3);
    bench.frame(1, &[3, 2, 0, 5]);
    assert_eq!(bench.view.units[0].counters.unexpected, 1);
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

/// Bytes that are no frame and fill six tenths of the line, from now on.
fn babble(bench: &mut Bench, until: f64) {
    while bench.now() < until {
        bench.bytes(&[0xFF, 0xFE, 0xFD, 0xFF, 0xFE, 0xFD, 0xFF, 0xFE, 0xFD, 0xFF, 0xFE, 0xFD]);
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
    let refused =
        metergate::line::Answer::Refused(metergate::modbus::pdu::ExceptionCode::GATEWAY_PATH_UNAVAILABLE);
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

#[test]
fn a_wrong_byte_now_and_then_on_a_line_without_bias_is_noise_and_requests_go_on() {
    let mut bench = Bench::of(&[1]);
    let mut answered = 0;
    bench.read(0, Ask::of(1), 0, 1);
    while bench.now() < 5_000.0 {
        bench.bytes(&[0xFF]);
        let quiet_until = bench.now() + 12.0;
        bench.to(quiet_until);
        if bench.next_sent().is_some() {
            // While a unit drives the line there is no noise.
            bench.frame(1, &[3, 2, 0, 5]);
            assert_eq!(bench.answer().1, reply(&[3, 2, 0, 5]));
            answered += 1;
            bench.read(answered, Ask::of(1), 0, 1);
        }
    }
    assert_eq!((bench.view.port, bench.view.counters.occupied), (PortState::Open, 0));
    assert!(answered > 100, "{answered}");
}

// The start.

/// A line whose port has just been opened, with a slow unit 2.
fn opened() -> Bench {
    let mut line = settings(&[1, 2]);
    line.units[1].response_timeout = Duration::from_millis(800);
    let mut bench = Bench::new(line);
    bench.port(PortEvent::Lost);
    bench.port(PortEvent::Opened);
    bench
}

#[test]
fn after_the_port_was_opened_the_line_is_silent_for_the_shortest_guard_and_each_unit_for_its_own() {
    let mut bench = opened();
    bench.read(1, Ask::of(1), 0, 1);
    bench.read(2, Ask::of(2).on(2, 2), 0, 1);
    let first = bench.serve(1);
    assert_eq!((first.unit, first.at.round()), (1, 1_000.0), "response_timeout and late_guard");
    let second = bench.sent();
    // Its own response_timeout, the guard, and what the former exceeds the bus's by.
    assert_eq!((second.unit, second.at.round()), (2, 1_600.0));
}

#[test]
fn after_the_port_was_opened_a_broadcast_waits_too() {
    let mut bench = opened();
    bench.ask(1, Ask::of(0), &[6, 0, 1, 0, 1]);
    assert_eq!(bench.sent().at.round(), 1_000.0);
}

// Deadlines.

#[test]
fn a_request_that_finds_the_line_free_is_sent_whatever_the_unit_usually_takes() {
    let mut bench = Bench::of(&[1]);
    // An answer after 400 ms teaches the gateway that response time.
    bench.read(1, Ask::of(1), 0, 1);
    let sent = bench.sent();
    bench.to(sent.at + 404.0);
    bench.frame(1, &[3, 2, 0, 5]);
    assert_eq!(bench.answer().0, 1);
    for id in 2..40 {
        let later = bench.now() + 50.0;
        bench.to(later);
        // The unit has become quick, which only a request can show.
        bench.read(id, Ask { deadline: 100.0, ..Ask::of(1) }, 0, 1);
        let sent = bench.sent();
        bench.to(sent.at + 20.0);
        bench.frame(1, &[3, 2, 0, 5]);
        assert_eq!(bench.answer(), (id, reply(&[3, 2, 0, 5])));
    }
}

#[test]
fn a_request_that_has_waited_is_refused_unsent_when_its_usual_answer_would_come_too_late() {
    let mut bench = Bench::of(&[1, 2]);
    bench.read(1, Ask::of(1), 0, 1);
    let sent = bench.sent();
    bench.to(sent.at + 204.0);
    bench.frame(1, &[3, 2, 0, 5]);
    assert_eq!(bench.answer().0, 1);
    bench.read(2, Ask::of(2), 0, 1);
    let taken = bench.sent();
    bench.read(3, Ask { deadline: 300.0, ..Ask::of(1) }.on(3, 3), 0, 1);
    let (id, at, answer) = bench.timed_answer();
    assert_eq!((id, answer), (3, BUSY));
    // 300 ms, less 200 of response time and some 8 ms on the wire.
    assert!((91.0..93.0).contains(&(at - taken.at)), "{}", at - taken.at);
}

#[test]
fn what_even_an_idle_line_cannot_carry_in_time_is_answered_0x0b_at_once() {
    let mut slow = settings(&[1]);
    slow.protocol = Protocol::Rtu(Framing { baud_rate: 300, ..FRAMING });
    slow.units[0].response_timeout = Duration::from_secs(9);
    let mut bench = Bench::new(slow);
    // 125 registers at 300 baud take 8.8 s.
    bench.read(1, Ask { deadline: 3_000.0, ..Ask::of(1) }, 0, 125);
    assert_eq!(bench.timed_answer(), (1, 0.0, super::bench::REFUSED_OFFLINE));
    bench.read(2, Ask { deadline: 3_000.0, ..Ask::of(1) }, 0, 30);
    assert_eq!(bench.sent().pdu, [3, 0, 0, 0, 30]);
}

#[test]
fn a_broadcast_is_answered_when_it_is_sent_however_long_the_turnaround() {
    let mut slow = settings(&[1]);
    slow.turnaround_delay = Duration::from_secs(3);
    let mut bench = Bench::new(slow);
    bench.ask(1, Ask { deadline: 3_000.0, ..Ask::of(0) }, &[6, 0, 1, 0, 1]);
    let broadcast = bench.sent();
    let (id, at, answer) = bench.timed_answer();
    assert_eq!((id, answer), (1, metergate::line::Answer::Sent));
    assert!(at - broadcast.at < 4.2);
    bench.read(2, Ask::of(1), 0, 1);
    let next = bench.sent();
    assert!((3_004.1..3_004.2).contains(&(next.at - broadcast.at)), "{}", next.at - broadcast.at);
}

#[test]
fn stray_bytes_that_keep_coming_hold_no_request_up() {
    let mut bench = Bench::of(&[1]);
    for byte in 0..100_u8 {
        bench.to(f64::from(byte) * 12.0);
        bench.bytes(&[byte]);
        if byte == 20 {
            bench.read(1, Ask::of(1), 0, 1);
        }
    }
    assert!(bench.sent().at < 21.0 * 12.0 + 5.0, "3.5 characters after a byte");
}
