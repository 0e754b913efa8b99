//! What a configuration says of profiles, of reading in the background and of the diagnostics unit.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use metergate::config::{Config, Problem, UnitProfile, parse};
use metergate::line::{Line, Output, Pace, Polling, PortEvent};
use metergate::modbus::pdu::{FunctionCode, ReadRange};
use metergate::modbus::rtu;

/// A file with these lines below its one unit, and these at the top level.
fn file(unit: &str, top: &str) -> String {
    format!(
        "listeners:\n  - address: 0.0.0.0:502\nbuses:\n  - name: riser-a\n    device: /dev/ttyS0\n    units:\n      \
         - id: 1-2\n{unit}{top}"
    )
}

fn good(text: &str) -> Config {
    let config = parse(text, "m.yaml").unwrap_or_else(|problems| panic!("{problems}")).config;
    assert_eq!(parse(&config.to_yaml(), "m.yaml").unwrap().config, config, "{}", config.to_yaml());
    config
}

/// Every fault of a text, as people read it.
fn faults(text: &str) -> String {
    parse(text, "m.yaml").expect_err(text).to_string()
}

fn polling(config: &Config) -> &Polling {
    let units = &config.buses[0].line.units;
    assert_eq!(units[0].polling, units[1].polling, "a range is read alike");
    &units[0].polling
}

/// Start, quantity, measured and pace of each block.
fn plan(config: &Config) -> Vec<(u16, u16, bool, Pace)> {
    let blocks = polling(config).blocks.iter();
    blocks.map(|block| (block.range.start, block.range.quantity, block.measured, block.pace)).collect()
}

#[test]
fn measurement_blocks_are_known_even_if_they_are_not_polled() {
    let measurements = |keys: &str| {
        let config = good(&file(&format!("        profile: leviton-4000r\n{keys}"), ""));
        polling(&config).measurements.to_vec()
    };
    let polled = measurements("");
    // Two blocks, each in two tables.
    assert_eq!(polled.len(), 4, "{polled:?}");
    assert_eq!(measurements("        poll: off\n"), polled);
    let config = good(&file("        profile: leviton-4000r\n", ""));
    // The others are single points of blocks that are no measurements.
    for block in polling(&config).blocks.iter().filter(|block| block.measured && block.range.quantity > 2) {
        assert!(polled.iter().any(|range| range.overlaps(&block.range)), "{block:?} {polled:?}");
    }
    let config = good(&file("", ""));
    assert!(polling(&config).measurements.is_empty(), "without a profile there are none");
}

fn every(seconds: u64) -> Pace {
    Pace::Every(Duration::from_secs(seconds))
}

/// A directory of profiles of its own for each test.
struct Profiles(PathBuf);

