//! Findings from the registers of meters, rule by rule.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use metergate::findings::Kind;
use metergate::line::{Block, Snapshot, UnitView};
use metergate::meter::{Format, Group, Point, Profile};
use metergate::modbus::pdu::{FunctionCode, ReadRange};

use crate::support::findings_case::{Case, SECOND, healthy, open};

/// A block of the 4000-R with `values` at printed register numbers, zero elsewhere.
fn block(first: u16, quantity: u16, values: &[(u16, u16)], begun: Instant) -> Block {
    let range = ReadRange { function: FunctionCode::READ_HOLDING_REGISTERS, start: first - 1, quantity };
    let mut pdu = vec![3, u8::try_from(quantity * 2).unwrap()];
    for register in first..first + quantity {
        let value = values.iter().find(|(at, _)| *at == register).map_or(0, |(_, value)| *value);
        pdu.extend(value.to_be_bytes());
    }
    Block::new(range, Bytes::from(pdu), begun, 1)
}

fn meter(alerts: u16, integers: &[(u16, u16)]) -> Case {
    meter_read(SECOND, alerts, integers)
}

fn meter_read(ago: Duration, alerts: u16, integers: &[(u16, u16)]) -> Case {
    let mut case = Case::new(|at| {
        let snapshot = Snapshot::default()
            .with(block(129, 26, &[(146, alerts)], at - ago.max(30 * SECOND)))
            .with(block(1, 52, integers, at - ago));
        open(vec![UnitView { snapshot: Arc::new(snapshot), ..healthy(3, at) }])
    });
    case.profile = Some(Profile::builtin("leviton-4000r").unwrap());
    case
}

/// Power factors of 1 of all phases and 10 kVA behind each.
const GOOD: [(u16, u16); 7] = [(6, 9990), (13, 9990), (14, 9990), (15, 9990), (31, 10), (32, 10), (33, 10)];

#[test]
fn alerts_of_the_meter_are_reported_in_words_with_a_remedy() {
    let case = meter(1 << 9 | 1 << 15, &GOOD);
    let findings = case.findings();
    assert_eq!(case.kinds(), [(Some(3), Kind::Alert)], "one lost phase sets three flags");
    let what = "The meter reports: Phase B lost; A pulse is too small for full-scale power: raise 144 (read 30 s ago)";
    assert_eq!(findings[0].what, what);
    let steps = &findings[0].remedy.steps;
    assert!(steps[0].contains("fuse") && steps[1].contains("144"), "{steps:?}");
}

#[test]
fn a_low_power_factor_is_a_suspicion_where_power_flows() {
    let mut low = GOOD.to_vec();
    low[2].1 = 2300;
    let case = meter(0, &low);
    assert_eq!(case.kinds(), [(Some(3), Kind::LowPowerFactor)]);
    assert_eq!(
        case.findings()[0].what,
        "Power factor, phase B: 0.23; suspected: a current sensor reversed or on the wrong phase"
    );
    low[5].1 = 0;
    assert_eq!(meter(0, &low).kinds(), [], "no load, no suspicion");
}

#[test]
fn what_the_meter_reports_itself_is_not_reported_twice() {
    let mut low = GOOD.to_vec();
    low[2].1 = 2300;
    assert_eq!(meter(1 << 12, &low).kinds(), [(Some(3), Kind::Alert)]);
}

#[test]
fn a_power_factor_read_long_ago_is_no_suspicion_of_now() {
    let mut low = GOOD.to_vec();
    low[2].1 = 2300;
    assert_eq!(meter_read(120 * SECOND, 0, &low).kinds(), [(Some(3), Kind::LowPowerFactor)]);
    assert_eq!(meter_read(121 * SECOND, 0, &low).kinds(), []);
}

/// The built-in profile with the power factor of phase A changed as said.
fn changed(change: impl FnOnce(&mut Point)) -> &'static Profile {
    let mut profile = Profile::builtin("leviton-4000r").unwrap().clone();
    change(profile.points.iter_mut().find(|point| point.name == "power_factor_a").unwrap());
    Box::leak(Box::new(profile))
}

#[test]
fn a_power_factor_is_judged_without_its_sign_and_as_a_ratio() {
    let kinds = |profile, factor| {
        let mut integers = GOOD.to_vec();
        integers[1].1 = factor;
        let mut case = meter(0, &integers);
        case.profile = Some(profile);
        case.kinds()
    };
    let low = [(Some(3), Kind::LowPowerFactor)];
    let signed = changed(|point| point.format = Format::I16);
    assert_eq!(kinds(signed, 0_u16.wrapping_sub(9990)), [], "-0.999");
    assert_eq!(kinds(signed, 0_u16.wrapping_sub(2300)), low, "-0.23");
    let percent = changed(|point| {
        point.unit = Some("%");
        point.scale = None;
    });
    assert_eq!(kinds(percent, 23), low);
    assert_eq!(kinds(percent, 99), []);
}

#[test]
fn flags_that_are_no_diagnostics_are_no_alerts() {
    let mut case = meter(1 << 9, &GOOD);
    let mut profile = Profile::builtin("leviton-4000r").unwrap().clone();
    let alerts = profile.points.iter_mut().filter(|point| point.format == Format::Bits);
    alerts.for_each(|point| point.group = Group::Configuration);
    assert_eq!(case.kinds(), [(Some(3), Kind::Alert)]);
    case.profile = Some(Box::leak(Box::new(profile)));
    assert_eq!(case.kinds(), []);
}
