//! Scenarios: the shipped ones load, the page about them is complete, and a mistake names its place and remedy.

use std::time::Duration;

use metergate::document::keys;
use metergate::simulator::fault_schedule::fault_schedule;
use metergate::simulator::scenario::parse;
use metergate::simulator::section::{Fault, Meter};
use metergate::simulator::{ChainSettings, FaultKind, Load, Phase, Scenario, Shape, SystemType};
use proptest::prelude::*;

const PAGE: &str = include_str!("../../../docs/simulator.md");

const SHIPPED: [(&str, &str); 3] = [
    ("demo-faults.yaml", include_str!("../../../config/scenarios/demo-faults.yaml")),
    ("power-failures.yaml", include_str!("../../../config/scenarios/power-failures.yaml")),
    ("twelve-with-faults.yaml", include_str!("../../../config/scenarios/twelve-with-faults.yaml")),
];

fn sound(text: &str) -> ChainSettings {
    parse(text, "s.yaml").unwrap_or_else(|problems| panic!("{problems}"))
}

/// The first line of each fault.
fn headlines(text: &str) -> Vec<String> {
    let problems = parse(text, "s.yaml").expect_err(text);
    problems.errors().iter().map(|problem| format!("{}: {}", problem.key(), problem.message())).collect()
}

#[test]
fn the_shipped_scenarios_load_and_none_is_forgotten() {
    for (name, text) in SHIPPED {
        let chain = parse(text, name).unwrap_or_else(|problems| panic!("{problems}"));
        assert!(!chain.faults.is_empty(), "{name}");
    }
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/config/scenarios");
    assert_eq!(std::fs::read_dir(folder).expect("the folder is there").count(), SHIPPED.len());
}

#[test]
fn the_twelve_have_one_address_twice_one_dead_one_at_another_rate() {
    let chain = sound(SHIPPED[2].1);
    assert_eq!(chain.meters.len(), 12);
    assert_eq!(chain.meters.iter().filter(|meter| meter.unit == 5).count(), 2);
    assert_eq!(chain.meters.iter().filter(|meter| meter.baud_rate.is_some()).count(), 1);
    let dead = chain.faults.iter().find(|fault| fault.kind == FaultKind::Dead).expect("a dead one");
    assert_eq!(dead.meters.iter().map(|index| chain.meters[*index].unit).collect::<Vec<_>>(), [7]);
}

#[test]
fn every_key_says_what_it_should() {
    let chain = sound(
        "baud_rate: 9600
seed: 5
turnaround: 20ms
meters:
  - {id: 1-2}
  - {id: 9, name: Pump, system_type: 31, ct_rating: 200, voltage: 4160, pt_ratio: 35.5,
     load: {shape: daily, amps: 12.5, pf: 0.85}, turnaround: 1ms, baud_rate: 19200}
faults:
  - {fault: late, meter: 2, at: 1s, for: 2s, delay: 30ms}
  - {fault: noisy, meter: Pump, share: 2.5%}
  - {fault: noisy, share: 100%}
  - {fault: phase_loss, meter: 9, phase: C}
  - {fault: wrong_unit, meter: 1, as: 7}
  - {fault: power_cycle, meter: 1, at: 5s}
",
    );
    assert_eq!((chain.baud_rate.get(), chain.seed, chain.meters.len()), (9600, 5, 3));
    assert_eq!(chain.meters[1].turnaround, Duration::from_millis(20));
    let pump = &chain.meters[2];
    assert_eq!((pump.unit, pump.name.as_deref(), pump.system_type), (9, Some("Pump"), SystemType::Delta));
    assert_eq!(
        (pump.sensor_rating, pump.system_voltage, pump.transformer_ratio),
        (Some(200), Some(4160), 3550)
    );
    assert_eq!((pump.shape, pump.amperes, pump.power_factor), (Shape::Daily, Some(12.5), Some(0.85)));
    assert_eq!((pump.turnaround, pump.baud_rate.map(u32::from)), (Duration::from_millis(1), Some(19200)));
    let found: Vec<_> = chain.faults.iter().map(|fault| (fault.kind.clone(), fault.meters.clone())).collect();
    let expected = vec![
        (FaultKind::Late(Duration::from_millis(30)), vec![1]),
        (FaultKind::Noisy(0.025), vec![2]),
        (FaultKind::Noisy(1.0), vec![]),
        (FaultKind::PhaseLoss(Phase::C), vec![2]),
        (FaultKind::WrongUnit(7), vec![0]),
        (FaultKind::PowerCycle, vec![0]),
    ];
    assert_eq!(found, expected);
    assert_eq!((chain.faults[0].at.as_secs(), chain.faults[0].lasts), (1, Some(Duration::from_secs(2))));
    assert_eq!(chain.faults[1].lasts, None);
    assert_eq!(chain.faults[5].lasts, Some(Duration::from_secs(2)), "without power unless it says so");
    assert_eq!(fault_schedule(&chain)[5], "5s to 7s: meter 1: power_cycle");
}

#[test]
fn a_fault_on_an_address_is_of_every_meter_that_has_it_and_one_on_a_name_of_that_meter() {
    let meters = "meters:\n  - {id: 5, name: East}\n  - {id: 5, name: West}\nfaults:\n";
    let whom = |meter: &str| {
        sound(&format!("{meters}  - {{fault: dead, meter: {meter}}}\n")).faults[0].meters.clone()
    };
    assert_eq!(whom("5"), [0, 1]);
    assert_eq!(whom("West"), [1]);
}

