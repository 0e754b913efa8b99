//! The closed sets of a profile, and the word of each member in the file.
//!
//! One function per set, used to read and to show, so that both always agree.

use std::ops::RangeInclusive;

use serde::Deserialize;

/// How a point's registers form a value.
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
    /// Three registers, unsigned.
    U48,
    /// Four registers, unsigned.
    U64,
    /// Four registers, two's complement.
    I64,
    /// Two registers, IEEE 754 single precision.
    F32,
    /// Four registers, IEEE 754 double precision.
    F64,
    /// Two characters a register, the first in its high byte.
    Text,
    /// One or two registers of flags. Every pattern is a value, so there is no not-available code.
    Bits,
    /// Four decimal digits a register, each in four bits.
    Bcd,
    /// Registers of 0 to 9999 each: digits to the base of ten thousand.
    Mod10000,
    /// One register, two's complement: the power of ten that other points are scaled by.
    Exponent,
    /// One register whose decimal digits `xxyyy` read Vxx.yyy. Every number is a value.
    Version,
}

impl Format {
    /// Every format.
    pub const ALL: &'static [Self] = &[
        Self::U16,
        Self::I16,
        Self::U32,
        Self::I32,
        Self::U48,
        Self::U64,
        Self::I64,
        Self::F32,
        Self::F64,
        Self::Text,
        Self::Bits,
        Self::Bcd,
        Self::Mod10000,
        Self::Exponent,
        Self::Version,
    ];

    /// The word in the file.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::U16 => "u16",
            Self::I16 => "i16",
            Self::U32 => "u32",
            Self::I32 => "i32",
            Self::U48 => "u48",
            Self::U64 => "u64",
            Self::I64 => "i64",
            Self::F32 => "f32",
            Self::F64 => "f64",
            Self::Text => "text",
            Self::Bits => "bits",
            Self::Bcd => "bcd",
            Self::Mod10000 => "mod10000",
            Self::Exponent => "exponent",
            Self::Version => "version",
        }
    }

    /// How many registers it may have; if there is a choice, a point must state the number.
    #[must_use]
    pub fn words(self) -> RangeInclusive<u16> {
        match self {
            Self::U16 | Self::I16 | Self::Exponent | Self::Version => 1..=1,
            Self::U32 | Self::I32 | Self::F32 => 2..=2,
            Self::U48 => 3..=3,
            Self::U64 | Self::I64 | Self::F64 => 4..=4,
            Self::Text => 1..=LONGEST_TEXT,
            Self::Bits => 1..=2,
            Self::Bcd => 1..=4,
            Self::Mod10000 => 2..=4,
        }
    }

    /// The number of registers of a point that states none; `None`: the point must.
    #[must_use]
    pub fn usual_words(self) -> Option<u16> {
        match self {
            Self::Text | Self::Bcd | Self::Mod10000 => None,
            Self::U16
            | Self::I16
            | Self::U32
            | Self::I32
            | Self::U48
            | Self::U64
            | Self::I64
            | Self::F32
            | Self::F64
            | Self::Bits
            | Self::Exponent
            | Self::Version => Some(*self.words().start()),
        }
    }

    /// Lowest and highest number in this many registers.
    #[must_use]
    #[expect(
        clippy::cast_precision_loss,
        reason = "limits for comparison; the 64-bit ones may be off by one"
    )]
    pub fn limits(self, words: u16) -> (f64, f64) {
        match self {
            Self::U16 | Self::Version => (0.0, f64::from(u16::MAX)),
            Self::I16 | Self::Exponent => (f64::from(i16::MIN), f64::from(i16::MAX)),
            Self::U32 => (0.0, f64::from(u32::MAX)),
            Self::I32 => (f64::from(i32::MIN), f64::from(i32::MAX)),
            Self::U48 => (0.0, (u64::MAX >> 16) as f64),
            Self::U64 => (0.0, u64::MAX as f64),
            Self::I64 => (i64::MIN as f64, i64::MAX as f64),
            Self::F32 => (f64::from(f32::MIN), f64::from(f32::MAX)),
            Self::F64 => (f64::MIN, f64::MAX),
            Self::Text => (0.0, 0.0),
            Self::Bits => (0.0, (1_u64 << (16 * words)) as f64 - 1.0),
            Self::Bcd | Self::Mod10000 => (0.0, 10_f64.powi(4 * i32::from(words)) - 1.0),
        }
    }

    /// Whether it is a number to which a scale or an offset applies.
    #[must_use]
    pub fn is_scalable(self) -> bool {
        match self {
            Self::U16
            | Self::I16
            | Self::U32
            | Self::I32
            | Self::U48
            | Self::U64
            | Self::I64
            | Self::F32
            | Self::F64
            | Self::Bcd
            | Self::Mod10000 => true,
            Self::Text | Self::Bits | Self::Exponent | Self::Version => false,
        }
    }

    /// Whether it holds a number, a code or flags, rather than characters or a version.
    #[must_use]
    pub fn is_number(self) -> bool {
        !matches!(self, Self::Text | Self::Version)
    }

    /// Whether it holds negative whole numbers.
    #[must_use]
    pub fn is_signed(self) -> bool {
        matches!(self, Self::I16 | Self::I32 | Self::I64)
    }

    /// Whether it is a floating-point number.
    #[must_use]
    pub fn is_float(self) -> bool {
        matches!(self, Self::F32 | Self::F64)
    }

    /// The whole number in a point's registers, its words joined; `None` for a float, for text, and for invalid digits.
    #[must_use]
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_possible_wrap,
        reason = "the format says how wide"
    )]
    pub(super) fn integer(self, bits: u64) -> Option<i128> {
        match self {
            Self::U16 | Self::Bits | Self::Version | Self::U32 | Self::U48 | Self::U64 => {
                Some(i128::from(bits))
            }
            Self::I16 | Self::Exponent => Some(i128::from(bits as u16 as i16)),
            Self::I32 => Some(i128::from(bits as u32 as i32)),
            Self::I64 => Some(i128::from(bits as i64)),
            Self::Bcd => digits(bits, 4, 10),
            Self::Mod10000 => digits(bits, 16, 10_000),
            Self::F32 | Self::F64 | Self::Text => None,
        }
    }

    /// The joined registers of a whole number; `None` if it does not fit.
    #[must_use]
    pub fn bits_of(self, count: i128, words: u16) -> Option<u64> {
        match self {
            Self::U16 | Self::Version => u16::try_from(count).ok().map(u64::from),
            Self::Bits => u64::try_from(count).ok().filter(|bits| bits >> (16 * words) == 0),
            Self::I16 | Self::Exponent => i16::try_from(count).ok().map(|count| count.cast_unsigned().into()),
            Self::U32 => u32::try_from(count).ok().map(u64::from),
            Self::I32 => i32::try_from(count).ok().map(|count| count.cast_unsigned().into()),
            Self::U48 => u64::try_from(count).ok().filter(|bits| bits >> 48 == 0),
            Self::U64 => u64::try_from(count).ok(),
            Self::I64 => i64::try_from(count).ok().map(i64::cast_unsigned),
            Self::Bcd => in_digits(count, 4, 10, 4 * u32::from(words)),
            Self::Mod10000 => in_digits(count, 16, 10_000, u32::from(words)),
            Self::F32 | Self::F64 | Self::Text => None,
        }
    }
}

