//! The keys of a scenario: their sections and their defaults as text.
//!
//! One table, read by the reader and the tests; decides nothing about values. `docs/simulator.md` explains each.

use crate::yaml::section::{bare, key};
use crate::yaml::{Key, KeyTable};

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

impl KeyTable for Part {
    const ALL: &'static [Self] = &[Self::Scenario, Self::Meter, Self::Load, Self::Fault];

    fn keys(self) -> &'static [Key] {
        match self {
            Self::Scenario => SCENARIO,
            Self::Meter => METER,
            Self::Load => LOAD,
            Self::Fault => FAULT,
        }
    }

    fn title(self) -> &'static str {
        match self {
            Self::Scenario => "a scenario",
            Self::Meter => "a meter",
            Self::Load => "a load",
            Self::Fault => "a fault",
        }
    }
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
