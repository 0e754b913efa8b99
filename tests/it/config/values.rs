//! What a good configuration file says: values, defaults, inheritance, and the way back into YAML.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use metergate::config::section::{Bus, File, Listener, Unit};
use metergate::config::value::UnitIds;
use metergate::config::{Config, LogLevel, load, parse};
use metergate::line::{Echo, Framing, OfflineAfter, Parity, Protocol, UnitId};
use metergate::modbus::AduFraming;
use metergate::serial::Direction;
use metergate::server::{Broadcast, Writes};
use proptest::prelude::*;

const MINIMAL: &str = include_str!("../../../config/minimal.yaml");
const FULL: &str = include_str!("../../../config/metergate.yaml");

/// A file with two buses and two listeners in which nothing has its default.
const CUSTOM: &str = r#"
site: 17
listeners:
  - address: "[::1]:1502"
    buses: [riser-b, "on"]
    max_age: 1.5s
    writes: allow
    broadcast: acknowledge
    request_deadline: 10s
    max_in_flight: 4
    max_connections: 32
    max_connections_per_ip: 8
    idle_timeout: 1h
    allow: [10.0.0.0/8, 192.168.1.20, "fd00::/8"]
  - {address: 127.0.0.1:0, buses: [riser-b], framing: rtu, answer_within: 250ms}
buses:
  - name: on
    device: /dev/ttyS0
    units: [{id: 1, as: 100}]
  - name: riser-b
    device: /dev/serial/by-id/usb-B
    baud_rate: 9600
    parity: even
    stop_bits: 1
    direction: none
    echo: off
    response_timeout: 300ms
    request_gap: 5ms
    turnaround_delay: 200ms
    late_guard: 1s
    retries: 0
    queue_limit: 10
    poll_share: 12.5%
    learn_limit: 0
    failure_share: 0.7%
    offline_after: {time: 10s}
    wire_order: yes
    probe_max: 5m
    units:
      - id: 20
        as: 1
        name: no
        group: yes
        profile: leviton-4000r
        poll: 90s
        poll_slow: 1h
        blocks: [floats, integers]
        response_timeout: 2s
      - id: "2 - 8"
        as: 11
        name: 007
        request_gap: 0.5ms
diagnostics_unit: 255
log_level: trace
status: off
"#;

fn good(text: &str) -> Config {
    parse(text, "m.yaml").unwrap_or_else(|problems| panic!("{problems}")).config
}

#[test]
fn the_minimal_file_has_the_defaults_of_the_contract() {
    let config = good(MINIMAL);
    let settings = &config.listeners[0].settings;
    assert_eq!(settings.at.tcp().unwrap(), SocketAddr::from(([0, 0, 0, 0], 502)));
    assert_eq!(config.listeners[0].buses, [0]);
    assert_eq!(settings.max_age, Duration::ZERO);
    assert_eq!(settings.writes, Writes::Deny);
    assert_eq!(settings.broadcast, Broadcast::Refuse);
    assert_eq!(settings.request_deadline, Duration::from_secs(3));
    assert_eq!(settings.max_in_flight, 16);
    assert_eq!((settings.framing, settings.answer_within), (AduFraming::Tcp, None));
    assert_eq!((settings.max_connections, settings.max_connections_per_ip), (256, 256));
    assert_eq!(settings.idle_timeout, Duration::from_secs(600));
    assert_eq!(settings.allow, []);
    let (port, line) = (&config.buses[0].port, &config.buses[0].line);
    let framing = Framing { baud_rate: 19_200, parity: Parity::None, stop_bits: 1 };
    assert_eq!((port.framing, line.protocol), (framing, Protocol::Rtu(framing)));
    assert_eq!((port.direction, line.echo), (Direction::Auto, Echo::Auto));
    assert_eq!(line.response_timeout, Duration::from_millis(500));
    assert_eq!(line.request_gap, Duration::ZERO);
    assert_eq!(line.turnaround_delay, Duration::from_millis(100));
    assert_eq!(line.late_guard, Duration::from_millis(500));
    assert_eq!((line.retries, line.queue_limit), (1, 1024));
    assert!((line.poll_share - 0.6).abs() < f64::EPSILON);
    assert_eq!((line.learn_limit, config.diagnostics_unit), (256, None));
    assert_eq!((config.buses[0].profiles.len(), config.profiles), (8, "/etc/metergate/profiles".into()));
    assert!((line.failure_share - 0.02).abs() < f64::EPSILON);
    assert_eq!(line.offline_after, OfflineAfter { failures: 3, time: Duration::from_secs(3) });
    assert_eq!(line.probe_max, Duration::from_secs(60));
    assert_eq!(line.units.iter().map(|unit| unit.id.get()).collect::<Vec<_>>(), (1..=8).collect::<Vec<_>>());
    assert_eq!(config.log_level, LogLevel::Info);
}

