//! Durations as files and command lines write them: `500ms` `2s` `10m` `1h`.
//!
//! Owns the notation, for keys and options alike, and the bounds of each key as part of its type.

use std::fmt;
use std::str::FromStr;
use std::time;

use serde::{Serialize, Serializer};

use super::de::{NotAllowed, Scalar, scalar};
use super::value::decimal;

/// A duration from `MIN` to `MAX` milliseconds, bounds included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Duration<const MIN: u64 = 0, const MAX: u64 = { u64::MAX }>(time::Duration);

impl<const MIN: u64, const MAX: u64> Duration<MIN, MAX> {
    /// `None` if out of bounds.
    #[must_use]
    pub fn new(duration: time::Duration) -> Option<Self> {
        let bounds = time::Duration::from_millis(MIN)..=time::Duration::from_millis(MAX);
        bounds.contains(&duration).then_some(Self(duration))
    }

    /// The nearest duration within the bounds.
    #[must_use]
    pub fn clamped(duration: time::Duration) -> Self {
        Self(duration.clamp(time::Duration::from_millis(MIN), time::Duration::from_millis(MAX)))
    }

    /// A number of milliseconds, clamped to the bounds.
    #[must_use]
    pub const fn millis(millis: u64) -> Self {
        assert!(MIN <= millis && millis <= MAX, "a default is within its own bounds");
        Self(time::Duration::from_millis(millis))
    }

    /// As a duration of the standard library.
    #[must_use]
    pub fn get(self) -> time::Duration {
        self.0
    }

    /// Parses an option's value; for `value_parser`.
    ///
    /// # Errors
    /// The allowed values.
    pub fn option(text: &str) -> Result<time::Duration, NotAllowed> {
        text.parse().map(Self::get)
    }
}

impl<const MIN: u64, const MAX: u64> FromStr for Duration<MIN, MAX> {
    type Err = NotAllowed;

    fn from_str(text: &str) -> Result<Self, NotAllowed> {
        Self::parse(text).ok_or_else(|| NotAllowed::new::<Self>(text))
    }
}

impl<const MIN: u64, const MAX: u64> Scalar for Duration<MIN, MAX> {
    fn parse(text: &str) -> Option<Self> {
        let end = text.find(|c: char| c.is_ascii_alphabetic())?;
        let (number, unit) = text.split_at(end);
        let micros: u64 = match unit {
            "ms" => 1_000,
            "s" => 1_000_000,
            "m" => 60_000_000,
            "h" => 3_600_000_000,
            _ => return None,
        };
        let millionths = decimal(number, 6)?.checked_mul(micros)?;
        let whole = millionths.is_multiple_of(1_000_000);
        Self::new(time::Duration::from_micros(millionths / 1_000_000)).filter(|_| whole)
    }

    fn allowed(_: &str) -> String {
        let [min, max] = [MIN, MAX].map(|millis| Duration::<0>(time::Duration::from_millis(millis)));
        format!("a duration from {min} to {max}, with its unit: ms, s, m or h")
    }

    fn suggest(found: &str) -> Option<String> {
        let (number, unit) =
            found.split_at(found.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(found.len()));
        let unit = match unit.trim().to_lowercase().as_str() {
            "" | "s" | "sec" | "secs" | "second" | "seconds" => "s",
            "ms" | "msec" | "millis" | "milliseconds" => "ms",
            "m" | "min" | "mins" | "minute" | "minutes" => "m",
            "h" | "hour" | "hours" => "h",
            _ => return None,
        };
        Some(format!("{}{unit}", number.trim()))
    }
}

scalar!([const MIN: u64, const MAX: u64] Duration<MIN, MAX>);

impl<const MIN: u64, const MAX: u64> fmt::Display for Duration<MIN, MAX> {
    /// In the largest unit that gives a whole number.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_zero() {
            return f.write_str("0s");
        }
        let micros = self.0.subsec_micros();
        if micros != 0 {
            let millis = format!("{}.{:03}", self.0.as_millis(), micros % 1000);
            return write!(f, "{}ms", millis.trim_end_matches('0').trim_end_matches('.'));
        }
        match self.0.as_secs() {
            whole if whole.is_multiple_of(3600) => write!(f, "{}h", whole / 3600),
            whole if whole > 60 && whole.is_multiple_of(60) => write!(f, "{}m", whole / 60),
            whole => write!(f, "{whole}s"),
        }
    }
}

impl<const MIN: u64, const MAX: u64> Serialize for Duration<MIN, MAX> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// In the notation of a file.
pub(crate) fn show(duration: time::Duration) -> String {
    Duration::<0>(duration).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_has_its_unit_and_keeps_its_bounds() {
        type Timeout = Duration<10, 60_000>;
        for (text, millis) in [("10ms", 10), ("0.5s", 500), ("60s", 60_000), ("1m", 60_000), ("500.0ms", 500)]
        {
            assert_eq!(Timeout::option(text), Ok(time::Duration::from_millis(millis)), "{text}");
        }
        for wrong in ["9ms", "61s", "1h", "5", "ms", "", "5 s", "-1s", "010ms", "1d", "1.s", "4294967296m"] {
            assert!(Timeout::option(wrong).is_err(), "{wrong}");
        }
        assert_eq!(Duration::<0>::option("0.0005ms"), Err(Duration::<0>::from_str("0.0005ms").unwrap_err()));
        let said = Timeout::option("5").unwrap_err().to_string();
        assert!(said.ends_with("with its unit: ms, s, m or h is expected; did you mean `5s`?"), "{said}");
    }

    #[test]
    fn a_duration_is_shown_in_the_largest_unit_that_stays_whole() {
        for text in ["0s", "0.5ms", "500ms", "1500ms", "60s", "61s", "10m", "90m", "24h"] {
            assert_eq!(Duration::<0>::from_str(text).map(|shown| shown.to_string()), Ok(text.to_owned()));
        }
    }
}
