//! The key `unit_map` of a listener: for clients that cannot choose the unit identifier they send.

use std::collections::BTreeMap;

use metergate::config::{Config, parse};

/// Two buses and one listener, on riser-a, with these keys.
fn file(listener: &str) -> String {
    format!(
        "listeners:
  - {{address: 0.0.0.0:502, buses: [riser-a], {listener}}}
buses:
  - name: riser-a
    device: /dev/ttyS0
    units: [{{id: 2, as: 12}}, {{id: 5-8}}]
  - name: riser-b
    device: /dev/ttyS1
    units: [{{id: 40}}]
"
    )
}

fn good(text: &str) -> Config {
    let config = parse(text, "m.yaml").unwrap_or_else(|problems| panic!("{text}\n{problems}")).config;
    let written = config.to_yaml();
    assert_eq!(
        parse(&written, "m.yaml").unwrap_or_else(|problems| panic!("{written}\n{problems}")).config,
        config
    );
    config
}

fn errors(text: &str) -> Vec<String> {
    let problems = parse(text, "m.yaml").expect_err(text);
    problems.errors().iter().map(|error| format!("{}: {}", error.key(), error.message())).collect()
}

#[test]
fn several_identifiers_may_mean_one_unit_by_the_identifier_it_has_for_clients() {
    let config = good(&file("unit_map: {0: 5, 1: 5, 255: 12}"));
    assert_eq!(config.listeners[0].unit_map, Some(BTreeMap::from([(0, 5), (1, 5), (255, 12)])));
    assert!(
        config.to_yaml().contains("  unit_map:\n    0: 5\n    1: 5\n    255: 12\n"),
        "{}",
        config.to_yaml()
    );
    assert_eq!(good(&file("")).listeners[0].unit_map, None);
}

#[test]
fn a_map_that_is_none_or_empty_is_refused_with_an_example() {
    let allowed = "allowed: identifiers clients send, each with the unit it means, such as {1: 5, 255: 5}";
    for (given, found) in [("[1, 5]", "a list"), ("5", "`5`"), ("", "no value"), ("{}", "no entry")] {
        let expected = format!("listeners[0].unit_map: found {found}; {allowed}");
        assert_eq!(errors(&file(&format!("unit_map: {given}"))), [expected]);
    }
}

#[test]
fn impossible_entries_are_all_shown() {
    let expected = [
        "listeners[0].unit_map.256: found `256`; allowed: an identifier that clients send, from 0 to 255",
        "listeners[0].unit_map.0x01: found `0x01`; allowed: an identifier that clients send, from 0 to 255",
        "listeners[0].unit_map.1: found `0`; allowed: a whole number from 1 to 255",
        "listeners[0].unit_map.2: found `256`; allowed: a whole number from 1 to 255",
        "listeners[0].unit_map.3: found a list; allowed: a whole number from 1 to 255",
        "listeners[0].unit_map.2: found the key a second time, the first is on line 2; delete this line, and move what stands below it to the end of the first",
    ];
    let found = errors(&file("unit_map: {256: 5, 0x01: 5, 1: 0, 2: 256, 3: [5], 2: 5}"));
    assert_eq!(found.len(), expected.len(), "{found:#?}");
    for message in expected {
        assert!(found.iter().any(|found| found == message), "{message}\n{found:#?}");
    }
}

#[test]
fn an_entry_leads_to_a_unit_of_the_listeners_buses() {
    let text = file("unit_map: {1: 2, 2: 40, 3: 13, 4: 200}");
    let (head, tail) = ("which is the identifier of no unit of this listener", "allowed: 5-8, 12");
    let expected = [
        format!("listeners[0].unit_map.1: found 2, {head}; did you mean 12? {tail}"),
        format!(
            "listeners[0].unit_map.2: found 40, {head}; bus riser-b has it, but is not among the listener's buses; {tail}"
        ),
        format!("listeners[0].unit_map.3: found 13, {head}; did you mean 12? {tail}"),
        format!("listeners[0].unit_map.4: found 200, {head}; {tail}"),
    ];
    assert_eq!(errors(&text), expected);
    good(&text.replace("buses: [riser-a], ", "").replace("{1: 2, 2: 40, 3: 13, 4: 200}", "{1: 12, 2: 40}"));
    // If units are faulty themselves, there is no message about missing ones.
    assert_eq!(errors(&text.replace("id: 5-8", "id: 5-300")).len(), 1);
}

#[test]
fn identifier_0_needs_broadcasts_to_be_refused() {
    good(&file("unit_map: {0: 5}, broadcast: refuse"));
    good(&file("unit_map: {1: 5}, writes: allow, broadcast: silent"));
    for broadcast in ["silent", "acknowledge"] {
        let expected = format!(
            "listeners[0].unit_map.0: found 0, which `broadcast: {broadcast}` sends to every unit; allowed: 0 with broadcast: refuse only"
        );
        assert_eq!(
            errors(&file(&format!("unit_map: {{0: 5}}, writes: allow, broadcast: {broadcast}"))),
            [expected]
        );
    }
}

#[test]
fn the_diagnostics_unit_is_no_entry_of_a_map() {
    let text = format!("{}diagnostics_unit: 7\n", file("unit_map: {7: 5, 8: 6}"));
    let expected = "listeners[0].unit_map.7: found 7, the identifier of the diagnostics unit on line 10; allowed: another one, or another diagnostics_unit";
    assert_eq!(errors(&text), [expected]);
    // Under a map nothing else is served, so a unit that is 7 elsewhere does not conflict.
    good(&text.replace("{7: 5, 8: 6}", "{1: 5, 8: 7}"));
    let without = "diagnostics_unit: clients call one of the units on line 6 by identifier 7 already";
    assert!(errors(&text.replace("unit_map: {7: 5, 8: 6}", ""))[0].starts_with(without));
}
