//! A building as the status pages may find it: two lines, one in trouble, meters in every state, hostile
//! names. Plain values, the same at every run.

mod one_meter;

use std::time::Duration;

use metergate::events::{Event, EventKind};
use metergate::findings::{Kind, Remedy, Severity};
use metergate::modbus::AduFraming;
use metergate::page::{OverviewView, ViewQuery};
use metergate::status::{
    Bus, BusMinute, Client, DepartedClient, DriverErrors, ExceptionCount, LineShares, ListedEvent, Listener,
    LocatedFinding, Number, Point, Port, PortState, RequestCounts, Status, Unit, UnitMinute, UnitState,
    WireBreak,
};

pub(crate) use one_meter::{dead_meter, meter, meter_page, unknown_meter};

/// A name that is markup, were it not escaped.
pub(crate) const HOSTILE: &str = r#"<script>alert("1")</script>' onload=x &amp; "quoted""#;

/// Two lines with every kind of trouble; `dead` makes one more meter fall silent.
pub(crate) fn overview(dead: bool) -> Status<'static> {
    let mut status = Status {
        version: "0.1.0".into(),
        uptime_s: 3 * 86_400 + 4 * 3_600,
        ready: true,
        site: Some("Harbour House".into()),
        clock: "2026-11-22 14:03:07 UTC".into(),
        buses: vec![riser_a(), riser_b()],
        units: units_of_riser_a(),
        listeners: vec![
            listener("0.0.0.0:502", &["riser-a", "riser-b"], 5000),
            Listener { writes: true, turned_away: 0, ..listener("127.0.0.1:5020", &["riser-a"], 0) },
        ],
        clients: vec![
            client("10.20.0.7:40001", Some(11.4), 1_284_411),
            Client {
                requests: RequestCounts {
                    exceptions: vec![exceptions(0x0B, 1284), exceptions(0x02, 3)],
                    ..requests(8_402)
                },
                ..client("10.20.0.31:40001", Some(0.2), 8_402)
            },
            Client {
                last_request_ms: None,
                answer_time_ms: None,
                requests: RequestCounts::default(),
                ..client("[2001:db8:0:17::4c]:40001", None, 0)
            },
        ],
        departed: vec![departed("10.20.0.44", 300_000, 1), departed("10.20.0.45", 3_000_000, 211)],
        events: events(),
        findings: vec![
            silent("riser-a", 5, Some("Kitchen"), "It has not answered for 4 min"),
            finding(
                "riser-a",
                Some((6, Some("Server room"))),
                Severity::Warning,
                Kind::Lossy,
                "31 of 120 requests got no answer (26 %)",
                &["Check the wires at this meter and the one before it"],
            ),
            silent("riser-a", 8, Some(ROOF), "It has not answered since the start"),
            finding(
                "riser-a",
                None,
                Severity::Note,
                Kind::Echo,
                "The adapter echoes what is sent; the gateway removes the echo",
                NO_ECHO,
            ),
            finding(
                "riser-b",
                None,
                Severity::Fault,
                Kind::PortClosed,
                "The port is closed: no such file or directory (os error 2)",
                OPEN_PORT,
            ),
        ],
        ..Status::default()
    };
    status
        .units
        .extend((21..=23).map(|id| Unit { hour: vec![], ..unit("riser-b", id, None, UnitState::NeverSeen) }));
    if dead {
        status.units[2] = unit("riser-a", 3, Some(PANEL), UnitState::Offline);
        status.findings.insert(0, silent("riser-a", 3, Some(PANEL), "It has not answered for 3 s"));
    }
    status
}

/// One healthy line, nothing to say.
pub(crate) fn healthy() -> Status<'static> {
    let named = |id: u8| Unit {
        name: Some(format!("Panel {id}").into()),
        ..unit("riser-a", id, None, UnitState::Online)
    };
    with_units(vec![riser_a()], (1..=8).map(named).collect())
}

/// Units of three groups and one of none; the second group has a meter that does not answer.
pub(crate) fn grouped() -> Status<'static> {
    let mut status = overview(false);
    let groups = [
        "Tenants East",
        "Tenants East",
        "Tenants West",
        "Tenants West",
        "Tenants West",
        "Plant room",
        "Plant room",
    ];
    for (unit, group) in status.units.iter_mut().zip(groups) {
        unit.group = Some(group.into());
    }
    status
}

