//! The shipped scenarios, run: what their comments say is what happens on the line, in simulated time.

use std::num::NonZeroU32;
use std::time::Duration;

use metergate::modbus::rtu;
use metergate::simulator::scenario::parse;

use crate::support::simulated_line::{Bench, bytes, floats, is_reply_of};

const SECOND: Duration = Duration::from_secs(1);

fn run(text: &str) -> Bench {
    Bench::new(parse(text, "s.yaml").unwrap_or_else(|problems| panic!("{problems}")))
}

/// What a point of the meter at that place stands for.
fn value(bench: &mut Bench, meter: usize, point: &str, second: u32) -> Option<f64> {
    let now = bench.start + second * SECOND;
    bench.wire.meters()[meter].physical(point, now)
}

fn is_alert(bench: &mut Bench, meter: usize, bit: u32, second: u32) -> bool {
    value(bench, meter, "alert_bitmap", second) == Some(f64::from(1_u32 << bit))
}

#[test]
fn of_the_twelve_two_garble_each_other_one_is_dead_one_deaf_and_one_wired_wrongly() {
    let mut bench = run(include_str!("../../../config/scenarios/twelve-with-faults.yaml"));
    for unit in 1..=11 {
        let heard = bench.ask(unit, u32::from(unit) * SECOND);
        match unit {
            5 => assert!(heard.len() > 150 && !rtu::crc_is_right(&heard)),
            7 | 8 => assert_eq!(heard, [0_u8; 0], "unit {unit}"),
            _ => assert!(is_reply_of(unit, &heard), "unit {unit}"),
        }
    }
    bench.wire.set_rate(NonZeroU32::new(9600).expect("not 0"));
    assert!(is_reply_of(8, &bench.ask(8, 20 * SECOND)), "at its own rate");
    assert_eq!(bench.ask(1, 21 * SECOND), [0_u8; 0]);
    let workshop = 9;
    assert!(is_alert(&mut bench, workshop, 13, 22), "its sensor C is the wrong way round");
}

#[test]
fn the_demos_faults_come_one_after_another_and_leave_nothing_behind() {
    let mut bench = run(include_str!("../../../config/scenarios/demo-faults.yaml"));
    for unit in 1..=8 {
        assert!(is_reply_of(unit, &bench.ask(unit, u32::from(unit) * SECOND)), "unit {unit}");
    }
    assert_eq!(bench.ask(2, 30 * SECOND), [0_u8; 0], "dead");
    let late = bench.say(&floats(3), 60 * SECOND);
    assert!(is_reply_of(3, &bytes(&late)) && late[0].0 > 60 * SECOND + 800 * SECOND / 1000);
    let asked = (0..150).map(|step| bench.ask(4, 80 * SECOND + step * SECOND / 8));
    let good = asked.filter(|heard| is_reply_of(4, heard)).count();
    assert!((50..100).contains(&good), "{good} of 150: seven in ten requests, seven in ten replies");
    assert!(is_alert(&mut bench, 0, 12, 120), "sensor B reversed");
    assert!(value(&mut bench, 4, "voltage_an", 150) < Some(1.0), "phase A lost");
    assert_eq!(bench.ask(6, 171 * SECOND), [0_u8; 0], "without power");
    assert!(is_reply_of(99, &bench.ask(7, 200 * SECOND)));
    let garbage = bench.ask(8, 230 * SECOND);
    assert!(!garbage.is_empty() && !rtu::crc_is_right(&garbage));
    assert_eq!(bench.ask(1, 260 * SECOND)[..8], floats(1), "echo");
    for unit in 1..=8 {
        assert!(is_reply_of(unit, &bench.ask(unit, (300 + u32::from(unit)) * SECOND)), "unit {unit}");
        assert_eq!(value(&mut bench, usize::from(unit) - 1, "alert_bitmap", 310), Some(0.0), "unit {unit}");
    }
}

#[test]
fn the_power_failures_are_counted_and_energy_only_ever_grows() {
    let mut bench = run(include_str!("../../../config/scenarios/power-failures.yaml"));
    let mut before = [0.0; 4];
    for second in 0..200 {
        for (meter, before) in before.iter_mut().enumerate() {
            let now = value(&mut bench, meter, "real_energy_total", second).expect("a value");
            assert!(now >= *before, "meter {meter}, second {second}: {now} after {before}");
            *before = now;
        }
    }
    let starts = |bench: &mut Bench, meter| value(bench, meter, "power_up_count", 200);
    let counts = [0, 1, 2, 3].map(|meter| starts(&mut bench, meter));
    assert_eq!(counts, [Some(3.0), Some(2.0), Some(1.0), Some(1.0)]);
}

#[test]
fn a_lost_phase_of_the_power_failures_is_reported_by_wye_and_delta() {
    let mut bench = run(include_str!("../../../config/scenarios/power-failures.yaml"));
    for meter in [2, 3] {
        assert_eq!(value(&mut bench, meter, "alert_bitmap", 39), Some(0.0));
        let bits = value(&mut bench, meter, "alert_bitmap", 45).expect("a value");
        assert_eq!((bits / 256.0).floor() % 8.0, 4.0, "phase C alone: {bits}");
        assert_eq!(value(&mut bench, meter, "alert_bitmap", 55), Some(0.0));
    }
}
