//! Who may read and write what: the rules of a listener, and the table they are decided by.
//!
//! Owns the fit of a rule and the order of the rules. It never refuses a request itself and knows no connection: the
//! address and the role of the client are arguments. What a write is, is `modbus`'s.
//!
//! The first rule that fits decides, and a request that no rule fits is refused. A request with two ranges (0x17) has to
//! be allowed both of them. A rule with `registers` fits only requests for registers that lie inside as a whole.

use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;
use std::ops::RangeInclusive;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::modbus::pdu::{FunctionCode, ReadRange, RequestPdu};
use crate::modbus::write::Written;

/// What a rule allows. Each includes the one before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Permission {
    /// Every request that the rule fits is refused.
    Nothing,
    /// Reads.
    Read,
    /// Reads and writes.
    Write,
}

/// One rule. It fits a request if each of its parts does; an empty part fits all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Roles of the client's certificate.
    pub roles: BTreeSet<String>,
    /// Networks of the client.
    pub from: Vec<IpNet>,
    /// Units, by the identifiers that clients of the listener send.
    pub units: BTreeSet<u8>,
    /// Registers, by the numbers that the unit's profile prints; without a profile they are counted from 0.
    pub registers: Option<RangeInclusive<u32>>,
    /// What it allows.
    pub may: Permission,
}

/// The client of a request, as far as rules see it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Requester<'a> {
    /// Its address; `None`: it is not on a network, and no rule with networks fits.
    pub address: Option<IpAddr>,
    /// The role of its certificate.
    pub role: Option<&'a str>,
}

/// The rules of a listener, prepared for each unit identifier.
#[derive(Debug)]
pub struct RuleTable {
    rules: Vec<Rule>,
    /// For each unit identifier, the rules that name it, in their order.
    by_unit: Box<[Vec<UnitRule>; 256]>,
}

/// A rule for one unit.
#[derive(Clone, Debug)]
struct UnitRule {
    rule: usize,
    /// Addresses on the wire; `None`: every request.
    addresses: Option<RangeInclusive<u32>>,
}

impl Rule {
    /// Whether it fits every request that `other` fits.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        let roles = self.roles.is_empty() || (!other.roles.is_empty() && other.roles.is_subset(&self.roles));
        let contains = |network: &IpNet| self.from.iter().any(|mine| mine.contains(network));
        let from = self.from.is_empty() || (!other.from.is_empty() && other.from.iter().all(contains));
        let units = self.units.is_empty() || (!other.units.is_empty() && other.units.is_subset(&self.units));
        let registers = match (&self.registers, &other.registers) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(mine), Some(others)) => mine.start() <= others.start() && others.end() <= mine.end(),
        };
        roles && from && units && registers
    }

    /// Whether a request can be for registers inside and outside of the rule's, and fit the rest of both rules: then
    /// this rule does not hold it back from `later`.
    #[must_use]
    pub fn is_passed_by(&self, later: &Self) -> bool {
        let Some(mine) = &self.registers else { return false };
        let wider = later.registers.as_ref().is_none_or(|later| {
            let overlaps = later.start() <= mine.end() && mine.start() <= later.end();
            overlaps && !(mine.start() <= later.start() && later.end() <= mine.end())
        });
        let share_a_network = self.from.is_empty()
            || later.from.is_empty()
            || self
                .from
                .iter()
                .any(|one| later.from.iter().any(|two| one.contains(two) || two.contains(one)));
        later.may > self.may
            && wider
            && share_a_network
            && share_an_entry(&self.roles, &later.roles)
            && share_an_entry(&self.units, &later.units)
    }

    /// Whether the client is one that the rule fits.
    #[must_use]
    pub fn fits(&self, requester: &Requester<'_>) -> bool {
        let is_in = |address: IpAddr| self.from.iter().any(|network| network.contains(&address));
        (self.roles.is_empty() || requester.role.is_some_and(|role| self.roles.contains(role)))
            && (self.from.is_empty() || requester.address.is_some_and(is_in))
    }
}

