//! Findings about a line and its units, rule by rule.

use std::time::{Duration, Instant};

use metergate::endpoint::ClientAddress;
use metergate::findings::{Kind, Severity};
use metergate::line::{
    Conflict, Echo, Framing, Incidents, LineCounters, Misfit, NeverAnswered, Parity, PollingView, PortState,
    Protocol, RequestSummary, Source, UnitCounters, UnitId, UnitState, UnitStatistics, UnitView, View,
};
use metergate::modbus::pdu::{ExceptionCode, FunctionCode, ReadRange};

use crate::line::rules::bench::Bench;
use crate::support::findings_case::{Case, SECOND, healthy, open};

#[test]
fn of_a_line_that_works_nothing_is_said() {
    assert_eq!(Case::new(|at| open(vec![healthy(1, at), healthy(2, at)])).findings(), []);
}

#[test]
fn a_closed_port_is_reported_with_its_reason_and_nothing_else() {
    let case = Case::new(|_| View { port: PortState::Closed, ..open(vec![dead(1), dead(2)]) });
    assert_eq!(case.kinds(), [(None, Kind::PortClosed)]);
    assert_eq!(case.findings()[0].what, "The port is closed: no such device");
}

fn dead(unit: u8) -> UnitView {
    UnitView {
        state: UnitState::Offline,
        counters: UnitCounters { transactions: 40, timeouts: 40, ..UnitCounters::default() },
        last_good: None,
        response_time: None,
        ..healthy(unit, Instant::now())
    }
}

#[test]
fn answers_that_break_off_at_their_first_byte_are_no_silence() {
    let case = Case::new(|_| Bench::with_answers_that_break_off().view);
    assert_eq!(case.kinds(), [(None, Kind::LineTruncated)], "{:?}", case.findings());
}

#[test]
fn a_silent_unit_is_distinguished_from_a_silent_line() {
    let one = Case::new(|at| open(vec![healthy(1, at), dead(2), healthy(3, at)]));
    assert_eq!(one.kinds(), [(Some(2), Kind::Silent)]);
    assert_eq!(one.findings()[0].severity, Severity::Fault);
    let all = Case::new(|_| open(vec![dead(1), dead(2), dead(3)]));
    assert_eq!(all.kinds(), [(None, Kind::LineSilent)]);
    assert_eq!(all.findings()[0].what, "None of the 3 units has answered since the start, at 19200 8N1");
    assert!(all.findings()[0].remedy.to_string().contains("(1) A and B swapped"));
}

#[test]
fn a_silent_only_unit_is_not_compared_with_others() {
    let never = Case::new(|_| open(vec![dead(1)]));
    assert_eq!(never.kinds(), [(None, Kind::LineSilent)]);
    assert_eq!(never.findings()[0].what, "The only unit has not answered since the start, at 19200 8N1");
    assert!(never.findings()[0].remedy.to_string().contains("(1) A and B swapped"));
    let gone = Case::new(|at| open(vec![UnitView { last_good: Some(at - 300 * SECOND), ..dead(1) }]));
    assert_eq!(gone.findings()[0].what, "The only unit has not answered for 5 min");
    // One lost request at a start is no fault of a line, and damaged answers are not silence.
    let asked = |timeouts, crc_errors| UnitView {
        state: UnitState::NeverSeen,
        counters: UnitCounters { transactions: 4, timeouts, crc_errors, ..UnitCounters::default() },
        ..dead(1)
    };
    assert_eq!(Case::new(|_| open(vec![asked(1, 0)])).kinds(), []);
    assert_eq!(Case::new(|_| open(vec![asked(2, 0)])).kinds(), [(None, Kind::LineSilent)]);
    assert_eq!(Case::new(|_| open(vec![asked(0, 4)])).kinds(), [(Some(1), Kind::DuplicateAddress)]);
}

#[test]
fn commands_of_remedies_run_as_they_stand() {
    let one = || Case::new(|at| open(vec![dead(1), healthy(2, at)]));
    let all = || Case::new(|_| open(vec![dead(1), dead(2)]));
    let says = |case: Case, command: &str| {
        let remedy = case.findings().remove(0).remedy.to_string();
        assert!(remedy.contains(&format!("`{command}`")), "{remedy}");
    };
    says(one(), "metergate scan /dev/ttyUSB0 --try-settings");
    says(all(), "metergate scan /dev/ttyUSB0 --try-settings");
    says(all(), "metergate scan /dev/ttyUSB0");
    let protocol = Protocol::Rtu(Framing { baud_rate: 9600, parity: Parity::Even, stop_bits: 2 });
    says(Case { protocol, ..all() }, "metergate scan /dev/ttyUSB0 --baud 9600 --parity even --stop-bits 2");
    says(Case { device: "/dev/the line's", ..all() }, r"metergate scan '/dev/the line'\''s'");
    let closed = || Case::new(|_| View { port: PortState::Closed, ..open(vec![dead(1)]) });
    says(closed(), "ls -l /dev/serial/by-id");
    says(Case { device: "tcp://10.0.0.7:4001", ..closed() }, "nc -vz 10.0.0.7 4001");
    says(Case { device: "tcp://[fd00::7]:4001", ..closed() }, "nc -vz fd00::7 4001");
    says(Case { device: "tcp://[fd00::7]:4001", ..all() }, "metergate scan 'tcp://[fd00::7]:4001'");
    let server = |case: Case| Case { device: "modbus-tcp://10.0.0.7:502", protocol: Protocol::Tcp, ..case };
    says(server(closed()), "nc -vz 10.0.0.7 502");
    says(server(all()), "metergate scan 10.0.0.7:502");
}

