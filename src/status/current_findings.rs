//! The present findings of each line, from its state and the last ten minutes.
//!
//! Owns the choice of the two views that are compared. The rules are in `findings`.

use std::sync::LazyLock;
use std::time::Instant;

use super::published::{Published, PublishedBroker, PublishedBus, PublishedListener};
use super::recent::RecentWindow;
use crate::findings::{self, Evidence, Finding, Track};
use crate::line::View;
use crate::serial::LineErrors;
use crate::server::MisframedClient;

/// The findings of a line and its meters.
pub(super) fn of_bus(bus: &PublishedBus, recent: Option<&RecentWindow>, now: Instant) -> Vec<Finding> {
    let (before, errors, _at) = baseline(recent);
    findings(bus, before, errors, &track(bus, recent, now), now)
}

/// The findings of the listeners whose first bus this is, and of their clients; with the first bus, those of the status
/// page and of the audit file.
pub(super) fn of_clients(bus: &PublishedBus, published: &Published) -> Vec<Finding> {
    let now = published.at;
    let is_here = |listener: &&PublishedListener| listener.buses.first() == Some(&bus.id);
    let misframed = |listener: &PublishedListener| {
        let MisframedClient { address, spoken, first, last } = listener.metrics.misframed_client()?;
        findings::misframed(&listener.address, &address, spoken, first, last, now)
    };
    let certificate = |listener: &PublishedListener| {
        let expires = listener.settings.tls.as_ref()?.certificate().validity.not_after;
        findings::certificate(&format!("listener {}", listener.address), expires, published.time, now)
    };
    let is_first = published.buses.first().is_some_and(|first| first.id == bus.id);
    let page = published.page_expires.filter(|_| is_first);
    let page = page.and_then(|expires| findings::certificate("status page", expires, published.time, now));
    let audit = published.audit.as_ref().filter(|_| is_first).and_then(|audit| {
        let problem = audit.problem();
        let problem = problem.as_deref().map(|problem| (problem.what.as_str(), problem.since));
        findings::audit_incomplete(&audit.file, audit.lost(), problem, now)
    });
    let closed = |listener: &PublishedListener| {
        let problem = listener.port.as_ref()?.problem.as_deref()?;
        Some(findings::client_port_closed(&listener.address, problem, now))
    };
    let found =
        |listener| [closed(listener), misframed(listener), certificate(listener)].into_iter().flatten();
    let of_gateway = page.into_iter().chain(audit);
    of_gateway.chain(published.listeners.iter().filter(is_here).flat_map(found)).collect()
}

/// The finding of the connection to a broker.
pub(super) fn of_broker(broker: &PublishedBroker, now: Instant) -> Option<Finding> {
    findings::of_broker(&broker.metrics.view(now), &broker.delivery.counts(), now)
}

/// The samples of a line, this one included.
pub(super) fn track(bus: &PublishedBus, recent: Option<&RecentWindow>, now: Instant) -> Track {
    let mut track = recent.map(|recent| recent.troubles().clone()).unwrap_or_default();
    track.note(&bus.view, now);
    track
}

/// The counters of a line and of its driver about ten minutes ago, and when that was; zero, and `None`, before the
/// first sample.
pub(super) fn baseline(recent: Option<&RecentWindow>) -> (&View, LineErrors, Option<Instant>) {
    let earlier = recent.and_then(RecentWindow::earlier);
    earlier.map_or((&NOTHING, LineErrors::default(), None), |earlier| {
        (&earlier.view, earlier.line_errors.unwrap_or_default(), Some(earlier.at))
    })
}

/// The findings of a line and its meters, from the increase since `before`.
pub(super) fn findings(
    bus: &PublishedBus,
    before: &View,
    counted: LineErrors,
    track: &Track,
    now: Instant,
) -> Vec<Finding> {
    let faulty = bus.port.line_errors.map(|errors| errors.since(&counted));
    let evidence = Evidence {
        settings: &bus.settings.line,
        device: &bus.settings.port.device,
        before,
        track,
        now: &bus.view,
        at: now,
        wire: bus.settings.order_of_the_wire(),
        port_closed: bus.port.problem.as_deref(),
        faulty_characters: faulty.as_deref().filter(|words| !words.is_empty()),
    };
    findings::findings(&evidence, |unit| bus.settings.profiles.get(&unit).map(|known| &*known.profile))
}

/// The counters before the first sample.
pub(super) static NOTHING: LazyLock<View> = LazyLock::new(View::default);
