//! One reading of a meter as it is shown: each chosen point with what it says, and what could not be read.
//!
//! Owns the words for values. It never reads a clock, and writes no format: see `table` and `export`.

use std::time::{Duration, SystemTime};

use crate::client::{Failure, Survey};
use crate::meter::{Bit, Point, Profile, Reading, Scale, ScaleRead, Unscaled, Value};
use crate::modbus::pdu::ReadRange;

/// What all readings of one command have in common.
#[derive(Clone, Debug)]
pub struct Subject<'p> {
    /// The target that was read.
    pub target: String,
    /// The unit.
    pub unit: u8,
    /// What people call it, where that is known.
    pub name: Option<String>,
    /// What its registers mean.
    pub profile: &'p Profile,
    /// The points to read.
    pub points: Vec<&'p Point>,
    /// How old the data may be by what is known of the target; zero: straight from the line.
    pub max_age: Option<Duration>,
}

/// One reading.
#[derive(Debug)]
pub struct MeterReading<'p> {
    /// When the request was sent.
    pub time: SystemTime,
    /// Time spent on good answers.
    pub took: Duration,
    /// The chosen points, in the order of the choice.
    pub rows: Vec<Row<'p>>,
    /// Registers with chosen points that could not be read, and why.
    pub missed: Vec<(String, Failure)>,
}

/// One point of a reading.
#[derive(Debug)]
pub struct Row<'p> {
    /// Which.
    pub point: &'p Point,
    /// Its registers, in order of address; empty where they were not read.
    pub raw: Vec<u16>,
    /// What it says; `None` where it was not read.
    pub reading: Option<Reading<'p>>,
    /// How old what it is scaled by was when the last answer came; `None` where points of the profile do not scale it.
    pub scale_age: Option<Duration>,
}

impl<'p> MeterReading<'p> {
    /// What a survey says of the chosen points.
    #[must_use]
    pub fn new(subject: &Subject<'p>, survey: &Survey, time: SystemTime) -> Self {
        let samples = survey.samples();
        let row = |point: &&'p Point| {
            let mut reading = subject.profile.decode(point, &samples);
            if let (Some(reading), Some(age)) = (&mut reading, subject.max_age) {
                reading.scaled = of_snapshot(reading.scaled, age);
            }
            let scaled_at = reading.as_ref().and_then(|reading| reading.scale_asked_at);
            let ended_at = survey.ended_at();
            Row {
                point,
                raw: survey.registers(&point.range).unwrap_or_default(),
                scale_age: scaled_at.zip(ended_at).map(|(at, end)| end.saturating_duration_since(at)),
                reading,
            }
        };
        let rows: Vec<_> = subject.points.iter().map(row).collect();
        let wanted = |range: &ReadRange| {
            rows.iter().any(|row| row.reading.is_none() && range.overlaps(&row.point.range))
        };
        let mut missed: Vec<_> = survey.missed.iter().filter(|(range, _)| wanted(range)).collect();
        // Where the survey broke off, the reason stands with the range it broke off at.
        if missed.is_empty() && rows.iter().any(|row| row.reading.is_none()) {
            missed.extend(survey.missed.first());
        }
        let printed = |range: &ReadRange| {
            let first = subject.profile.register(range.start);
            let last = first + u32::from(range.quantity.max(1)) - 1;
            if first == last { first.to_string() } else { format!("{first}-{last}") }
        };
        let missed = missed.into_iter().map(|(range, failure)| (printed(range), failure.clone())).collect();
        Self { time, took: survey.took(), rows, missed }
    }

    /// How old what the values are scaled by was when the last answer came, of the oldest.
    #[must_use]
    pub fn scale_age(&self) -> Option<Duration> {
        self.rows.iter().filter_map(|row| row.scale_age).max()
    }

    /// The flags that are set, and the point each belongs to.
    pub fn alerts(&self) -> impl Iterator<Item = (&'p Point, &'p Bit)> {
        self.rows.iter().flat_map(|row| {
            let set = match row.reading.as_ref().map(|reading| &reading.value) {
                Some(Value::Bits { set, .. }) => set.as_slice(),
                Some(_) | None => &[],
            };
            set.iter().map(|bit| (row.point, *bit))
        })
    }

    /// Whether flags were read at all.
    #[must_use]
    pub fn has_flags(&self) -> bool {
        let is_flags =
            |row: &Row<'_>| matches!(&row.reading, Some(Reading { value: Value::Bits { .. }, .. }));
        self.rows.iter().any(is_flags)
    }
}

