//! Registers into values: exact for counts, and no value where there is none.

use std::time::{Duration, Instant};

use metergate::meter::{Decimal, Profile, RawNumber, Reading, Sample, ScaleRead, Unscaled, Value, Version};
use metergate::modbus::pdu::{FunctionCode, ReadRange};
use proptest::prelude::{any, proptest};

const SUNSPEC: &str = include_str!("../../../config/profiles/sunspec-meter-213.yaml");

fn meter() -> &'static Profile {
    Profile::builtin("leviton-4000r").expect("a built-in profile")
}

/// A read of registers as printed, and its reply.
struct Read(ReadRange, Vec<u8>);

impl Read {
    fn new(first: u16, words: &[u16]) -> Self {
        Self::with(FunctionCode::READ_HOLDING_REGISTERS, first, words)
    }

    fn with(function: FunctionCode, first: u16, words: &[u16]) -> Self {
        let quantity = u16::try_from(words.len()).expect("one read");
        let mut reply = vec![function.0, u8::try_from(words.len() * 2).expect("one read")];
        reply.extend(words.iter().flat_map(|word| word.to_be_bytes()));
        Self(ReadRange { function, start: first - 1, quantity }, reply)
    }

    fn at(&self, asked_at: Instant) -> Sample<'_> {
        Sample::new(self.0, &self.1, asked_at).expect("a reply to the read")
    }
}

fn decode<'p>(profile: &'p Profile, name: &str, samples: &[Sample<'_>]) -> Reading<'p> {
    profile.decode(profile.point(name).expect(name), samples).expect("a read that holds the point")
}

/// The value of a point in one read alone.
fn value(name: &str, first: u16, words: &[u16]) -> Value<'static> {
    decode(meter(), name, &[Read::new(first, words).at(Instant::now())]).value
}

fn number(digits: i128, exponent: i8) -> Value<'static> {
    Value::Number(Decimal { digits, exponent })
}

#[test]
fn every_exponent_gives_the_factor_of_the_table() {
    let factors = [
        (-4, "0.0012"),
        (-3, "0.012"),
        (-2, "0.12"),
        (-1, "1.2"),
        (0, "12"),
        (1, "120"),
        (2, "1200"),
        (3, "12000"),
        (4, "120000"),
    ];
    let now = Instant::now();
    for (exponent, shown) in factors {
        let power = Read::new(3, &[12]);
        let scales = Read::new(140, &[i16::cast_unsigned(exponent)]);
        let reading = decode(meter(), "real_power_total", &[power.at(now), scales.at(now)]);
        let Value::Number(found) = reading.value else { panic!("{:?}", reading.value) };
        assert_eq!(found.to_string(), shown);
        assert_eq!(reading.point.unit, Some("kW"));
    }
}

#[test]
fn an_exponent_the_table_does_not_have_gives_no_value() {
    let now = Instant::now();
    for exponent in [5, -5, i16::MIN] {
        let (power, scales) = (Read::new(3, &[12]), Read::new(140, &[exponent.cast_unsigned()]));
        let reading = decode(meter(), "real_power_total", &[power.at(now), scales.at(now)]);
        assert_eq!(
            reading.value,
            Value::Unscaled { count: RawNumber::Whole(12), why: Unscaled::Impossible(exponent) }
        );
        assert_eq!(reading.scaled, ScaleRead::Missing);
    }
}

#[test]
fn a_count_without_its_exponent_is_no_value() {
    let expected = Value::Unscaled { count: RawNumber::Whole(12), why: Unscaled::NotRead };
    assert_eq!(value("real_power_total", 3, &[12]), expected);
}

#[test]
fn an_exponent_of_another_read_says_how_far_apart_it_was() {
    let early = Instant::now();
    let late = early + Duration::from_secs(7);
    let (power, scales) = (Read::new(3, &[12]), Read::new(140, &[1]));
    for (power_at, scales_at) in [(early, late), (late, early)] {
        let reading = decode(meter(), "real_power_total", &[power.at(power_at), scales.at(scales_at)]);
        assert_eq!(reading.value, number(12, 1));
        assert_eq!(reading.scaled, ScaleRead::Apart(Duration::from_secs(7)));
        assert_eq!(reading.asked_at, power_at);
    }
}

