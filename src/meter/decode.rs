//! Registers into values with units.
//!
//! A not-available code is never shown as a number, a NaN keeps its bits, and a value scaled by an exponent or a ratio
//! of another read is marked so. Never reads a clock: each read brings the instant of its request.

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
    /// `None` unless the reply has that function and that many registers.
    #[must_use]
    pub fn new(range: ReadRange, reply: &'r [u8], asked_at: Instant) -> Option<Self> {
        let (head, registers) = reply.split_at_checked(2)?;
        let count = range.byte_count();
        let fits = registers.len() == count && head[0] == range.function.0 && usize::from(head[1]) == count;
        fits.then_some(Self { range, registers, asked_at })
    }

    /// From the range, the reply PDU and the instant of each read; without those whose reply does not fit.
    #[must_use]
    pub fn each(reads: impl Iterator<Item = (ReadRange, &'r [u8], Instant)>) -> Vec<Self> {
        reads.filter_map(|(range, reply, asked_at)| Self::new(range, reply, asked_at)).collect()
    }

    /// When the request of the read began to be sent.
    #[must_use]
    pub fn asked_at(&self) -> Instant {
        self.asked_at
    }

    /// Whether it holds all registers of these points.
    #[must_use]
    pub fn holds<'p>(&self, profile: &Profile, mut points: impl Iterator<Item = &'p Point>) -> bool {
        points.all(|point| self.range.covers(&profile.range_in(point, self.range.function)))
    }

    /// The point's registers as received; `None` unless this read holds all of them.
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

    /// The reverse of joining its registers: from a number, high word first, to registers in order of address.
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

    /// The characters in its registers, sanitised for display; `None` if there are none.
    fn text(&self, registers: &[u8]) -> Option<String> {
        let pairs = registers.chunks_exact(2).map(|pair| match self.byte_order {
            ByteOrder::HighFirst => [pair[0], pair[1]],
            ByteOrder::LowFirst => [pair[1], pair[0]],
        });
        let bytes: Vec<u8> = match self.word_order {
            WordOrder::HighFirst => pairs.flatten().collect(),
            WordOrder::LowFirst => pairs.rev().flatten().collect(),
        };
        let text = bytes.split(|byte| *byte == 0).next().unwrap_or_default();
        let shown = |letter: char| if letter.is_control() { char::REPLACEMENT_CHARACTER } else { letter };
        let text: String = String::from_utf8_lossy(text).trim().chars().map(shown).collect();
        (!text.is_empty()).then_some(text)
    }
}

/// One point, read.
#[derive(Clone, Debug, PartialEq)]
pub struct Reading<'p> {
    /// The point; the unit of the value is [`Point::unit`].
    pub point: &'p Point,
    /// Its value.
    pub value: Value<'p>,
    /// When the request for its registers began to be sent.
    pub asked_at: Instant,
    /// When the points were read that the value is scaled by.
    pub scaled: ScaleRead,
    /// When the request for these points began to be sent; of several reads that agree the last, of several points the
    /// oldest. `None`: the value is not scaled by points, or none could be used.
    pub scale_asked_at: Option<Instant>,
    /// Whether the profile allows the value for the point; true if there is no number.
    pub in_range: bool,
}

/// The meaning of registers.
#[derive(Clone, Debug, PartialEq)]
pub enum Value<'p> {
    /// A whole number, scaled, exactly.
    Number(Decimal),
    /// A finite float, as the meter sent it, or scaled.
    Float(f32),
    /// A finite double, or a whole number whose scale has no finite decimal form.
    Double(f64),
    /// A number with a meaning in the profile.
    Code {
        /// The number, as read.
        code: u16,
        /// Its meaning in the profile.
        means: &'p str,
    },
    /// Flags.
    Bits {
        /// All flags as read, including those without a name.
        bits: u32,
        /// The flags that are set and have a name, lowest first.
        set: Vec<&'p Bit>,
    },
    /// A version.
    Version(Version),
    /// Characters, sanitised for display.
    Text(String),
    /// The meter's code for "no value".
    NotAvailable,
    /// Neither a number nor the code for "no value": an infinity, a NaN with other bits, a decimal digit above 9.
    NotANumber {
        /// The bits as read, high word first.
        bits: u64,
        /// The number of registers.
        words: u16,
    },
    /// A number whose scale is unknown, and so no value.
    Unscaled {
        /// The number as read.
        count: RawNumber,
        /// The reason.
        why: Unscaled,
    },
}

