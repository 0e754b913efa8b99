//! Messages about a faulty profile: the whole text, and no mistake hidden by another.
//!
//! Faults any YAML file may have are in `config_yaml.rs`: both kinds of file are read by the same code.

use metergate::document::Problem;
use metergate::meter::Profile;
use proptest::prelude::{any, proptest};

/// Every fault of a text, on one line each.
fn headlines(text: &str) -> Vec<String> {
    let problems = Profile::parse(text, "p.yaml").expect_err(text);
    problems.errors().iter().map(Problem::headline).collect()
}

/// A profile whose only block, on line 4, has these registers and points, one on a line, and what follows it.
fn with(registers: &str, points: &str, rest: &str) -> String {
    let points: String = points.lines().map(|line| format!("      - {line}\n")).collect();
    let head = "name: p\ntitle: P\nblocks:\n  - name: b\n    registers:";
    format!("{head} {registers}\n    kind: measurement\n    points:\n{points}{rest}")
}

/// A sound point.
const ONE: &str = "{register: 1, name: a, format: u16, group: other}";

#[test]
fn a_sound_profile_has_no_fault() {
    let profile = Profile::parse(&with("1", ONE, ""), "p.yaml").expect("a sound profile");
    assert_eq!((profile.name.as_str(), profile.points.len()), ("p", 1));
}

#[test]
fn an_empty_file_is_refused_with_what_a_profile_holds() {
    let expected =
        ["p.yaml:1:1: error: the file is empty; allowed: a file with `name:`, `title:` and `blocks:`"];
    assert_eq!(headlines(""), expected);
}

#[test]
fn the_same_numbers_in_two_tables_are_two_registers_unless_the_tables_are_mirrored() {
    let second = "  - {name: c, table: input, registers: 1, kind: identity, points: [{register: 1, name: c, \
                  format: u16, group: other}]}\n";
    let text = with("1", ONE, second);
    let profile = Profile::parse(&text, "p.yaml").expect("two tables");
    assert_eq!(profile.points.iter().filter(|point| point.register == 1).count(), 2);
    let expected =
        ["p.yaml:9:40: error: blocks[1].registers: found 1, but the block on line 5 has 1; allowed: each \
          register in one block"];
    assert_eq!(headlines(&(text + "mirrored: yes\n")), expected);
}

#[test]
fn a_register_has_one_point() {
    let text = with(
        "1-3",
        "{register: 1, name: a, format: u32, group: other}\n{register: 2, name: b, format: u32, group: other}",
        "",
    );
    let expected = [
        "p.yaml:9:20: error: blocks[0].points[1].register: found registers 2-3, but the point on line 8 has 1-2; allowed: each register in one point",
    ];
    assert_eq!(headlines(&text), expected);
}

#[test]
fn a_pair_stays_in_its_block() {
    let text = with(
        "1-2",
        "{register: 1, name: a, format: u16, group: other}\n{register: 2, name: b, format: u32, group: other}",
        "",
    );
    let expected = [
        "p.yaml:9:20: error: blocks[0].points[1].register: found registers 2-3, but the block has 1-2; allowed: points that lie whole in their block",
    ];
    assert_eq!(headlines(&text), expected);
    let text = with(
        "1-1",
        "{register: 1, name: a, format: u16, group: other}\n{register: 9, name: b, format: u16, group: other}",
        "",
    );
    let expected = [
        "p.yaml:9:20: error: blocks[0].points[1].register: found register 9, but the block has 1; allowed: points that lie whole in their block",
    ];
    assert_eq!(headlines(&text), expected);
}

#[test]
fn a_register_of_a_block_without_a_point_is_a_hole() {
    let text = with(
        "1-4",
        "{register: 1, name: a, format: u16, group: other}\n{register: 4, name: b, format: u16, group: other}",
        "",
    );
    let expected = [
        "p.yaml:5:16: error: blocks[0].registers: no point has registers 2-3 of the block; allowed: a point for each, of group reserved where it means nothing, or two blocks",
    ];
    assert_eq!(headlines(&text), expected);
    let text = with("1-2", ONE, "");
    let expected = [
        "p.yaml:5:16: error: blocks[0].registers: no point has register 2 of the block; allowed: a point for each, of group reserved where it means nothing, or two blocks",
    ];
    assert_eq!(headlines(&text), expected);
}

