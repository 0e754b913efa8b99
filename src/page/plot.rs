//! Plots as inline SVG: lines, steps and bars that stretch to whatever width the style sheet gives them.
//!
//! Owns scales, paths and labels: every plot is an image with a label that states its values for screen readers. A plot
//! is as long as its data, up to one hour or twelve. Colours are classes, because the page allows no inline style. A
//! slot without a value is a gap, never a zero.
//! Source: SVG 1.1, chapter 8 (paths); WAI-ARIA 1.2, role `img`.

use std::fmt::Write;

use maud::{Markup, html};

use super::scale::Scale;
use super::time_axis::{TimeAxis, last};

/// Slots of a plot of the last hour, one a minute.
pub(super) const HOUR: usize = 60;

/// The summary of a series.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Summary {
    /// The lowest.
    pub low: f64,
    /// The mean of those that are known.
    pub mean: f64,
    /// The highest.
    pub high: f64,
    /// The newest slot; `None`: it has no value.
    pub last: Option<f64>,
    /// Slots without a value.
    pub gaps: usize,
}

/// One part of a bar.
pub(super) struct BarPart {
    /// The name of its colour in the style sheet.
    pub class: &'static str,
    /// 0 to 1.
    pub share: f64,
}

impl Summary {
    /// Of the last `slots` values; `None`: all are unknown.
    pub(super) fn of(values: &[Option<f64>], slots: usize) -> Option<Self> {
        let values = newest(values, slots);
        let known: Vec<f64> = values.iter().flatten().copied().filter(|value| value.is_finite()).collect();
        let count = u32::try_from(known.len()).ok().filter(|count| *count > 0)?;
        Some(Self {
            low: known.iter().copied().fold(f64::INFINITY, f64::min),
            mean: known.iter().sum::<f64>() / f64::from(count),
            high: known.iter().copied().fold(f64::NEG_INFINITY, f64::max),
            last: values.last().copied().flatten().filter(|value| value.is_finite()),
            gaps: slots - known.len(),
        })
    }

    /// `now 12 kW, lowest 3 kW, mean 8 kW, highest 20 kW`, with `print` for the numbers.
    pub(super) fn words(&self, print: impl Fn(f64) -> String) -> String {
        let last = self.last.map_or_else(|| super::format::NO_DATA.to_owned(), &print);
        let (low, mean, high) = (print(self.low), print(self.mean), print(self.high));
        format!("now {last}, lowest {low}, mean {mean}, highest {high}")
    }
}

/// A small line without axes, from 0 up, of the last hour.
pub(super) fn spark_line(label: &str, values: &[Option<f64>], print: impl Fn(f64) -> String) -> Markup {
    let slots = slots(values.len());
    let Some(summary) = Summary::of(values, slots) else { return empty(label) };
    let top = if summary.high > 0.0 { summary.high * HEADROOM } else { 1.0 };
    html! {
        svg class="spark" viewBox={ "0 0 " (slots) " 100" } preserveAspectRatio="none" role="img"
            aria-label={ (label) " over " (last_minutes(values.len())) ": " (summary.words(print)) } {
            path class="line" vector-effect="non-scaling-stroke"
                d=(line_path(values, slots, |value| down(value / top, 100))) {}
        }
    }
}

/// Small columns of shares (0 to 1) of the last hour, on the line they stand on. The scale ends at the highest
/// share, at least at `full`, so that a rare error is not drawn like a dead meter.
pub(super) fn spark_steps(
    label: &str,
    values: &[Option<f64>],
    full: f64,
    print: impl Fn(f64) -> String,
) -> Markup {
    let slots = slots(values.len());
    let Some(summary) = Summary::of(values, slots) else { return empty(label) };
    let top = summary.high.max(full);
    // Whatever is not nothing can be seen.
    let height = |value: f64| if value > 0.0 { (value / top).max(LEAST_HEIGHT) } else { 0.0 };
    html! {
        svg class="spark" viewBox={ "0 0 " (slots) " 100" } preserveAspectRatio="none" role="img"
            aria-label={ (label) " over " (last_minutes(values.len())) ": " (summary.words(print)) } {
            path class="ground" vector-effect="non-scaling-stroke" d=(ground_path(values, slots)) {}
            path class="bad" d=(step_path(values, slots, |value| down(height(value), 100))) {}
        }
    }
}

