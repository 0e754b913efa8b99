//! The key `rules` of a listener.

use std::collections::BTreeSet;

use metergate::config::{Config, parse};
use metergate::server::{Permission, Rule, Writes};

/// A listener with these keys, before units 1 to 8 of a profile and unit 11 without one.
fn file(listener: &str) -> String {
    format!(
        "listeners:
  - {{address: 0.0.0.0:502, {listener}}}
buses:
  - name: riser-a
    device: /dev/ttyS0
    units: [{{id: 1-8, profile: leviton-4000r}}, {{id: 9, as: 11}}]
diagnostics_unit: 200
"
    )
}

fn good(listener: &str) -> (Config, Vec<String>) {
    let text = file(listener);
    let loaded = parse(&text, "m.yaml").unwrap_or_else(|problems| panic!("{text}\n{problems}"));
    let written = loaded.config.to_yaml();
    let again = parse(&written, "m.yaml").unwrap_or_else(|problems| panic!("{written}\n{problems}"));
    assert_eq!(again.config, loaded.config, "{written}");
    let warnings = loaded.warnings.iter().filter(|warning| warning.key().contains("rules"));
    let warnings = warnings.map(|warning| format!("{}: {}", warning.key(), warning.message())).collect();
    (loaded.config, warnings)
}

fn errors(listener: &str) -> Vec<String> {
    let problems = parse(&file(listener), "m.yaml").expect_err(listener);
    problems.errors().iter().map(|error| format!("{}: {}", error.key(), error.message())).collect()
}

#[test]
fn rules_are_read_in_their_order_with_all_their_keys() {
    let (config, warnings) = good(
        "rules: [{from: [10.1.2.3, 10.2.0.0/16], units: 1-3, registers: 129-154, may: write}, \
         {units: [0, 5, 11], may: read}, {registers: 7, may: nothing}], broadcast: silent",
    );
    assert!(warnings.is_empty(), "{warnings:?}");
    let settings = &config.listeners[0].settings;
    let expected = [
        Rule {
            roles: BTreeSet::new(),
            from: ["10.1.2.3/32", "10.2.0.0/16"].map(|network| network.parse().unwrap()).to_vec(),
            units: BTreeSet::from([1, 2, 3]),
            registers: Some(129..=154),
            may: Permission::Write,
        },
        Rule {
            roles: BTreeSet::new(),
            from: Vec::new(),
            units: BTreeSet::from([0, 5, 11]),
            registers: None,
            may: Permission::Read,
        },
        Rule {
            roles: BTreeSet::new(),
            from: Vec::new(),
            units: BTreeSet::new(),
            registers: Some(7..=7),
            may: Permission::Nothing,
        },
    ];
    assert_eq!((&settings.rules[..], settings.writes), (&expected[..], Writes::Deny));
    assert!(settings.allows_writes());
}

#[test]
fn a_rule_that_can_never_fit_is_warned_of() {
    for (rules, expected) in [
        (
            "{may: read}, {units: 3, may: write}",
            "rules[1]: never reached: rule 1 on line 2 fits all that it fits",
        ),
        ("{role: [Engineer], may: write}", "rules[0].role: never fits: a role comes from a certificate"),
        (
            "{units: 40-42, may: write}",
            "rules[0].units: never fits: clients of this listener reach no unit 40-42",
        ),
        ("{units: [8, 9, 11], may: read}", "rules[0].units: clients of this listener reach no unit 9"),
        ("{units: 0, may: write}", "rules[0].units: never fits: clients of this listener reach no unit 0"),
        (
            "{units: 1, registers: 9000-9100, may: write}",
            "rules[0].registers: profile leviton-4000r has no register 9000-9100",
        ),
        (
            "{registers: 129, may: nothing}, {may: write}",
            "rules[1]: this rule also fits requests for registers inside and outside of 129 together",
        ),
        ("{from: [10.1.2.3/8], may: read}", "rules[0].from[0]: 10.1.2.3/8 admits all of 10.0.0.0/8"),
    ] {
        let (_, warnings) = good(&format!("rules: [{rules}]"));
        let found = warnings.iter().any(|warning| warning.starts_with(&format!("listeners[0].{expected}")));
        assert!(found && warnings.len() == 1, "{rules}: {warnings:?}");
    }
    let (_, warnings) =
        good("allow: [10.1.0.0/16], rules: [{from: [10.2.0.1], may: read}, {from: [10.0.0.0/8], may: read}]");
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(warnings[0].contains("rules[0].from: never fits: `allow` of the listener"), "{warnings:?}");
}

#[test]
fn rules_that_all_can_fit_are_not_warned_of() {
    for rules in [
        "{units: 3, may: write}, {may: read}",
        "{units: 11, registers: 9000, may: write}, {may: read}",
        "{units: 200, may: read}, {registers: 129, may: write}, {may: read}",
        "{registers: 100-200, may: nothing}, {registers: 120-130, may: write}",
    ] {
        let (_, warnings) = good(&format!("rules: [{rules}]"));
        let covered = warnings.iter().filter(|warning| !warning.contains("never reached")).count();
        assert_eq!(covered, 0, "{rules}: {warnings:?}");
    }
}

#[test]
fn faults_of_rules_name_the_rule() {
    for (listener, expected) in [
        ("rules: []", "listeners[0].rules: found an empty list"),
        ("rules: [{units: 1}]", "listeners[0].rules[0].may: the key is missing"),
        ("rules: [{may: all}]", "listeners[0].rules[0].may: found `all`"),
        ("rules: [{may: read, registers: 5-3}]", "listeners[0].rules[0].registers: found `5-3`"),
        ("rules: [{may: read, units: 256}]", "listeners[0].rules[0].units: found `256`"),
        ("rules: [{may: read, unit: 2}]", "listeners[0].rules[0].unit: unknown key"),
        ("writes: allow, rules: [{may: read}]", "listeners[0].writes: found beside rules"),
    ] {
        let errors = errors(listener);
        assert!(errors[0].starts_with(expected) && errors.len() == 1, "{listener}: {errors:?}");
    }
}