#[test]
fn every_value_of_a_file_arrives() {
    let config = good(CUSTOM);
    let settings = &config.listeners[0].settings;
    assert_eq!(settings.endpoint().to_string(), "[::1]:1502");
    assert_eq!(config.listeners[0].buses, [1, 0]);
    assert_eq!(config.listeners[1].buses, [1]);
    assert_eq!(settings.max_age, Duration::from_millis(1500));
    assert_eq!((settings.writes, settings.broadcast), (Writes::Allow, Broadcast::Acknowledge));
    assert_eq!(settings.request_deadline, Duration::from_secs(10));
    assert_eq!(
        (settings.max_in_flight, settings.max_connections, settings.max_connections_per_ip),
        (4, 32, 8)
    );
    assert_eq!(settings.idle_timeout, Duration::from_secs(3600));
    let rtu = &config.listeners[1].settings;
    assert_eq!((settings.framing, settings.deadline()), (AduFraming::Tcp, Duration::from_secs(10)));
    assert_eq!((rtu.framing, rtu.deadline()), (AduFraming::Rtu, Duration::from_millis(250)));
    let allow: Vec<String> = settings.allow.iter().map(ToString::to_string).collect();
    assert_eq!(allow, ["10.0.0.0/8", "192.168.1.20/32", "fd00::/8"]);
    let (port, line) = (&config.buses[1].port, &config.buses[1].line);
    assert_eq!(port.device.to_string(), "/dev/serial/by-id/usb-B");
    assert_eq!(port.framing, Framing { baud_rate: 9600, parity: Parity::Even, stop_bits: 1 });
    assert_eq!((port.direction, line.echo), (Direction::None, Echo::Off));
    assert_eq!(line.turnaround_delay, Duration::from_millis(200));
    assert_eq!(line.late_guard, Duration::from_secs(1));
    assert_eq!((line.retries, line.queue_limit), (0, 10));
    assert!((line.poll_share - 0.125).abs() < f64::EPSILON);
    assert_eq!((line.learn_limit, config.diagnostics_unit), (0, Some(255)));
    assert!((line.failure_share - 0.007).abs() < f64::EPSILON);
    assert_eq!(line.offline_after, OfflineAfter { failures: 3, time: Duration::from_secs(10) });
    assert_eq!(line.probe_max, Duration::from_secs(300));
    assert_eq!(config.log_level, LogLevel::Trace);
}

#[test]
fn units_inherit_from_their_bus_and_stand_in_order() {
    let bus = &good(CUSTOM).buses[1];
    let ids: Vec<u8> = bus.line.units.iter().map(|unit| unit.id.get()).collect();
    assert_eq!(ids, [2, 3, 4, 5, 6, 7, 8, 20]);
    let aliases: Vec<(u8, u8)> = bus.aliases.iter().map(|(alias, id)| (*alias, id.get())).collect();
    assert_eq!(aliases, [(1, 20), (11, 2), (12, 3), (13, 4), (14, 5), (15, 6), (16, 7), (17, 8)]);
    let (first, last) = (&bus.line.units[0], &bus.line.units[7]);
    assert_eq!(first.response_timeout, Duration::from_millis(300));
    assert_eq!(first.request_gap, Duration::from_micros(500));
    assert_eq!(last.response_timeout, Duration::from_secs(2));
    assert_eq!(last.request_gap, Duration::from_millis(5));
}

