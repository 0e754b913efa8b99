//! The keys of a scenario: their sections and their defaults as text.
//!
//! One table, read by the reader and the tests; decides nothing about values. `docs/simulator.md` explains each.

use crate::yaml::Key;
use crate::yaml::section::KeyTable;

/// A section of a scenario.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The top level.
    Scenario,
    /// An entry of `meters`.
    Meter,
    /// The mapping `load` of a meter.
    Load,
    /// An entry of `faults`.
    Fault,
}

impl Part {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Scenario, Self::Meter, Self::Load, Self::Fault];

    /// The keys of the section, in the order they are shown.
    #[must_use]
    pub fn keys(self) -> &'static [Key] {
        match self {
            Self::Scenario => SCENARIO,
            Self::Meter => METER,
            Self::Load => LOAD,
            Self::Fault => FAULT,
        }
    }

    /// What people call it, after "of".
    #[must_use]
    pub fn title(self) -> &'static str {
        match self {
            Self::Scenario => "a scenario",
            Self::Meter => "a meter",
            Self::Load => "a load",
            Self::Fault => "a fault",
        }
    }
}

impl KeyTable for Part {
    const ALL: &'static [Self] = &Self::ALL;

    fn keys(self) -> &'static [Key] {
        Self::keys(self)
    }

    fn title(self) -> &'static str {
        Self::title(self)
    }
}

const fn key(name: &'static str, default: &'static str) -> Key {
    Key { name, default: Some(default) }
}

const fn bare(name: &'static str) -> Key {
    Key { name, default: None }
}

const SCENARIO: &[Key] =
    &[key("baud_rate", "19200"), key("seed", "1"), key("turnaround", "5ms"), bare("meters"), bare("faults")];

const METER: &[Key] = &[
    bare("id"),
    bare("name"),
    key("system_type", "40"),
    bare("ct_rating"),
    bare("voltage"),
    key("pt_ratio", "1"),
    bare("load"),
    bare("turnaround"),
    bare("baud_rate"),
];

const LOAD: &[Key] = &[key("shape", "breathing"), bare("amps"), bare("pf")];

const FAULT: &[Key] = &[
    bare("fault"),
    bare("meter"),
    key("at", "0s"),
    bare("for"),
    bare("delay"),
    bare("share"),
    bare("phase"),
    bare("as"),
];
