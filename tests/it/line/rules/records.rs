//! The records of the line.

use std::sync::Arc;
use std::time::Duration;

use metergate::line::{
    Cause, Echo, LineEvent, LineSettings, Outcome, Output, PortEvent, RECEIVED_MAX, Record, SegmentKind,
    Stray, Target, Transaction, UnitId,
};
use metergate::modbus::pdu::ExceptionCode;
use metergate::modbus::rtu;

use super::bench::{Ask, Bench, settings};

fn record(bench: &mut Bench) -> Arc<Record> {
    bench.records.pop_front().expect("a record")
}

fn transaction(bench: &mut Bench) -> Transaction {
    match &*record(bench) {
        Record::Transaction(transaction) => transaction.clone(),
        Record::Stray(stray) => panic!("{stray:?}"),
    }
}

fn stray(bench: &mut Bench) -> Stray {
    match &*record(bench) {
        Record::Stray(stray) => stray.clone(),
        Record::Transaction(transaction) => panic!("{transaction:?}"),
    }
}

fn kinds(record: &Transaction) -> Vec<(Option<SegmentKind>, usize)> {
    record.received.parts().iter().map(|part| (part.kind, part.bytes.len())).collect()
}

fn unit(id: u8) -> UnitId {
    UnitId::new(id).expect("a unit")
}

#[test]
fn an_answered_request_is_recorded_with_client_request_answer_and_times() {
    let mut bench = Bench::of(&[1]);
    bench.read(1, Ask::of(1).on(7, 9), 0, 1);
    let sent = bench.sent();
    // A read that shares the answer.
    bench.read(2, Ask { max_age: 1000.0, ..Ask::of(1).on(8, 1) }, 0, 1);
    bench.to(sent.at + 20.0);
    bench.frame(1, &[3, 2, 0, 5]);
    let told = transaction(&mut bench);
    let source = told.source.clone().expect("a client asked");
    assert_eq!((source.address.to_string().as_str(), source.connection), ("10.0.0.7", 9));
    assert_eq!((told.number, told.cause, told.clients, told.attempt), (1, Cause::Client, 2, 1));
    assert_eq!(told.target, Target::Unit(unit(1)));
    assert_eq!(told.request, rtu::encode(1, &[3, 0, 0, 0, 1]));
    assert_eq!(told.received.bytes, rtu::encode(1, &[3, 2, 0, 5]));
    assert_eq!(told.outcome, Outcome::Answered);
    assert_eq!(bench.millis(told.sent_at), sent.at);
    assert_eq!(told.wire_end - told.sent_at, Duration::from_nanos(4_166_667));
    assert_eq!(bench.millis(told.ended_at), sent.at + 20.0);
    assert_eq!(told.answer_time(), Some(told.ended_at - told.wire_end));
    assert!(bench.records.is_empty());
}

#[test]
fn each_attempt_has_a_record_of_its_own_and_says_how_it_failed() {
    let mut bench = Bench::of(&[1]);
    bench.read(1, Ask::of(1), 0, 1);
    let first = bench.sent();
    bench.to(first.at + 20.0);
    let mut garbled = rtu::encode(1, &[3, 2, 0, 5]).to_vec();
    garbled[3] ^= 1;
    bench.bytes(&garbled);
    bench.sent();
    bench.to(bench.now() + 20.0);
    bench.bytes(&[1, 3, 2]);
    let (_, _answer) = bench.answer();
    let (first, second) = (transaction(&mut bench), transaction(&mut bench));
    assert_eq!((first.attempt, first.outcome), (1, Outcome::Garbled));
    assert_eq!(kinds(&first), [(None, 7)]);
    assert_eq!((second.attempt, second.outcome), (2, Outcome::Truncated));
    assert_eq!(second.received.bytes[..], [1, 3, 2]);
    let seen = bench.view.unit(unit(1)).expect("a unit");
    assert_eq!((seen.counters.crc_errors, seen.statistics.truncated), (2, 1));
    assert_eq!((bench.view.statistics.retries, bench.view.statistics.waits.count()), (1, 1));
}

