//! Numbers as people read them: no more digits than the meter resolves, in groups of three.
//!
//! Owns the rounding of floats: a meter of class 0.5 that gives 231.45679 V knows the first five digits, and a running
//! total is exact as far as its float is. A scaled whole number keeps the digits of its scale. Programs get every digit:
//! JSON and CSV do not come here.

use super::decimal::Decimal;
use super::decode::Value;
use super::vocabulary::Group;

/// A value of that group, if it is a plain number.
#[must_use]
pub fn figure(value: &Value<'_>, group: Group) -> Option<String> {
    match value {
        Value::Number(number) => Some(decimal(*number)),
        Value::Float(number) => Some(single(*number, group)),
        Value::Double(number) => Some(double(*number, group)),
        Value::Code { .. }
        | Value::Bits { .. }
        | Value::Version(_)
        | Value::Text(_)
        | Value::NotAvailable
        | Value::NotANumber { .. }
        | Value::Unscaled { .. } => None,
    }
}

/// A finite float of four bytes.
#[must_use]
pub fn single(value: f32, group: Group) -> String {
    let digits = if is_total(group) { DIGITS_OF_SINGLE } else { DIGITS_MEASURED };
    rounded(value.into(), digits)
}

/// A finite float of eight bytes.
#[must_use]
pub fn double(value: f64, group: Group) -> String {
    let digits = if is_total(group) { DIGITS_OF_DOUBLE } else { DIGITS_MEASURED };
    rounded(value, digits)
}

/// A scaled whole number, all of it.
#[must_use]
pub fn decimal(number: Decimal) -> String {
    grouped(&number.to_string())
}

/// Narrow no-break spaces between groups of three digits before the point; four digits stay together.
#[must_use]
pub fn grouped(text: &str) -> String {
    let (sign, rest) = text.split_at(usize::from(text.starts_with('-')));
    let (whole, decimals) = rest.split_at(rest.find(['.', 'e']).unwrap_or(rest.len()));
    if whole.len() <= 4 {
        return text.to_owned();
    }
    let mut grouped = String::from(sign);
    for (index, digit) in whole.chars().enumerate() {
        if index > 0 && (whole.len() - index).is_multiple_of(3) {
            grouped.push('\u{202f}');
        }
        grouped.push(digit);
    }
    grouped + decimals
}

/// Totals are counted, everything else is measured.
fn is_total(group: Group) -> bool {
    match group {
        Group::Energy | Group::Pulses | Group::Diagnostics | Group::Configuration | Group::Identity => true,
        Group::Power
        | Group::PowerFactor
        | Group::Voltage
        | Group::Current
        | Group::Frequency
        | Group::Demand
        | Group::Scale
        | Group::Other
        | Group::Reserved => false,
    }
}

fn rounded(value: f64, digits: usize) -> String {
    if value == 0.0 {
        return "0".to_owned();
    }
    let exponential = format!("{value:.*e}", digits - 1);
    let exponent = exponential.split_once('e').and_then(|(_, exponent)| exponent.parse::<i32>().ok());
    match exponent {
        Some(exponent @ 0..EXPONENT_MAX) => {
            let before = usize::try_from(exponent).unwrap_or_default() + 1;
            let decimals = digits.saturating_sub(before).min(DECIMALS_MAX);
            grouped(&format!("{value:.decimals$}"))
        }
        Some(EXPONENT_MIN..0) => format!("{value:.DECIMALS_MAX$}"),
        Some(_) | None => format!("{value:.1e}"),
    }
}

/// Of what is measured: a hundred times better than a good meter.
const DIGITS_MEASURED: usize = 5;

/// What a float of four bytes can tell apart.
const DIGITS_OF_SINGLE: usize = 7;

/// As many as a total that is billed may need.
const DIGITS_OF_DOUBLE: usize = 12;

/// Digits after the point.
const DECIMALS_MAX: usize = 3;

/// From this power of ten on a number is written with its power.
const EXPONENT_MAX: i32 = 12;

/// Below this power of ten, too.
const EXPONENT_MIN: i32 = -3;

/// How often something happens, by the unit in which that is a figure: `11.4 a second`, `4.0 a minute`, `2.0 an hour`,
/// `1.0 a day`.
#[must_use]
pub fn rate(per_second: f64) -> String {
    let (per_minute, per_hour) = (per_second * 60.0, per_second * 3600.0);
    if per_second <= 0.0 {
        "none".to_owned()
    } else if per_second >= 1.0 {
        format!("{per_second:.1} a second")
    } else if per_minute >= 1.0 {
        format!("{per_minute:.1} a minute")
    } else if per_hour >= 1.0 {
        format!("{per_hour:.1} an hour")
    } else {
        format!("{:.1} a day", per_hour * 24.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_says_something_however_small_it_is() {
        for (per_second, text) in [
            (0.0, "none"),
            (1.0 / 86_400.0, "1.0 a day"),
            (1.0 / 3600.0, "1.0 an hour"),
            (24.0 / 3600.0, "24.0 an hour"),
            (0.02, "1.2 a minute"),
            (0.1, "6.0 a minute"),
            (1.0, "1.0 a second"),
            (11.42, "11.4 a second"),
        ] {
            assert_eq!(rate(per_second), text);
        }
    }

    #[test]
    fn what_is_measured_has_five_digits_and_three_after_the_point() {
        let shown = |value| single(value, Group::Voltage);
        assert_eq!(shown(231.456_79), "231.46");
        assert_eq!(shown(13.42), "13.420");
        assert_eq!(shown(0.901), "0.901");
        assert_eq!(shown(-2312.46), "-2312.5");
        assert_eq!(shown(23_124.6), "23\u{202f}125");
        assert_eq!(shown(99_999.6), "100\u{202f}000");
        assert_eq!(shown(9.999_96), "10.000");
        assert_eq!(shown(0.0), "0");
        assert_eq!(shown(-0.0), "0");
        assert_eq!(shown(0.001_2), "0.001");
        assert_eq!(shown(4.2e-9), "4.2e-9");
        assert_eq!(shown(3.4e38), "3.4e38");
        assert_eq!(double(231.456_789, Group::Power), "231.46");
    }

    #[test]
    fn a_total_has_the_digits_of_its_source() {
        assert_eq!(single(184_211.25, Group::Energy), "184\u{202f}211.2");
        assert_eq!(single(16_777_216.0, Group::Energy), "16\u{202f}777\u{202f}216");
        assert_eq!(double(16_777_217.123_4, Group::Energy), "16\u{202f}777\u{202f}217.123");
        let exact = |text| decimal(Decimal::parse(text).expect("a decimal"));
        assert_eq!(exact("1530192.2"), "1\u{202f}530\u{202f}192.2");
        assert_eq!(exact("-0.9012"), "-0.9012");
        assert_eq!(exact("123456789012345678"), "123\u{202f}456\u{202f}789\u{202f}012\u{202f}345\u{202f}678");
    }

    #[test]
    fn four_digits_stay_together_and_a_power_of_ten_is_no_digit() {
        assert_eq!(grouped("-1234.5678"), "-1234.5678");
        assert_eq!(grouped("12345"), "12\u{202f}345");
        assert_eq!(grouped("1e12345"), "1e12345");
    }
}
