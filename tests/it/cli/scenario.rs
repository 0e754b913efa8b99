//! `scan` and `doctor` of the built program on the chain of `config/scenarios/twelve-with-faults.yaml`: what is wrong
//! with it is found, all of it and nothing else.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

use crate::support::page::get_until;
use crate::support::program::{Folder, Program};

const SCENARIO: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/config/scenarios/twelve-with-faults.yaml");

/// The chain as a serial device.
struct Line {
    folder: Folder,
    device: PathBuf,
    _chain: Program,
}

impl Line {
    fn start() -> Self {
        let folder = Folder::new();
        let device = folder.path("line");
        let link = device.to_str().unwrap();
        let mut chain = Program::start(["simulate", "--link", link, "--scenario", SCENARIO]);
        chain.line_with(link);
        Self { folder, device, _chain: chain }
    }

    fn ask(&self, command: &str, words: &[&str]) -> Output {
        let mut metergate = Command::new(env!("CARGO_BIN_EXE_metergate"));
        metergate.arg(command).arg(&self.device).args(words).output().unwrap()
    }
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

/// The units of a report of `doctor`, each with the first words of what is said of it.
fn verdicts(report: &str) -> Vec<(String, Vec<String>)> {
    let mut units: Vec<(String, Vec<String>)> = Vec::new();
    for line in report.lines() {
        let finding = ["fault: ", "warning: ", "note: "].into_iter().find_map(|word| line.split_once(word));
        if let Some((subject, what)) = finding {
            let what = what.split([':', ';', '(']).next().unwrap().trim().to_owned();
            match units.last_mut().filter(|_| subject.trim().is_empty()) {
                Some((_, said)) => said.push(what),
                None => units.push((subject.trim().to_owned(), vec![what])),
            }
        } else if line.starts_with("unit ") {
            units.push((line[..8].trim().to_owned(), Vec::new()));
        }
    }
    units.retain(|(_, said)| !said.is_empty());
    units
}

fn expected(turned: &str) -> Vec<(String, Vec<String>)> {
    let unit = |name: &str, what: &str| (name.to_owned(), vec![what.to_owned()]);
    vec![
        unit("unit 5", "Two meters seem to have the address 5"),
        unit("unit 7", "It has not answered since the start"),
        unit("unit 8", "It has not answered since the start"),
        unit("unit 9", turned),
    ]
}

#[test]
fn a_scan_of_twelve_is_exact_about_the_double_the_dead_and_the_other_rate() {
    let line = Line::start();
    let done = line.ask("scan", &["--units", "1-12", "--try-settings", "--timeout", "120ms"]);
    let said = text(&done.stdout);
    assert_eq!(done.status.code(), Some(1), "{said}");
    let rows: Vec<(u8, String, bool)> = said
        .lines()
        .filter_map(|row| {
            let (unit, rest) = row.strip_prefix('#')?.trim_start().split_once("  ")?;
            let at = rest.trim_start().split("  ").next()?.to_owned();
            Some((unit.parse().ok()?, at, rest.contains("two meters")))
        })
        .collect();
    let at = |unit, framing: &str, twice| (unit, framing.to_owned(), twice);
    let mut wanted: Vec<_> =
        [1, 2, 3, 4, 5, 6, 8, 9, 10, 11].map(|unit| at(unit, "19200 8N1", unit == 5)).into();
    wanted[6] = at(8, "9600 8N1", false);
    assert_eq!(rows, wanted, "{said}");
    assert!(said.contains("# 9 meters, 1 address used twice, no answer from 7, 12.\n"), "{said}");
    assert!(said.contains("# Unit 8 answers at 9600 8N1: set it to 19200 8N1"), "{said}");
    // It is a configuration as it stands: the healthy meters at the usual rate.
    let path = line.folder.write("found.yaml", said);
    let checked = Command::new(env!("CARGO_BIN_EXE_metergate"))
        .args(["check", "--effective"])
        .arg(path)
        .output()
        .unwrap();
    assert_eq!(checked.status.code(), Some(0), "{}", text(&checked.stderr));
    let units: Vec<_> =
        text(&checked.stdout).lines().filter_map(|row| row.trim().strip_prefix("- id: ")).collect();
    assert_eq!(units, ["1", "2", "3", "4", "6", "9", "10", "11"]);
}

#[test]
fn doctor_on_the_port_names_each_fault_and_no_other() {
    let line = Line::start();
    let done = line.ask("doctor", &["--units", "1-11", "--for", "15s"]);
    let said = text(&done.stdout);
    assert_eq!(done.status.code(), Some(1), "{said}");
    assert_eq!(verdicts(said), expected("The meter reports"), "{said}");
    assert!(said.contains("Power factor of phase C"), "{said}");
    assert!(said.ends_with("8 of 11 units answer; 3 faults, 1 warning.\n"), "{said}");
}

#[test]
fn doctor_through_the_gateway_names_each_fault_and_no_other() {
    let line = Line::start();
    let mut gateway = gateway(&line.folder, &line.device);
    let page = gateway.status_page();
    // Until each of them has been asked often enough.
    get_until(page, "/api/v1/checkup", |answer| {
        let found = answer.json();
        let units = found["buses"][0]["units"].as_array().unwrap();
        let faults = |unit: &Value| unit["findings"].as_array().is_some_and(|all| !all.is_empty());
        // The silent ones hold up the first round: the last is asked late.
        let is_asked = !answer.body.contains("\"never_seen\"");
        is_asked && answer.body.contains("\"alert\"") && units.iter().filter(|unit| faults(unit)).count() == 4
    });
    let mut doctor = Command::new(env!("CARGO_BIN_EXE_metergate"));
    let done = doctor.args(["doctor", "--status", &page.to_string()]).output().unwrap();
    let said = text(&done.stdout);
    assert_eq!(done.status.code(), Some(1), "{said}");
    // The silent ones hold up the readings of the others until they are off-line, which is true, and said.
    let mut found = verdicts(said);
    found.retain(|(subject, _)| subject != "line" || !said.contains("line     warning: Background readings"));
    // The meter itself reports it a while after its readings show it, and it is said once.
    let turned =
        if said.contains("The meter reports") { "The meter reports" } else { "Power factor of phase C" };
    assert_eq!(found, expected(turned), "{said}");
    assert!(said.contains("8 of 11 units answer; 3 faults, "), "{said}");
}

fn gateway(folder: &Folder, device: &Path) -> Program {
    let text = format!(
        "listeners: [{{address: '127.0.0.1:0'}}]\nbuses:\n  - name: riser\n    device: {}\n    units: [{{id: 1-11, \
         profile: leviton-4000r, poll: 3s, poll_slow: 5s}}]\nstatus: {{address: '127.0.0.1:0'}}\n",
        device.display()
    );
    let config = folder.write("metergate.yaml", &text);
    Program::start(["run".as_ref(), "--config".as_ref(), config.as_os_str()])
}
