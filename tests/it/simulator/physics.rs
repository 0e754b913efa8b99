//! What a simulated meter shows, decoded by the tool's own profile, is what flows through its service.

use std::time::{Duration, Instant};

use metergate::meter::{Format, Group, Point, Profile, Sample, Scale, Valid, Value, Version};
use metergate::modbus::pdu::ReadRange;
use metergate::simulator::{Fault, FaultKind, Meter, MeterSettings, Phase, Shape, SystemType};
use proptest::prelude::*;

fn after(start: Instant, seconds: u64) -> Instant {
    start + Duration::from_secs(seconds)
}

fn profile() -> &'static Profile {
    Profile::builtin("leviton-4000r").unwrap()
}

/// Every block of the profile, read at one instant.
struct Reads(Vec<(ReadRange, Vec<u8>)>, Instant);

impl Reads {
    fn new(meter: &mut Meter, now: Instant) -> Self {
        let read = |range: ReadRange| {
            let mut pdu = vec![range.function.0];
            pdu.extend(range.start.to_be_bytes());
            pdu.extend(range.quantity.to_be_bytes());
            (range, meter.answer(&pdu, now).to_vec())
        };
        Self(profile().blocks.iter().map(|block| block.range).map(read).collect(), now)
    }

    fn value(&self, name: &str) -> Value<'static> {
        let samples: Vec<_> =
            self.0.iter().map(|(range, reply)| Sample::new(*range, reply, self.1).unwrap()).collect();
        let point = profile().point(name).unwrap();
        let reading = profile().decode(point, &samples).unwrap();
        assert!(reading.in_range, "{name}: {:?}", reading.value);
        reading.value
    }

    fn number(&self, name: &str) -> f64 {
        let value = self.value(name);
        match value {
            Value::Bits { bits, .. } => f64::from(bits),
            Value::Version(Version { major, minor }) => f64::from(major * 1000 + minor),
            Value::Number(_)
            | Value::Float(_)
            | Value::Double(_)
            | Value::Text(_)
            | Value::Code { .. }
            | Value::NotAvailable
            | Value::NotANumber { .. }
            | Value::Unscaled { .. } => value.number().unwrap_or_else(|| panic!("{name}: {value:?}")),
        }
    }

    /// What one step of a point is worth.
    fn step(&self, point: &Point) -> f64 {
        match &point.scale {
            None => 1.0,
            Some(Scale::Factor(step)) => step.to_f64(),
            Some(Scale::Exponent(name)) => 10_f64.powf(self.number(name)),
            Some(Scale::Ratio(ratio)) => ratio.factor.to_f64(),
        }
    }

    /// How far the point may be from what it shows.
    fn tolerance(&self, point: &Point, physical: f64) -> f64 {
        let rounded = match (point.format, point.group) {
            (Format::F32, _) => physical.abs() * f64::from(f32::EPSILON),
            (_, Group::Energy | Group::Pulses) => self.step(point),
            (_, _) => self.step(point) * 0.5,
        };
        rounded * (1.0 + 1e-9) + physical.abs() * 1e-9
    }
}

/// Points that nothing is behind.
fn is_reserved(point: &Point) -> bool {
    point.group == Group::Reserved
}

fn settings() -> impl Strategy<Value = MeterSettings> {
    let types = proptest::sample::select(SystemType::ALL);
    let shapes =
        proptest::sample::select(&[Shape::Breathing, Shape::Steady, Shape::Daily, Shape::Switching][..]);
    // A load peaks at half as much again; an integer register that is full beyond 1.2 times the rating shows no more.
    let amperes = proptest::option::of(0.02_f64..0.6);
    (types, shapes, 1_u8..=247, 20_u16..=5000, 100_u16..=600, amperes, proptest::option::of(0.5_f64..=1.0))
        .prop_map(|(system_type, shape, unit, rating, volts, amperes, power_factor)| MeterSettings {
            system_type,
            shape,
            sensor_rating: Some(rating),
            system_voltage: Some(volts),
            amperes: amperes.map(|share| share * f64::from(rating)),
            power_factor,
            ..MeterSettings::usual(unit)
        })
}

