//! A reload passes its settings to the running line: what stays, and what starts again.

use std::time::Duration;

use metergate::line::{Echo, LineSettings, PortEvent, PortSettingsChange, PortState, Replies, UnitState};

use super::bench::{Ask, Bench, NO_RESPONSE, reply, settings};

use PortSettingsChange::{Reopened, Unchanged};

fn impatient(units: &[u8]) -> LineSettings {
    LineSettings { retries: 0, ..settings(units) }
}

/// Makes unit 1 ignore a read twice, with an answer between and after.
fn mark(bench: &mut Bench) {
    for _ in 0..2 {
        bench.read(900, Ask::of(1), 99, 1);
        bench.sent();
        assert_eq!(bench.answer(), (900, NO_RESPONSE));
        bench.read(901, Ask { max_age: 1.0, ..Ask::of(1) }, 0, 1);
        bench.serve(1);
        bench.answer();
    }
}

#[test]
fn requests_on_the_wire_and_in_the_queue_go_on() {
    let mut bench = Bench::of(&[1, 2]);
    bench.read(1, Ask::of(1), 0, 1);
    let sent = bench.sent();
    bench.read(2, Ask::of(2).on(2, 2), 0, 1);
    bench.settings(LineSettings { late_guard: Duration::from_secs(1), ..settings(&[1, 2]) }, Unchanged);
    bench.no_answer();
    bench.to(sent.at + 20.0);
    bench.frame(1, &[3, 2, 0, 5]);
    assert_eq!(bench.answer(), (1, reply(&[3, 2, 0, 5])));
    assert_eq!(bench.serve(7).unit, 2);
    assert_eq!(bench.answer(), (2, reply(&[3, 2, 7, 7])));
}

#[test]
fn owed_answers_and_everything_learned_stay() {
    let mut bench = Bench::new(impatient(&[1]));
    mark(&mut bench);
    bench.ask(1, Ask::of(1), &[6, 0, 1, 0, 1]);
    let lost = bench.sent();
    bench.answer();
    bench.settings(LineSettings { poll_share: 0.5, ..impatient(&[1]) }, Unchanged);
    bench.read(2, Ask::of(1), 50, 1);
    let next = bench.sent();
    assert!((1_004.1..1_004.2).contains(&(next.at - lost.at)), "{}", next.at - lost.at);
    assert_eq!(bench.view.units[0].ignored_reads, 1);
    assert_eq!(bench.state(1), UnitState::Online);
    assert_eq!(bench.view.units[0].snapshot.blocks().len(), 0, "the write dropped them");
}

#[test]
fn the_turnaround_of_a_broadcast_stays() {
    for change in [Unchanged, Reopened] {
        let mut slow = settings(&[1]);
        slow.turnaround_delay = Duration::from_secs(3);
        let mut bench = Bench::new(slow.clone());
        bench.ask(1, Ask::of(0), &[6, 0, 1, 0, 1]);
        let broadcast = bench.sent();
        bench.answer();
        bench.settings(slow, change);
        if change == Reopened {
            bench.port(PortEvent::Opened);
        }
        bench.read(2, Ask::of(1), 0, 1);
        let next = bench.sent();
        assert!((3_004.1..3_004.2).contains(&(next.at - broadcast.at)), "{change:?}: {}", next.at);
    }
}

#[test]
fn a_unit_taken_away_and_brought_back_within_its_guard_still_owes() {
    let mut bench = Bench::new(impatient(&[1, 2]));
    bench.read(1, Ask::of(1), 0, 1);
    let lost = bench.sent();
    bench.answer();
    bench.settings(impatient(&[2]), Unchanged);
    bench.to(lost.at + 700.0);
    bench.settings(impatient(&[1, 2]), Unchanged);
    bench.read(2, Ask::of(1), 50, 1);
    bench.to(lost.at + 900.0);
    bench.frame(1, &[3, 2, 0xBA, 0xD0]);
    bench.no_answer();
    assert_eq!(bench.sent().pdu, [3, 0, 50, 0, 1], "what it owed has come");
    bench.no_answer();
}

