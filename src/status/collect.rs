//! The model, collected from what buses and listeners have published; instants become ages.
//!
//! Adds nothing to what was published; a value that was not published is `None`.

use std::borrow::Cow;
use std::time::{Instant, SystemTime};

use super::current_findings;
use super::history::{History, MINUTE, ReadingTrack};
use super::model::{
    Alert, Block, Broker, Bus, BusHistory, Client, Clients, DepartedClient, DriverErrors, ExceptionCount,
    Flag, Histogram, LineTime, Listener, ListenerTls, LocatedFinding, Point, Polling, Port, PortState,
    ReadingHistory, RecordFilter, RequestCounts, RoleCount, Status, Text, Unit, UnitCounts, UnitDetail,
    UnitHistory, UnitState, ValueProblem, WireBreak,
};
use super::number::Number;
use super::published::{Published, PublishedBroker, PublishedBus, PublishedListener, PublishedUnit};
use super::readings::Readings;
use super::spans::{age, fine_millis, millis};
use super::transactions;
use crate::line::{UnitId, UnitStatistics, statistics};
use crate::meter::{Reading, Unscaled, Valid, Value, profile};
use crate::modbus::pdu::ExceptionCode;
use crate::mqtt::{Link, OutboxCounts};
use crate::serial::PortView;
use crate::server::{Counted, TlsClients};
use crate::tls::Certificate;

/// The detail in which a unit is collected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// The counters of its line; nothing is decoded.
    Counters,
    /// And the headline of its profile: a tenth of the work of all points.
    Headline,
    /// And the points that metrics show: 247 units with all of them are megabytes.
    Metrics,
    /// And every point.
    Detail,
}

/// Everything on `/api/v1/status`.
pub fn status<'p>(published: &'p Published, depth: impl Fn(&PublishedUnit<'p>) -> Depth) -> Status<'p> {
    Status {
        version: Cow::Borrowed(env!("CARGO_PKG_VERSION")),
        uptime_s: published.at.saturating_duration_since(published.started).as_secs(),
        ready: published.is_ready(),
        buses: published.buses.iter().map(|one| bus(one, published.at)).collect(),
        units: published.units().map(|one| unit(&one, depth(&one), published.at)).collect(),
        listeners: published.listeners.iter().map(|one| listener(published, one)).collect(),
        brokers: published.brokers.iter().map(|one| broker(one, published.at)).collect(),
        site: published.site.as_deref().map(Cow::Borrowed),
        clock: Cow::Borrowed(&published.clock),
        traffic_events_lost: published.traffic.lost(),
        audit_writes_lost: published.audit.as_ref().map(|audit| audit.lost()),
        ..Status::default()
    }
}

/// The same, and what pages show besides.
pub fn status_for_pages<'p>(
    published: &'p Published,
    history: &History,
    depth: impl Fn(&PublishedUnit<'p>) -> Depth,
    records: RecordFilter,
) -> Status<'p> {
    let mut status = status(published, depth);
    for (bus, of) in status.buses.iter_mut().zip(&published.buses) {
        let Some(track) = history.bus(of) else { continue };
        bus.recent = track.recent.shares();
        bus.hour = track.hour(of, history.since_last_minute(published.at));
    }
    for (unit, of) in status.units.iter_mut().zip(published.units()) {
        if let Some(track) = history.unit(&of) {
            unit.hour = track.hour(&of, published.at);
        }
        if let Some(detail) = &mut unit.detail {
            detail.readings = readings(&of, history, published.at);
            detail.records = transactions::of_unit(published, &of, records);
        }
    }
    status.findings = findings(published, history);
    status.clients = all_clients(published, Some(history));
    status.departed = departed(published);
    status
}