/// Whether two parts of rules, where an empty one stands for all, have something in common.
fn share_an_entry<T: Ord>(one: &BTreeSet<T>, other: &BTreeSet<T>) -> bool {
    one.is_empty() || other.is_empty() || !one.is_disjoint(other)
}

impl RuleTable {
    /// Prepares the rules. `numbering` gives the printed number of the register at wire address 0 under a unit
    /// identifier; `None`: no number is right there, so no rule with `registers` fits.
    #[must_use]
    pub fn new(rules: Vec<Rule>, numbering: impl Fn(u8) -> Option<u32>) -> Self {
        let prepare = |identifier: usize| {
            // The table has one entry for each of them.
            let identifier = u8::try_from(identifier).unwrap_or_default();
            let first = numbering(identifier);
            let named = |rule: &Rule| rule.units.is_empty() || rule.units.contains(&identifier);
            let mut found = Vec::new();
            for (rule, Rule { registers, .. }) in rules.iter().enumerate().filter(|(_, rule)| named(rule)) {
                match (registers, first) {
                    (None, _) => found.push(UnitRule { rule, addresses: None }),
                    (Some(_), None) => {}
                    (Some(printed), Some(first)) if *printed.end() >= first => {
                        let addresses = printed.start().saturating_sub(first)..=printed.end() - first;
                        found.push(UnitRule { rule, addresses: Some(addresses) });
                    }
                    (Some(_), Some(_)) => {}
                }
            }
            found
        };
        let by_unit = Box::new(std::array::from_fn(prepare));
        Self { rules, by_unit }
    }

    /// Whether the request is allowed.
    #[must_use]
    pub fn allows(&self, identifier: u8, pdu: &RequestPdu, requester: &Requester<'_>) -> bool {
        let written = || registers(Written::of(pdu.bytes()).map(|written| written.range));
        let allows = |range: Option<RangeInclusive<u32>>, wanted| {
            self.permission(identifier, range.as_ref(), requester) >= wanted
        };
        if pdu.function() == FunctionCode::READ_WRITE_MULTIPLE_REGISTERS {
            let read = registers(Some(ReadRange::first_of(pdu.data())));
            allows(read, Permission::Read) && allows(written(), Permission::Write)
        } else if pdu.is_read() {
            allows(registers(pdu.range()), Permission::Read)
        } else {
            allows(written(), Permission::Write)
        }
    }

    /// Whether some request of this function is allowed that is a read or, as `wanted` says, a write.
    pub(crate) fn may_allow(
        &self,
        identifier: u8,
        function: FunctionCode,
        wanted: Permission,
        requester: &Requester<'_>,
    ) -> bool {
        for UnitRule { rule, addresses } in &self.by_unit[usize::from(identifier)] {
            let rule = &self.rules[*rule];
            if !rule.fits(requester) {
                continue;
            }
            match addresses {
                // No later rule is reached.
                None => return rule.may >= wanted,
                Some(_) if has_registers(function) && rule.may >= wanted => return true,
                Some(_) => {}
            }
        }
        false
    }

    /// What the first rule that fits allows.
    fn permission(
        &self,
        identifier: u8,
        range: Option<&RangeInclusive<u32>>,
        requester: &Requester<'_>,
    ) -> Permission {
        let lies_inside = |addresses: &RangeInclusive<u32>| {
            range.is_some_and(|range| addresses.contains(range.start()) && addresses.contains(range.end()))
        };
        let fitting = self.by_unit[usize::from(identifier)].iter().find(|rule| {
            rule.addresses.as_ref().is_none_or(lies_inside) && self.rules[rule.rule].fits(requester)
        });
        fitting.map_or(Permission::Nothing, |rule| self.rules[rule.rule].may)
    }
}

/// The addresses of a range of registers; `None` for coils and discrete inputs, which no rule names.
fn registers(range: Option<ReadRange>) -> Option<RangeInclusive<u32>> {
    let range = range.filter(|range| range.function >= FunctionCode::READ_HOLDING_REGISTERS)?;
    let start = u32::from(range.start);
    Some(start..=start + u32::from(range.quantity).saturating_sub(1))
}