/// Shares on top of one another over the last hour, lowest first; each slot has one share for each class.
pub(super) fn stack(label: &str, classes: &[&'static str], slots: &[Option<Vec<f64>>]) -> Markup {
    // From the outermost inwards, each painted over the one before: no layer needs a lower edge.
    let layers: Vec<(&str, Vec<Option<f64>>)> = classes
        .iter()
        .enumerate()
        .rev()
        .map(|(index, class)| {
            let sum = |slot: &Option<Vec<f64>>| slot.as_ref().map(|parts| parts.iter().take(index + 1).sum());
            (*class, slots.iter().map(sum).collect())
        })
        .collect();
    let width = crate::page::plot::slots(slots.len());
    html! {
        svg class="stack" viewBox={ "0 0 " (width) " 100" } preserveAspectRatio="none" role="img" aria-label=(label) {
            path class="grid" vector-effect="non-scaling-stroke" d={ "M0 0H" (width) "M0 50H" (width) "M0 100H" (width) } {}
            @for (class, values) in layers {
                path class=(class) d=(step_path(&values, width, |value| down(value, 100))) {}
            }
        }
    }
}

/// One bar from left to right; what the parts leave is empty.
pub(super) fn bar(label: &str, parts: &[BarPart]) -> Markup {
    let mut from = 0.0_f64;
    let mut rectangles = Vec::new();
    for part in parts {
        let to = (from + part.share).clamp(0.0, 1.0);
        rectangles.push((part.class, scaled(from, 1000), scaled(to, 1000) - scaled(from, 1000)));
        from = to;
    }
    html! {
        svg class="bar" viewBox="0 0 1000 10" preserveAspectRatio="none" role="img" aria-label=(label) {
            @for (class, x, width) in rectangles {
                rect class=(class) x=(x) y="0" width=(width) height="10" {}
            }
        }
    }
}

/// A line with axes, from where `axis` begins until now. The points come with how many seconds ago each was, the newest
/// last; one without a value is a gap, and so is a pause of more than [`PAUSE`].
pub(super) fn chart(label: &str, unit: &str, points: &[(f64, Option<f64>)], axis: TimeAxis) -> Markup {
    let values: Vec<_> = points.iter().map(|(_, value)| *value).collect();
    let Some(summary) = Summary::of(&values, values.len()) else {
        return html! { p class="empty" { "Nothing has been read in this time." } };
    };
    let scale = Scale::around(summary.low, summary.high);
    let words = summary.words(|value| super::format::quantity(Some(value), unit));
    let mut grid =
        (0..=scale.steps).map(|step| 400 * step / scale.steps).fold(String::new(), |mut path, y| {
            add(&mut path, format_args!("M0 {y}H{WIDTH}"));
            path
        });
    for tick in 1..axis.steps() {
        add(&mut grid, format_args!("M{} 0V400", WIDTH * tick / axis.steps()));
    }
    html! {
        div class="chart" {
            div class="y" aria-hidden="true" {
                @for tick in scale.ticks() { span { (tick) } }
            }
            svg viewBox={ "0 0 " (WIDTH) " 400" } preserveAspectRatio="none" role="img"
                aria-label={
                    (label) ": " (words)
                    @if summary.gaps > 0 { "; " (super::format::counted(summary.gaps, "minute", "minutes")) " without data" }
                } {
                path class="grid" vector-effect="non-scaling-stroke" d=(grid) {}
                path class="line" vector-effect="non-scaling-stroke" d=(time_path(points, axis, &scale)) {}
            }
            div class="x" aria-hidden="true" {
                @for time in axis.ticks() { span { (time) } }
            }
        }
    }
}

fn time_path(points: &[(f64, Option<f64>)], axis: TimeAxis, scale: &Scale) -> String {
    let mut path = String::new();
    let mut last: Option<f64> = None;
    let mut drawn = 0;
    for (ago, value) in points {
        let Some(value) = value.filter(|value| value.is_finite()) else {
            last = None;
            continue;
        };
        let is_apart = last.is_none_or(|before| before - ago > PAUSE);
        if is_apart && drawn == 1 {
            // One value alone would be a line without length, which is not drawn.
            path.push_str("h1");
        }
        drawn = if is_apart { 1 } else { drawn + 1 };
        let x = WIDTH - scaled(ago / axis.seconds(), WIDTH);
        let y = down(scale.share(value), 400);
        add(&mut path, format_args!("{}{x} {y}", if is_apart { 'M' } else { 'L' }));
        last = Some(*ago);
    }
    if drawn == 1 {
        path.push_str("h1");
    }
    path
}

/// The place of a plot without data.
fn empty(label: &str) -> Markup {
    html! {
        svg class="spark" viewBox="0 0 60 100" preserveAspectRatio="none" role="img"
            aria-label={ (label) ": " (super::format::NO_DATA) } {
            path class="none" vector-effect="non-scaling-stroke" d="M0 100H60" {}
        }
    }
}

/// A polyline through the middle of each slot, broken where a value is missing.
fn line_path(values: &[Option<f64>], slots: usize, height: impl Fn(f64) -> u32) -> String {
    let mut path = String::new();
    for (start, run) in runs(values, slots) {
        for (index, value) in run.iter().enumerate() {
            let command = if index == 0 { 'M' } else { 'L' };
            add(&mut path, format_args!("{command}{}.5 {}", start + index, height(*value)));
        }
        if run.len() == 1 {
            // A single value would be a line without length, which is not drawn.
            path.push_str("h.5");
        }
    }
    path
}

/// Columns down to the ground, one as wide as each slot.
fn step_path(values: &[Option<f64>], slots: usize, height: impl Fn(f64) -> u32) -> String {
    let mut path = String::new();
    for (start, run) in runs(values, slots) {
        add(&mut path, format_args!("M{start} 100"));
        for value in run {
            add(&mut path, format_args!("V{}h1", height(value)));
        }
        path.push_str("V100z");
    }
    path
}

/// The ground below every slot that has a value.
fn ground_path(values: &[Option<f64>], slots: usize) -> String {
    runs(values, slots).into_iter().fold(String::new(), |mut path, (start, run)| {
        add(&mut path, format_args!("M{start} 100h{}", run.len()));
        path
    })
}

/// Stretches of slots that have a value, with the slot each begins at. The newest value is in the last slot.
fn runs(values: &[Option<f64>], slots: usize) -> Vec<(usize, Vec<f64>)> {
    let values = newest(values, slots);
    let first = slots - values.len();
    let mut runs: Vec<(usize, Vec<f64>)> = Vec::new();
    let mut is_open = false;
    for (index, value) in values.iter().enumerate() {
        match (value.filter(|value| value.is_finite()), runs.last_mut()) {
            (Some(value), Some((_, run))) if is_open => run.push(value),
            (Some(value), _) => {
                runs.push((first + index, vec![value]));
                is_open = true;
            }
            (None, _) => is_open = false,
        }
    }
    runs
}

/// As many minutes as there are, few enough for a plot of the last hour.
fn slots(minutes: usize) -> usize {
    minutes.clamp(1, HOUR)
}

/// `the last hour`, `the last 7 minutes`.
pub(super) fn last_minutes(minutes: usize) -> String {
    last(60.0 * f64::from(u32::try_from(slots(minutes)).unwrap_or(u32::MAX)))
}

fn newest(values: &[Option<f64>], slots: usize) -> &[Option<f64>] {
    &values[values.len().saturating_sub(slots)..]
}

/// From the top, as SVG counts, of a share of `height`.
fn down(share: f64, height: u32) -> u32 {
    height - scaled(share, height)
}

/// A share of a whole, to the nearest unit, within it.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "clamped to 0 and `whole` before; a cast of NaN is 0"
)]
fn scaled(share: f64, whole: u32) -> u32 {
    (share.clamp(0.0, 1.0) * f64::from(whole)).round() as u32
}

