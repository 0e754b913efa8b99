//! The keys of buses and units that the second edition of the contract adds, identifiers, and what later versions have.

use std::collections::BTreeSet;
use std::time::Duration;

use metergate::config::{Config, parse};
use metergate::line::{Replies, UnitId, UnitSettings};
use metergate::modbus::pdu::FunctionCode;

/// A file with these lines below its one bus, and these units.
fn file(bus: &str, units: &str) -> String {
    format!(
        "listeners: [{{address: 0.0.0.0:502}}]\nbuses:\n  - name: riser-a\n    device: /dev/ttyS0\n{bus}    units:\n{units}"
    )
}

/// What a text means, which is also what it means once written back.
fn good(text: &str) -> Config {
    let config = parse(text, "m.yaml").unwrap_or_else(|problems| panic!("{text}\n{problems}")).config;
    let written = config.to_yaml();
    let again = parse(&written, "m.yaml").unwrap_or_else(|problems| panic!("{written}\n{problems}")).config;
    assert_eq!(again, config, "{written}");
    config
}

/// The messages of a text, errors or else warnings, without places.
fn messages(text: &str) -> Vec<String> {
    let problems = match parse(text, "m.yaml") {
        Ok(loaded) => loaded.warnings,
        Err(problems) => problems.errors().to_vec(),
    };
    problems.iter().map(|problem| format!("{}: {}", problem.key(), problem.message())).collect()
}

fn units(config: &Config) -> &[UnitSettings] {
    &config.buses[0].line.units
}

fn ids(config: &Config) -> Vec<(u8, u8)> {
    let alias =
        |id: &UnitId| config.buses[0].aliases.iter().find(|(_, unit)| *unit == id).map(|(alias, _)| *alias);
    config.buses[0].wire.iter().map(|id| (id.get(), alias(id).unwrap_or(0))).collect()
}

#[test]
fn without_the_new_keys_their_defaults_hold() {
    let config = good(&file("", "      - id: 1\n"));
    let unit = &units(&config)[0];
    assert_eq!(unit.byte_timeout, Duration::from_millis(50));
    assert_eq!((unit.merge_gap, unit.max_read, unit.replies), (Some(0), 125, Replies::Strict));
    assert!(config.buses[0].read_functions.is_empty());
    assert_eq!(config.listeners[0].unit_map, None);
    let defaults = config.buses[0].unit_defaults;
    assert_eq!(
        (defaults.byte_timeout, defaults.merge_gap, defaults.max_read),
        (unit.byte_timeout, Some(0), 125)
    );
}

#[test]
fn units_inherit_the_new_keys_from_their_bus_or_have_their_own() {
    let bus = "    byte_timeout: 80ms\n    merge_gap: off\n    max_read: 60\n";
    let own =
        "      - id: 1\n      - {id: 2, byte_timeout: 1ms, merge_gap: 32, max_read: 1, replies: loose}\n";
    let config = good(&file(bus, own));
    let of =
        |unit: &UnitSettings| (unit.byte_timeout.as_millis(), unit.merge_gap, unit.max_read, unit.replies);
    assert_eq!(of(&units(&config)[0]), (80, None, 60, Replies::Strict));
    assert_eq!(of(&units(&config)[1]), (1, Some(32), 1, Replies::Loose));
}

#[test]
fn the_new_keys_are_accepted_at_their_edges() {
    for (low, high) in [
        ("byte_timeout: 1ms", "byte_timeout: 5s"),
        ("merge_gap: 0", "merge_gap: 32"),
        ("max_read: 1", "max_read: 125"),
    ] {
        good(&file(&format!("    {low}\n"), &format!("      - {{id: 1, {high}}}\n")));
        good(&file(&format!("    {high}\n"), &format!("      - {{id: 1, {low}}}\n")));
    }
    good(&file("", "      - {id: 1, read_functions: [1, 0x7F, 127]}\n").replace("1, 0x7F, ", "0x09, "));
}

