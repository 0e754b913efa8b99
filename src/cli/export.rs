//! JSON and CSV: results for other programs. The names here are promises.
//!
//! Pure formatting. A value that is not there is `null`, or an empty field; never a zero. CSV as RFC 4180 has it, but
//! for the ends of lines: LF, as every program expects that reads a pipe, and spreadsheets take.

use std::time::Duration;

use serde::Serialize;

use super::reading::{self, MeterReading, Row, Subject};
use crate::meter::{Point, Value, Version};
use crate::runtime::timestamp::utc;

/// One reading as a JSON object on one line. `spread`: between the first and the last read of its sweep.
#[must_use]
pub fn json(subject: &Subject<'_>, found: &MeterReading<'_>, spread: Option<Duration>) -> String {
    let points = found.rows.iter().map(|row| {
        let value = row.reading.as_ref().map(|reading| &reading.value);
        JsonPoint {
            name: &row.point.name,
            register: row.point.register,
            group: row.point.group.word(),
            value: value.and_then(number),
            unit: row.point.unit,
            text: value.map(reading::words),
            raw: &row.raw,
            available: value.is_some_and(is_available),
            read: value.is_some(),
            scale_age_ms: row.scale_age.map(millis),
            remark: row.reading.as_ref().and_then(reading::remark),
        }
    });
    let alerts = found.alerts().map(|(point, bit)| JsonAlert {
        point: &point.name,
        name: &bit.name,
        means: &bit.means,
    });
    let missed =
        found.missed.iter().map(|(registers, failure)| JsonMissed { registers, why: failure.to_string() });
    let object = JsonReading {
        time: utc(found.time),
        target: &subject.target,
        unit: subject.unit,
        name: subject.name.as_deref(),
        spread_ms: spread.map(millis),
        profile: &subject.profile.name,
        took_ms: millis(found.took),
        max_age_ms: subject.max_age.map(millis),
        points: points.collect(),
        alerts: alerts.collect(),
        missed: missed.collect(),
    };
    line(&object)
}

/// A JSON object on a line of its own.
#[must_use]
pub fn line(object: &impl Serialize) -> String {
    let text = serde_json::to_string(object).expect("no map and no serialiser of ours can fail");
    text + "\n"
}

#[derive(Serialize)]
struct JsonReading<'a> {
    time: String,
    target: &'a str,
    unit: u8,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    spread_ms: Option<u64>,
    profile: &'a str,
    took_ms: u64,
    max_age_ms: Option<u64>,
    points: Vec<JsonPoint<'a>>,
    alerts: Vec<JsonAlert<'a>>,
    missed: Vec<JsonMissed<'a>>,
}

#[derive(Serialize)]
struct JsonPoint<'a> {
    name: &'a str,
    register: u32,
    group: &'static str,
    value: Option<Number>,
    unit: Option<&'static str>,
    text: Option<String>,
    raw: &'a [u16],
    available: bool,
    read: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    scale_age_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    remark: Option<String>,
}

#[derive(Serialize)]
struct JsonAlert<'a> {
    point: &'a str,
    name: &'a str,
    means: &'a str,
}

#[derive(Serialize)]
struct JsonMissed<'a> {
    registers: &'a str,
    why: String,
}

/// A number as it is shown: a float of the meter in the fewest digits that mean just this float, a whole number
/// in full.
#[derive(Serialize)]
#[serde(untagged)]
enum Number {
    Whole(i128),
    Single(f32),
    Double(f64),
}

fn number(value: &Value<'_>) -> Option<Number> {
    match value {
        Value::Number(number) if number.exponent == 0 => Some(Number::Whole(number.digits)),
        Value::Number(number) => Some(Number::Double(number.to_f64())),
        Value::Float(number) => Some(Number::Single(*number)),
        Value::Double(number) => Some(Number::Double(*number)),
        Value::Code { code, .. } => Some(Number::Whole((*code).into())),
        Value::Bits { bits, .. } => Some(Number::Whole((*bits).into())),
        Value::Version(Version { major, minor }) => {
            Some(Number::Whole(i128::from(*major) * 1000 + i128::from(*minor)))
        }
        Value::Text(_) | Value::NotAvailable | Value::NotANumber { .. } | Value::Unscaled { .. } => None,
    }
}

