//! A picture of the gateway as the pages below `/api/v1`.
//!
//! Owns the translation of what the rooms publish into the fields of `json`; instants become ages. Says nothing
//! that was not published, and `null` where nothing was.

use std::time::{Duration, Instant};

use serde_json::value::RawValue;

use super::history::{History, MINUTE};
use super::json;
use super::picture::{BusPicture, ListenerPicture, Picture, UnitPicture};
use super::readings::Readings;
use super::trouble;
use crate::bus::settings::UnitId;
use crate::bus::statistics::{Histogram, UnitStatistics};
use crate::bus::unit::UnitState;
use crate::bus::view::PortState;
use crate::io::tally::Counted;
use crate::meter::decode::{Reading, Unscaled, Value};
use crate::meter::profile::{Point, Profile, Valid};
use crate::modbus::pdu::ExceptionCode;

pub(crate) fn status(picture: &Picture, now: Instant) -> json::Status<'_> {
    json::Status {
        version: env!("CARGO_PKG_VERSION"),
        uptime_s: now.saturating_duration_since(picture.started).as_secs(),
        ready: picture.is_ready(),
        buses: picture.buses.iter().map(|one| bus(one, now)).collect(),
        units: picture.units().map(|one| unit(&one, Readings::summary(&one).as_ref(), now)).collect(),
        listeners: picture.listeners.iter().map(listener).collect(),
    }
}

pub(crate) fn bus(bus: &BusPicture, now: Instant) -> json::Bus<'_> {
    let line = &bus.settings.line;
    let view = &bus.view;
    let (counters, times) = (view.counters, view.statistics);
    json::Bus {
        bus: bus.name(),
        device: bus.settings.port.device.display().to_string(),
        framing: line.framing.to_string(),
        port: port(bus, now),
        utilisation_percent: f64::from(view.utilisation(now)) / 100.0,
        busy_ms: millis(counters.busy),
        requests_waiting: view.waiting,
        queue_limit: line.queue_limit,
        transactions: counters.transactions,
        failures: counters.failures,
        joined: counters.joined,
        noise_bytes: counters.noise_bytes,
        foreign_frames: counters.foreign_frames,
        collisions: counters.collisions,
        occupied: counters.occupied,
        retries: times.retries,
        expired: times.expired,
        line_time: json::LineTime {
            clients_ms: millis(times.clients),
            polling_ms: millis(times.background),
            probes_ms: millis(times.probes),
            failures_ms: millis(times.failures),
        },
        waits: histogram(&times.waits),
        echo: view.echo,
        polling: json::Polling {
            auto_interval_ms: millis(view.polling.interval),
            slowdown: view.polling.slowdown,
            overrun: view.polling.overrun,
            learned_ranges: view.polling.learned,
            learn_limit: line.learn_limit,
            share_percent: line.poll_share * 100.0,
        },
        units: unit_counts(bus),
    }
}

fn histogram(histogram: &Histogram) -> json::Histogram {
    json::Histogram {
        up_to_ms: &Histogram::BOUNDS,
        counts: histogram.buckets.to_vec(),
        sum_ms: millis(histogram.sum),
    }
}

/// What is wrong, line by line, what is of the line first.
pub(crate) fn findings<'a>(picture: &'a Picture, history: &History, now: Instant) -> Vec<json::Finding<'a>> {
    let found = trouble::of_all(picture, history, now).into_iter().map(|(bus, finding)| {
        let unit = finding.unit.and_then(|id| bus.units().find(|unit| unit.settings.id == id));
        json::Finding {
            severity: finding.severity.word(),
            kind: finding.kind.word(),
            bus: bus.name(),
            unit: unit.map(|unit| unit.alias),
            line_unit: finding.unit.map(UnitId::get),
            name: unit.and_then(|unit| unit.settings.name.as_deref()),
            what: finding.what,
            remedy: finding.remedy,
        }
    });
    found.collect()
}