#[test]
fn a_block_touches_no_gap_and_no_other_block() {
    let text = with("1", ONE, "gaps: [1-10]\n");
    let expected = [
        "p.yaml:5:16: error: blocks[0].registers: found 1, but 1-10 is a gap; allowed: blocks on either side of it",
    ];
    assert_eq!(headlines(&text), expected);
    let text = with(
        "1",
        ONE,
        "  - {name: b, registers: 1, kind: identity, points: [{register: 1, name: a, format: u16, group: other}]}\n",
    );
    let expected = [
        "p.yaml:9:12: error: blocks[1].name: b is the name of a block on line 4 already; allowed: each name once",
        "p.yaml:9:26: error: blocks[1].registers: found 1, but the block on line 5 has 1; allowed: each register in one block",
        "p.yaml:9:74: error: blocks[1].points[0].name: a is the name of a point on line 8 already; allowed: each name once",
    ];
    assert_eq!(headlines(&text), expected);
}

#[test]
fn a_block_is_one_read_and_its_core_whole_points_of_it() {
    let text = with("1-126", ONE, "");
    let expected = [
        "p.yaml:5:16: error: blocks[0].registers: found 126 registers; allowed: up to 125, what one read gives",
    ];
    assert_eq!(headlines(&text), expected);
    let text = with("1-2\n    core: 1-1", "{register: 1, name: a, format: u32, group: other}", "");
    let expected = [
        "p.yaml:6:11: error: blocks[0].core: found 1, which cuts the point at registers 1-2; allowed: whole points",
    ];
    assert_eq!(headlines(&text), expected);
    let text = with("1\n    core: 1-2", ONE, "");
    let expected =
        ["p.yaml:6:11: error: blocks[0].core: found 1-2, but the block has 1; allowed: a part of it"];
    assert_eq!(headlines(&text), expected);
}

#[test]
fn a_scale_is_a_step_or_an_exponent_and_for_numbers_only() {
    let text = with(
        "1-2",
        "{register: 1, name: a, format: u16, scale: scal, group: other}\n{register: 2, name: scale, format: exponent, group: scale}",
        "",
    );
    let expected = [
        "p.yaml:8:52: error: blocks[0].points[0].scale: no point is called `scal`; did you mean `scale`? allowed: the name of a point",
    ];
    assert_eq!(headlines(&text), expected);
    let text = with(
        "1-2",
        "{register: 1, name: a, format: u16, scale: b, group: other}\n{register: 2, name: b, format: u16, group: scale}",
        "",
    );
    let expected = [
        "p.yaml:8:52: error: blocks[0].points[0].scale: b is of format u16; allowed: the name of a point of format exponent; a ratio stands in a list, such as [b]",
    ];
    assert_eq!(headlines(&text), expected);
    let text = with("1", "{register: 1, name: a, format: bits, scale: 0.1, group: other}", "");
    let expected = [
        "p.yaml:8:53: error: blocks[0].points[0].scale: found a scale on format bits; allowed: `scale` on numbers only",
    ];
    assert_eq!(headlines(&text), expected);
    let text = with("1", "{register: 1, name: a, format: u16, scale: 0, group: other}", "");
    let expected = [
        "p.yaml:8:52: error: blocks[0].points[0].scale: found `0`; allowed: what one step is worth, such as 0.01, with up to 18 digits, the name of a point of format exponent, or a list of numbers and points to multiply, such as [0.1, pt_ratio]",
    ];
    assert_eq!(headlines(&text), expected);
}

#[test]
fn a_ratio_is_a_list_of_numbers_and_points_that_hang_on_no_other() {
    let two = "\n{register: 2, name: b, format: u16, group: other}";
    let scaled = |scale: &str| format!("{{register: 1, name: a, format: u16, group: other, {scale}}}{two}");
    let of = |scale: &str| headlines(&with("1-2", &scaled(scale), ""));
    let at = "p.yaml:8:";
    assert_eq!(
        of("scale: [0.1, quux]"),
        [format!(
            "{at}72: error: blocks[0].points[0].scale[1]: no point is called `quux`; allowed: the name of a point"
        )]
    );
    assert_eq!(
        of("scale: [0.1, a]"),
        [format!(
            "{at}72: error: blocks[0].points[0].scale[1]: a is itself scaled by another point; allowed: points that \
             hold a number, scaled by a number at most"
        )]
    );
    assert_eq!(
        of("divide_by: [quux]"),
        [format!(
            "{at}71: error: blocks[0].points[0].divide_by[0]: no point is called `quux`; allowed: the name of a point"
        )]
    );
    assert_eq!(
        of("access: read_write, scale: [b]"),
        [format!(
            "{at}87: error: blocks[0].points[0].scale[0]: a value that hangs on a ratio cannot be written, for the \
             ratio may change meanwhile; allowed: `access: read`, or a scale that is a number"
        )]
    );
    let long = of("scale: [999999999999999999, 999999999999999999]");
    assert!(long.len() == 1 && long[0].contains("product is too long; allowed: numbers whose"), "{long:?}");
    assert!(
        Profile::parse(&with("1-2", &scaled("scale: [0.1, b], divide_by: [b], offset: -1"), ""), "p").is_ok()
    );
}