#[test]
fn a_unit_taken_away_while_it_is_asked_owes_when_it_is_back() {
    let mut bench = Bench::new(impatient(&[1, 2]));
    bench.read(1, Ask::of(1), 0, 1);
    let lost = bench.sent();
    bench.to(lost.at + 100.0);
    bench.settings(impatient(&[2]), Unchanged);
    assert_eq!(bench.answer(), (1, NO_RESPONSE), "it is waited for all the same");
    bench.settings(impatient(&[1, 2]), Unchanged);
    bench.read(2, Ask::of(1), 50, 1);
    let next = bench.sent();
    assert!((1_004.1..1_004.2).contains(&(next.at - lost.at)), "{}", next.at - lost.at);
}

#[test]
fn what_waits_for_a_unit_that_is_taken_away_is_answered_at_once() {
    let mut bench = Bench::of(&[1, 2]);
    bench.read(1, Ask::of(2), 0, 1);
    bench.sent();
    bench.read(2, Ask::of(1).on(2, 2), 0, 1);
    let now = bench.now();
    bench.settings(settings(&[2]), Unchanged);
    let not_sent =
        metergate::line::Answer::NotSent(metergate::modbus::pdu::ExceptionCode::GATEWAY_PATH_UNAVAILABLE);
    assert_eq!(bench.timed_answer(), (2, now, not_sent));
}

#[test]
fn a_reopened_port_keeps_what_is_owed_and_forgets_health_marks_blocks_and_echo() {
    let line = LineSettings { echo: Echo::Auto, ..impatient(&[1]) };
    let mut bench = Bench::new(line.clone());
    mark(&mut bench);
    assert_eq!(bench.view.echo, Some(false));
    bench.read(1, Ask::of(1), 50, 1);
    let lost = bench.sent();
    bench.to(lost.at + 100.0);
    bench.settings(line, Reopened);
    let no_path =
        metergate::line::Answer::NoAnswer(metergate::modbus::pdu::ExceptionCode::GATEWAY_PATH_UNAVAILABLE);
    assert_eq!(bench.answer(), (1, no_path));
    assert_eq!(bench.view.port, PortState::Closed);
    bench.port(PortEvent::Opened);
    assert_eq!((bench.state(1), bench.view.units[0].ignored_reads), (UnitState::NeverSeen, 0));
    assert_eq!((bench.view.echo, bench.view.units[0].snapshot.blocks().len()), (None, 0));
    assert_eq!(bench.view.units[0].response_time, None);
    // What it owed does not answer the next request of the same length.
    bench.read(2, Ask::of(1), 60, 1);
    bench.to(lost.at + 800.0);
    bench.frame(1, &[3, 2, 0xBA, 0xD0]);
    bench.no_answer();
    bench.to(lost.at + 1_000.0);
    assert_eq!(bench.next_sent(), None, "the hold after an opening");
}

#[test]
fn requests_wait_while_the_port_is_reopened() {
    let mut bench = Bench::of(&[1, 2]);
    bench.read(1, Ask::of(1), 0, 1);
    bench.sent();
    bench.read(2, Ask::of(2).on(2, 2), 0, 1);
    bench.settings(settings(&[1, 2]), Reopened);
    assert_eq!(bench.answer().0, 1);
    bench.to(200.0);
    bench.no_answer();
    bench.port(PortEvent::Opened);
    assert_eq!(bench.serve(7).unit, 2);
    assert_eq!(bench.answer(), (2, reply(&[3, 2, 7, 7])));
}

#[test]
fn a_unit_whose_replies_changed_loses_its_blocks_and_another_keeps_them() {
    let mut bench = Bench::of(&[1, 2]);
    for unit in [1, 2] {
        bench.read(1, Ask { max_age: 60_000.0, ..Ask::of(unit) }, 0, 4);
        bench.serve(unit);
        bench.answer();
    }
    let mut changed = settings(&[1, 2]);
    changed.units[0].replies = Replies::Loose;
    bench.settings(changed, Unchanged);
    let blocks = |bench: &Bench, index: usize| bench.view.units[index].snapshot.blocks().len();
    assert_eq!((blocks(&bench, 0), blocks(&bench, 1)), (0, 1));
}

#[test]
fn a_silent_line_that_is_left_with_one_unit_is_silent_no_longer() {
    let mut bench = Bench::new(impatient(&[1, 2]));
    while !bench.view.is_silent {
        if bench.line.is_idle() {
            bench.read(1, Ask::of(1).on(1, 1), 0, 1);
            bench.read(2, Ask::of(2).on(2, 2), 0, 1);
        }
        bench.step();
    }
    bench.settings(impatient(&[1]), Unchanged);
    assert!(!bench.view.is_silent);
}
