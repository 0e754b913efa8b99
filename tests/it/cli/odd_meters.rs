//! What `read` and `write` say of meters that answer oddly: alerts, missing values, writes that do not take.

use std::collections::BTreeMap;
use std::process::Command;

use serde_json::Value;

use crate::support::tcp_server::{registers, tcp_server};

/// Registers by their printed number; any other reads its own number.
type Registers = BTreeMap<u16, u16>;

/// A Modbus TCP server that holds these registers. A write is answered well, and changes nothing.
fn meter(held: Registers) -> String {
    let word = move |address: u16| held.get(&(address + 1)).copied().unwrap_or(address + 1);
    tcp_server(move |pdu| if pdu[0] == 0x06 { pdu.to_vec() } else { registers(pdu, &word) })
}

fn run(arguments: &[&str]) -> (String, String, i32) {
    let output = Command::new(env!("CARGO_BIN_EXE_metergate")).args(arguments).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (text(&output.stdout), text(&output.stderr), output.status.code().unwrap())
}

#[test]
fn alerts_are_told_in_words_and_flags_without_a_name_are_not_hidden() {
    let address = meter(Registers::from([(146, 0x0481)]));
    let (out, _, code) = run(&["read", &address, "--unit", "1", "diagnostics"]);
    assert_eq!(code, 0);
    assert!(out.contains("voltage_a phase_loss_c 0x0080"), "bit 7 has no name: {out}");
    assert!(out.contains("\nAlerts:\n  Voltage A out of range\n  Phase C lost\n"), "{out}");
    let (out, _, _) = run(&["read", &address, "--unit", "1", "--json", "alert_bitmap"]);
    let reading: Value = serde_json::from_str(&out).unwrap();
    let alert =
        serde_json::json!({"point": "alert_bitmap", "name": "voltage_a", "means": "Voltage A out of range"});
    assert_eq!((&reading["alerts"][0], reading["alerts"].as_array().unwrap().len()), (&alert, 2));
    assert_eq!(reading["points"][0]["value"], 0x0481);
    let (out, _, _) = run(&["read", &address, "--unit", "1", "frequency"]);
    assert!(!out.contains("Alerts"), "nothing is said of alerts that were not read: {out}");
}

#[test]
fn a_value_the_meter_does_not_have_is_never_a_number() {
    let registers = [(16, 0x8000), (287, 0x7FC0), (288, 0), (289, 0x7F80), (290, 0), (139, 0)];
    let address = meter(Registers::from(registers));
    let words = ["voltage_ab", "voltage_ab_f", "voltage_bc_f"];
    let read = |style: &[&str]| run(&[&["read", &address, "--unit", "1"], style, &words].concat());
    let (out, _, code) = read(&[]);
    assert_eq!((code, out.matches(" n/a ").count()), (0, 2), "{out}");
    assert!(out.contains("no number (0x7F800000)"), "an infinity: {out}");
    let (out, _, _) = read(&["--json"]);
    let reading: Value = serde_json::from_str(&out).unwrap();
    for point in reading["points"].as_array().unwrap() {
        assert!(point["value"].is_null() && point["available"] == false && point["read"] == true, "{point}");
    }
    let (out, _, _) = read(&["--csv"]);
    assert!(out.ends_with(",1,,,,,\n"), "{out}");
}

#[test]
fn a_count_without_a_sound_exponent_is_no_value() {
    let address = meter(Registers::from([(140, 7)]));
    let (out, _, code) = run(&["read", &address, "--unit", "1", "real_power_total"]);
    assert!(code == 0 && out.contains("3 steps (its exponent reads 7)"), "{out}");
    let (out, _, _) = run(&["read", &address, "--unit", "1", "--json", "real_power_total"]);
    assert!(out.contains("\"value\":null"), "{out}");
}

#[test]
fn a_value_outside_its_range_is_shown_and_marked() {
    let address = meter(Registers::from([(26, 9999)]));
    let (out, _, _) = run(&["read", &address, "--unit", "1", "frequency"]);
    assert!(out.contains("99.99 Hz (outside its range)"), "{out}");
    let (out, _, _) = run(&["read", &address, "--unit", "1", "--json", "frequency"]);
    let reading: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(reading["points"][0]["remark"], "outside its range");
}

#[test]
fn a_write_the_meter_does_not_keep_ends_with_1() {
    let address = meter(Registers::from([(131, 100)]));
    let (out, err, code) = run(&["write", &address, "--unit", "1", "ct_primary=200", "--yes"]);
    assert!(code == 1 && out.contains("now  100 A") && err.contains("ct_primary reads 100 A"), "{out}{err}");
    let (out, _, code) = run(&["write", &address, "--unit", "1", "ct_primary=100", "--yes"]);
    assert!(code == 0 && out.contains("reads back the same"), "{out}");
    let (out, _, code) = run(&["write", &address, "--unit", "1", "command=clear_pulses", "--yes"]);
    assert!(code == 0 && out.contains("cannot be read back"), "{out}");
}