#[test]
fn no_remedy_of_a_modbus_tcp_server_is_one_of_a_wire() {
    let server = |case: Case| Case { device: "modbus-tcp://10.0.0.7:502", protocol: Protocol::Tcp, ..case };
    let was_well = |id, at| UnitView { last_good: Some(at - 60 * SECOND), ..dead(id) };
    let cases = [
        Case::new(|_| View { port: PortState::Closed, ..open(vec![dead(1)]) }),
        Case::new(|_| open(vec![dead(1), dead(2)])),
        Case::new(|at| open(vec![was_well(1, at), was_well(2, at)])),
        Case::new(|at| open(vec![dead(1), healthy(2, at)])),
        Case::new(|at| open(vec![was_well(1, at), healthy(2, at)])),
        Case::new(|_| View {
            counters: LineCounters { transactions: 1000, foreign_frames: 40, ..LineCounters::default() },
            ..open(vec![dead(1)])
        }),
    ];
    for case in cases {
        let found = server(case).findings();
        assert!(!found.is_empty());
        for finding in found {
            let told = format!("{}. {}", finding.what, finding.remedy);
            let of_a_wire =
                ["A and B", "baud", "parity", "termination", "adapter", "/dev/", "8N1", "same two"];
            assert!(!of_a_wire.iter().any(|word| told.contains(word)), "{told}");
        }
    }
}

#[test]
fn of_a_serial_server_no_adapter_is_spoken_of_and_no_settings_are_tried() {
    let device = "tcp://moxa:4001";
    let closed = Case::new(|_| View { port: PortState::Closed, ..open(vec![dead(1)]) });
    let never = Case::new(|_| open(vec![dead(1), dead(2)]));
    let gone = |unit, at| UnitView { last_good: Some(at - 300 * SECOND), ..dead(unit) };
    let once = Case::new(|at| open(vec![gone(1, at), gone(2, at)]));
    let one = Case::new(|at| open(vec![dead(1), healthy(2, at)]));
    for (case, said) in [
        (closed, "raw TCP server"),
        (never, "the serial server's own settings"),
        (once, "the serial server itself"),
        (one, "its own menu"),
    ] {
        let remedy = Case { device, ..case }.findings().remove(0).remedy.to_string();
        assert!(remedy.contains(said), "{remedy}");
        assert!(!remedy.contains("adapter") && !remedy.contains("--try-settings"), "{remedy}");
    }
}

#[test]
fn bytes_that_come_from_a_line_without_answers_are_named() {
    let noisy = |noise_bytes| {
        Case::new(|_| View {
            counters: LineCounters { transactions: 100, noise_bytes, ..LineCounters::default() },
            ..open(vec![dead(1), dead(2)])
        })
    };
    let found = noisy(700).findings().remove(0);
    assert_eq!(found.kind, Kind::LineSilent);
    let expected = "None of the 2 units has answered since the start, at 19200 8N1; 700 bytes that form no frame came, \
        over 100 requests";
    assert_eq!(found.what, expected);
    assert!(found.remedy.steps[0].contains("begins to listen too late"), "{}", found.remedy);
    // A byte for each request is a driver that is switched on.
    assert!(!noisy(100).findings()[0].what.contains("bytes"));
}

#[test]
fn faulty_characters_blame_the_rate_only_where_no_meter_answers() {
    let remedy = |case: Case| {
        let found = Case { faulty_characters: Some("3 framing errors"), ..case }.findings();
        let found = found.into_iter().find(|found| found.kind == Kind::FaultyCharacters);
        found.expect("a finding").remedy.to_string()
    };
    let some = remedy(Case::new(|at| open(vec![healthy(1, at), dead(2)])));
    assert!(some.starts_with("Meters answer, so the line's baud rate and parity are right"), "{some}");
    let none = remedy(Case::new(|_| open(vec![dead(1), dead(2)])));
    assert!(none.starts_with("Check baud rate and parity against the meters' menus"), "{none}");
}