/// One bus.
#[must_use]
pub fn bus(bus: &PublishedBus, now: Instant) -> Bus<'_> {
    let line = &bus.settings.line;
    let view = &bus.view;
    let (counters, times) = (view.counters, view.statistics);
    Bus {
        bus: Cow::Borrowed(bus.name()),
        device: bus.settings.port.device.to_string().into(),
        framing: Cow::Owned(line.protocol.to_string()),
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
        line_time: LineTime {
            clients_ms: millis(times.clients),
            polling_ms: millis(times.background),
            probes_ms: millis(times.probes),
            failures_ms: millis(times.failures),
        },
        waits: histogram(&times.waits),
        echo: view.echo,
        polling: Polling {
            auto_interval_ms: millis(view.polling.interval),
            slowdown: view.polling.slowdown,
            overrun: view.polling.overrun,
            learned_ranges: view.polling.learned,
            learn_limit: line.learn_limit,
            share_percent: line.poll_share * 100.0,
        },
        units: unit_counts(bus),
        wire_break: wire_break(bus),
        restarts: bus.restarts,
        wire: bus.on_the_wire().map(|unit| unit.settings.id.get()).collect(),
        recent: None,
        hour: Vec::new(),
    }
}

fn wire_break(bus: &PublishedBus) -> Option<WireBreak> {
    let found = bus.wire_break()?;
    let known_as = |id: UnitId| {
        let aliases = bus.settings.aliases.iter();
        aliases.filter(|(_, unit)| **unit == id).map(|(alias, _)| *alias).next()
    };
    Some(WireBreak { after: known_as(found.after)?, before: known_as(found.before)? })
}

fn histogram(histogram: &statistics::Histogram) -> Histogram<'static> {
    Histogram {
        up_to_ms: Cow::Borrowed(&statistics::Histogram::BOUNDS),
        counts: histogram.buckets.to_vec(),
        sum_ms: millis(histogram.sum),
    }
}

fn port(bus: &PublishedBus, now: Instant) -> Port<'_> {
    view_of(&bus.port, bus.view.port.into(), now)
}

fn view_of(port: &PortView, state: PortState, now: Instant) -> Port<'_> {
    let driver_errors = port.line_errors.map(|errors| DriverErrors {
        framing: errors.framing,
        parity: errors.parity,
        overrun: errors.overrun,
        breaks: errors.breaks,
        buffer_overrun: errors.buffer_overrun,
    });
    Port {
        state,
        open_for_ms: port.since.map(|since| age(since, now)),
        active: port.since.map(|_| Cow::Borrowed(port.report.as_str())),
        problem: port.problem.as_deref().map(Cow::Borrowed),
        openings: port.openings,
        losses: port.losses,
        driver_errors,
    }
}

fn unit_counts(bus: &PublishedBus) -> UnitCounts {
    let mut counts = UnitCounts::default();
    for unit in bus.units() {
        let count = match unit.state() {
            UnitState::NeverSeen => &mut counts.never_seen,
            UnitState::Online => &mut counts.online,
            UnitState::Offline => &mut counts.offline,
            UnitState::Confirming => &mut counts.confirming,
            UnitState::Unreachable => &mut counts.unreachable,
        };
        *count += 1;
    }
    counts
}

/// One unit.
#[must_use]
pub fn unit<'p>(unit: &PublishedUnit<'p>, depth: Depth, now: Instant) -> Unit<'p> {
    let view = unit.view;
    let counters = view.map(|view| view.counters).unwrap_or_default();
    let statistics = view.map(|view| view.statistics).unwrap_or_default();
    let readings = match depth {
        Depth::Counters => None,
        Depth::Headline => Readings::summary(unit),
        Depth::Metrics | Depth::Detail => Readings::of(unit),
    };
    let readings = readings.as_ref().map(|readings| Points::new(unit, readings, now));
    Unit {
        bus: Cow::Borrowed(unit.bus.name()),
        unit: unit.alias,
        line_unit: unit.settings.id.get(),
        name: unit.settings.name.as_deref().map(Cow::Borrowed),
        group: unit.group.map(Cow::Borrowed),
        profile: unit.profile.map(|known| Cow::Borrowed(known.profile.name.as_str())),
        state: unit.state(),
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
        headline: readings.as_ref().map(Points::headline).unwrap_or_default(),
        alerts: readings.as_ref().map(Points::alerts).unwrap_or_default(),
        detail: matches!(depth, Depth::Metrics | Depth::Detail).then(|| UnitDetail {
            profile_title: unit.profile.map(|known| Cow::Borrowed(known.profile.title.as_str())),
            exceptions_by_code: view.map(|view| unit_exceptions(&view.statistics)).unwrap_or_default(),
            answer_times: view.map(|view| histogram(&view.statistics.answer_times)),
            blocks: blocks(unit, now),
            points: readings.as_ref().map(|points| points.all(depth)).unwrap_or_default(),
            readings: Vec::new(),
            records: Vec::new(),
        }),
        hour: Vec::new(),
    }
}

