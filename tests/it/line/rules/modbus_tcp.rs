//! A connection to a Modbus TCP server in place of a serial line. Instants in milliseconds from its first moment.

use std::time::Duration;

use metergate::line::{
    Answer, Disconnection, LineEvent, LineSettings, Outcome, Pace, PolledBlock, PortEvent, PortState,
    Protocol, Record, UnitState,
};
use metergate::modbus::mbap::FramingError;
use metergate::modbus::pdu::{ExceptionCode, FunctionCode, ReadRange};

use super::bench::{Ask, Bench, NO_RESPONSE, REFUSED_OFFLINE, Sent, reply, settings};

/// No retries, so that each request is one.
fn bench(units: &[u8]) -> Bench {
    Bench::new(LineSettings { retries: 0, ..tcp(units) })
}

fn tcp(units: &[u8]) -> LineSettings {
    LineSettings { protocol: Protocol::Tcp, ..settings(units) }
}

/// The reply with one register.
fn one(value: u8) -> [u8; 4] {
    [3, 2, 0, value]
}

/// An exception to a read of holding registers.
fn refused(code: u8) -> Answer {
    Answer::Reply(vec![0x83, code].into())
}

fn unreached(code: u8) -> Answer {
    Answer::Unreached(vec![0x83, code].into())
}

fn asked(bench: &mut Bench, id: u32, unit: u8) -> Sent {
    bench.read(id, Ask::of(unit), 0, 1);
    bench.sent()
}

#[test]
fn requests_need_no_silence_and_carry_the_next_identifier_each() {
    let mut bench = bench(&[1, 2]);
    let first = asked(&mut bench, 1, 1);
    bench.to(3.0);
    bench.read(2, Ask::of(2), 7, 1);
    assert_eq!(bench.next_sent(), None, "one request in flight");
    bench.answer_to(&first, &one(5));
    assert_eq!(bench.answer(), (1, reply(&one(5))));
    let second = bench.sent();
    assert_eq!((second.at, second.unit, &second.pdu[..]), (3.0, 2, &[3, 0, 7, 0, 1][..]));
    assert_eq!(second.id, first.id.map(|id| id + 1));
}

#[test]
fn an_answer_belongs_to_a_request_by_identifier_unit_and_function_and_all_else_is_dropped_and_counted() {
    let mut bench = bench(&[1, 2]);
    let sent = asked(&mut bench, 1, 1);
    let id = sent.id.unwrap();
    bench.adu(id.wrapping_add(7), 1, &one(1));
    bench.adu(id, 2, &one(2));
    bench.adu(id, 0, &one(3));
    bench.adu(id, 1, &[4, 2, 0, 4]);
    bench.no_answer();
    bench.to(20.0);
    bench.answer_to(&sent, &one(5));
    assert_eq!(bench.answer(), (1, reply(&one(5))));
    bench.answer_to(&sent, &one(6));
    bench.no_answer();
    assert_eq!(bench.view.counters.foreign_frames, 4, "{:?}", bench.view.counters);
    let unit = &bench.view.units[0];
    assert_eq!(unit.statistics.other_functions, 1);
    assert_eq!(unit.statistics.foreign, 1, "unit 2 answered for it once");
    assert_eq!(unit.response_time.map(|time| time.as_millis()), Some(20));
}

#[test]
fn a_late_answer_is_given_to_no_other_request_and_shows_that_the_unit_answers() {
    let mut bench = bench(&[1]);
    let late = asked(&mut bench, 1, 1);
    assert_eq!(bench.timed_answer(), (1, 500.0, NO_RESPONSE));
    let next = asked(&mut bench, 2, 1);
    assert_eq!(next.at, 500.0, "nothing is owed");
    bench.to(600.0);
    bench.answer_to(&late, &one(9));
    bench.no_answer();
    bench.to(610.0);
    bench.answer_to(&next, &one(5));
    assert_eq!(bench.answer(), (2, reply(&one(5))));
    assert_eq!(bench.state(1), UnitState::Online);
    let unit = &bench.view.units[0];
    assert_eq!((unit.counters.late_answers, unit.counters.timeouts), (1, 1));
    let told = bench.events.iter().any(|event| matches!(event, LineEvent::Late { count: 1, .. }));
    assert!(told, "{:?}", bench.events);
}

