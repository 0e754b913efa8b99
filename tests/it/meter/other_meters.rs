//! The built-in profiles of other makers' meters: known registers, and the physical values they stand for.

use std::time::Instant;

use metergate::meter::{Profile, Sample, Value};
use metergate::modbus::pdu::FunctionCode;

/// The value of a point whose registers hold these words.
fn value(profile: &'static Profile, name: &str, words: &[u16]) -> Value<'static> {
    let point = profile.point(name).unwrap_or_else(|| panic!("{name}"));
    let bytes = words.iter().flat_map(|word| word.to_be_bytes());
    let head = [point.range.function.0, u8::try_from(words.len() * 2).unwrap()];
    let reply: Vec<u8> = head.into_iter().chain(bytes).collect();
    let sample = Sample::new(point.range, &reply, Instant::now()).unwrap();
    profile.decode(point, &[sample]).unwrap().value
}

fn shown(profile: &'static Profile, name: &str, words: &[u16]) -> String {
    let found = value(profile, name, words);
    match (&found, found.number()) {
        (Value::Number(number), _) => number.to_string(),
        (Value::Float(number), _) => number.to_string(),
        (_, number) => format!("{number:?}"),
    }
}

#[test]
fn every_built_in_profile_has_its_name_and_those_not_tried_say_so() {
    for name in Profile::builtin_names() {
        let profile = Profile::builtin(name).unwrap();
        assert_eq!(profile.name, *name);
        assert_eq!(profile.title.contains("untried on a real meter"), *name != "leviton-4000r", "{name}");
        assert!(!profile.headline.is_empty(), "{name}");
    }
    assert_eq!(Profile::builtin("quux"), None);
}

#[test]
fn an_sdm630_gives_floats_of_input_registers() {
    let profile = Profile::builtin("eastron-sdm630").unwrap();
    for (name, register, address, words, expected) in [
        ("voltage_an", 30001, 0x0000, [0x4366, 0x3333], "230.2"),
        ("current_c", 30011, 0x000A, [0x40A3, 0xD70A], "5.12"),
        ("real_power_total", 30053, 0x0034, [0xC49A, 0x5000], "-1234.5"),
        ("power_factor_total", 30063, 0x003E, [0x3F7D, 0x70A4], "0.99"),
        ("frequency", 30071, 0x0046, [0x4248, 0x0000], "50"),
        ("real_energy_imported", 30073, 0x0048, [0x449A, 0x5000], "1234.5"),
        ("real_energy_exported", 30075, 0x004A, [0x0000, 0x0000], "0"),
        ("voltage_ab", 30201, 0x00C8, [0x43C7, 0x599A], "398.7"),
        ("real_energy_total", 30343, 0x0156, [0x449A, 0x5000], "1234.5"),
        ("real_energy_imported_a", 30347, 0x015A, [0x449A, 0x5000], "1234.5"),
        ("real_energy_exported_a", 30353, 0x0160, [0x449A, 0x5000], "1234.5"),
        ("real_energy_c", 30363, 0x016A, [0x449A, 0x5000], "1234.5"),
    ] {
        let point = profile.point(name).unwrap();
        assert_eq!((point.register, point.range.start), (register, address), "{name}");
        assert_eq!(point.range.function, FunctionCode::READ_INPUT_REGISTERS, "{name}");
        assert_eq!(shown(profile, name, &words), expected, "{name}");
    }
    assert!(profile.blocks.iter().all(|block| block.range.quantity <= 80), "the longest read it takes");
}

#[test]
fn an_em24_gives_integers_with_the_low_word_first() {
    let profile = Profile::builtin("gavazzi-em24").unwrap();
    for (name, address, words, expected) in [
        ("voltage_an", 0x00, &[2301, 0][..], "230.1"),
        ("current_a", 0x0C, &[5120, 0], "5.120"),
        ("real_power_c", 0x16, &[0xFFFE, 0xFFFF], "-0.2"),
        ("real_power_total", 0x28, &[0xCFC7, 0xFFFF], "-1234.5"),
        ("power_factor_total", 0x35, &[0xFC18], "-1.000"),
        ("phase_sequence", 0x36, &[0xFFFF], "-1"),
        ("frequency", 0x37, &[500], "50.0"),
        ("real_energy_imported", 0x3E, &[0xD687, 0x0012], "123456.7"),
        ("real_energy_imported_b", 0x48, &[0xD687, 0x0012], "123456.7"),
        ("real_energy_exported", 0x5C, &[10, 0], "1.0"),
    ] {
        assert_eq!(profile.point(name).unwrap().range.start, address, "{name}");
        assert_eq!(shown(profile, name, words), expected, "{name}");
    }
    assert!(profile.point("real_energy_imported").unwrap().bill_by);
}