#[test]
fn words_other_yaml_readers_take_for_switches_stay_words() {
    let config = good(CUSTOM);
    assert_eq!(config.buses[0].line.name, "on");
    let names = [&config.buses[1].line.units[0].name, &config.buses[1].line.units[7].name];
    assert_eq!(names.map(Option::as_deref), [Some("007"), Some("no")]);
    for (word, echo) in [("on", Echo::On), ("off", Echo::Off), ("auto", Echo::Auto), ("'on'", Echo::On)] {
        let config = good(&format!("{MINIMAL}    echo: {word}\n    parity: none\n    direction: none\n"));
        assert_eq!(config.buses[0].line.echo, echo);
        assert_eq!(config.buses[0].port.framing.parity, Parity::None);
    }
}

#[test]
fn the_audit_file_is_a_path_and_a_size() {
    let audit = |text: &str| good(&format!("{MINIMAL}audit: {text}\n")).audit.expect("an audit file");
    let given = audit("{file: /var/log/a.jsonl, max_size: 64kB}");
    assert_eq!((given.file.to_str(), given.max_size), (Some("/var/log/a.jsonl"), 64_000));
    assert_eq!(audit("{file: /var/log/a.jsonl}").max_size, 10_000_000);
    assert_eq!(audit("{file: /a, max_size: 1GB}").max_size, 1_000_000_000);
    let written = good(&format!("{MINIMAL}audit: {{file: /a, max_size: 1500kB}}\n")).to_yaml();
    assert!(written.contains("audit:\n  file: /a\n  max_size: 1500kB\n"), "{written}");
    assert_eq!(good(&written).to_yaml(), written);
    for faulty in ["{file: /a, max_size: 9kB}", "{file: /a, max_size: 2GB}", "{file: /a, max_size: 100000}"] {
        let problems = parse(&format!("{MINIMAL}audit: {faulty}\n"), "m.yaml").unwrap_err().to_string();
        assert!(problems.contains("allowed: a size from 10kB to 1GB"), "{problems}");
    }
    for faulty in ["{file: ''}", "{max_size: 1MB}", "off", "{file: /a/}", "{file: /a, keep: 3}"] {
        assert!(parse(&format!("{MINIMAL}audit: {faulty}\n"), "m.yaml").is_err(), "{faulty}");
    }
}

#[test]
fn a_serial_server_gets_longer_for_the_pauses_inside_an_answer() {
    let behind = |keys: &str| {
        let text = MINIMAL.replace("/dev/serial/by-id/usb-X", "tcp://[FD00::7]:4001");
        assert_ne!(text, MINIMAL);
        good(&format!("{text}{keys}"))
    };
    let config = behind("");
    assert_eq!(config.buses[0].port.device.to_string(), "tcp://[fd00::7]:4001");
    assert_eq!(config.buses[0].line.units[0].byte_timeout, Duration::from_millis(250));
    assert_eq!(config.buses[0].unit_defaults.byte_timeout, Duration::from_millis(250));
    assert_eq!(good(&config.to_yaml()), config);
    let given = behind("    byte_timeout: 80ms\n");
    assert_eq!(given.buses[0].line.units[0].byte_timeout, Duration::from_millis(80));
}

#[test]
fn a_bus_of_modbus_tcp_units_has_no_keys_of_a_serial_line() {
    let text = MINIMAL.replace("/dev/serial/by-id/usb-X", "modbus-tcp://[FD00::7]:502");
    let config = good(&text);
    let bus = &config.buses[0];
    assert_eq!(bus.port.device.to_string(), "modbus-tcp://[fd00::7]:502");
    assert_eq!(bus.line.protocol, Protocol::Tcp);
    let written = config.to_yaml();
    for key in ["baud_rate", "parity", "stop_bits", "direction", "echo", "byte_timeout", "late_guard"] {
        assert!(!written.contains(key), "{written}");
    }
    assert_eq!(good(&written), config);
}

#[test]
fn late_guard_follows_the_response_timeout() {
    let config = good(&format!("{MINIMAL}    response_timeout: 700ms\n"));
    assert_eq!(config.buses[0].line.late_guard, Duration::from_millis(700));
}