#[test]
fn a_format_that_leaves_its_registers_open_says_how_many() {
    let one =
        |rest: &str| headlines(&with("1", &format!("{{register: 1, name: a, group: other, {rest}}}"), ""));
    assert_eq!(
        one("format: text"),
        [
            "p.yaml:8:9: error: blocks[0].points[0].words: format text does not say how many registers it has; \
          allowed: `words` from 1 to 64"
        ]
    );
    let wrong = one("format: u32, words: 4");
    assert_eq!(
        wrong,
        [
            "p.yaml:8:66: error: blocks[0].points[0].words: found 4 registers; allowed: 2, which `format: u32` has anyway"
        ]
    );
    let wrong = one("format: bits, bits: [{bit: 16, name: x, means: x}]");
    assert!(wrong[0].ends_with("found `16`; allowed: 0 to 15, or with `words: 2` 0 to 31"), "{wrong:?}");
}

#[test]
fn energy_is_billed_by_one_original_point_of_it() {
    let bill = |points: &str| headlines(&with("1-2", points, ""));
    let energy = |register: u8, name: &str| {
        format!("{{register: {register}, name: {name}, format: u16, group: energy, bill_by: yes}}")
    };
    let twice = bill(&format!("{}\n{}", energy(1, "a"), energy(2, "b")));
    assert_eq!(
        twice,
        [
            "p.yaml:9:69: error: blocks[0].points[1].bill_by: energy is billed by the point on line 8 already; \
          allowed: one point to bill by"
        ]
    );
    let other = bill(&format!(
        "{}\n{}",
        energy(1, "a").replace("energy", "power"),
        ONE.replace("1, name: a", "2, name: b")
    ));
    assert!(
        other[0].contains("a is no energy, or a copy; allowed: an original point of group energy"),
        "{other:?}"
    );
}

#[test]
fn a_copy_has_an_original_of_the_same_unit() {
    let text = with(
        "1-2",
        "{register: 1, name: a, format: u16, unit: V, group: other}\n{register: 2, name: b, format: u16, copy_of: a, group: other}",
        "",
    );
    let expected = [
        "p.yaml:9:54: error: blocks[0].points[1].copy_of: a is in V, its copy in no unit; allowed: one unit for both",
    ];
    assert_eq!(headlines(&text), expected);
    let text = with("1", "{register: 1, name: a, format: u16, copy_of: a, group: other}", "");
    let expected = [
        "p.yaml:8:54: error: blocks[0].points[0].copy_of: a is itself a copy; allowed: the name of an original",
    ];
    assert_eq!(headlines(&text), expected);
}

#[test]
fn a_range_is_one_the_format_holds() {
    let text = with(
        "1-4",
        "{register: 1, name: a, format: u16, range: [0..70000], group: other}\n{register: 2, name: b, format: exponent, range: [-11..11], group: scale}\n{register: 3, name: c, format: u16, range: [5..1], group: other}\n{register: 4, name: d, format: u16, range: [1.5], group: other}",
        "",
    );
    let expected = [
        "p.yaml:8:53: error: blocks[0].points[0].range[0]: found `0..70000`; allowed: a number, or a span such as 0..32767, within what u16 holds",
        "p.yaml:9:58: error: blocks[0].points[1].range[0]: found `-11..11`; allowed: exponents from -10 to 10",
        "p.yaml:10:53: error: blocks[0].points[2].range[0]: found `5..1`; allowed: a number, or a span such as 0..32767",
        "p.yaml:11:53: error: blocks[0].points[3].range[0]: found `1.5`; allowed: a number, or a span such as 0..32767, within what u16 holds",
    ];
    assert_eq!(headlines(&text), expected);
}