fn blocks(unit: &PublishedUnit<'_>, now: Instant) -> Vec<Block> {
    let blocks = unit.view.map(|view| view.snapshot.blocks()).unwrap_or_default().iter();
    let mut blocks: Vec<_> = blocks
        .map(|block| Block {
            function: block.range.function.0,
            address: block.range.start,
            quantity: block.range.quantity,
            age_ms: millis(block.age(now)),
        })
        .collect();
    blocks.sort_by_key(|block| (block.function, block.address, block.quantity));
    blocks
}

/// Without codes that never occurred; codes unknown to the standard are counted under 0.
fn unit_exceptions(statistics: &UnitStatistics) -> Vec<ExceptionCount> {
    let codes = 0..=ExceptionCode::GATEWAY_TARGET_FAILED_TO_RESPOND.0;
    let counted = codes.map(|code| ExceptionCount {
        code: (code > 0).then_some(code),
        count: statistics.exceptions(ExceptionCode(code)),
    });
    counted.filter(|one| one.count > 0).collect()
}

/// The points of one unit on their way into the model.
struct Points<'r, 'p> {
    unit: &'r PublishedUnit<'p>,
    readings: &'r Readings<'p>,
    /// The setting that tells which points mean something.
    code: Option<u16>,
    now: Instant,
}

impl<'r, 'p> Points<'r, 'p> {
    fn new(unit: &'r PublishedUnit<'p>, readings: &'r Readings<'p>, now: Instant) -> Self {
        Self { unit, readings, code: readings.validity_code(), now }
    }

    fn all(&self, depth: Depth) -> Vec<Point<'p>> {
        let chosen = self.readings.quantities();
        let points = self.readings.points.iter().map(|(of, reading)| {
            let quantity = of.copy_of.as_deref().unwrap_or(&of.name);
            let is_chosen = chosen.get(quantity).is_some_and(|reading| reading.point.name == of.name);
            Point { is_chosen, ..self.point(of, reading.as_ref()) }
        });
        let is_measured = |point: &Point<'_>| point.is_fresh && (point.is_chosen || point.is_alert);
        points.filter(|point| depth == Depth::Detail || is_measured(point)).collect()
    }

    fn headline(&self) -> Vec<Point<'p>> {
        let shown = |(original, reading): (&'p profile::Point, Option<&Reading<'p>>)| {
            self.point(reading.map_or(original, |reading| reading.point), reading)
        };
        self.readings.headline().into_iter().map(shown).collect()
    }

    fn alerts(&self) -> Vec<Alert<'p>> {
        let raised = self.readings.alerts().into_iter();
        raised
            .map(|raised| Alert {
                point: Cow::Borrowed(raised.point.name.as_str()),
                alert: Cow::Borrowed(raised.bit.name.as_str()),
                means: Cow::Borrowed(raised.bit.means.as_str()),
                age_ms: age(raised.asked_at, self.now),
            })
            .collect()
    }

    fn point(&self, of: &'p profile::Point, reading: Option<&Reading<'p>>) -> Point<'p> {
        let profile = self.readings.profile;
        let block = &profile.blocks[of.block];
        let meaningful = match (self.code.map(|code| profile.valid(of, code)), profile.validity.is_some()) {
            (Some(Valid::Yes), _) | (None, false) => Some(true),
            (Some(Valid::No), _) => Some(false),
            (Some(Valid::Unknown), _) | (None, true) => None,
        };
        let (value, text, problem) =
            reading.map_or((None, None, Some(ValueProblem::NotRead)), |reading| shown(&reading.value));
        let is_fresh = |reading: &Reading<'_>| {
            self.now.saturating_duration_since(reading.asked_at) <= self.unit.fresh_for(block.kind)
        };
        Point {
            point: Cow::Borrowed(&of.name),
            quantity: Cow::Borrowed(of.copy_of.as_deref().unwrap_or(&of.name)),
            description: Cow::Borrowed(&of.description),
            group: of.group,
            register: of.register,
            value,
            text,
            unit: of.unit.map(Cow::Borrowed),
            age_ms: reading.map(|reading| age(reading.asked_at, self.now)),
            scale_age_ms: reading.and_then(|reading| reading.scale_asked_at).map(|at| age(at, self.now)),
            problem,
            in_range: reading.map(|reading| reading.in_range),
            meaningful,
            is_chosen: false,
            is_billed: profile
                .bill_by()
                .is_some_and(|billed| billed.name == of.copy_of.as_deref().unwrap_or(&of.name)),
            is_polled: self
                .unit
                .profile
                .is_some_and(|known| known.poll.is_some() && known.blocks.contains(&block.name)),
            is_fresh: self.unit.state().is_answering() && reading.is_some_and(is_fresh),
            is_alert: of.is_alert(),
            flags: reading.map(|reading| flags(of, &reading.value)).unwrap_or_default(),
        }
    }
}