#[test]
fn an_answer_of_which_only_the_first_byte_comes_breaks_off_and_ends_no_wait() {
    let mut bench = Bench::new(LineSettings { retries: 0, ..settings(&[1]) });
    bench.read(1, Ask::of(1), 0, 1);
    let sent = bench.sent();
    bench.to(sent.at + 20.0);
    bench.bytes(&[1]);
    bench.silent_to(sent.at + 200.0);
    bench.no_answer();
    let (_, at, _answer) = bench.timed_answer();
    assert!(at - sent.at > 500.0, "a disturbed byte may look like it, and the answer still come: {at}");
    assert_eq!(transaction(&mut bench).outcome, Outcome::Truncated);
    let seen = bench.view.unit(unit(1)).expect("a unit");
    let counted = (seen.counters.timeouts, seen.counters.crc_errors, seen.statistics.truncated);
    assert_eq!(counted, (0, 1, 1));
    // A driver that is being enabled sends bytes, too.
    bench.read(2, Ask::of(1), 0, 1);
    let sent = bench.sent();
    bench.to(sent.at + 20.0);
    bench.bytes(&[0, 0xFE]);
    let (_, _answer) = bench.answer();
    assert_eq!(transaction(&mut bench).outcome, Outcome::Silent);
}

#[test]
fn a_line_whose_answers_all_break_off_at_their_first_byte_is_not_called_silent() {
    let bench = Bench::with_answers_that_break_off();
    let is_silence = |event: &&LineEvent| matches!(event, LineEvent::LineSilent { .. });
    let told = bench.events.iter().find(is_silence).expect("nothing is sent to units that answer so");
    let told = told.describe(bench.line.settings()).to_string();
    assert!(told.contains("though answers come damaged or break off"), "{told}");
}

#[test]
fn a_wire_that_is_cut_in_the_middle_of_an_answer_is_a_silent_one() {
    let mut bench = Bench::of(&[1, 2, 3]);
    let mut is_cut = false;
    while bench.now() < 30_000.0 {
        if bench.line.is_idle() {
            for unit in 1..=3_u8 {
                bench.read(u32::from(unit), Ask { deadline: 3_000.0, ..Ask::of(unit) }, unit, 1);
            }
        }
        match bench.next_sent() {
            Some(sent) if !std::mem::replace(&mut is_cut, true) => {
                bench.to(sent.at + 10.0);
                bench.bytes(&[sent.unit, 3]);
            }
            Some(_) | None => bench.step(),
        }
    }
    let is_silence = |event: &&LineEvent| matches!(event, LineEvent::LineSilent { .. });
    let told = bench.events.iter().find(is_silence).expect("no unit answers");
    let told = told.describe(bench.line.settings()).to_string();
    assert!(!told.contains("answers come damaged"), "{told}");
}

#[test]
fn an_exception_is_recorded_and_counted_by_its_code() {
    let mut bench = Bench::of(&[1]);
    bench.read(1, Ask::of(1), 0, 1);
    bench.sent();
    bench.to(bench.now() + 10.0);
    bench.frame(1, &[0x83, 2]);
    assert_eq!(transaction(&mut bench).outcome, Outcome::Exception(ExceptionCode::ILLEGAL_DATA_ADDRESS));
    let statistics = bench.view.unit(unit(1)).expect("a unit").statistics;
    assert_eq!(statistics.exceptions(ExceptionCode::ILLEGAL_DATA_ADDRESS), 1);
    assert_eq!(statistics.exceptions(ExceptionCode::ILLEGAL_FUNCTION), 0);
    // 10 ms after it began to be sent, for 4.2 ms of which the request was on the wire.
    assert_eq!(statistics.answer_times.buckets[3], 1);
}

#[test]
fn an_echo_noise_and_a_frame_of_another_unit_stand_before_the_answer() {
    let mut bench = Bench::new(LineSettings { echo: Echo::On, ..settings(&[1, 2]) });
    bench.read(1, Ask::of(1), 0, 1);
    bench.sent();
    bench.frame(1, &[3, 0, 0, 0, 1]);
    bench.to(bench.now() + 10.0);
    let talk = [&[0, 0][..], &rtu::encode(2, &[3, 2, 9, 9]), &rtu::encode(1, &[3, 2, 0, 5])].concat();
    bench.bytes(&talk);
    let told = transaction(&mut bench);
    assert_eq!(told.outcome, Outcome::Answered);
    let expected = [
        (Some(SegmentKind::Echo), 8),
        (None, 2),
        (Some(SegmentKind::Foreign), 7),
        (Some(SegmentKind::Answer), 7),
    ];
    assert_eq!(kinds(&told), expected);
    assert_eq!(bench.view.unit(unit(1)).expect("a unit").statistics.foreign, 1);
}

