//! One simulated meter: its functions, its registers, its totals, its settings.

use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use metergate::simulator::{ChainSettings, Fault, FaultKind, Meter, MeterSettings};
use proptest::prelude::*;

const SECOND: Duration = Duration::from_secs(1);

fn meter() -> (Meter, Instant) {
    let start = Instant::now();
    (usual(1, 1, start), start)
}

fn usual(unit: u8, seed: u64, start: Instant) -> Meter {
    Meter::new(&MeterSettings::usual(unit), &[], seed, start)
}

/// `quantity` registers from a printed number on.
fn words(meter: &mut Meter, printed: u16, quantity: u16, now: Instant) -> Vec<u16> {
    let reply = meter.answer(&read_pdu(printed, quantity), now);
    assert_eq!(reply[..2], [3, u8::try_from(quantity * 2).unwrap()], "{reply:?}");
    reply[2..].chunks(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]])).collect()
}

fn read_pdu(printed: u16, quantity: u16) -> Vec<u8> {
    [&[3], &(printed - 1).to_be_bytes()[..], &quantity.to_be_bytes()].concat()
}

fn write_pdu(printed: u16, value: u16) -> Vec<u8> {
    [&[6], &(printed - 1).to_be_bytes()[..], &value.to_be_bytes()].concat()
}

fn floats(meter: &mut Meter, now: Instant) -> Vec<f32> {
    let pair = |pair: &[u16]| f32::from_bits(u32::from(pair[0]) << 16 | u32::from(pair[1]));
    words(meter, 257, 90, now).chunks(2).map(pair).collect()
}

fn float(meter: &mut Meter, printed: u16, now: Instant) -> f32 {
    floats(meter, now)[usize::from((printed - 257) / 2)]
}

#[test]
fn a_meter_of_an_age_is_the_one_that_began_so_long_ago() {
    let (start, age) = (Instant::now(), Duration::from_secs(7200));
    let fault = |at, kind| Fault { at, lasts: Some(60 * SECOND), meters: vec![1], kind };
    let plain = ChainSettings::plain(NonZeroU32::new(19200).unwrap(), SECOND, &[1, 2], 1);
    let chain = ChainSettings {
        age,
        past: vec![fault(600 * SECOND, FaultKind::PowerCycle)],
        faults: vec![fault(100 * SECOND, FaultKind::PowerCycle)],
        ..plain
    };
    let mut began = Meter::all_of(&chain, start);
    let mut opened: Vec<Meter> =
        Meter::all_of(&chain, start).into_iter().map(|meter| meter.aged(age)).collect();
    for (meter, opened) in began.iter_mut().zip(&mut opened) {
        for second in [0, 5, 99] {
            let now = start + second * SECOND;
            assert_eq!(words(meter, 1, 52, now + age), words(opened, 1, 52, now), "after {second} s");
        }
    }
    assert!(!began[1].is_up(start + 610 * SECOND) && began[0].is_up(start + 610 * SECOND), "in the past");
    assert!(opened[1].is_up(start) && !opened[1].is_up(start + 110 * SECOND), "after the opening");
}

mod functions {
    use super::*;

    #[test]
    fn report_server_id_names_the_meter_behind_247_and_ff() {
        let (mut meter, now) = meter();
        let text = b"Leviton Series 4000R Power Meter, Full Data Set";
        let expected = [&[0x11, 49, 0xF7, 0xFF], &text[..]].concat();
        assert_eq!(meter.answer(&[0x11], now), expected);
    }

    #[test]
    fn identification_gives_the_three_basic_objects_as_a_stream() {
        let (mut meter, now) = meter();
        let expected = b"\x2B\x0E\x01\x01\x00\x00\x03\x00\x07Leviton\x01\x0BSeries 4000\x02\x07V02.015";
        assert_eq!(meter.answer(&[0x2B, 0x0E, 0x01, 0x00], now), &expected[..]);
        let from_the_last = b"\x2B\x0E\x02\x01\x00\x00\x01\x02\x07V02.015";
        assert_eq!(meter.answer(&[0x2B, 0x0E, 0x02, 0x02], now), &from_the_last[..]);
        assert_eq!(meter.answer(&[0x2B, 0x0E, 0x04, 0x00], now), &[0xAB, 0x03][..], "one by one");
        assert_eq!(meter.answer(&[0x2B, 0x0D, 0x00], now), &[0xAB, 0x01][..], "another MEI type");
    }