#[test]
fn a_unit_of_the_line_that_answers_late_is_no_new_address_of_another() {
    let replaced = |other| {
        let mut unit = dead(2);
        unit.statistics.foreign = 6;
        unit.incidents.stand_in = UnitId::new(other);
        unit
    };
    let case = |other| Case::new(|at| open(vec![healthy(1, at), replaced(other)]));
    assert_eq!(case(9).kinds(), [(Some(2), Kind::AddressChanged)]);
    assert!(case(9).findings()[0].what.ends_with("its address seems to have been changed to 9"));
    assert_eq!(case(1).kinds(), [(Some(2), Kind::Silent)]);
}

#[test]
fn the_remedy_mentions_other_meters_only_if_one_answers() {
    let unasked = || UnitView { state: UnitState::NeverSeen, counters: UnitCounters::default(), ..dead(2) };
    let gone = |at| UnitView { last_good: Some(at - 300 * SECOND), ..dead(3) };
    let case = Case::new(|at| open(vec![dead(1), unasked(), gone(at)]));
    assert_eq!(case.kinds(), [(Some(1), Kind::Silent), (Some(3), Kind::Silent)]);
    assert!(
        case.findings().iter().all(|one| !one.remedy.to_string().contains("Other meters")),
        "{:?}",
        case.findings()
    );
    let case = Case::new(|at| open(vec![dead(1), healthy(2, at), gone(at)]));
    assert_eq!(case.kinds(), [(Some(1), Kind::Silent), (Some(3), Kind::Silent)]);
    assert!(
        case.findings().iter().all(|one| one.remedy.to_string().starts_with("Other meters")),
        "{:?}",
        case.findings()
    );
}

#[test]
fn a_line_that_was_cut_is_distinguished_from_one_that_never_worked() {
    let gone = |unit, at| UnitView { last_good: Some(at - 7200 * SECOND), ..dead(unit) };
    let case = Case::new(|at| open(vec![gone(1, at), gone(2, at)]));
    assert_eq!(case.findings()[0].what, "None of the 2 units has answered for 2 h");
    assert!(
        case.findings()[0]
            .remedy
            .to_string()
            .contains("(1) the cable between the adapter and the first meter")
    );
    // Also if that was a moment ago: the finding does not wait until it is long past.
    let just_gone = |unit, at| UnitView { last_good: Some(at - 5 * SECOND), ..dead(unit) };
    let case = Case::new(|at| open(vec![just_gone(1, at), just_gone(2, at)]));
    assert_eq!(case.kinds(), [(None, Kind::LineSilent)]);
}

#[test]
fn a_unit_that_stopped_answering_is_reported_with_the_time() {
    let gone = |at| UnitView { last_good: Some(at - 300 * SECOND), ..dead(2) };
    let case = Case::new(|at| open(vec![healthy(1, at), gone(at)]));
    assert_eq!(case.findings()[0].what, "It has not answered for 5 min");
}

#[test]
fn one_answer_lost_in_a_hundred_is_no_finding_and_three_are() {
    let losing = |timeouts, at| UnitView {
        counters: UnitCounters { transactions: 100, timeouts, ..UnitCounters::default() },
        ..healthy(1, at)
    };
    assert_eq!(Case::new(|at| open(vec![losing(1, at)])).kinds(), []);
    let case = Case::new(|at| open(vec![losing(3, at)]));
    assert_eq!(case.kinds(), [(Some(1), Kind::Lossy)]);
    assert_eq!(case.findings()[0].what, "3 of 100 requests got no answer (3 %)");
}

#[test]
fn what_happened_before_the_span_is_not_held_against_a_unit() {
    let spoilt = |at| UnitView {
        counters: UnitCounters { transactions: 200, timeouts: 50, crc_errors: 60, ..UnitCounters::default() },
        ..healthy(1, at)
    };
    let mut case = Case::new(|at| open(vec![spoilt(at)]));
    assert_ne!(case.kinds(), []);
    case.before = open(vec![UnitView {
        counters: UnitCounters { transactions: 100, timeouts: 50, crc_errors: 60, ..UnitCounters::default() },
        ..healthy(1, case.at)
    }]);
    assert_eq!(case.kinds(), []);
}

