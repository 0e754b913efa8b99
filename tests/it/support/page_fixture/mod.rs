//! A building as the status pages may find it: two lines, one in trouble, meters in every state, names nobody should
//! have given. Plain values, the same at every run.

mod one_meter;

use std::time::Duration;

use metergate::bus::settings::UnitId;
use metergate::findings::{Finding, Kind, Severity};
use metergate::page::{
    Bus, Client, ExceptionCount, Gateway, Listener, Meter, MeterRef, MeterState, Minute, Overview, Port,
    PortErrors, PortState, Split,
};

pub(crate) use one_meter::{dead_meter_page, meter_page, unknown_meter_page};

/// A name that is markup, were it not escaped.
pub(crate) const HOSTILE: &str = r#"<script>alert("1")</script>' onload=x &amp; "quoted""#;

/// Two lines with every kind of trouble; `dead` makes one more meter fall silent.
pub(crate) fn overview(dead: bool) -> Overview {
    Overview {
        gateway: gateway(),
        buses: vec![riser_a(dead), riser_b()],
        listeners: vec![
            listener("0.0.0.0:502", &["riser-a", "riser-b"], 5000),
            Listener { writes: true, refused: 0, ..listener("127.0.0.1:5020", &["riser-a"], 0) },
        ],
        clients: vec![
            client("10.20.0.7", Some(11.4), 1_284_411),
            Client {
                exceptions: vec![
                    exceptions("0x0B gateway target device failed to respond", 1284),
                    exceptions("0x02 illegal data address", 3),
                ],
                ..client("10.20.0.31", Some(0.2), 8_402)
            },
            Client {
                idle_for: None,
                rate: None,
                from_snapshot: None,
                answer_time: None,
                ..client("2001:db8:0:17::4c", None, 0)
            },
        ],
        clients_left_out: 0,
    }
}

/// One healthy line, nothing to say.
pub(crate) fn healthy() -> Overview {
    let mut model = overview(false);
    let mut bus = riser_a(false);
    bus.findings.clear();
    bus.meters = (1..=8).map(|id| meter(id, Some(&format!("Panel {id}")), MeterState::Online)).collect();
    model.buses = vec![bus];
    model
}

/// As many units as there may be, on several lines, all of them in trouble.
pub(crate) fn full() -> Overview {
    let mut model = overview(false);
    model.buses = (0..4_u8)
        .map(|line| {
            let ids = (1..=247_u8).filter(|id| id % 4 == line);
            Bus {
                name: format!("riser-{line}"),
                meters: ids
                    .clone()
                    .map(|id| meter(id, Some("A meter with a name"), MeterState::Online))
                    .collect(),
                findings: ids.map(|id| silent(id, "It has never answered")).collect(),
                ..riser_a(false)
            }
        })
        .collect();
    model
}

/// Before anything is known.
pub(crate) fn unknown() -> Overview {
    let mut bus = riser_b();
    bus.port = Port {
        state: PortState::Closed,
        open_for: None,
        active: vec![],
        problem: None,
        openings: 0,
        ..bus.port
    };
    bus.utilisation = None;
    bus.utilisation_hour.clear();
    bus.findings.clear();
    for meter in &mut bus.meters {
        *meter = Meter { hour: vec![], ..meter.clone() };
    }
    Overview {
        gateway: Gateway { name: None, ..gateway() },
        buses: vec![bus],
        listeners: vec![],
        clients: vec![],
        clients_left_out: 0,
    }
}

fn gateway() -> Gateway {
    Gateway {
        name: Some("Harbour House".to_owned()),
        version: "0.1.0".to_owned(),
        uptime: Duration::from_secs(3 * 86_400 + 4 * 3_600),
        rendered_at: "2026-11-22 14:03:07 UTC".to_owned(),
    }
}

fn riser_a(dead: bool) -> Bus {
    let names = ["Lobby and lifts", "Panel 2", "Panel 3, third floor east"];
    let mut meters: Vec<_> =
        (1..=3).zip(names).map(|(id, name)| meter(id, Some(name), MeterState::Online)).collect();
    meters.push(meter(4, Some(HOSTILE), MeterState::Online));
    meters.push(meter(5, Some("Kitchen"), MeterState::Offline));
    meters.push(meter(6, Some("Server room"), MeterState::Confirming));
    meters.push(meter(7, None, MeterState::Online));
    meters.push(meter(
        8,
        Some("Roof: heat pump, with a name that is longer than a name should be"),
        MeterState::NeverSeen,
    ));
    let mut findings = vec![
        silent(5, "It has not answered for 4 min"),
        finding(6, Severity::Warning, Kind::Lossy, "31 of 120 requests got no answer (26 %)", "Check the wires at this meter and the one before it"),
        silent(8, "It has never answered"),
        Finding { severity: Severity::Note, kind: Kind::Echo, unit: None, what: "The adapter hands back what is sent; the gateway takes it out".to_owned(), remedy: "Nothing to do. Set `echo: on` to spare the finding out at start, or switch local echo off in the adapter".to_owned() },
    ];
    if dead {
        meters[2] = meter(3, Some(names[2]), MeterState::Offline);
        findings.insert(0, silent(3, "It has not answered for 3 s"));
    }
    Bus {
        name: "riser-a".to_owned(),
        device: "/dev/serial/by-id/usb-FTDI_FT232R_USB_UART_A10KZP45-if00-port0".to_owned(),
        framing: "19200 8N1".to_owned(),
        port: Port {
            state: PortState::Open,
            open_for: Some(Duration::from_secs(3 * 86_400)),
            active: vec!["RS-485 direction by the driver".to_owned(), "low latency".to_owned()],
            problem: None,
            openings: 2,
            losses: 1,
            echo: Some(true),
            errors: Some(PortErrors { framing: 12, parity: 0, overrun: 0, breaks: 1 }),
        },
        utilisation: Some(Split { clients: 0.184, polling: 0.412, failures: 0.021 }),
        utilisation_hour: (0..60).map(split).collect(),
        waiting: 2,
        meters,
        findings,
    }
}

