//! The sections of a scenario, one struct each, with the defaults of the keys.
//!
//! The input of serde. Each value is within its own bounds; checks between values are in `scenario`.
//! `docs/simulator.md` explains each key.

use std::ops::RangeInclusive;

use serde::Deserialize;

use super::settings::{Phase, Shape, SystemType};
use crate::document::de::scalar;
use crate::document::{Count, Duration, Name, Scalar, Section, Share, decimal, whole_number};

/// The top level.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename = "a scenario", default, deny_unknown_fields)]
pub struct Scenario {
    pub(super) baud_rate: BaudRate,
    pub(super) seed: Count<0, { u32::MAX }>,
    pub(super) turnaround: Turnaround,
    pub(super) meters: Vec<Meter>,
    pub(super) faults: Vec<Fault>,
}

/// An entry of `meters`.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename = "a meter", default, deny_unknown_fields)]
pub struct Meter {
    /// Needed.
    pub(super) id: Option<UnitRange>,
    pub(super) name: Option<Name>,
    pub(super) system_type: SystemTypeCode,
    pub(super) ct_rating: Option<Count<20, 5000>>,
    pub(super) voltage: Option<Count<82, 32_000>>,
    pub(super) pt_ratio: Ratio,
    pub(super) load: Load,
    pub(super) turnaround: Option<Turnaround>,
    pub(super) baud_rate: Option<BaudRate>,
}

/// The section `load` of a meter.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename = "a load", default, deny_unknown_fields)]
pub struct Load {
    pub(super) shape: Shape,
    pub(super) amps: Option<Real<0, 60_000_000>>,
    pub(super) pf: Option<Real<100, 10_000>>,
}

/// An entry of `faults`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename = "a fault", default, deny_unknown_fields)]
pub struct Fault {
    /// Needed.
    pub(super) fault: Option<FaultName>,
    /// An id or a name.
    pub(super) meter: Option<Name>,
    pub(super) at: At,
    #[serde(rename = "for")]
    pub(super) lasts: Option<Duration<1, WEEK>>,
    pub(super) delay: Option<Duration<1, 60_000>>,
    pub(super) share: Option<Share<1>>,
    pub(super) phase: Option<Phase>,
    #[serde(rename = "as")]
    pub(super) unit: Option<Count<1, { UNIT_MAX as u32 }>>,
}

/// The words of `fault`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FaultName {
    /// See [`super::settings::FaultKind::Dead`]; likewise the others.
    Dead,
    /// With `delay`.
    Late,
    /// With `share`.
    Noisy,
    /// Of the whole line.
    Echo,
    /// With `as`.
    WrongUnit,
    /// With `phase`.
    ReversedCt,
    /// With `phase`.
    PhaseLoss,
    /// Two seconds long by default.
    PowerCycle,
    /// Random bytes instead of answers.
    Garbage,
}

impl FaultName {
    /// The word in the file.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Dead => "dead",
            Self::Late => "late",
            Self::Noisy => "noisy",
            Self::Echo => "echo",
            Self::WrongUnit => "wrong_unit",
            Self::ReversedCt => "reversed_ct",
            Self::PhaseLoss => "phase_loss",
            Self::PowerCycle => "power_cycle",
            Self::Garbage => "garbage",
        }
    }
}

impl Section for Scenario {
    const APART: &'static [&'static str] = &["meters", "faults"];
}

impl Section for Meter {}

impl Section for Fault {}

impl Default for Scenario {
    fn default() -> Self {
        Self {
            baud_rate: Count::new(19_200),
            seed: Count::new(1),
            turnaround: Turnaround::millis(5),
            meters: Vec::new(),
            faults: Vec::new(),
        }
    }
}

impl Default for Meter {
    fn default() -> Self {
        Self {
            id: None,
            name: None,
            system_type: SystemTypeCode(SystemType::Wye),
            ct_rating: None,
            voltage: None,
            pt_ratio: Ratio(100),
            load: Load::default(),
            turnaround: None,
            baud_rate: None,
        }
    }
}

impl Default for Load {
    fn default() -> Self {
        Self { shape: Shape::Breathing, amps: None, pf: None }
    }
}

pub(super) type BaudRate = Count<300, 1_000_000>;
pub(super) type Turnaround = Duration<0, 10_000>;

/// When a fault begins.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(transparent)]
pub struct At(pub(super) Duration<0, WEEK>);

impl Default for At {
    fn default() -> Self {
        Self(Duration::millis(0))
    }
}

scalar! {
    /// Unit identifiers: `3`, or `2-8`.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct UnitRange(pub(super) RangeInclusive<u8>);
    |text| {
        let unit = |text: &str| {
            let unit = u8::try_from(whole_number(text.trim())?).ok()?;
            (1..=UNIT_MAX).contains(&unit).then_some(unit)
        };
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        let range = unit(first)?..=unit(last)?;
        (!range.is_empty()).then_some(range)
    },
    |_| format!("1 to {UNIT_MAX}, or a range such as 2-8");

    /// The code of register 130.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct SystemTypeCode(pub(super) SystemType): plain;
    |text| SystemType::from_code(u16::try_from(whole_number(text)?).ok()?),
    |_| SystemType::ALL.iter().map(|one| one.code().to_string()).collect::<Vec<_>>().join(", ");

    /// A ratio of voltage transformers, in hundredths.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Ratio(pub(super) u16): plain;
    |text| u16::try_from(decimal(text, 2)?).ok().filter(|ratio| (1..=32_000).contains(ratio)),
    |_| "a ratio from 0.01 to 320, with up to two decimals";
}

/// A number from `MIN` to `MAX` ten-thousandths.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Real<const MIN: u32, const MAX: u32>(u32);

impl<const MIN: u32, const MAX: u32> Real<MIN, MAX> {
    pub(super) fn get(self) -> f64 {
        f64::from(self.0) / 10_000.0
    }
}

impl<const MIN: u32, const MAX: u32> Scalar for Real<MIN, MAX> {
    const PLAIN: bool = true;

    fn parse(text: &str) -> Option<Self> {
        u32::try_from(decimal(text, 4)?).ok().filter(|number| (MIN..=MAX).contains(number)).map(Self)
    }

    fn allowed(_: &str) -> String {
        format!("a number from {} to {}, with up to four decimals", Self(MIN).get(), Self(MAX).get())
    }
}

scalar!([const MIN: u32, const MAX: u32] Real<MIN, MAX>);

/// The highest identifier on a line; those above 247 are reserved, and some devices have one all the same.
const UNIT_MAX: u8 = 255;
/// Latest and longest fault, in milliseconds.
const WEEK: u64 = 7 * 24 * 60 * 60 * 1000;
