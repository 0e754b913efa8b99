//! Tables for people: columns, headings, and lines no wider than the terminal.
//!
//! Pure formatting; it knows neither the terminal nor the meter.

use std::fmt::Write;
use std::time::Duration;

use super::export;
use super::reading::{self, MeterReading, NOT_READ, Row, Subject};
use crate::meter::figure::figure;
use crate::meter::{Group, ScaleRead};
use crate::runtime::timestamp::local_with_zone;

/// A reading as a table: groups with headings, then alerts, then how it went.
#[must_use]
pub fn reading(subject: &Subject<'_>, found: &MeterReading<'_>, width: Option<usize>) -> String {
    let (unit, target, profile) = (subject.unit, &subject.target, &subject.profile.name);
    let mut text = format!("unit {unit} at {target}, {profile}, {}\n", local_with_zone(found.time));
    let longest = |cell: fn(&Row<'_>) -> usize| found.rows.iter().map(cell).max().unwrap_or(0);
    let columns = Columns {
        name: longest(|row| row.point.name.len()),
        number: longest(|row| number(row).map_or(0, |text| text.chars().count())),
        unit: longest(|row| row.point.unit.map_or(0, str::len)),
        words: longest(|row| words(row).chars().count().min(LONGEST_WORDS)),
        register: longest(|row| row.point.register.to_string().len()),
    };
    for group in Group::ALL {
        let mut rows = found.rows.iter().filter(|row| row.point.group == *group).peekable();
        if rows.peek().is_some() {
            text.push('\n');
            text.push_str(&heading(*group));
            text.push('\n');
        }
        for row in rows {
            text.push_str(&clip(&columns.line(row), width));
            text.push('\n');
        }
    }
    text.push('\n');
    if found.has_flags() {
        text.push_str(&alerts(found));
    }
    text.push_str(&ending(subject, found));
    text
}

/// Rows of cells as lines, each column as wide as its widest cell.
pub(super) fn columns<const N: usize>(rows: &[[String; N]]) -> Vec<String> {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default();
    let widths: [usize; N] = std::array::from_fn(width);
    let padded = |row: &[String; N]| {
        let cells: String = row.iter().zip(widths).map(|(cell, width)| format!("  {cell:<width$}")).collect();
        cells.trim_end().to_owned()
    };
    rows.iter().map(padded).collect()
}

struct Columns {
    name: usize,
    number: usize,
    unit: usize,
    /// Of what stands in place of a number and its unit.
    words: usize,
    register: usize,
}

impl Columns {
    fn line(&self, row: &Row<'_>) -> String {
        let Self { name, number: digits, unit, words: longest, register } = self;
        let value = match number(row) {
            Some(text) => format!("{text:>digits$} {}", row.point.unit.unwrap_or_default()),
            // Short words end where the numbers end, longer ones begin where they begin.
            None => format!("{:>digits$}", words(row)),
        };
        let value = format!("{value:<width$}", width = (digits + 1 + unit).max(*longest));
        // What was read with the value has the value's age.
        let is_apart = row.reading.as_ref().is_some_and(|one| one.scaled != ScaleRead::Together);
        let age = row.scale_age.filter(|_| is_apart);
        let age = age.map(|age| format!("{} {:.1} s old", reading::scale_word(row.point), age.as_secs_f64()));
        let remarks = age.into_iter().chain(row.reading.as_ref().and_then(reading::remark));
        let remarks = remarks.collect::<Vec<_>>().join(", ");
        let remark = if remarks.is_empty() { remarks } else { format!(" ({remarks})") };
        let point = row.point;
        format!(
            "  {:<name$}  {value}{remark}  {:>register$}  {}",
            point.name, point.register, point.description
        )
    }
}

/// The value where it is a plain number, as people read it.
fn number(row: &Row<'_>) -> Option<String> {
    figure(&row.reading.as_ref()?.value, row.point.group)
}

/// What the row says, its unit left out.
fn words(row: &Row<'_>) -> String {
    row.reading.as_ref().map_or(NOT_READ.to_owned(), |one| reading::words(&one.value))
}

fn alerts(found: &MeterReading<'_>) -> String {
    let lines: Vec<_> = found.alerts().map(|(_, bit)| format!("  {}\n", bit.means)).collect();
    if lines.is_empty() { "Alerts: none\n".to_owned() } else { format!("Alerts:\n{}", lines.concat()) }
}

fn ending(subject: &Subject<'_>, found: &MeterReading<'_>) -> String {
    let mut text = String::new();
    for (registers, failure) in &found.missed {
        // Writing to a String cannot fail.
        let _never = writeln!(text, "Not read: {registers}: {failure}");
    }
    let age = match subject.max_age {
        None => "; over a gateway, values may be as old as its `max_age`".to_owned(),
        Some(Duration::ZERO) => ", straight from the line".to_owned(),
        Some(age) => format!(", at most {} s old", age.as_secs_f64()),
    };
    let _never = writeln!(text, "Read in {:.3} s{age}", found.took.as_secs_f64());
    text
}

/// A group's name as a heading.
fn heading(group: Group) -> String {
    let word = group.word().replace('_', " ");
    let mut letters = word.chars();
    letters.next().map_or(String::new(), |first| first.to_uppercase().chain(letters).collect())
}

/// What a meter says in a column of a sweep; empty where there is no value.
#[must_use]
pub fn cell(row: &Row<'_>) -> String {
    number(row).unwrap_or_else(|| export::csv_value(row))
}

/// Columns of text, the first line a heading; numbers are the caller's to align.
#[must_use]
pub fn plain(rows: &[Vec<String>], width: Option<usize>) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns)
        .map(|column| {
            rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
        })
        .collect();
    let mut text = String::new();
    for row in rows {
        let cells: Vec<_> = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        text.push_str(&clip(cells.join("  ").trim_end(), width));
        text.push('\n');
    }
    text
}

