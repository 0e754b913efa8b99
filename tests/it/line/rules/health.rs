//! Units that do not answer, and how they return.

use metergate::line::{Answer, Echo, LineSettings, UnitState};

use metergate::modbus::pdu::ExceptionCode;

use super::bench::{Ask, Bench, NO_RESPONSE, REFUSED_OFFLINE, reply, settings};

/// The answer to a request that waited for a unit that was found off-line.
const NOT_SENT: Answer = Answer::NotSent(ExceptionCode::GATEWAY_TARGET_FAILED_TO_RESPOND);

fn impatient(units: &[u8]) -> Bench {
    Bench::new(LineSettings { retries: 0, ..settings(units) })
}

/// Reads unit 1 until it is off-line; returns when that was.
fn lose_unit_1(bench: &mut Bench) -> f64 {
    let mut attempts = 0;
    while bench.state(1) != UnitState::Offline {
        attempts += 1;
        assert!(attempts < 10);
        bench.read(attempts, Ask::of(1), 0, 1);
        // One that waits for the confirmation is not sent.
        assert!(matches!(bench.answer().1, NO_RESPONSE | NOT_SENT));
    }
    while bench.next_sent().is_some() {}
    bench.now()
}

#[test]
fn three_failures_alone_do_not_make_a_unit_off_line() {
    let mut bench = impatient(&[1]);
    for id in 0..3 {
        bench.read(id, Ask::of(1), 0, 1);
        bench.sent();
        bench.answer();
    }
    // Two guards and three time-outs: 2.5 s.
    assert!(bench.now() < 3_000.0, "{}", bench.now());
    assert_eq!(bench.state(1), UnitState::NeverSeen);
}

#[test]
fn three_seconds_alone_do_not_make_a_unit_off_line() {
    let mut bench = impatient(&[1]);
    for id in 0..2 {
        bench.to(f64::from(id) * 4_000.0);
        bench.read(id, Ask::of(1), 0, 1);
        bench.sent();
        bench.answer();
    }
    assert!(bench.now() > 4_000.0);
    assert_eq!(bench.state(1), UnitState::NeverSeen);
}

#[test]
fn requests_to_an_off_line_unit_are_refused_at_once() {
    let mut bench = impatient(&[1]);
    let lost = lose_unit_1(&mut bench);
    bench.read(99, Ask::of(1), 0, 1);
    assert_eq!(bench.timed_answer(), (99, lost, REFUSED_OFFLINE));
}

#[test]
fn waiting_requests_to_a_unit_that_goes_off_line_are_answered_at_once() {
    let mut bench = Bench::new(LineSettings {
        offline_after: metergate::line::OfflineAfter { failures: 1, time: std::time::Duration::ZERO },
        ..settings(&[1])
    });
    bench.read(1, Ask::of(1), 0, 1);
    bench.sent();
    bench.read(2, Ask::of(1).on(2, 2), 50, 1);
    let (id, at, answer) = bench.timed_answer();
    assert_eq!((id, answer), (2, NOT_SENT));
    assert_eq!(bench.timed_answer(), (1, at, NO_RESPONSE));
}

#[test]
fn a_probe_repeats_the_last_good_read_and_one_answer_brings_the_unit_back() {
    let mut bench = impatient(&[1]);
    bench.read(50, Ask::of(1), 40, 2);
    bench.serve(1);
    bench.answer();
    let lost = lose_unit_1(&mut bench);
    let probe = bench.sent();
    assert_eq!(probe.pdu, [3, 0, 40, 0, 2]);
    assert!(probe.at >= lost + 1_000.0, "{} {lost}", probe.at);
    bench.to(probe.at + 10.0);
    bench.frame(1, &[0x83, 4]);
    assert_eq!(bench.state(1), UnitState::Online);
    bench.read(99, Ask::of(1), 0, 1);
    bench.serve(1);
    assert_eq!(bench.answer(), (99, reply(&[3, 2, 1, 1])));
    assert_eq!(bench.state(1), UnitState::Online);
}

#[test]
fn a_probe_waits_four_times_the_usual_response_time() {
    let mut bench = impatient(&[1, 2]);
    // A response time of 5.8 ms: the shortest wait, 100 ms, applies.
    bench.read(50, Ask::of(1), 0, 1);
    bench.serve(1);
    bench.answer();
    lose_unit_1(&mut bench);
    let probe = bench.sent();
    bench.read(60, Ask::of(2), 0, 1);
    let next = bench.sent();
    assert_eq!(next.unit, 2);
    assert!((104.1..104.5).contains(&(next.at - probe.at)), "{}", next.at - probe.at);
}