#[test]
fn the_first_read_of_an_exponent_is_no_proof_of_what_was_long_before_it() {
    let start = Instant::now();
    let (power, scales) = (Read::new(3, &[12]), Read::new(140, &[1]));
    let after = |apart: Duration| {
        let samples = [power.at(start), scales.at(start + apart)];
        decode(meter(), "real_power_total", &samples).value
    };
    assert_eq!(after(Duration::from_secs(10)), number(12, 1), "the first walk over the blocks after a start");
    let late = after(Duration::from_millis(10_001));
    assert_eq!(late, Value::Unscaled { count: RawNumber::Whole(12), why: Unscaled::NotRead });
}

#[test]
fn what_a_value_is_scaled_by_has_an_age_of_its_own() {
    let start = Instant::now();
    let at = |seconds| start + Duration::from_secs(seconds);
    let (power, scales) = (Read::new(3, &[12]), Read::new(140, &[1]));
    let scaled_at = |samples: &[Sample<'_>]| decode(meter(), "real_power_total", samples).scale_asked_at;
    assert_eq!(scaled_at(&[scales.at(at(10)), power.at(at(3000))]), Some(at(10)));
    let around = [scales.at(at(10)), power.at(at(20)), scales.at(at(30)), scales.at(at(40))];
    assert_eq!(scaled_at(&around), Some(at(30)), "the last of the two that agree");
    assert_eq!(scaled_at(&[power.at(at(20))]), None);
    let float = Read::new(261, &[0x4049, 0x0FDB]);
    assert_eq!(decode(meter(), "real_power_total_f", &[float.at(at(0))]).scale_asked_at, None);
    let own = Read::new(135, &[104, 0, 1, 0, 0, 0xFFFF, 0]);
    let together = decode(meter(), "max_theoretical_power", &[own.at(at(7))]);
    assert_eq!((together.scaled, together.scale_asked_at), (ScaleRead::Together, Some(at(7))));
}

#[test]
fn an_exponent_read_before_and_after_is_sure_and_one_that_changed_gives_no_value() {
    let at = |seconds| Instant::now() + Duration::from_secs(seconds);
    let (power, one, two) = (Read::new(3, &[12]), Read::new(140, &[1]), Read::new(140, &[2]));
    let same = [one.at(at(10)), power.at(at(20)), one.at(at(30))];
    let reading = decode(meter(), "real_power_total", &same);
    assert_eq!((reading.value, reading.scaled), (number(12, 1), ScaleRead::Around));
    let changed = [one.at(at(10)), power.at(at(20)), two.at(at(30))];
    let reading = decode(meter(), "real_power_total", &changed);
    assert_eq!(reading.value, Value::Unscaled { count: RawNumber::Whole(12), why: Unscaled::Changed });
    // What it was before it was read last, and what it became later, is of no interest.
    let older = [two.at(at(5)), one.at(at(10)), power.at(at(20)), one.at(at(30)), two.at(at(40))];
    assert_eq!(decode(meter(), "real_power_total", &older).scaled, ScaleRead::Around);
}

#[test]
fn an_exponent_of_the_same_read_is_the_one_that_counts() {
    let now = Instant::now();
    let (other, settings) = (Read::new(140, &[4]), Read::new(135, &[104, 0, 1, 0, 0, 0xFFFF, 0]));
    let samples = [other.at(now - Duration::from_secs(1)), settings.at(now), other.at(now)];
    let reading = decode(meter(), "max_theoretical_power", &samples);
    assert_eq!((reading.value, reading.scaled), (number(104, -1), ScaleRead::Together));
}

#[test]
fn the_newest_read_that_holds_the_whole_point_counts() {
    let now = Instant::now();
    let later = |seconds| now + Duration::from_secs(seconds);
    let (old, new, half) = (Read::new(43, &[0, 7]), Read::new(43, &[1, 2, 0, 9]), Read::new(44, &[5, 0, 0]));
    let samples = [new.at(later(2)), half.at(later(3)), old.at(later(1))];
    let reading = decode(meter(), "pulse_counter_1", &samples);
    assert_eq!((reading.value, reading.asked_at), (number(65538, 0), later(2)));
    let point = meter().point("pulse_counter_1").unwrap();
    assert_eq!(meter().decode(point, &[half.at(now)]), None);
    assert_eq!(meter().decode(point, &[]), None);
}

#[test]
fn not_available_is_no_number_in_either_representation() {
    assert_eq!(value("voltage_an", 19, &[0x8000]), Value::NotAvailable);
    assert_eq!(value("power_factor_a", 13, &[0x8000]), Value::NotAvailable);
    assert_eq!(value("reserved_025", 25, &[0x8000]), Value::NotAvailable);
    assert_eq!(value("reserved_132", 132, &[0x8000]), Value::NotAvailable);
    assert_eq!(value("voltage_an_f", 293, &[0x7FC0, 0x0000]), Value::NotAvailable);
    assert_eq!(value("voltage_an_f", 293, &[0x7FC0, 0x0000]).number(), None);
}

#[test]
fn a_number_that_looks_like_not_available_stays_a_number() {
    // A high word of 8000 is a count, all alerts may be off but the last, and any version may come.
    assert_eq!(value("pulse_counter_1", 43, &[0x8000, 0]), number(0x8000_0000, 0));
    assert_eq!(value("pulse_counter_1", 43, &[0xFFFF, 0xFFFF]), number(i128::from(u32::MAX), 0));
    assert_eq!(
        value("firmware_version_os", 7001, &[0x8000]),
        Value::Version(Version { major: 32, minor: 768 })
    );
    let Value::Bits { bits, set } = value("alert_bitmap", 146, &[0x8000]) else { panic!("no bits") };
    assert_eq!((bits, set.len(), set[0].name.as_str()), (0x8000, 1, "pulses_too_small"));
}

#[test]
fn a_float_that_is_no_number_keeps_its_bits() {
    for bits in [0x7FC0_0001_u32, 0xFFC0_0000, 0x7F80_0001, 0x7F80_0000, 0xFF80_0000] {
        let words = [(bits >> 16) as u16, (bits & 0xFFFF) as u16];
        assert_eq!(value("voltage_an_f", 293, &words), Value::NotANumber { bits: bits.into(), words: 2 });
    }
}

#[test]
fn floats_and_fixed_steps_come_as_the_meter_means_them() {
    // 277.3 V as IEEE 754: 43 8A A6 66.
    assert_eq!(value("voltage_an_f", 293, &[0x438A, 0xA666]), Value::Float(277.3));
    assert_eq!(value("frequency", 26, &[5998]), number(599_800 / 100, -2));
    assert_eq!(value("power_factor_total", 6, &[9876]), number(9876, -4));
    assert_eq!(value("pt_ratio", 133, &[100]).number(), Some(1.0));
}

#[test]
fn codes_alerts_and_versions_say_what_they_mean() {
    assert_eq!(value("system_type", 130, &[40]), Value::Code { code: 40, means: "wye, four wires" });
    assert_eq!(value("system_type", 130, &[20]), number(20, 0));
    assert_eq!(
        value("firmware_version_os", 7001, &[12345]),
        Value::Version(Version { major: 12, minor: 345 })
    );
    assert_eq!(Version { major: 2, minor: 15 }.to_string(), "V02.015", "as its guide has it");
    let Value::Bits { bits, set } = value("alert_bitmap", 146, &[0b0100_0001_1000_0101]) else {
        panic!("no bits")
    };
    let names: Vec<_> = set.iter().map(|bit| bit.name.as_str()).collect();
    // Bit 7 is a spare: it has no name, and is not lost either.
    assert_eq!((bits, names), (0x4185, vec!["voltage_a", "voltage_c", "phase_loss_a", "pulses_late"]));
}

#[test]
fn a_value_outside_the_printed_range_is_given_and_marked() {
    let now = Instant::now();
    let read = |name: &str, first, words: &[u16]| {
        let reading = decode(meter(), name, &[Read::new(first, words).at(now)]);
        (reading.value.number(), reading.in_range)
    };
    assert_eq!(read("frequency", 26, &[6500]), (Some(65.0), true));
    assert_eq!(read("frequency", 26, &[6501]), (Some(65.01), false));
    assert_eq!(read("demand_subinterval_s", 150, &[0]), (Some(0.0), true));
    assert_eq!(read("demand_subinterval_s", 150, &[9]), (Some(9.0), false));
    assert_eq!(read("power_factor_a_f", 281, &[0x3F80, 0]), (Some(1.0), true));
    assert_eq!(read("power_factor_a_f", 281, &[0x4000, 0]), (Some(2.0), false));
}

#[test]
fn a_reply_that_does_not_fit_its_read_is_no_sample() {
    let Read(range, reply) = Read::new(3, &[1, 2]);
    let now = Instant::now();
    assert!(Sample::new(range, &reply, now).is_some());
    for wrong in [&reply[..5], &[][..], &[3], &[4, 4, 0, 1, 0, 2], &[3, 5, 0, 1, 0, 2], &[0x83, 2]] {
        assert!(Sample::new(range, wrong, now).is_none(), "{wrong:02X?}");
    }
}

#[test]
fn the_second_profile_is_read_and_decodes_another_kind_of_meter() {
    let profile = Profile::parse(SUNSPEC, "sunspec-meter-213.yaml").expect("a sound profile");
    assert_eq!(profile.points.len(), 63);
    let now = Instant::now();
    let read = |name: &str, first, words: &[u16]| {
        decode(&profile, name, &[Read::new(first, words).at(now)]).value.number()
    };
    assert_eq!(read("model", 40071, &[213, 124]), Some(213.0));
    assert_eq!(read("voltage_an", 40083, &[0x4366, 0]), Some(230.0));
    assert_eq!(read("reactive_energy_exported_q4_c", 40193, &[0x7FC0, 0]), None);
    let not_there = Read::new(40072, &[0xFFFF]);
    assert_eq!(decode(&profile, "model_length", &[not_there.at(now)]).value, Value::NotAvailable);
    assert!(!profile.may_split_at(FunctionCode::READ_HOLDING_REGISTERS, 40073));
    assert!(profile.may_split_at(FunctionCode::READ_HOLDING_REGISTERS, 40074));
}

const OTHER: &str = "name: other
title: Another meter
first_register: 40001
word_order: low_first
mirrored: yes
blocks:
  - name: all
    registers: 40001-40010
    kind: measurement
    points:
      - {register: 40001, name: total, format: u64, unit: Wh, group: energy}
      - {register: 40005, name: balance, format: i32, unit: W, scale: 2.5, group: power}
      - {register: 40007, name: inside, format: i16, unit: degC, scale: tenth, group: other}
      - {register: 40008, name: tenth, format: exponent, group: scale}
      - {register: 40009, name: ratio, format: f32, group: other}
";

#[test]
fn low_words_first_signed_numbers_and_mirrored_tables_are_decoded() {
    let profile = Profile::parse(OTHER, "other.yaml").expect("a sound profile");
    let words = [2, 0, 0, 0x8000, 0xFFFE, 0xFFFF, 0xFF38, 0xFFFF, 0x0000, 0x3FC0];
    for function in [FunctionCode::READ_HOLDING_REGISTERS, FunctionCode::READ_INPUT_REGISTERS] {
        let read = Read::with(function, 1, &words);
        let found = |name: &str| decode(&profile, name, &[read.at(Instant::now())]).value;
        assert_eq!(found("total"), number(0x8000_0000_0000_0002, 0));
        assert_eq!(found("balance"), number(-50, -1));
        assert_eq!(found("inside"), number(-200, -1));
        assert_eq!(found("ratio"), Value::Float(1.5));
        assert!(profile.may_split_at(function, 4) && !profile.may_split_at(function, 3));
        assert_eq!(profile.point_at(function, 9).map(|point| point.name.as_str()), Some("ratio"));
    }
    assert_eq!(profile.point_at(FunctionCode::READ_COILS, 0), None);
}

#[test]
fn decimals_are_shown_exactly_and_read_as_the_nearest_float() {
    for (digits, exponent, shown, float) in [
        (0, 0, "0", 0.0),
        (0, 4, "0", 0.0),
        (0, -2, "0.00", 0.0),
        (-5, -1, "-0.5", -0.5),
        (1234, -1, "123.4", 123.4),
        (7, -4, "0.0007", 0.0007),
        (3, -1, "0.3", 0.3),
        (i128::from(u32::MAX), 4, "42949672950000", 42_949_672_950_000.0),
        (9_999_999_999_999_999, -2, "99999999999999.99", 99_999_999_999_999.99),
        (-9_999_999_999_999_999, -2, "-99999999999999.99", -99_999_999_999_999.99),
        (i128::from(u64::MAX), -4, "1844674407370955.1615", 1_844_674_407_370_955.3),
        (9_007_199_254_740_993, 0, "9007199254740993", 9_007_199_254_740_992.0),
        (123, -23, "0.00000000000000000000123", 1.23e-21),
    ] {
        let number = Decimal { digits, exponent };
        assert_eq!((number.to_string().as_str(), number.to_f64()), (shown, float));
    }
    for text in ["", ".", "1.", ".5", "--1", "-", "1e3", "1,5", "1.2.3", "1234567890123456789"] {
        assert_eq!(Decimal::parse(text), None, "{text}");
    }
}

proptest! {
    #[test]
    fn no_registers_cause_a_panic(words in proptest::collection::vec(any::<u16>(), 52), scales in any::<[u16; 26]>()) {
        let now = Instant::now();
        let (data, settings) = (Read::new(1, &words), Read::new(129, &scales));
        let floats = Read::new(257, &words);
        for point in &meter().points {
            let _ = meter().decode(point, &[data.at(now), settings.at(now), floats.at(now)]);
        }
    }
}
