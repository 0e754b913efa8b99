//! Locates a broken wire: all units behind a point fell silent at once, and all before it answer.
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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WireBreak {
    /// The last unit that answers.
    pub after: UnitId,
    /// The first unit that does not.
    pub before: UnitId,
    /// The last unit of the wire.
    end: UnitId,
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
        if view.port != PortState::Open || silent.len() < LOST_AT_LEAST {
            return None;
        }
        let (after, before, end) = (reached.last()?, silent.first()?, silent.last()?);
        let lost_at: Option<Vec<Instant>> = silent.iter().map(|unit| unit.lost_at).collect();
        let lost_at = lost_at?;
        let (first, last) = (*lost_at.iter().min()?, *lost_at.iter().max()?);
        // A unit behind the break may not be marked off-line yet, but it has not answered since.
        let is_reached = |unit: &&UnitView| unit.state == UnitState::Online && unit.last_good > Some(last);
        let is_at_once = last.saturating_duration_since(first) <= AT_ONCE;
        (is_at_once && reached.iter().all(is_reached)).then_some(Self {
            after: after.id,
            before: before.id,
            end: end.id,
            since: first,
            was_reached: silent.iter().any(|unit| unit.last_good.is_some()),
        })
    }
}

/// The break as a finding.
pub(super) fn finding(evidence: &Evidence<'_>) -> Option<Finding> {
    let found = WireBreak::find(evidence.now, evidence.wire?)?;
    let label = |unit| evidence.settings.label(unit);
    let (after, before, end) = (label(found.after), label(found.before), label(found.end));
    let since = duration(evidence.at.saturating_duration_since(found.since));
    let silence = if found.was_reached {
        format!("Everything from {before} to {end} fell silent at once, {since} ago")
    } else {
        format!("Nothing from {before} to {end} has ever answered")
    };
    let remedy = Remedy::steps([
        format!("the cable from {after} to {before}, and its terminals at both ends"),
        format!("the power of everything behind {after}"),
    ]);
    let what = format!("{silence}, and everything up to {after} answers");
    let finding = Finding::new(Severity::Fault, Kind::WireBreak, None, what, remedy, evidence.at);
    Some(finding.seen(found.since, evidence.at).about(format!("after {}", found.after)))
}

/// A single unit at the end is as likely to be at fault itself.
const LOST_AT_LEAST: usize = 2;
/// Longest time between the first missing answers of units that one cause has silenced. If the units are polled less
/// often than this, their failures are noticed one by one and the break is not recognised.
const AT_ONCE: Duration = Duration::from_secs(10);
