//! The settings of a simulated chain: its line, its meters, and their faults.
//!
//! Plain values that `scenario` reads from a file and the command line builds itself; nothing is decided here.

use std::num::NonZeroU32;
use std::time::Duration;

use serde::Deserialize;

/// The line, the meters on it and their faults.
#[derive(Clone, Debug, PartialEq)]
pub struct ChainSettings {
    /// Bits per second; a meter may have a rate of its own.
    pub baud_rate: NonZeroU32,
    /// Bits of one character: start, eight data bits, parity if any, stop bits; 10 or 11.
    pub character_bits: u32,
    /// The meters, in any order; two may have one unit identifier.
    pub meters: Vec<MeterSettings>,
    /// The faults.
    pub faults: Vec<Fault>,
    /// How long the meters have run when the chain is opened.
    pub age: Duration,
    /// What went wrong in that time, from its beginning on; of the meters only.
    pub past: Vec<Fault>,
    /// Equal seeds make equal chains.
    pub seed: u64,
}

/// One meter and the service it is wired to.
#[derive(Clone, Debug, PartialEq)]
pub struct MeterSettings {
    /// Unit identifier, 1 to 255.
    pub unit: u8,
    /// Its display name.
    pub name: Option<String>,
    /// The connected conductors; also the initial value of register 130.
    pub system_type: SystemType,
    /// Rating of the sensors in amperes, also the initial value of register 131; `None`: a usual one, by the seed.
    pub sensor_rating: Option<u16>,
    /// Nominal volts, also the initial value of register 134; `None`: the usual one of the wiring.
    pub system_voltage: Option<u16>,
    /// Ratio of the voltage transformers times 100, also the initial value of register 133.
    pub transformer_ratio: u16,
    /// The load over time.
    pub shape: Shape,
    /// Amperes in each phase; `None`: a share of the rating, by the seed.
    pub amperes: Option<f64>,
    /// Real over apparent power of each phase; `None`: by the seed.
    pub power_factor: Option<f64>,
    /// Time between the end of a request and the first byte of its reply.
    pub turnaround: Duration,
    /// The rate its port is set to; `None`: the line's.
    pub baud_rate: Option<NonZeroU32>,
}

/// Which conductors are connected (register 130).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SystemType {
    /// 10: one phase, A and N.
    SinglePhase,
    /// 11: one phase, A and B.
    SinglePhaseAB,
    /// 12: split phase, A, B and N.
    SplitPhase,
    /// 31: delta, A, B and C.
    Delta,
    /// 40: wye, A, B, C and N.
    Wye,
}

/// The course of a load over time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Shape {
    /// It varies by a third up and down, within hours, minutes and seconds.
    Breathing,
    /// It is constant.
    Steady,
    /// It follows the time of day.
    Daily,
    /// It switches on and off every five minutes.
    Switching,
}

/// A fault.
#[derive(Clone, Debug, PartialEq)]
pub struct Fault {
    /// When it begins, after the start.
    pub at: Duration,
    /// How long it lasts; `None`: until the end.
    pub lasts: Option<Duration>,
    /// Which meters, by their place in [`ChainSettings::meters`]; none: the line itself.
    pub meters: Vec<usize>,
    /// What it is.
    pub kind: FaultKind,
}

/// The kind of a fault.
#[derive(Clone, Debug, PartialEq)]
pub enum FaultKind {
    /// The meter neither receives nor answers; it continues to measure.
    Dead,
    /// The meter answers later by this time.
    Late(Duration),
    /// This share of frames, 0 to 1, is damaged: of the meter's requests and replies, or of all.
    Noisy(f64),
    /// Clients receive what they send.
    Echo,
    /// The meter answers under this unit identifier.
    WrongUnit(u8),
    /// The meter answers with random bytes.
    Garbage,
    /// A current sensor is reversed.
    ReversedCt(Phase),
    /// A phase of the service fails.
    PhaseLoss(Phase),
    /// The meter loses power, and then starts again.
    PowerCycle,
}

