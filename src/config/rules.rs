//! The rules of a listener: from the file's form to the server's, and warnings about rules that can never fit.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::sync::Arc;

use ipnet::IpNet;

use super::section::{self, ListenerSection};
use super::unit::show_identifiers;
use super::value::Network;
use crate::document::Reader;
use crate::meter::Profile;
use crate::server::{Permission, Rule};

/// The unit identifiers that clients of a listener can reach, each with the profile of its unit.
pub(super) type Reached = BTreeMap<u8, Option<Arc<Profile>>>;

/// The server's form of a rule. Without `may`, which was reported, it allows nothing.
pub(super) fn rule(rule: &section::Rule) -> Rule {
    let section::Rule { role, from, units, registers, may } = rule;
    Rule {
        roles: role.iter().flat_map(|roles| &roles.0).map(|role| role.0.clone()).collect(),
        from: from.iter().flat_map(|networks| &networks.0).map(|network| network.0).collect(),
        units: units.as_ref().map(|units| units.0.clone()).unwrap_or_default(),
        registers: registers.as_ref().map(|registers| registers.0.clone()),
        may: may.unwrap_or(Permission::Nothing),
    }
}

/// Checks the rules of the listener at `path` by themselves.
pub(super) fn check(listener: &ListenerSection, path: &str, reader: &mut Reader<'_, '_>) {
    let key = |name: &str| format!("{path}.{name}");
    if listener.rules().is_empty() {
        return;
    }
    if listener.writes().is_some() {
        let what = "found beside rules, which say who may write";
        reader.error_at_key(&key("writes"), what, "leave the key out, or the rules");
    }
    for (index, rule) in listener.rules().iter().enumerate() {
        let path = key(&format!("rules[{index}]"));
        reader.require(&rule.may, &format!("{path}.may"));
        let from = format!("{path}.from");
        if let Some(networks) = &rule.from {
            check_networks(&networks.0, &from, reader);
        }
    }
    if !reader.is_sound(&key("rules")) {
        return;
    }
    let rules: Vec<Rule> = listener.rules().iter().map(rule).collect();
    for (index, later) in rules.iter().enumerate() {
        let at = |index: usize| key(&format!("rules[{index}]"));
        let earlier = rules.iter().take(index);
        if let Some(first) = earlier.clone().position(|earlier| earlier.covers(later)) {
            let what = format!(
                "never reached: rule {}{} fits all that it fits",
                first + 1,
                reader.on_line(&at(first))
            );
            reader.warning(&at(index), &what, "leave it out, or put it before that one");
        } else if let Some(passed) = earlier.clone().position(|earlier| earlier.is_passed_by(later)) {
            let Some(registers) = &rules[passed].registers else { continue };
            let what = format!(
                "this rule also fits requests for registers inside and outside of {} together, which rule {}{} does not fit",
                show_range(registers),
                passed + 1,
                reader.on_line(&at(passed)),
            );
            let help = "a rule fits a range only as a whole; to hold registers back, allow the others by their numbers";
            reader.warning(&at(index), &what, help);
        }
        let allow = listener.allow().into_iter().flat_map(|networks| &networks.0);
        let overlaps =
            |one: &IpNet| allow.clone().any(|network| network.0.contains(one) || one.contains(&network.0));
        if listener.allow().is_some() && !later.from.is_empty() && !later.from.iter().any(overlaps) {
            let what = "never fits: `allow` of the listener turns these addresses away";
            reader.warning(
                &key(&format!("rules[{index}].from")),
                what,
                "add them to `allow`, or leave the rule out",
            );
        }
        if !later.roles.is_empty() && listener.tls().is_none() {
            let what = "never fits: a role comes from a certificate, and this listener has no `tls`";
            reader.warning(
                &key(&format!("rules[{index}].role")),
                what,
                "add `tls` to the listener, or use `from`",
            );
        }
    }
}

/// Checks that the rules name units and registers that clients of the listener can reach.
pub(super) fn check_reach(
    listener: &ListenerSection,
    path: &str,
    reached: &Reached,
    reader: &mut Reader<'_, '_>,
) {
    for (index, entry) in listener.rules().iter().enumerate() {
        let at = |name: &str| format!("{path}.rules[{index}].{name}");
        let rule = rule(entry);
        let unknown: Vec<u8> =
            rule.units.iter().copied().filter(|unit| !reached.contains_key(unit)).collect();
        if !unknown.is_empty() && reader.is_sound(&at("units")) {
            let never = if unknown.len() == rule.units.len() { "never fits: " } else { "" };
            let what = format!(
                "{never}clients of this listener reach no unit {}",
                show_identifiers(unknown.into_iter())
            );
            let help = format!("units there are: {}", show_identifiers(reached.keys().copied()));
            reader.warning(&at("units"), &what, &help);
        }
        let Some(registers) = rule.registers.filter(|_| reader.is_sound(&at("registers"))) else { continue };
        let named = |unit: &u8| rule.units.is_empty() || rule.units.contains(unit);
        let profiles: Option<Vec<&Arc<Profile>>> =
            reached.iter().filter(|(unit, _)| named(unit)).map(|(_, profile)| profile.as_ref()).collect();
        // Without a profile any register may be there.
        let Some(profiles) = profiles.filter(|profiles| !profiles.is_empty()) else { continue };
        if profiles.iter().all(|profile| !has_any(profile, &registers)) {
            let names: BTreeSet<&str> = profiles.iter().map(|profile| profile.name.as_str()).collect();
            let names = names.into_iter().collect::<Vec<_>>().join(", ");
            let what = format!("profile {names} has no register {}", show_range(&registers));
            reader.warning(
                &at("registers"),
                &what,
                &format!("`metergate points {names}` lists them, as numbered here"),
            );
        }
    }
}

/// Whether the profile names any of the registers.
fn has_any(profile: &Profile, registers: &RangeInclusive<u32>) -> bool {
    profile.points.iter().any(|point| {
        let last = point.register + u32::from(point.range.quantity).saturating_sub(1);
        point.register <= *registers.end() && *registers.start() <= last
    })
}

fn show_range(range: &RangeInclusive<u32>) -> String {
    match (range.start(), range.end()) {
        (first, last) if first == last => first.to_string(),
        (first, last) => format!("{first}-{last}"),
    }
}

/// Warns of networks whose host bits are set, in the list at `path`.
pub(super) fn check_networks(networks: &[Network], path: &str, reader: &mut Reader<'_, '_>) {
    for (path, Network(found)) in reader.items(path, networks) {
        if found.trunc() == *found {
            continue;
        }
        let (whole, one) = (found.trunc(), IpNet::from(found.addr()));
        let what = format!("{found} admits all of {whole}");
        let help = format!("write {whole} if that is meant, else {one}");
        reader.warning(&path, &what, &help);
    }
}
