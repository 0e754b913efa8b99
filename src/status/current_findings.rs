//! What is wrong now: the findings of each line over the last ten minutes.
//!
//! Owns the choice of what is compared with what. The rules are those of `findings`; nothing is judged here.

use std::sync::LazyLock;
use std::time::Instant;

use super::history::History;
use super::published::PublishedBus;
use crate::findings::{self, Evidence, Finding};
use crate::line::View;
use crate::serial::LineErrors;

/// What is wrong with a line and its meters.
pub(super) fn of_bus(bus: &PublishedBus, history: &History, now: Instant) -> Vec<Finding> {
    let (before, errors, _at) = baseline(bus, history);
    findings(bus, before, errors, now)
}

/// What a line had counted about ten minutes ago, what its driver had, and when that was; nothing, and `None`,
/// before the first look.
pub(super) fn baseline<'a>(
    bus: &PublishedBus,
    history: &'a History,
) -> (&'a View, LineErrors, Option<Instant>) {
    let earlier = history.bus(bus).and_then(|track| track.recent.earlier());
    earlier.map_or((&NOTHING, LineErrors::default(), None), |earlier| {
        (&earlier.view, earlier.line_errors.unwrap_or_default(), Some(earlier.at))
    })
}

/// What is wrong with a line and its meters by what was added since `before`.
pub(super) fn findings(bus: &PublishedBus, before: &View, counted: LineErrors, now: Instant) -> Vec<Finding> {
    let faulty = bus.port.line_errors.map(|errors| errors.since(&counted));
    let evidence = Evidence {
        settings: &bus.settings.line,
        device: &bus.settings.port.device,
        before,
        now: &bus.view,
        at: now,
        port_closed: bus.port.problem.as_deref(),
        faulty_characters: faulty.as_deref().filter(|words| !words.is_empty()),
    };
    findings::findings(&evidence, |unit| bus.settings.profiles.get(&unit).map(|known| &*known.profile))
}

/// Before the first look nothing had been counted.
pub(super) static NOTHING: LazyLock<View> = LazyLock::new(View::default);