fn add(path: &mut String, more: std::fmt::Arguments<'_>) {
    path.write_fmt(more).expect("writing to a String does not fail");
}

/// A steady line is drawn below the edge, not on it.
const HEADROOM: f64 = 1.25;

/// Width of a chart.
const WIDTH: u32 = 1440;

/// Readings this many seconds apart are not joined by a line.
const PAUSE: f64 = 90.0;

/// Least height of a share above zero.
const LEAST_HEIGHT: f64 = 0.12;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_value_is_a_gap_and_no_zero() {
        let values = [Some(1.0), None, Some(0.5), Some(0.0)];
        assert_eq!(line_path(&values, 4, |value| down(value, 100)), "M0.5 0h.5M2.5 50L3.5 100");
        assert_eq!(step_path(&values, 4, |value| down(value, 100)), "M0 100V0h1V100zM2 100V50h1V100h1V100z");
        assert_eq!(ground_path(&values, 4), "M0 100h1M2 100h2");
    }

    #[test]
    fn the_newest_value_is_at_the_right_however_many_there_are() {
        assert_eq!(runs(&[Some(1.0)], 3), [(2, vec![1.0])]);
        let many: Vec<_> = (0..5).map(|value| Some(f64::from(value))).collect();
        assert_eq!(runs(&many, 2), [(0, vec![3.0, 4.0])]);
        assert_eq!(runs(&[], 3), []);
    }

    #[test]
    fn a_summary_leaves_out_what_is_not_known() {
        let summary = Summary::of(&[Some(2.0), None, Some(4.0), None], 60).unwrap();
        assert_eq!(summary, Summary { low: 2.0, mean: 3.0, high: 4.0, last: None, gaps: 58 });
        assert_eq!(summary.words(|value| format!("{value}")), "now no data, lowest 2, mean 3, highest 4");
        assert_eq!(Summary::of(&[None, Some(f64::NAN)], 60), None);
    }

    #[test]
    fn a_plot_of_time_begins_with_its_first_reading_and_breaks_where_none_came() {
        let scale = Scale::around(0.0, 1.0);
        let path = |points: &[(f64, Option<f64>)]| {
            let axis = TimeAxis::over(points.first().map_or(0.0, |(ago, _)| *ago));
            time_path(points, axis, &scale)
        };
        assert_eq!(path(&[(0.0, Some(1.0))]), "M1440 0h1");
        assert_eq!(path(&[(15.0, Some(0.0)), (7.5, Some(1.0)), (0.0, Some(0.0))]), "M0 400L720 0L1440 400");
        let gap = path(&[
            (600.0, Some(0.0)),
            (300.0, Some(1.0)),
            (240.0, Some(1.0)),
            (180.0, None),
            (150.0, Some(0.5)),
        ]);
        assert_eq!(gap, "M0 400h1M720 0L864 0M1080 200h1");
    }

    #[test]
    fn shares_beyond_the_whole_stay_within_the_drawing() {
        assert_eq!(down(1.7, 100), 0);
        assert_eq!(down(-1.0, 100), 100);
        assert_eq!(down(f64::NAN, 100), 100);
    }
}
