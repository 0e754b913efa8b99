//! The closed sets a profile chooses from, and the word the file uses for each member.
//!
//! One function per set, used to read and to show, so that both always agree. Decides nothing else.

use serde::Deserialize;

/// How a point's registers make a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// One register, unsigned.
    U16,
    /// One register, two's complement.
    I16,
    /// Two registers, unsigned.
    U32,
    /// Two registers, two's complement.
    I32,
    /// Four registers, unsigned.
    U64,
    /// Four registers, two's complement.
    I64,
    /// Two registers, IEEE 754 single precision.
    F32,
    /// One register of flags. Every pattern is a value, so there is no not-available code.
    Bits,
    /// One register, two's complement: the power of ten that other points are scaled by.
    Exponent,
    /// One register whose decimal digits `xxyyy` read Vxx.yyy. Every number is a value.
    Version,
}

impl Format {
    /// All of them.
    pub const ALL: &'static [Self] = &[
        Self::U16,
        Self::I16,
        Self::U32,
        Self::I32,
        Self::U64,
        Self::I64,
        Self::F32,
        Self::Bits,
        Self::Exponent,
        Self::Version,
    ];

    /// As the file says it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::U16 => "u16",
            Self::I16 => "i16",
            Self::U32 => "u32",
            Self::I32 => "i32",
            Self::U64 => "u64",
            Self::I64 => "i64",
            Self::F32 => "f32",
            Self::Bits => "bits",
            Self::Exponent => "exponent",
            Self::Version => "version",
        }
    }

    /// Registers it takes.
    #[must_use]
    pub fn words(self) -> u16 {
        match self {
            Self::U16 | Self::I16 | Self::Bits | Self::Exponent | Self::Version => 1,
            Self::U32 | Self::I32 | Self::F32 => 2,
            Self::U64 | Self::I64 => 4,
        }
    }

    /// Lowest and highest number it holds.
    #[must_use]
    #[expect(
        clippy::cast_precision_loss,
        reason = "limits for comparison; the 64-bit ones may be off by one"
    )]
    pub fn limits(self) -> (f64, f64) {
        match self {
            Self::U16 | Self::Bits | Self::Version => (0.0, f64::from(u16::MAX)),
            Self::I16 | Self::Exponent => (f64::from(i16::MIN), f64::from(i16::MAX)),
            Self::U32 => (0.0, f64::from(u32::MAX)),
            Self::I32 => (f64::from(i32::MIN), f64::from(i32::MAX)),
            Self::U64 => (0.0, u64::MAX as f64),
            Self::I64 => (i64::MIN as f64, i64::MAX as f64),
            Self::F32 => (f64::from(f32::MIN), f64::from(f32::MAX)),
        }
    }

    /// Whether it counts steps that a scale makes into a value.
    #[must_use]
    pub fn is_scalable(self) -> bool {
        match self {
            Self::U16 | Self::I16 | Self::U32 | Self::I32 | Self::U64 | Self::I64 => true,
            Self::F32 | Self::Bits | Self::Exponent | Self::Version => false,
        }
    }

    /// The whole number in a point's registers, its words joined; `None` for a float.
    #[must_use]
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_possible_wrap,
        reason = "the format says how wide"
    )]
    pub(super) fn integer(self, bits: u64) -> Option<i128> {
        match self {
            Self::U16 | Self::Bits | Self::Version | Self::U32 | Self::U64 => Some(i128::from(bits)),
            Self::I16 | Self::Exponent => Some(i128::from(bits as u16 as i16)),
            Self::I32 => Some(i128::from(bits as u32 as i32)),
            Self::I64 => Some(i128::from(bits as i64)),
            Self::F32 => None,
        }
    }
}

/// Which of the values of a wide point stands first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WordOrder {
    /// The high word in the lowest register.
    HighFirst,
    /// The low word in the lowest register.
    LowFirst,
}

/// What may be done to a point.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Access {
    /// Read.
    #[default]
    Read,
    /// Read and written.
    ReadWrite,
}

/// What a block holds, and so how often it is worth reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BlockKind {
    /// Values that change by themselves; polled at `poll`.
    Measurement,
    /// Settings and what follows from them; polled at `poll_slow`.
    Configuration,
    /// What the meter is; polled at `poll_slow`.
    Identity,
}

/// How sure a fact of the profile is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Confidence {
    /// Printed in the meter's own papers.
    #[default]
    Own,
    /// Printed in the papers of a meter of the same family.
    Sibling,
    /// Reasoned, printed nowhere.
    Inferred,
}

/// What a point is about; points of one group are shown together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Group {
    /// Running totals.
    Energy,
    /// Instantaneous power of any kind.
    Power,
    /// Power factors.
    PowerFactor,
    /// Voltages.
    Voltage,
    /// Currents.
    Current,
    /// Line frequency.
    Frequency,
    /// Averages over a demand interval, and their peaks.
    Demand,
    /// Pulse counters.
    Pulses,
    /// Settings, and what follows from them.
    Configuration,
    /// Exponents.
    Scale,
    /// Alerts and counters of events.
    Diagnostics,
    /// What the meter is.
    Identity,
    /// Everything else that is measured.
    Other,
    /// Registers that answer and mean nothing.
    Reserved,
}

impl Group {
    /// All of them, in the order they are shown.
    pub const ALL: &'static [Self] = &[
        Self::Energy,
        Self::Power,
        Self::PowerFactor,
        Self::Voltage,
        Self::Current,
        Self::Frequency,
        Self::Demand,
        Self::Pulses,
        Self::Configuration,
        Self::Scale,
        Self::Diagnostics,
        Self::Identity,
        Self::Other,
        Self::Reserved,
    ];

    /// As the file says it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Energy => "energy",
            Self::Power => "power",
            Self::PowerFactor => "power_factor",
            Self::Voltage => "voltage",
            Self::Current => "current",
            Self::Frequency => "frequency",
            Self::Demand => "demand",
            Self::Pulses => "pulses",
            Self::Configuration => "configuration",
            Self::Scale => "scale",
            Self::Diagnostics => "diagnostics",
            Self::Identity => "identity",
            Self::Other => "other",
            Self::Reserved => "reserved",
        }
    }
}

/// The units a profile may name, as shown: with the letters engineers write.
pub const UNITS: &[&str] = &[
    "kWh", "kVARh", "kVAh", "Wh", "VARh", "VAh", "MWh", "MVARh", "MVAh", "kW", "kVAR", "kVA", "W", "VAR",
    "VA", "MW", "MVAR", "MVA", "V", "kV", "mV", "A", "mA", "Hz", "%", "ratio", "pulses", "count", "ms", "s",
    "min", "h", "deg", "degC", "degF", "K", "m3", "m3/h", "l", "l/h", "bar", "kPa",
];
