//! The pages of one meter: answering, silent, and never heard.

use metergate::findings::{Kind, Severity};
use metergate::meter::Group;
use metergate::page::{self, Part};
use metergate::status::{
    Alert, Bus, Number, Point, Problem, READING_MINUTES, ReadingHistory, Status, TransactionRecord, Unit,
    UnitDetail, UnitState,
};

use super::{PANEL, finding, narrow, overview, point, silent, unit, wave, with_units};

/// The page of the unit that has its detail.
pub(crate) fn meter_page(status: &Status<'_>, part: Part) -> String {
    let unit = status.units.iter().find(|unit| unit.detail.is_some()).expect("one has");
    page::meter(status, unit, part)
}

/// One meter, answering.
pub(crate) fn meter() -> Status<'static> {
    let mut status = overview(false);
    status.units[2] = Unit {
        transactions: 1_048_311,
        timeouts: 214,
        crc_errors: 3,
        late_answers: 1,
        last_answer_ms: Some(740),
        headline: vec![
            point("real_power_total", "Real power", 261, Some(13.42), "kW"),
            point("voltage_ln_avg", "Voltage, mean L-N", 271, Some(277.3), "V"),
            point("current_avg", "Current, mean", 281, Some(17.91), "A"),
            point("power_factor_total", "Power factor", 267, Some(0.901), "ratio"),
        ],
        alerts: vec![Alert {
            point: "alerts".into(),
            alert: "low_pf_b".into(),
            means: "Power factor of phase B is too low".into(),
            age_ms: 740,
        }],
        detail: Some(UnitDetail {
            profile_title: Some("Leviton Series 4000-R".into()),
            points: points(),
            readings: vec![
                reading("Real power", "kW", day(13.0, 7.5)),
                reading("Voltage", "V", day(277.0, 2.2)),
                reading("Current", "A", day(17.0, 9.0).split_off(200)),
            ],
            records: (0..8).map(record).collect(),
            ..UnitDetail::default()
        }),
        ..unit("riser-a", 3, Some(PANEL), UnitState::Online)
    };
    status.findings = vec![finding(
        "riser-a",
        Some((3, Some(PANEL))),
        Severity::Warning,
        Kind::LowPowerFactor,
        "The power factor of phase B is 0.31",
        &["Check that the current sensor of phase B is on the conductor of phase B and points the right way"],
    )];
    status
}

/// The same meter after it fell silent.
pub(crate) fn dead_meter() -> Status<'static> {
    let mut status = meter();
    let answering = std::mem::take(&mut status.units[2]);
    let silent_now = unit("riser-a", 3, Some(PANEL), UnitState::Offline);
    status.units[2] =
        Unit { state: silent_now.state, age_ms: silent_now.age_ms, hour: silent_now.hour, ..answering };
    status.findings = vec![silent("riser-a", 3, Some(PANEL), "It has not answered for 4 min")];
    let newest = TransactionRecord { number: 90_001, begun_ms: 310, ..record(2) };
    status.units[2].detail.as_mut().expect("as above").records.insert(0, newest);
    status
}

/// A meter without a profile that was never heard.
pub(crate) fn unknown_meter() -> Status<'static> {
    let unit = Unit {
        headline: vec![point("real_power_total", "Real power", 261, None, "kW")],
        detail: Some(UnitDetail {
            readings: vec![reading("Real power", "kW", vec![None; 30])],
            ..UnitDetail::default()
        }),
        ..unit("riser-a", 9, None, UnitState::NeverSeen)
    };
    with_units(vec![Bus { bus: "riser-a".into(), ..Bus::default() }], vec![unit])
}

/// Twelve hours with a gap.
fn day(level: f64, swing: f64) -> Vec<Option<f32>> {
    let gap = 300..335;
    let mean = |minute| level + swing * wave(minute) * 0.9 + 0.1 * swing * wave(minute * 31);
    (0..READING_MINUTES).map(|minute| (!gap.contains(&minute)).then(|| narrow(mean(minute)))).collect()
}

fn reading(
    description: &'static str,
    unit: &'static str,
    means: Vec<Option<f32>>,
) -> ReadingHistory<'static> {
    ReadingHistory {
        quantity: description.into(),
        unit: Some(unit.into()),
        means,
        description: description.into(),
    }
}

fn points() -> Vec<Point<'static>> {
    let of = |group, points: Vec<Point<'static>>| {
        points.into_iter().map(move |point| Point { group, ..point }).collect::<Vec<_>>()
    };
    [
        of(
            Group::Energy,
            vec![
                point(
                    "real_energy_total",
                    "Real energy, all phases, since the last clearing",
                    257,
                    Some(184_211.25),
                    "kWh",
                ),
                point("reactive_energy_total", "Reactive energy, all phases", 259, Some(60_412.5), "kVARh"),
            ],
        ),
        of(
            Group::Power,
            vec![
                point("real_power_total", "Real power, all phases together", 261, Some(13.42), "kW"),
                point("reactive_power_total", "Reactive power, all phases together", 263, Some(6.45), "kVAR"),
                Point {
                    problem: Some(Problem::NotAvailable),
                    meaningful: Some(false),
                    age_ms: Some(740),
                    ..point("real_power_c", "Real power of phase C", 281, None, "kW")
                },
            ],
        ),
        of(
            Group::PowerFactor,
            vec![point("power_factor_total", "Real power over apparent power", 267, Some(0.901), "ratio")],
        ),
        of(
            Group::Voltage,
            vec![
                point("voltage_ln_avg", "Mean of the voltages to neutral", 271, Some(277.31), "V"),
                point("voltage_an", "Voltage of phase A to neutral", 295, Some(276.9), "V"),
            ],
        ),
        of(
            Group::Configuration,
            vec![
                Point {
                    value: Some(Number::Code(40)),
                    text: Some("three phase, four wires".into()),
                    unit: None,
                    age_ms: Some(44_000),
                    ..point("system_type", "Which conductors are connected", 130, Some(0.0), "")
                },
                point("ct_ratio", "Primary current of the sensors", 131, None, "A"),
            ],
        ),
        of(
            Group::Diagnostics,
            vec![Point {
                value: Some(Number::Code(0)),
                text: Some("".into()),
                unit: None,
                is_alert: true,
                ..point("alerts", "What the meter warns of", 146, Some(0.0), "")
            }],
        ),
    ]
    .concat()
}

fn record(index: u8) -> TransactionRecord {
    let is_good = index != 2;
    let received = if is_good {
        [&[3, 3, 104][..], &[0x41, 0x56, 0xb8, 0x52].repeat(26), &[0x1c, 0x2e]].concat()
    } else {
        vec![]
    };
    TransactionRecord {
        number: 90_000 - u64::from(index),
        begun_ms: 740 + 1_020 * u64::from(index),
        cause: if index.is_multiple_of(3) { "client 10.20.0.7".to_owned() } else { "polling".to_owned() },
        what: "read 52 holding registers from 257".to_owned(),
        outcome: if is_good { "answered".to_owned() } else { "no answer".to_owned() },
        is_good,
        took_ms: Some(if is_good { 68.4 } else { 512.0 }),
        request: vec![3, 3, 1, 0, 0, 0x34, 0x44, 0x03],
        received_total: received.len(),
        received,
    }
}
