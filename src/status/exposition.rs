//! The text formats of Prometheus and of OpenMetrics: families of samples, each with its kind and its help.
//!
//! Owns the formats and their escapes, so that no name a user chose can end a line or a label. Knows no metric.
//! Source: the Prometheus exposition formats, text-based format 0.0.4; OpenMetrics 1.0.

use std::collections::BTreeSet;
use std::fmt::{Display, Write};

use super::model::Histogram;

/// One of the text formats.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExpositionFormat {
    /// Prometheus' own, version 0.0.4.
    Prometheus,
    /// OpenMetrics 1.0.
    OpenMetrics,
}

impl ExpositionFormat {
    /// The better one that a header `Accept` has; without it Prometheus' own.
    #[must_use]
    pub fn accepted(accept: &str) -> Self {
        let mut quality = [0.0; 2];
        for range in accept.split(',') {
            let mut words = range.split(';').map(str::trim);
            let of = match words.next().map(str::to_ascii_lowercase).as_deref() {
                Some("application/openmetrics-text") => 0,
                Some("text/plain") => 1,
                Some(_) | None => continue,
            };
            let weight = words.find_map(|word| word.strip_prefix("q="));
            let weight: f32 = weight.map_or(1.0, |weight| weight.parse().unwrap_or(0.0));
            quality[of] = weight.max(quality[of]);
        }
        let [openmetrics, prometheus] = quality;
        if openmetrics > 0.0 && openmetrics >= prometheus { Self::OpenMetrics } else { Self::Prometheus }
    }

    /// For the header `Content-Type`.
    #[must_use]
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// Text being made.
#[derive(Debug)]
pub(super) struct Exposition {
    format: ExpositionFormat,
    text: String,
    /// In OpenMetrics a counter's family lacks the `_total` of its samples, so that two names may become one.
    families: BTreeSet<String>,
}

/// What a family's samples do over time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MetricType {
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
    pub(super) fn new(format: ExpositionFormat) -> Self {
        Self { format, text: String::new(), families: BTreeSet::new() }
    }

    /// Begins a family; each name once.
    pub(super) fn family<'a>(&'a mut self, name: &'a str, kind: MetricType, help: &str) -> Family<'a> {
        let mut help = help.replace('\\', "\\\\").replace('\n', "\\n");
        let stem = name.strip_suffix("_total").unwrap_or(name);
        let (family, kind) = match (self.format, kind) {
            (_, MetricType::Gauge) => (name, "gauge"),
            (_, MetricType::Histogram) => (name, "histogram"),
            (ExpositionFormat::Prometheus, MetricType::Counter) => (name, "counter"),
            (ExpositionFormat::OpenMetrics, MetricType::Counter) if self.families.contains(stem) => {
                (name, "unknown")
            }
            (ExpositionFormat::OpenMetrics, MetricType::Counter) => (stem, "counter"),
        };
        if self.format == ExpositionFormat::OpenMetrics {
            help = help.replace('"', "\\\"");
            self.families.insert(family.to_owned());
        }
        self.text.push_str(&format!("# HELP {family} {help}\n# TYPE {family} {kind}\n"));
        Family { text: &mut self.text, name }
    }

    /// All of it.
    #[must_use]
    pub(super) fn finish(mut self) -> String {
        match self.format {
            ExpositionFormat::Prometheus => {}
            ExpositionFormat::OpenMetrics => self.text.push_str("# EOF\n"),
        }
        self.text
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
        // OpenMetrics wants `1.0`, not `1`; the same in both, so that a series stays the same.
        let bounds = histogram.up_to_ms.iter().map(|millis| format!("{:?}", f64::from(*millis) / 1000.0));
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_format_is_the_better_one_that_is_accepted() {
        let prometheus = "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,\
            text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
        for accept in [
            prometheus,
            "application/openmetrics-text",
            "Application/OpenMetrics-Text; q=0.5, text/plain; q=0.5",
        ] {
            assert_eq!(ExpositionFormat::accepted(accept), ExpositionFormat::OpenMetrics, "{accept}");
        }
        let own = "application/openmetrics-text;q=0.2,text/plain;q=0.3";
        for accept in
            ["", "*/*", "text/html", "text/plain", own, "application/openmetrics-text;q=0", "openmetrics"]
        {
            assert_eq!(ExpositionFormat::accepted(accept), ExpositionFormat::Prometheus, "{accept}");
        }
    }

    #[test]
    fn openmetrics_names_families_without_total_and_ends_with_eof() {
        let text = |format| {
            let mut out = Exposition::new(format);
            out.family("a_seconds", MetricType::Gauge, "One \"word\".").sample(&[], 1);
            out.family("a_seconds_total", MetricType::Counter, "Clashes.").sample(&[], 2);
            out.family("b_total", MetricType::Counter, "Counts.").sample(&[("name", "x\"\n")], 3);
            out.finish()
        };
        let expected = "# HELP a_seconds One \"word\".\n# TYPE a_seconds gauge\na_seconds 1\n\
            # HELP a_seconds_total Clashes.\n# TYPE a_seconds_total counter\na_seconds_total 2\n\
            # HELP b_total Counts.\n# TYPE b_total counter\nb_total{name=\"x\\\"\\n\"} 3\n";
        assert_eq!(text(ExpositionFormat::Prometheus), expected);
        let expected = "# HELP a_seconds One \\\"word\\\".\n# TYPE a_seconds gauge\na_seconds 1\n\
            # HELP a_seconds_total Clashes.\n# TYPE a_seconds_total unknown\na_seconds_total 2\n\
            # HELP b Counts.\n# TYPE b counter\nb_total{name=\"x\\\"\\n\"} 3\n# EOF\n";
        assert_eq!(text(ExpositionFormat::OpenMetrics), expected);
    }
}