/// A value in words, without its unit.
#[must_use]
pub fn words(value: &Value<'_>) -> String {
    match value {
        Value::Number(number) => number.to_string(),
        Value::Float(number) => number.to_string(),
        Value::Double(number) => number.to_string(),
        Value::Code { code, means } => format!("{means} ({code})"),
        Value::Bits { bits: 0, .. } => "none".to_owned(),
        Value::Bits { bits, set } => {
            let named = set.iter().fold(0, |all, bit| all | 1_u32 << bit.bit);
            let names = set.iter().map(|bit| bit.name.as_str()).collect::<Vec<_>>().join(" ");
            let gap = if names.is_empty() { "" } else { " " };
            // Flags without a name in the profile are shown, too.
            let rest = bits & !named;
            if rest == 0 { names } else { format!("{names}{gap}0x{rest:04X}") }
        }
        Value::Version(version) => version.to_string(),
        Value::Text(text) => text.clone(),
        Value::NotAvailable => NOT_AVAILABLE.to_owned(),
        Value::NotANumber { bits, words } => {
            format!("no number (0x{bits:0width$X})", width = 4 * usize::from(*words))
        }
        Value::Unscaled { count, why } => {
            let why = match why {
                Unscaled::NotRead => "what it is scaled by was not read".to_owned(),
                Unscaled::Changed => "what it is scaled by changed meanwhile".to_owned(),
                Unscaled::Impossible(found) => format!("its exponent reads {found}"),
                Unscaled::NoRatio => "its ratio is none".to_owned(),
            };
            format!("{count} steps ({why})")
        }
    }
}

/// Whether the value is a plain number, whose unit then means something.
#[must_use]
pub fn is_number(value: &Value<'_>) -> bool {
    match value {
        Value::Number(_) | Value::Float(_) | Value::Double(_) => true,
        Value::Code { .. }
        | Value::Bits { .. }
        | Value::Version(_)
        | Value::Text(_)
        | Value::NotAvailable
        | Value::NotANumber { .. }
        | Value::Unscaled { .. } => false,
    }
}

/// Answers of a gateway may be as old as this: what was requested before and after a value may have been read together.
fn of_snapshot(scaled: ScaleRead, max_age: Duration) -> ScaleRead {
    match scaled {
        ScaleRead::Around if max_age > Duration::ZERO => ScaleRead::Apart(max_age),
        ScaleRead::Apart(time) => ScaleRead::Apart(time + max_age),
        ScaleRead::NotNeeded | ScaleRead::Together | ScaleRead::Around | ScaleRead::Missing => scaled,
    }
}

/// What a point is scaled by.
#[must_use]
pub fn scale_word(point: &Point) -> &'static str {
    match &point.scale {
        Some(Scale::Ratio(_)) => "ratio",
        Some(Scale::Factor(_) | Scale::Exponent(_)) | None => "exponent",
    }
}

/// What is odd about a reading, if anything.
#[must_use]
pub fn remark(reading: &Reading<'_>) -> Option<String> {
    let what = scale_word(reading.point);
    let apart = match reading.scaled {
        ScaleRead::Apart(time) => Some(format!("its {what} was read up to {} ms apart", time.as_millis())),
        ScaleRead::NotNeeded | ScaleRead::Together | ScaleRead::Around | ScaleRead::Missing => None,
    };
    let outside = (!reading.in_range).then(|| "outside its range".to_owned());
    let remarks: Vec<_> = [apart, outside].into_iter().flatten().collect();
    (!remarks.is_empty()).then(|| remarks.join(", "))
}

/// What stands in place of a value the meter does not have.
pub const NOT_AVAILABLE: &str = "n/a";

/// What stands in place of a value that was not read.
pub const NOT_READ: &str = "not read";

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[test]
    fn an_exponent_from_a_snapshot_may_be_as_far_apart_as_that_is_old() {
        let (second, two) = (Duration::from_secs(1), Duration::from_secs(2));
        assert_eq!(of_snapshot(ScaleRead::Around, Duration::ZERO), ScaleRead::Around);
        assert_eq!(of_snapshot(ScaleRead::Around, second), ScaleRead::Apart(second));
        assert_eq!(of_snapshot(ScaleRead::Apart(second), second), ScaleRead::Apart(two));
        assert_eq!(of_snapshot(ScaleRead::Together, second), ScaleRead::Together);
    }

    #[test]
    fn an_exponent_that_was_read_apart_is_remarked_on() {
        let profile = Profile::builtin("leviton-4000r").expect("built in");
        let point = profile.point("real_power_total").expect("there");
        let value = Value::Number(crate::meter::Decimal::whole(1));
        let scaled = ScaleRead::Apart(Duration::from_millis(120));
        let mut reading =
            Reading { point, value, asked_at: Instant::now(), scaled, scale_asked_at: None, in_range: true };
        assert_eq!(remark(&reading).as_deref(), Some("its exponent was read up to 120 ms apart"));
        reading.in_range = false;
        assert_eq!(
            remark(&reading).as_deref(),
            Some("its exponent was read up to 120 ms apart, outside its range")
        );
        reading.scaled = ScaleRead::Around;
        reading.in_range = true;
        assert_eq!(remark(&reading), None);
    }
}
