//! The shipped configuration files: they load, name every key, and their comments are correct.

use metergate::config::section::{
    Audit, Broker, Bus, Events, File, Listener, OfflineAfter, StatusPage, Unit,
};
use metergate::config::{Config, Loaded, Problem, parse};
use metergate::document::keys;

const FULL: &str = include_str!("../../../config/metergate.yaml");
const MINIMAL: &str = include_str!("../../../config/minimal.yaml");
const PACKAGED: &str = include_str!("../../../packaging/metergate.yaml");
const ROUTER: &str = include_str!("../../../packaging/openwrt/metergate.yaml");

#[test]
fn the_shipped_files_load_without_warnings() {
    for text in [FULL, MINIMAL, PACKAGED] {
        let Loaded { config, warnings } =
            parse(text, "shipped.yaml").unwrap_or_else(|problems| panic!("{problems}"));
        assert_eq!(warnings, []);
        assert_eq!(config.buses[0].line.units.len(), 8);
    }
}

#[test]
fn the_file_for_routers_is_the_packaged_one_but_for_what_a_router_has_not() {
    let Loaded { config, warnings } =
        parse(ROUTER, "shipped.yaml").unwrap_or_else(|problems| panic!("{problems}"));
    // Without udev there is no name that stays; and its flash is not written for a list.
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(warnings[0].headline().contains("/dev/ttyUSB0 may belong to another adapter"), "{warnings:?}");
    assert_eq!(config.buses[0].line.units.len(), 8);
    let settings = |text: &'static str| -> Vec<&'static str> {
        let lines = text.lines().map(|line| line.split('#').next().unwrap_or_default().trim_end());
        lines
            .filter(|line| !line.is_empty() && !line.contains("device:") && !line.starts_with("events:"))
            .collect()
    };
    assert_eq!(settings(ROUTER), settings(PACKAGED));
}

#[test]
fn every_line_of_the_minimal_file_is_needed() {
    let lines: Vec<&str> = MINIMAL.lines().filter(|line| !line.starts_with('#')).collect();
    assert!(MINIMAL.contains("\n        profile: leviton-4000r\n"), "without it the page is empty");
    for left_out in (0..lines.len()).filter(|at| !lines[*at].contains("profile:")) {
        let text: String = lines
            .iter()
            .enumerate()
            .filter(|(at, _)| *at != left_out)
            .map(|(_, line)| format!("{line}\n"))
            .collect();
        assert!(parse(&text, "minimal.yaml").is_err(), "loads without {:?}", lines[left_out]);
    }
}

#[test]
fn the_full_file_names_every_known_key_once_and_in_order() {
    let found = keys_of(FULL);
    for part in PARTS {
        let names: Vec<&str> =
            found.iter().filter(|key| key.part == part).map(|key| key.name.as_str()).collect();
        assert_eq!(names, part.keys(), "{part:?}");
    }
}

#[test]
fn the_defaults_in_the_comments_are_those_that_hold() {
    let mut compared = 0;
    for key in keys_of(FULL) {
        let Some(default) = &key.default else { continue };
        let written = match default.as_str() {
            "all buses" => "[riser-a]",
            "response_timeout" | "the bus's response_timeout" => "500ms",
            "the bus's request_gap" => "0ms",
            "the bus's byte_timeout" | "50ms, on tcp:// 250ms" => "50ms",
            "the bus's merge_gap" => "0",
            "the bus's max_read" => "125",
            "id" => "1",
            "all networks"
            | "request_deadline"
            | "no name"
            | "no group"
            | "the host's name"
            | "as `writes` says"
            | "plain Modbus TCP"
            | "HTTP"
            | "writes go to the log only"
            | "in memory only"
            | "no token, on a loopback address only"
            | "none; registers are passed through, and only what clients ask for again and again is kept" => {
                continue;
            }
            "auto with a profile, else off" => "auto",
            "the profile's own choice, for leviton-4000r all but integers" => {
                "[configuration, floats, firmware]"
            }
            value => value,
        };
        let stated = config(&key.with_value(FULL, written));
        let absent = config(&key.left_out(FULL));
        assert_eq!(stated, absent, "{:?} {}: default {default}", key.part, key.name);
        compared += 1;
    }
    assert_eq!(compared, 46, "every key with a default was compared");
    let text = FULL.replace("        name: Panel 1\n", "");
    assert_eq!(config(&text).buses[0].line.units[0].name, None);
    assert_eq!(config(FULL).listeners[0].settings.allow, []);
}

#[test]
fn the_bounds_in_the_comments_are_those_of_the_messages() {
    let mut compared = 0;
    for key in keys_of(FULL) {
        let Some(allowed) = &key.allowed else { continue };
        let text = key.with_value(FULL, "nonsense!");
        let problems = parse(&text, "full.yaml").expect_err(&key.name);
        let own = |problem: &&Problem| problem.line() == Some(key.line + 1);
        let problem =
            problems.errors().iter().find(own).unwrap_or_else(|| panic!("{}: {problems}", key.name));
        assert!(problem.message().contains(allowed.as_str()), "{}: {allowed}: {problem}", key.name);
        compared += 1;
    }
    assert_eq!(compared, 44, "every key with bounds was compared");
}