#[test]
fn a_late_answer_serves_the_clients_that_still_wait_for_it() {
    let mut bench = Bench::new(LineSettings { retries: 1, ..tcp(&[1]) });
    let first = asked(&mut bench, 1, 1);
    let retry = bench.sent();
    assert_eq!((retry.at, &retry.pdu), (500.0, &first.pdu));
    bench.to(650.0);
    bench.answer_to(&first, &one(5));
    assert_eq!(bench.timed_answer(), (1, 650.0, reply(&one(5))), "the retry is on its way");
    bench.to(1_150.0);
    bench.answer_to(&retry, &one(6));
    bench.no_answer();
    bench.to(2_000.0);
    let first = asked(&mut bench, 2, 1);
    bench.to(2_650.0);
    bench.answer_to(&first, &one(7));
    assert_eq!(bench.timed_answer(), (2, 2_650.0, reply(&one(7))));
    bench.silent_to(4_000.0);
    assert_eq!(bench.view.units[0].counters.late_answers, 3, "that of the retry, too");
    let first = asked(&mut bench, 3, 1);
    bench.to(4_650.0);
    bench.answer_to(&first, &[0x83, 2]);
    assert_eq!(bench.answer(), (3, refused(2)), "an exception of the unit is its answer, too");
}

#[test]
fn a_late_answer_from_before_a_write_serves_none() {
    let mut bench = Bench::new(LineSettings { retries: 3, ..tcp(&[1]) });
    let first = asked(&mut bench, 1, 1);
    bench.ask(2, Ask::of(1).on(2, 2), &[6, 0, 0, 0, 9]);
    let mut sent = bench.sent();
    while sent.pdu[0] != 6 {
        sent = bench.sent();
    }
    bench.answer_to(&sent, &[6, 0, 0, 0, 9]);
    assert_eq!(bench.answer(), (2, reply(&[6, 0, 0, 0, 9])));
    bench.answer_to(&first, &one(5));
    bench.no_answer();
    let again = bench.sent();
    bench.answer_to(&again, &one(9));
    assert_eq!(bench.answer(), (1, reply(&one(9))));
}

#[test]
fn while_a_server_works_on_a_request_given_up_the_next_waits_for_as_long_as_late_answers_took() {
    let mut bench = bench(&[1, 2]);
    let late = asked(&mut bench, 1, 1);
    assert_eq!(bench.timed_answer(), (1, 500.0, NO_RESPONSE));
    bench.to(800.0);
    bench.answer_to(&late, &one(9));
    bench.to(1_000.0);
    let late = asked(&mut bench, 2, 1);
    assert_eq!(bench.timed_answer(), (2, 1_500.0, NO_RESPONSE));
    bench.read(3, Ask::of(2), 0, 1);
    bench.silent_to(1_800.0);
    bench.answer_to(&late, &one(9));
    let healthy = bench.sent();
    assert_eq!((healthy.unit, healthy.at), (2, 1_800.0), "the server is free");
    bench.answer_to(&healthy, &one(7));
    assert_eq!(bench.answer(), (3, reply(&one(7))));
    bench.to(3_000.0);
    let late = asked(&mut bench, 4, 1);
    assert_eq!(bench.timed_answer(), (4, 3_500.0, NO_RESPONSE));
    bench.read(5, Ask::of(2), 0, 1);
    let healthy = bench.sent();
    assert_eq!((healthy.unit, healthy.at.round()), (2, 4_000.0), "5/4 of what was seen");
    bench.answer_to(&healthy, &one(7));
    assert_eq!(bench.answer(), (5, reply(&one(7))));
    bench.answer_to(&late, &one(9));
    bench.to(5_000.0);
    asked(&mut bench, 6, 1);
    assert_eq!(bench.timed_answer(), (6, 5_500.0, NO_RESPONSE));
    let next = asked(&mut bench, 7, 2);
    assert_eq!(next.at, 5_500.0, "it has answered another meanwhile: none waits for another");
}

