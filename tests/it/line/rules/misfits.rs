//! Answers that do not fit the request, and what they prove.

use metergate::line::{
    Echo, LineEvent, LineSettings, Misfit, Outcome, PortSettingsChange, Record, Replies, UnitState,
};
use metergate::modbus::pdu::FunctionCode;

use super::bench::{Ask, Bench, Client, NO_RESPONSE, reply, settings};

fn last_outcome(bench: &Bench) -> Outcome {
    let mut outcomes = bench.records.iter().filter_map(|record| match &**record {
        Record::Transaction(transaction) => Some(transaction.outcome),
        Record::Stray(_) => None,
    });
    outcomes.next_back().expect("a transaction")
}

/// Leaves a request to unit 1 unanswered, and lets its guard pass.
fn leave_unanswered(bench: &mut Bench) {
    bench.ask(800, Ask::of(1), &[6, 0, 77, 0, 1]);
    bench.sent();
    assert_eq!(bench.answer(), (800, NO_RESPONSE));
    let later = bench.now() + 501.0;
    bench.to(later);
}

#[test]
fn an_answer_of_another_length_of_a_prompt_unit_ends_the_request_and_nothing_is_owed() {
    let mut bench = Bench::of(&[1]);
    bench.read(1, Ask::of(1), 0, 2);
    let sent = bench.sent();
    bench.to(sent.at + 20.0);
    bench.frame(1, &[3, 2, 0, 5]);
    // A frame whose length contradicts its request ends by quiet.
    let (id, at, answer) = bench.timed_answer();
    assert_eq!((id, answer), (1, NO_RESPONSE));
    assert!((39.9..41.0).contains(&(at - sent.at)), "{at}");
    let length = Misfit::Length { function: FunctionCode(3), answered: 2, asked: Some(4) };
    assert_eq!(last_outcome(&bench), Outcome::Misfit(length));
    assert_eq!(length.to_string(), "answered 2 bytes where 4 were asked (function 0x03)");
    assert!(bench.events.contains(&LineEvent::Misfit { unit: bench.view.units[0].id, misfit: length }));
    assert_eq!(bench.state(1), UnitState::Online);
    // No retry, and no guard.
    bench.no_answer();
    bench.read(2, Ask::of(1), 9, 1);
    let next = bench.sent();
    assert_eq!(next.pdu, [3, 0, 9, 0, 1]);
    assert!(next.at - at < 5.0, "{}", next.at - at);
}

#[test]
fn an_answer_longer_than_its_byte_count_is_intact_and_of_another_length() {
    let mut bench = Bench::of(&[1]);
    bench.read(1, Ask::of(1), 0, 1);
    let sent = bench.sent();
    bench.to(sent.at + 20.0);
    bench.frame(1, &[3, 2, 1, 2, 3, 4]);
    assert_eq!(bench.answer(), (1, NO_RESPONSE));
    let length = Misfit::Length { function: FunctionCode(3), answered: 4, asked: Some(2) };
    assert_eq!((last_outcome(&bench), bench.state(1)), (Outcome::Misfit(length), UnitState::Online));
    assert_eq!(bench.view.units[0].counters.crc_errors, 0);
}

#[test]
fn a_unit_that_left_a_request_unanswered_lately_may_be_late_and_the_wait_goes_on() {
    let mut bench = Bench::of(&[1]);
    leave_unanswered(&mut bench);
    bench.read(1, Ask::of(1), 0, 2);
    let sent = bench.sent();
    bench.to(sent.at + 20.0);
    bench.frame(1, &[3, 2, 0, 5]);
    bench.to(sent.at + 100.0);
    bench.no_answer();
    bench.frame(1, &[3, 4, 1, 2, 3, 4]);
    assert_eq!(bench.answer(), (1, reply(&[3, 4, 1, 2, 3, 4])));
}