#[test]
fn the_bounds_in_the_comments_are_within_them() {
    for key in keys_of(FULL) {
        let Some((low, high)) = key.allowed.as_ref().and_then(|allowed| allowed.split_once(" to ")) else {
            continue;
        };
        for edge in [low.rsplit(' ').next().unwrap(), high.split([',', ' ']).next().unwrap()] {
            let Err(problems) = parse(&key.with_value(FULL, edge), "full.yaml") else { continue };
            // Deadlines and identifiers are compared with others, and may be refused for that alone.
            let compared = [
                "too short for one attempt",
                "clients call ",
                "a second time",
                "a block that is polled",
                "beside framing: tcp",
            ];
            for error in problems.errors() {
                assert!(
                    compared.iter().any(|text| error.message().contains(text)),
                    "{} {edge}: {error}",
                    key.name
                );
            }
        }
    }
}

fn config(text: &str) -> Config {
    parse(text, "full.yaml").unwrap_or_else(|problems| panic!("{text}\n{problems}")).config
}

/// A key's line in the full file, and what the comment above it says.
struct Line {
    part: Part,
    name: String,
    /// From 0.
    line: usize,
    default: Option<String>,
    allowed: Option<String>,
}

impl Line {
    /// The file with that value; a commented key is put to use.
    fn with_value(&self, text: &str, value: &str) -> String {
        let key = format!("{}: ", self.name);
        self.edit(text, |line| {
            let line = line.replacen("# ", "", 1);
            let end = line.find(&key).expect("the line has the key") + key.len();
            Some(format!("{}{value}", &line[..end]))
        })
    }

    /// The file without the key.
    fn left_out(&self, text: &str) -> String {
        self.edit(text, |_| None)
    }

    fn edit(&self, text: &str, change: impl Fn(&str) -> Option<String>) -> String {
        let edited = text
            .lines()
            .enumerate()
            .filter_map(|(at, line)| if at == self.line { change(line) } else { Some(line.to_owned()) });
        edited.map(|line| line + "\n").collect()
    }
}

/// Reads the layout of the full file: the indentation says the section, the comments above say the rest.
fn keys_of(text: &str) -> Vec<Line> {
    let mut found: Vec<Line> = Vec::new();
    let mut list = Part::File;
    // The section that is commented out as a whole.
    let mut commented = Part::Audit;
    let (mut default, mut allowed) = (None, None);
    for (at, line) in text.lines().enumerate() {
        let inner = line.starts_with("#   ");
        let bare = line.trim_start().trim_start_matches("# ").trim_start().trim_start_matches("- ");
        let comment = line.trim_start().starts_with("# ");
        let Some((name, _)) = bare.split_once(':').filter(|(name, _)| known(name)) else {
            let said = |label: &str| {
                let rest = bare.split_once(label)?.1;
                let end = rest.find(". ").unwrap_or(rest.trim_end_matches('.').len());
                Some(rest[..end].to_owned())
            };
            default = said("Default: ").or(default);
            allowed = said("Allowed: ").or(allowed);
            if !comment {
                (default, allowed) = (None, None);
            }
            continue;
        };
        let indent = line.len() - line.trim_start().len();
        let part = match (indent, list) {
            _ if inner => commented,
            (0, _) => Part::File,
            (6, Part::Bus) if line.starts_with("      failures") || line.starts_with("      time") => {
                Part::OfflineAfter
            }
            (6 | 8, Part::Bus) => Part::Unit,
            (_, list) => list,
        };
        match name {
            "listeners" => list = Part::Listener,
            "buses" if indent == 0 => list = Part::Bus,
            "status" => list = Part::Status,
            "audit" => commented = Part::Audit,
            "events" => commented = Part::Events,
            "mqtt" => commented = Part::Broker,
            _ => {}
        }
        // The second unit shows a range; its keys are those of the first.
        let shown = found.iter().any(|key| key.part == part && key.name == name);
        if !(shown && part == Part::Unit) {
            let (default, allowed) = (default.take(), allowed.take());
            found.push(Line { part, name: name.to_owned(), line: at, default, allowed });
        }
    }
    found
}

fn known(name: &str) -> bool {
    PARTS.iter().any(|part| part.keys().contains(&name))
}

/// A section of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    File,
    Listener,
    Bus,
    OfflineAfter,
    Unit,
    Status,
    Audit,
    Events,
    Broker,
}

impl Part {
    fn keys(self) -> &'static [&'static str] {
        match self {
            Self::File => keys::<File>(),
            Self::Listener => keys::<Listener>(),
            Self::Bus => keys::<Bus>(),
            Self::OfflineAfter => keys::<OfflineAfter>(),
            Self::Unit => keys::<Unit>(),
            Self::Status => keys::<StatusPage>(),
            Self::Audit => keys::<Audit>(),
            Self::Events => keys::<Events>(),
            Self::Broker => keys::<Broker>(),
        }
    }
}

const PARTS: [Part; 9] = [
    Part::File,
    Part::Listener,
    Part::Bus,
    Part::OfflineAfter,
    Part::Unit,
    Part::Status,
    Part::Audit,
    Part::Events,
    Part::Broker,
];