#[test]
fn a_key_that_belongs_to_another_fault_is_refused_rather_than_ignored() {
    let about = |fault: &str| headlines(&format!("meters: [{{id: 1}}]\nfaults: [{{{fault}}}]\n"));
    for (fault, said) in [
        (
            "fault: dead, meter: 1, delay: 1s",
            "faults[0].delay: found a key that does not go with dead; allowed: on late only",
        ),
        (
            "fault: dead, meter: 1, share: 1%",
            "faults[0].share: found a key that does not go with dead; allowed: on noisy only",
        ),
        (
            "fault: dead, meter: 1, as: 3",
            "faults[0].as: found a key that does not go with dead; allowed: on wrong_unit only",
        ),
        (
            "fault: dead, meter: 1, phase: A",
            "faults[0].phase: found a key that does not go with dead; allowed: on reversed_ct and phase_loss only",
        ),
        (
            "fault: echo, meter: 1",
            "faults[0].meter: found a meter; allowed: none, an echo is of the whole line",
        ),
        (
            "fault: dead",
            "faults[0].meter: the key is missing; allowed: the id or the name of a meter of this scenario",
        ),
    ] {
        assert_eq!(about(fault), [said]);
    }
}

#[test]
fn values_at_the_edge_are_taken_and_beyond_it_refused() {
    let meter = |keys: &str| parse(&format!("meters: [{{id: 1, {keys}}}]\n"), "s.yaml").is_ok();
    for (good, bad) in [
        ("ct_rating: 20", "ct_rating: 19"),
        ("ct_rating: 5000", "ct_rating: 5001"),
        ("voltage: 82", "voltage: 81"),
        ("voltage: 660", "voltage: 661"),
        ("pt_ratio: 0.73", "pt_ratio: 0.72"),
        ("pt_ratio: 320, voltage: 32000", "pt_ratio: 320.01, voltage: 32000"),
        ("load: {amps: 6000}", "load: {amps: 6000.1}"),
        ("load: {pf: 0.01}", "load: {pf: 0}"),
        ("load: {pf: 1}", "load: {pf: 1.01}"),
        ("turnaround: 10s", "turnaround: 10.001s"),
        ("baud_rate: 300", "baud_rate: 299"),
        ("system_type: 40", "system_type: 41"),
    ] {
        assert!(meter(good), "{good}");
        assert!(!meter(bad), "{bad}");
    }
    let id = |id: &str| parse(&format!("meters: [{{id: {id}}}]\n"), "s.yaml").is_ok();
    assert!(id("1-247") && id("248-255") && !id("0") && !id("256") && !id("3-2"));
    assert!(!id("1-2, name: Two"), "a name is of one meter");
}

#[test]
fn no_text_makes_the_reader_panic() {
    for text in [
        "",
        "[]",
        "meters:",
        "meters: []",
        "meters: 7",
        "meters: [7]",
        "meters: [{}]\nfaults: {}",
        "faults: [{}]",
    ] {
        assert!(parse(text, "s.yaml").is_err(), "{text}");
    }
}

proptest! {
    #[test]
    fn no_damage_to_a_scenario_makes_the_reader_panic(
        which in 0..SHIPPED.len(), cut in any::<usize>(), put in "[ -~]{0,12}", length in 0_usize..30,
    ) {
        let text = SHIPPED[which].1;
        let (from, to) = (cut % text.len(), (cut % text.len() + length).min(text.len()));
        let damaged = format!("{}{put}{}", &text[..from], &text[to..]);
        if let Ok(chain) = parse(&damaged, "s.yaml") {
            prop_assert!(chain.faults.iter().flat_map(|fault| &fault.meters).all(|one| *one < chain.meters.len()));
        }
    }
}

#[test]
fn every_key_every_word_and_every_default_is_on_the_page() {
    let keys = [keys::<Scenario>(), keys::<Meter>(), keys::<Load>(), keys::<Fault>()];
    for key in keys.into_iter().flatten() {
        assert!(PAGE.contains(&format!("`{key}`")), "{key}");
    }
    for (key, default) in [
        ("baud_rate", "19200"),
        ("seed", "1"),
        ("turnaround", "5ms"),
        ("system_type", "40"),
        ("pt_ratio", "1"),
        ("shape", "breathing"),
        ("at", "0s"),
    ] {
        let rows = PAGE.lines().filter(|line| line.starts_with(&format!("| `{key}` |")));
        let shown = |row: &str| row.contains(&format!("| `{default}` |"));
        assert!(rows.into_iter().any(shown), "{key} {default}");
    }
    let words = [
        "dead",
        "late",
        "noisy",
        "echo",
        "wrong_unit",
        "garbage",
        "reversed_ct",
        "phase_loss",
        "power_cycle",
        "breathing",
        "steady",
        "daily",
        "switching",
    ];
    for word in words {
        assert!(PAGE.contains(&format!("`{word}`")), "{word}");
    }
}

#[test]
fn the_example_of_the_page_is_a_sound_scenario() {
    let example =
        PAGE.split("```yaml\n").nth(1).and_then(|rest| rest.split("```").next()).expect("an example");
    assert!(sound(example).faults.len() > 2);
}
