//! What a simulated meter keeps, counts and alerts of: demand, alerts, commands, and a loss of power.

use std::time::{Duration, Instant};

use metergate::meter::{Group, Profile};
use metergate::simulator::{Fault, FaultKind, Meter, MeterSettings, Phase, START, Shape, SystemType};

/// A meter and the instant it began.
struct Bench(Meter, Instant);

impl Bench {
    fn new(settings: &MeterSettings, faults: &[Fault]) -> Self {
        let start = Instant::now();
        Self(Meter::new(settings, faults, 1, start), start)
    }

    fn usual() -> Self {
        Self::new(&MeterSettings::usual(1), &[])
    }

    fn value(&mut self, name: &str, second: u64) -> f64 {
        self.0.physical(name, self.at(second)).unwrap_or_else(|| panic!("{name} has a value"))
    }

    /// Writes one register; the exception, if it is refused.
    fn write(&mut self, name: &str, value: u16, second: u64) -> Result<(), u8> {
        let start = Profile::builtin("leviton-4000r").unwrap().point(name).unwrap().range.start;
        let request = [&[6], &start.to_be_bytes()[..], &value.to_be_bytes()].concat();
        let reply = self.0.answer(&request, self.at(second));
        if reply[0] == 0x86 { Err(reply[1]) } else { Ok(()) }
    }

    /// A register as it is read.
    fn word(&mut self, printed: u16, second: u64) -> u16 {
        let request = [&[3], &(printed - 1).to_be_bytes()[..], &[0, 1]].concat();
        let reply = self.0.answer(&request, self.at(second));
        assert_eq!(reply[..2], [3, 2]);
        u16::from_be_bytes([reply[2], reply[3]])
    }

    fn at(&self, second: u64) -> Instant {
        self.1 + Duration::from_secs(second)
    }

    /// The bits of register 146.
    fn alerts(&mut self, second: u64) -> u16 {
        self.word(146, second)
    }
}

fn steady(system_type: SystemType) -> MeterSettings {
    MeterSettings {
        system_type,
        shape: Shape::Steady,
        sensor_rating: Some(400),
        amperes: Some(120.0),
        power_factor: Some(0.9),
        ..MeterSettings::usual(1)
    }
}

/// A fault from second 100 to second 200.
fn fault(kind: FaultKind) -> [Fault; 1] {
    let (at, lasts) = (Duration::from_secs(100), Some(Duration::from_secs(100)));
    [Fault { at, lasts, meters: vec![0], kind }]
}

fn bit(number: u16) -> u16 {
    1 << number
}

mod demand {
    use super::*;

    /// Mean real power between two seconds, from what was shown in each.
    fn mean(bench: &mut Bench, from: u64, to: u64) -> f64 {
        let sum: f64 = (from..to).map(|second| bench.value("real_power_total", second)).sum();
        sum / (to - from) as f64
    }

    fn close(one: f64, other: f64) {
        assert!((one / other - 1.0).abs() < 0.01, "{one} {other}");
    }

    #[test]
    fn a_block_demand_is_the_mean_of_the_interval_in_progress_and_begins_anew_with_the_next() {
        let mut bench = Bench::usual();
        bench.write("demand_subinterval_s", 60, 0).unwrap();
        let expected = mean(&mut Bench::usual(), 120, 165);
        close(bench.value("real_power_demand", 165), expected);
        let first_of_next = bench.value("real_power_total", 180);
        close(bench.value("real_power_demand", 180), first_of_next);
    }

    #[test]
    fn a_rolling_demand_reaches_back_over_its_sub_intervals() {
        let mut bench = Bench::usual();
        bench.write("demand_subinterval_s", 60, 0).unwrap();
        bench.write("demand_subintervals", 3, 0).unwrap();
        let expected = mean(&mut Bench::usual(), 480, 630);
        close(bench.value("real_power_demand", 630), expected);
    }

