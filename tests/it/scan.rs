//! The results of a scan, and the resulting configuration.

use std::process::Command;
use std::time::Duration;

use metergate::config;
use metergate::line::{Framing, Parity, Protocol, UnitId};
use metergate::modbus::pdu::{ExceptionCode, FunctionCode, ReadRange};
use metergate::scan::found::profile_of;
use metergate::scan::plan::{questions, usual_framings};
use metergate::scan::{Findings, Found, FoundMeter, Plan, Question, Says, Scope, Through, Tries, report};

const USUAL: Framing = Framing { baud_rate: 19200, parity: Parity::None, stop_bits: 1 };
const OTHER: Framing = Framing { baud_rate: 9600, parity: Parity::Even, stop_bits: 1 };

fn unit(id: u8) -> UnitId {
    UnitId::new(id).unwrap()
}

fn leviton() -> FoundMeter {
    FoundMeter {
        answers_in: Some(Duration::from_micros(5_250)),
        says: Some("Leviton Series 4000R Power Meter".to_owned()),
        version: Some("V02.015".to_owned()),
        profile: Some("leviton-4000r"),
        late: false,
        misfits: false,
        answered: None,
    }
}

fn findings(units: Vec<(u8, Option<Framing>, Found)>) -> Findings {
    Findings { units: units.into_iter().map(|(id, framing, found)| (unit(id), framing, found)).collect() }
}

fn meters(ids: impl IntoIterator<Item = u8>) -> Vec<(u8, Option<Framing>, Found)> {
    ids.into_iter().map(|id| (id, Some(USUAL), Found::Meter(leviton()))).collect()
}

/// The units the configuration names, checked as `check` does it.
fn configured(findings: &Findings) -> config::Config {
    let text = report::words(findings, Scope::Named, Through::Line)
        + &report::configuration(findings, "/dev/ttyUSB0");
    let loaded = config::parse(&text, "scan.yaml").unwrap_or_else(|problems| panic!("{problems}\n{text}"));
    loaded.config
}

#[test]
fn damaged_every_time_is_an_address_used_twice_and_now_and_then_is_noise() {
    let judge =
        |intact, damaged, surplus| Tries { intact, damaged, surplus, ..Tries::default() }.judge(leviton());
    assert_eq!(judge(0, 0, 0), Found::Silent);
    assert_eq!(judge(3, 0, 0), Found::Meter(leviton()));
    assert_eq!(judge(3, 1, 0), Found::Noisy(leviton()));
    assert_eq!(judge(0, 4, 0), Found::Damaged);
    assert_eq!(judge(3, 0, 1), Found::Twice, "two intact answers to one request");
}

#[test]
fn answers_that_do_not_fit_are_no_second_meter() {
    let judge = |intact, malformed| Tries { intact, malformed, ..Tries::default() }.judge(leviton());
    assert_eq!(judge(0, 2), Found::Malformed);
    assert_eq!(
        judge(1, 1),
        Found::Meter(leviton()),
        "it can be read, whatever its identification looks like"
    );
    let mut units = meters([1]);
    units.push((2, Some(USUAL), Found::Malformed));
    let found = findings(units);
    let words = report::words(&found, Scope::Named, Through::Gateway);
    assert!(words.contains("#     2              its answers do not fit what was asked\n"), "{words}");
    assert!(words.contains("# 1 meter, 1 unit with answers that do not fit.\n"), "{words}");
    assert!(
        words.contains("`metergate read TARGET --unit 2 --raw 1`") && !words.contains("two meters"),
        "{words}"
    );
    assert_eq!(configured(&found).buses[0].line.units.len(), 1);
    assert_eq!(found.shared().next(), None);
}