#[test]
fn late_answers_come_with_the_setting_that_waits_for_them() {
    let late = |took: &[u64], at| {
        let mut late = healthy(1, at);
        late.counters = UnitCounters { transactions: 100, timeouts: 4, late_answers: 4, ..late.counters };
        took.iter().for_each(|took| late.incidents.late.note(Duration::from_millis(*took)));
        late
    };
    let found = |took: &[u64]| {
        let case = Case::new(|at| open(vec![late(took, at)]));
        assert_eq!(case.kinds(), [(Some(1), Kind::Late)], "and they are not called lost as well");
        let found = case.findings().remove(0);
        (found.what, found.remedy.steps[0].clone())
    };
    let (what, step) = found(&[4_800, 610, 805, 700, 640]);
    let expected = "It answered 4 times after the response timeout of 500 ms; the slowest took 805 ms";
    assert_eq!(what, expected, "those before the last four belong to an earlier trouble");
    assert_eq!(step, "Set `response_timeout: 1100ms` for this unit");
    assert_eq!(found(&[4_300]).1, "Set `response_timeout: 5500ms` for this unit");
    // Where no time is known.
    assert_eq!(found(&[]).1, "Set `response_timeout: 1000ms` for this unit");
    // An answer to a probe, which waits for a shorter time, came within the timeout.
    let probed = Case::new(|at| open(vec![late(&[300, 200, 300, 250], at)]));
    assert!(!probed.kinds().contains(&(Some(1), Kind::Late)), "{:?}", probed.kinds());
}

#[test]
fn a_unit_that_takes_most_of_its_time_is_slow() {
    let takes =
        |millis, at| UnitView { response_time: Some(Duration::from_millis(millis)), ..healthy(1, at) };
    assert_eq!(Case::new(|at| open(vec![takes(299, at)])).kinds(), []);
    let slow = Case::new(|at| open(vec![takes(320, at)]));
    assert_eq!(slow.kinds(), [(Some(1), Kind::Slow)]);
    assert_eq!(slow.findings()[0].what, "It takes 320 ms to answer; the response timeout is 500 ms");
    assert_eq!(slow.findings()[0].remedy.steps[0], "Set `response_timeout: 700ms` for this unit");
    assert_eq!(Case::new(|at| open(vec![takes(300, at)])).kinds(), [(Some(1), Kind::Slow)]);
}

#[test]
fn noise_spoils_some_answers_and_a_second_meter_of_the_address_nearly_all() {
    let spoilt = |crc_errors, at| UnitView {
        counters: UnitCounters { transactions: 100, crc_errors, ..UnitCounters::default() },
        ..healthy(7, at)
    };
    assert_eq!(Case::new(|at| open(vec![spoilt(1, at)])).kinds(), []);
    assert_eq!(Case::new(|at| open(vec![spoilt(5, at)])).kinds(), [(Some(7), Kind::Garbled)]);
    assert_eq!(Case::new(|at| open(vec![spoilt(59, at)])).kinds(), [(Some(7), Kind::Garbled)]);
    assert_eq!(Case::new(|at| open(vec![spoilt(60, at)])).kinds(), [(Some(7), Kind::DuplicateAddress)]);
}

/// A unit whose answers came damaged, and of these broke off.
fn cut(unit: u8, crc_errors: u64, truncated: u64, state: UnitState, at: Instant) -> UnitView {
    let mut cut = UnitView { state, last_good: None, ..healthy(unit, at) };
    cut.counters = UnitCounters { transactions: 20, crc_errors, ..UnitCounters::default() };
    cut.statistics.truncated = truncated;
    cut
}

#[test]
fn a_unit_whose_answers_break_off_is_neither_silent_nor_two_meters() {
    let one = Case::new(|at| open(vec![cut(7, 20, 19, UnitState::Offline, at)]));
    assert_eq!(one.kinds(), [(Some(7), Kind::Truncated)]);
    let found = &one.findings()[0];
    assert_eq!(found.severity, Severity::Fault);
    assert_eq!(found.what, "It answers, but 19 of 20 answers broke off before their end");
    assert!(found.remedy.context.contains("power, address, baud rate and parity are right"));
    assert!(found.remedy.steps[0].contains("`byte_timeout`"), "{}", found.remedy);
    let some = Case::new(|at| open(vec![cut(7, 5, 4, UnitState::Online, at), healthy(8, at)]));
    assert_eq!(some.kinds(), [(Some(7), Kind::Truncated)]);
    assert_eq!(some.findings()[0].severity, Severity::Warning);
    let few = Case::new(|at| open(vec![cut(7, 20, 10, UnitState::Offline, at)]));
    assert_eq!(few.kinds(), [(Some(7), Kind::DuplicateAddress)], "two that answer at once cut some off");
}

#[test]
fn a_line_whose_answers_all_break_off_is_not_silent() {
    let all = |is_silent| {
        Case::new(|at| View {
            is_silent,
            ..open((1..=3).map(|unit| cut(unit, 6, 6, UnitState::NeverSeen, at)).collect())
        })
    };
    for case in [all(false), all(true)] {
        assert_eq!(case.kinds(), [(None, Kind::LineTruncated)]);
        let what = "18 of 60 answers of 3 meters broke off before their end";
        assert_eq!((&*case.findings()[0].what, case.findings()[0].severity), (what, Severity::Warning));
    }
    // What came damaged before the cable broke.
    let broken = Case::new(|_| {
        let unit = |unit| UnitView {
            counters: UnitCounters {
                transactions: 40,
                timeouts: 36,
                crc_errors: 4,
                ..UnitCounters::default()
            },
            ..dead(unit)
        };
        View { is_silent: true, ..open((1..=3).map(unit).collect()) }
    });
    assert!(broken.kinds().contains(&(None, Kind::LineSilent)), "{:?}", broken.kinds());
}