fn port(bus: &BusPicture, now: Instant) -> json::Port<'_> {
    let port = &bus.port;
    let driver_errors = port.line_errors.map(|errors| json::DriverErrors {
        framing: errors.framing,
        parity: errors.parity,
        overrun: errors.overrun,
        breaks: errors.breaks,
        buffer_overrun: errors.buffer_overrun,
    });
    json::Port {
        state: port_word(bus.view.port),
        open_for_ms: port.since.map(|since| age(since, now)),
        active: port.since.map(|_| port.report.as_str()),
        problem: port.problem.as_deref(),
        openings: port.openings,
        losses: port.losses,
        driver_errors,
    }
}

fn unit_counts(bus: &BusPicture) -> json::UnitCounts {
    let mut counts = json::UnitCounts::default();
    for unit in bus.units() {
        let count = match unit.state() {
            UnitState::NeverSeen => &mut counts.never_seen,
            UnitState::Online => &mut counts.online,
            UnitState::Offline => &mut counts.offline,
            UnitState::Confirming => &mut counts.confirming,
        };
        *count += 1;
    }
    counts
}

pub(crate) fn unit<'a>(
    unit: &UnitPicture<'a>,
    readings: Option<&Readings<'a>>,
    now: Instant,
) -> json::Unit<'a> {
    let view = unit.view;
    let counters = view.map(|view| view.counters).unwrap_or_default();
    let statistics = view.map(|view| view.statistics).unwrap_or_default();
    let code = readings.and_then(Readings::validity_code);
    let headline = readings.map(|readings| {
        let shown = |(original, reading): (&'a Point, Option<&Reading<'a>>)| {
            point(readings.profile, reading.map_or(original, |reading| reading.point), reading, code, now)
        };
        readings.headline().into_iter().map(shown).collect()
    });
    let alerts = readings.map(|readings| {
        let alert = |raised: super::readings::Raised<'a>| json::Alert {
            point: &raised.point.name,
            alert: &raised.bit.name,
            means: &raised.bit.means,
            age_ms: age(raised.asked_at, now),
        };
        readings.alerts().into_iter().map(alert).collect()
    });
    json::Unit {
        bus: unit.bus.name(),
        unit: unit.alias,
        line_unit: unit.settings.id.get(),
        name: unit.settings.name.as_deref(),
        profile: unit.profile.map(|known| known.profile.name.as_str()),
        state: state_word(unit.state()),
        age_ms: view.and_then(|view| view.age(now)).map(millis),
        last_answer_ms: view.and_then(|view| view.last_good).map(|at| age(at, now)),
        answer_time_ms: view.and_then(|view| view.response_time).map(fine_millis),
        last_exception: view.and_then(|view| view.last_exception).map(|code| code.0),
        transactions: counters.transactions,
        timeouts: counters.timeouts,
        crc_errors: counters.crc_errors,
        late_answers: counters.late_answers,
        truncated: statistics.truncated,
        unexpected_frames: counters.unexpected,
        foreign_frames: statistics.foreign,
        exceptions: counters.exceptions,
        headline: headline.unwrap_or_default(),
        alerts: alerts.unwrap_or_default(),
    }
}

pub(crate) fn unit_page<'a>(one: &UnitPicture<'a>, now: Instant) -> json::UnitPage<'a> {
    let readings = Readings::of(one);
    let code = readings.as_ref().and_then(Readings::validity_code);
    let points = readings.as_ref().map(|readings| {
        let shown = |(at, reading): &(&'a Point, Option<Reading<'a>>)| {
            point(readings.profile, at, reading.as_ref(), code, now)
        };
        readings.points.iter().map(shown).collect()
    });
    let blocks = one.view.map(|view| view.snapshot.blocks()).unwrap_or_default();
    let mut blocks: Vec<_> = blocks
        .iter()
        .map(|block| json::Block {
            function: block.range.function.0,
            address: block.range.start,
            quantity: block.range.quantity,
            age_ms: millis(block.age(now)),
        })
        .collect();
    blocks.sort_by_key(|block| (block.function, block.address, block.quantity));
    json::UnitPage {
        unit: unit(one, readings.as_ref(), now),
        profile_title: one.profile.map(|known| known.profile.title.as_str()),
        exceptions_by_code: one.view.map(|view| exceptions_of(&view.statistics)).unwrap_or_default(),
        answer_times: one.view.map(|view| histogram(&view.statistics.answer_times)),
        blocks,
        points: points.unwrap_or_default(),
    }
}