/// How long after a request to unit 1 that is given up the next is sent, to unit 2. Its answer comes `after` so long, if
/// at all. Unit 1 is on-line before.
fn pause_after_giving_up(bench: &mut Bench, id: u32, after: Option<f64>) -> f64 {
    let answered = asked(bench, id + 2, 1);
    bench.answer_to(&answered, &one(1));
    assert_eq!(bench.answer(), (id + 2, reply(&one(1))));
    let given_up = asked(bench, id, 1);
    assert_eq!(bench.answer(), (id, NO_RESPONSE));
    if let Some(after) = after {
        bench.to(given_up.at + after);
        bench.answer_to(&given_up, &one(9));
    }
    let next = asked(bench, id + 1, 2);
    bench.answer_to(&next, &one(7));
    assert_eq!(bench.answer(), (id + 1, reply(&one(7))));
    (next.at - given_up.at).round()
}

#[test]
fn a_short_lateness_does_not_keep_a_long_one() {
    let mut bench = bench(&[1, 2]);
    assert_eq!(pause_after_giving_up(&mut bench, 0, Some(1_600.0)), 1_600.0);
    for minute in 1..12 {
        bench.to(f64::from(minute) * 60_000.0);
        assert_eq!(pause_after_giving_up(&mut bench, minute * 10, Some(600.0)), 600.0);
    }
    bench.to(720_000.0);
    assert_eq!(
        pause_after_giving_up(&mut bench, 200, None),
        1_000.0,
        "half of it was forgotten after ten minutes"
    );
}

#[test]
fn a_pause_for_a_late_answer_that_brings_none_halves_what_was_learned_until_one_is_late_again() {
    let mut bench = bench(&[1, 2]);
    assert_eq!(pause_after_giving_up(&mut bench, 0, Some(1_600.0)), 1_600.0);
    for (round, pause) in (1..).zip([2_000.0, 1_000.0, 500.0, 500.0]) {
        bench.to(f64::from(round) * 10_000.0);
        assert_eq!(pause_after_giving_up(&mut bench, round * 10, None), pause, "round {round}");
    }
    bench.to(60_000.0);
    assert_eq!(pause_after_giving_up(&mut bench, 100, Some(800.0)), 800.0);
    bench.to(70_000.0);
    assert_eq!(pause_after_giving_up(&mut bench, 110, None), 1_000.0, "learned anew");
}

#[test]
fn a_connection_on_which_nothing_is_answered_any_more_is_made_anew_ever_less_often() {
    let mut bench = bench(&[1]);
    let sent = asked(&mut bench, 0, 1);
    bench.answer_to(&sent, &one(5));
    let mut id = 0;
    for least in [10_000.0, 20_000.0, 40_000.0, 60_000.0, 60_000.0] {
        let opened = bench.now();
        while bench.disconnects.is_empty() {
            assert!(bench.now() < opened + least + 70_000.0, "it is kept");
            bench.to(bench.now() + 1_000.0);
            id += 1;
            bench.read(id, Ask::of(1), 0, 1);
        }
        assert_eq!(bench.disconnects.pop_front(), Some(Disconnection::Hung));
        assert!(bench.now() >= opened + least, "{} after {opened}", bench.now());
        bench.port(PortEvent::Interrupted);
        bench.port(PortEvent::Opened);
        assert_eq!(bench.view.port, PortState::Open, "no fault");
    }
}

