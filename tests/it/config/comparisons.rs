//! What the parts of a configuration file say about each other, and what is odd but works.

use metergate::config::parse;

/// Every fault of a text, as people read it.
fn faults(text: &str) -> String {
    parse(text, "m.yaml").expect_err(text).to_string()
}

/// Every warning of a text that loads.
fn warnings(text: &str) -> String {
    let loaded = parse(text, "m.yaml").unwrap_or_else(|problems| panic!("{problems}"));
    loaded.warnings.iter().map(|warning| format!("{warning}\n")).collect()
}

#[test]
fn one_address_is_not_given_twice() {
    let text = r#"listeners:
  - address: 0.0.0.0:502
  - address: 127.0.0.1:502
  - address: 127.0.0.1:503
  - address: 127.0.0.1:503
  - address: "[::1]:502"
  - address: 127.0.0.1:0
  - address: 127.0.0.1:0
buses:
  - name: riser-a
    device: /dev/ttyS0
    units:
      - id: 1
"#;
    let expected = "m.yaml:3:14: error: listeners[1].address: found 127.0.0.1:502, but listeners[0].address on line 2 already takes 0.0.0.0:502; allowed: each address and port once
 3 |   - address: 127.0.0.1:502
   |              ^^^^^^^^^^^^^
m.yaml:5:14: error: listeners[3].address: found 127.0.0.1:503, but listeners[2].address on line 4 already takes 127.0.0.1:503; allowed: each address and port once
 5 |   - address: 127.0.0.1:503
   |              ^^^^^^^^^^^^^
m.yaml: 2 errors";
    assert_eq!(faults(text), expected);
}

#[test]
fn a_listener_names_known_buses_once_each() {
    let text = "listeners:
  - address: 0.0.0.0:502
    buses: [riser-a, riser-b, riser-a, cellar]
buses:
  - name: riser-a
    device: /dev/ttyS0
    units:
      - id: 1
";
    let expected = "m.yaml:3:22: error: listeners[0].buses[1]: found no bus of the name riser-b (did you mean riser-a?); allowed: riser-a
 3 |     buses: [riser-a, riser-b, riser-a, cellar]
   |                      ^^^^^^^
m.yaml:3:31: error: listeners[0].buses[2]: found riser-a a second time; allowed: each bus once on a listener
 3 |     buses: [riser-a, riser-b, riser-a, cellar]
   |                               ^^^^^^^
m.yaml:3:40: error: listeners[0].buses[3]: found no bus of the name cellar; allowed: riser-a
 3 |     buses: [riser-a, riser-b, riser-a, cellar]
   |                                        ^^^^^^
m.yaml: 3 errors";
    assert_eq!(faults(text), expected);
}

#[test]
fn bus_names_are_unique() {
    let text = "listeners:
  - address: 0.0.0.0:502
buses:
  - name: riser-a
    device: /dev/ttyS0
    units:
      - id: 1
  - name: riser-a
    device: /dev/ttyS1
    units:
      - id: 2
";
    let expected =
        "m.yaml:8:11: error: buses[1].name: found riser-a, the name of buses[0] too; allowed: each name once
 8 |   - name: riser-a
   |           ^^^^^^^
m.yaml: 1 error";
    assert_eq!(faults(text), expected);
}

#[test]
fn one_device_has_one_bus() {
    let text = "listeners:
  - address: 0.0.0.0:502
buses:
  - name: riser-a
    device: /dev/ttyS0
    units:
      - id: 1
  - name: riser-b
    device: /dev//./ttyS0
    units:
      - id: 2
";
    let expected = "m.yaml:9:13: error: buses[1].device: found /dev//./ttyS0, the same device as /dev/ttyS0 of buses[0].device; allowed: one bus on a device
 9 |     device: /dev//./ttyS0
   |             ^^^^^^^^^^^^^
m.yaml: 1 error";
    assert_eq!(faults(text), expected);
}