/// A line whose wire is broken behind its fourth meter.
pub(crate) fn broken() -> Status<'static> {
    let place = WireBreak { after: 4, before: 5 };
    let unit = |id: u8, name: &'static str| {
        unit(
            "riser-a",
            id,
            Some(name),
            if id <= place.after { UnitState::Online } else { UnitState::Offline },
        )
    };
    let names = ["Lobby", "Panel 2", "Panel 3", "Kitchen", "Server room", "Lifts", "Workshop", "Roof"];
    let units = (1..).zip(names).map(|(id, name)| unit(id, name)).collect();
    let mut status = with_units(vec![Bus { wire_break: Some(place), ..riser_a() }], units);
    status.findings = vec![finding(
        "riser-a",
        None,
        Severity::Fault,
        Kind::WireBreak,
        "Everything from unit 5 to unit 8 fell silent at once, 3 min ago, and everything up to unit 4 answers",
        &[
            "the cable from unit 4 to unit 5, and its terminals at both",
            "the power of everything behind unit 4",
        ],
    )];
    status
}

/// The view in which meters stand as they hang on the wire.
pub(crate) fn wire_order() -> OverviewView {
    let uri: axum::http::Uri = "/?sort=wire".parse().expect("an address");
    let query = axum::extract::Query::<ViewQuery>::try_from_uri(&uri).expect("a query");
    OverviewView::new(&query)
}

/// As many units as there may be, on several lines, all of them in trouble.
pub(crate) fn full() -> Status<'static> {
    let lines = ["riser-0", "riser-1", "riser-2", "riser-3"];
    let line = |id: u8| lines[usize::from(id % 4)];
    let units = (1..=247).map(|id| unit(line(id), id, Some("A meter with a name"), UnitState::Online));
    let buses = lines.iter().map(|line| Bus { bus: (*line).into(), ..riser_a() });
    let mut status = with_units(buses.collect(), units.collect());
    status.findings = (1..=247)
        .map(|id| silent(line(id), id, Some("A meter with a name"), "It has not answered since the start"))
        .collect();
    status
}

/// Before anything is known.
pub(crate) fn unknown() -> Status<'static> {
    let mut bus = Bus { recent: None, hour: vec![], ..riser_b() };
    bus.port.problem = None;
    let units = (21..=23).map(|id| Unit { hour: vec![], ..unit("riser-b", id, None, UnitState::NeverSeen) });
    Status { site: None, listeners: vec![], clients: vec![], ..with_units(vec![bus], units.collect()) }
}

/// The same building with other lines and meters, and nothing wrong.
pub(crate) fn with_units(buses: Vec<Bus<'static>>, units: Vec<Unit<'static>>) -> Status<'static> {
    let wire = |bus: &Bus<'static>| {
        units.iter().filter(|unit| unit.bus == bus.bus).map(|unit| unit.line_unit).collect()
    };
    let buses = buses.into_iter().map(|bus| Bus { wire: wire(&bus), ..bus }).collect();
    Status { buses, units, findings: vec![], ..overview(false) }
}

const PANEL: &str = "Panel 3, third floor east";
const ROOF: &str = "Roof: heat pump, with a name that is longer than a name should be";

fn riser_a() -> Bus<'static> {
    Bus {
        bus: "riser-a".into(),
        device: "/dev/serial/by-id/usb-FTDI_FT232R_USB_UART_A10KZP45-if00-port0".into(),
        framing: "19200 8N1".into(),
        port: Port {
            state: PortState::Open,
            open_for_ms: Some(3 * 86_400_000),
            active: Some("RS-485 direction by the driver; low latency".into()),
            problem: None,
            openings: 2,
            losses: 1,
            driver_errors: Some(DriverErrors { framing: 12, breaks: 1, ..DriverErrors::default() }),
        },
        echo: Some(true),
        requests_waiting: 2,
        wire: vec![1, 2, 3, 4, 5, 6, 17, 8],
        recent: Some(LineShares { clients: 0.184, polling: 0.412, failures: 0.021 }),
        hour: (0..60).map(minute).collect(),
        ..Bus::default()
    }
}