    #[test]
    fn a_peak_is_the_highest_demand_of_whole_intervals() {
        let mut bench = Bench::usual();
        bench.write("demand_subinterval_s", 100, 0).unwrap();
        let mut witness = Bench::usual();
        let highest = (0..10).map(|n| mean(&mut witness, n * 100, n * 100 + 100)).fold(0.0, f64::max);
        close(bench.value("real_power_demand_max", 1000), highest);
        let mut rolling = Bench::usual();
        rolling.write("demand_subintervals", 6, 0).unwrap();
        rolling.write("demand_subinterval_s", 100, 0).unwrap();
        assert!(rolling.value("real_power_demand_max", 599) < 1e-9, "no interval of six is complete");
        close(rolling.value("real_power_demand_max", 600), mean(&mut witness, 0, 600));
    }

    #[test]
    fn a_command_in_the_second_an_interval_ends_by_itself_makes_no_peak_of_a_moment() {
        let mut bench = Bench::usual();
        bench.write("demand_subinterval_s", 60, 0).unwrap();
        bench.write("command", 21211, 59).unwrap();
        let mean = mean(&mut Bench::usual(), 0, 60);
        close(bench.value("real_power_demand_max", 60), mean);
        let moment = bench.value("real_power_total", 60);
        assert!((moment / mean - 1.0).abs() > 0.02, "they can be told apart: {moment} {mean}");
    }

    #[test]
    fn without_a_length_only_the_command_ends_an_interval_at_the_end_of_the_cycle() {
        let mut bench = Bench::usual();
        bench.write("demand_subinterval_s", 0, 0).unwrap();
        bench.write("demand_subintervals", 4, 0).unwrap();
        assert!(bench.value("real_power_demand_max", 5000) < 1e-9);
        bench.write("command", 21211, 5000).unwrap();
        assert!(bench.value("real_power_demand_max", 5000) < 1e-9, "not before the cycle ends");
        let expected = mean(&mut Bench::usual(), 0, 5001);
        close(bench.value("real_power_demand_max", 5001), expected);
        let now = bench.value("real_power_total", 5001);
        close(bench.value("real_power_demand", 5001), now);
    }
}

mod commands {
    use super::*;

    #[test]
    fn the_demand_commands_are_taken_once_in_ten_seconds_and_the_clearing_ones_always() {
        for (code, refused) in [(21211, true), (21212, true), (30078, false), (16498, false)] {
            let mut bench = Bench::usual();
            assert_eq!(bench.write("command", code, 100), Ok(()));
            let again = if refused { Err(3) } else { Ok(()) };
            assert_eq!(bench.write("command", code, 109), again, "{code}");
            assert_eq!(bench.write("command", code, 110), Ok(()), "{code}");
        }
    }

    #[test]
    fn the_two_demand_commands_do_not_hinder_each_other() {
        let mut bench = Bench::usual();
        assert_eq!(bench.write("command", 21211, 100), Ok(()));
        assert_eq!(bench.write("command", 21212, 100), Ok(()));
        let peak = bench.value("real_power_demand_max", 101);
        let present = bench.value("real_power_demand", 101);
        assert!((peak / present - 1.0).abs() < 1e-9, "both were done: {peak} {present}");
    }

    #[test]
    fn a_command_there_is_none_of_is_refused_with_03() {
        let mut bench = Bench::usual();
        for code in [0, 1, 16640, 0xFFFF] {
            assert_eq!(bench.write("command", code, 1), Err(3), "{code}");
        }
    }

    #[test]
    fn a_pulse_the_contact_cannot_follow_is_refused_with_03_also_where_it_is_what_holds() {
        let large = MeterSettings { sensor_rating: Some(5000), ..MeterSettings::usual(1) };
        let mut bench = Bench::new(&large, &[]);
        assert_eq!(bench.write("pulse_energy", 10, 1), Err(3));
        assert_eq!(bench.write("pulse_energy", 10000, 1), Ok(()));
        let small = MeterSettings { sensor_rating: Some(20), ..MeterSettings::usual(1) };
        let mut bench = Bench::new(&small, &[]);
        assert_eq!(bench.write("pulse_energy", 10, 1), Ok(()));
        assert_eq!(bench.alerts(1) & bit(15), 0);
        assert_eq!(bench.write("ct_primary", 5000, 2), Ok(()), "the pulses are not checked here");
        assert_ne!(bench.alerts(2) & bit(15), 0, "too small for full scale");
        assert_eq!(bench.write("pulse_energy", 10, 3), Err(3));
    }