fn meter(settings: &MeterSettings, seed: u64) -> (Meter, Instant) {
    let start = Instant::now();
    (Meter::new(settings, &[], seed, start), start)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn every_point_decoded_by_the_tool_gives_the_physical_value(
        settings in settings(), seed in any::<u64>(), seconds in 0_u64..100_000,
    ) {
        let (mut meter, start) = meter(&settings, seed);
        let now = after(start, seconds);
        let reads = Reads::new(&mut meter, now);
        let code = settings.system_type.code();
        let mut numbers = 0;
        for point in profile().points.iter().filter(|point| !is_reserved(point)) {
            let physical = meter.physical(&point.name, now);
            if profile().valid(point, code) == Valid::No {
                prop_assert_eq!(physical, None, "{}", point.name);
                prop_assert_eq!(reads.value(&point.name), Value::NotAvailable, "{}", point.name);
                continue;
            }
            let physical = physical.unwrap_or_else(|| panic!("{} has a value", point.name));
            let shown = reads.number(&point.name);
            let tolerance = reads.tolerance(point, physical);
            prop_assert!((shown - physical).abs() <= tolerance, "{}: {shown} for {physical}", point.name);
            numbers += 1;
        }
        prop_assert!(numbers >= 70, "{numbers}");
    }

    #[test]
    fn powers_currents_and_voltages_agree_and_phases_add_up(
        settings in settings(), seed in any::<u64>(), seconds in 0_u64..100_000, fault in 0_usize..7,
    ) {
        let faults: Vec<Fault> = faults().into_iter().skip(fault).take(1).collect();
        let start = Instant::now();
        let mut meter = Meter::new(&settings, &faults, seed, start);
        let now = after(start, seconds);
        let mut of = |name: &str| meter.physical(name, now).unwrap_or(0.0);
        let close = |one: f64, other: f64| (one - other).abs() <= 1e-9 * (1.0 + one.abs());
        for part in ["real", "reactive"] {
            let phases: f64 = ["a", "b", "c"].map(|phase| of(&format!("{part}_power_{phase}"))).iter().sum();
            let total = of(&format!("{part}_power_total"));
            prop_assert!(close(phases, total), "{part}: {phases} {total}");
        }
        let wiring = settings.system_type;
        for phase in ["total", "a", "b", "c"] {
            let [kw, kvar, kva] =
                ["real", "reactive", "apparent"].map(|part| of(&format!("{part}_power_{phase}")));
            prop_assert!(close(kva * kva, kw * kw + kvar * kvar), "{phase}: {kw} {kvar} {kva}");
            if kva > 0.0 {
                let factor = of(&format!("power_factor_{phase}"));
                prop_assert!(close(factor, kw / kva));
            }
            if wiring.has_neutral() && phase != "total" {
                let product = of(&format!("voltage_{phase}n")) * of(&format!("current_{phase}")) / 1000.0;
                prop_assert!(close(kva, product), "{phase}: {kva} {product}");
            }
        }
        if wiring == SystemType::SinglePhaseAB {
            let product = of("voltage_ab") * of("current_a") / 1000.0;
            prop_assert!(close(of("apparent_power_a"), product));
        }
        let volts = f64::from(settings.system_voltage.unwrap());
        if wiring == SystemType::Delta && faults.is_empty() {
            // Three equal currents in a service whose voltages differ by less than a hundredth.
            let expected = 3_f64.sqrt() * volts * of("current_avg") / 1000.0;
            prop_assert!((of("apparent_power_total") / expected - 1.0).abs() < 0.02);
        }
    }

}

