//! `check`: reads a configuration as `run` would, and opens no port.

use std::path::Path;
use std::time::Instant;

use super::budget;
use super::exit::Exit;
use super::output;
use crate::config::{self, Config, Severity};

/// Shows the resolved configuration and what it will cost the lines, or everything that is wrong with it.
/// [`Exit::Fault`] if a line is to do more than it has time for.
#[must_use]
pub fn check(path: &Path) -> Exit {
    match config::load(path) {
        Ok(loaded) => {
            for warning in &loaded.warnings {
                output::report(warning);
            }
            show(path, &loaded.config)
        }
        Err(problems) => {
            output::report(&problems);
            Exit::Configuration
        }
    }
}

fn show(path: &Path, config: &Config) -> Exit {
    let now = Instant::now();
    let findings = budget::findings(config, now);
    let possible = findings.iter().all(|finding| finding.severity == Severity::Warning);
    // All but the last word stays YAML: what is said beside the configuration stands in comments.
    let verdict = if possible { "ok\n" } else { "" };
    let shown = format!("{}\n{}{verdict}", config.to_yaml(), budget::describe(config, now));
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