impl Profiles {
    fn new(test: &str, files: &[(&str, &str)]) -> Self {
        let path = std::env::temp_dir().join(format!("metergate-profiles-{}-{test}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        for (name, text) in files {
            fs::write(path.join(name), text).unwrap();
        }
        Self(path)
    }

    fn key(&self) -> String {
        format!("profiles: {}\n", self.0.display())
    }
}

impl Drop for Profiles {
    fn drop(&mut self) {
        let _gone = fs::remove_dir_all(&self.0);
    }
}

/// A small meter with one pair.
const SMALL: &str = "name: small
title: Small
first_register: 1
word_order: high_first
mirrored: yes
blocks:
  - name: values
    registers: 1-3
    kind: measurement
    points:
      - {register: 1, name: energy, format: u32, group: energy, description: Energy}
      - {register: 3, name: power, format: u16, group: power, description: Power}
";

#[test]
fn a_profile_alone_has_its_own_choice_of_blocks_read_at_its_two_paces() {
    let config = good(&file("        profile: leviton-4000r\n", ""));
    // Last the count to bill by, whose block is not read, and the alerts, whose block is read seldom.
    let expected = [
        (128, 26, false, every(60)),
        (256, 90, true, Pace::Auto),
        (7000, 1, false, every(60)),
        (0, 2, true, Pace::Auto),
        (145, 1, true, Pace::Auto),
    ];
    assert_eq!(plan(&config), expected);
    let floats = &polling(&config).blocks[1];
    assert_eq!(floats.core.map(|core| (core.start, core.quantity)), Some((256, 86)));
    assert!(!polling(&config).mirrored);
    let function = FunctionCode::READ_HOLDING_REGISTERS;
    let uncut = |address| polling(&config).uncut.contains(&(function, address));
    assert!(uncut(1) && !uncut(2) && uncut(257) && !uncut(256) && !uncut(258) && !uncut(130));
    let scales = &polling(&config).scales;
    assert_eq!(scales.len(), 8, "{scales:?}");
    assert!(scales.contains(&ReadRange { function, start: 140, quantity: 1 }), "{scales:?}");
    let known: Vec<_> = config.buses[0].profiles.values().collect();
    assert_eq!(known.len(), 2);
    assert_eq!(known[0].profile.title, "Leviton Series 4000-R");
}

#[test]
fn a_block_is_cut_where_its_core_ends_or_begins_and_elsewhere_only_once_that_is_done() {
    let config = good(&file("        profile: leviton-4000r\n", ""));
    let edge = |start, quantity| {
        polling(&config).core_edge(&ReadRange {
            function: FunctionCode::READ_HOLDING_REGISTERS,
            start,
            quantity,
        })
    };
    assert_eq!((edge(256, 90), edge(256, 86), edge(342, 4), edge(7000, 1)), (Some(86), None, None, None));
    let profiles = Profiles::new("core", &[("small.yaml", &SMALL.replace("1-3\n", "1-3\n    core: 3\n"))]);
    let config = good(&file("        profile: small\n", &profiles.key()));
    let polling = polling(&config);
    assert_eq!(polling.core_edge(&polling.blocks[0].range), Some(2), "it reaches to the end of the block");
}

/// What the line of a configuration reads within a minute of a meter that refuses everything beyond `end`.
fn read_of_a_meter_that_ends_at(end: u16, config: &Config) -> Vec<(u16, u16)> {
    let (mut line, start) = (Line::<()>::new(config.buses[0].line.clone()), Instant::now());
    let (mut now, mut asked) = (start, Vec::new());
    line.handle_port(PortEvent::Opened, now);
    while now < start + Duration::from_secs(60) {
        while let Some(output) = line.poll_output() {
            let Output::Transmit(frame) = output else { continue };
            let [first, quantity] = [2, 4].map(|at| u16::from_be_bytes([frame[at], frame[at + 1]]));
            asked.push((first, quantity));
            let mut reply = vec![frame[1] | 0x80, 2];
            if first + quantity <= end {
                reply = vec![frame[1], u8::try_from(2 * quantity).unwrap()];
                reply.resize(2 + 2 * usize::from(quantity), 0);
            }
            now += Duration::from_millis(110);
            line.handle_bytes(&rtu::encode(frame[0], &reply), now);
        }
        // Never standing still, as no timer does.
        now = line.poll_timeout().unwrap_or(now).max(now + Duration::from_millis(1));
        line.handle_timeout(now);
    }
    asked
}

#[test]
fn a_meter_that_has_no_more_than_the_core_is_soon_read_as_the_core_alone() {
    let text = file("        profile: leviton-4000r\n        blocks: [floats]\n", "").replace("1-2", "1");
    let asked = read_of_a_meter_that_ends_at(342, &parse(&text, "m.yaml").unwrap().config);
    assert_eq!(asked[0], (256, 90));
    let after: Vec<_> = asked[1..].iter().filter(|range| range.0 + range.1 <= 342).collect();
    assert!(after.len() > 20 && after.iter().all(|range| **range == (256, 86)), "{asked:?}");
    let refused: Vec<_> = asked[1..].iter().filter(|range| range.0 + range.1 > 342).collect();
    let parts: Vec<_> = refused.iter().filter(|range| ***range != (256, 90)).collect();
    assert_eq!(parts, [&&(342, 4), &&(342, 2), &&(344, 2)], "each once, and never a part of a pair");
    assert_eq!(refused.len() - parts.len(), 2, "the whole is tried again after 10 s and after 20 s more");
}

#[test]
fn intervals_and_blocks_are_those_of_the_unit() {
    let unit = "        profile: leviton-4000r\n        poll: 5s\n        poll_slow: 10m\n        \
                blocks: [firmware, integers]\n";
    let config = good(&file(unit, ""));
    assert_eq!(plan(&config), [(0, 52, true, every(5)), (7000, 1, false, every(600))]);
    let unit = config.buses[0].profiles.values().next().unwrap();
    let UnitProfile { poll, poll_slow, blocks, .. } = unit;
    assert_eq!((*poll, *poll_slow), (Some(every(5)), Duration::from_secs(600)));
    assert_eq!(*blocks, ["integers", "firmware"], "in the profile's order");
}

#[test]
fn poll_off_reads_nothing_and_still_knows_where_not_to_cut() {
    let config = good(&file("        profile: leviton-4000r\n        poll: off\n", ""));
    assert_eq!(plan(&config), []);
    assert!(!polling(&config).uncut.is_empty());
    assert_eq!(config.buses[0].profiles.len(), 2);
}

#[test]
fn a_unit_without_a_profile_is_passed_through() {
    let config = good(&file("        poll: off\n        poll_slow: 60s\n", ""));
    assert_eq!(*polling(&config), Polling::default());
    assert!(config.buses[0].profiles.is_empty());
}

#[test]
fn a_profile_file_goes_before_the_built_in_profile_of_its_name() {
    let own = SMALL.replace("name: small", "name: leviton-4000r");
    let profiles = Profiles::new("own", &[("small.yaml", SMALL), ("leviton-4000r.yaml", &own)]);
    for (name, title) in [("small", "Small"), ("leviton-4000r", "Small")] {
        let config = good(&file(&format!("        profile: {name}\n"), &profiles.key()));
        assert_eq!(config.profiles, profiles.0);
        assert_eq!(config.buses[0].profiles.values().next().unwrap().profile.title, title);
        assert_eq!(plan(&config), [(0, 3, true, Pace::Auto)]);
        assert!(polling(&config).mirrored);
        assert_eq!(polling(&config).uncut, [(FunctionCode::READ_HOLDING_REGISTERS, 1)].into());
    }
}

#[test]
fn a_changed_profile_file_makes_another_configuration() {
    let profiles = Profiles::new("changed", &[("small.yaml", SMALL)]);
    let text = file("        profile: small\n", &profiles.key());
    let before = good(&text);
    assert_eq!(good(&text), before);
    fs::write(profiles.0.join("small.yaml"), SMALL.replace("Power}", "Real power}")).unwrap();
    let after = good(&text);
    assert_ne!(after, before);
    assert_eq!(after.buses[0].line, before.buses[0].line, "what the line reads is the same");
}

#[test]
fn faults_of_a_profile_are_shown_once_in_its_own_file_after_those_of_the_configuration() {
    let bad = SMALL.replace("kind: measurement", "kind: measured");
    let profiles = Profiles::new("bad", &[("small.yaml", &bad), ("other.yaml", SMALL)]);
    let units = "        profile: small\n      - {id: 3, profile: small}\n      - {id: 4, profile: other}\n      \
                 - {id: 5, profile: smal}\n";
    let directory = profiles.0.display();
    let found = parse(&file(units, &profiles.key()), "m.yaml").expect_err("three faults");
    let headlines: Vec<_> = found.errors().iter().map(Problem::headline).collect();
    let expected = [
        format!(
            "m.yaml:11:26: error: buses[0].units[3].profile: no profile is called `smal`; did you mean `small`? allowed: eastron-sdm630, gavazzi-em24, leviton-4000r, other, small, or a file smal.yaml in {directory}"
        ),
        format!(
            "{directory}/small.yaml:9:11: error: blocks[0].kind: found `measured`; allowed: measurement, configuration, identity"
        ),
        format!("{directory}/other.yaml: error: its name is small; allowed: other, as the file is called"),
    ];
    assert_eq!(headlines, expected);
    assert!(found.to_string().ends_with("\n\nm.yaml: 3 errors, 2 of them in files it names"), "{found}");
}

#[test]
fn a_profile_file_that_is_no_text_is_refused_by_its_own_name() {
    let profiles = Profiles::new("bytes", &[]);
    fs::write(profiles.0.join("small.yaml"), b"name: \xff\n").unwrap();
    let expected = format!(
        "error: found the byte FF
 --> {}/small.yaml:1:7
  |
1 | name: \u{fffd}
  |       ^
  = help: allowed: text saved as UTF-8, which the editor offers when saving

m.yaml: 1 error, in a file it names",
        profiles.0.display()
    );
    assert_eq!(faults(&file("        profile: small\n", &profiles.key())), expected);
}

#[test]
fn the_diagnostics_unit_stands_for_no_meter() {
    let text = "listeners:
  - {address: 0.0.0.0:502, buses: [riser-a]}
buses:
  - name: riser-a
    device: /dev/ttyS0
    units:
      - {id: 1, as: 247}
      - id: 2-8
  - name: riser-b
    device: /dev/ttyS1
    units: [{id: 9}]
diagnostics_unit: 5
";
    let expected = "diagnostics_unit: clients call one of the units on line 8 by identifier 5 already
  --> m.yaml:12:19";
    assert!(faults(text).contains(expected), "{}", faults(text));
    // No listener leads to unit 9, and 255 is no unit's.
    for free in ["9", "1", "255", "off"] {
        assert!(
            parse(&text.replace("diagnostics_unit: 5", &format!("diagnostics_unit: {free}")), "m.yaml")
                .is_ok()
        );
    }
}