#[test]
fn answers_that_break_off_are_not_two_meters() {
    let judge = |intact, damaged, truncated| {
        Tries { intact, damaged, truncated, ..Tries::default() }.judge(leviton())
    };
    assert_eq!(judge(0, 4, 4), Found::Truncated);
    assert_eq!(judge(0, 4, 2), Found::Damaged);
    assert_eq!(judge(1, 3, 3), Found::Noisy(leviton()));
    let mut units = meters([1]);
    units.push((2, Some(USUAL), Found::Truncated));
    let found = findings(units);
    let words = report::words(&found, Scope::Named, Through::Line);
    assert!(words.contains("#     2              its answers break off before their end\n"), "{words}");
    assert!(words.contains("# 1 meter, 1 unit with answers that break off.\n"), "{words}");
    assert!(words.contains("`byte_timeout: 250ms`") && !words.contains("two meters"), "{words}");
    assert_eq!(configured(&found).buses[0].line.units.len(), 1);
    assert_eq!(found.shared().next(), None);
}

#[test]
fn the_configuration_of_a_scan_is_one_that_check_accepts() {
    let mut units = meters((1..=5).chain([9]));
    units.push((12, Some(USUAL), Found::Meter(FoundMeter::default())));
    let config = configured(&findings(units));
    let bus = &config.buses[0];
    let ids: Vec<_> = bus.line.units.iter().map(|unit| unit.id.get()).collect();
    assert_eq!(ids, [1, 2, 3, 4, 5, 9, 12]);
    assert_eq!(bus.line.protocol, Protocol::Rtu(USUAL));
    assert_eq!(bus.profiles.len(), 6, "12 does not say what it is");
}

#[test]
fn neighbours_that_are_alike_stand_as_a_range() {
    let mut late = leviton();
    late.late = true;
    let mut units = meters([1, 2, 3, 5]);
    units.push((6, Some(USUAL), Found::Meter(late)));
    let text = report::configuration(&findings(units), "/dev/ttyUSB0");
    assert!(text.contains("- id: 1-3\n        profile: leviton-4000r\n      - id: 5\n"), "{text}");
    assert!(
        text.contains("- id: 6\n        profile: leviton-4000r\n        response_timeout: 1000ms\n"),
        "{text}"
    );
}

#[test]
fn a_unit_that_answers_another_length_is_written_with_loose_replies_and_without_a_profile() {
    let mut units = meters([1]);
    units.push((2, Some(USUAL), Found::Meter(FoundMeter { misfits: true, ..leviton() })));
    units.push((3, Some(USUAL), Found::Meter(FoundMeter { misfits: true, ..FoundMeter::default() })));
    let found = findings(units);
    let text = report::configuration(&found, "/dev/ttyUSB0");
    assert!(
        text.ends_with("- id: 1\n        profile: leviton-4000r\n      - id: 2-3\n        replies: loose\n"),
        "{text}"
    );
    let bus = &configured(&found).buses[0];
    assert_eq!(
        (bus.line.units.len(), bus.profiles.len()),
        (3, 1),
        "a profile beside loose replies is an error"
    );
    let words = report::words(&found, Scope::Named, Through::Line);
    assert!(words.contains("does not say what it is; answers another length than asked\n"), "{words}");
    assert!(!words.contains("late"), "{words}");
}

#[test]
fn what_cannot_work_stays_out_of_the_configuration_and_is_said() {
    let mut units = meters([1, 2, 3]);
    units.push((4, Some(USUAL), Found::Damaged));
    units.push((5, None, Found::Silent));
    units.push((6, Some(OTHER), Found::Meter(leviton())));
    let found = findings(units);
    let ids: Vec<_> = configured(&found).buses[0].line.units.iter().map(|unit| unit.id.get()).collect();
    assert_eq!(ids, [1, 2, 3]);
    let words = report::words(&found, Scope::Named, Through::Line);
    for said in [
        "#     4  19200 8N1                two meters seem to have this address: every answer came damaged",
        "#     6  9600 8E1         5.2 ms  Leviton Series 4000R Power Meter, V02.015",
        "# 4 meters, 1 address used twice, no answer from 5.",
        "# Unit 6 answers at 9600 8E1: set it to 19200 8N1 in its menu, as the others are.",
    ] {
        assert!(words.contains(said), "{said}\n{words}");
    }
}