    #[test]
    fn functions_03_and_04_give_the_same_data() {
        let (mut meter, now) = meter();
        for (printed, quantity) in [(1, 52), (129, 26), (257, 90), (7001, 1)] {
            let holding = meter.answer(&read_pdu(printed, quantity), now);
            let mut pdu = read_pdu(printed, quantity);
            pdu[0] = 4;
            let input = meter.answer(&pdu, now);
            assert_eq!((holding[0], input[0]), (3, 4));
            assert_eq!(holding[1..], input[1..]);
        }
    }

    #[test]
    fn a_function_the_meter_does_not_have_is_refused_with_01() {
        let (mut meter, now) = meter();
        for function in [0x01, 0x02, 0x05, 0x07, 0x08, 0x0F, 0x14, 0x16, 0x17, 0x18, 0x41] {
            assert_eq!(meter.answer(&[function, 0, 0, 0, 1], now), &[function | 0x80, 1][..]);
        }
    }

    #[test]
    fn a_read_that_touches_a_gap_is_refused_with_02() {
        let (mut meter, now) = meter();
        for (printed, quantity) in [
            (52, 2),
            (53, 1),
            (128, 1),
            (128, 2),
            (154, 2),
            (256, 2),
            (346, 2),
            (347, 1),
            (7000, 2),
            (7001, 2),
        ] {
            assert_eq!(meter.answer(&read_pdu(printed, quantity), now), &[0x83, 2][..], "{printed}");
        }
    }

    #[test]
    fn a_wrong_quantity_or_length_is_refused_with_03() {
        let (mut meter, now) = meter();
        assert_eq!(meter.answer(&read_pdu(1, 0), now), &[0x83, 3][..]);
        assert_eq!(meter.answer(&read_pdu(1, 126), now), &[0x83, 3][..]);
        assert_eq!(meter.answer(&[3, 0, 0], now), &[0x83, 3][..]);
    }

    proptest! {
        #[test]
        fn no_request_makes_a_meter_panic(pdu in proptest::collection::vec(any::<u8>(), 0..300)) {
            let (mut meter, now) = meter();
            let reply = meter.answer(&pdu, now);
            prop_assert!((2..=253).contains(&reply.len()));
        }
    }
}

mod registers {
    use super::*;

    #[test]
    fn integers_agree_with_floats_through_the_exponents() {
        for unit in 1..=20 {
            let start = Instant::now();
            let mut meter = usual(unit, 7, start);
            let now = start + 1234 * SECOND;
            let integers = words(&mut meter, 1, 52, now);
            let floats = floats(&mut meter, now);
            let exponents = words(&mut meter, 138, 4, now);
            let step = |register: usize| 10_f64.powi(i32::from(exponents[register - 138] as i16));
            let agree = |printed: usize, float: usize, step: f64| {
                let float = f64::from(floats[(float - 257) / 2]);
                let integer = f64::from(integers[printed - 1]) * step;
                assert!((integer - float).abs() <= step * 0.51, "{printed}: {integer} {float}");
            };
            for printed in (3..=5).chain(10..=12) {
                agree(printed, 257 + 2 * (printed - 1), step(140));
            }
            for printed in 31..=42 {
                agree(printed, 257 + 2 * (printed - 3), step(140));
            }
            for printed in [7, 8, 16, 17, 18, 19, 20, 21] {
                agree(printed, 257 + 2 * (printed - 1), step(139));
            }
            for printed in [9, 22, 23, 24] {
                agree(printed, 257 + 2 * (printed - 1), step(138));
            }
            for printed in [6, 13, 14, 15] {
                agree(printed, 257 + 2 * (printed - 1), 0.0001);
            }
            agree(26, 307, 0.01);
            for (printed, float) in [(1, 257), (1, 259), (27, 309), (29, 311), (47, 341), (51, 345)] {
                let steps = u32::from(integers[printed - 1]) << 16 | u32::from(integers[printed]);
                let float = f64::from(floats[(float - 257) / 2]);
                let integer = f64::from(steps) * step(141);
                assert!((integer - float).abs() <= step(141) + float * 1e-6, "{printed}: {integer} {float}");
            }
        }
    }