/// A phase of the service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub enum Phase {
    /// A.
    A,
    /// B.
    B,
    /// C.
    C,
}

impl ChainSettings {
    /// Meters of one kind on one line, without faults.
    #[must_use]
    pub fn plain(baud_rate: NonZeroU32, turnaround: Duration, units: &[u8], seed: u64) -> Self {
        let meters = units.iter().map(|unit| MeterSettings { turnaround, ..MeterSettings::usual(*unit) });
        Self {
            baud_rate,
            character_bits: 10,
            meters: meters.collect(),
            faults: Vec::new(),
            age: Duration::ZERO,
            past: Vec::new(),
            seed,
        }
    }
}

impl MeterSettings {
    /// A usual meter: in a wye service, with a load by the seed.
    #[must_use]
    pub fn usual(unit: u8) -> Self {
        Self {
            unit,
            name: None,
            system_type: SystemType::Wye,
            sensor_rating: None,
            system_voltage: None,
            transformer_ratio: 100,
            shape: Shape::Breathing,
            amperes: None,
            power_factor: None,
            turnaround: TURNAROUND,
            baud_rate: None,
        }
    }
}

impl SystemType {
    /// Every system type.
    pub const ALL: &'static [Self] =
        &[Self::SinglePhase, Self::SinglePhaseAB, Self::SplitPhase, Self::Delta, Self::Wye];

    /// Its code in register 130.
    #[must_use]
    pub fn code(self) -> u16 {
        match self {
            Self::SinglePhase => 10,
            Self::SinglePhaseAB => 11,
            Self::SplitPhase => 12,
            Self::Delta => 31,
            Self::Wye => 40,
        }
    }

    /// The system type with this code in register 130.
    #[must_use]
    pub fn from_code(code: u16) -> Option<Self> {
        Self::ALL.iter().copied().find(|one| one.code() == code)
    }

    /// Phases with a sensor, from A on.
    #[must_use]
    pub fn phases(self) -> usize {
        match self {
            Self::SinglePhase | Self::SinglePhaseAB => 1,
            Self::SplitPhase => 2,
            Self::Delta | Self::Wye => 3,
        }
    }

    /// Phases with a conductor, from A on.
    #[must_use]
    pub fn conductors(self) -> usize {
        match self {
            Self::SinglePhase => 1,
            Self::SinglePhaseAB | Self::SplitPhase => 2,
            Self::Delta | Self::Wye => 3,
        }
    }

    /// Whether voltages to neutral mean something.
    #[must_use]
    pub fn has_neutral(self) -> bool {
        match self {
            Self::SinglePhase | Self::SplitPhase | Self::Wye => true,
            Self::SinglePhaseAB | Self::Delta => false,
        }
    }

    /// The usual nominal volts, in the unit of register 134.
    #[must_use]
    pub fn usual_voltage(self) -> u16 {
        match self {
            Self::SinglePhase => 120,
            Self::SinglePhaseAB | Self::SplitPhase => 240,
            Self::Delta | Self::Wye => 480,
        }
    }
}

impl Phase {
    /// Every phase.
    pub const ALL: &'static [Self] = &[Self::A, Self::B, Self::C];

    /// 0 for A.
    #[must_use]
    pub fn index(self) -> usize {
        match self {
            Self::A => 0,
            Self::B => 1,
            Self::C => 2,
        }
    }

    /// Its letter.
    #[must_use]
    pub fn letter(self) -> &'static str {
        match self {
            Self::A => "A",
            Self::B => "B",
            Self::C => "C",
        }
    }
}

impl Fault {
    /// Whether it is active at this time after the start.
    #[must_use]
    pub fn is_on(&self, passed: Duration) -> bool {
        passed >= self.at && self.lasts.is_none_or(|lasts| passed - self.at < lasts)
    }
}

/// A meter's default time before it answers.
pub(super) const TURNAROUND: Duration = Duration::from_millis(5);