#[test]
fn a_late_answer_on_a_free_line_has_a_record_of_its_own_at_once() {
    let mut bench = Bench::of(&[1]);
    bench.ask(1, Ask::of(1), &[6, 0, 1, 0, 5]);
    bench.sent();
    bench.answer();
    assert_eq!(transaction(&mut bench).outcome, Outcome::Silent);
    bench.to(bench.now() + 50.0);
    bench.frame(1, &[6, 0, 1, 0, 5]);
    let late = stray(&mut bench);
    assert_eq!(
        late.received.segments.iter().map(|piece| piece.kind).collect::<Vec<_>>(),
        [SegmentKind::Late(unit(1))]
    );
    assert_eq!(late.received.bytes, rtu::encode(1, &[6, 0, 1, 0, 5]));
    assert_eq!(late.number, 2);
}

#[test]
fn noise_that_comes_byte_by_byte_is_one_record_and_babble_is_cut() {
    let mut bench = Bench::of(&[1]);
    for _ in 0..3 {
        bench.bytes(&[0]);
        bench.to(bench.now() + 1.0);
    }
    bench.read(1, Ask::of(1), 0, 1);
    bench.sent();
    assert_eq!(stray(&mut bench).received.bytes[..], [0, 0, 0]);
    // Less than what would occupy the line.
    bench.bytes(&[0; RECEIVED_MAX + 100]);
    bench.to(bench.now() + 10.0);
    bench.frame(1, &[3, 2, 0, 5]);
    let told = transaction(&mut bench);
    assert_eq!((told.received.bytes.len(), told.received.total), (RECEIVED_MAX, RECEIVED_MAX + 100 + 7));
    assert!(told.received.is_cut());
    assert_eq!(told.outcome, Outcome::Answered);
}

#[test]
fn a_broadcast_and_a_lost_port_end_their_records() {
    let mut bench = Bench::of(&[1]);
    bench.ask(1, Ask::of(0), &[6, 0, 1, 0, 5]);
    bench.sent();
    bench.answer();
    assert_eq!(transaction(&mut bench).outcome, Outcome::Sent);
    bench.read(2, Ask::of(1), 0, 1);
    bench.sent();
    bench.bytes(&[1, 3]);
    bench.port(PortEvent::Lost);
    let told = transaction(&mut bench);
    assert_eq!((told.outcome, &told.received.bytes[..]), (Outcome::PortLost, &[1, 3][..]));
    let statistics = bench.view.statistics;
    assert_eq!((statistics.openings, statistics.losses), (1, 1));
    assert!(statistics.clients > Duration::from_millis(100), "the turnaround counts: {statistics:?}");
}

#[test]
fn a_request_that_waits_too_long_is_counted_as_expired() {
    let mut bench = Bench::of(&[1, 2]);
    bench.read(1, Ask::of(1), 0, 1);
    bench.read(2, Ask { deadline: 50.0, ..Ask::of(2) }, 0, 1);
    bench.sent();
    bench.to(60.0);
    assert_eq!(bench.view.statistics.expired, 1);
}

#[test]
fn a_record_comes_before_the_reply_it_led_to() {
    let mut bench = Bench::of(&[1]);
    bench.read(1, Ask::of(1), 0, 1);
    bench.sent();
    bench.to(bench.now() + 10.0);
    let at = bench.instant(bench.now());
    bench.line.handle_bytes(&rtu::encode(1, &[3, 2, 0, 5]), at);
    let mut order = Vec::new();
    while let Some(output) = bench.line.poll_output() {
        order.push(match output {
            Output::Transmit(_) => "transmit",
            Output::Disconnect(_) => "disconnect",
            Output::Record(_) => "record",
            Output::Event(_) => "event",
            Output::Publish(_) => "publish",
            Output::Reply { .. } => "reply",
        });
    }
    assert_eq!(order, ["record", "publish", "reply", "event"]);
}
