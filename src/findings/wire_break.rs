//! Locates a broken wire: all units behind a point fell silent at once, and all before it answer. Units that were silent
//! long before prove neither.
//!
//! Owns the rule that distinguishes a broken cable from meters that fail one by one. It needs the order of the wire,
//! which only the configuration has (`wire_order: yes`).

use std::time::{Duration, Instant};

use super::evidence::Evidence;
use super::finding::{Finding, Kind, Severity};
use super::format::duration;
use super::remedy::Remedy;
use crate::line::{PortState, UnitId, UnitState, UnitView, View};

/// The place of a break.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WireBreak {
    /// The last unit that answers.
    pub after: UnitId,
    /// The first unit that the break has cut off.
    pub before: UnitId,
    /// All that fell silent at once, in the order of the wire.
    cut_off: Vec<UnitId>,
    /// Those of the whole wire that were silent long before, and so say nothing about the break.
    silent_before: Vec<UnitId>,
    /// When a request to a unit behind the break first got no answer.
    since: Instant,
    /// Whether any unit behind the break has ever answered.
    was_reached: bool,
}

impl WireBreak {
    /// The break of a line whose units are in this order, nearest first, if there is one.
    #[must_use]
    pub fn find(view: &View, wire: &[UnitId]) -> Option<Self> {
        let units: Vec<&UnitView> = wire.iter().filter_map(|id| view.unit(*id)).collect();
        let lost = units.iter().rev().take_while(|unit| unit.state == UnitState::Offline).count();
        let (reached, silent) = units.split_at(units.len() - lost);
        let last = silent.iter().filter_map(|unit| unit.lost_at).max()?;
        let was_silent_before = |unit: &&UnitView| {
            let lost_at = unit.lost_at.filter(|_| unit.state == UnitState::Offline);
            lost_at.is_some_and(|lost_at| last.saturating_duration_since(lost_at) >= LONG_BEFORE)
        };
        let cut_off: Vec<&UnitView> =
            silent.iter().filter(|unit| !was_silent_before(unit)).copied().collect();
        if view.port != PortState::Open || cut_off.len() < LOST_AT_LEAST {
            return None;
        }
        let lost_at: Option<Vec<Instant>> = cut_off.iter().map(|unit| unit.lost_at).collect();
        let first = lost_at?.into_iter().min()?;
        // A unit behind the break may not be marked off-line yet, but it has not answered since.
        let is_reached = |unit: &&UnitView| unit.state == UnitState::Online && unit.last_good > Some(last);
        let is_at_once = last.saturating_duration_since(first) <= AT_ONCE;
        let is_whole = reached.iter().all(|unit| is_reached(unit) || was_silent_before(unit));
        let (after, before) = (reached.last()?.id, cut_off.first()?.id);
        (is_at_once && is_whole).then(|| Self {
            after,
            before,
            silent_before: units.iter().filter(|unit| was_silent_before(unit)).map(|unit| unit.id).collect(),
            since: first,
            was_reached: cut_off.iter().any(|unit| unit.last_good.is_some()),
            cut_off: cut_off.iter().map(|unit| unit.id).collect(),
        })
    }

    /// Whether the break explains the silence of this unit.
    pub(super) fn cuts_off(&self, unit: UnitId) -> bool {
        self.cut_off.contains(&unit)
    }
}

/// The break as a finding.
pub(super) fn finding(evidence: &Evidence<'_>) -> Option<Finding> {
    let found = WireBreak::find(evidence.now, evidence.wire?)?;
    let label = |unit| evidence.settings.label(unit);
    let end = found.cut_off.last().copied().unwrap_or(found.before);
    let (after, before, end) = (label(found.after), label(found.before), label(end));
    let since = duration(evidence.at.saturating_duration_since(found.since));
    let silence = if found.was_reached {
        format!("Everything from {before} to {end} fell silent at once, {since} ago")
    } else {
        format!("Nothing from {before} to {end} has answered since the start")
    };
    let remedy = Remedy::steps([
        format!("the cable from {after} to {before}, and its terminals at both ends"),
        format!("the power of everything behind {after}"),
    ]);
    let earlier: Vec<String> = found.silent_before.iter().map(|unit| label(*unit)).collect();
    let earlier = match earlier.as_slice() {
        [] => String::new(),
        [only] => format!("; {only} was silent before"),
        several => format!("; {} were silent before", several.join(", ")),
    };
    let others = if found.silent_before.is_empty() { "everything" } else { "everything else" };
    let what = format!("{silence}, and {others} up to {after} answers{earlier}");
    let finding = Finding::new(Severity::Fault, Kind::WireBreak, None, what, remedy, evidence.at);
    Some(finding.seen(found.since, evidence.at).about(format!("after {}", found.after)))
}

/// A single unit at the end is as likely to be at fault itself.
const LOST_AT_LEAST: usize = 2;
/// Longest time between the first missing answers of units that one cause has silenced. If the units are polled less
/// often than this, their failures are noticed one by one and the break is not recognised.
const AT_ONCE: Duration = Duration::from_secs(10);
/// A unit that was lost this much earlier had a cause of its own. One lost between the two times may be a unit behind the
/// break that is polled less often than the others, so that nothing is certain.
const LONG_BEFORE: Duration = Duration::from_secs(60);