#[test]
fn impossible_values_of_the_new_keys_say_what_is_allowed() {
    let bus = "    byte_timeout: 999us\n    merge_gap: 33\n    max_read: 126\n";
    let unit = "      - id: 1
        byte_timeout: 5001ms
        max_read: 0
        replies: any
        read_functions: 0x41
      - id: 2
        merge_gap: -1
        read_functions: [0, 0x80, x, 0x, \"65\"]
";
    let duration = "a duration from 1ms to 5s, with its unit: ms, s, m or h";
    let code = "a function code from 1 to 127, or from 0x01 to 0x7F";
    let expected = [
        format!("buses[0].byte_timeout: found `999us`; allowed: {duration}"),
        "buses[0].merge_gap: found `33`; allowed: off, or a whole number from 0 to 32".to_owned(),
        "buses[0].max_read: found `126`; allowed: a whole number from 1 to 125".to_owned(),
        format!("buses[0].units[0].byte_timeout: found `5001ms`; allowed: {duration}"),
        "buses[0].units[0].max_read: found `0`; allowed: a whole number from 1 to 125".to_owned(),
        "buses[0].units[0].replies: found `any`; allowed: strict, loose".to_owned(),
        "buses[0].units[0].read_functions: found `0x41`; allowed: a list of 1 to 127, each beginning with a dash".to_owned(),
        "buses[0].units[1].merge_gap: found `-1`; allowed: off, or a whole number from 0 to 32".to_owned(),
        format!("buses[0].units[1].read_functions[0]: found `0`; allowed: {code}"),
        format!("buses[0].units[1].read_functions[1]: found `0x80`; allowed: {code}"),
        format!("buses[0].units[1].read_functions[2]: found `x`; allowed: {code}"),
        format!("buses[0].units[1].read_functions[3]: found `0x`; allowed: {code}"),
        format!("buses[0].units[1].read_functions[4]: found the quoted text \"65\"; allowed: {code}, without quotes"),
    ];
    assert_eq!(messages(&file(bus, unit)), expected);
}

#[test]
fn loose_replies_do_not_go_with_a_profile() {
    let text = file("", "      - id: 1\n        profile: leviton-4000r\n        replies: loose\n");
    let expected = "buses[0].units[0].replies: found loose beside a profile, whose registers need answers that fit; allowed: strict, or no profile";
    assert_eq!(messages(&text), [expected]);
    good(&text.replace("loose", "strict"));
}

#[test]
fn a_polled_block_has_to_fit_into_one_read() {
    let unit =
        |max_read| file("", &format!("      - {{id: 1, profile: leviton-4000r, max_read: {max_read}}}\n"));
    good(&unit(90));
    let expected = "buses[0].units[0].max_read: found 89, but a block that is polled has 90 registers, and blocks are read whole; allowed: 90 or more, or other blocks";
    assert_eq!(messages(&unit(89)), [expected]);
    good(&unit(52).replace("max_read", "blocks: [integers], max_read"));
    // Nothing is polled, so nothing has to fit, and a longer block is not read as a whole either.
    let config = good(&unit(60).replace("max_read", "poll: off, max_read"));
    let longest = units(&config)[0].polling.demanded.iter().map(|block| block.range.quantity).max();
    assert_eq!(longest, Some(52));
}

#[test]
fn functions_that_only_read_are_kept_for_each_unit() {
    let config = good(&file(
        "",
        "      - {id: 2-3, read_functions: [65, 0x42, 0x64]}\n      - {id: 4, read_functions: []}\n",
    ));
    let functions: BTreeSet<_> = [0x41, 0x42, 0x64].map(FunctionCode).into();
    let of = |id| config.buses[0].read_functions.get(&UnitId::new(id).expect("not 0"));
    assert_eq!((of(2), of(3), of(4)), (Some(&functions), Some(&functions), None));
    assert!(
        config.to_yaml().contains("read_functions:\n    - 65\n    - 66\n    - 100\n"),
        "{}",
        config.to_yaml()
    );
}

#[test]
fn functions_that_write_are_not_taken_for_reads() {
    for (code, name) in [
        ("5", "0x05 (write single coil)"),
        ("0x06", "0x06 (write single register)"),
        ("15", "0x0F (write multiple coils)"),
        ("0x10", "0x10 (write multiple registers)"),
        ("21", "0x15 (write file record)"),
        ("22", "0x16 (mask write register)"),
        ("0x17", "0x17 (read/write multiple registers)"),
    ] {
        let text = file("", &format!("      - {{id: 1, read_functions: [{code}]}}\n"));
        let expected = format!(
            "buses[0].units[0].read_functions[0]: found {name}, which the standard defines as a write; allowed: functions that only read, such as 0x41 of some makers"
        );
        assert_eq!(messages(&text), [expected]);
    }
    for (code, name) in [("8", "0x08 (diagnostics)"), ("0x2B", "0x2B (encapsulated interface)")] {
        let text = file("", &format!("      - {{id: 1, read_functions: [{code}]}}\n"));
        let expected = format!(
            "buses[0].units[0].read_functions[0]: found {name}, which reads or writes depending on its sub-function"
        );
        assert!(messages(&text)[0].starts_with(&expected), "{:?}", messages(&text));
    }
    let twice = file("", "      - {id: 1, read_functions: [65, 0x41]}\n");
    assert_eq!(
        messages(&twice),
        ["buses[0].units[0].read_functions[1]: found 0x41 a second time; allowed: each function once"]
    );
}

#[test]
fn functions_that_are_reads_already_are_warned_of_and_left_out() {
    for code in [1, 2, 3, 4, 7, 11, 12, 17, 20, 24] {
        let text = file("", &format!("      - {{id: 1, read_functions: [{code}]}}\n"));
        let found = messages(&text);
        assert!(found.len() == 1 && found[0].ends_with(") is a read already; leave it out"), "{found:?}");
        assert!(good(&text).buses[0].read_functions.is_empty());
    }
}

#[test]
fn a_unit_entry_may_be_a_number_a_range_or_a_list() {
    let text = file(
        "",
        "      - {id: [5, 1, 2], as: 20}\n      - id: 7-8\n      - {id: 9, as: 255}\n      - id: [30]\n",
    );
    assert_eq!(ids(&good(&text)), [(5, 20), (1, 21), (2, 22), (7, 7), (8, 8), (9, 255), (30, 30)]);
    assert_eq!(ids(&good(&file("", "      - id: [3, 2]\n"))), [(3, 3), (2, 2)], "the order of the wire");
    let all = good(&file("", "      - {id: 1-255, as: 1}\n"));
    assert_eq!((units(&all).len(), all.buses[0].aliases.len()), (255, 255));
}

#[test]
fn a_faulty_list_of_identifiers_is_shown_entry_by_entry() {
    let text = file("", "      - id: [1, 0, 2-3, 256, 1, 0x10]\n      - id: []\n      - id: {first: 1}\n");
    let allowed = "allowed: 1 to 247 (248 to 255 with a warning)";
    let any = format!("{allowed}, a range such as 2-8, or a list such as [1, 2, 5]");
    let expected = [
        format!("buses[0].units[0].id[1]: found `0`; {allowed}"),
        format!("buses[0].units[0].id[2]: found `2-3`; {allowed}"),
        format!("buses[0].units[0].id[3]: found `256`; {allowed}"),
        format!("buses[0].units[0].id[5]: found `0x10`; {allowed}"),
        format!("buses[0].units[1].id: found an empty list; {any}"),
        format!("buses[0].units[2].id: found keys with values; {any}"),
    ];
    assert_eq!(messages(&text), expected);
}

#[test]
fn identifiers_beyond_the_standard_are_warned_of() {
    let unit = |id: &str| file("", &format!("      - id: {id}\n"));
    for id in ["1", "247", "1-247", "[1, 247]"] {
        assert!(messages(&unit(id)).is_empty(), "{id}");
    }
    for (id, beyond) in [("248", 248), ("255", 255), ("246-249", 248), ("[3, 250, 249]", 250)] {
        let expected = format!(
            "buses[0].units[0].id: the standard reserves 248 to 255; keep {beyond} only if the device cannot be set to another identifier"
        );
        assert_eq!(messages(&unit(id)), [expected], "{id}");
        good(&unit(id));
    }
    assert!(messages(&file("", "      - {id: 1, as: 255}\n")).is_empty(), "what clients use is theirs");
}

#[test]
fn identifiers_for_clients_follow_the_first_and_end_at_255() {
    good(&file("", "      - {id: [1, 9, 5], as: 253}\n"));
    let text =
        file("", "      - {id: [1, 9, 5], as: 254}\n      - {id: 2, as: 256}\n      - {id: 3, as: 2-3}\n");
    let expected = [
        "buses[0].units[0].as: found 254, which calls these 3 units 254 to 256; allowed: 1 to 253, so that the last is 255 at most",
        "buses[0].units[1].as: found `256`; allowed: a whole number from 1 to 255",
        "buses[0].units[2].as: found `2-3`; allowed: a whole number from 1 to 255",
    ];
    assert_eq!(messages(&text), expected);
}

#[test]
fn units_of_lists_are_compared_with_all_others() {
    let text = file("", "      - id: [1, 5, 9]\n      - {id: 4-6, as: 50}\n      - {id: 7, as: 9}\n");
    let expected = [
        "buses[0].units[1].id: found unit 5 a second time, line 6 has it already; remove it from one of the two lines",
        "buses[0].units[2].as: clients call one of the units on line 6 by identifier 9 already; write `as: 2`, so that clients call this unit 2",
    ];
    assert_eq!(messages(&text), expected);
}

#[test]
fn the_diagnostics_unit_has_an_identifier_of_the_standard_or_255() {
    let with = |id: &str| format!("{}diagnostics_unit: {id}\n", file("", "      - id: 9\n"));
    for id in ["off", "1", "247", "255"] {
        good(&with(id));
    }
    for id in ["0", "248", "254", "256", "0x01", "on"] {
        let expected = format!("diagnostics_unit: found `{id}`; allowed: off, 1 to 247, or 255");
        assert_eq!(messages(&with(id)), [expected]);
    }
    let taken = with("255").replace("id: 9", "{id: 9, as: 255}");
    assert!(messages(&taken)[0].contains("by identifier 255 already"), "{:?}", messages(&taken));
}

#[test]
fn a_framing_is_one_of_two() {
    let text = file("", "      - id: 1\n");
    good(&text.replace("{address", "{framing: tcp, address"));
    good(&text.replace("{address", "{framing: rtu, address"));
    let expected = ["listeners[0].framing: found `ascii`; allowed: tcp, rtu"];
    assert_eq!(messages(&text.replace("{address", "{framing: ascii, address")), expected);
}

#[test]
fn a_meter_with_an_ethernet_port_may_have_the_identifier_that_the_guide_recommends() {
    let text = file("", "      - id: 255\n");
    assert_eq!(messages(&text).len(), 1, "reserved on a serial line");
    assert_eq!(messages(&text.replace("/dev/ttyS0", "modbus-tcp://10.0.0.7:502")), [""; 0]);
}

#[test]
fn a_listener_whose_deadline_the_longest_read_cannot_keep_is_warned_of() {
    let text = |baud: u32, deadline: &str| {
        file(&format!("    baud_rate: {baud}\n"), "      - id: 1\n")
            .replace("0.0.0.0:502", &format!("0.0.0.0:502, request_deadline: {deadline}"))
    };
    let expected = "listeners[0].request_deadline: 3s is too short for the longest reads on bus riser-a: 125 registers take 4.5 s at 600 8N1, so reads of more than 78 registers are answered with 0x0B; use request_deadline: 5s or more, or a higher baud_rate";
    assert_eq!(messages(&text(600, "3s")), [expected]);
    assert!(messages(&text(600, "5s")).is_empty());
    assert!(messages(&text(1200, "3s")).is_empty());
    let found = messages(&text(300, "600ms"));
    assert!(found[0].contains("so every read is answered with 0x0B"), "{found:?}");
    let gap = text(1200, "2300ms").replace("    units", "    request_gap: 1s\n    units");
    assert!(messages(&gap)[0].contains("take 3.2 s"), "the gap counts: {:?}", messages(&gap));
    let absent = file("    baud_rate: 600\n", "      - id: 1\n");
    assert_eq!(messages(&absent), [expected], "the default is held against the line, too");
}

#[test]
fn a_wrong_item_of_a_list_hides_no_mistake_of_the_others() {
    let functions = messages(&file("", "      - {id: 1, read_functions: [300, 0x41, 0x41]}\n"));
    let begins = |index: usize, start: &str| functions[index].starts_with(start);
    assert!(begins(0, "buses[0].units[0].read_functions[0]: found `300`; "), "{functions:?}");
    assert!(begins(1, "buses[0].units[0].read_functions[2]: found 0x41 a second time; "), "{functions:?}");
    let text = file("", "      - id: 1\n").replace("0.0.0.0:502", "0.0.0.0:502, buses: ['', riser-b]");
    let buses = messages(&text);
    assert!(buses[1].starts_with("listeners[0].buses[1]: no bus is called `riser-b`; "), "{buses:?}");
}
