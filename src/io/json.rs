//! One line of JSON, written from top to bottom, and times as it has them.
//!
//! Owns the escapes of text and the calendar of RFC 3339. It reads nothing and keeps no order but the caller's.
//! Source: RFC 8259 (JSON), RFC 3339 (times).

use std::fmt::{Display, Write};
use std::time::{SystemTime, UNIX_EPOCH};

/// An object being written.
#[derive(Debug, Default)]
pub(crate) struct Object {
    text: String,
}

impl Object {
    /// A text.
    pub(crate) fn text(&mut self, key: &str, value: &str) {
        self.key(key);
        escape(&mut self.text, value);
    }

    /// A text, or null.
    pub(crate) fn text_or_null(&mut self, key: &str, value: Option<&str>) {
        match value {
            Some(value) => self.text(key, value),
            None => self.null(key),
        }
    }

    /// A whole number, or null.
    pub(crate) fn number(&mut self, key: &str, value: Option<u64>) {
        match value {
            Some(value) => {
                self.key(key);
                self.put(value);
            }
            None => self.null(key),
        }
    }

    /// A list of numbers, or null.
    pub(crate) fn numbers(&mut self, key: &str, values: Option<&[u16]>) {
        match values {
            Some(values) => self.list(key, values, |object, value| object.put(value)),
            None => self.null(key),
        }
    }

    /// A list of texts.
    pub(crate) fn texts<'v>(&mut self, key: &str, values: impl IntoIterator<Item = &'v str>) {
        self.list(key, values, |object, value| escape(&mut object.text, value));
    }

    /// The line, without its end.
    pub(crate) fn finish(mut self) -> String {
        if self.text.is_empty() {
            self.text.push('{');
        }
        self.text.push('}');
        self.text
    }

    fn list<V>(&mut self, key: &str, values: impl IntoIterator<Item = V>, put: impl Fn(&mut Self, V)) {
        self.key(key);
        self.text.push('[');
        for (index, value) in values.into_iter().enumerate() {
            if index > 0 {
                self.text.push(',');
            }
            put(self, value);
        }
        self.text.push(']');
    }

    fn null(&mut self, key: &str) {
        self.key(key);
        self.text.push_str("null");
    }

    fn key(&mut self, key: &str) {
        self.text.push(if self.text.is_empty() { '{' } else { ',' });
        escape(&mut self.text, key);
        self.text.push(':');
    }

    fn put(&mut self, value: impl Display) {
        // Writing to a String cannot fail.
        let _never = write!(self.text, "{value}");
    }
}

/// The instant in UTC to the millisecond, as `2026-11-22T14:30:00.123Z`.
pub(crate) fn utc(time: SystemTime) -> String {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    let (days, seconds) = (since.as_secs() / DAY, since.as_secs() % DAY);
    let (year, month, day) = civil(days);
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{:03}Z", since.subsec_millis())
}

/// The date so many days after 1970-01-01, by the calendar that begins its years in March: then the leap day
/// is the last of the year, and the lengths of the months repeat every five.
fn civil(days: u64) -> (u64, u64, u64) {
    let since_march_of_year_0 = days + 719_468;
    let (era, of_era) = (since_march_of_year_0 / 146_097, since_march_of_year_0 % 146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

fn escape(text: &mut String, value: &str) {
    text.push('"');
    for c in value.chars() {
        match c {
            '"' => text.push_str("\\\""),
            '\\' => text.push_str("\\\\"),
            c if u32::from(c) < 0x20 => {
                let _never = write!(text, "\\u{:04x}", u32::from(c));
            }
            c => text.push(c),
        }
    }
    text.push('"');
}

const DAY: u64 = 24 * 60 * 60;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_line_holds_whatever_a_name_holds() {
        let mut line = Object::default();
        line.text("name", "a \"b\" \\ \u{1}\n\u{e4}");
        line.numbers("old", Some(&[1, 2]));
        line.numbers("new", None);
        line.texts("points", ["x", "y"]);
        line.number("n", Some(7));
        let expected =
            r#"{"name":"a \"b\" \\ \u0001\u000aä","old":[1,2],"new":null,"points":["x","y"],"n":7}"#;
        assert_eq!(line.finish(), expected);
        assert_eq!(Object::default().finish(), "{}");
    }

    #[test]
    fn times_are_those_of_the_calendar() {
        for (seconds, expected) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_400, "2000-02-29T00:00:00.000Z"),
            (1_709_251_199, "2024-02-29T23:59:59.000Z"),
            (1_735_689_600, "2025-01-01T00:00:00.000Z"),
            (4_107_542_400, "2100-03-01T00:00:00.000Z"),
        ] {
            assert_eq!(utc(UNIX_EPOCH + Duration::from_secs(seconds)), expected);
        }
        assert_eq!(utc(UNIX_EPOCH + Duration::from_millis(1_001)), "1970-01-01T00:00:01.001Z");
    }
}