    #[test]
    fn register_151_takes_what_its_range_allows_and_keeps_nothing() {
        let mut bench = Bench::usual();
        assert_eq!(bench.write("reserved_151", 0, 1), Err(3));
        assert_eq!(bench.write("reserved_151", 7, 1), Ok(()));
        assert!(bench.value("reserved_151", 1) < 1e-9);
    }
}

mod alerts {
    use super::*;

    #[test]
    fn a_meter_with_nothing_wrong_has_no_alert() {
        for system_type in SystemType::ALL {
            let settings = MeterSettings { system_type: *system_type, ..MeterSettings::usual(1) };
            assert_eq!(Bench::new(&settings, &[]).alerts(10), 0, "{system_type:?}");
        }
    }

    #[test]
    fn a_lost_phase_sets_its_bit_in_every_system_type_and_loses_its_power() {
        use SystemType::{Delta, SinglePhase, SinglePhaseAB, SplitPhase, Wye};
        let (a, b, c) = (bit(8), bit(9), bit(10));
        for (system_type, phase, lost, rest) in [
            (SinglePhase, Phase::A, a, 0.0),
            (SinglePhaseAB, Phase::B, a | b, 0.0),
            (SplitPhase, Phase::B, b, 1.0 / 2.0),
            // Between A and B alone half the power flows: the middle of both is all that is left of the third.
            (Delta, Phase::C, c, 1.0 / 2.0),
            (Wye, Phase::A, a, 2.0 / 3.0),
            (Wye, Phase::C, c, 2.0 / 3.0),
        ] {
            let mut bench = Bench::new(&steady(system_type), &fault(FaultKind::PhaseLoss(phase)));
            let whole = bench.value("real_power_total", 99);
            assert_eq!(bench.alerts(99), 0, "{system_type:?}");
            let during = bench.alerts(100) & (a | b | c);
            assert_eq!(during, lost, "{system_type:?} {phase:?}: {during:016b}");
            let share = bench.value("real_power_total", 150) / whole;
            assert!((share - rest).abs() < 0.02, "{system_type:?} {phase:?}: {share}");
            assert_eq!(bench.alerts(200), 0, "{system_type:?}");
        }
    }

    #[test]
    fn a_reversed_sensor_takes_its_phase_out_of_the_total_and_shows_as_a_low_power_factor() {
        for (phase, letter, number) in [(Phase::A, "a", 11), (Phase::B, "b", 12), (Phase::C, "c", 13)] {
            let mut bench = Bench::new(&steady(SystemType::Wye), &fault(FaultKind::ReversedCt(phase)));
            let whole = bench.value("real_power_total", 99);
            let share = bench.value("real_power_total", 100) / whole;
            assert!((share - 2.0 / 3.0).abs() < 0.01, "{share}");
            assert!(bench.value(&format!("power_factor_{letter}"), 100) < 0.5);
            assert!(bench.value(&format!("current_{letter}"), 100) > 100.0, "it still flows");
            assert_eq!(bench.alerts(100), bit(number));
            assert_eq!(bench.alerts(200), 0);
        }
    }

    #[test]
    fn without_phase_a_no_frequency_can_be_told() {
        let mut bench = Bench::new(&steady(SystemType::Wye), &fault(FaultKind::PhaseLoss(Phase::A)));
        assert!((bench.value("frequency", 99) - 60.0).abs() < 0.1);
        assert_eq!(bench.0.physical("frequency", bench.at(100)), None);
        assert_ne!(bench.alerts(100) & bit(6), 0);
        assert_ne!(bench.alerts(100) & bit(0), 0, "voltage A out of range");
    }