fn units_of_riser_a() -> Vec<Unit<'static>> {
    let unit = |id, name, state| unit("riser-a", id, name, state);
    vec![
        unit(1, Some("Lobby and lifts"), UnitState::Online),
        unit(2, Some("Panel 2"), UnitState::Online),
        unit(3, Some(PANEL), UnitState::Online),
        unit(4, Some(HOSTILE), UnitState::Online),
        unit(5, Some("Kitchen"), UnitState::Offline),
        unit(6, Some("Server room"), UnitState::Confirming),
        unit(7, None, UnitState::Online),
        unit(8, Some(ROOF), UnitState::NeverSeen),
    ]
}

fn riser_b() -> Bus<'static> {
    Bus {
        bus: "riser-b".into(),
        device: "/dev/ttyUSB1".into(),
        framing: "9600 8E1".into(),
        port: Port { problem: Some("no such file or directory (os error 2)".into()), ..Port::default() },
        wire: vec![21, 22, 23],
        hour: vec![None; 12],
        ..Bus::default()
    }
}

/// A meter whose numbers fit its state.
pub(crate) fn unit(bus: &'static str, id: u8, name: Option<&'static str>, state: UnitState) -> Unit<'static> {
    let is_seen = state != UnitState::NeverSeen;
    let minute = |minute: u16| {
        let is_dead = state == UnitState::Offline && minute > 55
            || state == UnitState::Confirming && minute % 9 > 5
            || !is_seen;
        Some(UnitMinute {
            state,
            transactions: 20,
            errors: if is_dead { 20 } else { u32::from(id == 7 && minute.is_multiple_of(13)) },
            answer_time_ms: (!is_dead).then(|| 5.2 + 0.04 * f32::from(minute * u16::from(id) % 17)),
            age_ms: None,
        })
    };
    let power = is_seen.then(|| narrow(f64::from(id) * 3.1 + wave(usize::from(id) * 7)));
    Unit {
        bus: bus.into(),
        unit: id,
        line_unit: if id == 7 { 17 } else { id },
        name: name.map(Into::into),
        state,
        age_ms: match state {
            UnitState::Online => Some(600 + 90 * u64::from(id)),
            UnitState::Offline | UnitState::Unreachable => Some(250_000),
            UnitState::Confirming => Some(12_000),
            UnitState::NeverSeen => None,
        },
        answer_time_ms: is_seen.then(|| 5.0 + 0.13 * f64::from(id)),
        headline: vec![point("real_power_total", "Real power, total", 261, power, "kW"), energy(id, is_seen)],
        hour: (0..60).map(minute).collect(),
        ..Unit::default()
    }
}

/// A point that is a float, or one that has not been read.
pub(crate) fn point(
    name: &'static str,
    description: &'static str,
    register: u32,
    value: Option<f32>,
    unit: &'static str,
) -> Point<'static> {
    use metergate::meter::Group;
    use metergate::status::ValueProblem;
    Point {
        point: name.into(),
        quantity: name.into(),
        description: description.into(),
        group: Group::Power,
        register,
        value: value.map(Number::Float),
        text: None,
        unit: Some(unit.into()),
        age_ms: value.map(|_| 740),
        scale_age_ms: None,
        problem: value.is_none().then_some(ValueProblem::NotRead),
        in_range: Some(true),
        meaningful: Some(true),
        is_chosen: value.is_some(),
        is_billed: false,
        is_polled: true,
        is_fresh: true,
        is_alert: false,
        flags: vec![],
    }
}

/// What a unit is billed by: an exact count of tenths.
fn energy(id: u8, is_seen: bool) -> Point<'static> {
    use metergate::meter::{Decimal, Group};
    let tenths = Decimal { digits: 1_842_112 + 1_000_001 * i128::from(id), exponent: -1 };
    Point {
        group: Group::Energy,
        value: is_seen.then_some(Number::Decimal(tenths)),
        is_billed: true,
        ..point("real_energy_total", "Real energy, total", 1, is_seen.then_some(0.0), "kWh")
    }
}

fn minute(minute: usize) -> Option<BusMinute> {
    let failures = if minute > 54 { 2.1 } else { 0.2 };
    (minute != 20).then(|| BusMinute {
        clients_percent: 16.0 + 5.0 * wave(minute),
        polling_percent: 41.0,
        failures_percent: failures,
        ..BusMinute::default()
    })
}

/// From -1 to 1.
fn wave(at: usize) -> f64 {
    let at = at as f64;
    ((at / 110.0).sin() + (at / 17.0).sin() * 0.3) / 1.3
}