/// Whether requests of the function are for registers, which rules name.
fn has_registers(function: FunctionCode) -> bool {
    matches!(
        function,
        FunctionCode::READ_HOLDING_REGISTERS
            | FunctionCode::READ_INPUT_REGISTERS
            | FunctionCode::WRITE_SINGLE_REGISTER
            | FunctionCode::WRITE_MULTIPLE_REGISTERS
            | FunctionCode::MASK_WRITE_REGISTER
            | FunctionCode::READ_WRITE_MULTIPLE_REGISTERS
    )
}

impl fmt::Display for Permission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Nothing => "nothing",
            Self::Read => "read",
            Self::Write => "read and write",
        })
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    const ANY: Rule = Rule {
        roles: BTreeSet::new(),
        from: Vec::new(),
        units: BTreeSet::new(),
        registers: None,
        may: Permission::Read,
    };

    fn roles(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    fn networks(texts: &[&str]) -> Vec<IpNet> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    /// Registers are printed from 1 under unit 1, counted from 0 under unit 2, and have no number under unit 0.
    fn table(rules: Vec<Rule>) -> RuleTable {
        RuleTable::new(rules, |identifier| match identifier {
            0 => None,
            1 => Some(1),
            _ => Some(0),
        })
    }

    fn allows(table: &RuleTable, unit: u8, pdu: &[u8], requester: &Requester<'_>) -> bool {
        let pdu = RequestPdu::decode(Bytes::copy_from_slice(pdu)).expect("a request within the standard");
        table.allows(unit, &pdu, requester)
    }

    const UNKNOWN: Requester<'_> = Requester { address: None, role: None };
    /// Registers 130 and 131, printed from 1.
    const READ: &[u8] = &[3, 0, 129, 0, 2];
    const WRITE: &[u8] = &[6, 0, 129, 0, 7];

    #[test]
    fn the_first_rule_that_fits_decides_and_none_refuses() {
        let write = Rule { units: BTreeSet::from([1]), may: Permission::Write, ..ANY };
        let nothing = Rule { units: BTreeSet::from([1, 2]), may: Permission::Nothing, ..ANY };
        let rules = table(vec![write, nothing.clone()]);
        assert!(allows(&rules, 1, WRITE, &UNKNOWN) && allows(&rules, 1, READ, &UNKNOWN));
        assert!(!allows(&rules, 2, READ, &UNKNOWN), "`nothing` refuses reads, too");
        assert!(!allows(&rules, 3, READ, &UNKNOWN), "no rule names unit 3");
        let rules = table(vec![nothing, ANY]);
        assert!(!allows(&rules, 1, READ, &UNKNOWN), "the later rule is not reached");
        assert!(allows(&rules, 3, READ, &UNKNOWN) && !allows(&rules, 3, WRITE, &UNKNOWN));
    }

    #[test]
    fn registers_are_those_that_the_profile_prints_and_ranges_fit_as_a_whole() {
        let rules = table(vec![Rule { registers: Some(130..=131), may: Permission::Write, ..ANY }]);
        for (unit, pdu, expected) in [
            (1, READ, true),
            (1, &[4, 0, 129, 0, 2], true),
            (1, &[3, 0, 128, 0, 2], false),
            (1, &[3, 0, 129, 0, 3], false),
            (1, &[16, 0, 129, 0, 2, 4, 0, 0, 0, 0], true),
            (1, &[16, 0, 130, 0, 2, 4, 0, 0, 0, 0], false),
            (1, &[22, 0, 130, 0, 0, 0, 0], true),
            (1, &[22, 0, 131, 0, 0, 0, 0], false),
            // Counted from 0.
            (2, &[6, 0, 130, 0, 0], true),
            (2, WRITE, false),
            // Coils are no registers, and neither is what has no range at all.
            (1, &[1, 0, 129, 0, 2], false),
            (1, &[5, 0, 129, 0xFF, 0], false),
            (1, &[15, 0, 129, 0, 2, 1, 3], false),
            (1, &[17], false),
            (1, &[0x41, 0, 129, 0, 2], false),
            // No number is right for all units.
            (0, WRITE, false),
        ] {
            assert_eq!(allows(&rules, unit, pdu, &UNKNOWN), expected, "unit {unit}: {pdu:02X?}");
        }
    }

    #[test]
    fn registers_below_the_first_of_the_profile_fit_nothing() {
        let rules = table(vec![Rule { registers: Some(0..=0), ..ANY }]);
        assert!(!allows(&rules, 1, &[3, 0, 0, 0, 1], &UNKNOWN));
        assert!(allows(&rules, 2, &[3, 0, 0, 0, 1], &UNKNOWN));
        let rules = table(vec![Rule { registers: Some(65_536..=65_536), ..ANY }]);
        assert!(allows(&rules, 1, &[3, 0xFF, 0xFF, 0, 1], &UNKNOWN));
    }

    #[test]
    fn read_write_multiple_registers_is_allowed_both_its_ranges_or_refused() {
        let read_10 = Rule { registers: Some(10..=19), may: Permission::Read, ..ANY };
        let write_20 = Rule { registers: Some(20..=29), may: Permission::Write, ..ANY };
        let rules = table(vec![read_10, write_20]);
        let request = |read: u8, write: u8| [23, 0, read, 0, 1, 0, write, 0, 1, 2, 0, 0];
        for (read, write, expected) in
            [(10, 20, true), (20, 20, true), (10, 10, false), (30, 20, false), (10, 30, false)]
        {
            assert_eq!(allows(&rules, 2, &request(read, write), &UNKNOWN), expected, "{read} {write}");
        }
    }

    #[test]
    fn roles_and_networks_have_to_fit_both() {
        let rule = Rule { roles: roles(&["Engineer"]), from: networks(&["10.1.0.0/16"]), ..ANY };
        let rules = table(vec![rule]);
        let here = Some("10.1.2.3".parse().unwrap());
        let elsewhere = Some("10.2.2.3".parse().unwrap());
        for (address, role, expected) in [
            (here, Some("Engineer"), true),
            (here, Some("engineer"), false),
            (here, None, false),
            (elsewhere, Some("Engineer"), false),
            (None, Some("Engineer"), false),
        ] {
            assert_eq!(
                allows(&rules, 1, READ, &Requester { address, role }),
                expected,
                "{address:?} {role:?}"
            );
        }
    }

    #[test]
    fn a_rule_covers_another_only_if_each_part_does() {
        let narrow = Rule {
            roles: roles(&["Engineer"]),
            from: networks(&["10.1.2.0/24"]),
            units: BTreeSet::from([1]),
            registers: Some(10..=20),
            ..ANY
        };
        assert!(ANY.covers(&narrow) && narrow.covers(&narrow) && !narrow.covers(&ANY));
        for wider in [
            Rule { roles: roles(&["Engineer", "Operator"]), ..narrow.clone() },
            Rule { from: networks(&["10.1.0.0/16"]), ..narrow.clone() },
            Rule { units: BTreeSet::from([1, 2]), ..narrow.clone() },
            Rule { registers: Some(10..=21), ..narrow.clone() },
            Rule { registers: None, ..narrow.clone() },
        ] {
            assert!(wider.covers(&narrow) && !narrow.covers(&wider), "{wider:?}");
        }
    }

    #[test]
    fn a_rule_that_holds_back_registers_is_passed_by_wider_requests() {
        let held = Rule { registers: Some(10..=20), may: Permission::Nothing, ..ANY };
        let allowing = |registers| Rule { registers, may: Permission::Write, ..ANY };
        assert!(held.is_passed_by(&allowing(None)) && held.is_passed_by(&allowing(Some(15..=25))));
        assert!(!held.is_passed_by(&allowing(Some(12..=18))) && !held.is_passed_by(&allowing(Some(21..=25))));
        let other_unit = Rule { units: BTreeSet::from([2]), ..allowing(None) };
        assert!(!Rule { units: BTreeSet::from([1]), ..held.clone() }.is_passed_by(&other_unit));
        assert!(!held.is_passed_by(&Rule { may: Permission::Nothing, ..ANY }));
    }
}
