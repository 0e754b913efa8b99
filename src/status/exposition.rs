//! The text format of Prometheus: families of samples, each with its kind and its help.
//!
//! Owns the format and its escapes, so that no name a user chose can end a line or a label. Knows no metric.
//! Source: the Prometheus exposition formats, text-based format 0.0.4.

use std::fmt::{Display, Write};

use super::model::Histogram;

/// Text being made.
#[derive(Debug, Default)]
pub(super) struct Exposition(String);

/// What a family's samples do over time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// They go up and down.
    Gauge,
    /// They only go up, or start over.
    Counter,
    /// Counts by size, each of them a counter.
    Histogram,
}

/// A family being written: all samples of one name stand together.
#[derive(Debug)]
pub(super) struct Family<'a> {
    text: &'a mut String,
    name: &'a str,
}

impl Exposition {
    /// Begins a family; each name once.
    pub(super) fn family<'a>(&'a mut self, name: &'a str, kind: Kind, help: &str) -> Family<'a> {
        let kind = match kind {
            Kind::Gauge => "gauge",
            Kind::Counter => "counter",
            Kind::Histogram => "histogram",
        };
        let help = help.replace('\\', "\\\\").replace('\n', "\\n");
        self.0.push_str(&format!("# HELP {name} {help}\n# TYPE {name} {kind}\n"));
        Family { text: &mut self.0, name }
    }

    /// All of it.
    #[must_use]
    pub(super) fn finish(self) -> String {
        self.0
    }
}

impl Family<'_> {
    /// Adds a sample. The value is a whole number or a finite float.
    pub(super) fn sample(&mut self, labels: &[(&str, &str)], value: impl Display) {
        self.sample_of("", labels, value);
    }

    /// Adds the samples of a histogram: how many were up to each bound in seconds, all of them, and their sum.
    pub(super) fn histogram(&mut self, labels: &[(&str, &str)], histogram: &Histogram<'_>) {
        let mut count = 0;
        let bounds = histogram.up_to_ms.iter().map(|millis| (f64::from(*millis) / 1000.0).to_string());
        for (bound, bucket) in bounds.chain([String::from("+Inf")]).zip(&histogram.counts) {
            count += bucket;
            let labels: Vec<_> = labels.iter().copied().chain([("le", bound.as_str())]).collect();
            self.sample_of("_bucket", &labels, count);
        }
        let sum = std::time::Duration::from_millis(histogram.sum_ms);
        self.sample_of("_sum", labels, sum.as_secs_f64());
        self.sample_of("_count", labels, count);
    }

    fn sample_of(&mut self, part: &str, labels: &[(&str, &str)], value: impl Display) {
        self.text.push_str(self.name);
        self.text.push_str(part);
        for (index, (label, content)) in labels.iter().enumerate() {
            self.text.push_str(if index == 0 { "{" } else { "," });
            self.text.push_str(label);
            self.text.push_str("=\"");
            for character in content.chars() {
                match character {
                    '\\' => self.text.push_str("\\\\"),
                    '"' => self.text.push_str("\\\""),
                    '\n' => self.text.push_str("\\n"),
                    other => self.text.push(other),
                }
            }
            self.text.push('"');
        }
        let end = if labels.is_empty() { "" } else { "}" };
        // Writing to a String cannot fail.
        let _never = writeln!(self.text, "{end} {value}");
    }
}