/// A line no longer than this, its end marked where it was cut.
#[must_use]
pub fn clip(line: &str, width: Option<usize>) -> String {
    let line = line.trim_end();
    match width {
        Some(width) if line.chars().count() > width && width > 0 => {
            line.chars().take(width - 1).chain(['…']).collect()
        }
        Some(_) | None => line.to_owned(),
    }
}

/// Words longer than this push what follows to the right rather than widen the column.
const LONGEST_WORDS: usize = 24;

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::meter::{Profile, Reading, Value};

    #[test]
    fn a_table_has_the_digits_that_say_something_and_csv_has_all() {
        let profile = Profile::builtin("leviton-4000r").expect("built in");
        let row = |name: &str, value: Value<'static>| {
            let point = profile.point(name).expect("there");
            let reading = Reading {
                point,
                value,
                asked_at: Instant::now(),
                scaled: ScaleRead::NotNeeded,
                scale_asked_at: None,
                in_range: true,
            };
            Row { point, raw: vec![], reading: Some(reading), scale_age: None }
        };
        let voltage = row("voltage_an_f", Value::Float(276.383_94));
        assert_eq!(
            (cell(&voltage), export::csv_value(&voltage)),
            ("276.38".to_owned(), "276.38394".to_owned())
        );
        let energy = row("real_energy_total_f", Value::Float(1_565_028.2));
        assert_eq!(cell(&energy), "1\u{202f}565\u{202f}028");
        let code = row("system_type", Value::Code { code: 40, means: "wye, four wires" });
        assert_eq!(cell(&code), "40");
    }

    #[test]
    fn a_line_is_cut_at_the_width_and_says_so() {
        assert_eq!(clip("abcdef", Some(6)), "abcdef");
        assert_eq!(clip("abcdef  ", Some(4)), "abc…");
        assert_eq!(clip("abcdef", None), "abcdef");
        assert_eq!(clip("äöüß", Some(3)), "äö…");
        assert_eq!(clip("abc", Some(0)), "abc", "a terminal that knows no width");
    }

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let row = |cells: [&str; 2]| cells.map(str::to_owned).to_vec();
        assert_eq!(plain(&[row(["a", "b"]), row(["long", "c"])], None), "a     b\nlong  c\n");
    }

    #[test]
    fn a_group_is_headed_by_its_name_in_words() {
        assert_eq!(heading(Group::PowerFactor), "Power factor");
    }
}
