//! `check`: reads a configuration as `run` would, and opens no port.

use std::path::Path;
use std::time::Instant;

use super::args::Units;
use super::budget;
use super::exit::Exit;
use super::output;
use crate::config::{self, Config, Severity};

/// How much is printed of a good configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detail {
    /// What it costs the lines.
    Short,
    /// The configuration as it will be obeyed, too.
    Effective,
}

/// Shows what a configuration will cost the lines, or everything that is wrong with it. [`Exit::Fault`] if a line is
/// to do more than it has time for.
#[must_use]
pub fn check(path: &Path, detail: Detail) -> Exit {
    match config::load(path) {
        Ok(loaded) => {
            for warning in &loaded.warnings {
                output::report(warning);
            }
            remark(path, &loaded.config);
            show(path, &loaded.config, detail)
        }
        Err(problems) => {
            output::report(&problems);
            Exit::Configuration
        }
    }
}

/// What is missing on this machine, and what the file leaves out that nearly everybody wants.
fn remark(path: &Path, config: &Config) {
    let say = |severity: &str, text: &str| output::report(&format!("{}: {severity}: {text}", path.display()));
    for bus in &config.buses {
        let name = &bus.line.name;
        let device = &bus.port.device;
        if !device.exists() {
            say(
                "warning",
                &format!(
                    "bus {name}: there is no device {}; the bus stays down until it is plugged in (`ls -l \
                     /dev/serial/by-id` shows the adapters there are)",
                    device.display()
                ),
            );
        }
        let without = bus.wire.iter().filter(|unit| !bus.profiles.contains_key(unit)).map(|unit| unit.get());
        let without = Units::of(without);
        if !without.ids().is_empty() {
            let (units, have) = if without.ids().len() == 1 { ("unit", "has") } else { ("units", "have") };
            say(
                "note",
                &format!(
                    "bus {name}: {units} {without} {have} no profile, so nothing is read in the background and no \
                     value has a name; for meters of that kind add `profile: leviton-4000r` (`metergate points \
                     --help` says what a profile is)"
                ),
            );
        }
    }
    let files = [
        (
            "audit.file",
            config.audit.as_ref().map(|audit| &audit.file),
            ", and `run` does not start without it",
        ),
        (
            "events.file",
            config.events.as_ref().map(|events| &events.file),
            ", so `run` forgets its events at a restart",
        ),
    ];
    for (key, file, consequence) in files {
        let folder = file.and_then(|file| file.parent());
        if let Some(folder) = folder.filter(|folder| !folder.is_dir()) {
            let folder = folder.display();
            say(
                "warning",
                &format!(
                    "{key}: there is no directory {folder}{consequence}; make it (`install -d -o metergate -g \
                     metergate -m 750 {folder}`), or name a file elsewhere"
                ),
            );
        }
    }
}

fn show(path: &Path, config: &Config, detail: Detail) -> Exit {
    let now = Instant::now();
    let findings = budget::findings(config, now);
    let possible = findings.iter().all(|finding| finding.severity == Severity::Warning);
    // All but the last word stays YAML: what is said beside the configuration stands in comments.
    let effective = match detail {
        Detail::Short => String::new(),
        Detail::Effective => config.to_yaml() + "\n",
    };
    let verdict = if possible { "ok\n" } else { "" };
    let shown = format!("{effective}{}{verdict}", budget::describe(config, now));
    let printed = output::print(shown.as_bytes());
    for finding in &findings {
        let severity = match finding.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        output::report(&format!("{}: {severity}: bus {}: {}", path.display(), finding.bus, finding.text));
    }
    if possible { printed } else { Exit::Fault }
}
