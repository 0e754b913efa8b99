//! Registers into values with units.
//!
//! Owns the honesty of it: a not-available code is no number, a NaN keeps its bits, and a value scaled by an
//! exponent of another read says so. Never reads a clock: each read brings the instant it was asked for.

use std::fmt;
use std::time::{Duration, Instant};

use super::decimal::Decimal;
use super::profile::{Bit, Point, Profile, Scale};
use super::vocabulary::{Format, WordOrder};
use crate::modbus::pdu::ReadRange;

/// The registers of one read.
#[derive(Clone, Copy, Debug)]
pub struct Sample<'r> {
    range: ReadRange,
    registers: &'r [u8],
    asked_at: Instant,
}

impl<'r> Sample<'r> {
    /// From the reply PDU to a read of that range, and the instant its request began to be sent.
    ///
    /// `None` where the reply is not one of that function with that many registers.
    #[must_use]
    pub fn new(range: ReadRange, reply: &'r [u8], asked_at: Instant) -> Option<Self> {
        let (head, registers) = reply.split_at_checked(2)?;
        let count = range.byte_count();
        let fits = registers.len() == count && head[0] == range.function.0 && usize::from(head[1]) == count;
        fits.then_some(Self { range, registers, asked_at })
    }

    /// When the read was asked for.
    #[must_use]
    pub fn asked_at(&self) -> Instant {
        self.asked_at
    }

    /// The point's registers as one number; `None` where this read does not hold all of them.
    fn bits(&self, profile: &Profile, point: &Point) -> Option<u64> {
        let range = profile.range_in(point, self.range.function);
        if !self.range.covers(&range) {
            return None;
        }
        let from = usize::from(range.start - self.range.start) * 2;
        let bytes = self.registers.get(from..from + range.byte_count())?;
        let words = bytes.chunks_exact(2).map(|pair| u64::from(u16::from_be_bytes([pair[0], pair[1]])));
        let join = |high: u64, word: u64| (high << 16) | word;
        Some(match profile.word_order {
            WordOrder::HighFirst => words.fold(0, join),
            WordOrder::LowFirst => words.rev().fold(0, join),
        })
    }
}

/// One point, read.
#[derive(Clone, Debug, PartialEq)]
pub struct Reading<'p> {
    /// What was read; its unit is [`Point::unit`].
    pub point: &'p Point,
    /// What it says.
    pub value: Value<'p>,
    /// When its registers were asked for.
    pub asked_at: Instant,
    /// Where the exponent came from.
    pub exponent: ExponentRead,
    /// Whether the value is one the profile says the point may hold; true where there is no number.
    pub in_range: bool,
}

/// What registers say.
#[derive(Clone, Debug, PartialEq)]
pub enum Value<'p> {
    /// A whole number, scaled, exactly.
    Number(Decimal),
    /// A finite float, as the meter gave it.
    Float(f32),
    /// A number with a meaning of its own.
    Code {
        /// As read.
        code: u16,
        /// What the profile says of it.
        means: &'p str,
    },
    /// Flags.
    Bits {
        /// As read, flags without a name included.
        bits: u16,
        /// The flags that are set and have a name, lowest first.
        set: Vec<&'p Bit>,
    },
    /// A version.
    Version(Version),
    /// The meter says there is no value.
    NotAvailable,
    /// A float that is no number and not the code for "no value": an infinity, or a NaN with other bits.
    NotANumber {
        /// As read, high word first.
        bits: u32,
    },
    /// A count whose exponent is not known, and so no value.
    Unscaled {
        /// As read.
        count: i128,
        /// Why.
        why: Unscaled,
    },
}

/// A version; people see it as the meter's guide writes it: `V02.015`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Version {
    /// Before the point.
    pub major: u16,
    /// After it, three digits.
    pub minor: u16,
}

/// Why a count could not be scaled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unscaled {
    /// No read held the exponent.
    NotRead,
    /// The exponent before the count was read is not the one after it.
    Changed,
    /// The exponent is none the profile allows; the exponent as read.
    Impossible(i16),
}

/// When the exponent of a scaled value was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExponentRead {
    /// The value has none.
    NotNeeded,
    /// In the same transaction as the value.
    Together,
    /// Before the value and after it, the same both times.
    Around,
    /// At another time only, so far from the value. Had it changed in between, the value would be wrong.
    Apart(Duration),
    /// Not at all, or not one that can be used.
    Missing,
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "V{:02}.{:03}", self.major, self.minor)
    }
}

impl Value<'_> {
    /// The value as a float, where it is a plain number.
    #[must_use]
    pub fn number(&self) -> Option<f64> {
        match self {
            Self::Number(number) => Some(number.to_f64()),
            Self::Float(value) => Some(f64::from(*value)),
            Self::Code { code, .. } => Some(f64::from(*code)),
            Self::Bits { .. }
            | Self::Version(_)
            | Self::NotAvailable
            | Self::NotANumber { .. }
            | Self::Unscaled { .. } => None,
        }
    }
}