#[test]
fn a_byte_order_mark_and_dos_line_ends_change_nothing() {
    assert_eq!(good(&format!("\u{feff}{}", MINIMAL.replace('\n', "\r\n"))), good(MINIMAL));
}

#[test]
fn a_unit_may_have_247_and_a_range_may_be_everything() {
    let config = good(&MINIMAL.replace("1-8", "1-247"));
    assert_eq!(config.buses[0].line.units.len(), 247);
    assert_eq!(config.buses[0].aliases[&247], UnitId::new(247).unwrap());
}

#[test]
fn what_is_written_back_reads_as_the_same_configuration() {
    for text in [MINIMAL, FULL, CUSTOM] {
        let config = good(text);
        let written = config.to_yaml();
        assert_eq!(good(&written), config, "{written}");
        assert_eq!(good(&written).to_yaml(), written);
        serde_yaml::from_str::<serde_yaml::Value>(&written).unwrap();
    }
}

#[test]
fn what_is_written_back_has_every_key_and_value() {
    let written = good(CUSTOM).to_yaml();
    let second_bus = written.split_once("- name: riser-b\n").unwrap().1;
    let expected = "  device: /dev/serial/by-id/usb-B
  baud_rate: 9600
  parity: even
  stop_bits: 1
  direction: none
  echo: off
  response_timeout: 300ms
  byte_timeout: 50ms
  request_gap: 5ms
  turnaround_delay: 200ms
  late_guard: 1s
  retries: 0
  queue_limit: 10
  poll_share: 12.5%
  failure_share: 0.7%
  offline_after:
    failures: 3
    time: 10s
  wire_order: yes
  probe_max: 5m
  learn_limit: 0
  merge_gap: 0
  max_read: 125
  units:
  - id: 20
    as: 1
";
    assert!(second_bus.starts_with(expected), "{second_bus}");
    assert!(written.ends_with(
        "diagnostics_unit: 255\nprofiles: /etc/metergate/profiles\nstatus: off\nmqtt: []\nlog_level: trace\n"
    ));
}

#[test]
fn a_file_is_loaded_by_its_path() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("config/minimal.yaml");
    assert_eq!(load(&path).unwrap().config, good(MINIMAL));
}

#[test]
fn a_configuration_made_in_code_is_checked_as_a_file_is() {
    let unit = |ids: Vec<u8>| Unit { id: Some(UnitIds(ids)), ..Unit::default() };
    let bus = Bus {
        name: "riser-a".parse().ok(),
        device: "/dev/ttyS0".parse().ok(),
        units: vec![unit(vec![1, 2])],
        ..Bus::default()
    };
    let listener = Listener { address: "0.0.0.0:502".parse().ok(), ..Listener::default() };
    let file = File { listeners: vec![listener.into()], buses: vec![bus.clone()], ..File::default() };
    let text = "listeners: [{address: 0.0.0.0:502}]
buses: [{name: riser-a, device: /dev/ttyS0, units: [{id: 1-2}]}]
";
    assert_eq!(Config::try_from(file.clone()).unwrap(), good(text));
    let twice = Bus { units: vec![unit(vec![]), unit(vec![0])], ..bus };
    let wrong = File { buses: vec![Bus::default(), twice.clone(), twice], ..file };
    let problems = Config::try_from(wrong).unwrap_err();
    let keys: Vec<_> = problems.errors().iter().map(metergate::config::Problem::key).collect();
    for key in
        ["buses[0].name", "buses[0].units", "buses[1].units[0].id", "buses[1].units[1].id", "buses[2].device"]
    {
        assert!(keys.contains(&key), "{key}: {keys:?}");
    }
    let said = problems.to_string();
    let expected =
        "error: buses[2].name: found `riser-a`, the name of buses[1] too\n--> configuration\n = help: ";
    assert!(said.contains(expected), "{said}");
}