#[test]
fn an_echo_set_wrongly_is_named_and_no_other_client_or_device_is_suspected() {
    let case = |echo, seen| Case {
        echo,
        ..Case::new(|at| View {
            echo: Some(seen),
            counters: LineCounters { transactions: 1000, collisions: 2, ..LineCounters::default() },
            ..open(vec![healthy(1, at)])
        })
    };
    let on = case(Echo::On, false);
    assert_eq!(on.kinds(), [(None, Kind::EchoSetting)]);
    assert!(on.findings()[0].what.contains("`echo: on` is set"), "{}", on.findings()[0].what);
    let off =
        Case { echo: Echo::Off, ..Case::new(|at| View { echo: Some(true), ..open(vec![healthy(1, at)]) }) };
    assert_eq!(off.kinds(), [(None, Kind::EchoSetting)]);
    assert!(off.findings()[0].what.contains("`echo: off` is set"), "{}", off.findings()[0].what);
    assert!(off.findings()[0].remedy.to_string().contains("`echo: auto`"));
    assert_eq!(case(Echo::On, true).kinds(), [(None, Kind::Collision), (None, Kind::Echo)]);
    assert_eq!(case(Echo::Off, false).kinds(), []);
}

#[test]
fn noise_that_swallows_requests_is_counted_with_what_it_damages() {
    let spoilt = |timeouts, unreadable, at| {
        let mut unit = healthy(8, at);
        unit.counters = UnitCounters { transactions: 55, crc_errors: 5, timeouts, ..UnitCounters::default() };
        unit.statistics.unreadable = unreadable;
        unit
    };
    let said = |timeouts, unreadable| {
        let case = Case::new(|at| open(vec![spoilt(timeouts, unreadable, at)]));
        assert_eq!(case.kinds(), [(Some(8), Kind::Garbled)]);
        case.findings()[0].what.clone()
    };
    assert_eq!(said(14, 0), "Of 55 requests 5 were answered damaged and 14 not at all (34 %)");
    assert_eq!(said(14, 2), "Of 55 requests 7 were answered damaged and 12 not at all (34 %)");
    assert_eq!(said(2, 2), "7 of 55 answers came damaged (12 %)");
}

#[test]
fn noise_is_found_by_all_it_loses_though_neither_half_would_do() {
    let losing = |crc_errors, timeouts, late_answers, at| UnitView {
        counters: UnitCounters {
            transactions: 200,
            crc_errors,
            timeouts,
            late_answers,
            ..UnitCounters::default()
        },
        ..healthy(8, at)
    };
    let case = |damaged, silent, late| Case::new(|at| open(vec![losing(damaged, silent, late, at)]));
    assert_eq!(case(3, 0, 0).kinds(), []);
    assert_eq!(case(0, 3, 0).kinds(), []);
    assert_eq!(case(2, 3, 0).kinds(), [], "fewer than three that came damaged are no sign of noise");
    assert_eq!(case(3, 3, 0).kinds(), [(Some(8), Kind::Garbled)]);
    assert_eq!(
        case(3, 3, 0).findings()[0].what,
        "Of 200 requests 3 were answered damaged and 3 not at all (3 %)"
    );
    assert_eq!(
        case(3, 3, 3).kinds(),
        [(Some(8), Kind::Late)],
        "an answer that came late is not lost to noise"
    );
}

#[test]
fn a_meter_that_was_garbled_and_then_died_is_reported_silent() {
    let spoilt = |state, last_good| UnitView {
        state,
        last_good,
        counters: UnitCounters { transactions: 100, crc_errors: 10, timeouts: 4, ..UnitCounters::default() },
        ..healthy(2, Instant::now())
    };
    let case = |state| Case::new(|at| open(vec![healthy(1, at), spoilt(state, Some(at - 180 * SECOND))]));
    let gone = case(UnitState::Offline);
    assert_eq!(gone.kinds(), [(Some(2), Kind::Silent)], "what was wrong before it died is over");
    assert_eq!(gone.findings()[0].severity, Severity::Fault);
    assert_eq!(gone.findings()[0].what, "It has not answered for 3 min");
    assert_eq!(
        case(UnitState::Online).kinds(),
        [(Some(2), Kind::Garbled)],
        "what it loses is not said twice"
    );
}

