//! Registers into values with units.
//!
//! Owns the honesty of it: a not-available code is no number, a NaN keeps its bits, and a value scaled by an
//! exponent or a ratio of another read says so. Never reads a clock: each read brings the instant it was asked for.

use std::fmt;
use std::time::{Duration, Instant};

use super::decimal::Decimal;
use super::profile::{Bit, Point, Profile, Scale};
use super::vocabulary::{ByteOrder, Format, WordOrder};
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

    /// The point's registers as they came; `None` where this read does not hold all of them.
    fn registers(&self, profile: &Profile, point: &Point) -> Option<&'r [u8]> {
        let range = profile.range_in(point, self.range.function);
        if !self.range.covers(&range) {
            return None;
        }
        let from = usize::from(range.start - self.range.start) * 2;
        self.registers.get(from..from + range.byte_count())
    }
}

impl Point {
    /// Its registers, in order of address, as one number, high word first.
    pub(super) fn join(&self, registers: &[u8]) -> u64 {
        let words = registers.chunks_exact(2).map(|pair| {
            u64::from(match self.byte_order {
                ByteOrder::HighFirst => u16::from_be_bytes([pair[0], pair[1]]),
                ByteOrder::LowFirst => u16::from_le_bytes([pair[0], pair[1]]),
            })
        });
        let join = |high: u64, word: u64| (high << 16) | word;
        match self.word_order {
            WordOrder::HighFirst => words.fold(0, join),
            WordOrder::LowFirst => words.rev().fold(0, join),
        }
    }

    /// The reverse of how its registers are read: a number, high word first, in order of address.
    #[must_use]
    pub fn split(&self, bits: u64) -> Vec<u16> {
        let words = (0..self.range.quantity.min(4)).rev().map(|word| {
            let bytes = bits.to_le_bytes();
            let (low, high) = (bytes[usize::from(2 * word)], bytes[usize::from(2 * word) + 1]);
            match self.byte_order {
                ByteOrder::HighFirst => u16::from_be_bytes([high, low]),
                ByteOrder::LowFirst => u16::from_be_bytes([low, high]),
            }
        });
        match self.word_order {
            WordOrder::HighFirst => words.collect(),
            WordOrder::LowFirst => words.rev().collect(),
        }
    }

    /// The characters in its registers, fit to be shown; `None` where there are none.
    fn text(&self, registers: &[u8]) -> Option<String> {
        let bytes: Vec<u8> = registers
            .chunks_exact(2)
            .flat_map(|pair| match self.byte_order {
                ByteOrder::HighFirst => [pair[0], pair[1]],
                ByteOrder::LowFirst => [pair[1], pair[0]],
            })
            .collect();
        let text = bytes.split(|byte| *byte == 0).next().unwrap_or_default();
        let shown = |letter: char| if letter.is_control() { char::REPLACEMENT_CHARACTER } else { letter };
        let text: String = String::from_utf8_lossy(text).trim().chars().map(shown).collect();
        (!text.is_empty()).then_some(text)
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
    /// When the points were read that the value is scaled by.
    pub scaled: ScaleRead,
    /// Whether the value is one the profile says the point may hold; true where there is no number.
    pub in_range: bool,
}

/// What registers say.
#[derive(Clone, Debug, PartialEq)]
pub enum Value<'p> {
    /// A whole number, scaled, exactly.
    Number(Decimal),
    /// A finite float, as the meter gave it, or scaled.
    Float(f32),
    /// A finite float of eight bytes, and a whole number whose scale has no end as a decimal.
    Double(f64),
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
        bits: u32,
        /// The flags that are set and have a name, lowest first.
        set: Vec<&'p Bit>,
    },
    /// A version.
    Version(Version),
    /// Characters, fit to be shown.
    Text(String),
    /// The meter says there is no value.
    NotAvailable,
    /// What is no number and not the code for "no value": an infinity, a NaN with other bits, a decimal digit above 9.
    NotANumber {
        /// As read, high word first.
        bits: u64,
        /// Of how many registers.
        words: u16,
    },
    /// A number whose scale is not known, and so no value.
    Unscaled {
        /// As read.
        count: RawNumber,
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

/// A number as its registers hold it, before it is scaled.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum RawNumber {
    /// Of steps.
    Whole(i128),
    /// Of a floating-point format.
    Float(f64),
}

