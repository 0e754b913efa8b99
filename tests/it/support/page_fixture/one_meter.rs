//! The pages of one meter: answering, silent, and never heard.

use metergate::findings::{Kind, Severity};
use metergate::meter::{Decimal, Group};
use metergate::page::{self, MeterView, Part};
use metergate::status::{
    Alert, Bus, Decoded, DecodedAnswer, DecodedValue, Number, Point, READING_MINUTES, ReadingHistory, Status,
    TransactionRecord, Unit, UnitDetail, UnitState, ValueProblem,
};

use super::{PANEL, finding, narrow, overview, point, silent, unit, wave, with_units};

/// The page of the unit that has its detail.
pub(crate) fn meter_page(status: &Status<'_>, part: Part) -> String {
    let unit = status.units.iter().find(|unit| unit.detail.is_some()).expect("one has");
    page::meter(status, unit, MeterView::default(), part)
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
            point("real_power_total", "Real power, total", 261, Some(13.42), "kW"),
            Point {
                group: Group::Energy,
                value: Some(Number::Decimal(Decimal { digits: 1_842_112, exponent: -1 })),
                is_billed: true,
                ..point("real_energy_total", "Real energy, total", 1, Some(0.0), "kWh")
            },
            point("voltage_ln_avg", "Voltage L-N, average", 271, Some(277.3), "V"),
            point("current_avg", "Current, average", 281, Some(17.91), "A"),
            point("power_factor_total", "Power factor, total", 267, Some(0.901), "ratio"),
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
        ..ReadingHistory::default()
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
                point("real_energy_total", "Real energy, total", 257, Some(184_211.25), "kWh"),
                point("real_energy_a", "Real energy, phase A", 341, Some(61_403.5), "kWh"),
                point("real_energy_b", "Real energy, phase B", 343, Some(61_404.5), "kWh"),
                point("real_energy_c", "Real energy, phase C", 345, Some(61_403.25), "kWh"),
                point("reactive_energy_total", "Reactive energy, total", 311, Some(60_412.5), "kVARh"),
            ],
        ),
        of(
            Group::Power,
            vec![
                point("real_power_total", "Real power, total", 261, Some(13.42), "kW"),
                point("real_power_a", "Real power, phase A", 275, Some(4.412_345), "kW"),
                point("real_power_b", "Real power, phase B", 277, Some(4.51), "kW"),
                Point {
                    problem: Some(ValueProblem::NotAvailable),
                    meaningful: Some(false),
                    age_ms: Some(740),
                    ..point("real_power_c", "Real power, phase C", 279, None, "kW")
                },
                point("reactive_power_total", "Reactive power, total", 263, Some(6.45), "kVAR"),
            ],
        ),
        of(
            Group::PowerFactor,
            vec![point("power_factor_total", "Power factor, total", 267, Some(0.901), "ratio")],
        ),
        of(
            Group::Voltage,
            vec![
                point("voltage_ln_avg", "Voltage L-N, average", 271, Some(277.312_34), "V"),
                point("voltage_an", "Voltage L-N, phase A", 293, Some(276.9), "V"),
                point("voltage_bn", "Voltage L-N, phase B", 295, Some(277.4), "V"),
                point("voltage_cn", "Voltage L-N, phase C", 297, None, "V"),
                point("voltage_ab", "Voltage L-L, A-B", 287, Some(480.1), "V"),
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
        decoded: Decoded {
            unit: Some(3),
            function: "0x03 read holding registers".to_owned(),
            range: Some((257, 52)),
            written: vec![],
            answer: if is_good { answer(index) } else { DecodedAnswer::Nothing },
        },
    }
}

/// What the unit answered: one of them an exception.
fn answer(index: u8) -> DecodedAnswer {
    let value = |name: &str, value: &str| DecodedValue { name: name.to_owned(), value: value.to_owned() };
    if index == 4 {
        return DecodedAnswer::Exception("0x02 illegal data address".to_owned());
    }
    DecodedAnswer::Values(vec![
        value("real_energy_total_f", "184\u{202f}211.2\u{a0}kWh"),
        value("real_power_total_f", "13.420\u{a0}kW"),
        value("307", "17\u{202f}008"),
    ])
}
