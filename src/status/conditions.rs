//! The present faults, as conditions from which events are made.
//!
//! A port that is closed, a line that is silent or occupied, and a unit that is off-line are conditions of their own;
//! every other finding is one, too. A unit that cannot be reached has no condition of its own: the
//! port or the line that is the cause has.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use crate::events::{Condition, EventKind, Undecided};
use crate::findings::{Finding, Kind, Severity};
use crate::line::PortState;
use crate::mqtt::Link;

use super::current_findings;
use super::history::History;
use super::model::UnitState;
use super::published::{Published, PublishedBroker, PublishedBus, PublishedUnit};

/// All conditions, and the buses and units whose condition is unknown at the moment.
#[must_use]
pub fn conditions(published: &Published, history: &History) -> (Vec<Condition>, Undecided) {
    let mut conditions = Vec::new();
    let (mut ports, mut lines, mut units) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    for bus in &published.buses {
        let is_tried = bus.port.since.is_some() || bus.port.problem.is_some();
        if !is_tried {
            ports.insert(bus.name().to_owned());
        }
        if !is_tried || (bus.view.counters.transactions == 0 && !bus.view.is_silent) {
            lines.insert(bus.name().to_owned());
        }
        let found = current_findings::of_bus(bus, history.recent(bus), published.at);
        conditions.extend(of_line(bus, &found));
        for unit in bus.units() {
            conditions.extend(outage(&unit, published));
            if !matches!(unit.state(), UnitState::Online | UnitState::Offline) {
                units.insert((bus.name().to_owned(), unit.alias));
            }
        }
        conditions.extend(
            found
                .into_iter()
                .chain(current_findings::of_clients(bus, published))
                .filter(is_event_of_its_own)
                .map(|finding| of_finding(bus, finding, published.at)),
        );
    }
    let mut brokers = BTreeSet::new();
    for broker in &published.brokers {
        if broker.metrics.view(published.at).link == Link::NotTried {
            brokers.insert(broker.settings.address.to_string());
        }
        conditions.extend(of_broker(broker, published.at));
    }
    (conditions, Undecided { ports, lines, units, brokers })
}

fn of_line(bus: &PublishedBus, found: &[Finding]) -> Option<Condition> {
    let device = &bus.settings.port.device;
    let (kind, text) = match (&bus.port.problem, bus.view.port) {
        (Some(problem), _) => (EventKind::PortLost, format!("{device}: {problem}")),
        (None, PortState::Occupied) => {
            (EventKind::LineOccupied, "something on the line keeps sending".to_owned())
        }
        (None, PortState::Open) if bus.view.is_silent => {
            let is_without_answers = found.iter().any(|finding| finding.kind == Kind::LineSilent);
            let answers = if is_without_answers { "answers" } else { "gives an intact answer" };
            (EventKind::LineSilent, format!("no unit of the line {answers}"))
        }
        (None, PortState::Open | PortState::Closed) => return None,
    };
    Some(Condition {
        kind,
        bus: bus.name().to_owned(),
        unit: None,
        name: None,
        subject: None,
        held_for: Duration::ZERO,
        text,
    })
}

fn outage(unit: &PublishedUnit<'_>, published: &Published) -> Option<Condition> {
    let view = unit.view.filter(|_| unit.state() == UnitState::Offline)?;
    let held_for = view.last_good.map_or(Duration::ZERO, |at| published.at.saturating_duration_since(at));
    Some(Condition {
        kind: EventKind::Outage,
        bus: unit.bus.name().to_owned(),
        unit: Some(unit.alias),
        name: view.name.clone(),
        subject: None,
        held_for,
        text: "off-line".to_owned(),
    })
}

fn of_broker(broker: &PublishedBroker, now: Instant) -> Option<Condition> {
    let finding = current_findings::of_broker(broker, now)?;
    let address = broker.settings.address.to_string();
    let (kind, subject) = if finding.kind == Kind::BrokerAway {
        (EventKind::BrokerLost, address.clone())
    } else {
        (EventKind::Finding, format!("{}: {address}", finding.kind.word()))
    };
    Some(Condition {
        kind,
        bus: String::new(),
        unit: None,
        name: None,
        text: format!("{address}: {}", finding.what),
        subject: Some(subject),
        held_for: now.saturating_duration_since(finding.active_since),
    })
}

fn of_finding(bus: &PublishedBus, finding: Finding, now: Instant) -> Condition {
    let unit = bus.units().find(|unit| finding.unit == Some(unit.settings.id));
    let (kind, of_several) = (finding.kind.word(), &finding.subject);
    let subject = if of_several.is_empty() { kind.to_owned() } else { format!("{kind}: {of_several}") };
    Condition {
        kind: EventKind::Finding,
        bus: bus.name().to_owned(),
        unit: unit.map(|unit| unit.alias),
        name: unit.and_then(|unit| unit.settings.name.clone()),
        subject: Some(subject),
        held_for: now.saturating_duration_since(finding.active_since),
        text: finding.what,
    }
}

fn is_event_of_its_own(finding: &Finding) -> bool {
    let has_another =
        matches!(finding.kind, Kind::PortClosed | Kind::LineOccupied | Kind::LineSilent | Kind::Silent);
    !has_another && finding.severity != Severity::Note
}
