//! The report of `doctor`: each line and each unit, with what is wrong and what to do about it.
//!
//! Owns the shape of `/api/v1/checkup`, the same for a running gateway and for a port. The rules are those of
//! `findings`; it adds none, and reads no clock.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::collect;
use super::current_findings::{NOTHING, baseline, findings, of_broker, of_clients, track};
use super::history::History;
use super::model::{Broker, PortState, UnitState};
use super::published::{Published, PublishedBroker, PublishedBus, PublishedUnit};
use super::spans::{age, fine_millis};
use crate::findings::{Finding, Kind, Remedy, Severity, Track};
use crate::line::{UnitId, UnitView, View};
use crate::serial::LineErrors;

/// All lines.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct DoctorReport {
    /// In the order of the configuration.
    pub buses: Vec<BusReport>,
    /// The brokers that readings are published to, in the order of the configuration.
    #[serde(default)]
    pub brokers: Vec<BrokerReport>,
}

/// One broker.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BrokerReport {
    /// The connection to it, and what it got.
    #[serde(flatten)]
    pub state: Broker<'static>,
    /// What is wrong with it.
    pub findings: Vec<ReportedFinding>,
}

/// One line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BusReport {
    /// Its name.
    pub bus: String,
    /// The port's device.
    pub device: String,
    /// Whether the port is open.
    pub port: PortState,
    /// The time covered by the counters, in seconds.
    pub seconds: u64,
    /// The findings of the line as a whole, the worst first.
    pub findings: Vec<ReportedFinding>,
    /// Its units, in the order of the identifiers clients use.
    pub units: Vec<UnitReport>,
}

/// One unit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct UnitReport {
    /// The identifier clients use.
    pub unit: u8,
    /// The one on the line.
    pub line_unit: u8,
    /// Its display name.
    pub name: Option<String>,
    /// Its state.
    pub state: UnitState,
    /// Whether it answers.
    pub answers: bool,
    /// Requests sent to it in these seconds.
    pub asked: u64,
    /// Of these, with an intact answer in time.
    pub answered: u64,
    /// Smoothed time to the first byte of its answer.
    pub answer_time_ms: Option<f64>,
    /// Its findings, the worst first.
    pub findings: Vec<ReportedFinding>,
}

/// One finding.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReportedFinding {
    /// How bad it is.
    pub severity: Severity,
    /// Its kind.
    pub kind: Kind,
    /// What was seen.
    pub what: String,
    /// The remedy.
    #[serde(flatten)]
    pub remedy: Remedy,
    /// How long it has been active.
    #[serde(default)]
    pub active_since_ms: u64,
    /// How long ago its evidence was last seen.
    #[serde(default)]
    pub last_seen_ms: u64,
}

impl ReportedFinding {
    /// Whether it calls for a remedy.
    #[must_use]
    pub fn needs_action(&self) -> bool {
        self.severity != Severity::Note
    }
}

impl DoctorReport {
    /// All lines of a gateway, by what was counted in the last ten minutes.
    #[must_use]
    pub fn of(published: &Published, history: &History) -> Self {
        let now = published.at;
        let report = |bus: &PublishedBus| {
            let (before, errors, at) = baseline(history.recent(bus));
            let span = now.saturating_duration_since(at.unwrap_or(published.started));
            let mut report =
                report(bus, before, errors, &track(bus, history.recent(bus), now), span, now, |_| true);
            let of_clients = of_clients(bus, published);
            report.findings.splice(0..0, of_clients.into_iter().map(|finding| reported(finding, now)));
            report
        };
        let broker = |broker: &PublishedBroker| BrokerReport {
            state: collect::broker(broker, now).into_owned(),
            findings: of_broker(broker, now).into_iter().map(|finding| reported(finding, now)).collect(),
        };
        Self {
            buses: published.buses.iter().map(report).collect(),
            brokers: published.brokers.iter().map(broker).collect(),
        }
    }

    /// All findings, those of a line before those of its units.
    pub fn findings(&self) -> impl Iterator<Item = &ReportedFinding> {
        let of_buses = self
            .buses
            .iter()
            .flat_map(|bus| bus.findings.iter().chain(bus.units.iter().flat_map(|unit| &unit.findings)));
        let of_brokers = self.brokers.iter().flat_map(|broker| &broker.findings);
        of_buses.chain(of_brokers)
    }
}

impl BusReport {
    /// A line since it began, `span` ago, with the findings that are `wanted`.
    #[must_use]
    pub fn since_start(
        bus: &PublishedBus,
        span: Duration,
        now: Instant,
        wanted: impl Fn(&Finding) -> bool,
    ) -> Self {
        let mut track = Track::default();
        track.note(&bus.view, now);
        report(bus, &NOTHING, LineErrors::default(), &track, span, now, wanted)
    }
}

fn report(
    bus: &PublishedBus,
    before: &View,
    counted: LineErrors,
    track: &Track,
    span: Duration,
    now: Instant,
    wanted: impl Fn(&Finding) -> bool,
) -> BusReport {
    let mut of_line = Vec::new();
    let mut of_units: BTreeMap<UnitId, Vec<ReportedFinding>> = BTreeMap::new();
    for finding in findings(bus, before, counted, track, now).into_iter().filter(wanted) {
        match finding.unit {
            None => of_line.push(reported(finding, now)),
            Some(unit) => of_units.entry(unit).or_default().push(reported(finding, now)),
        }
    }
    let answers = |view: Option<&UnitView>| view.map_or(0, |view| view.statistics.answer_times.count());
    let unit = |unit: PublishedUnit<'_>| {
        let id = unit.settings.id;
        let counters = unit.view.map(|view| view.counters).unwrap_or_default();
        let counted = before.unit(id).map(|view| view.counters).unwrap_or_default();
        let asked = counters.transactions.saturating_sub(counted.transactions);
        UnitReport {
            unit: unit.alias,
            line_unit: id.get(),
            name: unit.settings.name.clone(),
            state: unit.state(),
            answers: unit.state().is_answering(),
            asked,
            // The answer to a request before this time may arrive within it.
            answered: answers(unit.view).saturating_sub(answers(before.unit(id))).min(asked),
            answer_time_ms: unit.view.and_then(|view| view.response_time).map(fine_millis),
            findings: of_units.remove(&id).unwrap_or_default(),
        }
    };
    BusReport {
        bus: bus.name().to_owned(),
        device: bus.settings.port.device.to_string(),
        port: bus.view.port.into(),
        seconds: span.as_secs(),
        findings: of_line,
        units: bus.units().map(unit).collect(),
    }
}

fn reported(finding: Finding, now: Instant) -> ReportedFinding {
    let Finding { severity, kind, what, remedy, active_since, last_seen, unit: _, subject: _ } = finding;
    let (active_since_ms, last_seen_ms) = (age(active_since, now), age(last_seen, now));
    ReportedFinding { severity, kind, what, remedy, active_since_ms, last_seen_ms }
}