/// A cut or a piece of YAML put anywhere into a good file.
fn mutations() -> impl Strategy<Value = String> {
    let pieces = prop::sample::select(vec![
        "[",
        "]",
        "{",
        "}",
        ": ",
        "- ",
        "\n",
        "\t",
        "\"",
        "'",
        "|\n",
        ">",
        "&a ",
        "*a",
        "!!str ",
        "--- ",
        "? ",
        "<<: ",
        "#",
        "\u{feff}",
        "\u{85}",
        "\r",
        "\0",
        "é",
        "𝕏",
        "99999999999999999999",
        "-1",
        "%",
        "~",
        "\\u12",
    ]);
    let edits = prop::collection::vec((any::<prop::sample::Index>(), 0usize..8, pieces), 1..5);
    (prop::sample::select(vec![MINIMAL, FULL, CUSTOM]), edits).prop_map(|(text, edits)| {
        let mut characters: Vec<char> = text.chars().collect();
        for (at, removed, piece) in edits {
            let at = at.index(characters.len());
            let end = (at + removed).min(characters.len());
            characters.splice(at..end, piece.chars());
        }
        characters.into_iter().collect()
    })
}

proptest! {
    #[test]
    fn no_text_makes_the_reader_panic(text in "\\PC*") {
        let _ = parse(&text, "m.yaml").map_err(|problems| problems.to_string());
    }

    #[test]
    fn no_damage_to_a_good_file_makes_the_reader_panic(text in mutations()) {
        match parse(&text, "m.yaml") {
            Ok(loaded) => prop_assert_eq!(good(&loaded.config.to_yaml()), loaded.config),
            Err(problems) => {
                prop_assert!(!problems.errors().is_empty());
                prop_assert!(problems.errors().iter().all(|error| error.line().is_some()));
                prop_assert!(!problems.to_string().is_empty());
            }
        }
    }

    #[test]
    fn any_name_survives_being_written(name in "\\PC{1,64}", millis in 10u64..2900, share in 10u32..=10_000) {
        let quoted = name.replace('\\', "\\\\").replace('"', "\\\"");
        let whole = (share / 100, share % 100);
        let text = format!(
            "{MINIMAL}        name: \"{quoted}\"\n    response_timeout: {millis}ms\n    failure_share: {}.{:02}%\n",
            whole.0, whole.1
        );
        // Spaces around a name and marks without width are refused; everything else has to come back.
        if let Ok(loaded) = parse(&text, "m.yaml") {
            prop_assert_eq!(loaded.config.buses[0].line.units[0].name.as_ref(), Some(&name));
            prop_assert_eq!(good(&loaded.config.to_yaml()), loaded.config);
        } else {
            let refused = name.trim() != name || name.contains(['\u{feff}', '\u{2028}', '\u{2029}']);
            prop_assert!(refused, "{:?} is refused", name);
        }
    }
}

#[test]
fn a_serial_client_has_the_defaults_of_a_bus_and_its_own() {
    let text = |keys: &str| {
        format!(
            "listeners: [{{device: /dev/ttyS1{keys}}}]\nbuses: [{{name: a, device: /dev/ttyS0, units: [{{id: 1}}]}}]\n"
        )
    };
    let parsed = |text: &str| parse(text, "metergate.yaml").unwrap().config;
    let config = parsed(&text(""));
    let settings = &config.listeners[0].settings;
    let port = settings.at.serial().expect("a serial port");
    assert_eq!(port.device.as_path(), Path::new("/dev/ttyS1"));
    let framing = Framing { baud_rate: 19200, parity: Parity::None, stop_bits: 1 };
    assert_eq!((port.framing, port.direction), (framing, Direction::Auto));
    assert_eq!((settings.framing, settings.deadline()), (AduFraming::Rtu, Duration::from_millis(300)));
    assert_eq!(settings.endpoint().to_string(), "/dev/ttyS1");
    let keys = ", baud_rate: 9600, parity: even, echo: 'on', direction: none, buses: [a], unit_map: {1: 1}, \
                max_age: 5s, writes: allow, broadcast: silent, answer_within: 4s";
    let config = parsed(&text(keys));
    let settings = &config.listeners[0].settings;
    assert_eq!(settings.deadline(), Duration::from_secs(4), "longer than request_deadline is elsewhere");
    assert_eq!(parsed(&config.to_yaml()), config, "written and read again");
}