#[test]
fn codes_and_bits_stand_where_they_mean_something_and_each_once() {
    let text = with(
        "1",
        "{register: 1, name: a, format: i16, codes: [{code: 1, means: x}, {code: 1, means: y}], group: other}",
        "",
    );
    let expected = [
        "p.yaml:8:52: error: blocks[0].points[0].codes: found codes on format i16; allowed: codes on u16 only",
        "p.yaml:8:81: error: blocks[0].points[0].codes[1].code: found the code a second time; allowed: each code once",
    ];
    assert_eq!(headlines(&text), expected);
    let text = with(
        "1",
        "{register: 1, name: a, format: u16, bits: [{bit: 32, name: x, means: x}], group: other}",
        "",
    );
    let expected = [
        "p.yaml:8:51: error: blocks[0].points[0].bits: found bits on format u16; allowed: bits on format bits only",
        "p.yaml:8:58: error: blocks[0].points[0].bits[0].bit: found `32`; allowed: a whole number from 0 to 31",
    ];
    assert_eq!(headlines(&text), expected);
}

#[test]
fn a_not_available_code_is_written_as_the_registers_hold_it() {
    let text = with("1", ONE, "not_available: {u16: 32768, f32: 0x7FC0, bits: 0x8000}\n");
    let expected = [
        "p.yaml:9:22: error: not_available.u16: found `32768`; allowed: 0x and 4 hexadecimal digits for each register, as the registers hold it",
        "p.yaml:9:34: error: not_available.f32: found 4 digits; allowed: 0x and 8 hexadecimal digits, as the registers hold it",
        "p.yaml:9:42: error: not_available.bits: unknown key; `bits` is a key of a point, so it belongs there",
    ];
    assert_eq!(headlines(&text), expected);
}

#[test]
fn validity_names_codes_and_points_there_are() {
    let text = with(
        "1",
        "{register: 1, name: a, format: u16, group: other, codes: [{code: 1, means: x}]}",
        "validity: {point: a, types: [{code: 2}, {code: 1, not_valid: [voltage]}]}\n",
    );
    let expected = [
        "p.yaml:9:37: error: validity.types[0].code: found `2`; allowed: a code of a: 1",
        "p.yaml:9:63: error: validity.types[1].not_valid[0]: no point is called `voltage`; allowed: the name of a point",
    ];
    assert_eq!(headlines(&text), expected);
}

#[test]
fn a_command_goes_to_a_register_that_can_be_written() {
    let text = with("1", ONE, "commands: [{point: a, code: 1, name: go, effect: Goes, min_interval: 10}]\n");
    let expected = [
        "p.yaml:9:20: error: commands[0].point: a is not a single register that can be written; allowed: one that is, with `access: read_write`",
        "p.yaml:9:70: error: commands[0].min_interval: found `10`; did you mean `10s`? allowed: a duration from 0s to 1h, with its unit: ms, s, m or h",
    ];
    assert_eq!(headlines(&text), expected);
    let text = with("1", ONE, "commands: [{point: a, code: 1, name: go, effect: Goes}]\n");
    let expected = [
        "p.yaml:9:20: error: commands[0].point: a is not a single register that can be written; allowed: one that is, with `access: read_write`",
    ];
    assert_eq!(headlines(&text), expected);
}

#[test]
fn an_identification_refers_to_a_point() {
    let text = with("1", ONE, "identification: {server_id: 256, version: firmware}\n");
    let expected = [
        "p.yaml:9:29: error: identification.server_id: found `256`; allowed: a whole number from 0 to 255",
        "p.yaml:9:43: error: identification.version: no point is called `firmware`; allowed: the name of a point",
    ];
    assert_eq!(headlines(&text), expected);
}

#[test]
fn register_numbers_count_from_one_of_the_known_beginnings() {
    let text = with("1", ONE, "first_register: 40002\n");
    let expected =
        ["p.yaml:9:17: error: first_register: found `40002`; allowed: 0, 1, 30001, 40001, 300001, 400001"];
    assert_eq!(headlines(&text), expected);
    let text = with("1", ONE, "first_register: 40001\n");
    let expected = [
        "p.yaml:5:16: error: blocks[0].registers: found `1`; allowed: a register number from 40001 to 105536, or a range such as 40001-40010",
        "p.yaml:8:20: error: blocks[0].points[0].register: found `1`; allowed: a register number from 40001 to 105536",
    ];
    assert_eq!(headlines(&text), expected);
}

proptest! {
    #[test]
    fn no_damage_to_a_profile_causes_a_panic(at in any::<proptest::sample::Index>(), cut in 0usize..40, put in "[0-9a-z:.,{} -]{0,6}") {
        let text = include_str!("../../../config/profiles/leviton-4000r.yaml");
        let mut damaged: Vec<char> = text.chars().collect();
        let from = at.index(damaged.len());
        let to = (from + cut).min(damaged.len());
        damaged.splice(from..to, put.chars());
        let _ = Profile::parse(&damaged.into_iter().collect::<String>(), "p.yaml");
    }
}