#[test]
fn silence_of_all_addresses_lists_what_to_check_and_of_some_only_where_they_were_named() {
    let silent = findings(vec![(1, None, Found::Silent), (2, None, Found::Silent)]);
    assert!(report::words(&silent, Scope::All, Through::Line).contains("A and B swapped"));
    let behind_server = report::words(&silent, Scope::All, Through::SerialServer);
    assert!(
        behind_server.contains("serial server's own settings") && !behind_server.contains("--try-settings")
    );
    assert_eq!(report::configuration(&silent, "/dev/ttyUSB0"), "");
    let mut units = meters([1]);
    units.push((2, None, Found::Silent));
    assert!(!report::words(&findings(units.clone()), Scope::All, Through::Line).contains("no answer from"));
    assert!(report::words(&findings(units), Scope::Named, Through::Line).contains("no answer from 2"));
}

#[test]
fn a_device_with_an_odd_name_is_quoted() {
    let text = report::configuration(&findings(meters([1])), "/dev/serial/by-id/usb #1 \"x\"");
    let device = config::parse(&text, "scan.yaml").unwrap().config.buses[0].port.device.clone();
    assert_eq!(device.to_string(), "/dev/serial/by-id/usb #1 \"x\"");
}

#[test]
fn a_meter_is_known_by_either_of_its_identifications() {
    let says = |server_id: Option<(u8, &str)>, device: Option<(&str, &str)>| Says {
        server_id: server_id.map(|(id, text)| (id, text.to_owned())),
        device: device.map(|(vendor, product)| (vendor.to_owned(), product.to_owned())),
    };
    let known = |says: &Says| profile_of(says).map(|profile| profile.name.as_str());
    let leviton = Some("leviton-4000r");
    assert_eq!(known(&says(Some((247, "Leviton Series 4000R Power Meter, Full Data Set")), None)), leviton);
    assert_eq!(known(&says(None, Some(("Leviton", "Series 4000")))), leviton);
    assert_eq!(known(&says(Some((247, "Veris E51C2")), Some(("Veris Industries", "E51")))), None);
    assert_eq!(known(&Says::default()), None);
}

#[test]
fn the_time_announced_is_what_silence_costs() {
    let units: Vec<_> = (1..=247).map(unit).collect();
    let plan = Plan {
        framings: vec![USUAL],
        units,
        scope: Scope::All,
        through: Through::Line,
        timeout: Duration::from_millis(200),
        questions: questions(Scope::All, Through::Line)[..1].to_vec(),
    };
    // 8 characters of 10 bits, 3.5 of 11 bits, and the wait: 206.172 ms each.
    assert_eq!(plan.longest().as_millis(), 200 + 247 * 206_172 / 1000);
    let questions = [plan.questions.clone(), plan.questions.clone()].concat();
    let twice = Plan { questions, framings: vec![USUAL, USUAL], ..plan };
    assert_eq!(twice.longest().as_millis() / 100, (2 * (200 + 2 * 247 * 206_172 / 1000)) / 100);
}

#[test]
fn a_scan_of_all_addresses_stays_within_minutes_and_asks_only_the_likeliest_at_other_settings() {
    let units: Vec<_> = (1..=247).map(unit).collect();
    let asked = questions(Scope::All, Through::Line);
    assert!(asked.contains(&Question::Read(ReadRange {
        function: FunctionCode::READ_HOLDING_REGISTERS,
        start: 256,
        quantity: 2
    })));
    let timeout = Duration::from_millis(200);
    let plan = Plan {
        framings: vec![USUAL],
        units,
        scope: Scope::All,
        through: Through::Line,
        timeout,
        questions: asked,
    };
    assert!(plan.longest() < Duration::from_secs(7 * 60), "{:?}", plan.longest());
    assert_eq!(plan.questions_at(1).len(), 2);
    let tried = Plan { framings: usual_framings(), ..plan.clone() };
    assert!(tried.longest() < Duration::from_secs(40 * 60), "{:?}", tried.longest());
    let named = Plan { scope: Scope::Named, questions: questions(Scope::Named, Through::Line), ..plan };
    assert_eq!(named.questions.first(), named.questions.last(), "noise may have taken the first");
    assert_eq!(named.questions_at(1).len(), named.questions.len());
    assert_eq!(questions(Scope::All, Through::Gateway).len(), 2, "a gateway waits for each");
}