/// A version, displayed as in the meter's guide: `V02.015`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Version {
    /// Before the point.
    pub major: u16,
    /// After it, with three digits.
    pub minor: u16,
}

/// A number as its registers hold it, before it is scaled.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum RawNumber {
    /// A count of steps.
    Whole(i128),
    /// A number in a floating-point format.
    Float(f64),
}

/// Why a number was not scaled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unscaled {
    /// No read held the exponent or ratio, or only one long after the number was read.
    NotRead,
    /// The exponent or ratio differed before and after the read of the number.
    Changed,
    /// The exponent is not one the profile allows; the exponent as read.
    Impossible(i16),
    /// A ratio is not available, outside its range, or zero as a divisor.
    NoRatio,
}

/// When the exponent or the ratios of a scaled value were read; of several, the least reliable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ScaleRead {
    /// The value is not scaled by points.
    NotNeeded,
    /// In the same transaction.
    Together,
    /// Before and after the value, with the same result.
    Around,
    /// Only before the value, or right after it, so far apart. If it changed in between, the value is wrong until the next
    /// read of it.
    Apart(Duration),
    /// Not at all, or unusable.
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
    /// The value as a float, if it is a plain number.
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
    /// The value of a point in the newest read that holds it. `None`: no read holds all of its registers.
    ///
    /// An exponent or a ratio is taken from the same read, else from the last one before it and the first one after it;
    /// if these two disagree, it is unknown which one the number belongs to, and there is no value. The last one before
    /// is enough until there is one after. The first one after is enough only within [`SCALE_FOLLOWS_WITHIN`]: later than
    /// that it does not show what the meter counted by.
    #[must_use]
    pub fn decode<'p>(&'p self, point: &'p Point, samples: &[Sample<'_>]) -> Option<Reading<'p>> {
        let held = samples.iter().filter_map(|sample| Some((sample, sample.registers(self, point)?)));
        let (sample, _) = held.max_by_key(|(sample, _)| sample.asked_at)?;
        self.decode_in(point, sample, samples)
    }

    /// The value of a point in one read, and what it is scaled by in all of them. `None`: it does not hold all of the
    /// point's registers.
    #[must_use]
    pub fn decode_in<'p>(
        &'p self,
        point: &'p Point,
        sample: &Sample<'_>,
        samples: &[Sample<'_>],
    ) -> Option<Reading<'p>> {
        let registers = sample.registers(self, point)?;
        let (value, scale, in_range) = self.value(point, registers, sample, samples);
        let ScaleUse { read: scaled, asked_at: scale_asked_at } = scale;
        Some(Reading { point, value, asked_at: sample.asked_at, scaled, scale_asked_at, in_range })
    }

    fn value<'p>(
        &'p self,
        point: &'p Point,
        registers: &[u8],
        sample: &Sample<'_>,
        samples: &[Sample<'_>],
    ) -> (Value<'p>, ScaleUse, bool) {
        let plain = |value| (value, ScaleUse::NONE, true);
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
                return (unscaled(point, count), ScaleUse::NONE, in_range);
            }
            Some(scale) => self.scale(scale, sample, samples),
            None => Ok((StepValue::ONE, ScaleUse::NONE)),
        };
        match scale {
            Ok((step, scale)) => {
                let amount = step.of(Amount::of(count));
                let amount = point.offset.map_or(amount, |offset| amount.plus(Amount::Exact(offset)));
                match amount.value(point.format) {
                    Some(value) => (value, scale, in_range),
                    None => (Value::NotANumber { bits, words: point.range.quantity }, scale, in_range),
                }
            }
            Err(why) => {
                let scale = ScaleUse { read: ScaleRead::Missing, asked_at: None };
                (Value::Unscaled { count, why }, scale, in_range)
            }
        }
    }

    /// The value of one step, and when the points it depends on were read.
    fn scale(
        &self,
        scale: &Scale,
        sample: &Sample<'_>,
        samples: &[Sample<'_>],
    ) -> Result<(StepValue, ScaleUse), Unscaled> {
        let (mut step, mut used) = (StepValue::ONE, ScaleUse::NONE);
        match scale {
            Scale::Factor(factor) => step.times = Amount::Exact(*factor),
            Scale::Exponent(name) => (step.times, used) = self.scaled_by(name, sample, samples)?,
            Scale::Ratio(ratio) => {
                step.times = Amount::Exact(ratio.factor);
                for name in &ratio.times {
                    let (amount, one) = self.scaled_by(name, sample, samples)?;
                    (step.times, used) = (step.times.times(amount), used.and(one));
                }
                for name in &ratio.divided_by {
                    let (amount, one) = self.scaled_by(name, sample, samples)?;
                    (step.over, used) = (step.over.times(amount), used.and(one));
                }
                if step.over.to_f64() == 0.0 {
                    return Err(Unscaled::NoRatio);
                }
            }
        }
        Ok((step, used))
    }

    /// The value of the point with this name at the time of a sample.
    fn scaled_by(
        &self,
        name: &str,
        sample: &Sample<'_>,
        samples: &[Sample<'_>],
    ) -> Result<(Amount, ScaleUse), Unscaled> {
        let point = self.point(name).ok_or(Unscaled::NotRead)?;
        let bits_in = |sample: &Sample<'_>| Some(point.join(sample.registers(self, point)?));
        let own = sample.asked_at;
        let (bits, read, asked_at) = if let Some(bits) = bits_in(sample) {
            (bits, ScaleRead::Together, own)
        } else {
            let others = || samples.iter().filter_map(|one| Some((one.asked_at, bits_in(one)?)));
            let before = others().filter(|(at, _)| *at <= own).max_by_key(|(at, _)| *at);
            let after = others().filter(|(at, _)| *at > own).min_by_key(|(at, _)| *at);
            match (before, after) {
                (None, None) => return Err(Unscaled::NotRead),
                (Some((_, one)), Some((_, other))) if one != other => return Err(Unscaled::Changed),
                (Some((_, bits)), Some((at, _))) => (bits, ScaleRead::Around, at),
                (Some((at, bits)), None) => (bits, ScaleRead::Apart(own.saturating_duration_since(at)), at),
                (None, Some((at, bits))) => {
                    let apart = at.saturating_duration_since(own);
                    if apart > SCALE_FOLLOWS_WITHIN {
                        return Err(Unscaled::NotRead);
                    }
                    (bits, ScaleRead::Apart(apart), at)
                }
            }
        };
        Ok((self.worth(point, bits)?, ScaleUse { read, asked_at: Some(asked_at) }))
    }

    /// The contribution of a point to a scale: an exponent as its power of ten, a ratio as its value.
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
            // The profile is refused if a ratio depends on another point.
            None | Some(Scale::Exponent(_) | Scale::Ratio(_)) => Amount::ONE,
        };
        let amount = scale.times(Amount::of(count));
        Ok(point.offset.map_or(amount, |offset| amount.plus(Amount::Exact(offset))))
    }
}

