//! The key `functions` of profiles, register numbers in hexadecimal, and what is read whole once a client asks for it.

use std::fs;
use std::path::PathBuf;

use metergate::config::parse;
use metergate::line::{DemandedBlock, Polling};
use metergate::meter::Profile;
use metergate::modbus::pdu::FunctionCode;

const HOLDING: FunctionCode = FunctionCode::READ_HOLDING_REGISTERS;
const INPUT: FunctionCode = FunctionCode::READ_INPUT_REGISTERS;

/// A profile with these keys at the top and in its first block, of two; the second is not polled.
fn profile(top: &str, block: &str) -> String {
    format!(
        "name: small\ntitle: Small\nfirst_register: 0\n{top}blocks:
  - name: values
    registers: 0x10-0x12
    core: 0x10-0x11
    kind: measurement
{block}    points:
      - {{register: 0x10, name: energy, format: u32, group: energy, description: Energy}}
      - {{register: 18, name: power, format: u16, group: power, description: Power}}
  - name: settings
    registers: 0x20-33
    kind: configuration
    polled: no
    points:
      - {{register: 0x20, name: ratio, format: u32, group: configuration, description: Ratio}}
"
    )
}

fn good(text: &str) -> Profile {
    Profile::parse(text, "p.yaml").unwrap_or_else(|problems| panic!("{text}\n{problems}"))
}

fn errors(text: &str) -> Vec<String> {
    let problems = Profile::parse(text, "p.yaml").expect_err(text);
    problems.errors().iter().map(|error| format!("{}: {}", error.key(), error.message())).collect()
}

/// The line's settings for a unit with that profile and these keys.
fn polling(test: &str, profile: &str, unit: &str) -> Polling {
    let directory: PathBuf =
        std::env::temp_dir().join(format!("metergate-functions-{}-{test}", std::process::id()));
    fs::create_dir_all(&directory).unwrap();
    fs::write(directory.join("small.yaml"), profile).unwrap();
    let text = format!(
        "listeners: [{{address: 0.0.0.0:502}}]\nprofiles: {}\nbuses: [{{name: a, device: /dev/ttyS0, units: [{{id: 1, profile: small{unit}}}]}}]\n",
        directory.display()
    );
    let loaded = parse(&text, "m.yaml");
    fs::remove_dir_all(&directory).unwrap();
    loaded.unwrap_or_else(|problems| panic!("{problems}")).config.buses[0].line.units[0].polling.clone()
}

/// Function, start, quantity, and the same of the core.
type Shown = (u8, u16, u16, Option<(u8, u16, u16)>);

fn demanded(polling: &Polling) -> Vec<Shown> {
    let shown = |block: &DemandedBlock| {
        let core = block.core.map(|core| (core.function.0, core.start, core.quantity));
        (block.range.function.0, block.range.start, block.range.quantity, core)
    };
    polling.demanded.iter().map(shown).collect()
}

#[test]
fn a_block_is_in_the_tables_it_names_else_in_those_of_the_profile() {
    let tables = |top: &str, block: &str| {
        good(&profile(top, block)).blocks.into_iter().map(|b| b.functions).collect::<Vec<_>>()
    };
    assert_eq!(tables("", ""), [vec![HOLDING], vec![HOLDING]]);
    assert_eq!(tables("functions: [4]\n", ""), [vec![INPUT], vec![INPUT]]);
    assert_eq!(
        tables("functions: [0x04, 3]\n", "    functions: [0x3]\n"),
        [vec![HOLDING], vec![INPUT, HOLDING]]
    );
    assert_eq!(tables("functions: [3, 4]\n", "    table: input\n"), [vec![INPUT], vec![HOLDING, INPUT]]);
    let first = &good(&profile("functions: [4, 3]\n", "")).blocks[0];
    assert_eq!((first.range.function, first.core.map(|core| core.function)), (INPUT, Some(INPUT)));
}

#[test]
fn impossible_functions_say_what_is_allowed() {
    let allowed = "allowed: 3 (holding registers), 4 (input registers)";
    let found = errors(&profile("functions: [1, 0x05]\n", "    functions: []\n"));
    assert_eq!(found[0], format!("functions[0]: found `1`; {allowed}"));
    assert_eq!(found[1], format!("functions[1]: found `0x05`; {allowed}"));
    let list = "allowed: a list of 1 to 2, each beginning with a dash";
    assert_eq!(found[2], format!("blocks[0].functions: found an empty list; {list}"));
    let found = errors(&profile("functions: [1, 3, 3]\n", ""));
    assert_eq!(found, [format!("functions: found a list of 3; {list}")]);
    assert_eq!(
        errors(&profile("functions: [3, 3]\n", "")),
        ["functions[1]: found 3 a second time; allowed: each function once"]
    );
    assert_eq!(
        errors(&profile("functions: 3\n", "")),
        ["functions: found `3`; allowed: a list of 1 to 2, each beginning with a dash"]
    );
    let both =
        "blocks[0].table: found a table beside functions, which name it too; allowed: one of the two keys";
    assert_eq!(errors(&profile("", "    table: holding\n    functions: [3]\n")), [both]);
}

