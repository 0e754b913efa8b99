//! Decimal numbers as meters count them: steps times a power of ten.
//!
//! Owns exact scaling and exact text: 1234 steps of 0.1 are 123.4, never 123.40000000000001. Never rounds; floats are
//! made only on request.

use std::fmt;

/// `digits` times ten to the power of `exponent`, exactly.
///
/// Both parts are compared: 10 x 10^-1 and 1 x 10^0 are shown differently and are not equal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decimal {
    /// The digits, as a whole number.
    pub digits: i128,
    /// The power of ten.
    pub exponent: i8,
}

impl Decimal {
    /// A whole number.
    #[must_use]
    pub fn whole(digits: i128) -> Self {
        Self { digits, exponent: 0 }
    }

    /// Digits with at most one point, such as `0.0001`, `10` or `-2.5`; [`MOST_DIGITS`] digits at most.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (sign, text) = text.strip_prefix('-').map_or((1, text), |digits| (-1, digits));
        let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
        let digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
        let pointed = text.contains('.');
        if whole.is_empty() || !digits(whole) || !digits(fraction) || pointed == fraction.is_empty() {
            return None;
        }
        if whole.trim_start_matches('0').len() + fraction.len() > MOST_DIGITS {
            return None;
        }
        let exponent = i8::try_from(fraction.len()).ok()?;
        let digits: i128 = format!("{whole}{fraction}").parse().ok()?;
        Some(Self { digits: digits * sign, exponent: -exponent })
    }

    /// `raw` steps of this size. `None` on overflow, which no register reaches.
    #[must_use]
    pub fn steps(self, raw: i128) -> Option<Self> {
        Some(Self { digits: self.digits.checked_mul(raw)?, exponent: self.exponent })
    }

    /// The product. `None` on overflow.
    #[must_use]
    pub fn times(self, other: Self) -> Option<Self> {
        let exponent = self.exponent.checked_add(other.exponent)?;
        Some(Self { digits: self.digits.checked_mul(other.digits)?, exponent })
    }

    /// The sum. `None` on overflow.
    #[must_use]
    pub fn plus(self, other: Self) -> Option<Self> {
        let exponent = self.exponent.min(other.exponent);
        let at = |one: Self| {
            let power = u32::try_from(i32::from(one.exponent) - i32::from(exponent)).ok()?;
            one.digits.checked_mul(10_i128.checked_pow(power)?)
        };
        Some(Self { digits: at(self)?.checked_add(at(other)?)?, exponent })
    }

    /// The quotient, if it has an end after few digits; `None` if it has none, and for a division by zero.
    #[must_use]
    pub fn over(self, other: Self) -> Option<Self> {
        (0..=MOST_PLACES).find_map(|places| {
            let digits = self.digits.checked_mul(10_i128.checked_pow(places)?)?;
            let exponent =
                i32::from(self.exponent) - i32::from(other.exponent) - i32::try_from(places).ok()?;
            let exponent = i8::try_from(exponent).ok()?;
            let whole = digits.checked_rem(other.digits)? == 0;
            whole.then(|| Self { digits: digits / other.digits, exponent })
        })
    }

    /// The nearest float.
    #[must_use]
    pub fn to_f64(self) -> f64 {
        let places = self.exponent.unsigned_abs();
        let digits = i64::try_from(self.digits).ok().filter(|digits| digits.unsigned_abs() <= EXACT_DIGITS);
        match digits {
            // Both are exact floats, so that this rounds only once.
            #[expect(clippy::cast_precision_loss, reason = "no more digits than a float holds")]
            Some(digits) if places <= EXACT_POWER => {
                let power = 10_f64.powi(i32::from(places));
                if self.exponent < 0 { digits as f64 / power } else { digits as f64 * power }
            }
            Some(_) | None => format!("{}e{}", self.digits, self.exponent).parse().unwrap_or(f64::NAN),
        }
    }
}

impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let places = usize::from(self.exponent.unsigned_abs());
        let digits = self.digits.unsigned_abs().to_string();
        let sign = if self.digits < 0 { "-" } else { "" };
        let text = match self.exponent {
            0 => digits,
            1.. if self.digits == 0 => digits,
            1.. => digits + &"0".repeat(places),
            i8::MIN..0 => {
                let digits = format!("{digits:0>width$}", width = places + 1);
                let (whole, fraction) = digits.split_at(digits.len() - places);
                format!("{whole}.{fraction}")
            }
        };
        f.pad(&format!("{sign}{text}"))
    }
}

/// Digits of a step, before and after the point.
pub(super) const MOST_DIGITS: usize = 18;
/// Digits a quotient may have beyond those of its operands.
const MOST_PLACES: u32 = 9;

/// The largest whole number up to which each is a float exactly.
const EXACT_DIGITS: u64 = 1 << f64::MANTISSA_DIGITS;

/// The largest power of ten that is a float exactly.
const EXACT_POWER: u8 = 22;