/// Digits to a base, `width` bits each; `None` if one is not below the base.
fn digits(bits: u64, width: u32, base: u64) -> Option<i128> {
    let mask = (1_u64 << width) - 1;
    (0..u64::BITS / width).rev().try_fold(0_i128, |number, place| {
        let digit = bits >> (place * width) & mask;
        (digit < base).then(|| number * i128::from(base) + i128::from(digit))
    })
}

/// The reverse; `None` for negative numbers and for too many digits.
fn in_digits(count: i128, width: u32, base: u64, places: u32) -> Option<u64> {
    let mut rest = u64::try_from(count).ok()?;
    let mut bits = 0;
    for place in 0..places {
        bits |= (rest % base) << (place * width);
        rest /= base;
    }
    (rest == 0).then_some(bits)
}

/// Which register of a multi-register point holds its high word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WordOrder {
    /// The lowest.
    HighFirst,
    /// The highest.
    LowFirst,
}

/// Which byte of a register holds the high byte of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ByteOrder {
    /// The first on the wire, as the standard has it.
    HighFirst,
    /// The second.
    LowFirst,
}

/// The access to a point.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Access {
    /// Read only.
    #[default]
    Read,
    /// Read and written.
    ReadWrite,
}

/// What a block holds, and so how often it is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BlockKind {
    /// Values that change by themselves; polled at `poll`.
    Measurement,
    /// Settings and values derived from them; polled at `poll_slow`.
    Configuration,
    /// Identity of the meter; polled at `poll_slow`.
    Identity,
}

/// How reliable a fact of the profile is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Confidence {
    /// Printed in the meter's own documents.
    #[default]
    Own,
    /// Printed in the documents of a meter of the same family.
    Sibling,
    /// Inferred, not documented.
    Inferred,
}

/// The subject of a point; points of one group are shown together.
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
    /// Settings, and values derived from them.
    Configuration,
    /// Exponents.
    Scale,
    /// Alerts and counters of events.
    Diagnostics,
    /// Identity of the meter.
    Identity,
    /// Other measurements.
    Other,
    /// Registers that answer and have no meaning.
    Reserved,
}

impl Group {
    /// Every group, in the order of display.
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

    /// Whether it is measured or counted, rather than set, derived from settings, or without a meaning.
    #[must_use]
    pub fn is_measurement(self) -> bool {
        match self {
            Self::Energy
            | Self::Power
            | Self::PowerFactor
            | Self::Voltage
            | Self::Current
            | Self::Frequency
            | Self::Demand
            | Self::Pulses
            | Self::Diagnostics
            | Self::Other => true,
            Self::Configuration | Self::Scale | Self::Identity | Self::Reserved => false,
        }
    }

    /// The word in the file.
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

/// Registers of a text.
const LONGEST_TEXT: u16 = 64;

/// The units a profile may use, as displayed.
pub const UNITS: &[&str] = &[
    "kWh", "kVARh", "kVAh", "Wh", "VARh", "VAh", "MWh", "MVARh", "MVAh", "kW", "kVAR", "kVA", "W", "VAR",
    "VA", "MW", "MVAR", "MVA", "V", "kV", "mV", "A", "mA", "Hz", "%", "ratio", "pulses", "count", "ms", "s",
    "min", "h", "deg", "degC", "degF", "K", "m3", "m3/h", "l", "l/h", "bar", "kPa",
];
