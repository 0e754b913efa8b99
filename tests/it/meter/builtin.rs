//! The built-in profile of the 4000-R against figures read from the documents independently.

use metergate::meter::{Access, BlockKind, Confidence, Format, Group, Point, Profile, Scale, Valid};
use metergate::modbus::pdu::{FunctionCode, ReadRange};

use super::figures::{self, FIGURES, Figure, RANGES};

fn profile() -> &'static Profile {
    Profile::builtin("leviton-4000r").expect("a built-in profile")
}

/// The registers of a holding block, as printed.
fn printed(first: u16, last: u16) -> ReadRange {
    ReadRange { function: FunctionCode::READ_HOLDING_REGISTERS, start: first - 1, quantity: last - first + 1 }
}

#[test]
fn every_built_in_profile_can_be_read_and_has_the_name_it_goes_by() {
    assert_eq!(Profile::builtin_names(), ["leviton-4000r", "eastron-sdm630", "gavazzi-em24"]);
    for name in Profile::builtin_names() {
        assert_eq!(Profile::builtin(name).map(|profile| profile.name.as_str()), Some(*name));
    }
    assert_eq!(Profile::builtin("leviton-4000k"), None);
}

#[test]
fn every_point_of_the_papers_is_in_the_table_and_no_other() {
    let points = &profile().points;
    let names: Vec<_> = points.iter().map(|point| (point.register, point.name.as_str())).collect();
    let expected: Vec<_> = FIGURES.iter().map(|figure| (figure.0, figure.1)).collect();
    assert_eq!(names, expected);
}

#[test]
fn every_point_has_the_figures_of_the_papers() {
    for (point, figure) in profile().points.iter().zip(FIGURES) {
        let Figure(register, name, format, unit, scale, flags, confidence) = *figure;
        let own_scale = match &point.scale {
            None => String::new(),
            Some(Scale::Factor(step)) => step.to_string(),
            Some(Scale::Exponent(name)) => name.clone(),
            Some(Scale::Ratio(ratio)) => panic!("{ratio:?}"),
        };
        assert_eq!(u32::from(point.range.start) + 1, register, "{name}");
        assert_eq!(point.range.function, FunctionCode::READ_HOLDING_REGISTERS, "{name}");
        assert_eq!(point.format.word(), format, "{name}");
        assert_eq!(point.unit.unwrap_or(""), unit, "{name}");
        assert_eq!(own_scale, scale, "{name}");
        assert_eq!(point.access == Access::ReadWrite, flags.contains('W'), "{name}");
        assert_eq!(point.non_volatile, flags.contains('N'), "{name}");
        let sure = match confidence {
            'o' => Confidence::Own,
            's' => Confidence::Sibling,
            _ => Confidence::Inferred,
        };
        assert_eq!(point.confidence, sure, "{name}");
        assert!(!point.description.is_empty(), "{name}");
    }
}

#[test]
fn the_papers_of_the_meter_itself_vouch_for_the_points_they_print() {
    let sure = |confidence| profile().points.iter().filter(|point| point.confidence == confidence).count();
    // 16 rows in the text this project started from, 34 on other pages of the 4000-R's papers.
    assert_eq!((sure(Confidence::Own), sure(Confidence::Sibling), sure(Confidence::Inferred)), figures::SURE);
}

#[test]
fn each_float_stands_where_the_rule_of_the_twins_puts_it() {
    let profile = profile();
    let integers = profile.block("integers").expect("a block");
    for point in profile.points_of(integers) {
        let n = point.register;
        let expected = match n {
            1..=27 => 257 + 2 * (n - 1),
            29 => 311,
            31..=42 => 257 + 2 * (n - 3),
            43.. => 337 + (n - 43),
            _ => panic!("{n} is the second register of a pair"),
        };
        let is_copy = |other: &&Point| other.copy_of.as_ref() == Some(&point.name);
        let copies = || profile.points.iter().filter(is_copy);
        let registers: Vec<_> = copies().map(|copy| copy.register).collect();
        // The energy stands a second time where the rule would put its second word.
        let expected = if n == 1 { vec![257, 259] } else { vec![expected] };
        assert_eq!(registers, expected, "{}", point.name);
        for copy in copies() {
            assert_eq!((copy.unit, copy.group), (point.unit, point.group), "{}", copy.name);
            assert_eq!((copy.format, copy.access), (Format::F32, Access::Read), "{}", copy.name);
            assert_eq!(copy.description, point.description, "{}", copy.name);
        }
    }
    assert_eq!(profile.points.iter().filter(|point| point.copy_of.is_some()).count(), 45);
}

#[test]
fn every_point_has_the_range_of_the_papers() {
    for point in &profile().points {
        let row = RANGES.iter().find(|(first, last, _)| (*first..=*last).contains(&point.register));
        let expected: Vec<_> =
            row.into_iter().flat_map(|(_, _, spans)| *spans).map(|(low, high)| *low..=*high).collect();
        assert_eq!(point.allowed, expected, "{}", point.name);
    }
}