#[test]
fn a_full_line_is_reported_with_what_waits_and_what_fills_it() {
    let busy = 19 * SECOND;
    let full = |waiting, failures, state, at: Instant| {
        let mut view = open(vec![UnitView { state, ..healthy(1, at) }, UnitView { state, ..healthy(2, at) }]);
        view.window.note(Duration::ZERO, at - 20 * SECOND);
        view.counters.busy = busy;
        view.statistics.failures = failures;
        view.waiting = waiting;
        view
    };
    let said = |waiting, failures| {
        let case = Case::new(|at| full(waiting, failures, UnitState::Online, at));
        assert_eq!(case.kinds(), [(None, Kind::LineFull)]);
        case.findings().remove(0)
    };
    assert_eq!(said(0, SECOND).what, "The line was in use 95 % of the last ten seconds");
    assert_eq!(said(1, SECOND).what, "The line was in use 95 % of the last ten seconds; 1 request waits");
    assert_eq!(said(7, SECOND).what, "The line was in use 95 % of the last ten seconds; 7 requests wait");
    assert!(said(7, SECOND).remedy.to_string().contains("`max_age: 5s`"));
    assert!(said(7, busy).remedy.to_string().contains("do not answer"), "{}", said(7, busy).remedy);
    assert!(
        said(7, busy).remedy.to_string().contains("in the last ten minutes"),
        "another span than that of the finding"
    );
    let dead = Case::new(|at| full(0, busy, UnitState::Offline, at));
    assert_eq!(dead.kinds(), [(None, Kind::LineSilent)], "that it is full of asking follows from it");
}

#[test]
fn a_line_is_not_called_full_before_a_whole_window_was_seen() {
    let busy_for = |time: Duration| {
        Case::new(|at| {
            let mut view = open(vec![healthy(1, at)]);
            view.window.note(Duration::ZERO, at - time);
            view.counters.busy = time;
            assert_eq!(view.utilisation(at), 10_000, "it is shown all the same");
            view
        })
    };
    assert_eq!(busy_for(Duration::from_millis(9_999)).kinds(), []);
    assert_eq!(busy_for(10 * SECOND).kinds(), [(None, Kind::LineFull)]);
    // Once there was one, the stretch that runs is as young as it may be.
    let second = Case::new(|at| {
        let mut view = open(vec![healthy(1, at)]);
        view.window.note(Duration::ZERO, at - 11 * SECOND);
        view.window.note(10 * SECOND, at - SECOND);
        view.counters.busy = 10 * SECOND;
        view
    });
    assert_eq!(second.kinds(), [(None, Kind::LineFull)]);
}

#[test]
fn answers_that_are_not_even_frames_are_damaged_ones() {
    let unreadable = |at| {
        let mut unit = UnitView { state: UnitState::Offline, last_good: None, ..healthy(7, at) };
        unit.counters = UnitCounters { transactions: 100, timeouts: 100, ..UnitCounters::default() };
        unit.statistics.unreadable = 90;
        unit
    };
    let case = Case::new(|at| View {
        counters: LineCounters { noise_bytes: 900, transactions: 200, ..LineCounters::default() },
        ..open(vec![healthy(6, at), unreadable(at)])
    });
    assert_eq!(case.kinds(), [(Some(7), Kind::Unreadable)]);
    assert_eq!(case.findings()[0].what, "It answers, but 90 of 100 answers formed no frame");
    assert!(case.findings()[0].remedy.context.contains("so it has power, unless"));
    let advised = |case: &Case| case.findings()[0].remedy.steps[0].contains("--try-settings");
    assert!(advised(&case));
    assert!(
        !advised(&Case { device: "tcp://10.0.0.7:4001", ..case }),
        "no command sets a serial server's rate"
    );
}

#[test]
fn two_answers_to_one_request_are_two_meters_of_one_address() {
    let twice = |at| UnitView {
        counters: UnitCounters { transactions: 100, unexpected: 95, ..UnitCounters::default() },
        ..healthy(7, at)
    };
    let case = Case::new(|at| open(vec![twice(at)]));
    assert_eq!(case.kinds(), [(Some(7), Kind::DuplicateAddress)]);
    assert_eq!(
        case.findings()[0].what,
        "Two meters seem to have the address 7: 95 answers came without a request"
    );
}

#[test]
fn a_unit_that_refuses_comes_with_who_to_ask() {
    let refusing = |at| UnitView {
        counters: UnitCounters { transactions: 100, exceptions: 50, ..UnitCounters::default() },
        last_exception: Some(ExceptionCode::ILLEGAL_DATA_ADDRESS),
        ..healthy(3, at)
    };
    let case = Case::new(|at| open(vec![refusing(at)]));
    assert_eq!(case.kinds(), [(Some(3), Kind::Refusing)]);
    let remedy = case.findings()[0].remedy.to_string();
    assert!(remedy.contains("`metergate trace --outcome exception`"), "{remedy}");
    assert!(!remedy.contains("--unit"), "clients may know unit 3 by another number: {remedy}");
}