fn flags<'p>(of: &'p profile::Point, value: &Value<'p>) -> Vec<Flag<'p>> {
    let Value::Bits { set, .. } = value else { return Vec::new() };
    let flag = |bit: &'p profile::Bit| Flag {
        name: Cow::Borrowed(bit.name.as_str()),
        means: Cow::Borrowed(bit.means.as_str()),
        is_set: set.contains(&bit),
    };
    of.bits.iter().map(flag).collect()
}

/// The number, the text, and why there is none.
fn shown<'p>(value: &Value<'p>) -> (Option<Number>, Option<Text<'p>>, Option<ValueProblem>) {
    let number = Number::of(value);
    match value {
        Value::Float(_) | Value::Double(_) | Value::Number(_) => (number, None, None),
        Value::Code { code: _, means } => (number, Some(Cow::Borrowed(*means)), None),
        Value::Bits { bits: _, set } => {
            let names: Vec<_> = set.iter().map(|bit| bit.name.as_str()).collect();
            (number, Some(Cow::Owned(names.join(", "))), None)
        }
        Value::Version(version) => (number, Some(Cow::Owned(version.to_string())), None),
        Value::Text(text) => (number, Some(Cow::Owned(text.clone())), None),
        Value::NotAvailable => (number, None, Some(ValueProblem::NotAvailable)),
        Value::NotANumber { .. } => (number, None, Some(ValueProblem::NotANumber)),
        Value::Unscaled { why, .. } => {
            let problem = match why {
                Unscaled::NotRead => ValueProblem::ExponentNotRead,
                Unscaled::Changed => ValueProblem::ExponentChanged,
                Unscaled::Impossible(_) | Unscaled::NoRatio => ValueProblem::ExponentImpossible,
            };
            (number, None, Some(problem))
        }
    }
}

/// One broker.
#[must_use]
pub fn broker(one: &PublishedBroker, now: Instant) -> Broker<'_> {
    let view = one.metrics.view(now);
    let OutboxCounts { queued, bytes: queued_bytes, dropped, last_dropped: _ } = one.delivery.counts();
    let (connected, away) = match view.link {
        Link::NotTried => (None, None),
        Link::Connected(since) => (Some(age(since, now)), None),
        Link::Waiting(since) | Link::Away(since) => (None, Some(age(since, now))),
    };
    Broker {
        broker: one.settings.address.to_string().into(),
        client_id: Cow::Borrowed(&one.settings.client_id),
        status_topic: Cow::Borrowed(&one.settings.status_topic),
        connected: connected.is_some(),
        connected_for_ms: connected,
        away_for_ms: away,
        last_error: view.last_error.map(|loss| loss.to_string()),
        connections: view.connections,
        published: view.published,
        published_per_second: view.rate,
        queued,
        queued_bytes,
        dropped,
    }
}