#[test]
fn a_misfit_during_which_the_wait_went_on_in_vain_keeps_the_unit_from_being_prompt() {
    let mut bench = Bench::of(&[1]);
    leave_unanswered(&mut bench);
    let later = bench.now() + 4_000.0;
    bench.to(later);
    bench.ask(1, Ask { deadline: 600.0, ..Ask::of(1) }, &[3, 0, 0, 0, 2]);
    let sent = bench.sent();
    bench.to(sent.at + 20.0);
    bench.frame(1, &[3, 2, 0, 5]);
    assert_eq!(bench.answer(), (1, NO_RESPONSE));
    assert_eq!(bench.state(1), UnitState::Online, "it is alive all the same");
    // Five seconds after the first, but not after this one.
    let later = bench.now() + 1_500.0;
    bench.to(later);
    bench.read(2, Ask::of(1), 0, 2);
    let sent = bench.sent();
    bench.to(sent.at + 20.0);
    bench.frame(1, &[3, 2, 0, 5]);
    bench.to(sent.at + 200.0);
    bench.no_answer();
}

#[test]
fn after_five_seconds_without_an_unanswered_request_a_unit_is_prompt_again() {
    let mut bench = Bench::of(&[1]);
    leave_unanswered(&mut bench);
    let later = bench.now() + 4_500.0;
    bench.to(later);
    bench.read(1, Ask::of(1), 0, 2);
    let sent = bench.sent();
    bench.to(sent.at + 20.0);
    bench.frame(1, &[3, 2, 0, 5]);
    assert!(bench.timed_answer().1 - sent.at < 41.0);
}

#[test]
fn a_unit_that_answers_every_read_with_another_length_stays_on_line() {
    let mut bench = Bench::of(&[1]);
    let mut clients = [Client::new(Ask::of(1), [vec![3, 0, 0, 0, 2]], 100.0)];
    let sent = bench.run(20_000.0, &mut clients, |_| Some((5.0, vec![3, 2, 0, 5])));
    assert_eq!(bench.state(1), UnitState::Online);
    assert!(clients[0].answers.iter().all(|(_, answer)| *answer == NO_RESPONSE));
    assert!(sent.len() > 100, "each costs no more than its answer: {}", sent.len());
    assert_eq!(bench.view.units[0].ignored_reads, 0, "it is not silent to it");
}

#[test]
fn another_function_proves_nothing_and_the_wait_goes_on() {
    let mut bench = Bench::of(&[1]);
    let mut clients = [Client::new(Ask::of(1), [vec![3, 0, 0, 0, 2]], 0.0)];
    bench.run(20_000.0, &mut clients, |_| Some((5.0, vec![1, 1, 0])));
    assert_eq!(bench.state(1), UnitState::Offline);
    let function = Misfit::Function { answered: FunctionCode(1), asked: FunctionCode(3) };
    assert_eq!(function.to_string(), "answered function 0x01 where 0x03 was asked");
    let recorded = bench.records.iter().any(|record| match &**record {
        Record::Transaction(own) => own.outcome == Outcome::Misfit(function),
        Record::Stray(_) => false,
    });
    assert!(recorded);
    assert!(bench.view.units[0].statistics.other_functions > 0);
}

#[test]
fn an_answer_of_another_function_does_not_hide_the_right_one() {
    let mut bench = Bench::of(&[1]);
    bench.read(1, Ask::of(1), 0, 2);
    let sent = bench.sent();
    bench.to(sent.at + 20.0);
    bench.frame(1, &[4, 4, 9, 9, 9, 9]);
    bench.to(sent.at + 60.0);
    bench.frame(1, &[3, 4, 1, 2, 3, 4]);
    assert_eq!(bench.answer(), (1, reply(&[3, 4, 1, 2, 3, 4])));
}

#[test]
fn a_misfit_within_the_guard_proves_that_the_unit_is_alive() {
    let mut bench = Bench::of(&[1]);
    bench.ask(1, Ask { deadline: 600.0, ..Ask::of(1) }, &[3, 0, 0, 0, 2]);
    let sent = bench.sent();
    assert_eq!(bench.answer(), (1, NO_RESPONSE));
    bench.to(sent.at + 900.0);
    bench.frame(1, &[3, 2, 0, 5]);
    bench.to(sent.at + 950.0);
    assert_eq!(bench.state(1), UnitState::Online);
    // A unit without a request proves nothing.
    let mut bench = Bench::of(&[1]);
    bench.to(100.0);
    bench.frame(1, &[3, 2, 0, 5]);
    bench.to(200.0);
    assert_eq!(bench.state(1), UnitState::NeverSeen);
}