#[test]
fn units_of_a_bus_do_not_overlap() {
    let text = "listeners:
  - address: 0.0.0.0:502
buses:
  - name: riser-a
    device: /dev/ttyS0
    units:
      - id: 1
      - id: 2-8
      - id: 5
      - {id: 7-9, as: 20}
";
    let expected = "m.yaml:9:13: error: buses[0].units[2].id: found unit 5 a second time, buses[0].units[1] on line 8 has it already; allowed: each unit once on a bus
 9 |       - id: 5
   |             ^
m.yaml:10:14: error: buses[0].units[3].id: found unit 7 a second time, buses[0].units[1] on line 8 has it already; allowed: each unit once on a bus
 10 |       - {id: 7-9, as: 20}
    |              ^^^
m.yaml: 2 errors";
    assert_eq!(faults(text), expected);
}

#[test]
fn identifiers_for_clients_do_not_clash_on_a_bus() {
    let text = "listeners:
  - address: 0.0.0.0:502
buses:
  - name: riser-a
    device: /dev/ttyS0
    units:
      - id: 1
      - {id: 2, as: 1}
      - {id: 10-19, as: 100}
      - {id: 20-22, as: 107}
";
    let expected = "m.yaml:8:21: error: buses[0].units[1].as: found identifier 1 for clients, which leads to buses[0].units[0] on line 7 already; allowed: each identifier once on a listener, see the key as
 8 |       - {id: 2, as: 1}
   |                     ^
m.yaml:10:25: error: buses[0].units[3].as: found identifier 107 for clients, which leads to buses[0].units[2] on line 9 already; allowed: each identifier once on a listener, see the key as
 10 |       - {id: 20-22, as: 107}
    |                         ^^^
m.yaml: 2 errors";
    assert_eq!(faults(text), expected);
}

#[test]
fn identifiers_for_clients_end_at_255() {
    let text = "listeners:
  - address: 0.0.0.0:502
buses:
  - name: riser-a
    device: /dev/ttyS0
    units:
      - id: 1
      - {id: 2-9, as: 248}
      - {id: 10-18, as: 248}
";
    let expected = "m.yaml:9:25: error: buses[0].units[2].as: found 248, which calls these 9 units 248 to 256; allowed: 1 to 247, so that the last is 255 at most
 9 |       - {id: 10-18, as: 248}
   |                         ^^^
m.yaml: 1 error";
    assert_eq!(faults(text), expected);
}

#[test]
fn identifiers_for_clients_do_not_clash_between_the_buses_of_a_listener() {
    let text = "listeners:
  - {address: 0.0.0.0:502, buses: [riser-a]}
  - {address: 0.0.0.0:503, buses: [riser-b, riser-a]}
  - {address: 0.0.0.0:504}
buses:
  - name: riser-a
    device: /dev/ttyS0
    units:
      - id: 1
      - id: 2
  - name: riser-b
    device: /dev/ttyS1
    units:
      - id: 1-5
      - {id: 8, as: 2}
";
    let expected = "m.yaml:14:13: error: buses[1].units[0].id: found identifier 1 for clients, which leads to buses[0].units[0] on line 9 already, on the same listener (listeners[1]); allowed: each identifier once on a listener, see the keys as and buses
 14 |       - id: 1-5
    |             ^^^
m.yaml:15:21: error: buses[1].units[1].as: found identifier 2 for clients, which leads to buses[1].units[0] on line 14 already; allowed: each identifier once on a listener, see the key as
 15 |       - {id: 8, as: 2}
    |                     ^
m.yaml:15:21: error: buses[1].units[1].as: found identifier 2 for clients, which leads to buses[0].units[1] on line 10 already, on the same listener (listeners[1]); allowed: each identifier once on a listener, see the keys as and buses
 15 |       - {id: 8, as: 2}
    |                     ^
m.yaml: 3 errors";
    assert_eq!(faults(text), expected);
}

