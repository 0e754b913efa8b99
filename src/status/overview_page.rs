//! A picture of the gateway as the first page shows it.
//!
//! Owns the translation into the view model of `page`, and the bounds of its lists. Says nothing that was not
//! published, and `None` where nothing was.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use super::history::History;
use super::lately::Split;
use super::picture::{BusPicture, ListenerPicture, Picture, UnitPicture};
use super::readings::Readings;
use super::trouble;
use crate::bus::unit::UnitState;
use crate::bus::view::PortState;
use crate::io::settings::Writes;
use crate::io::tally::ClientView;
use crate::meter::words::Group;
use crate::page;

/// The first page.
pub(crate) fn overview(picture: &Picture, history: &History, now: Instant) -> page::Overview {
    let mut clients = clients(picture, history, now);
    let names = Names::of(picture);
    let clients_left_out = clients.len().saturating_sub(MOST_CLIENTS);
    clients.truncate(MOST_CLIENTS);
    page::Overview {
        gateway: gateway(picture, now),
        buses: picture.buses.iter().map(|one| bus(one, &names, history, now)).collect(),
        listeners: picture.listeners.iter().map(listener).collect(),
        clients,
        clients_left_out,
    }
}

/// What stands on every page.
pub(crate) fn gateway(picture: &Picture, now: Instant) -> page::Gateway {
    page::Gateway {
        name: picture.name.clone(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        uptime: now.saturating_duration_since(picture.started),
        rendered_at: picture.clock.clone(),
    }
}

fn bus(bus: &BusPicture, names: &Names, history: &History, now: Instant) -> page::Bus {
    let track = history.bus(bus);
    let hour = track.map(|track| track.minutes.iter().map(|minute| minute.map(|one| split(one.split))));
    page::Bus {
        name: bus.name().to_owned(),
        device: bus.settings.port.device.display().to_string(),
        framing: bus.settings.line.framing.to_string(),
        port: port(bus, now),
        utilisation: track.and_then(|track| track.lately.split()).map(split),
        utilisation_hour: hour.map(Iterator::collect).unwrap_or_default(),
        waiting: bus.view.waiting,
        meters: bus.on_the_wire().map(|unit| meter(&unit, names, history, now)).collect(),
        findings: trouble::of_bus(bus, history, now),
    }
}

fn split(split: Split) -> page::Split {
    page::Split { clients: split.clients, polling: split.polling, failures: split.failures }
}

fn port(bus: &BusPicture, now: Instant) -> page::Port {
    let port = &bus.port;
    let active = port.since.map(|_| port.report.split("; ").map(str::to_owned).collect());
    let errors = port.line_errors.map(|errors| page::PortErrors {
        framing: errors.framing.into(),
        parity: errors.parity.into(),
        overrun: u64::from(errors.overrun) + u64::from(errors.buffer_overrun),
        breaks: errors.breaks.into(),
    });
    page::Port {
        state: match bus.view.port {
            PortState::Closed => page::PortState::Closed,
            PortState::Open => page::PortState::Open,
            PortState::Occupied => page::PortState::Occupied,
        },
        open_for: port.since.map(|since| now.saturating_duration_since(since)),
        active: active.unwrap_or_default(),
        problem: port.problem.clone(),
        openings: port.openings,
        losses: port.losses,
        echo: bus.view.echo,
        errors,
    }
}

/// How often each identifier stands in the configuration.
pub(crate) struct Names(BTreeMap<u8, usize>);

impl Names {
    pub(crate) fn of(picture: &Picture) -> Self {
        let mut counts = BTreeMap::new();
        for unit in picture.units() {
            *counts.entry(unit.alias).or_default() += 1;
        }
        Self(counts)
    }

    /// How a unit is pointed at.
    pub(crate) fn meter(&self, unit: &UnitPicture<'_>) -> page::MeterRef {
        let is_ambiguous = self.0.get(&unit.alias).is_some_and(|count| *count > 1);
        page::MeterRef {
            unit: unit.alias,
            name: unit.settings.name.clone(),
            bus: is_ambiguous.then(|| unit.bus.name().to_owned()),
        }
    }
}

/// A meter as it hangs on the wire.
pub(crate) fn meter(unit: &UnitPicture<'_>, names: &Names, history: &History, now: Instant) -> page::Meter {
    let minute = |minute: &Option<super::history::UnitMinute>| {
        // Nobody looked: a gap.
        minute.map_or_else(page::Minute::default, |minute| page::Minute {
            requests: minute.transactions.into(),
            failures: minute.errors.into(),
            answer_time: minute.answer_time.map(|millis| Duration::from_secs_f32(millis.max(0.0) / 1000.0)),
        })
    };
    let hour = history.unit(unit).map(|track| track.minutes.iter().map(minute).collect());
    page::Meter {
        meter: names.meter(unit),
        line_id: unit.settings.id.get(),
        state: match unit.state() {
            UnitState::NeverSeen => page::MeterState::NeverSeen,
            UnitState::Online => page::MeterState::Online,
            UnitState::Offline => page::MeterState::Offline,
            UnitState::Confirming => page::MeterState::Confirming,
        },
        power: Readings::summary(unit).and_then(|readings| power(&readings)),
        age: unit.view.and_then(|view| view.age(now)),
        answer_time: unit.view.and_then(|view| view.response_time),
        hour: hour.unwrap_or_default(),
    }
}

/// The real power the profile puts first, in kW.
fn power(readings: &Readings<'_>) -> Option<f64> {
    readings.headline().into_iter().find_map(|(point, reading)| {
        let factor = match point.unit? {
            "W" => 1e-3,
            "kW" => 1.0,
            "MW" => 1e3,
            _ => return None,
        };
        let reading = reading.filter(|_| point.group == Group::Power)?;
        Some(reading.value.number()? * factor)
    })
}

fn listener(one: &ListenerPicture) -> page::Listener {
    let totals = one.tally.totals();
    page::Listener {
        address: one.address.to_string(),
        buses: one.buses.clone(),
        max_age: one.settings.max_age,
        writes: one.settings.writes == Writes::Allow,
        connections: usize::try_from(totals.connections).unwrap_or(usize::MAX),
        connections_max: one.settings.max_connections,
        requests: totals.counted.requests,
        refused: totals.turned_away,
    }
}

/// A row for each address at each listener, the busiest first.
fn clients(picture: &Picture, history: &History, now: Instant) -> Vec<page::Client> {
    let mut rows: BTreeMap<(IpAddr, SocketAddr), Row> = BTreeMap::new();
    for listener in &picture.listeners {
        for client in listener.tally.clients() {
            let rate = history.rates.of((listener.address, client.peer), client.counted.requests, now);
            rows.entry((client.peer.ip(), listener.address)).or_default().add(&client, rate, now);
        }
    }
    let mut clients: Vec<_> = rows.into_iter().map(|((address, by), row)| row.client(address, by)).collect();
    let busy = |client: &page::Client| client.rate.unwrap_or_default();
    clients.sort_by(|one, other| {
        busy(other).total_cmp(&busy(one)).then_with(|| other.requests.cmp(&one.requests))
    });
    clients
}

/// What the connections of one address counted together.
#[derive(Default)]
struct Row {
    connections: usize,
    connected_for: Duration,
    idle_for: Option<Duration>,
    rate: Option<f64>,
    requests: u64,
    hits: u64,
    misses: u64,
    /// Summed up, and of how many.
    answer_time: (Duration, u32),
    /// By code; the words say which.
    exceptions: BTreeMap<String, u64>,
}

impl Row {
    fn add(&mut self, client: &ClientView, rate: Option<f64>, now: Instant) {
        let ago = |at: Instant| now.saturating_duration_since(at);
        self.connections += 1;
        self.connected_for = self.connected_for.max(ago(client.since));
        self.idle_for = match (self.idle_for, client.last_request.map(ago)) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        };
        self.rate = match (self.rate, rate) {
            (Some(one), Some(other)) => Some(one + other),
            (one, other) => one.or(other),
        };
        let counted = &client.counted;
        self.requests += counted.requests;
        self.hits += counted.hits;
        self.misses += counted.misses;
        if let Some(time) = client.answer_time {
            self.answer_time = (self.answer_time.0 + time, self.answer_time.1 + 1);
        }
        for (code, count) in counted.exceptions.iter().filter(|(_, count)| *count > 0) {
            let words =
                code.map_or_else(|| "a code the standard does not have".to_owned(), |code| code.to_string());
            *self.exceptions.entry(words).or_default() += count;
        }
    }

    fn client(self, address: IpAddr, listener: SocketAddr) -> page::Client {
        let reads = self.hits + self.misses;
        let address = match self.connections {
            1 => address.to_string(),
            connections => format!("{address} ({connections} connections)"),
        };
        let exceptions = self.exceptions.into_iter();
        page::Client {
            address,
            listener: listener.to_string(),
            connected_for: self.connected_for,
            idle_for: self.idle_for,
            rate: self.rate,
            requests: self.requests,
            from_snapshot: (reads > 0).then(|| share(self.hits, reads)),
            answer_time: self.answer_time.0.checked_div(self.answer_time.1),
            exceptions: exceptions
                .map(|(exception, count)| page::ExceptionCount { exception, count })
                .collect(),
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "a counter beyond 2^53 is not met")]
fn share(part: u64, whole: u64) -> f64 {
    part as f64 / whole as f64
}

/// Rows of clients the page has room for.
const MOST_CLIENTS: usize = 20;
