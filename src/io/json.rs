//! One line of JSON, written from top to bottom.
//!
//! Owns the escapes of text. It reads nothing and keeps no order but the caller's.
//! Source: RFC 8259.

use std::fmt::{Display, Write};

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

#[cfg(test)]
mod tests {
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
}