#[test]
fn a_connection_that_stops_within_an_answer_is_made_anew() {
    let mut bench = bench(&[1]);
    let sent = asked(&mut bench, 1, 1);
    let [high, low] = sent.id.unwrap().to_be_bytes();
    bench.bytes(&[high, low, 0, 0, 0]);
    assert_eq!(bench.answer(), (1, NO_RESPONSE));
    assert_eq!(bench.disconnects.pop_front(), None, "the rest may be on its way");
    bench.to(3_000.0);
    asked(&mut bench, 2, 1);
    assert_eq!(bench.answer(), (2, NO_RESPONSE));
    bench.to(3_600.0);
    assert_eq!(bench.disconnects.pop_front(), Some(Disconnection::Hung));
}

#[test]
fn identifiers_begin_where_they_are_set_to_begin() {
    let mut bench = bench(&[1]);
    bench.line.begin_identifiers_at(u16::MAX);
    for (id, expected) in [(1, u16::MAX), (2, 0)] {
        let sent = asked(&mut bench, id, 1);
        assert_eq!(sent.id, Some(expected));
        bench.answer_to(&sent, &one(5));
    }
}

#[test]
fn a_late_answer_that_does_not_fit_its_request_answers_nothing() {
    let mut bench = bench(&[1]);
    let read = asked(&mut bench, 1, 1);
    assert_eq!(bench.answer(), (1, NO_RESPONSE));
    bench.ask(2, Ask::of(1), &[6, 0, 1, 0, 99]);
    let write = bench.sent();
    assert_eq!(bench.answer(), (2, NO_RESPONSE));
    for pdu in [&[0x83][..], &[3], &[0x83, 2, 0], &[3, 4, 0, 1, 0, 2]] {
        bench.answer_to(&read, pdu);
    }
    bench.answer_to(&write, &[0x86]);
    bench.adu(write.id.unwrap().wrapping_add(9), 1, &one(5));
    assert_eq!(bench.view.units[0].counters.late_answers, 0);
    assert_eq!(bench.view.counters.foreign_frames, 6);
    assert_eq!(bench.state(1), UnitState::NeverSeen, "none of them proves that it lives");
    bench.answer_to(&write, &[6, 0, 1, 0, 50]);
    bench.answer_to(&read, &one(5));
    assert_eq!(bench.view.units[0].counters.late_answers, 2);
}

#[test]
fn an_answer_of_another_length_or_to_a_limited_write_is_the_answer() {
    let mut bench = bench(&[1]);
    let sent = asked(&mut bench, 1, 1);
    bench.answer_to(&sent, &[3, 4, 0, 1, 0, 2]);
    assert_eq!(bench.answer(), (1, NO_RESPONSE));
    bench.ask(2, Ask::of(1), &[6, 0, 1, 0, 99]);
    let sent = bench.sent();
    bench.answer_to(&sent, &[6, 0, 1, 0, 50]);
    assert_eq!(bench.answer(), (2, reply(&[6, 0, 1, 0, 50])), "identified, so the device limited it");
}

#[test]
fn the_word_of_a_gateway_that_the_unit_did_not_answer_reaches_the_client_and_loses_the_unit() {
    for code in [0x0A, 0x0B] {
        let mut bench = bench(&[1, 2]);
        let sent = asked(&mut bench, 0, 1);
        bench.answer_to(&sent, &one(5));
        assert_eq!(bench.answer(), (0, reply(&one(5))));
        let mut id = 0;
        while bench.state(1) == UnitState::Online {
            id += 1;
            assert!(id < 10, "it stays on-line");
            bench.to(bench.now() + 900.0);
            let sent = asked(&mut bench, id, 1);
            bench.to(bench.now() + 300.0);
            bench.answer_to(&sent, &[0x83, code]);
            assert_eq!(bench.answer(), (id, unreached(code)), "untouched, and not asked again");
        }
        assert_eq!(bench.state(1), UnitState::Confirming);
        let confirmation = bench.sent();
        bench.answer_to(&confirmation, &[0x83, code]);
        assert_eq!(bench.state(1), UnitState::Offline);
        bench.read(90, Ask::of(1), 0, 1);
        assert_eq!(bench.answer(), (90, REFUSED_OFFLINE));
        let healthy = asked(&mut bench, 91, 2);
        bench.answer_to(&healthy, &one(7));
        assert_eq!(bench.answer(), (91, reply(&one(7))), "others of the server are not concerned");
        let probe = bench.sent();
        bench.answer_to(&probe, &one(5));
        assert_eq!(bench.state(1), UnitState::Online);
    }
}