impl Profile {
    /// What the newest read that holds the point says of it. `None`: no read holds all of its registers.
    ///
    /// An exponent is taken from the same read, else from the last one before it and the first one after it;
    /// where these two disagree, nobody knows which one the count belongs to, and there is no value.
    #[must_use]
    pub fn decode<'p>(&'p self, point: &'p Point, samples: &[Sample<'_>]) -> Option<Reading<'p>> {
        let held = samples.iter().filter_map(|sample| Some((sample, sample.bits(self, point)?)));
        let (sample, bits) = held.max_by_key(|(sample, _)| sample.asked_at)?;
        let (value, exponent, in_range) = if self.not_available(point) == Some(bits) {
            (Value::NotAvailable, ExponentRead::NotNeeded, true)
        } else {
            match (point.format.integer(bits), &point.scale) {
                (Some(count), Some(Scale::Exponent(name))) => {
                    let (value, exponent) = self.scaled(count, name, sample, samples);
                    (value, exponent, point.allows(count))
                }
                (Some(count), Some(Scale::Factor(step))) => {
                    (number(*step, count), ExponentRead::NotNeeded, point.allows(count))
                }
                (Some(count), None) => (plain(point, count), ExponentRead::NotNeeded, point.allows(count)),
                (None, _) => {
                    let value = float(bits);
                    let in_range = value.number().is_none_or(|value| point.allows_value(value));
                    (value, ExponentRead::NotNeeded, in_range)
                }
            }
        };
        Some(Reading { point, value, asked_at: sample.asked_at, exponent, in_range })
    }

    fn scaled<'p>(
        &self,
        count: i128,
        name: &str,
        sample: &Sample<'_>,
        samples: &[Sample<'_>],
    ) -> (Value<'p>, ExponentRead) {
        let unscaled = |why| (Value::Unscaled { count, why }, ExponentRead::Missing);
        let Some(point) = self.point(name) else { return unscaled(Unscaled::NotRead) };
        let exponent_in =
            |sample: &Sample<'_>| sample.bits(self, point).and_then(|bits| point.format.integer(bits));
        let (exponent, read) = if let Some(exponent) = exponent_in(sample) {
            (exponent, ExponentRead::Together)
        } else {
            let others = || samples.iter().filter_map(|one| Some((one.asked_at, exponent_in(one)?)));
            let before = others().filter(|(at, _)| *at <= sample.asked_at).max_by_key(|(at, _)| *at);
            let after = others().filter(|(at, _)| *at > sample.asked_at).min_by_key(|(at, _)| *at);
            match (before, after) {
                (None, None) => return unscaled(Unscaled::NotRead),
                (Some((_, one)), Some((_, other))) if one != other => return unscaled(Unscaled::Changed),
                (Some((_, exponent)), Some(_)) => (exponent, ExponentRead::Around),
                (Some((at, exponent)), None) => {
                    (exponent, ExponentRead::Apart(sample.asked_at.saturating_duration_since(at)))
                }
                (None, Some((at, exponent))) => {
                    (exponent, ExponentRead::Apart(at.saturating_duration_since(sample.asked_at)))
                }
            }
        };
        let step = i8::try_from(exponent).ok().filter(|_| point.allows(exponent));
        match (step, i16::try_from(exponent)) {
            (Some(exponent), _) => (number(Decimal { digits: 1, exponent }, count), read),
            (None, Ok(exponent)) => unscaled(Unscaled::Impossible(exponent)),
            (None, Err(_)) => unscaled(Unscaled::NotRead),
        }
    }
}

/// A count of steps. Digits of a step and of a count together stay far below what `i128` holds.
fn number<'p>(step: Decimal, count: i128) -> Value<'p> {
    match step.steps(count) {
        Some(number) => Value::Number(number),
        None => Value::Unscaled { count, why: Unscaled::NotRead },
    }
}

/// A number that is not scaled.
fn plain(point: &Point, count: i128) -> Value<'_> {
    let Ok(word) = u16::try_from(count) else { return Value::Number(Decimal::whole(count)) };
    match point.format {
        Format::Bits => {
            let set = point.bits.iter().filter(|bit| word >> bit.bit & 1 == 1).collect();
            Value::Bits { bits: word, set }
        }
        Format::Version => Value::Version(Version { major: word / 1000, minor: word % 1000 }),
        Format::U16
        | Format::I16
        | Format::U32
        | Format::I32
        | Format::U64
        | Format::I64
        | Format::F32
        | Format::Exponent => match point.codes.iter().find(|code| code.code == word) {
            Some(code) => Value::Code { code: word, means: &code.means },
            None => Value::Number(Decimal::whole(count)),
        },
    }
}

/// Judged by its bits, not by a comparison: a NaN equals nothing, itself included.
fn float<'p>(bits: u64) -> Value<'p> {
    let bits = u32::try_from(bits & u64::from(u32::MAX)).unwrap_or_default();
    let value = f32::from_bits(bits);
    if value.is_finite() { Value::Float(value) } else { Value::NotANumber { bits } }
}
