//! What the rules look at: a line then and now.

use std::path::Path;
use std::time::Instant;

use crate::line::{Framing, LineCounters, LineSettings, Parity, UnitState, UnitView, View};

/// One line over a span of time. Everything that is counted is judged by what was added in the span, so that a
/// fault from before it makes no finding.
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

    /// Whether every unit was asked and none answers now: then the fault need not be theirs. One that is off-line has not
    /// answered since.
    pub(super) fn is_line_silent(&self) -> bool {
        let units = &self.now.units;
        if let [only] = units.as_slice() {
            return self.is_only_one_silent(only);
        }
        let away = units.iter().all(|unit| match unit.state {
            UnitState::Offline => true,
            UnitState::NeverSeen => unit.counters.timeouts + unit.counters.crc_errors > 0,
            UnitState::Online | UnitState::Confirming => false,
        });
        !units.is_empty() && away
    }

    /// The same of a line of one unit: there one lost request is no sign yet, and an answer that comes damaged is one.
    fn is_only_one_silent(&self, only: &UnitView) -> bool {
        let damaged = self.of_unit(only, |unit| unit.counters.crc_errors + unit.statistics.unreadable);
        let away = match only.state {
            UnitState::Offline => true,
            UnitState::NeverSeen => only.counters.timeouts >= ONLY_ONE_AFTER,
            UnitState::Online | UnitState::Confirming => false,
        };
        away && damaged == 0
    }

    /// Whether another unit of the line answers, so that the line itself is right.
    pub(super) fn do_others_answer(&self, now: &UnitView) -> bool {
        self.now.units.iter().any(|unit| match unit.state {
            UnitState::Online | UnitState::Confirming => unit.id != now.id,
            UnitState::Offline | UnitState::NeverSeen => false,
        })
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

/// Requests without an answer, and no good answer ever, that make a line of one unit silent.
const ONLY_ONE_AFTER: u64 = 2;
