//! What the rules of this room look at: a line then and now, and what its meters say of themselves.

use std::path::Path;
use std::time::Instant;

use crate::line::{Framing, LineCounters, LineSettings, Parity, PortState, UnitId, UnitView, View};
use crate::meter::Profile;

use super::finding::{Finding, Kind};
use super::{line, meter, unit};

/// One line over a span of time. Everything that is counted is judged by what was added in the span, so that a
/// fault that has been mended is not held against anybody.
#[derive(Clone, Copy, Debug)]
pub struct Evidence<'a> {
    /// What the line obeys.
    pub settings: &'a LineSettings,
    /// The device of its port, for commands that name it.
    pub device: &'a Path,
    /// The line when the span began.
    pub before: &'a View,
    /// The line now.
    pub now: &'a View,
    /// When `now` is.
    pub at: Instant,
    /// Why the port is closed, as far as known.
    pub port_closed: Option<&'a str>,
    /// Faulty characters the driver counted in the span, in words.
    pub faulty_characters: Option<&'a str>,
}

impl Evidence<'_> {
    /// Everything that is wrong with the line, its units and, as far as `profile` knows them, its meters; what is
    /// of the line first, then by unit, each by severity.
    #[must_use]
    pub fn findings<'p>(&self, profile: impl Fn(UnitId) -> Option<&'p Profile>) -> Vec<Finding> {
        let mut findings = line::findings(self);
        findings.sort_by_key(|finding| finding.severity);
        if self.now.port == PortState::Closed {
            return findings;
        }
        let silent = line::is_silent(self);
        for now in &self.now.units {
            let mut of_unit = Vec::new();
            if !silent {
                of_unit.extend(unit::findings(self, now));
            }
            if let Some(profile) = profile(now.id) {
                of_unit.extend(meter::findings(now, profile, self.at));
            }
            of_unit.sort_by_key(|finding| finding.severity);
            findings.append(&mut of_unit);
        }
        // What two meters say at once is no frame of anybody: that is where the bytes come from.
        if findings.iter().any(|finding| finding.kind == Kind::DuplicateAddress) {
            findings.retain(|finding| finding.kind != Kind::Noise);
        }
        findings
    }

    /// The command that asks who is on this line, at the settings it has.
    pub(super) fn scan(&self) -> String {
        let Framing { baud_rate, parity, stop_bits } = self.settings.framing;
        let mut command = format!("metergate scan {}", in_shell(&self.device.display().to_string()));
        if baud_rate != SCAN.baud_rate {
            command.push_str(&format!(" --baud {baud_rate}"));
        }
        command.push_str(match parity {
            Parity::None => "",
            Parity::Even => " --parity even",
            Parity::Odd => " --parity odd",
        });
        if stop_bits != SCAN.stop_bits {
            command.push_str(&format!(" --stop-bits {stop_bits}"));
        }
        command
    }

    /// What the line has counted in the span.
    pub(super) fn counted(&self, counter: impl Fn(&LineCounters) -> u64) -> u64 {
        counter(&self.now.counters).saturating_sub(counter(&self.before.counters))
    }

    /// What was counted of a unit in the span.
    pub(super) fn of_unit(&self, now: &UnitView, counter: impl Fn(&UnitView) -> u64) -> u64 {
        counter(now).saturating_sub(self.before.unit(now.id).map_or(0, counter))
    }
}

/// A word as a shell takes it.
fn in_shell(word: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"/-_.:,+@%=".contains(&b);
    if word.bytes().all(plain) { word.to_owned() } else { format!("'{}'", word.replace('\'', r"'\''")) }
}

/// What `scan` takes where it is told nothing else.
const SCAN: Framing = Framing { baud_rate: 19_200, parity: Parity::None, stop_bits: 1 };