/// Which reads of exponents and ratios a value is scaled by.
#[derive(Clone, Copy, Debug)]
struct ScaleUse {
    read: ScaleRead,
    asked_at: Option<Instant>,
}

impl ScaleUse {
    const NONE: Self = Self { read: ScaleRead::NotNeeded, asked_at: None };

    /// That of two points: the less reliable, and the older.
    fn and(self, other: Self) -> Self {
        let oldest = self.asked_at.into_iter().chain(other.asked_at).min();
        Self { read: self.read.max(other.read), asked_at: oldest }
    }
}

/// The value of one step. Divided last, so that a quotient is rounded at most once.
struct StepValue {
    times: Amount,
    /// Not zero.
    over: Amount,
}

impl StepValue {
    const ONE: Self = Self { times: Amount::ONE, over: Amount::ONE };

    fn of(&self, count: Amount) -> Amount {
        self.times.times(count).over(self.over)
    }
}

/// A number during scaling: exact as long as possible.
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
                // A tenth is not exact as a float, ten is: dividing rounds only once.
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

    /// In the precision of the format; `None` if out of range.
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

/// The number in these bits; `None` if there is none. A float is classified by its bits, not by comparison: a NaN does
/// not equal even itself.
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

/// How soon after a number its exponent or ratio must be read where none was read before: after a start both are read in
/// the first walk over the profile's blocks, which takes this long at most unless the line is slow.
pub(super) const SCALE_FOLLOWS_WITHIN: Duration = Duration::from_secs(10);