fn is_available(value: &Value<'_>) -> bool {
    number(value).is_some() || matches!(value, Value::Text(_))
}

/// The names of the columns of [`csv_line`]; a point's unit stands behind its name.
#[must_use]
pub fn csv_head(subject: &Subject<'_>) -> String {
    let names = subject.points.iter().map(|point| csv_name(point));
    let fixed = ["time", "target", "unit"].map(str::to_owned);
    let scale = has_scale(&subject.points).then(|| SCALE_AGE.to_owned());
    csv(fixed.into_iter().chain(names).chain(["error".to_owned()]).chain(scale))
}

/// The name of a point's column.
#[must_use]
pub fn csv_name(point: &Point) -> String {
    match point.unit {
        Some(unit) => format!("{} ({unit})", point.name),
        None => point.name.clone(),
    }
}

/// One reading; empty where there is no number.
#[must_use]
pub fn csv_line(subject: &Subject<'_>, found: &MeterReading<'_>) -> String {
    let values = found.rows.iter().map(csv_value);
    let missed = found.missed.iter().map(|(registers, failure)| format!("{registers}: {failure}"));
    let error = missed.collect::<Vec<_>>().join("; ");
    let fixed = [utc(found.time), subject.target.clone(), subject.unit.to_string()];
    let scale = has_scale(&subject.points).then(|| scale_age(found));
    csv(fixed.into_iter().chain(values).chain([error]).chain(scale))
}

/// The column of the age of what values are scaled by: the last, so that every other stands where it does without.
pub const SCALE_AGE: &str = "scale_age_ms";

/// Whether any of these is scaled by another point, which has an age of its own.
#[must_use]
pub fn has_scale(points: &[&Point]) -> bool {
    points.iter().filter_map(|point| point.scale.as_ref()).any(|scale| scale.points().next().is_some())
}

/// The age of the oldest exponent or ratio of a reading, in milliseconds; empty where none was used.
#[must_use]
pub fn scale_age(found: &MeterReading<'_>) -> String {
    found.scale_age().map_or(String::new(), |age| age.as_millis().to_string())
}

/// The number of a point, its words where it has no number; empty where there is no value.
#[must_use]
pub fn csv_value(row: &Row<'_>) -> String {
    let value = row.reading.as_ref().map(|reading| &reading.value);
    let shown = value.filter(|value| is_available(value)).map(|value| match value {
        Value::Code { code, .. } => code.to_string(),
        Value::Bits { bits, .. } => bits.to_string(),
        Value::Number(_)
        | Value::Float(_)
        | Value::Double(_)
        | Value::Version(_)
        | Value::Text(_)
        | Value::NotAvailable
        | Value::NotANumber { .. }
        | Value::Unscaled { .. } => reading::words(value),
    });
    shown.unwrap_or_default()
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// One line of CSV.
#[must_use]
pub fn csv(fields: impl Iterator<Item = String>) -> String {
    let quoted = |field: String| {
        if field.contains([',', '"', '\r', '\n']) {
            format!("\"{}\"", field.replace('"', "\"\""))
        } else {
            field
        }
    };
    fields.map(quoted).collect::<Vec<_>>().join(",") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::meter::Decimal;

    #[test]
    fn a_field_with_a_comma_or_a_quote_is_quoted() {
        let line = csv(["plain", "a,b", "say \"so\"", "two\nlines", ""].map(str::to_owned).into_iter());
        assert_eq!(line, "plain,\"a,b\",\"say \"\"so\"\"\",\"two\nlines\",\n");
    }

    #[test]
    fn numbers_are_given_in_the_digits_that_mean_them() {
        let shown = |value| number(&value).map(|number| serde_json::to_string(&number).expect("a number"));
        assert_eq!(shown(Value::Float(237.1)).as_deref(), Some("237.1"));
        let tenths = Value::Number(Decimal { digits: 1234, exponent: -1 });
        assert_eq!(shown(tenths).as_deref(), Some("123.4"));
        let large = Value::Number(Decimal::whole(18_446_744_073_709_551_615));
        assert_eq!(shown(large).as_deref(), Some("18446744073709551615"));
        let version = Value::Version(Version { major: 5, minor: 12 });
        assert_eq!(shown(version).as_deref(), Some("5012"));
        assert!(shown(Value::NotAvailable).is_none());
    }
}
