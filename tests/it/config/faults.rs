//! What is said about a faulty configuration file: the whole text, and nothing hidden by anything else.
//!
//! Comparisons between parts of a file are in `config_comparisons.rs`.

use metergate::config::{MAX_ERRORS, parse};

/// Every fault of a text, as people read it.
fn faults(text: &str) -> String {
    parse(text, "m.yaml").expect_err(text).to_string()
}

#[test]
fn an_unknown_key_is_shown_with_the_nearest_known_one() {
    let text = "listeners: [{address: 0.0.0.0:502}]
buses:
  - name: riser-a
    device: /dev/ttyS0
    baudrate: 9600
    units:
      - id: 1
        naem: Panel 1
";
    let expected = "m.yaml:5:5: error: buses[0].baudrate: found an unknown key (did you mean baud_rate?); allowed here: name, device, baud_rate, parity, stop_bits, direction, echo, response_timeout, byte_timeout, request_gap, turnaround_delay, late_guard, retries, queue_limit, poll_share, failure_share, offline_after, probe_max, learn_limit, merge_gap, max_read, units
 5 |     baudrate: 9600
   |     ^^^^^^^^
m.yaml:8:9: error: buses[0].units[0].naem: found an unknown key (did you mean name?); allowed here: id, as, name, profile, poll, poll_slow, blocks, replies, read_functions, response_timeout, byte_timeout, request_gap, merge_gap, max_read
 8 |         naem: Panel 1
   |         ^^^^
m.yaml: 2 errors";
    assert_eq!(faults(text), expected);
}

#[test]
fn a_key_of_another_section_is_told_where_it_belongs() {
    let text = "poll_share: 30%
listeners:
  - address: 0.0.0.0:502
buses:
  - name: riser-a
    device: /dev/ttyS0
    units:
      - id: 1
    writes: allow
";
    let expected = "m.yaml:1:1: error: poll_share: found an unknown key (it is a key of a bus); allowed here: listeners, buses, diagnostics_unit, profiles, status, audit, log_level
 1 | poll_share: 30%
   | ^^^^^^^^^^
m.yaml:9:5: error: buses[0].writes: found an unknown key (it is a key of a listener); allowed here: name, device, baud_rate, parity, stop_bits, direction, echo, response_timeout, byte_timeout, request_gap, turnaround_delay, late_guard, retries, queue_limit, poll_share, failure_share, offline_after, probe_max, learn_limit, merge_gap, max_read, units
 9 |     writes: allow
   |     ^^^^^^
m.yaml: 2 errors";
    assert_eq!(faults(text), expected);
}

#[test]
fn a_doubled_key_names_the_line_of_the_first_and_hides_nothing_below_it() {
    let text = "listeners:
  - address: 0.0.0.0:502
buses:
  - name: riser-a
    device: /dev/ttyS0
    units:
      - id: 1
    name: riser-b
buses:
  - name: riser-c
    device: ttyS1
    units: []
";
    let expected = "m.yaml:8:5: error: buses[0].name: found the key a second time, the first is on line 4; allowed: each key once in a mapping
 8 |     name: riser-b
   |     ^^^^
m.yaml:9:1: error: buses: found the key a second time, the first is on line 3; allowed: each key once in a mapping
 9 | buses:
   | ^^^^^
m.yaml:11:13: error: buses[0].device: found ttyS1; allowed: the absolute path of a serial device, such as /dev/serial/by-id/usb-X
 11 |     device: ttyS1
    |             ^^^^^
m.yaml:12:12: error: buses[0].units: found an empty list; allowed: a list of 1 to 255, each beginning with a dash
 12 |     units: []
    |            ^
m.yaml: 4 errors";
    assert_eq!(faults(text), expected);
}

