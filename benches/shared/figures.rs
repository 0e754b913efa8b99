//! Figures from measurements, and the rows of their table.

use std::time::Duration;

/// A row of the table.
pub(crate) struct Row {
    pub(crate) what: String,
    pub(crate) measured: String,
    pub(crate) target: String,
    /// Whether the target was met; `None` if there is none.
    pub(crate) reached: Option<bool>,
}

impl Row {
    /// A figure with a target.
    pub(crate) fn judged(what: &str, measured: String, target: String, reached: bool) -> Self {
        Self { what: what.into(), measured, target, reached: Some(reached) }
    }

    /// A figure without a target.
    pub(crate) fn told(what: &str, measured: String) -> Self {
        Self { what: what.into(), measured, target: String::new(), reached: None }
    }
}

/// The value below which the share `share` of them lies. They must not be empty.
pub(crate) fn quantile(values: &[f64], share: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an index into the list")]
    let index = ((sorted.len() - 1) as f64 * share).round() as usize;
    sorted[index]
}

pub(crate) fn median(values: &[f64]) -> f64 {
    quantile(values, 0.5)
}

/// Jain's index: 1 when all are equal, 1/n when one has everything.
pub(crate) fn jain(values: &[f64]) -> f64 {
    let sum: f64 = values.iter().sum();
    let squares: f64 = values.iter().map(|value| value * value).sum();
    sum * sum / (values.len() as f64 * squares)
}

/// Durations in microseconds.
pub(crate) fn micros(durations: impl IntoIterator<Item = Duration>) -> Vec<f64> {
    durations.into_iter().map(|duration| duration.as_secs_f64() * 1e6).collect()
}