/// Codes it never answered are left out; all the standard does not have are counted under 0.
fn exceptions_of(statistics: &UnitStatistics) -> Vec<json::Exceptions> {
    let codes = 0..=ExceptionCode::GATEWAY_TARGET_FAILED_TO_RESPOND.0;
    let counted = codes.map(|code| json::Exceptions {
        code: (code > 0).then_some(code),
        count: statistics.exceptions(ExceptionCode(code)),
    });
    counted.filter(|one| one.count > 0).collect()
}

fn point<'a>(
    profile: &'a Profile,
    at: &'a Point,
    reading: Option<&Reading<'a>>,
    code: Option<u16>,
    now: Instant,
) -> json::Point<'a> {
    let meaningful = match (code.map(|code| profile.valid(at, code)), profile.validity.is_some()) {
        (Some(Valid::Yes), _) | (None, false) => Some(true),
        (Some(Valid::No), _) => Some(false),
        (Some(Valid::Unknown), _) | (None, true) => None,
    };
    let (value, text, problem) =
        reading.map_or((None, None, Some("not_read")), |reading| said(&reading.value));
    json::Point {
        point: &at.name,
        quantity: at.copy_of.as_deref().unwrap_or(&at.name),
        description: &at.description,
        group: at.group.word(),
        register: at.register,
        value,
        text,
        unit: at.unit,
        age_ms: reading.map(|reading| age(reading.asked_at, now)),
        problem,
        in_range: reading.map(|reading| reading.in_range),
        meaningful,
    }
}

/// The number, the words, and why there is none.
fn said(value: &Value<'_>) -> (Option<json::Number>, Option<String>, Option<&'static str>) {
    let whole = |number: u16| Some(json::Number::Word(number));
    match value {
        Value::Float(value) => (Some(json::Number::Single(*value)), None, None),
        // What is shown of a decimal is digits with a point at most, which is a number in JSON, too.
        Value::Number(number) => {
            (RawValue::from_string(number.to_string()).ok().map(json::Number::Decimal), None, None)
        }
        Value::Code { code, means } => (whole(*code), Some((*means).to_owned()), None),
        Value::Bits { bits, set } => {
            let names: Vec<_> = set.iter().map(|bit| bit.name.as_str()).collect();
            (whole(*bits), Some(names.join(", ")), None)
        }
        Value::Version(version) => (None, Some(version.to_string()), None),
        Value::NotAvailable => (None, None, Some("not_available")),
        Value::NotANumber { .. } => (None, None, Some("not_a_number")),
        Value::Unscaled { why, .. } => {
            let why = match why {
                Unscaled::NotRead => "exponent_not_read",
                Unscaled::Changed => "exponent_changed",
                Unscaled::Impossible(_) => "exponent_impossible",
            };
            (None, None, Some(why))
        }
    }
}

pub(crate) fn listener(one: &ListenerPicture) -> json::Listener<'_> {
    let totals = one.tally.totals();
    json::Listener {
        listener: one.address.to_string(),
        buses: &one.buses,
        max_age_ms: millis(one.settings.max_age),
        writes: one.settings.writes == crate::io::settings::Writes::Allow,
        connections: totals.connections,
        max_connections: one.settings.max_connections,
        accepted: totals.accepted,
        turned_away: totals.turned_away,
        counted: counted(&totals.counted),
    }
}

