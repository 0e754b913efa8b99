//! The values common to all kinds of file: counts, shares, names, lists.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{self, Deserializer, SeqAccess, Visitor};
use serde::{Deserialize, Serialize, Serializer};

use super::de::{Scalar, scalar};

/// A whole number from `MIN` to `MAX`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct Count<const MIN: u32, const MAX: u32>(u32);

impl<const MIN: u32, const MAX: u32> Count<MIN, MAX> {
    /// A number within the bounds.
    #[must_use]
    pub const fn new(number: u32) -> Self {
        assert!(MIN <= number && number <= MAX, "a number in code is within its own bounds");
        Self(number)
    }

    /// The nearest number within the bounds.
    #[must_use]
    pub fn clamped(number: usize) -> Self {
        Self(u32::try_from(number).unwrap_or(u32::MAX).clamp(MIN, MAX))
    }

    /// As a number.
    #[must_use]
    pub fn get(self) -> u32 {
        self.0
    }

    /// As a count of items.
    #[must_use]
    pub fn size(self) -> usize {
        self.0 as usize
    }

    /// As a byte or a register; `None` if it does not fit.
    #[must_use]
    pub fn narrow<T: TryFrom<u32>>(self) -> Option<T> {
        T::try_from(self.0).ok()
    }
}

impl<const MIN: u32, const MAX: u32> Scalar for Count<MIN, MAX> {
    const PLAIN: bool = true;

    fn parse(text: &str) -> Option<Self> {
        whole_number(text).filter(|number| (MIN..=MAX).contains(number)).map(Self)
    }

    fn allowed(_: &str) -> String {
        if MAX - MIN == 1 { format!("{MIN}, {MAX}") } else { format!("a whole number from {MIN} to {MAX}") }
    }

    fn suggest(found: &str) -> Option<String> {
        // A separator of thousands, or leading zeros.
        let groups: Vec<_> = found.split([',', '.', '\'', '_', ' ']).collect();
        let is_grouped = groups.len() > 1 && groups.iter().skip(1).all(|group| group.len() == 3);
        let digits = if is_grouped { groups.concat() } else { found.to_owned() };
        let bare = digits.trim_start_matches('0');
        Some(if bare.is_empty() { "0".to_owned() } else { bare.to_owned() })
    }
}

/// A share in percent, from `MIN` hundredths of a percent to 100%.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share<const MIN: u32>(u32);

impl<const MIN: u32> Share<MIN> {
    /// A number of hundredths of a percent.
    #[must_use]
    pub const fn hundredths(hundredths: u32) -> Self {
        assert!(MIN <= hundredths && hundredths <= 10_000, "a share in code is within its own bounds");
        Self(hundredths)
    }

    /// The nearest share; `share` is from 0 to 1.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "bounded before")]
    pub fn clamped(share: f64) -> Self {
        Self((share * 10_000.0).round().clamp(f64::from(MIN), 10_000.0) as u32)
    }

    /// From 0 to 1. Hundredths of a percent are whole, so a share that is written back reads as the same number.
    #[must_use]
    pub fn get(self) -> f64 {
        f64::from(self.0) / 10_000.0
    }
}

impl<const MIN: u32> Scalar for Share<MIN> {
    fn parse(text: &str) -> Option<Self> {
        let hundredths = u32::try_from(decimal(text.strip_suffix('%')?.trim_end(), 2)?).ok()?;
        (MIN..=10_000).contains(&hundredths).then_some(Self(hundredths))
    }

    fn allowed(_: &str) -> String {
        format!("a share from {} to 100%", Self(MIN))
    }

    fn suggest(found: &str) -> Option<String> {
        Some(format!("{found}%"))
    }
}

impl<const MIN: u32> fmt::Display for Share<MIN> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let percent = format!("{}.{:02}", self.0 / 100, self.0 % 100);
        write!(f, "{}%", percent.trim_end_matches('0').trim_end_matches('.'))
    }
}

impl<const MIN: u32> Serialize for Share<MIN> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

scalar! {
    /// A display name.
    #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
    pub struct Name(pub(crate) String);
    |text| {
        let printable = |c: char| !c.is_control() && !matches!(c, '\u{2028}' | '\u{2029}' | '\u{feff}');
        let fits = text.trim() == text
            && (1..=LONGEST_NAME).contains(&text.chars().count())
            && text.chars().all(printable);
        fits.then(|| text.to_owned())
    },
    |_| format!("a name of 1 to {LONGEST_NAME} printable characters");
}

scalar!([const MIN: u32, const MAX: u32] Count<MIN, MAX>);
scalar!([const MIN: u32] Share<MIN>);

/// `yes` or `no`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum YesNo {
    /// It is so.
    Yes,
    /// It is not.
    #[default]
    No,
}

/// A list of `MIN` to `MAX` items.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct List<T, const MIN: usize, const MAX: usize>(pub(crate) Vec<T>);

impl<T, const MAX: usize> Default for List<T, 0, MAX> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<'de, T: Deserialize<'de>, const MIN: usize, const MAX: usize> Deserialize<'de> for List<T, MIN, MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OfItems<T, const MIN: usize, const MAX: usize>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>, const MIN: usize, const MAX: usize> Visitor<'de> for OfItems<T, MIN, MAX> {
            type Value = List<T, MIN, MAX>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&allowed_list(MAX))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
                let length = items.size_hint().unwrap_or_default();
                if let Some(found) = wrong_length(length, MIN, MAX) {
                    return Err(de::Error::custom(format!("{found}; allowed: {}", allowed_list(MAX))));
                }
                let mut list = Vec::new();
                while let Some(item) = items.next_element()? {
                    list.push(item);
                }
                Ok(List(list))
            }
        }

        deserializer.deserialize_seq(OfItems(PhantomData))
    }
}

fn allowed_list(most: usize) -> String {
    format!("a list of 1 to {most}, each beginning with a dash")
}

pub(super) fn wrong_length(length: usize, least: usize, most: usize) -> Option<String> {
    if length > most {
        return Some(format!("found a list of {length}"));
    }
    (length < least).then(|| "found an empty list".to_owned())
}

/// Digits without a leading zero: `010` is ten to some readers and eight to others.
pub(crate) fn whole_number(text: &str) -> Option<u32> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let clear = digits && (text == "0" || !text.starts_with('0'));
    if clear { text.parse().ok() } else { None }
}

/// Digits as in [`whole_number`], or `0x` and hexadecimal digits.
pub(crate) fn decimal_or_hex(text: &str) -> Option<u32> {
    let Some(hex) = text.strip_prefix("0x") else { return whole_number(text) };
    let digits = !hex.is_empty() && hex.bytes().all(|b| b.is_ascii_hexdigit());
    if digits { u32::from_str_radix(hex, 16).ok() } else { None }
}

/// A number with up to `places` decimals, in units of the last place.
pub(crate) fn decimal(text: &str, places: usize) -> Option<u64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    if fraction.is_empty() || fraction.len() > places || !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let scale = (0..places).fold(1u64, |scale, _| scale * 10);
    let fraction = format!("{fraction:0<places$}").parse::<u64>().ok()?;
    u64::from(whole_number(whole)?).checked_mul(scale)?.checked_add(fraction)
}

/// Characters of a name.
const LONGEST_NAME: usize = 64;