#[test]
fn wrong_types_say_what_was_found_and_what_is_allowed() {
    let text = r#"listeners:
  - address: 502
    max_age: 5
    writes: [deny]
    max_in_flight: "16"
    idle_timeout:
    allow: 10.0.0.0/8
  - none
buses:
  name: riser-a
log_level: warning
"#;
    let expected = r#"m.yaml:2:14: error: listeners[0].address: found 502; allowed: IPv4:port or "[IPv6]:port" (in quotes), such as 0.0.0.0:502
 2 |   - address: 502
   |              ^^^
m.yaml:3:14: error: listeners[0].max_age: found 5; allowed: a duration from 0s to 24h, with its unit: ms, s, m or h
 3 |     max_age: 5
   |              ^
m.yaml:4:13: error: listeners[0].writes: found a list; allowed: deny, allow
 4 |     writes: [deny]
   |             ^
m.yaml:5:20: error: listeners[0].max_in_flight: found the quoted text "16"; allowed: a whole number from 1 to 256
 5 |     max_in_flight: "16"
   |                    ^^^^
m.yaml:6:5: error: listeners[0].idle_timeout: found nothing; allowed: a duration from 1s to 24h, with its unit: ms, s, m or h
 6 |     idle_timeout:
   |     ^^^^^^^^^^^^
m.yaml:7:12: error: listeners[0].allow: found 10.0.0.0/8; allowed: a list of 1 to 256, each beginning with a dash
 7 |     allow: 10.0.0.0/8
   |            ^^^^^^^^^^
m.yaml:8:5: error: listeners[1]: found none; allowed: a mapping with keys of a listener: address, framing, buses, unit_map, max_age, writes, broadcast, request_deadline, max_in_flight, max_connections, max_connections_per_ip, idle_timeout, allow
 8 |   - none
   |     ^^^^
m.yaml:10:3: error: buses: found a mapping (keys with values); allowed: a list of 1 to 64, each beginning with a dash
 10 |   name: riser-a
    |   ^
m.yaml:11:12: error: log_level: found warning; allowed: error, warn, info, debug, trace
 11 | log_level: warning
    |            ^^^^^^^
m.yaml: 9 errors"#;
    assert_eq!(faults(text), expected);
}

#[test]
fn impossible_values_of_a_bus_are_all_reported_at_once() {
    let text = r#"listeners: [{address: 0.0.0.0:502}]
buses:
  - name: " "
    device: COM3
    baud_rate: 299
    parity: yes
    stop_bits: 3
    echo: maybe
    response_timeout: 9ms
    request_gap: 1001ms
    turnaround_delay: 11s
    late_guard: 61s
    retries: 11
    queue_limit: 0
    failure_share: 0.09%
    offline_after: {failures: 0, time: 61m}
    probe_max: 999ms
    units: [{id: 1}]
"#;
    let expected = r#"m.yaml:3:11: error: buses[0].name: found the quoted text " "; allowed: a name of 1 to 64 printable characters
 3 |   - name: " "
   |           ^^^
m.yaml:4:13: error: buses[0].device: found COM3; allowed: the absolute path of a serial device, such as /dev/serial/by-id/usb-X
 4 |     device: COM3
   |             ^^^^
m.yaml:5:16: error: buses[0].baud_rate: found 299; allowed: a whole number from 300 to 1000000
 5 |     baud_rate: 299
   |                ^^^
m.yaml:6:13: error: buses[0].parity: found yes; allowed: none, even, odd
 6 |     parity: yes
   |             ^^^
m.yaml:7:16: error: buses[0].stop_bits: found 3; allowed: a whole number from 1 to 2
 7 |     stop_bits: 3
   |                ^
m.yaml:8:11: error: buses[0].echo: found maybe; allowed: auto, on, off
 8 |     echo: maybe
   |           ^^^^^
m.yaml:9:23: error: buses[0].response_timeout: found 9ms; allowed: a duration from 10ms to 60s, with its unit: ms, s, m or h
 9 |     response_timeout: 9ms
   |                       ^^^
m.yaml:10:18: error: buses[0].request_gap: found 1001ms; allowed: a duration from 0s to 1s, with its unit: ms, s, m or h
 10 |     request_gap: 1001ms
    |                  ^^^^^^
m.yaml:11:23: error: buses[0].turnaround_delay: found 11s; allowed: a duration from 0s to 10s, with its unit: ms, s, m or h
 11 |     turnaround_delay: 11s
    |                       ^^^
m.yaml:12:17: error: buses[0].late_guard: found 61s; allowed: a duration from 10ms to 60s, with its unit: ms, s, m or h
 12 |     late_guard: 61s
    |                 ^^^
m.yaml:13:14: error: buses[0].retries: found 11; allowed: a whole number from 0 to 10
 13 |     retries: 11
    |              ^^
m.yaml:14:18: error: buses[0].queue_limit: found 0; allowed: a whole number from 1 to 65536
 14 |     queue_limit: 0
    |                  ^
m.yaml:15:20: error: buses[0].failure_share: found 0.09%; allowed: a share from 0.1% to 100%
 15 |     failure_share: 0.09%
    |                    ^^^^^
m.yaml:16:31: error: buses[0].offline_after.failures: found 0; allowed: a whole number from 1 to 1000
 16 |     offline_after: {failures: 0, time: 61m}
    |                               ^
m.yaml:16:40: error: buses[0].offline_after.time: found 61m; allowed: a duration from 0s to 1h, with its unit: ms, s, m or h
 16 |     offline_after: {failures: 0, time: 61m}
    |                                        ^^^
m.yaml:17:16: error: buses[0].probe_max: found 999ms; allowed: a duration from 1s to 1h, with its unit: ms, s, m or h
 17 |     probe_max: 999ms
    |                ^^^^^
m.yaml: 16 errors"#;
    assert_eq!(faults(text), expected);
}