#[test]
fn a_unit_that_is_busy_is_not_sent_to_its_display() {
    let busy = |at| UnitView {
        counters: UnitCounters { transactions: 100, exceptions: 50, ..UnitCounters::default() },
        last_exception: Some(ExceptionCode::SERVER_DEVICE_BUSY),
        ..healthy(3, at)
    };
    let found = Case::new(|at| open(vec![busy(at)])).findings().remove(0);
    assert!(found.remedy.steps[0].contains("it is busy and may be asked again later"), "{}", found.remedy);
}

#[test]
fn reads_that_a_unit_ignores_are_named_while_they_are_tried_and_explain_what_is_lost() {
    let function = FunctionCode::READ_HOLDING_REGISTERS;
    let range = ReadRange { function, start: 60, quantity: 2 };
    let last = RequestSummary { function, range: Some(range), client: None };
    let unit = |at: Instant, count, lost: u64, tried_ago: Duration| {
        let mut statistics = UnitStatistics::default();
        statistics.never_answered = 20;
        let counters = UnitCounters { transactions: 100, timeouts: 40 + lost, ..UnitCounters::default() };
        let never = NeverAnswered { count, last: last.clone(), last_failed: at - tried_ago };
        UnitView { counters, statistics, never_answered: Some(never), ..healthy(3, at) }
    };
    let what = |case: &Case| case.findings()[0].what.clone();
    let one = Case::new(|at| open(vec![unit(at, 1, 0, SECOND)]));
    assert_eq!(one.kinds(), [(Some(3), Kind::Ignoring)], "two attempts each are all that is lost");
    let expected = "It does not answer addresses 60 to 61 (function 0x03), while it answers other reads";
    assert_eq!(what(&one), expected);
    let more = Case::new(|at| open(vec![unit(at, 3, 0, SECOND)]));
    assert!(what(&more).contains(" and 2 other reads, "), "{}", what(&more));
    let lossy = Case::new(|at| open(vec![unit(at, 1, 30, SECOND)]));
    assert_eq!(lossy.kinds(), [(Some(3), Kind::Lossy), (Some(3), Kind::Ignoring)]);
    assert_eq!(what(&lossy), "30 of 100 requests got no answer (30 %)");
    let given_up = Case::new(|at| open(vec![unit(at, 1, 0, 601 * SECOND)]));
    assert_eq!(given_up.kinds(), [], "no client wants it any more");
    let dead = |at| UnitView { state: UnitState::Offline, ..unit(at, 1, 0, SECOND) };
    let dead = Case::new(|at| open(vec![dead(at), healthy(4, at)]));
    assert!(!dead.kinds().contains(&(Some(3), Kind::Ignoring)), "{:?}", dead.kinds());
}

#[test]
fn findings_of_the_line_come_before_those_of_its_units() {
    let case = Case::new(|at| View {
        echo: Some(true),
        counters: LineCounters {
            transactions: 1000,
            noise_bytes: 200,
            foreign_frames: 1,
            collisions: 2,
            ..LineCounters::default()
        },
        polling: PollingView { slowdown: 1.5, ..PollingView::default() },
        ..open(vec![healthy(1, at), dead(2)])
    });
    let kinds = [
        (None, Kind::Noise),
        (None, Kind::Collision),
        (None, Kind::ForeignFrames),
        (None, Kind::Echo),
        (Some(2), Kind::Silent),
    ];
    assert_eq!(case.kinds(), kinds);
}

#[test]
fn an_occupied_line_is_said() {
    let case = Case::new(|at| View { port: PortState::Occupied, ..open(vec![healthy(1, at)]) });
    assert_eq!(case.kinds(), [(None, Kind::LineOccupied)]);
}

#[test]
fn a_full_table_of_learned_ranges_and_conflicting_ranges_are_reported_with_their_remedy() {
    let range = |start| ReadRange { function: FunctionCode::READ_HOLDING_REGISTERS, start, quantity: 100 };
    let source = Source { address: ClientAddress::Ip([10, 0, 0, 5].into()), connection: 1 };
    let conflict = Conflict {
        unit: UnitId::new(1).unwrap(),
        ranges: [range(0), range(50)],
        times: 11,
        clients: vec![source.clone(), source],
    };
    let polling = || PollingView {
        is_learning_full: true,
        conflicts: vec![conflict.clone()],
        ..PollingView::default()
    };
    let case = Case::new(|at| View { polling: polling(), ..open(vec![healthy(1, at)]) });
    assert_eq!(case.kinds(), [(None, Kind::LearnLimit), (None, Kind::RangesUndone)]);
    let what: Vec<String> = case.findings().iter().map(|finding| finding.what.clone()).collect();
    assert!(what[0].contains("256"), "{what:?}");
    let undone = "Unit 1: the ranges 0 to 99 (function 0x03) and 50 to 149 (function 0x03) overlap, so \
        reading one invalidates the other, clients 10.0.0.5";
    assert_eq!(what[1], undone);
}

