//! What `check` shows of the rules of listeners: for each role, who may do what.

use std::collections::BTreeSet;

use super::args::Units;
use super::table::columns;
use crate::config::{Config, Listener};
use crate::server::Rule;

/// The table that follows from the rules of each listener that has any, as comments of the file.
pub(super) fn describe(config: &Config) -> String {
    let rows =
        config.listeners.iter().filter(|listener| !listener.settings.rules.is_empty()).flat_map(access);
    rows.map(|row| format!("# {row}\n")).collect()
}

fn access(listener: &Listener) -> Vec<String> {
    let rules = &listener.settings.rules;
    let roles: BTreeSet<&str> = rules.iter().flat_map(|rule| &rule.roles).map(String::as_str).collect();
    let mut rows = vec![format!("Access to the listener {}", listener.settings.endpoint())];
    for role in &roles {
        rows.push(format!("  role {role}"));
        rows.extend(of_role(rules, Some(role)));
    }
    if !roles.is_empty() {
        rows.push("  any other role, or none".to_owned());
    }
    rows.extend(of_role(rules, None));
    rows
}

/// The rules that clients of a role can meet, in their order, without those that an earlier one hides.
fn of_role(rules: &[Rule], role: Option<&str>) -> Vec<String> {
    let fits = |rule: &&Rule| rule.roles.is_empty() || role.is_some_and(|role| rule.roles.contains(role));
    let mut met: Vec<Rule> = Vec::new();
    for rule in rules.iter().filter(fits) {
        let rule = Rule { roles: BTreeSet::new(), ..rule.clone() };
        if !met.iter().any(|earlier| earlier.covers(&rule)) {
            met.push(rule);
        }
    }
    let is_for_all = |rule: &Rule| rule.from.is_empty() && rule.units.is_empty() && rule.registers.is_none();
    let all_are_met = met.iter().any(is_for_all);
    let head = ["from", "units", "registers", "may"].map(str::to_owned);
    let mut lines = vec![head];
    lines.extend(met.iter().map(row));
    if !all_are_met {
        lines.push(["everything else", "", "", "nothing (0x01)"].map(str::to_owned));
    }
    columns(&lines).into_iter().map(|line| format!("  {line}")).collect()
}

fn row(rule: &Rule) -> [String; 4] {
    let any = || "any".to_owned();
    let from = rule.from.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let units = Units::of(rule.units.iter().copied()).to_string();
    let registers = rule.registers.as_ref().map(|range| match (range.start(), range.end()) {
        (first, last) if first == last => first.to_string(),
        (first, last) => format!("{first}-{last}"),
    });
    [
        if rule.from.is_empty() { any() } else { from },
        if rule.units.is_empty() { any() } else { units },
        registers.unwrap_or_else(any),
        rule.may.to_string(),
    ]
}
