//! Formats, orders and scales of meters that people have: registers of which the value is known, and that value.

use std::time::{Duration, Instant};

use metergate::meter::{Decimal, Profile, RawNumber, Sample, ScaleRead, Unscaled, Value};
use metergate::modbus::pdu::{FunctionCode, ReadRange};

/// A profile whose block `values` has these points, one on a line, from address 0 on.
fn profile(head: &str, last: u16, points: &str) -> Profile {
    let points: String = points.lines().map(|line| format!("      - {line}\n")).collect();
    let text = format!(
        "name: odd\ntitle: Odd\nfirst_register: 0\n{head}blocks:\n  - name: values\n    registers: 0-{last}\n    \
         kind: measurement\n    points:\n{points}"
    );
    Profile::parse(&text, "odd.yaml").unwrap_or_else(|problems| panic!("{problems}"))
}

fn reply(words: &[u16]) -> Vec<u8> {
    let bytes = words.iter().flat_map(|word| word.to_be_bytes());
    [3, u8::try_from(words.len() * 2).unwrap()].into_iter().chain(bytes).collect()
}

fn range(start: u16, words: &[u16]) -> ReadRange {
    let quantity = u16::try_from(words.len()).unwrap();
    ReadRange { function: FunctionCode::READ_HOLDING_REGISTERS, start, quantity }
}

/// The value of a profile's first point if its block holds these words.
fn value(profile: &Profile, words: &[u16]) -> Value<'static> {
    let reply = reply(words);
    let sample = Sample::new(range(0, words), &reply, Instant::now()).unwrap();
    let profile = Box::leak(Box::new(profile.clone()));
    profile.decode(&profile.points[0], &[sample]).unwrap().value
}

/// The same of a point alone, as text.
fn shown(point: &str, words: &[u16]) -> String {
    let last = u16::try_from(words.len() - 1).unwrap();
    let profile = profile("", last, &format!("{{register: 0, name: a, group: other, {point}}}"));
    match value(&profile, words) {
        Value::Number(number) => number.to_string(),
        Value::Float(value) => value.to_string(),
        Value::Double(value) => value.to_string(),
        Value::Text(text) => text,
        other @ (Value::Code { .. }
        | Value::Bits { .. }
        | Value::Version(_)
        | Value::NotAvailable
        | Value::NotANumber { .. }
        | Value::Unscaled { .. }) => format!("{other:?}"),
    }
}

#[test]
fn numbers_of_every_width_and_notation() {
    for (point, words, expected) in [
        ("format: u48", &[0x0001, 0x0000, 0x0002][..], "4294967298"),
        ("format: u64, scale: 0.01", &[0, 0, 1, 0x86A0], "1000.00"),
        ("format: f64", &[0x419D, 0x6F34, 0x5600, 0x0000], "123456789.5"),
        ("format: f64, scale: 0.001", &[0x419D, 0x6F34, 0x5600, 0x0000], "123456.7895"),
        ("format: f32, scale: 0.1", &[0x4510, 0x0000], "230.4"),
        ("format: bcd, words: 2, scale: 0.1", &[0x0012, 0x3456], "12345.6"),
        ("format: mod10000, words: 3", &[12, 3456, 7890], "1234567890"),
        ("format: i16, scale: -0.1, offset: 5", &[0xFFFF], "5.1"),
        ("format: u16, scale: 0.1, offset: -273.15", &[2931], "19.95"),
        ("format: u16, scale: 0.000000000000000001", &[7], "0.000000000000000007"),
    ] {
        assert_eq!(shown(point, words), expected, "{point}");
    }
}

#[test]
fn decimal_digits_that_are_none_are_no_number() {
    assert_eq!(shown("format: bcd, words: 1", &[0x00A1]), "NotANumber { bits: 161, words: 1 }");
    assert_eq!(shown("format: mod10000, words: 2", &[1, 10_000]), "NotANumber { bits: 75536, words: 2 }");
    assert!(shown("format: f64", &[0x7FF0, 0, 0, 0]).starts_with("NotANumber"), "an infinity");
}