fn riser_b() -> Bus {
    let problem = "no such file or directory (os error 2)";
    Bus {
        name: "riser-b".to_owned(),
        device: "/dev/ttyUSB1".to_owned(),
        framing: "9600 8E1".to_owned(),
        port: Port {
            state: PortState::Closed,
            open_for: None,
            active: vec![],
            problem: Some(problem.to_owned()),
            openings: 0,
            losses: 0,
            echo: None,
            errors: None,
        },
        utilisation: None,
        utilisation_hour: vec![None; 12],
        waiting: 0,
        meters: (21..=23)
            .map(|id| Meter { hour: vec![], ..meter(id, None, MeterState::NeverSeen) })
            .collect(),
        findings: vec![Finding {
            severity: Severity::Fault,
            kind: Kind::PortClosed,
            unit: None,
            what: format!("The port is closed: {problem}"),
            remedy: "In this order: (1) see that the adapter is plugged in and has this name (`ls -l /dev/serial/by-id`); (2) that no other program holds it; (3) that metergate's user may open it (group dialout)".to_owned(),
        }],
    }
}

fn reference(unit: u8, name: Option<&str>) -> MeterRef {
    MeterRef { unit, name: name.map(str::to_owned), bus: None }
}

/// A meter whose numbers fit its state.
pub(crate) fn meter(id: u8, name: Option<&str>, state: MeterState) -> Meter {
    let seen = state != MeterState::NeverSeen;
    let wave = wave(usize::from(id) * 7);
    let hour = (0..60)
        .map(|minute| {
            let is_dead = matches!(state, MeterState::Offline) && minute > 55
                || matches!(state, MeterState::Confirming) && minute % 9 > 5
                || !seen;
            let failures = if is_dead { 20 } else { u64::from(id == 7 && minute % 13 == 0) };
            Minute {
                requests: 20,
                failures,
                answer_time: (!is_dead)
                    .then(|| Duration::from_micros(5_200 + 40 * (minute * u64::from(id) % 17))),
            }
        })
        .collect();
    Meter {
        meter: reference(id, name),
        line_id: if id == 7 { 17 } else { id },
        state,
        power: seen.then(|| f64::from(id) * 3.1 + wave),
        age: match state {
            MeterState::Online => Some(Duration::from_millis(600 + 90 * u64::from(id))),
            MeterState::Offline => Some(Duration::from_secs(250)),
            MeterState::Confirming => Some(Duration::from_secs(12)),
            MeterState::NeverSeen => None,
        },
        answer_time: seen.then(|| Duration::from_micros(5_000 + 130 * u64::from(id))),
        hour,
    }
}

fn split(minute: usize) -> Option<Split> {
    let failures = if minute > 54 { 0.021 } else { 0.002 };
    (minute != 20).then(|| Split { clients: 0.16 + 0.05 * wave(minute), polling: 0.41, failures })
}

/// From -1 to 1.
fn wave(at: usize) -> f64 {
    let at = at as f64;
    ((at / 110.0).sin() + (at / 17.0).sin() * 0.3) / 1.3
}

fn silent(id: u8, what: &str) -> Finding {
    finding(
        id,
        Severity::Fault,
        Kind::Silent,
        what,
        "In this order: (1) the meter's power; (2) its two wires at the terminals; (3) its identifier, baud rate and parity in its own menu: `metergate scan /dev/ttyUSB1` lists who answers",
    )
}

fn finding(id: u8, severity: Severity, kind: Kind, what: &str, remedy: &str) -> Finding {
    Finding { severity, kind, unit: UnitId::new(id), what: what.to_owned(), remedy: remedy.to_owned() }
}

fn listener(address: &str, buses: &[&str], max_age: u64) -> Listener {
    Listener {
        address: address.to_owned(),
        buses: buses.iter().map(|bus| (*bus).to_owned()).collect(),
        max_age: Duration::from_millis(max_age),
        writes: false,
        connections: 3,
        connections_max: 256,
        requests: 1_292_816,
        refused: 2,
    }
}

fn client(address: &str, rate: Option<f64>, requests: u64) -> Client {
    Client {
        address: address.to_owned(),
        listener: "0.0.0.0:502".to_owned(),
        connected_for: Duration::from_secs(93_600),
        idle_for: Some(Duration::from_millis(90)),
        rate,
        requests,
        from_snapshot: Some(0.93),
        answer_time: Some(Duration::from_micros(820)),
        exceptions: vec![],
    }
}

fn exceptions(exception: &str, count: u64) -> ExceptionCount {
    ExceptionCount { exception: exception.to_owned(), count }
}