/// Why a number could not be scaled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unscaled {
    /// No read held the exponent or ratio.
    NotRead,
    /// What it is scaled by was not the same before it was read and after.
    Changed,
    /// The exponent is none the profile allows; the exponent as read.
    Impossible(i16),
    /// A ratio is not available, outside its range, or zero where it divides.
    NoRatio,
}

/// When the exponent or the ratios of a scaled value were read; of several, the one least sure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ScaleRead {
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

impl fmt::Display for RawNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole(count) => count.fmt(f),
            Self::Float(value) => value.fmt(f),
        }
    }
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
            Self::Double(value) => Some(*value),
            Self::Code { code, .. } => Some(f64::from(*code)),
            Self::Bits { .. }
            | Self::Version(_)
            | Self::Text(_)
            | Self::NotAvailable
            | Self::NotANumber { .. }
            | Self::Unscaled { .. } => None,
        }
    }
}

impl Profile {
    /// What the newest read that holds the point says of it. `None`: no read holds all of its registers.
    ///
    /// An exponent or a ratio is taken from the same read, else from the last one before it and the first one after
    /// it; where these two disagree, nobody knows which one the number belongs to, and there is no value.
    #[must_use]
    pub fn decode<'p>(&'p self, point: &'p Point, samples: &[Sample<'_>]) -> Option<Reading<'p>> {
        let held = samples.iter().filter_map(|sample| Some((sample, sample.registers(self, point)?)));
        let (sample, registers) = held.max_by_key(|(sample, _)| sample.asked_at)?;
        let (value, scaled, in_range) = self.value(point, registers, sample, samples);
        Some(Reading { point, value, asked_at: sample.asked_at, scaled, in_range })
    }

    fn value<'p>(
        &'p self,
        point: &'p Point,
        registers: &[u8],
        sample: &Sample<'_>,
        samples: &[Sample<'_>],
    ) -> (Value<'p>, ScaleRead, bool) {
        let plain = |value| (value, ScaleRead::NotNeeded, true);
        if point.format == Format::Text {
            return plain(point.text(registers).map_or(Value::NotAvailable, Value::Text));
        }
        let bits = point.join(registers);
        if self.not_available(point) == Some(bits) {
            return plain(Value::NotAvailable);
        }
        let Some(count) = count(point.format, bits) else {
            return plain(Value::NotANumber { bits, words: point.range.quantity });
        };
        let in_range = match count {
            RawNumber::Whole(count) => point.allows(count),
            RawNumber::Float(value) => point.allows_value(value),
        };
        let scale = match &point.scale {
            None if point.offset.is_none() => {
                return (unscaled(point, count), ScaleRead::NotNeeded, in_range);
            }
            Some(scale) => self.scale(scale, sample, samples),
            None => Ok((Step { times: Amount::ONE, over: Amount::ONE }, ScaleRead::NotNeeded)),
        };
        match scale {
            Ok((scale, read)) => {
                let amount = scale.of(Amount::of(count));
                let amount = point.offset.map_or(amount, |offset| amount.plus(Amount::Exact(offset)));
                match amount.value(point.format) {
                    Some(value) => (value, read, in_range),
                    None => (Value::NotANumber { bits, words: point.range.quantity }, read, in_range),
                }
            }
            Err(why) => (Value::Unscaled { count, why }, ScaleRead::Missing, in_range),
        }
    }

    /// What one step is worth, and when the points it hangs on were read.
    fn scale(
        &self,
        scale: &Scale,
        sample: &Sample<'_>,
        samples: &[Sample<'_>],
    ) -> Result<(Step, ScaleRead), Unscaled> {
        let mut step = Step { times: Amount::ONE, over: Amount::ONE };
        let mut read = ScaleRead::NotNeeded;
        match scale {
            Scale::Factor(factor) => step.times = Amount::Exact(*factor),
            Scale::Exponent(name) => (step.times, read) = self.scaled_by(name, sample, samples)?,
            Scale::Ratio(ratio) => {
                step.times = Amount::Exact(ratio.factor);
                for name in &ratio.times {
                    let (amount, when) = self.scaled_by(name, sample, samples)?;
                    (step.times, read) = (step.times.times(amount), read.max(when));
                }
                for name in &ratio.divided_by {
                    let (amount, when) = self.scaled_by(name, sample, samples)?;
                    (step.over, read) = (step.over.times(amount), read.max(when));
                }
                if step.over.to_f64() == 0.0 {
                    return Err(Unscaled::NoRatio);
                }
            }
        }
        Ok((step, read))
    }

    /// What the point of that name held when a sample was taken.
    fn scaled_by(
        &self,
        name: &str,
        sample: &Sample<'_>,
        samples: &[Sample<'_>],
    ) -> Result<(Amount, ScaleRead), Unscaled> {
        let point = self.point(name).ok_or(Unscaled::NotRead)?;
        let bits_in = |sample: &Sample<'_>| Some(point.join(sample.registers(self, point)?));
        let (bits, read) = if let Some(bits) = bits_in(sample) {
            (bits, ScaleRead::Together)
        } else {
            let others = || samples.iter().filter_map(|one| Some((one.asked_at, bits_in(one)?)));
            let before = others().filter(|(at, _)| *at <= sample.asked_at).max_by_key(|(at, _)| *at);
            let after = others().filter(|(at, _)| *at > sample.asked_at).min_by_key(|(at, _)| *at);
            match (before, after) {
                (None, None) => return Err(Unscaled::NotRead),
                (Some((_, one)), Some((_, other))) if one != other => return Err(Unscaled::Changed),
                (Some((_, bits)), Some(_)) => (bits, ScaleRead::Around),
                (Some((at, bits)), None) => {
                    (bits, ScaleRead::Apart(sample.asked_at.saturating_duration_since(at)))
                }
                (None, Some((at, bits))) => {
                    (bits, ScaleRead::Apart(at.saturating_duration_since(sample.asked_at)))
                }
            }
        };
        Ok((self.worth(point, bits)?, read))
    }

    /// What a point counts as in a scale: an exponent as its power of ten, a ratio as its value.
    fn worth(&self, point: &Point, bits: u64) -> Result<Amount, Unscaled> {
        let count = count(point.format, bits).ok_or(Unscaled::NoRatio)?;
        if let (Format::Exponent, RawNumber::Whole(exponent)) = (point.format, count) {
            let power = i8::try_from(exponent).ok().filter(|_| point.allows(exponent));
            return match (power, i16::try_from(exponent)) {
                (Some(exponent), _) => Ok(Amount::Exact(Decimal { digits: 1, exponent })),
                (None, Ok(exponent)) => Err(Unscaled::Impossible(exponent)),
                (None, Err(_)) => Err(Unscaled::NotRead),
            };
        }
        let allowed = match count {
            RawNumber::Whole(count) => point.allows(count),
            RawNumber::Float(value) => point.allows_value(value),
        };
        if self.not_available(point) == Some(bits) || !allowed {
            return Err(Unscaled::NoRatio);
        }
        let scale = match point.scale {
            Some(Scale::Factor(step)) => Amount::Exact(step),
            // The profile is refused where a ratio hangs on another point.
            None | Some(Scale::Exponent(_) | Scale::Ratio(_)) => Amount::ONE,
        };
        let amount = scale.times(Amount::of(count));
        Ok(point.offset.map_or(amount, |offset| amount.plus(Amount::Exact(offset))))
    }
}

/// What one step is worth. Divided last, so that a quotient is rounded once at most.
struct Step {
    times: Amount,
    /// Not zero.
    over: Amount,
}

impl Step {
    fn of(&self, count: Amount) -> Amount {
        self.times.times(count).over(self.over)
    }
}

/// A number on its way to a value: exact as long as it can be.
#[derive(Clone, Copy, Debug)]
enum Amount {
    Exact(Decimal),
    Float(f64),
}

impl Amount {
    const ONE: Self = Self::Exact(Decimal { digits: 1, exponent: 0 });

    fn of(count: RawNumber) -> Self {
        match count {
            RawNumber::Whole(count) => Self::Exact(Decimal::whole(count)),
            RawNumber::Float(value) => Self::Float(value),
        }
    }

    fn to_f64(self) -> f64 {
        match self {
            Self::Exact(number) => number.to_f64(),
            Self::Float(value) => value,
        }
    }

    fn times(self, other: Self) -> Self {
        match (self, other) {
            (Self::Exact(one), Self::Exact(two)) => {
                one.times(two).map_or_else(|| Self::Float(one.to_f64() * two.to_f64()), Self::Exact)
            }
            (Self::Exact(exact), Self::Float(value)) | (Self::Float(value), Self::Exact(exact)) => {
                // A tenth is no float, ten is: dividing rounds once only.
                let power = Decimal { digits: 1, exponent: exact.exponent.saturating_abs() }.to_f64();
                let digits = Decimal::whole(exact.digits).to_f64() * value;
                Self::Float(if exact.exponent < 0 { digits / power } else { digits * power })
            }
            (Self::Float(one), Self::Float(two)) => Self::Float(one * two),
        }
    }

    fn over(self, other: Self) -> Self {
        let exact = match (self, other) {
            (one, Self::Exact(Decimal { digits: 1, exponent: 0 })) => return one,
            (Self::Exact(one), Self::Exact(two)) => one.over(two),
            (Self::Exact(_) | Self::Float(_), Self::Float(_)) | (Self::Float(_), Self::Exact(_)) => None,
        };
        exact.map_or_else(|| Self::Float(self.to_f64() / other.to_f64()), Self::Exact)
    }

    fn plus(self, other: Self) -> Self {
        let exact = match (self, other) {
            (Self::Exact(one), Self::Exact(two)) => one.plus(two),
            (Self::Exact(_) | Self::Float(_), Self::Float(_)) | (Self::Float(_), Self::Exact(_)) => None,
        };
        exact.map_or_else(|| Self::Float(self.to_f64() + other.to_f64()), Self::Exact)
    }

    /// In as many digits as the format has; `None` beyond all numbers.
    fn value<'p>(self, format: Format) -> Option<Value<'p>> {
        match self {
            Self::Exact(number) => Some(Value::Number(number)),
            Self::Float(value) if format == Format::F32 => {
                #[expect(clippy::cast_possible_truncation, reason = "the meter's own precision")]
                let single = value as f32;
                single.is_finite().then_some(Value::Float(single))
            }
            Self::Float(value) => value.is_finite().then_some(Value::Double(value)),
        }
    }
}

/// A number that is not scaled.
fn unscaled(point: &Point, count: RawNumber) -> Value<'_> {
    let count = match count {
        RawNumber::Whole(count) => count,
        RawNumber::Float(value) => {
            return Amount::Float(value).value(point.format).unwrap_or(Value::Double(value));
        }
    };
    let word = u16::try_from(count).ok();
    match (point.format, word) {
        (Format::Bits, _) => {
            let bits = u32::try_from(count).unwrap_or_default();
            let set = point.bits.iter().filter(|bit| bits >> bit.bit & 1 == 1).collect();
            Value::Bits { bits, set }
        }
        (Format::Version, Some(word)) => Value::Version(Version { major: word / 1000, minor: word % 1000 }),
        (_, word) => match word.and_then(|word| point.codes.iter().find(|code| code.code == word)) {
            Some(code) => Value::Code { code: code.code, means: &code.means },
            None => Value::Number(Decimal::whole(count)),
        },
    }
}

/// The number in these bits; `None` where they are none. A float is judged by its bits, not by a comparison: a NaN
/// equals nothing, itself included.
fn count(format: Format, bits: u64) -> Option<RawNumber> {
    let float = match format {
        Format::F32 => f64::from(f32::from_bits(u32::try_from(bits).ok()?)),
        Format::F64 => f64::from_bits(bits),
        Format::U16
        | Format::I16
        | Format::U32
        | Format::I32
        | Format::U48
        | Format::U64
        | Format::I64
        | Format::Text
        | Format::Bits
        | Format::Bcd
        | Format::Mod10000
        | Format::Exponent
        | Format::Version => return format.integer(bits).map(RawNumber::Whole),
    };
    float.is_finite().then_some(RawNumber::Float(float))
}