#[test]
fn a_probe_waits_as_long_as_any_request_because_a_gateway_works_on_it_for_as_long() {
    let mut bench = bench(&[1, 2]);
    let sent = asked(&mut bench, 1, 2);
    bench.to(10.0);
    bench.answer_to(&sent, &one(5));
    bench.answer();
    for id in 2..12 {
        if bench.state(1) != UnitState::Offline {
            asked(&mut bench, id, 1);
            assert_eq!(bench.answer(), (id, NO_RESPONSE));
            bench.to(bench.now() + 600.0);
        }
    }
    assert_eq!(bench.state(1), UnitState::Offline);
    while bench.next_sent().is_some() {}
    let probe = bench.sent();
    bench.read(90, Ask::of(2), 0, 1);
    assert_eq!(probe.unit, 1);
    assert_eq!((bench.sent().at - probe.at).round(), 500.0);
}

#[test]
fn a_server_that_takes_as_long_as_was_learned_causes_no_overrun() {
    let mut settings = tcp(&[1]);
    let range = ReadRange { function: FunctionCode::READ_HOLDING_REGISTERS, start: 0, quantity: 2 };
    let every = Pace::Every(Duration::from_secs(1));
    let block = PolledBlock { range, core: None, measured: true, pace: every };
    settings.units[0].polling.blocks = vec![block];
    let mut bench = Bench::new(settings);
    for _ in 0..400 {
        let sent = bench.sent();
        bench.to(sent.at + 200.0);
        bench.answer_to(&sent, &[3, 4, 0, 1, 0, 2]);
    }
    let overrun = bench.view.polling.overrun.expect("a comparison");
    assert!((0.99..1.01).contains(&overrun), "{overrun}");
}

#[test]
fn any_other_exception_is_the_unit_s_own() {
    let mut bench = bench(&[1]);
    let sent = asked(&mut bench, 1, 1);
    bench.answer_to(&sent, &[0x83, 6]);
    assert_eq!(bench.answer(), (1, refused(6)));
    assert_eq!(bench.state(1), UnitState::Online);
}

#[test]
fn a_connection_that_the_server_closes_while_nothing_is_asked_costs_no_client_an_exception() {
    let mut bench = bench(&[1]);
    bench.to(60_000.0);
    bench.port(PortEvent::Interrupted);
    assert_eq!(bench.view.port, PortState::Open, "no fault");
    bench.read(1, Ask::of(1), 0, 1);
    bench.silent_to(60_200.0);
    bench.no_answer();
    bench.port(PortEvent::Opened);
    let sent = bench.sent();
    assert_eq!(sent.at, 60_200.0);
    bench.answer_to(&sent, &one(5));
    assert_eq!(bench.answer(), (1, reply(&one(5))));
    assert_eq!(bench.view.statistics.losses, 0);
}

