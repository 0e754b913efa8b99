//! A checkup: each line, what is wrong with it, and each unit with what is wrong and what to do about it.
//!
//! Owns what `/api/v1/checkup` and the reports of `doctor` are made of, the same for a running gateway and for a
//! port. The rules are those of the room `findings`; it adds none, and reads no clock.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::history::History;
use super::overview::{port_word, state_word};
use super::picture::{BusPicture, Picture, UnitPicture, is_answering};
use super::trouble;
use crate::bus::settings::UnitId;
use crate::bus::view::{UnitView, View};
use crate::findings::{Finding, Severity};
use crate::io::ioctl::LineErrors;

/// All lines.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Checkup {
    /// In the order of the configuration.
    pub buses: Vec<Line>,
}

/// One line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Line {
    /// Its name.
    pub bus: String,
    /// The port's device.
    pub device: String,
    /// `open`, `closed` or `occupied`.
    pub port: String,
    /// How far back what is counted goes, in seconds.
    pub seconds: u64,
    /// What is wrong with the line as a whole, the worst first.
    pub findings: Vec<Told>,
    /// Its units, in the order of the identifiers clients use.
    pub units: Vec<Unit>,
}

/// One unit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Unit {
    /// The identifier clients use.
    pub unit: u8,
    /// The one on the line.
    pub line_unit: u8,
    /// What people call it.
    pub name: Option<String>,
    /// `never_seen`, `online`, `offline` or `confirming`.
    pub state: String,
    /// Whether it answers.
    pub answers: bool,
    /// Requests sent to it in these seconds.
    pub asked: u64,
    /// Of these, with an intact answer in time.
    pub answered: u64,
    /// Smoothed time to the first byte of its answer.
    pub answer_time_ms: Option<f64>,
    /// What is wrong with it, the worst first.
    pub findings: Vec<Told>,
}

/// One finding.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    /// `fault`, `warning` or `note`.
    pub severity: String,
    /// One word for what kind of thing it is.
    pub kind: String,
    /// What is seen.
    pub what: String,
    /// What to do about it.
    pub remedy: String,
}

impl Told {
    /// Whether somebody should do something about it.
    #[must_use]
    pub fn matters(&self) -> bool {
        self.severity != Severity::Note.word()
    }
}

impl Checkup {
    /// All lines of a gateway, by what was counted in the last ten minutes.
    #[must_use]
    pub fn of(picture: &Picture, history: &History, now: Instant) -> Self {
        let line = |bus: &BusPicture| {
            let (before, errors, at) = trouble::then(bus, history);
            let span = now.saturating_duration_since(at.unwrap_or(picture.started));
            judge(bus, before, errors, span, now, |_| true)
        };
        Self { buses: picture.buses.iter().map(line).collect() }
    }

    /// Everything that was found, lines before units.
    pub fn findings(&self) -> impl Iterator<Item = &Told> {
        self.buses
            .iter()
            .flat_map(|line| line.findings.iter().chain(line.units.iter().flat_map(|unit| &unit.findings)))
    }
}

impl Line {
    /// A line since it began, `span` ago. Findings that are not meant are left out.
    #[must_use]
    pub fn of_all(
        bus: &BusPicture,
        span: Duration,
        now: Instant,
        is_meant: impl Fn(&Finding) -> bool,
    ) -> Self {
        judge(bus, &trouble::NOTHING, LineErrors::default(), span, now, is_meant)
    }
}

fn judge(
    bus: &BusPicture,
    before: &View,
    counted: LineErrors,
    span: Duration,
    now: Instant,
    is_meant: impl Fn(&Finding) -> bool,
) -> Line {
    let mut of_line = Vec::new();
    let mut of_units: BTreeMap<UnitId, Vec<Told>> = BTreeMap::new();
    for finding in trouble::findings(bus, before, counted, now).into_iter().filter(is_meant) {
        match finding.unit {
            None => of_line.push(told(finding)),
            Some(unit) => of_units.entry(unit).or_default().push(told(finding)),
        }
    }
    let answers = |view: Option<&UnitView>| view.map_or(0, |view| view.statistics.answer_times.count());
    let unit = |unit: UnitPicture<'_>| {
        let id = unit.settings.id;
        let counters = unit.view.map(|view| view.counters).unwrap_or_default();
        let counted = before.unit(id).map(|view| view.counters).unwrap_or_default();
        let asked = counters.transactions.saturating_sub(counted.transactions);
        Unit {
            unit: unit.alias,
            line_unit: id.get(),
            name: unit.settings.name.clone(),
            state: state_word(unit.state()).to_owned(),
            answers: is_answering(unit.state()),
            asked,
            // An answer to what was asked before the span may come in it.
            answered: answers(unit.view).saturating_sub(answers(before.unit(id))).min(asked),
            answer_time_ms: unit.view.and_then(|view| view.response_time).map(milliseconds),
            findings: of_units.remove(&id).unwrap_or_default(),
        }
    };
    Line {
        bus: bus.name().to_owned(),
        device: bus.settings.port.device.display().to_string(),
        port: port_word(bus.view.port).to_owned(),
        seconds: span.as_secs(),
        findings: of_line,
        units: bus.units().map(unit).collect(),
    }
}

fn told(finding: Finding) -> Told {
    Told {
        severity: finding.severity.word().to_owned(),
        kind: finding.kind.word().to_owned(),
        what: finding.what,
        remedy: finding.remedy,
    }
}

/// To the tenth, which is what is known of an answer's time.
fn milliseconds(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e4).round() / 10.0
}