/// The findings of brokers, then those of each line, followed by those of its units.
#[must_use]
pub fn findings<'p>(published: &'p Published, history: &History) -> Vec<LocatedFinding<'p>> {
    let of_bus = |bus: &'p PublishedBus| {
        let of_clients = current_findings::of_clients(bus, published);
        let of_bus = current_findings::of_bus(bus, history.recent(bus), published.at);
        of_clients.into_iter().chain(of_bus).map(move |finding| {
            let unit = finding.unit.and_then(|id| bus.units().find(|unit| unit.settings.id == id));
            LocatedFinding {
                severity: finding.severity,
                kind: finding.kind,
                bus: Some(Cow::Borrowed(bus.name())),
                broker: None,
                unit: unit.map(|unit| unit.alias),
                line_unit: finding.unit.map(UnitId::get),
                name: unit.and_then(|unit| unit.settings.name.as_deref()).map(Cow::Borrowed),
                what: Cow::Owned(finding.what),
                remedy: finding.remedy,
                active_since_ms: age(finding.active_since, published.at),
                last_seen_ms: age(finding.last_seen, published.at),
            }
        })
    };
    let of_broker = |broker: &'p PublishedBroker| {
        let finding = current_findings::of_broker(broker, published.at)?;
        Some(LocatedFinding {
            severity: finding.severity,
            kind: finding.kind,
            bus: None,
            broker: Some(broker.settings.address.to_string().into()),
            unit: None,
            line_unit: None,
            name: None,
            what: Cow::Owned(finding.what),
            remedy: finding.remedy,
            active_since_ms: age(finding.active_since, published.at),
            last_seen_ms: age(finding.last_seen, published.at),
        })
    };
    let of_brokers = published.brokers.iter().filter_map(of_broker);
    of_brokers.chain(published.buses.iter().flat_map(of_bus)).collect()
}

/// One listener.
#[must_use]
pub fn listener<'p>(published: &'p Published, one: &'p PublishedListener) -> Listener<'p> {
    let totals = one.metrics.totals();
    let buses = one.buses.iter().filter_map(|&bus| published.bus(bus));
    Listener {
        listener: one.address.clone(),
        framing: one.settings.framing,
        buses: buses.map(|bus| Cow::Borrowed(bus.name())).collect(),
        max_age_ms: millis(one.settings.max_age),
        writes: one.settings.allows_writes(),
        connections: totals.connections,
        max_connections: one.settings.max_connections,
        accepted: totals.accepted,
        turned_away: totals.turned_away,
        tls: one.settings.tls.as_ref().map(|server| listener_tls(server.certificate(), &one.metrics.tls)),
        port: one.port.as_deref().map(|port| {
            let state = if port.since.is_some() { PortState::Open } else { PortState::Closed };
            view_of(port, state, published.at)
        }),
        requests: request_counts(&totals.counted),
    }
}

fn listener_tls(certificate: &Certificate, clients: &TlsClients) -> ListenerTls {
    let not_after = certificate.validity.not_after;
    let expires = not_after.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let roles = clients.roles().into_iter();
    let failures = clients.failures().filter(|(_, count)| *count > 0);
    ListenerTls {
        certificate_expires: expires.as_secs(),
        roles: roles.map(|(role, connections)| RoleCount { role, connections }).collect(),
        failed_handshakes: failures.map(|(cause, count)| (cause.word().to_owned(), count)).collect(),
    }
}

