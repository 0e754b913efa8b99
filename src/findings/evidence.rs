//! What the rules look at: a line then and now.

use std::path::Path;
use std::time::Instant;

use crate::line::{Framing, LineCounters, LineSettings, Parity, UnitId, UnitState, UnitView, View};

use super::track::{LineTrouble, Track, UnitTrouble};

/// One line over a span of time. Everything that is counted is judged by what was added while it went on, so that a
/// fault that is mended makes no finding.
#[derive(Clone, Copy, Debug)]
pub struct Evidence<'a> {
    /// What the line obeys.
    pub settings: &'a LineSettings,
    /// The device of its port, for commands that name it.
    pub device: &'a Path,
    /// The line ten minutes ago: what was counted by then is no part of any finding.
    pub before: &'a View,
    /// The looks at it, `now` included.
    pub track: &'a Track,
    /// The line now.
    pub now: &'a View,
    /// When `now` is.
    pub at: Instant,
    /// The units in the order of the wire, nearest first, where the configuration has that order.
    pub wire: Option<&'a [UnitId]>,
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

    /// What has been counted of a trouble of the line that goes on, and of a second counter in the same time.
    pub(super) fn trouble(&self, trouble: LineTrouble) -> Option<Trouble> {
        let episode = self.track.of_line(trouble).filter(|episode| episode.goes_on(self.at))?;
        let since = |counter: &dyn Fn(&LineCounters) -> u64| {
            let before = counter(&self.before.counters).max(counter(&episode.start));
            counter(&self.now.counters).saturating_sub(before)
        };
        let count = since(&|line| trouble.count(line));
        let transactions = since(&|line| line.transactions);
        (count > 0).then_some(Trouble { count, transactions, first: episode.first, last: episode.last })
    }

    /// The time in which a unit has had this trouble, if it goes on. Of a unit that is lost it does; but one that gave
    /// answers that do not fit was there, and is not because it was.
    pub(super) fn span_of(&self, now: &UnitView, trouble: UnitTrouble) -> Option<Span<'_>> {
        let is_lost = self.now.availability(now.id).is_lost() && trouble != UnitTrouble::Misfit;
        let episode = self.track.of_unit(now.id, trouble)?;
        let before = self.before.unit(now.id);
        (is_lost || episode.goes_on(self.at)).then_some(Span {
            first: episode.first,
            last: episode.last,
            start: &episode.start,
            before,
        })
    }

    /// Whether every unit was asked and none answers now: then the fault need not be theirs. One that is off-line has not
    /// answered since.
    pub(super) fn is_line_silent(&self) -> bool {
        if self.now.is_silent {
            return true;
        }
        let units = &self.now.units;
        if let [only] = units.as_slice() {
            return self.is_only_one_silent(only);
        }
        let is_heard = |unit: &UnitView| {
            let comes = [UnitTrouble::Misfit, UnitTrouble::Replaced];
            comes.into_iter().any(|trouble| self.span_of(unit, trouble).is_some())
        };
        let away = units.iter().all(|unit| match unit.state {
            UnitState::Offline | UnitState::NeverSeen if is_heard(unit) => false,
            UnitState::Offline => true,
            UnitState::NeverSeen => unit.counters.timeouts + unit.counters.crc_errors > 0,
            UnitState::Online | UnitState::Confirming => false,
        });
        !units.is_empty() && away
    }

    /// The same of a line of one unit: there one lost request is no sign yet, and an answer that comes damaged is one.
    fn is_only_one_silent(&self, only: &UnitView) -> bool {
        let comes = [UnitTrouble::Damaged, UnitTrouble::Misfit, UnitTrouble::Replaced];
        let is_anything_heard = comes.into_iter().any(|trouble| self.span_of(only, trouble).is_some());
        let away = match only.state {
            UnitState::Offline => true,
            UnitState::NeverSeen => only.counters.timeouts >= ONLY_ONE_AFTER,
            UnitState::Online | UnitState::Confirming => false,
        };
        away && !is_anything_heard
    }

    /// Whether another unit of the line answers, so that the line itself is right.
    pub(super) fn do_others_answer(&self, now: &UnitView) -> bool {
        self.now.units.iter().any(|unit| unit.id != now.id && self.now.availability(unit.id).is_answering())
    }
}

/// A trouble of a line that goes on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Trouble {
    pub(super) count: u64,
    /// Requests sent in the same time.
    pub(super) transactions: u64,
    pub(super) first: Instant,
    pub(super) last: Instant,
}

/// A time in which a unit has had a trouble.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span<'e> {
    pub(super) first: Instant,
    pub(super) last: Instant,
    start: &'e UnitView,
    before: Option<&'e UnitView>,
}

impl Span<'_> {
    /// What was counted of the unit in it.
    pub(super) fn count(&self, now: &UnitView, counter: impl Fn(&UnitView) -> u64) -> u64 {
        let before = self.before.map_or(0, &counter).max(counter(self.start));
        counter(now).saturating_sub(before)
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
