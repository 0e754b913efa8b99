//! Numbers, shares and spans of time as the pages print them.
//!
//! Owns rounding and units. An unknown value is never a number but [`NO_DATA`].

use std::time::Duration;

use crate::meter::figure::grouped;
pub(super) use crate::meter::figure::rate;

/// Stands where there is no value.
pub(super) const NO_DATA: &str = "no data";

/// A span in one unit, as short as it can be said: `1.2 s`, `34 s`, `4 min`, `3 h`, `5 days`.
pub(super) fn age(span: Duration) -> String {
    let seconds = span.as_secs();
    match seconds {
        0..10 if span.as_millis() < 100 => "under 0.1 s".to_owned(),
        // Rounded down, as every longer one is: 9.98 s is not yet 10.
        0..10 => format!("{}.{} s", seconds, span.subsec_millis() / 100),
        10..60 => format!("{seconds} s"),
        60..HOUR => format!("{} min", seconds / MINUTE),
        HOUR..TWO_DAYS => format!("{} h", seconds / HOUR),
        TWO_DAYS.. => format!("{} days", seconds / DAY),
    }
}

/// A span in two units, for what lasts: `3 days 4 h`, `12 min 5 s`.
pub(super) fn span(span: Duration) -> String {
    let seconds = span.as_secs();
    let (days, hours) = (seconds / DAY, seconds % DAY / HOUR);
    let (minutes, rest) = (seconds % HOUR / MINUTE, seconds % MINUTE);
    match seconds {
        0..MINUTE => format!("{seconds} s"),
        MINUTE..HOUR => format!("{minutes} min {rest} s"),
        HOUR..DAY => format!("{hours} h {minutes} min"),
        DAY.. if days == 1 => format!("1 day {hours} h"),
        DAY..FORTNIGHT => format!("{days} days {hours} h"),
        FORTNIGHT.. => format!("{days} days"),
    }
}

/// The time of an answer, in milliseconds: `5.2 ms`, `34 ms`, `1.25 s`.
pub(super) fn millis(millis: f64) -> String {
    // Beyond these edges the shorter form would round to the next one's first value.
    if millis < 9.95 {
        format!("{millis:.1} ms")
    } else if millis < 999.5 {
        format!("{millis:.0} ms")
    } else {
        format!("{:.2} s", millis / 1000.0)
    }
}

/// A share as a percentage; a share above zero is never shown as 0.
pub(super) fn percent(share: f64) -> String {
    let percent = share.clamp(0.0, 1.0) * 100.0;
    if percent > 0.0 && percent < 0.1 {
        "under 0.1 %".to_owned()
    } else if percent > 0.0 && percent < 9.95 {
        format!("{percent:.1} %")
    } else {
        format!("{percent:.0} %")
    }
}

/// A measured value with three or four significant digits: `0.482`, `12.3`, `1234`.
pub(super) fn number(value: f64) -> String {
    let size = value.abs();
    let decimals = if size < 1.0 {
        3
    } else if size < 10.0 {
        2
    } else if size < 1000.0 {
        1
    } else {
        0
    };
    let text = format!("{value:.decimals$}");
    // A value that rounds to nothing has no sign.
    if text.starts_with('-') && text.chars().all(|character| "-0.".contains(character)) {
        return text.trim_start_matches('-').to_owned();
    }
    grouped(&text)
}

/// A value with its unit, or that there is none.
pub(super) fn quantity(value: Option<f64>, unit: &str) -> String {
    match value.filter(|value| value.is_finite()) {
        None => NO_DATA.to_owned(),
        Some(value) if unit.is_empty() => number(value),
        Some(value) => format!("{}\u{a0}{unit}", number(value)),
    }
}

/// A count, its digits in groups of three.
pub(super) fn count(count: u64) -> String {
    grouped(&count.to_string())
}

/// A count and what is counted: `1 meter`, `2 meters`.
pub(super) fn counted(number: usize, one: &str, many: &str) -> String {
    let what = if number == 1 { one } else { many };
    format!("{} {what}", count(u64::try_from(number).unwrap_or(u64::MAX)))
}

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;
const TWO_DAYS: u64 = 2 * DAY;
const FORTNIGHT: u64 = 14 * DAY;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_said_in_the_unit_people_would_use() {
        let said = |millis| age(Duration::from_millis(millis));
        assert_eq!(said(0), "under 0.1 s");
        assert_eq!(said(1_290), "1.2 s");
        assert_eq!(said(9_999), "9.9 s");
        assert_eq!(said(59_999), "59 s");
        assert_eq!(said(240_000), "4 min");
        assert_eq!(said(47 * 3_600_000), "47 h");
        assert_eq!(said(48 * 3_600_000), "2 days");
        assert_eq!(span(Duration::from_secs(86_400 + 7_200)), "1 day 2 h");
        assert_eq!(span(Duration::from_secs(725)), "12 min 5 s");
    }

    #[test]
    fn a_little_is_never_nothing() {
        assert_eq!(percent(0.0), "0 %");
        assert_eq!(percent(0.000_01), "under 0.1 %");
        assert_eq!(percent(0.004), "0.4 %");
        assert_eq!(percent(0.412), "41 %");
    }

    #[test]
    fn numbers_have_the_digits_that_say_something() {
        assert_eq!(number(0.4824), "0.482");
        assert_eq!(number(12.34), "12.3");
        assert_eq!(number(1234.5), "1234");
        assert_eq!(number(-1_234_567.0), "-1\u{202f}234\u{202f}567");
        assert_eq!(number(-0.0001), "0.000");
        assert_eq!(count(4_294_967_295), "4\u{202f}294\u{202f}967\u{202f}295");
        assert_eq!(millis(9.96), "10 ms");
        assert_eq!(millis(999.6), "1.00 s");
    }

    #[test]
    fn what_is_not_a_number_is_no_data() {
        assert_eq!(quantity(None, "kW"), NO_DATA);
        assert_eq!(quantity(Some(f64::NAN), "kW"), NO_DATA);
        assert_eq!(quantity(Some(0.0), "kW"), "0.000\u{a0}kW");
    }
}