/// The clients that one response has room for, and how many there are.
#[must_use]
pub fn clients(published: &Published) -> Clients {
    let mut clients = all_clients(published, None);
    let connections = clients.len();
    clients.truncate(MOST_CLIENTS);
    Clients { connections, clients, departed: departed(published) }
}

fn departed(published: &Published) -> Vec<DepartedClient> {
    let of_listener = |listener: &PublishedListener| {
        let address = listener.address.clone();
        listener.metrics.departed(published.at).into_iter().map(move |one| DepartedClient {
            client: one.address,
            listener: address.clone(),
            left_ms: age(one.left, published.at),
            connections: one.connections,
            requests: request_counts(&one.counted),
        })
    };
    published.listeners.iter().flat_map(of_listener).collect()
}

fn all_clients(published: &Published, history: Option<&History>) -> Vec<Client> {
    let now = published.at;
    let of_listener = |listener: &PublishedListener| {
        let address = listener.address.clone();
        listener.metrics.clients().into_iter().map(move |client| {
            let ends = (address.clone(), client.peer);
            let rate = history.and_then(|history| history.rates.of(&ends, client.counted.requests, now));
            Client {
                listener: ends.0,
                client: ends.1,
                connected_ms: age(client.since, now),
                last_request_ms: client.last_request.map(|at| age(at, now)),
                answer_time_ms: client.answer_time.map(fine_millis),
                requests: request_counts(&client.counted),
                requests_per_second: rate,
            }
        })
    };
    published.listeners.iter().flat_map(of_listener).collect()
}

/// Without codes that never occurred.
fn request_counts(counted: &Counted) -> RequestCounts {
    let exceptions = counted.exceptions.iter().filter(|(_, count)| *count > 0);
    RequestCounts {
        requests: counted.requests,
        snapshot_hits: counted.hits,
        snapshot_misses: counted.misses,
        exceptions: exceptions
            .map(|(code, count)| ExceptionCount { code: code.map(|code| code.0), count: *count })
            .collect(),
    }
}

/// One unit, minute by minute.
#[must_use]
pub fn unit_history<'p>(one: &PublishedUnit<'p>, history: &History, now: Instant) -> UnitHistory<'p> {
    let health = history.unit(one).map(|track| track.minutes.iter().copied().collect());
    UnitHistory {
        bus: Cow::Borrowed(one.bus.name()),
        unit: one.alias,
        minute_s: MINUTE.as_secs(),
        last_minute_ended_ms: millis(history.since_last_minute(now)),
        readings: readings(one, history, now),
        health: health.unwrap_or_default(),
    }
}

fn readings<'p>(one: &PublishedUnit<'p>, history: &History, now: Instant) -> Vec<ReadingHistory<'p>> {
    let ended_ms = millis(history.since_last_minute(now));
    let shown = |track: &ReadingTrack| {
        let point = one.profile.and_then(|known| known.profile.point(&track.quantity));
        ReadingHistory {
            quantity: Cow::Owned(track.quantity.clone()),
            unit: point.and_then(|point| point.unit).map(Cow::Borrowed),
            means: track.means.iter().map(|mean| Some(*mean).filter(|mean| mean.is_finite())).collect(),
            description: point.map(|point| Cow::Borrowed(point.description.as_str())).unwrap_or_default(),
            ended_ms,
            first: track.first.ages(now).map(|(age, value)| (millis(age), value)).collect(),
        }
    };
    history.unit(one).map(|track| track.readings.iter().map(shown).collect()).unwrap_or_default()
}

/// One bus, minute by minute.
#[must_use]
pub fn bus_history<'p>(bus: &'p PublishedBus, history: &History, now: Instant) -> BusHistory<'p> {
    BusHistory {
        bus: Cow::Borrowed(bus.name()),
        minute_s: MINUTE.as_secs(),
        last_minute_ended_ms: millis(history.since_last_minute(now)),
        minutes: history.bus(bus).map(|track| track.minutes.iter().copied().collect()).unwrap_or_default(),
    }
}

/// Clients in one response.
const MOST_CLIENTS: usize = 500;