#[test]
fn impossible_values_of_units_are_all_reported_at_once() {
    let text = r#"listeners: [{address: 0.0.0.0:502}]
buses:
  - name: riser-a
    device: /dev/ttyS0
    units:
      - id: 0
      - id: 256
      - id: 8-2
      - id: 1-256
      - as: 5
      - {id: 010, as: 0, name: "", response_timeout: 1d}
"#;
    let expected = r#"m.yaml:6:13: error: buses[0].units[0].id: found 0; allowed: 1 to 247 (248 to 255 with a warning), a range such as 2-8, or a list such as [1, 2, 5]
 6 |       - id: 0
   |             ^
m.yaml:7:13: error: buses[0].units[1].id: found 256; allowed: 1 to 247 (248 to 255 with a warning), a range such as 2-8, or a list such as [1, 2, 5]
 7 |       - id: 256
   |             ^^^
m.yaml:8:13: error: buses[0].units[2].id: found 8-2; allowed: 1 to 247 (248 to 255 with a warning), a range such as 2-8, or a list such as [1, 2, 5]
 8 |       - id: 8-2
   |             ^^^
m.yaml:9:13: error: buses[0].units[3].id: found 1-256; allowed: 1 to 247 (248 to 255 with a warning), a range such as 2-8, or a list such as [1, 2, 5]
 9 |       - id: 1-256
   |             ^^^^^
m.yaml:10:9: error: buses[0].units[4].id: the key is missing; allowed: 1 to 247 (248 to 255 with a warning), a range such as 2-8, or a list such as [1, 2, 5]
 10 |       - as: 5
    |         ^
m.yaml:11:14: error: buses[0].units[5].id: found 010; allowed: 1 to 247 (248 to 255 with a warning), a range such as 2-8, or a list such as [1, 2, 5]
 11 |       - {id: 010, as: 0, name: "", response_timeout: 1d}
    |              ^^^
m.yaml:11:23: error: buses[0].units[5].as: found 0; allowed: a whole number from 1 to 255
 11 |       - {id: 010, as: 0, name: "", response_timeout: 1d}
    |                       ^
m.yaml:11:32: error: buses[0].units[5].name: found the quoted text ""; allowed: a name of 1 to 64 printable characters
 11 |       - {id: 010, as: 0, name: "", response_timeout: 1d}
    |                                ^^
m.yaml:11:54: error: buses[0].units[5].response_timeout: found 1d; allowed: a duration from 10ms to 60s, with its unit: ms, s, m or h
 11 |       - {id: 010, as: 0, name: "", response_timeout: 1d}
    |                                                      ^^
m.yaml: 9 errors"#;
    assert_eq!(faults(text), expected);
}