#[test]
fn a_read_that_was_on_its_way_when_the_server_closed_is_sent_again_and_a_write_is_not() {
    let mut bench = bench(&[1]);
    asked(&mut bench, 1, 1);
    bench.to(10.0);
    bench.port(PortEvent::Interrupted);
    bench.no_answer();
    bench.port(PortEvent::Opened);
    let again = bench.sent();
    bench.port(PortEvent::Interrupted);
    assert_eq!(bench.answer(), (1, NO_RESPONSE), "once more, not for ever");
    bench.port(PortEvent::Opened);
    bench.ask(2, Ask::of(1), &[6, 0, 1, 0, 1]);
    bench.sent();
    bench.port(PortEvent::Interrupted);
    assert_eq!(bench.answer(), (2, NO_RESPONSE), "whether it was carried out is unknown");
    bench.port(PortEvent::Opened);
    bench.adu(again.id.unwrap(), 1, &one(9));
    bench.silent_to(1_000.0);
    assert_eq!(bench.state(1), UnitState::NeverSeen, "what is left of a connection proves nothing");
    let outcomes = bench.records.iter().filter_map(|record| match &**record {
        Record::Transaction(transaction) => Some(transaction.outcome),
        Record::Stray(_) => None,
    });
    assert_eq!(outcomes.collect::<Vec<_>>(), [Outcome::PortLost; 3]);
}

#[test]
fn a_unit_on_whose_requests_the_server_hangs_up_goes_off_line_and_is_probed_ever_less_often() {
    let mut bench = bench(&[1, 2]);
    let hang_up = |bench: &mut Bench| {
        bench.port(PortEvent::Interrupted);
        bench.to(bench.now() + 20.0);
        bench.port(PortEvent::Opened);
    };
    let mut id = 0;
    while bench.state(1) != UnitState::Offline {
        id += 1;
        assert!(id < 10, "{:?}", bench.state(1));
        asked(&mut bench, id, 1);
        hang_up(&mut bench);
        if bench.next_sent().is_some() {
            hang_up(&mut bench);
        }
        assert_eq!(bench.answer(), (id, NO_RESPONSE));
        let healthy = asked(&mut bench, 100 + id, 2);
        bench.answer_to(&healthy, &one(7));
        assert_eq!(bench.answer(), (100 + id, reply(&one(7))));
        bench.to(bench.now() + 900.0);
    }
    bench.read(90, Ask::of(1), 0, 1);
    assert_eq!(bench.answer(), (90, REFUSED_OFFLINE));
    let mut probes = Vec::new();
    for end in [PortEvent::Interrupted, PortEvent::Lost, PortEvent::Interrupted] {
        let probe = bench.sent();
        assert_eq!(probe.unit, 1);
        probes.push(probe.at);
        bench.port(end);
        bench.to(bench.now() + 20.0);
        bench.port(PortEvent::Opened);
    }
    let pauses: Vec<f64> = probes.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(pauses.iter().all(|pause| *pause >= 1_000.0), "{pauses:?}");
}

#[test]
fn a_background_reading_that_ends_with_its_connection_is_made_again_in_the_next() {
    let mut settings = tcp(&[1]);
    let range = ReadRange { function: FunctionCode::READ_HOLDING_REGISTERS, start: 0, quantity: 2 };
    let every = Pace::Every(Duration::from_secs(60));
    settings.units[0].polling.blocks = vec![PolledBlock { range, core: None, measured: true, pace: every }];
    let mut bench = Bench::new(settings);
    while bench.next_sent().is_some() {}
    bench.to(1.0);
    let first = bench.sent();
    bench.to(first.at + 5.0);
    bench.port(PortEvent::Interrupted);
    bench.to(first.at + 25.0);
    bench.port(PortEvent::Opened);
    let again = bench.sent();
    assert_eq!((again.at, &again.pdu), (first.at + 25.0, &first.pdu));
    bench.answer_to(&again, &[3, 4, 0, 1, 0, 2]);
    assert_eq!(bench.sent().at, again.at + 60_000.0, "its interval begins with the reading that was made");
}