#[expect(clippy::cast_possible_truncation, reason = "an invented value has few digits")]
fn narrow(value: f64) -> f32 {
    value as f32
}

fn silent(
    bus: &'static str,
    id: u8,
    name: Option<&'static str>,
    what: &'static str,
) -> LocatedFinding<'static> {
    finding(
        bus,
        Some((id, name)),
        Severity::Fault,
        Kind::Silent,
        what,
        &[
            "the meter's power",
            "its two wires at the terminals",
            "its identifier, baud rate and parity in its own menu: `metergate scan /dev/ttyUSB1` lists the meters that answer",
        ],
    )
}

/// Of the line, or of a unit with its name.
fn finding(
    bus: &'static str,
    unit: Option<(u8, Option<&'static str>)>,
    severity: Severity,
    kind: Kind,
    what: &'static str,
    steps: &[&'static str],
) -> LocatedFinding<'static> {
    LocatedFinding {
        severity,
        kind,
        bus: Some(bus.into()),
        broker: None,
        unit: unit.map(|(id, _)| id),
        line_unit: unit.map(|(id, _)| if id == 7 { 17 } else { id }),
        name: unit.and_then(|(_, name)| name).map(Into::into),
        what: what.into(),
        remedy: Remedy::steps(steps.iter().copied()),
        active_since_ms: 180_000,
        last_seen_ms: 5_000,
    }
}

fn listener(address: &str, buses: &[&'static str], max_age_ms: u64) -> Listener<'static> {
    Listener {
        framing: AduFraming::Tcp,
        listener: address.parse().expect("an address"),
        buses: buses.iter().map(|bus| (*bus).into()).collect(),
        max_age_ms,
        writes: false,
        connections: 3,
        max_connections: 256,
        accepted: 17,
        turned_away: 2,
        tls: None,
        port: None,
        requests: requests(1_292_816),
    }
}

fn client(address: &str, rate: Option<f64>, count: u64) -> Client {
    Client {
        client: address.parse().expect("an address"),
        listener: "0.0.0.0:502".parse().expect("an address"),
        connected_ms: 93_600_000,
        last_request_ms: Some(90),
        answer_time_ms: Some(0.8),
        requests: requests(count),
        requests_per_second: rate,
    }
}

fn departed(address: &str, left_ms: u64, connections: u64) -> DepartedClient {
    DepartedClient {
        client: address.parse().expect("an address"),
        listener: "0.0.0.0:502".parse().expect("an address"),
        left_ms,
        connections,
        requests: requests(1_204),
    }
}

fn requests(requests: u64) -> RequestCounts {
    RequestCounts { requests, snapshot_hits: 93, snapshot_misses: 7, exceptions: vec![] }
}

fn exceptions(code: u8, count: u64) -> ExceptionCount {
    ExceptionCount { code: Some(code), count }
}

/// An outage that is over, a port that is still gone, and a start.
fn events() -> Vec<ListedEvent> {
    let event = |kind, unit: Option<u8>, begin: &str, seconds: Option<u64>, text: &str| {
        let begin_at: jiff::Timestamp = begin.parse().expect("an instant");
        let event = Event {
            id: 1,
            kind,
            bus: (kind != EventKind::Start).then(|| "riser-a".to_owned()),
            unit,
            name: unit.map(|unit| format!("Tenant <{unit}>")),
            client: None,
            subject: None,
            writes: None,
            refused: None,
            begin: begin_at,
            end: seconds.map(|seconds| begin_at + Duration::from_secs(seconds)),
            seconds,
            text: text.to_owned(),
        };
        ListedEvent { event, begin: begin.replace('T', " ").replace('Z', "") }
    };
    vec![
        event(EventKind::PortLost, None, "2026-11-22T14:02:11Z", None, "/dev/rs485: the device has gone"),
        event(EventKind::Outage, Some(3), "2026-11-22T02:13:50Z", Some(1632), "off-line"),
        event(EventKind::Start, None, "2026-11-21T09:00:00Z", Some(0), "metergate started"),
    ]
}
const NO_ECHO: &[&str] = &[
    "Nothing to do. Set `echo: on` to skip the detection at start, or switch local echo off in the adapter",
];

const OPEN_PORT: &[&str] = &[
    "check that the adapter is plugged in and has this name (`ls -l /dev/serial/by-id`)",
    "check that no other program uses it",
    "check that metergate's user may open it (group dialout)",
];
