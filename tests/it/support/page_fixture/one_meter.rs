//! The pages of one meter: answering, silent, and never heard.

use std::time::Duration;

use metergate::findings::{Kind, Severity};
use metergate::page::{
    Counters, Exchange, HISTORY_MINUTES, Headline, MeterPage, MeterState, Point, PointGroup, PointValue,
    Series,
};

use super::{HOSTILE, finding, gateway, meter, reference, silent, wave};

/// One meter, answering.
pub(crate) fn meter_page() -> MeterPage {
    MeterPage {
        gateway: gateway(),
        bus: "riser-a".to_owned(),
        meter: meter(3, Some("Panel 3, third floor east"), MeterState::Online),
        profile: Some("Leviton Series 4000-R".to_owned()),
        previous: Some(reference(2, Some("Panel 2"))),
        next: Some(reference(4, Some(HOSTILE))),
        headline: vec![
            headline("Real power", Some(13.42), "kW"),
            headline("Voltage, mean L-N", Some(277.3), "V"),
            headline("Current, mean", Some(17.91), "A"),
            headline("Power factor", Some(0.901), ""),
        ],
        findings: vec![finding(
            3,
            Severity::Warning,
            Kind::LowPowerFactor,
            "The power factor of phase B is 0.31",
            "Check that the current sensor of phase B is on the conductor of phase B and points the right way",
        )],
        alerts: Some(vec!["Power factor of phase B is too low".to_owned()]),
        history: vec![
            Series { label: "Real power".to_owned(), unit: "kW".to_owned(), minutes: day(13.0, 7.5) },
            Series { label: "Voltage, mean L-N".to_owned(), unit: "V".to_owned(), minutes: day(277.0, 2.2) },
            Series {
                label: "Current, mean".to_owned(),
                unit: "A".to_owned(),
                minutes: day(17.0, 9.0).split_off(200),
            },
        ],
        counters: Counters {
            requests: 1_048_311,
            timeouts: 214,
            crc_errors: 3,
            late_answers: 1,
            exceptions: 0,
            last_answer: Some(Duration::from_millis(740)),
        },
        groups: groups(),
        transactions: (0..8).map(exchange).collect(),
    }
}

/// The same meter after it fell silent.
pub(crate) fn dead_meter_page() -> MeterPage {
    let mut page = meter_page();
    page.meter = meter(3, Some("Panel 3, third floor east"), MeterState::Offline);
    page.findings = vec![silent(3, "It has not answered for 4 min")];
    let newest = Exchange { number: 90_001, ago: Duration::from_millis(310), ..exchange(2) };
    page.transactions.insert(0, newest);
    page
}

/// A meter without a profile that was never heard.
pub(crate) fn unknown_meter_page() -> MeterPage {
    MeterPage {
        meter: meter(9, None, MeterState::NeverSeen),
        profile: None,
        previous: None,
        next: None,
        headline: vec![headline("Real power", None, "kW")],
        findings: vec![],
        alerts: None,
        history: vec![Series {
            label: "Real power".to_owned(),
            unit: "kW".to_owned(),
            minutes: vec![None; 30],
        }],
        counters: Counters::default(),
        groups: vec![],
        transactions: vec![],
        ..meter_page()
    }
}

/// Twelve hours with a gap.
fn day(level: f64, swing: f64) -> Vec<Option<f64>> {
    let gap = 300..335;
    (0..HISTORY_MINUTES)
        .map(|minute| {
            (!gap.contains(&minute))
                .then(|| level + swing * wave(minute) * 0.9 + 0.1 * swing * wave(minute * 31))
        })
        .collect()
}

fn headline(label: &str, value: Option<f64>, unit: &str) -> Headline {
    Headline { label: label.to_owned(), value, unit: unit.to_owned() }
}

fn groups() -> Vec<PointGroup> {
    let group = |title: &str, points| PointGroup { title: title.to_owned(), points };
    let float = |value| PointValue::Float(value);
    let mut groups = vec![
        group(
            "Energy",
            vec![
                point(
                    "real_energy_total",
                    "Real energy, all phases, since the last clearing",
                    257,
                    float(184_211.25),
                    "kWh",
                ),
                point("reactive_energy_total", "Reactive energy, all phases", 259, float(60_412.5), "kVARh"),
            ],
        ),
        group(
            "Power",
            vec![
                point("real_power_total", "Real power, all phases together", 261, float(13.42), "kW"),
                point(
                    "reactive_power_total",
                    "Reactive power, all phases together",
                    263,
                    float(6.45),
                    "kVAR",
                ),
                point(
                    "real_power_c",
                    "Real power of phase C",
                    281,
                    PointValue::Missing("not for this system type".to_owned()),
                    "kW",
                ),
            ],
        ),
    ];
    groups.extend(more_groups());
    groups
}

fn more_groups() -> [PointGroup; 3] {
    let group = |title: &str, points| PointGroup { title: title.to_owned(), points };
    let float = |value| PointValue::Float(value);
    [
        group(
            "Power factor",
            vec![point("power_factor_total", "Real power over apparent power", 267, float(0.901), "")],
        ),
        group(
            "Voltage",
            vec![
                point("voltage_ln_avg", "Mean of the voltages to neutral", 271, float(277.31), "V"),
                point("voltage_an", "Voltage of phase A to neutral", 295, float(276.9), "V"),
            ],
        ),
        group(
            "Configuration",
            vec![
                Point {
                    age: Some(Duration::from_secs(44)),
                    ..point(
                        "system_type",
                        "Which conductors are connected",
                        130,
                        PointValue::Text("40: three phase, four wires".to_owned()),
                        "",
                    )
                },
                Point {
                    age: None,
                    ..point(
                        "ct_ratio",
                        "Primary current of the sensors",
                        131,
                        PointValue::Missing("not read yet".to_owned()),
                        "A",
                    )
                },
            ],
        ),
    ]
}

fn point(name: &str, description: &str, register: u32, value: PointValue, unit: &str) -> Point {
    Point {
        name: name.to_owned(),
        description: description.to_owned(),
        register,
        value,
        unit: unit.to_owned(),
        age: Some(Duration::from_millis(740)),
    }
}

fn exchange(index: u8) -> Exchange {
    let good = index != 2;
    let received = if good {
        [&[3, 3, 104][..], &[0x41, 0x56, 0xb8, 0x52].repeat(26), &[0x1c, 0x2e]].concat()
    } else {
        vec![]
    };
    Exchange {
        number: 90_000 - u64::from(index),
        ago: Duration::from_millis(740 + 1_020 * u64::from(index)),
        cause: if index.is_multiple_of(3) { "client 10.20.0.7".to_owned() } else { "polling".to_owned() },
        what: "read 52 holding registers from 257".to_owned(),
        outcome: if good { "answered".to_owned() } else { "no answer".to_owned() },
        good,
        took: Some(Duration::from_micros(if good { 68_400 } else { 512_000 })),
        request: vec![3, 3, 1, 0, 0, 0x34, 0x44, 0x03],
        received_total: received.len(),
        received,
    }
}