#[test]
fn requests_that_wait_for_a_connection_are_refused_when_it_cannot_be_made() {
    let mut bench = bench(&[1]);
    bench.port(PortEvent::Interrupted);
    bench.read(1, Ask::of(1), 0, 1);
    bench.no_answer();
    bench.port(PortEvent::Lost);
    let refused = Answer::NotSent(ExceptionCode::GATEWAY_PATH_UNAVAILABLE);
    assert_eq!(bench.answer(), (1, refused));
    assert_eq!((bench.view.port, bench.view.statistics.losses), (PortState::Closed, 1));
    bench.read(2, Ask::of(1), 0, 1);
    assert_eq!(bench.answer(), (2, Answer::Refused(ExceptionCode::GATEWAY_PATH_UNAVAILABLE)));
}

#[test]
fn a_server_that_closes_after_each_answer_is_given_the_time_for_it() {
    let mut bench = bench(&[1]);
    let serve = |bench: &mut Bench, id| {
        bench.read(id, Ask::of(1), 0, 1);
        let sent = bench.sent();
        bench.answer_to(&sent, &one(5));
        assert_eq!(bench.answer(), (id, reply(&one(5))));
        sent.at
    };
    serve(&mut bench, 1);
    bench.to(2.0);
    bench.port(PortEvent::Interrupted);
    bench.port(PortEvent::Opened);
    let answered = serve(&mut bench, 2);
    bench.read(3, Ask::of(1), 0, 1);
    assert_eq!(bench.next_sent(), None, "the connection is about to end");
    assert_eq!(bench.sent().at, answered + 20.0, "it goes on, though");
}

#[test]
fn what_is_no_modbus_tcp_ends_the_connection() {
    let mut bench = bench(&[1]);
    asked(&mut bench, 1, 1);
    bench.bytes(b"HTTP/1.1 400 Bad Request\r\n");
    assert_eq!(
        bench.disconnects.pop_front(),
        Some(Disconnection::Misframed(FramingError::ProtocolId(u16::from_be_bytes(*b"TP"))))
    );
    bench.bytes(b"Connection: close\r\n");
    assert_eq!(bench.disconnects.pop_front(), None, "it is said once");
    bench.port(PortEvent::Lost);
    assert_eq!(bench.answer(), (1, Answer::NoAnswer(ExceptionCode::GATEWAY_PATH_UNAVAILABLE)));
    for length in [1, 255_u16] {
        bench.port(PortEvent::Opened);
        let [high, low] = length.to_be_bytes();
        bench.bytes(&[0, 0, 0, 0, high, low]);
        assert_eq!(
            bench.disconnects.pop_front(),
            Some(Disconnection::Misframed(FramingError::Length(length)))
        );
        bench.port(PortEvent::Lost);
    }
}

#[test]
fn an_answer_in_pieces_counts_from_its_first_and_must_be_whole_within_the_response_timeout() {
    let mut bench = bench(&[1]);
    let sent = asked(&mut bench, 1, 1);
    let [high, low] = sent.id.unwrap().to_be_bytes();
    bench.to(100.0);
    bench.bytes(&[high, low, 0, 0, 0]);
    bench.to(400.0);
    bench.bytes(&[5, 1, 3, 2, 0, 5]);
    assert_eq!(bench.answer(), (1, reply(&one(5))));
    assert_eq!(bench.view.units[0].response_time.map(|time| time.as_millis()), Some(100));
    asked(&mut bench, 2, 1);
    bench.to(800.0);
    bench.bytes(&[high, low + 1, 0]);
    assert_eq!(bench.timed_answer(), (2, 900.0, NO_RESPONSE));
}

#[test]
fn a_broadcast_is_sent_and_its_units_get_their_turnaround() {
    let mut bench = bench(&[1]);
    bench.ask(1, Ask::of(0), &[6, 0, 1, 0, 1]);
    let sent = bench.sent();
    assert_eq!((sent.unit, bench.answer()), (0, (1, Answer::Sent)));
    bench.read(2, Ask::of(1), 0, 1);
    bench.adu(sent.id.unwrap(), 0, &[6, 0, 1, 0, 1]);
    assert_eq!(bench.sent().at, 100.0);
}