pub(crate) fn clients(picture: &Picture, now: Instant) -> json::Clients {
    let mut clients = Vec::new();
    for listener in &picture.listeners {
        clients.extend(listener.tally.clients().into_iter().map(|client| (listener.address, client)));
    }
    let connections = clients.len();
    let shown = clients.into_iter().take(MOST_CLIENTS).map(|(listener, client)| json::Client {
        client: client.peer.to_string(),
        listener: listener.to_string(),
        connected_ms: age(client.since, now),
        last_request_ms: client.last_request.map(|at| age(at, now)),
        answer_time_ms: client.answer_time.map(fine_millis),
        counted: counted(&client.counted),
    });
    json::Clients { connections, clients: shown.collect() }
}

/// Codes that never were answered are left out.
fn counted(counted: &Counted) -> json::Counted {
    let exceptions = counted.exceptions.iter().filter(|(_, count)| *count > 0);
    json::Counted {
        requests: counted.requests,
        snapshot_hits: counted.hits,
        snapshot_misses: counted.misses,
        exceptions: exceptions
            .map(|(code, count)| json::Exceptions { code: code.map(|code| code.0), count: *count })
            .collect(),
    }
}

pub(crate) fn unit_history<'a>(
    one: &UnitPicture<'a>,
    history: &'a History,
    now: Instant,
) -> json::UnitHistory<'a> {
    let track = history.unit(one);
    let readings = track.map(|track| {
        let shown = |track: &'a super::history::ReadingTrack| json::ReadingHistory {
            quantity: &track.quantity,
            unit: one.profile.and_then(|known| known.profile.point(&track.quantity)?.unit),
            means: track.means.iter().map(|mean| Some(*mean).filter(|mean| mean.is_finite())).collect(),
        };
        track.readings.iter().map(shown).collect()
    });
    let health = track.map(|track| {
        let minute = |minute: &super::history::UnitMinute| json::UnitMinute {
            state: state_word(minute.state),
            transactions: minute.transactions,
            errors: minute.errors,
            answer_time_ms: minute.answer_time,
            age_ms: minute.age,
        };
        track.minutes.iter().map(|one| one.as_ref().map(minute)).collect()
    });
    json::UnitHistory {
        bus: one.bus.name(),
        unit: one.alias,
        minute_s: MINUTE.as_secs(),
        last_minute_ended_ms: millis(history.since_last_minute(now)),
        readings: readings.unwrap_or_default(),
        health: health.unwrap_or_default(),
    }
}

pub(crate) fn bus_history<'a>(bus: &'a BusPicture, history: &History, now: Instant) -> json::BusHistory<'a> {
    let minutes = history.bus(bus).map(|track| {
        let minute = |minute: &super::history::BusMinute| json::BusMinute {
            utilisation_percent: minute.utilisation,
            clients_percent: minute.split.clients * 100.0,
            polling_percent: minute.split.polling * 100.0,
            failures_percent: minute.split.failures * 100.0,
            transactions: minute.transactions,
            failures: minute.failures,
            port_open: minute.open,
        };
        track.minutes.iter().map(|one| one.as_ref().map(minute)).collect()
    });
    json::BusHistory {
        bus: bus.name(),
        minute_s: MINUTE.as_secs(),
        last_minute_ended_ms: millis(history.since_last_minute(now)),
        minutes: minutes.unwrap_or_default(),
    }
}

/// What a state is called wherever a program reads it.
pub(crate) fn state_word(state: UnitState) -> &'static str {
    match state {
        UnitState::NeverSeen => "never_seen",
        UnitState::Online => "online",
        UnitState::Offline => "offline",
        UnitState::Confirming => "confirming",
    }
}

/// What a port's state is called wherever a program reads it.
pub(crate) fn port_word(port: PortState) -> &'static str {
    match port {
        PortState::Closed => "closed",
        PortState::Open => "open",
        PortState::Occupied => "occupied",
    }
}

fn age(at: Instant, now: Instant) -> u64 {
    millis(now.saturating_duration_since(at))
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Milliseconds to the tenth, which is what is known of an answer's time.
fn fine_millis(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 10_000.0).round() / 10.0
}

/// Clients that one page shows.
const MOST_CLIENTS: usize = 500;