#[test]
fn the_blocks_are_the_ones_without_a_hole_and_only_the_integers_are_left_to_learning() {
    let blocks: Vec<_> = profile()
        .blocks
        .iter()
        .map(|block| (block.name.as_str(), block.range, block.core, block.kind, block.polled))
        .collect();
    let expected = [
        ("integers", printed(1, 52), Some(printed(1, 42)), BlockKind::Measurement, false),
        ("configuration", printed(129, 154), Some(printed(129, 150)), BlockKind::Configuration, true),
        ("floats", printed(257, 346), Some(printed(257, 342)), BlockKind::Measurement, true),
        ("firmware", printed(7001, 7001), None, BlockKind::Identity, true),
    ];
    assert_eq!(blocks, expected);
    assert!(!profile().mirrored);
    for block in &profile().blocks {
        assert!(!touches_gap(profile(), &block.range), "{}", block.name);
    }
}

/// Whether a read touches a register that the profile lists as a gap.
fn touches_gap(profile: &Profile, range: &ReadRange) -> bool {
    let first = profile.register(range.start);
    let last = first + u32::from(range.quantity) - 1;
    profile.gaps.iter().any(|gap| *gap.start() <= last && first <= *gap.end())
}

#[test]
fn every_pair_begins_at_an_odd_printed_number_and_is_never_split() {
    let profile = profile();
    let function = FunctionCode::READ_HOLDING_REGISTERS;
    for point in profile.points.iter().filter(|point| point.range.quantity == 2) {
        assert_eq!(point.register % 2, 1, "{}", point.name);
        let first = point.range.start;
        assert!(profile.may_split_at(function, first), "{}", point.name);
        assert!(!profile.may_split_at(function, first + 1), "{}", point.name);
        assert!(profile.may_split_at(function, first + 2), "{}", point.name);
    }
    // 004 follows a single word, 129 to 154 are all single words, and both tables have the same pairs.
    assert!(profile.may_split_at(function, 3));
    assert!((128..155).all(|address| profile.may_split_at(function, address)));
    assert!(!profile.may_split_at(FunctionCode::READ_INPUT_REGISTERS, 1));
    assert!(profile.may_split_at(FunctionCode::READ_COILS, 1));
}

#[test]
fn a_point_is_found_by_its_address_in_each_table() {
    let profile = profile();
    let at = |function, address| profile.point_at(function, address).map(|point| point.name.as_str());
    assert_eq!(at(FunctionCode::READ_HOLDING_REGISTERS, 257), Some("real_energy_total_f"));
    assert_eq!(at(FunctionCode::READ_INPUT_REGISTERS, 257), Some("real_energy_total_f"));
    assert_eq!(at(FunctionCode::READ_COILS, 257), None);
    assert_eq!(profile.point("real_power_a").map(|point| point.register), Some(10));
    let scales: Vec<_> = profile.group(Group::Scale).map(|point| point.register).collect();
    assert_eq!(scales, [138, 139, 140, 141]);
}

#[test]
fn the_commands_and_their_limits_are_those_of_the_papers() {
    let commands: Vec<_> = profile()
        .commands
        .iter()
        .map(|c| (c.point.as_str(), c.code, c.name.as_str(), c.min_interval.as_secs(), c.confidence))
        .collect();
    let expected = [
        ("command", 0x757E, "clear_energy", 0, Confidence::Sibling),
        ("command", 0x4072, "clear_pulses", 0, Confidence::Sibling),
        ("command", 0x52DB, "next_subinterval", 10, Confidence::Inferred),
        ("command", 0x52DC, "reset_peaks", 10, Confidence::Inferred),
    ];
    assert_eq!(commands, expected);
}

#[test]
fn what_means_nothing_under_a_system_type_follows_from_its_wiring_and_holds_for_the_copies() {
    let profile = profile();
    let valid = |name: &str, code| profile.valid(profile.point(name).expect(name), code);
    for (name, expected) in [
        ("voltage_an", "ynynY"),
        ("voltage_an_f", "ynynY"),
        ("voltage_ab", "nyyyY"),
        ("voltage_bc_f", "nnnyY"),
        ("voltage_ll_avg", "nyyyY"),
        ("voltage_ln_avg_f", "ynynY"),
        ("current_b", "nnyyY"),
        ("current_c_f", "nnnyY"),
        ("real_power_a", "yyy?Y"),
        ("real_power_b", "nny?Y"),
        ("power_factor_c_f", "nnn?Y"),
        ("real_energy_c_f", "????Y"),
        ("real_energy_total", "yyyyY"),
        ("frequency", "yyyyY"),
    ] {
        for (code, expected) in [10, 11, 12, 31, 40].into_iter().zip(expected.chars()) {
            let expected = match expected {
                'n' => Valid::No,
                '?' => Valid::Unknown,
                _ => Valid::Yes,
            };
            assert_eq!(valid(name, code), expected, "{name} on type {code}");
        }
    }
    assert_eq!(valid("voltage_an", 20), Valid::Unknown);
}

#[test]
fn the_meter_is_known_by_the_way_it_names_itself() {
    let own = &profile().identification;
    assert!(own.fits_server_id(247, "Leviton Series 4000R Power Meter - full data set"));
    assert!(!own.fits_server_id(247, "Veris E50C2 Power Meter"));
    assert!(!own.fits_server_id(1, "Leviton Series 4000R Power Meter"));
    assert!(own.fits_device("Leviton", "Series 4000"));
    assert!(!own.fits_device("Veris Industries", "E50C2"));
    assert_eq!(own.version.as_deref(), Some("firmware_version_os"));
}