    #[test]
    fn a_current_beyond_the_sensor_sets_its_bit_and_stays_at_the_end_of_its_register() {
        let over = MeterSettings { sensor_rating: Some(100), ..steady(SystemType::Wye) };
        let bench = |amperes| Bench::new(&MeterSettings { amperes: Some(amperes), ..over.clone() }, &[]);
        assert_eq!(bench(119.0).alerts(1), 0);
        let mut over = bench(400.0);
        assert_eq!(over.alerts(1) & 0b11_1000, 0b11_1000);
        assert_eq!((over.word(22, 1), over.word(138, 1)), (32767, 0xFFFE), "400 A in steps of 0.01 A");
    }

    #[test]
    fn a_threshold_that_is_written_is_the_one_that_counts() {
        let mut bench = Bench::usual();
        bench.write("system_voltage", 520, 1).unwrap();
        assert_eq!(bench.alerts(1), 0, "480 V are 8 % below 520 V");
        bench.write("phase_loss_threshold", 5, 1).unwrap();
        assert_eq!(bench.alerts(1), bit(8) | bit(9) | bit(10));
    }
}

mod power_cycle {
    use super::*;

    fn cycled() -> Bench {
        let (at, lasts) = (Duration::from_millis(1_000_500), Some(Duration::from_secs(60)));
        let fault = Fault { at, lasts, meters: vec![0], kind: FaultKind::PowerCycle };
        Bench::new(&MeterSettings::usual(1), &[fault])
    }

    #[test]
    fn a_meter_without_power_is_silent_until_it_has_started() {
        let bench = cycled();
        let off = bench.1 + Duration::from_millis(1_000_500);
        let on = off + Duration::from_secs(60) + START;
        let moment = Duration::from_millis(1);
        assert!(bench.0.is_up(off - moment) && !bench.0.is_up(off));
        assert!(!bench.0.is_up(on - moment) && bench.0.is_up(on));
    }

    #[test]
    fn what_the_profile_calls_non_volatile_survives_and_the_rest_begins_anew() {
        let profile = Profile::builtin("leviton-4000r").unwrap();
        let mut bench = cycled();
        bench.write("demand_subinterval_s", 100, 0).unwrap();
        bench.write("phase_loss_threshold", 33, 0).unwrap();
        let before = |bench: &mut Bench, name: &str| bench.value(name, 1000);
        let points: Vec<_> = profile
            .points
            .iter()
            .filter(|point| matches!(point.group, Group::Energy | Group::Pulses | Group::Configuration))
            .chain(profile.points.iter().filter(|point| point.name.contains("_demand_max")))
            .collect();
        let kept: Vec<f64> = points.iter().map(|point| before(&mut bench, &point.name)).collect();
        for (point, kept) in points.iter().zip(kept) {
            let now = bench.value(&point.name, 1064);
            if point.non_volatile {
                // Its last second still counted, none after it did.
                let second = bench.value("apparent_power_total", 1064) / 3600.0;
                let most = if point.group == Group::Energy { 2.0 * second } else { kept * 1e-12 };
                assert!((0.0..=most).contains(&(now - kept)), "{}: {now} was {kept}", point.name);
            } else if point.group == Group::Pulses {
                assert!(kept > 0.0 && now < 1.0, "{}: {now} was {kept}", point.name);
            }
        }
        assert!(bench.value("real_energy_total", 1070) > bench.value("real_energy_total", 1064));
    }

    #[test]
    fn each_start_is_counted_and_the_demand_interval_begins_with_it() {
        let mut bench = cycled();
        assert!((bench.value("power_up_count", 999) - 1.0).abs() < 1e-9);
        assert!((bench.value("power_up_count", 1064) - 2.0).abs() < 1e-9);
        let now = bench.value("real_power_total", 1064);
        assert!((bench.value("real_power_demand", 1064) / now - 1.0).abs() < 1e-9);
    }

    #[test]
    fn a_command_that_waits_is_lost_with_the_power() {
        let mut bench = cycled();
        bench.write("demand_subinterval_s", 0, 0).unwrap();
        bench.write("command", 21211, 1000).unwrap();
        assert!(bench.value("real_power_demand_max", 1064) < 1e-9);
    }
}