#[test]
fn the_guard_after_a_probe_is_no_shorter_than_after_a_request() {
    let guard = std::time::Duration::from_secs(1);
    let mut bench = Bench::new(LineSettings { retries: 0, late_guard: guard, ..settings(&[1]) });
    bench.read(50, Ask::of(1), 0, 1);
    bench.serve(1);
    bench.answer();
    lose_unit_1(&mut bench);
    let (probe, next) = (bench.sent(), bench.sent());
    assert!(bench.now() < probe.at + 1_600.0);
    // The wire time, the response timeout though the probe itself waits for 100 ms only, the guard.
    assert!(next.at - probe.at > 1_504.0, "{}", next.at - probe.at);
}

#[test]
fn pauses_between_probes_double_up_to_the_share_of_failures() {
    let mut bench = impatient(&[1, 2]);
    bench.read(50, Ask::of(1), 0, 1);
    bench.serve(1);
    bench.answer();
    bench.read(51, Ask::of(2), 0, 1);
    bench.serve(1);
    bench.answer();
    lose_unit_1(&mut bench);
    let probes: Vec<f64> = (0..8).map(|_| bench.sent().at).collect();
    let pauses: Vec<f64> = probes.windows(2).map(|pair| pair[1] - pair[0]).collect();
    // A probe costs 104 ms; half of two percent is one in 10.4 s.
    for (pause, expected) in pauses.iter().zip([2_104.0, 4_104.0, 8_104.0, 10_521.0, 10_521.0]) {
        assert!((pause - expected).abs() < 10.0, "{pauses:?}");
    }
}

#[test]
fn while_no_unit_is_on_line_each_is_probed_every_second() {
    let mut bench = impatient(&[1]);
    lose_unit_1(&mut bench);
    let probes: Vec<f64> = (0..4).map(|_| bench.sent().at).collect();
    for pair in probes.windows(2) {
        assert!(pair[1] - pair[0] < 1_600.0, "{probes:?}");
    }
}

#[test]
fn dead_units_do_not_keep_the_line_from_one_not_seen_yet() {
    let mut bench = Bench::new(LineSettings {
        retries: 0,
        offline_after: metergate::line::OfflineAfter { failures: 1, time: std::time::Duration::ZERO },
        ..settings(&[1, 2, 3])
    });
    for unit in 1..=2 {
        bench.read(u32::from(unit), Ask::of(unit), 0, 1);
        bench.sent();
        bench.answer();
    }
    bench.to(10_000.0);
    bench.read(9, Ask { deadline: 3_000.0, ..Ask::of(3) }, 0, 1);
    while bench.next_sent().is_some() {}
    let asked = (0..60).any(|_| bench.sent().unit == 3);
    assert!(asked && bench.now() < 11_500.0, "{}", bench.now());
    let at = bench.now();
    bench.to(at + 10.0);
    bench.frame(3, &[3, 2, 0, 1]);
    assert_eq!(bench.answer(), (9, reply(&[3, 2, 0, 1])));
}

#[test]
fn a_read_that_is_too_long_for_a_unit_does_not_make_it_off_line() {
    let mut bench = impatient(&[1]);
    let mut id = 0;
    for round in 0..12 {
        id += 1;
        bench.read(id, Ask::of(1), 0, 120);
        // Refused after it was ignored twice with another answer in between.
        let answer = bench.answer().1;
        assert!(matches!(answer, NO_RESPONSE | REFUSED_OFFLINE), "{answer:?}");
        while bench.next_sent().is_some() {}
        // Others are answered, though not between any three of these.
        if round % 4 == 0 {
            id += 1;
            bench.read(id, Ask::of(1).on(2, 2), 0, 1);
            bench.serve(3);
            assert_eq!(bench.answer().1, reply(&[3, 2, 3, 3]));
        }
        assert_ne!(bench.state(1), UnitState::Offline, "round {round}");
    }
}

#[test]
fn a_probe_never_asks_what_its_own_echo_would_answer() {
    let mut bench = Bench::new(LineSettings { retries: 0, echo: Echo::Auto, ..settings(&[1]) });
    bench.ask(1, Ask::of(1), &[8, 0, 0, 0xA5, 0x37]);
    // First the adapter is checked for an echo, then the unit repeats what it was sent.
    bench.serve(3);
    bench.sent();
    bench.frame(1, &[8, 0, 0, 0xA5, 0x37]);
    assert_eq!(bench.answer().1, reply(&[8, 0, 0, 0xA5, 0x37]));
    lose_unit_1(&mut bench);
    assert_eq!(bench.sent().pdu[0], 3);
}

#[test]
fn a_unit_that_may_take_longer_than_the_others_may_be_later_too() {
    let mut slow = settings(&[1]);
    slow.retries = 0;
    slow.units[0].response_timeout = std::time::Duration::from_millis(900);
    let mut bench = Bench::new(slow);
    bench.read(1, Ask::of(1), 0, 1);
    let first = bench.sent().at;
    bench.answer();
    bench.read(2, Ask::of(1), 0, 1);
    let second = bench.sent().at;
    assert!(second - first >= 1_800.0, "asked again after {} ms", second - first);
}