    #[test]
    fn the_values_are_those_of_a_480_volt_service() {
        let (mut meter, start) = meter();
        for seconds in [0, 1, 60, 3600, 86400, 40_000_000] {
            let f = floats(&mut meter, start + seconds * SECOND);
            let at = |printed: usize| f[(printed - 257) / 2];
            assert!((465.0..495.0).contains(&at(269)), "V between phases: {}", at(269));
            assert!((270.0..285.0).contains(&at(271)), "V to neutral: {}", at(271));
            assert!((59.9..60.1).contains(&at(307)), "Hz: {}", at(307));
            for phase in 0..3 {
                let (real, factor, volts, amperes) =
                    (at(275 + 2 * phase), at(281 + 2 * phase), at(293 + 2 * phase), at(299 + 2 * phase));
                let (apparent, reactive) = (at(313 + 2 * phase), at(319 + 2 * phase));
                assert!(real > 0.0 && (0.8..1.0).contains(&factor));
                assert!((apparent - volts * amperes / 1000.0).abs() < apparent * 1e-4);
                assert!((real - apparent * factor).abs() < apparent * 1e-4);
                assert!((apparent - real.hypot(reactive)).abs() < apparent * 1e-4);
            }
            assert!((at(261) - at(275) - at(277) - at(279)).abs() < at(261) * 1e-4, "total is the sum");
        }
    }

    #[test]
    fn reserved_registers_read_not_available() {
        let (mut meter, now) = meter();
        assert_eq!(words(&mut meter, 25, 1, now), [0x8000]);
        assert_eq!(words(&mut meter, 132, 1, now), [0x8000]);
        assert_eq!(words(&mut meter, 305, 2, now), [0x7FC0, 0x0000]);
        assert_eq!(words(&mut meter, 148, 1, now), [0]);
    }

    #[test]
    fn a_wiring_without_phases_b_and_c_makes_them_not_available() {
        let (mut meter, now) = meter();
        let before = float(&mut meter, 261, now);
        assert_eq!(meter.answer(&write_pdu(130, 10), now), write_pdu(130, 10));
        assert_eq!(words(&mut meter, 11, 2, now), [0x8000, 0x8000]);
        assert_eq!(words(&mut meter, 7, 1, now), [0x8000], "no voltage between phases");
        assert_ne!(words(&mut meter, 8, 1, now), [0x8000]);
        assert!(float(&mut meter, 261, now) < before * 0.5);
    }

    #[test]
    fn meters_differ_and_runs_repeat() {
        let start = Instant::now();
        let now = start + 99 * SECOND;
        let all = |unit, seed| floats(&mut usual(unit, seed, start), now)[..20].to_vec();
        assert_eq!(all(1, 1), all(1, 1));
        assert_ne!(all(1, 1), all(2, 1));
        assert_ne!(all(1, 1), all(1, 2));
    }
}

mod energy {
    use super::*;

    #[test]
    fn energy_is_the_integral_of_power() {
        let (mut meter, start) = meter();
        let energy = |meter: &mut Meter, seconds| float(meter, 341, start + seconds * SECOND);
        let _ = meter.answer(&write_pdu(129, 30078), start);
        let mut sum = 0.0;
        for second in 0..3600 {
            let now = start + second * SECOND;
            let next = start + (second + 1) * SECOND;
            let mean = f64::from(float(&mut meter, 275, now) + float(&mut meter, 275, next)) / 2.0;
            sum += mean / 3600.0;
        }
        let counted = f64::from(energy(&mut meter, 3600));
        assert!((counted - sum).abs() < sum * 1e-4, "{counted} {sum}");
    }

    #[test]
    fn totals_do_not_depend_on_how_often_they_are_read() {
        let start = Instant::now();
        let (mut often, mut once) = (usual(1, 1, start), usual(1, 1, start));
        for second in 0..5000 {
            let _ = floats(&mut often, start + second * SECOND);
        }
        let now = start + 5000 * SECOND;
        assert_eq!(words(&mut often, 1, 52, now), words(&mut once, 1, 52, now));
    }

    #[test]
    fn command_30078_clears_the_energy_counts_it_and_reads_back_0() {
        let (mut meter, start) = meter();
        let now = start + 100 * SECOND;
        assert!(float(&mut meter, 257, now) > 1000.0);
        assert_eq!(words(&mut meter, 147, 1, now), [0]);
        assert_eq!(meter.answer(&write_pdu(129, 30078), now), write_pdu(129, 30078));
        assert_eq!(words(&mut meter, 129, 1, now), [0]);
        assert_eq!(words(&mut meter, 147, 1, now), [1]);
        for printed in [257, 309, 311, 341, 343, 345] {
            assert_eq!(float(&mut meter, printed, now).to_bits(), 0, "{printed}");
        }
        assert!(float(&mut meter, 257, now + 60 * SECOND) > 0.0);
    }