#[test]
fn impossible_values_of_a_listener_are_all_reported_at_once() {
    let text = "listeners:
  - address: localhost:502
    buses: []
    max_age: 25h
    broadcast: maybe
    request_deadline: 109ms
    max_in_flight: 257
    max_connections: 0
    max_connections_per_ip: 10001
    idle_timeout: 0s
    allow: [10.0.0.0/33, ::1, example.org]
buses:
  - name: riser-a
    device: /dev/ttyS0
    units:
      - id: 1
";
    let expected = r#"m.yaml:2:14: error: listeners[0].address: found localhost:502; allowed: IPv4:port or "[IPv6]:port" (in quotes), such as 0.0.0.0:502
 2 |   - address: localhost:502
   |              ^^^^^^^^^^^^^
m.yaml:3:12: error: listeners[0].buses: found an empty list; allowed: a list of 1 to 64, each beginning with a dash
 3 |     buses: []
   |            ^
m.yaml:4:14: error: listeners[0].max_age: found 25h; allowed: a duration from 0s to 24h, with its unit: ms, s, m or h
 4 |     max_age: 25h
   |              ^^^
m.yaml:5:16: error: listeners[0].broadcast: found maybe; allowed: refuse, silent, acknowledge
 5 |     broadcast: maybe
   |                ^^^^^
m.yaml:6:23: error: listeners[0].request_deadline: found 109ms; allowed: a duration from 110ms to 5m, with its unit: ms, s, m or h
 6 |     request_deadline: 109ms
   |                       ^^^^^
m.yaml:7:20: error: listeners[0].max_in_flight: found 257; allowed: a whole number from 1 to 256
 7 |     max_in_flight: 257
   |                    ^^^
m.yaml:8:22: error: listeners[0].max_connections: found 0; allowed: a whole number from 1 to 10000
 8 |     max_connections: 0
   |                      ^
m.yaml:9:29: error: listeners[0].max_connections_per_ip: found 10001; allowed: a whole number from 1 to 10000
 9 |     max_connections_per_ip: 10001
   |                             ^^^^^
m.yaml:10:19: error: listeners[0].idle_timeout: found 0s; allowed: a duration from 1s to 24h, with its unit: ms, s, m or h
 10 |     idle_timeout: 0s
    |                   ^^
m.yaml:11:13: error: listeners[0].allow[0]: found 10.0.0.0/33; allowed: a network such as 10.0.0.0/8, or one IP address
 11 |     allow: [10.0.0.0/33, ::1, example.org]
    |             ^^^^^^^^^^^
m.yaml:11:31: error: listeners[0].allow[2]: found example.org; allowed: a network such as 10.0.0.0/8, or one IP address
 11 |     allow: [10.0.0.0/33, ::1, example.org]
    |                               ^^^^^^^^^^^
m.yaml: 11 errors"#;
    assert_eq!(faults(text), expected);
}

#[test]
fn a_file_without_anything_in_it_says_what_is_needed() {
    let text = "log_level: info
";
    let expected = "m.yaml:1:1: error: listeners: the key is missing; allowed: a list of 1 to 64, each beginning with a dash
 1 | log_level: info
   | ^
m.yaml:1:1: error: buses: the key is missing; allowed: a list of 1 to 64, each beginning with a dash
 1 | log_level: info
   | ^
m.yaml: 2 errors";
    assert_eq!(faults(text), expected);
}

#[test]
fn a_device_beyond_the_network_is_not_yet_supported() {
    let text = "listeners:
  - address: 0.0.0.0:502
buses:
  - name: riser-a
    device: tcp://10.0.0.7:4001
    units:
      - id: 1
";
    let expected = "m.yaml:5:13: error: buses[0].device: found tcp://10.0.0.7:4001; allowed: the absolute path of a serial device, such as /dev/serial/by-id/usb-X (tcp:// is not yet supported)
 5 |     device: tcp://10.0.0.7:4001
   |             ^^^^^^^^^^^^^^^^^^^
m.yaml: 1 error";
    assert_eq!(faults(text), expected);
}

#[test]
fn the_errors_of_one_file_are_bounded_and_counted() {
    let many = MAX_ERRORS + 5;
    let mut text: String = (0..many).map(|key| format!("key{key}: 1\n")).collect();
    text.push_str(
        "listeners: [{address: 0.0.0.0:502}]\nbuses: [{name: a, device: /dev/ttyS0, units: [{id: 1}]}]\n",
    );
    let problems = parse(&text, "m.yaml").unwrap_err();
    assert_eq!(problems.errors().len(), MAX_ERRORS);
    assert!(problems.to_string().ends_with("\nm.yaml: 1005 errors (the first 1000 are shown)"));
}

#[test]
fn of_a_very_long_line_only_the_surroundings_are_shown() {
    let text = format!("{{{}buse: 1}}\n", " ".repeat(100_000));
    let problems = parse(&text, "m.yaml").unwrap_err();
    let unknown = problems.errors().iter().find(|error| error.key() == "buse").unwrap();
    assert_eq!(unknown.column(), Some(100_002));
    let expected = format!("\n 1 | {0}buse: 1}}\n   | {0}^^^^", " ".repeat(60));
    assert!(unknown.to_string().ends_with(&expected), "{unknown}");
}