#[test]
fn a_deadline_leaves_room_for_one_attempt() {
    let text = "listeners:
  - address: 0.0.0.0:502
    request_deadline: 2099ms
buses:
  - name: riser-a
    device: /dev/ttyS0
    units:
      - id: 1
        response_timeout: 2s
";
    let expected = "m.yaml:3:23: error: listeners[0].request_deadline: found 2099ms, too short for one attempt: the response_timeout of buses[0].units[0] on line 8 is 2s; allowed: at least 2100ms
 3 |     request_deadline: 2099ms
   |                       ^^^^^^
m.yaml: 1 error";
    assert_eq!(faults(text), expected);
}

#[test]
fn the_default_deadline_is_held_against_a_slow_unit_too() {
    let text = "listeners:
  - address: 0.0.0.0:502
buses:
  - name: riser-a
    device: /dev/ttyS0
    units:
      - id: 1
    response_timeout: 3s
";
    let expected = "m.yaml:2:5: error: listeners[0].request_deadline: the key is missing, and its default is 3s, too short for one attempt: the response_timeout of buses[0].units[0] on line 7 is 3s; allowed: at least 3100ms
 2 |   - address: 0.0.0.0:502
   |     ^
m.yaml: 1 error";
    assert_eq!(faults(text), expected);
}

#[test]
fn faults_far_apart_are_reported_together_with_the_comparisons_that_are_sound() {
    let text = "listeners:
  - address: 0.0.0.0:502
    buses: [riser-x]
    writes: perhaps
  - address: 0.0.0.0:502
    max_age: soon
buses:
  - name: riser-a
    device: /dev/ttyS0
    baud_rate: fast
    units:
      - {id: 1-3, nmae: x}
      - id: 3
  - name: riser-b
    device: /dev/ttyS0
    parity: maybe
    units:
      - {id: 7, as: 2, response_timeout: 5s}
";
    let expected = "m.yaml:3:13: error: listeners[0].buses[0]: found no bus of the name riser-x (did you mean riser-a?); allowed: riser-a, riser-b
 3 |     buses: [riser-x]
   |             ^^^^^^^
m.yaml:4:13: error: listeners[0].writes: found perhaps; allowed: deny, allow
 4 |     writes: perhaps
   |             ^^^^^^^
m.yaml:5:5: error: listeners[1].request_deadline: the key is missing, and its default is 3s, too short for one attempt: the response_timeout of buses[1].units[0] on line 18 is 5s; allowed: at least 5100ms
 5 |   - address: 0.0.0.0:502
   |     ^
m.yaml:5:14: error: listeners[1].address: found 0.0.0.0:502, but listeners[0].address on line 2 already takes 0.0.0.0:502; allowed: each address and port once
 5 |   - address: 0.0.0.0:502
   |              ^^^^^^^^^^^
m.yaml:6:14: error: listeners[1].max_age: found soon; allowed: a duration from 0s to 24h, with its unit: ms, s, m or h
 6 |     max_age: soon
   |              ^^^^
m.yaml:10:16: error: buses[0].baud_rate: found fast; allowed: a whole number from 300 to 1000000
 10 |     baud_rate: fast
    |                ^^^^
m.yaml:12:19: error: buses[0].units[0].nmae: found an unknown key (did you mean name?); allowed here: id, as, name, profile, poll, poll_slow, blocks, replies, read_functions, response_timeout, byte_timeout, request_gap, merge_gap, max_read
 12 |       - {id: 1-3, nmae: x}
    |                   ^^^^
m.yaml:13:13: error: buses[0].units[1].id: found unit 3 a second time, buses[0].units[0] on line 12 has it already; allowed: each unit once on a bus
 13 |       - id: 3
    |             ^
m.yaml:15:13: error: buses[1].device: found /dev/ttyS0, the same device as /dev/ttyS0 of buses[0].device; allowed: one bus on a device
 15 |     device: /dev/ttyS0
    |             ^^^^^^^^^^
m.yaml:16:13: error: buses[1].parity: found maybe; allowed: none, even, odd
 16 |     parity: maybe
    |             ^^^^^
m.yaml:18:21: error: buses[1].units[0].as: found identifier 2 for clients, which leads to buses[0].units[0] on line 12 already, on the same listener (listeners[1]); allowed: each identifier once on a listener, see the keys as and buses
 18 |       - {id: 7, as: 2, response_timeout: 5s}
    |                     ^
m.yaml: 11 errors";
    assert_eq!(faults(text), expected);
}