proptest! {
    // Each case asks for every second of an hour.
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn energy_is_the_integral_of_power_within_a_thousandth_over_an_hour(
        settings in settings(), seed in any::<u64>(), begin in 0_u64..50_000, fault in 0_usize..7,
    ) {
        let begins = Duration::from_secs(begin + 1000);
        let faults: Vec<Fault> =
            faults().into_iter().skip(fault).take(1).map(|one| Fault { at: begins, ..one }).collect();
        let start = Instant::now();
        let mut meter = Meter::new(&settings, &faults, seed, start);
        let names = [
            ("real_power_total", "real_energy_total_f"), ("reactive_power_total", "reactive_energy_total_f"),
            ("apparent_power_total", "apparent_energy_total_f"), ("real_power_a", "real_energy_a_f"),
        ];
        let mut of = |name: &str, at| meter.physical(name, after(start, at)).unwrap_or(0.0);
        let before = names.map(|(_, energy)| of(energy, begin));
        let mut sums = [0.0; 4];
        for second in begin..begin + 3600 {
            for ((power, _), sum) in names.iter().zip(&mut sums) {
                *sum += of(power, second) / 3600.0;
            }
        }
        for (((_, energy), before), sum) in names.iter().zip(before).zip(sums) {
            let counted = of(energy, begin + 3600) - before;
            prop_assert!((counted - sum).abs() <= sum * 0.001 + 1e-6, "{energy}: {counted} for {sum}");
        }
    }
}

/// One fault of each kind that changes what is measured.
fn faults() -> Vec<Fault> {
    let kinds = [Phase::A, Phase::B, Phase::C]
        .into_iter()
        .flat_map(|phase| [FaultKind::ReversedCt(phase), FaultKind::PhaseLoss(phase)]);
    kinds.map(|kind| Fault { at: Duration::from_secs(500), lasts: None, meters: vec![0], kind }).collect()
}

#[test]
fn every_point_of_the_profile_is_simulated() {
    for system_type in SystemType::ALL {
        let settings = MeterSettings { system_type: *system_type, ..MeterSettings::usual(1) };
        let (mut meter, now) = meter(&settings, 1);
        for point in profile().points.iter().filter(|point| !is_reserved(point)) {
            let valid = profile().valid(point, system_type.code()) != Valid::No;
            assert_eq!(meter.physical(&point.name, now).is_some(), valid, "{}", point.name);
        }
    }
}

#[test]
fn the_system_types_have_the_voltages_of_their_wiring() {
    let volts = |system_type, name: &str| {
        let settings = MeterSettings { system_type, system_voltage: Some(400), ..MeterSettings::usual(1) };
        let (mut meter, now) = meter(&settings, 1);
        meter.physical(name, now)
    };
    let about = |found: Option<f64>, expected: f64| {
        assert!((found.unwrap() / expected - 1.0).abs() < 0.02, "{found:?} for {expected}");
    };
    about(volts(SystemType::SinglePhase, "voltage_an"), 400.0);
    about(volts(SystemType::SinglePhaseAB, "voltage_ab"), 400.0);
    about(volts(SystemType::SplitPhase, "voltage_ab"), 400.0);
    about(volts(SystemType::SplitPhase, "voltage_bn"), 200.0);
    about(volts(SystemType::Delta, "voltage_bc"), 400.0);
    about(volts(SystemType::Delta, "voltage_ll_avg"), 400.0);
    about(volts(SystemType::Wye, "voltage_ac"), 400.0);
    about(volts(SystemType::Wye, "voltage_cn"), 231.0);
    about(volts(SystemType::Wye, "voltage_ln_avg"), 231.0);
    assert_eq!(volts(SystemType::SinglePhase, "voltage_ab"), None);
    assert_eq!(volts(SystemType::Delta, "voltage_an"), None);
}

#[test]
fn amperes_and_power_factor_that_are_given_are_what_flows() {
    for system_type in SystemType::ALL {
        let settings = MeterSettings {
            system_type: *system_type,
            shape: Shape::Steady,
            sensor_rating: Some(200),
            amperes: Some(80.0),
            power_factor: Some(0.9),
            ..MeterSettings::usual(1)
        };
        let (mut meter, start) = meter(&settings, 1);
        for second in [0, 100, 5000] {
            let mut of = |name: &str| meter.physical(name, after(start, second)).unwrap();
            let (amperes, factor) = (of("current_avg"), of("power_factor_total"));
            assert!((amperes / 80.0 - 1.0).abs() < 0.01, "{system_type:?}: {amperes} A");
            assert!((factor - 0.9).abs() < 0.005, "{system_type:?}: {factor}");
        }
    }
}