#[test]
fn a_write_that_the_device_limited_is_passed_on() {
    let limited: [(&[u8], &[u8]); 4] = [
        (&[5, 0, 1, 0, 0], &[5, 0, 1, 0xFF, 0]),
        (&[6, 0, 1, 0x03, 0xE8], &[6, 0, 1, 0, 100]),
        (&[0x0F, 0, 1, 0, 3, 1, 7], &[0x0F, 0, 1, 0, 2]),
        (&[0x10, 0, 1, 0, 2, 4, 0, 1, 0, 2], &[0x10, 0, 1, 0, 1]),
    ];
    for (asked, answered) in limited {
        let mut bench = Bench::of(&[1]);
        bench.ask(1, Ask::of(1), asked);
        let sent = bench.sent();
        bench.to(sent.at + 20.0);
        bench.frame(1, answered);
        assert_eq!(bench.answer(), (1, reply(answered)), "{asked:02X?}");
        bench.silent_to(5_000.0);
    }
}

#[test]
fn a_limited_write_is_not_believed_of_a_unit_that_may_be_late_nor_of_another_address() {
    let mut bench = Bench::of(&[1]);
    leave_unanswered(&mut bench);
    bench.ask(1, Ask::of(1), &[6, 0, 1, 3, 0xE8]);
    let sent = bench.sent();
    bench.to(sent.at + 20.0);
    bench.frame(1, &[6, 0, 1, 0, 100]);
    assert_eq!(bench.answer(), (1, NO_RESPONSE));
    let mut bench = Bench::of(&[1]);
    bench.ask(1, Ask::of(1), &[6, 0, 1, 3, 0xE8]);
    let sent = bench.sent();
    bench.to(sent.at + 20.0);
    bench.frame(1, &[6, 0, 2, 3, 0xE8]);
    assert_eq!(bench.answer(), (1, NO_RESPONSE));
}

#[test]
fn a_unit_that_a_reload_takes_away_and_brings_back_may_still_be_late() {
    let mut bench = Bench::of(&[1, 2]);
    leave_unanswered(&mut bench);
    bench.settings(settings(&[2]), PortSettingsChange::Unchanged);
    let later = bench.now() + 3_000.0;
    bench.to(later);
    bench.settings(settings(&[1, 2]), PortSettingsChange::Unchanged);
    bench.ask(1, Ask::of(1), &[6, 0, 1, 3, 0xE8]);
    let sent = bench.sent();
    bench.to(sent.at + 20.0);
    bench.frame(1, &[6, 0, 1, 0, 100]);
    assert_eq!(bench.answer(), (1, NO_RESPONSE));
}

fn loose() -> Bench {
    let mut line = LineSettings { retries: 0, ..settings(&[1]) };
    line.units[0].replies = Replies::Loose;
    Bench::new(line)
}

#[test]
fn loose_replies_pass_on_any_answer_of_the_unit_and_function_that_is_no_request() {
    let mut bench = loose();
    // A utility meter whose registers have four bytes.
    bench.ask(1, Ask::of(1), &[4, 0, 0, 0, 1]);
    let sent = bench.sent();
    bench.to(sent.at + 20.0);
    bench.frame(1, &[4, 4, 1, 2, 3, 4]);
    assert_eq!(bench.answer(), (1, reply(&[4, 4, 1, 2, 3, 4])));
    // As many bytes as asked by its byte count, and two more.
    bench.ask(3, Ask::of(1), &[4, 0, 0, 0, 1]);
    let sent = bench.sent();
    bench.to(sent.at + 20.0);
    bench.frame(1, &[4, 2, 1, 2, 3, 4]);
    assert_eq!(bench.answer(), (3, reply(&[4, 2, 1, 2, 3, 4])));
    // The form of a request: eight bytes by function 04.
    bench.ask(2, Ask::of(1), &[4, 0, 0, 0, 9]);
    let sent = bench.sent();
    bench.to(sent.at + 20.0);
    bench.frame(1, &[4, 0, 8, 0, 1]);
    bench.to(sent.at + 100.0);
    bench.no_answer();
    assert_eq!(bench.view.counters.foreign_requests, 1);
}