#[test]
fn words_and_bytes_come_in_the_order_the_profile_says() {
    for (point, words, expected) in [
        ("format: u32", &[0x0001, 0x0002][..], "65538"),
        ("format: u32, word_order: low_first", &[0x0002, 0x0001], "65538"),
        ("format: u32, byte_order: low_first", &[0x0100, 0x0200], "65538"),
        ("format: u32, word_order: low_first, byte_order: low_first", &[0x0200, 0x0100], "65538"),
        ("format: f64, word_order: low_first", &[0x0000, 0x5600, 0x6F34, 0x419D], "123456789.5"),
        ("format: u16, byte_order: low_first", &[0x3412], "4660"),
    ] {
        assert_eq!(shown(point, words), expected, "{point}");
    }
    let head = "word_order: low_first\nbyte_order: low_first\n";
    let one = profile(head, 1, "{register: 0, name: a, format: u32, group: other}");
    assert_eq!(value(&one, &[0x0200, 0x0100]), Value::Number(Decimal::whole(65538)), "of the profile");
    let mut text = String::from("name: o\ntitle: O\nword_order: low_first\nblocks:\n");
    text.push_str("  - {name: b, registers: 1-2, kind: measurement, word_order: high_first, points: [");
    text.push_str("{register: 1, name: a, format: u32, group: other}]}\n");
    let block = Profile::parse(&text, "o.yaml").unwrap();
    assert_eq!(value(&block, &[1, 2]), Value::Number(Decimal::whole(65538)), "of the block");
}

#[test]
fn text_begins_in_its_first_register_and_ends_at_a_zero() {
    let words = [0x4D65, 0x7465, 0x7200, 0x5858];
    assert_eq!(shown("format: text, words: 4", &words), "Meter");
    assert_eq!(shown("format: text, words: 2, byte_order: low_first", &[0x654D, 0x6574]), "Mete");
    assert_eq!(shown("format: text, words: 2, word_order: low_first", &[0x7465, 0x4D65]), "Mete");
    let both = "format: text, words: 2, word_order: low_first, byte_order: low_first";
    assert_eq!(shown(both, &[0x6574, 0x654D]), "Mete");
    // The order of a profile or of a block is that of its numbers.
    let point = "{register: 0, name: a, format: text, words: 2, group: identity}";
    let inherited = profile("word_order: low_first\n", 1, point);
    assert_eq!(value(&inherited, &[0x4D65, 0x7465]), Value::Text("Mete".to_owned()));
    assert_eq!(
        shown("format: text, words: 1", &[0x1B41]),
        "\u{FFFD}A",
        "nothing that would steer a terminal"
    );
    assert_eq!(shown("format: text, words: 1", &[0]), "NotAvailable");
}

#[test]
fn flags_fill_two_registers() {
    let points = "{register: 0, name: a, format: bits, words: 2, group: diagnostics, bits: [\
                  {bit: 0, name: x, means: X}, {bit: 31, name: y, means: Y}]}";
    let profile = profile("", 1, points);
    let Value::Bits { bits, set } = value(&profile, &[0x8000, 0x0002]) else { panic!("no flags") };
    assert_eq!((bits, set.iter().map(|bit| bit.name.as_str()).collect::<Vec<_>>()), (0x8000_0002, vec!["y"]));
}

#[test]
fn a_not_available_code_stands_as_the_registers_hold_it_in_either_order() {
    let point = "{register: 0, name: a, format: u32, group: other}";
    let code = "not_available: {u32: 0x12345678}\n";
    for (order, words, number) in [
        ("", [0x1234, 0x5678], 0x1234_5678),
        ("word_order: low_first\n", [0x1234, 0x5678], 0x5678_1234),
        ("byte_order: low_first\n", [0x1234, 0x5678], 0x3412_7856),
        ("word_order: low_first\nbyte_order: low_first\n", [0x1234, 0x5678], 0x7856_3412_u64),
    ] {
        let profile = profile(&format!("{order}{code}"), 1, point);
        assert_eq!(value(&profile, &words), Value::NotAvailable, "{order}");
        assert_ne!(value(&profile, &[words[1], words[0]]), Value::NotAvailable, "{order}");
        let bits = profile.not_available(&profile.points[0]);
        assert_eq!(bits, Some(number), "{order}");
        assert_eq!(profile.points[0].split(number), words, "{order}");
    }
}