    #[test]
    fn values_change_once_a_second() {
        let (mut meter, start) = meter();
        let at = |meter: &mut Meter, millis| words(meter, 257, 90, start + Duration::from_millis(millis));
        assert_eq!(at(&mut meter, 5000), at(&mut meter, 5999));
        assert_ne!(at(&mut meter, 5999), at(&mut meter, 6000));
    }

    #[test]
    fn a_demand_interval_becomes_the_peak_and_21212_pulls_it_down() {
        let (mut meter, start) = meter();
        let _ = meter.answer(&write_pdu(150, 10), start);
        let peak = |meter: &mut Meter, seconds| float(meter, 331, start + seconds * SECOND);
        assert_eq!(peak(&mut meter, 9).to_bits(), 0);
        let first = peak(&mut meter, 10);
        assert!(first > 0.0);
        let highest = peak(&mut meter, 8000);
        assert!(highest > first);
        let now = start + 8005 * SECOND;
        assert_eq!(meter.answer(&write_pdu(129, 21212), now), write_pdu(129, 21212));
        assert_eq!(peak(&mut meter, 8005).to_bits(), highest.to_bits(), "not before the cycle ends");
        let now = now + SECOND;
        assert_eq!(float(&mut meter, 331, now).to_bits(), float(&mut meter, 325, now).to_bits());
    }

    #[test]
    fn pulses_follow_the_energy_since_they_were_cleared() {
        let (mut meter, start) = meter();
        let now = start + 7200 * SECOND;
        let _ = meter.answer(&write_pdu(129, 30078), start);
        let pulses = float(&mut meter, 337, now);
        assert!(pulses >= 1.0 && (float(&mut meter, 257, now) - pulses).abs() <= 1.0, "1 kWh per pulse");
        let _ = meter.answer(&write_pdu(129, 16498), now);
        assert_eq!(float(&mut meter, 337, now).to_bits(), 0);
    }
}

mod writes {
    use super::*;

    #[test]
    fn a_value_outside_its_range_is_refused_with_03_and_changes_nothing() {
        let (mut meter, now) = meter();
        let before = words(&mut meter, 129, 26, now);
        for (printed, value) in [
            (129, 1),
            (130, 41),
            (131, 19),
            (131, 5001),
            (133, 0),
            (134, 81),
            (134, 661),
            (137, 2),
            (142, 0),
            (143, 100),
            (144, 11),
            (149, 7),
            (150, 9),
            (150, 32768),
        ] {
            assert_eq!(meter.answer(&write_pdu(printed, value), now), &[0x86, 3][..], "{printed} {value}");
        }
        assert_eq!(words(&mut meter, 129, 26, now), before);
    }

    #[test]
    fn a_register_that_is_read_only_or_not_there_is_refused_with_02() {
        let (mut meter, now) = meter();
        for printed in [1, 52, 53, 128, 132, 135, 138, 141, 145, 148, 154, 155, 257, 346, 7001] {
            assert_eq!(meter.answer(&write_pdu(printed, 1), now), &[0x86, 2][..], "{printed}");
        }
    }

    #[test]
    fn a_write_of_several_registers_is_done_whole_or_not_at_all() {
        let (mut meter, now) = meter();
        let before = words(&mut meter, 129, 26, now);
        let two = |second: u16| [&[0x10, 0, 141, 0, 2, 4, 0, 5][..], &second.to_be_bytes()].concat();
        assert_eq!(meter.answer(&two(100), now), &[0x90, 3][..]);
        assert_eq!(words(&mut meter, 129, 26, now), before);
        assert_eq!(meter.answer(&two(30), now), &[0x10, 0, 141, 0, 2][..]);
        assert_eq!(words(&mut meter, 142, 2, now), [5, 30]);
    }

    #[test]
    fn the_exponents_follow_the_sensor_rating() {
        let (mut meter, now) = meter();
        let _ = meter.answer(&write_pdu(131, 100), now);
        let small = words(&mut meter, 138, 4, now);
        let _ = meter.answer(&write_pdu(131, 5000), now);
        let large = words(&mut meter, 138, 4, now);
        assert!((large[0] as i16) > (small[0] as i16) && (large[2] as i16) > (small[2] as i16));
        assert_eq!(large[1], small[1]);
    }

    #[test]
    fn a_transformer_ratio_makes_room_for_a_higher_voltage() {
        let (mut meter, now) = meter();
        assert_eq!(meter.answer(&write_pdu(134, 4160), now), &[0x86, 3][..]);
        assert_eq!(meter.answer(&write_pdu(133, 3500), now), write_pdu(133, 3500));
        assert_eq!(meter.answer(&write_pdu(134, 4160), now), write_pdu(134, 4160));
    }
}
