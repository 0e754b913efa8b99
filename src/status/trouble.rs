//! What is wrong now: the findings of each line over the last ten minutes.
//!
//! Owns the choice of what is compared with what. The rules are those of `findings`; nothing is judged here.

use std::sync::LazyLock;
use std::time::{Duration, Instant};

use super::history::History;
use super::picture::{BusPicture, Picture};
use crate::bus::view::View;
use crate::findings::{Evidence, Finding};
use crate::io::ioctl::LineErrors;

/// What is wrong with a line and its meters.
pub(super) fn of_bus(picture: &Picture, bus: &BusPicture, history: &History, now: Instant) -> Vec<Finding> {
    let (before, errors, since) = then(picture, bus, history);
    findings(bus, before, errors, now.saturating_duration_since(since), now)
}

/// What a line had counted about ten minutes ago, what its driver had, and when that was; nothing at the start.
pub(super) fn then<'a>(
    picture: &Picture,
    bus: &BusPicture,
    history: &'a History,
) -> (&'a View, LineErrors, Instant) {
    let earlier = history.bus(bus).and_then(|track| track.lately.earlier());
    earlier.map_or((&NOTHING, LineErrors::default(), picture.started), |earlier| {
        (&earlier.view, earlier.line_errors.unwrap_or_default(), earlier.at)
    })
}

/// What is wrong with a line and its meters by what was added in `span`.
pub(super) fn findings(
    bus: &BusPicture,
    before: &View,
    counted: LineErrors,
    span: Duration,
    now: Instant,
) -> Vec<Finding> {
    let faulty = bus.port.line_errors.map(|errors| errors.since(&counted));
    let evidence = Evidence {
        settings: &bus.settings.line,
        before,
        now: &bus.view,
        at: now,
        span,
        port_closed: bus.port.problem.as_deref(),
        faulty_characters: faulty.as_deref().filter(|words| !words.is_empty()),
    };
    evidence.findings(|unit| bus.settings.profiles.get(&unit).map(|known| &*known.profile))
}

/// The same of all lines, each with its line.
pub(super) fn of_all<'a>(
    picture: &'a Picture,
    history: &History,
    now: Instant,
) -> Vec<(&'a BusPicture, Finding)> {
    let of = |bus: &'a BusPicture| {
        of_bus(picture, bus, history, now).into_iter().map(move |finding| (bus, finding))
    };
    picture.buses.iter().flat_map(of).collect()
}

/// Before the first look nothing had been counted.
pub(super) static NOTHING: LazyLock<View> = LazyLock::new(View::default);