#[test]
fn the_usual_settings_begin_with_the_factory_setting_and_repeat_none() {
    let framings = usual_framings();
    assert_eq!(framings[0], USUAL);
    for (index, one) in framings.iter().enumerate() {
        assert!(!framings[..index].contains(one), "{one}");
    }
    assert!(framings.contains(&OTHER));
}

#[test]
fn behind_a_gateway_silence_is_not_blamed_on_baud_rates_and_wires_of_its_adapter() {
    let silent = findings(vec![(1, None, Found::Silent)]);
    let mut some = meters([1]);
    some.push((2, None, Found::Silent));
    for found in [silent, findings(some)] {
        let words = report::words(&found, Scope::Named, Through::Gateway);
        assert!(words.contains("gateway"), "{words}");
        for wire in ["baud", "A and B", "--try-settings", "120 ohms"] {
            assert!(!words.contains(wire), "{wire}: {words}");
        }
    }
}

#[test]
fn line_settings_are_wrong_usage_with_a_gateway_as_target() {
    for option in
        [&["--baud", "19200"][..], &["--parity", "none"], &["--stop-bits", "1"], &["--try-settings"]]
    {
        let program = Command::new(env!("CARGO_BIN_EXE_metergate"))
            .args(["scan", "127.0.0.1:1"])
            .args(option)
            .output()
            .unwrap();
        let said = String::from_utf8(program.stderr).unwrap();
        assert_eq!(program.status.code(), Some(2), "{option:?}: {said}");
        assert!(said.contains("are for a serial TARGET"), "{said}");
        assert_eq!(program.stdout, b"");
    }
}

#[test]
fn the_time_announced_for_a_gateway_is_that_of_its_patience() {
    // No server listens there, and the time is announced before that is detected.
    let announced = |more: &[&str]| {
        let arguments = ["scan", "127.0.0.1:1", "--units", "1-3"];
        let program =
            Command::new(env!("CARGO_BIN_EXE_metergate")).args(arguments).args(more).output().unwrap();
        String::from_utf8(program.stdout).unwrap()
    };
    // Three units, six questions each.
    let asked = u64::try_from(3 * questions(Scope::Named, Through::Gateway).len()).unwrap();
    let said = format!("It takes about {} s", asked * 5 + 1);
    assert!(announced(&[]).contains(&said), "{said}: {}", announced(&[]));
    let said = format!("It takes about {} min", (asked * 7 + 1).div_ceil(60));
    assert!(announced(&["--timeout", "7s"]).contains(&said), "{said}");
}

#[test]
fn a_unit_with_damaged_answers_is_tried_again_at_other_settings_and_not_at_the_same() {
    let mut found = Findings::of_none(&[unit(1), unit(2), unit(3)]);
    found.take(unit(1), USUAL, Found::Damaged);
    found.take(unit(2), USUAL, Found::Meter(leviton()));
    let asked = |found: &Findings, framing| found.to_ask(framing).map(UnitId::get).collect::<Vec<_>>();
    assert_eq!(asked(&found, USUAL), [3]);
    assert_eq!(asked(&found, OTHER), [1, 3]);
    // A result that is no better than before changes nothing.
    for again in [Found::Silent, Found::Damaged] {
        found.take(unit(1), OTHER, again);
        assert_eq!(found.units[0], (unit(1), Some(USUAL), Found::Damaged));
    }
    found.take(unit(1), OTHER, Found::Noisy(leviton()));
    assert_eq!(found.units[0], (unit(1), Some(OTHER), Found::Noisy(leviton())));
    assert_eq!(asked(&found, USUAL), [3]);
}

#[test]
fn a_gateway_that_is_busy_is_no_meter_that_answers() {
    assert!(Through::Gateway.says_it_itself(ExceptionCode::SERVER_DEVICE_BUSY));
    assert!(!Through::Line.says_it_itself(ExceptionCode::SERVER_DEVICE_BUSY), "there a meter says it");
    for code in [ExceptionCode::GATEWAY_PATH_UNAVAILABLE, ExceptionCode::GATEWAY_TARGET_FAILED_TO_RESPOND] {
        assert!(Through::Gateway.says_it_itself(code));
    }
    assert!(!Through::Gateway.says_it_itself(ExceptionCode::ILLEGAL_DATA_ADDRESS));
}