#[test]
fn another_client_on_the_line_is_reported() {
    let case = Case::new(|at| View {
        counters: LineCounters { transactions: 1000, foreign_requests: 3, ..LineCounters::default() },
        ..open(vec![healthy(1, at)])
    });
    assert_eq!(case.kinds(), [(None, Kind::ForeignRequests)]);
}

fn asked(function: FunctionCode, quantity: u16) -> RequestSummary {
    let range = Some(ReadRange { function, start: 38, quantity });
    RequestSummary { function, range, client: Some(ClientAddress::Ip([10, 0, 0, 7].into())) }
}

#[test]
fn a_meter_whose_answers_do_not_fit_is_neither_silent_nor_unwired() {
    let function = FunctionCode::READ_INPUT_REGISTERS;
    let length = Misfit::Length { function, answered: 4, asked: Some(2) };
    let other = Misfit::Function { answered: FunctionCode::READ_HOLDING_REGISTERS, asked: function };
    for (misfit, state, said) in [
        (length, UnitState::Online, "It answered 4 bytes where 2 were asked (function 0x04), 5 times"),
        (other, UnitState::Offline, "It answered function 0x03 where 0x04 was asked, 5 times"),
    ] {
        let odd = || {
            let mut unit = UnitView { state, ..dead(1) };
            unit.statistics.misfits = 5;
            unit.incidents =
                Incidents { misfit: Some((misfit, Some(asked(function, 1)))), ..Incidents::default() };
            unit
        };
        for case in [Case::new(|_| open(vec![odd()])), Case::new(|at| open(vec![odd(), healthy(2, at)]))] {
            assert_eq!(case.kinds(), [(Some(1), Kind::Misfit)]);
            let finding = case.findings().remove(0);
            assert!(finding.what.starts_with(said), "{}", finding.what);
            let whose = "request: address 38 (function 0x04), client 10.0.0.7";
            assert!(finding.what.ends_with(whose), "{}", finding.what);
        }
    }
}

#[test]
fn a_refusal_comes_with_the_client_and_the_registers() {
    let case = Case::new(|at| {
        let mut unit = healthy(3, at);
        unit.counters.exceptions = 50;
        unit.last_exception = Some(ExceptionCode::ILLEGAL_DATA_ADDRESS);
        let asked = asked(FunctionCode::READ_HOLDING_REGISTERS, 4);
        unit.incidents.refusal = Some((ExceptionCode::ILLEGAL_DATA_ADDRESS, asked));
        open(vec![unit])
    });
    let what = case.findings().remove(0).what;
    assert!(what.ends_with("request: addresses 38 to 41 (function 0x03), client 10.0.0.7"), "{what}");
}

#[test]
fn one_cause_makes_one_finding() {
    let noisy = |unit, at| {
        let mut unit = healthy(unit, at);
        unit.counters.crc_errors = 10;
        unit
    };
    let line = |counters: LineCounters, units| View {
        counters: LineCounters { transactions: 1000, noise_bytes: 500, ..counters },
        ..open(units)
    };
    let calm = LineCounters::default();
    let one = Case::new(|at| line(calm, vec![noisy(1, at), healthy(2, at), healthy(3, at)]));
    assert_eq!(one.kinds(), [(Some(1), Kind::Garbled)], "a noisy meter is no noisy line");
    let all = Case::new(|at| line(calm, vec![noisy(1, at), noisy(2, at), noisy(3, at)]));
    assert_eq!(all.kinds(), [(None, Kind::Noise)], "and a noisy line is not three noisy meters");
    let master = LineCounters { foreign_requests: 4, foreign_frames: 9, collisions: 2, ..calm };
    let two = Case::new(|at| line(master, vec![noisy(1, at), healthy(2, at), healthy(3, at)]));
    assert_eq!(two.kinds(), [(None, Kind::ForeignRequests)], "another master spoils the rest");
    let slow = |unit: UnitView, at| View {
        polling: PollingView { slowdown: 3.0, ..PollingView::default() },
        ..open(vec![unit, healthy(2, at)])
    };
    assert_eq!(Case::new(|at| slow(healthy(1, at), at)).kinds(), [(None, Kind::PollingSlow)]);
    assert_eq!(Case::new(|at| slow(dead(1), at)).kinds(), [(Some(1), Kind::Silent)]);
}