/// Volts are counts times one ratio over another, in tenths; the ratios stand in a block of their own.
const RATIO: &str = "name: odd\ntitle: Odd\nfirst_register: 0\nnot_available: {u16: 0xFFFF}\nblocks:\n  \
    - {name: values, registers: 0, kind: measurement, points: [{register: 0, name: volts, format: u16, unit: V,\
    \x20group: voltage, scale: [0.1, pt1], divide_by: [pt2]}]}\n  \
    - {name: ratios, registers: 10-12, kind: configuration, points: [\
    {register: 10, name: pt1, format: u32, group: configuration},\
    \x20{register: 12, name: pt2, format: u16, group: configuration}]}\n";

#[test]
fn a_ratio_is_of_the_reads_around_the_value_and_its_age_is_known() {
    let profile = Profile::parse(RATIO, "odd.yaml").unwrap_or_else(|problems| panic!("{problems}"));
    let start = Instant::now();
    let at = |seconds| start + Duration::from_secs(seconds);
    let volts = reply(&[1200]);
    let ratio = |pt1: u16, pt2: u16| reply(&[0, pt1, pt2]);
    let point = profile.point("volts").unwrap();
    let decode = |ratios: &[(u64, Vec<u8>)]| {
        let mut samples = vec![Sample::new(range(0, &[0]), &volts, at(10)).unwrap()];
        let ratios =
            ratios.iter().map(|(when, words)| Sample::new(range(10, &[0; 3]), words, at(*when)).unwrap());
        samples.extend(ratios);
        let reading = profile.decode(point, &samples).unwrap();
        (reading.value, reading.scaled)
    };
    let unscaled = |why| (Value::Unscaled { count: RawNumber::Whole(1200), why }, ScaleRead::Missing);
    let old_and_new = profile.decode(
        point,
        &[
            Sample::new(range(0, &[0]), &volts, at(10)).unwrap(),
            Sample::new(range(10, &[0; 2]), &reply(&[0, 1000]), at(4)).unwrap(),
            Sample::new(range(12, &[0]), &reply(&[200]), at(8)).unwrap(),
        ],
    );
    assert_eq!(old_and_new.unwrap().scale_asked_at, Some(at(4)), "of two ratios the older");
    let (value, read) = decode(&[(7, ratio(1000, 200))]);
    assert_eq!((value.number(), read), (Some(600.0), ScaleRead::Apart(Duration::from_secs(3))));
    let around = decode(&[(7, ratio(1000, 200)), (11, ratio(1000, 200))]);
    assert_eq!((around.0.number(), around.1), (Some(600.0), ScaleRead::Around));
    assert_eq!(decode(&[(7, ratio(1000, 200)), (11, ratio(1000, 300))]), unscaled(Unscaled::Changed));
    assert_eq!(decode(&[]), unscaled(Unscaled::NotRead));
    assert_eq!(decode(&[(9, ratio(1000, 0))]), unscaled(Unscaled::NoRatio));
    assert_eq!(decode(&[(9, ratio(1000, 0xFFFF))]), unscaled(Unscaled::NoRatio));
    let exact = decode(&[(10, ratio(1000, 300))]).0;
    assert_eq!(exact.number(), Some(400.0), "the quotient of both ratios alone has no end");
    let third = decode(&[(10, ratio(1, 7))]).0;
    assert_eq!(third, Value::Double(120.0 / 7.0), "a quotient without an end");
}