#[test]
fn of_a_loose_unit_only_exactly_the_same_read_is_served_from_the_snapshot() {
    let ask = Ask { max_age: 60_000.0, ..Ask::of(1) };
    // As long as requested, and twice as long.
    for answer in [&[4, 8, 1, 2, 3, 4, 5, 6, 7, 8][..], &[&[4, 16][..], &[7; 16]].concat()] {
        let mut bench = loose();
        bench.ask(1, ask, &[4, 0, 0, 0, 4]);
        let sent = bench.sent();
        bench.to(sent.at + 30.0);
        bench.frame(1, answer);
        bench.answer();
        bench.ask(2, ask, &[4, 0, 0, 0, 4]);
        assert_eq!(bench.answer(), (2, reply(answer)));
        bench.ask(3, ask, &[4, 0, 1, 0, 2]);
        assert_eq!(bench.sent().pdu, [4, 0, 1, 0, 2], "nothing is cut");
    }
}

#[test]
fn reads_of_a_loose_unit_join_only_exactly_the_same() {
    let mut bench = loose();
    bench.ask(1, Ask::of(1), &[4, 0, 9, 0, 1]);
    bench.sent();
    bench.ask(2, Ask::of(1).on(2, 2), &[4, 0, 0, 0, 4]);
    bench.ask(3, Ask::of(1).on(3, 3), &[4, 0, 1, 0, 2]);
    bench.ask(4, Ask::of(1).on(4, 4), &[4, 0, 0, 0, 4]);
    assert_eq!(bench.view.counters.joined, 1);
}

#[test]
fn frames_in_the_form_of_a_read_request_are_counted_as_another_clients_and_prove_nothing() {
    let mut bench = Bench::new(LineSettings { retries: 0, ..settings(&[1]) });
    bench.ask(1, Ask::of(1), &[3, 0, 0, 0, 3]);
    let sent = bench.sent();
    bench.to(sent.at + 20.0);
    bench.frame(1, &[3, 0, 40, 0, 2]);
    bench.to(sent.at + 100.0);
    bench.no_answer();
    assert_eq!(bench.state(1), UnitState::NeverSeen);
    assert_eq!(bench.view.counters.foreign_requests, 1);
    assert!(bench.events.iter().any(|event| matches!(event, LineEvent::ForeignRequest)));
    assert_eq!(bench.answer(), (1, NO_RESPONSE));
}

#[test]
fn an_answer_that_equals_its_request_is_an_answer_and_no_echo() {
    // 24 coils from 0x0300: byte count 3, and the coils read 0, 0, 24.
    let pdu = [1, 3, 0, 0, 24];
    let mut bench = Bench::new(LineSettings { echo: Echo::Auto, ..settings(&[1]) });
    bench.ask(1, Ask::of(1), &pdu);
    // The adapter is checked for an echo first, by a read whose answer differs from it.
    let check = bench.serve(1);
    assert_eq!(check.pdu, [3, 0, 0, 0, 1]);
    for id in 1..=4 {
        if id > 1 {
            bench.ask(id, Ask::of(1), &pdu);
        }
        let sent = bench.sent();
        assert_eq!(sent.pdu, pdu);
        bench.to(sent.at + 20.0);
        bench.frame(1, &pdu);
        assert_eq!(bench.answer(), (id, reply(&pdu)));
    }
    assert_eq!(bench.view.echo, Some(false));
    assert_eq!(bench.state(1), UnitState::Online);
}

#[test]
fn an_answer_in_the_form_of_a_request_proves_that_the_unit_is_alive() {
    for pdu in [&[5, 0, 1, 0xFF, 0][..], &[6, 0, 1, 0, 9], &[8, 0, 0, 0xA5, 0x37]] {
        let mut bench = Bench::of(&[1]);
        bench.ask(1, Ask::of(1), pdu);
        let sent = bench.sent();
        bench.to(sent.at + 20.0);
        bench.frame(1, pdu);
        assert_eq!(bench.answer(), (1, reply(pdu)));
        assert_eq!(bench.state(1), UnitState::Online);
    }
}
