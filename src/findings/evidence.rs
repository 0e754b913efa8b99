//! The input of the rules: a line ten minutes ago and now.

use std::time::{Duration, Instant};

use crate::line::{Framing, LineCounters, LineSettings, Parity, Protocol, UnitId, UnitState, UnitView, View};
use crate::serial::PortDevice;

use super::track::{LineTrouble, Track, UnitTrouble};

/// One line over a span of time. The rules use only what the counters gained in a current episode, so that a repaired
/// fault makes no finding.
#[derive(Clone, Copy, Debug)]
pub struct Evidence<'a> {
    /// The settings of the line.
    pub settings: &'a LineSettings,
    /// The device or server of the line, for remedies and commands that name it.
    pub device: &'a PortDevice,
    /// The line ten minutes ago; what was counted before is ignored.
    pub before: &'a View,
    /// The troubles sampled so far, `now` included.
    pub track: &'a Track,
    /// The line now.
    pub now: &'a View,
    /// The instant of `now`.
    pub at: Instant,
    /// The units in the order of the wire, nearest first, if the configuration has that order.
    pub wire: Option<&'a [UnitId]>,
    /// Why the port is closed, as far as known.
    pub port_closed: Option<&'a str>,
    /// The faulty characters that the driver counted in the span, as text.
    pub faulty_characters: Option<&'a str>,
}

impl Evidence<'_> {
    /// The command that lists the units on this line, with its present settings.
    pub(super) fn scan_command(&self) -> String {
        let target = match self.device {
            PortDevice::Path(_) | PortDevice::Server(_) => self.device.to_string(),
            PortDevice::ModbusTcp(server) => server.to_string(),
        };
        let mut command = format!("metergate scan {}", in_shell(&target));
        let Framing { baud_rate, parity, stop_bits } = match self.settings.protocol {
            Protocol::Rtu(framing) => framing,
            Protocol::Tcp => return command,
        };
        if baud_rate != SCAN_DEFAULT.baud_rate {
            command.push_str(&format!(" --baud {baud_rate}"));
        }
        command.push_str(match parity {
            Parity::None => "",
            Parity::Even => " --parity even",
            Parity::Odd => " --parity odd",
        });
        if stop_bits != SCAN_DEFAULT.stop_bits {
            command.push_str(&format!(" --stop-bits {stop_bits}"));
        }
        command
    }

    /// The counts of a current trouble of the line.
    pub(super) fn line_trouble(&self, trouble: LineTrouble) -> Option<TroubleCount> {
        let episode = self.track.of_line(trouble).filter(|episode| episode.is_ongoing(self.at))?;
        let since = |counter: &dyn Fn(&LineCounters) -> u64| {
            let before = counter(&self.before.counters).max(counter(&episode.start));
            counter(&self.now.counters).saturating_sub(before)
        };
        let count = since(&|line| trouble.count(line));
        let transactions = since(&|line| line.transactions);
        (count > 0).then_some(TroubleCount { count, transactions, first: episode.first, last: episode.last })
    }

    /// The current episode of a unit's trouble. The troubles of a lost unit stay current, except misfits: they prove
    /// that the unit answered, so they cannot explain why it is lost.
    pub(super) fn span_of(&self, now: &UnitView, trouble: UnitTrouble) -> Option<UnitSpan<'_>> {
        let is_lost = self.now.availability(now.id).is_lost() && trouble != UnitTrouble::Misfit;
        let episode = self.track.of_unit(now.id, trouble)?;
        let before = self.before.unit(now.id);
        (is_lost || episode.is_ongoing(self.at)).then_some(UnitSpan {
            first: episode.first,
            last: episode.last,
            start: &episode.start,
            before,
        })
    }

    /// Whether requests were sent to every unit and none answers now: the cause is then likely the line, not the units.
    /// An off-line unit has not answered since it was marked.
    pub(super) fn is_line_silent(&self) -> bool {
        if self.now.units.iter().any(|unit| self.is_heard_damaged(unit)) {
            return false;
        }
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
            // A damaged answer to one of the first requests is no silence.
            UnitState::NeverSeen => unit.counters.timeouts > 0 && unit.counters.crc_errors == 0,
            UnitState::Online | UnitState::Confirming => false,
        });
        !units.is_empty() && away
    }

    /// Whether most requests that the unit did not answer well brought an answer with its address and function, damaged
    /// or broken off, until just now: the unit is connected, at the right settings.
    fn is_heard_damaged(&self, unit: &UnitView) -> bool {
        self.span_of(unit, UnitTrouble::Damaged).is_some_and(|span| {
            if self.at.saturating_duration_since(span.last) > HEARD_RECENTLY {
                return false;
            }
            let damaged = span.count(unit, |unit| unit.counters.crc_errors);
            let silent = span.count(unit, |unit| unit.counters.timeouts);
            damaged >= HEARD_AT_LEAST && damaged > silent
        })
    }

    /// The same for a line of one unit: a single lost request is not enough there, and a damaged answer proves that the
    /// unit is connected.
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

    /// Whether another unit of the line answers, which proves the line and its settings good.
    pub(super) fn has_other_answering(&self, now: &UnitView) -> bool {
        self.now.units.iter().any(|unit| unit.id != now.id && self.now.availability(unit.id).is_answering())
    }
}

/// What was counted in the current episode of a line's trouble.
#[derive(Clone, Copy, Debug)]
pub(super) struct TroubleCount {
    pub(super) count: u64,
    /// Requests sent in the same time.
    pub(super) transactions: u64,
    pub(super) first: Instant,
    pub(super) last: Instant,
}

/// The current episode of a unit's trouble.
#[derive(Clone, Copy, Debug)]
pub(super) struct UnitSpan<'e> {
    pub(super) first: Instant,
    pub(super) last: Instant,
    start: &'e UnitView,
    before: Option<&'e UnitView>,
}

impl UnitSpan<'_> {
    /// By how much a counter of the unit grew in it.
    pub(super) fn count(&self, now: &UnitView, counter: impl Fn(&UnitView) -> u64) -> u64 {
        let before = self.before.map_or(0, &counter).max(counter(self.start));
        counter(now).saturating_sub(before)
    }
}

/// Quotes a word for a shell where necessary.
fn in_shell(word: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"/-_.:,+@%=".contains(&b);
    if word.bytes().all(plain) { word.to_owned() } else { format!("'{}'", word.replace('\'', r"'\''")) }
}

/// The defaults of `metergate scan`.
const SCAN_DEFAULT: Framing = Framing { baud_rate: 19_200, parity: Parity::None, stop_bits: 1 };

/// How long after its last damaged answer a unit counts as connected; probes of a silent line are this far apart.
const HEARD_RECENTLY: Duration = Duration::from_secs(60);

/// Fewer damaged answers may be those of a unit that was losing its power.
const HEARD_AT_LEAST: u64 = 3;

/// Requests without an answer after which a line of one unit that has never answered counts as silent.
const ONLY_ONE_AFTER: u64 = 2;