#[test]
fn names_that_move_and_odd_framings_are_warned_of() {
    let text = "listeners:
  - address: 0.0.0.0:502
buses:
  - name: riser-a
    device: /dev/ttyUSB7
    units:
      - id: 1
    baud_rate: 19201
    parity: even
    stop_bits: 2
";
    let expected = "m.yaml:5:13: warning: buses[0].device: the name /dev/ttyUSB7 may belong to another adapter after the next plug-in or restart; use its link below /dev/serial/by-id, which does not change
 5 |     device: /dev/ttyUSB7
   |             ^^^^^^^^^^^^
m.yaml:8:16: warning: buses[0].baud_rate: 19201 is no usual baud rate; many adapters refuse it or round it to one of their own
 8 |     baud_rate: 19201
   |                ^^^^^
m.yaml:10:16: warning: buses[0].stop_bits: two stop bits with a parity bit make 12 bits per character; Modbus has 11: a parity bit or a second stop bit
 10 |     stop_bits: 2
    |                ^
";
    assert_eq!(warnings(text), expected);
}

#[test]
fn broadcasts_that_will_be_refused_are_warned_of() {
    let text = "listeners:
  - address: 0.0.0.0:502
    broadcast: silent
    allow: [10.1.2.3/8]
buses:
  - name: riser-a
    device: /dev/ttyS0
    units:
      - id: 1
";
    let expected = "m.yaml:3:16: warning: listeners[0].broadcast: broadcasts are writes, and writes: deny answers each of them with 0x01; say writes: allow, or broadcast: refuse
 3 |     broadcast: silent
   |                ^^^^^^
m.yaml:4:13: warning: listeners[0].allow[0]: 10.1.2.3/8 admits all of 10.0.0.0/8; write 10.0.0.0/8 if that is meant, else 10.1.2.3/32
 4 |     allow: [10.1.2.3/8]
   |             ^^^^^^^^^^
";
    assert_eq!(warnings(text), expected);
}

#[test]
fn a_bus_nobody_can_reach_is_warned_of() {
    let text = "listeners:
  - address: 0.0.0.0:502
    buses: [riser-a]
buses:
  - name: riser-a
    device: /dev/ttyS0
    units:
      - id: 1
  - name: riser-b
    device: /dev/ttyS1
    units: [{id: 1}]
";
    let expected =
        "m.yaml:9:11: warning: buses[1].name: no listener leads to this bus; nobody can ask its units
 9 |   - name: riser-b
   |           ^^^^^^^
";
    assert_eq!(warnings(text), expected);
}

#[test]
fn two_links_to_one_device_are_one_device() {
    let directory = std::env::temp_dir().join(format!("metergate-links-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let (device, link) = (directory.join("tty"), directory.join("usb-X"));
    std::fs::write(&device, "").unwrap();
    std::os::unix::fs::symlink(&device, &link).unwrap();
    let text = format!(
        "listeners: [{{address: 0.0.0.0:502}}]
buses:
  - {{name: a, device: {}, units: [{{id: 1}}]}}
  - {{name: b, device: {}, units: [{{id: 2}}]}}
",
        device.display(),
        link.display()
    );
    let found = parse(&text, "m.yaml");
    std::fs::remove_dir_all(&directory).unwrap();
    let problems = found.unwrap_err();
    assert_eq!(problems.errors().len(), 1);
    assert_eq!(problems.errors()[0].key(), "buses[1].device");
    let expected =
        format!("the same device as {} of buses[0].device; allowed: one bus on a device", device.display());
    assert!(problems.errors()[0].message().ends_with(&expected), "{problems}");
}