#[test]
fn blocks_overlap_only_where_they_share_a_table() {
    let apart = profile("", "    functions: [4]\n").replace("0x20-33", "0x10-17").replace("0x20,", "0x10,");
    assert_eq!(good(&apart).blocks.len(), 2);
    let shared = apart.replace("functions: [4]", "functions: [4, 3]");
    let expected = "blocks[1].registers: found 16-17, but the block on line 6 has 16-18; allowed: each register in one block";
    assert_eq!(errors(&shared), [expected]);
}

#[test]
fn register_numbers_are_decimal_or_hexadecimal() {
    let hexadecimal = good(&profile("gaps: [0x30, 0x40-0x4f]\n", ""));
    let decimal =
        profile("gaps: [48, 64-79]\n", "").replace("0x10-0x12", "16-18").replace("0x10-0x11", "16-17");
    assert_eq!(hexadecimal, good(&decimal.replace("0x10", "16").replace("0x20", "32")));
    for wrong in ["0x", "0x1G", "1x10", "0x10000", "x10", "0X10"] {
        let text = profile("", "").replace("register: 0x10", &format!("register: {wrong}"));
        let allowed = if wrong == "0x10000" {
            "a register number from 0 to 65535"
        } else {
            "a register number such as 257 or 0x101"
        };
        let shown = if wrong == "0x10000" { "65536" } else { wrong };
        let expected = format!("blocks[0].points[0].register: found `{shown}`; allowed: {allowed}");
        assert!(errors(&text).contains(&expected), "{:?}", errors(&text));
    }
}

#[test]
fn points_are_found_and_never_cut_in_each_table_of_their_block() {
    let found = good(&profile("", "    functions: [3, 4]\n"));
    let name = |function, address| found.point_at(function, address).map(|point| point.name.as_str());
    assert_eq!((name(HOLDING, 17), name(INPUT, 17)), (Some("energy"), Some("energy")));
    assert_eq!((name(HOLDING, 33), name(INPUT, 33)), (Some("ratio"), None));
    assert!(
        !found.may_split_at(INPUT, 17) && found.may_split_at(INPUT, 33) && !found.may_split_at(HOLDING, 33)
    );
    let uncut = polling("uncut", &profile("", "    functions: [3, 4]\n"), "").uncut;
    assert_eq!(uncut, [(HOLDING, 17), (INPUT, 17), (HOLDING, 33)].into());
}

#[test]
fn what_is_not_polled_is_read_whole_on_demand_in_each_table_it_is_in() {
    let one = profile("", "");
    assert_eq!(demanded(&polling("one", &one, "")), [(3, 32, 2, None)]);
    let both = profile("functions: [4, 3]\n", "");
    let found = polling("both", &both, "");
    assert_eq!(found.blocks.len(), 1);
    assert_eq!(found.blocks[0].range.function, INPUT, "polled in the first");
    assert_eq!(demanded(&found), [(3, 16, 3, Some((3, 16, 2))), (4, 32, 2, None), (3, 32, 2, None)]);
    let off = polling("off", &both, ", poll: off");
    let all =
        [(4, 16, 3, Some((4, 16, 2))), (3, 16, 3, Some((3, 16, 2))), (4, 32, 2, None), (3, 32, 2, None)];
    assert_eq!((off.blocks.len(), demanded(&off)), (0, all.to_vec()));
    let chosen = polling("chosen", &both, ", blocks: [settings]");
    assert_eq!(demanded(&chosen), [all[0], all[1], all[3]]);
}

#[test]
fn mirrored_tables_are_one_reading() {
    let mirrored = profile("mirrored: yes\nfunctions: [3, 4]\n", "");
    let found = polling("mirrored", &mirrored, "");
    assert!(found.mirrored);
    assert_eq!(demanded(&found), [(3, 32, 2, None)]);
}

#[test]
fn the_leviton_is_known_in_both_tables() {
    let leviton = Profile::builtin("leviton-4000r").unwrap();
    assert!(leviton.blocks.iter().all(|block| block.functions == [HOLDING, INPUT]));
    let text = "listeners: [{address: 0.0.0.0:502}]\nbuses: [{name: a, device: /dev/ttyS0, units: [{id: 1, profile: leviton-4000r}]}]\n";
    let config = parse(text, "m.yaml").unwrap().config;
    let polling = &config.buses[0].line.units[0].polling;
    let ranges: Vec<_> = demanded(polling).iter().map(|(function, start, ..)| (*function, *start)).collect();
    assert_eq!(ranges, [(3, 0), (4, 0), (4, 128), (4, 256), (4, 7000)]);
}
