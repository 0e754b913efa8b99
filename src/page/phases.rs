//! What a meter measures as its panel shows it: a row for each quantity, a column for each phase, then the total.
//!
//! Owns which point belongs into which row and column. Both come from the profile: the description says it
//! (`Voltage L-N, phase A`, `Voltage L-L, A-B`, `Current, average`), else the name does (`voltage_an`, `voltage_ab`,
//! `current_avg`). A column that no point has is not there, nor one whose points mean nothing under the meter's wiring.

use std::time::Duration;

use maud::{Markup, html};

use super::format::{self, NO_DATA};
use super::layout::head;
use super::quantity::{unit_of, value};
use crate::meter::Group;
use crate::status::{Point, UnitState};

/// Whether points of this group belong into the table whether or not they name a phase.
pub(super) fn is_measured(group: Group) -> bool {
    match group {
        Group::Energy
        | Group::Power
        | Group::PowerFactor
        | Group::Voltage
        | Group::Current
        | Group::Frequency
        | Group::Demand => true,
        Group::Pulses
        | Group::Configuration
        | Group::Scale
        | Group::Diagnostics
        | Group::Identity
        | Group::Other
        | Group::Reserved => false,
    }
}

/// What a point is of.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Place {
    /// One conductor.
    Phase(String),
    /// Two conductors.
    Pair(String, String),
    /// All of them: `total`, `average`; empty where nothing is said.
    Whole(String),
}

/// What is measured, of the points that stand for their quantities.
#[derive(Debug, PartialEq)]
pub(super) struct PhaseTable<'p> {
    columns: Vec<String>,
    rows: Vec<Row<'p>>,
}

#[derive(Debug, PartialEq)]
struct Row<'p> {
    label: String,
    unit: &'p str,
    group: Group,
    /// One for each column.
    cells: Vec<Option<Cell<'p>>>,
    whole: Option<Cell<'p>>,
}

#[derive(Debug, PartialEq)]
struct Cell<'p> {
    point: &'p Point<'p>,
    /// What the heading of its column does not say: `A-B`, `average`.
    tag: String,
}

impl<'p> Row<'p> {
    fn points(&self) -> impl Iterator<Item = &'p Point<'p>> {
        self.cells.iter().flatten().chain(&self.whole).map(|cell| cell.point)
    }
}

impl<'p> PhaseTable<'p> {
    /// Of points in the profile's order, one for each quantity.
    pub(super) fn new(points: &[&'p Point<'p>]) -> Self {
        let meaningful = points.iter().copied().filter(|point| point.meaningful != Some(false));
        let mut placed: Vec<_> = meaningful.map(|point| (point, place(point))).collect();
        // Of what is no measurement by its group, only what has phases.
        let has_phases = |group: Group, label: &str| {
            let is_same = |(point, (other, place)): &(&Point<'_>, (String, Place))| {
                point.group == group && other == label && !matches!(place, Place::Whole(_))
            };
            placed.iter().any(is_same)
        };
        let is_in: Vec<bool> = placed
            .iter()
            .map(|(point, (label, _))| is_measured(point.group) || has_phases(point.group, label))
            .collect();
        let mut is_in = is_in.into_iter();
        placed.retain(|_| is_in.next().unwrap_or_default());
        placed.sort_by_key(|(point, _)| point.group);
        let mut columns: Vec<String> = Vec::new();
        for (_, (_, place)) in &placed {
            if let Place::Phase(name) = place
                && !columns.contains(name)
            {
                columns.push(name.clone());
            }
        }
        columns.sort();
        for (_, (_, place)) in &placed {
            if let Place::Pair(from, to) = place
                && ![from, to].iter().any(|name| columns.contains(name))
            {
                columns.push(format!("{from}-{to}"));
            }
        }
        let mut table = Self { columns, rows: Vec::new() };
        for (point, (label, place)) in placed {
            table.add(point, label, &place);
        }
        table
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Whether the point is in it.
    pub(super) fn has(&self, point: &Point<'_>) -> bool {
        let cells = |row: &Row<'p>| {
            row.cells.iter().flatten().chain(&row.whole).any(|cell| cell.point.point == point.point)
        };
        self.rows.iter().any(cells)
    }

    fn add(&mut self, point: &'p Point<'p>, label: String, place: &Place) {
        let unit = unit_of(point.unit.as_ref());
        let column = |name: &String| self.columns.iter().position(|column| column == name);
        let (wanted, tag): (Vec<Option<usize>>, String) = match place {
            Place::Phase(name) => (vec![column(name)], String::new()),
            Place::Pair(from, to) => {
                let pair = format!("{from}-{to}");
                match column(&pair) {
                    Some(own) => (vec![Some(own)], String::new()),
                    None => (vec![column(from), column(to)], pair),
                }
            }
            Place::Whole(what) => {
                // A heading says `Total`.
                (Vec::new(), if what == TOTAL { String::new() } else { what.clone() })
            }
        };
        let cell = Cell { point, tag };
        let row = self.rows.iter_mut().find(|row| {
            let is_free = match wanted.as_slice() {
                [] => row.whole.is_none(),
                columns => columns.iter().flatten().any(|column| row.cells[*column].is_none()),
            };
            row.label.eq_ignore_ascii_case(&label) && row.unit == unit && is_free
        });
        let row = match row {
            Some(row) => row,
            None => {
                let cells = self.columns.iter().map(|_| None).collect();
                self.rows.push(Row { label, unit, group: point.group, cells, whole: None });
                let last = self.rows.len() - 1;
                &mut self.rows[last]
            }
        };
        match wanted.iter().flatten().find(|column| row.cells[**column].is_none()) {
            Some(column) => row.cells[*column] = Some(cell),
            None => row.whole = Some(cell),
        }
    }

    /// The table; the values of a meter that does not answer now are marked as old.
    pub(super) fn markup(&self, state: UnitState) -> Markup {
        let has_whole = self.rows.iter().any(|row| row.whole.is_some());
        let whole = if self.columns.is_empty() { "Value" } else { "Total" };
        html! {
            table class={ "phases" @if !state.is_answering() { " old" } } role="table" aria-labelledby="points" {
                thead role="rowgroup" {
                    tr role="row" {
                        (head("Quantity"))
                        @for column in &self.columns { (head(column)) }
                        @if has_whole { (head(whole)) }
                        (head("Age"))
                    }
                }
                tbody role="rowgroup" {
                    @for (index, row) in self.rows.iter().enumerate() {
                        tr role="row" class=[(index > 0 && self.rows[index - 1].group != row.group).then_some("next")] {
                            th role="rowheader" scope="row" {
                                (row.label) @if !row.unit.is_empty() { span class="unit" { ", " (row.unit) } }
                            }
                            @for (column, held) in self.columns.iter().zip(&row.cells) { (cell(column, held.as_ref())) }
                            @if has_whole { (cell(whole, row.whole.as_ref())) }
                            td role="cell" class="age" { (age(row)) (scale_age(row.points())) }
                        }
                    }
                }
            }
        }
    }
}

fn cell(column: &str, cell: Option<&Cell<'_>>) -> Markup {
    html! {
        td role="cell" class="value" {
            @if let Some(cell) = cell {
                span class="cap" aria-hidden="true" { (column) }
                @if !cell.tag.is_empty() { span class="tag" { (cell.tag) } " " }
                @match value(cell.point) {
                    Some(value) => b { (value) },
                    None => span class="no" { (NO_DATA) },
                }
            }
        }
    }
}

/// Of the oldest value in it.
fn age(row: &Row<'_>) -> String {
    let ages = row.points().filter_map(|point| point.age_ms);
    ages.max().map_or_else(|| "–".to_owned(), |millis| format::age(Duration::from_millis(millis)))
}

/// Below the age of values: that of the exponent or ratio they are scaled by, unless it was read with them; of several
/// the oldest.
pub(super) fn scale_age<'p>(points: impl Iterator<Item = &'p Point<'p>>) -> Markup {
    let apart = points.filter(|point| point.scale_age_ms != point.age_ms);
    let oldest = apart.filter_map(|point| point.scale_age_ms).max();
    html! {
        @if let Some(millis) = oldest {
            span class="sub" { "scale " (format::age(Duration::from_millis(millis))) }
        }
    }
}

/// The row of a point, and its place in it.
fn place(point: &Point<'_>) -> (String, Place) {
    if let Some((quantity, of)) = point.description.rsplit_once(", ")
        && let Some(place) = described(of)
    {
        return (quantity.to_owned(), place);
    }
    match named(&point.quantity) {
        Some((quantity, place)) => (quantity, place),
        None if point.description.is_empty() => (words(&point.quantity), Place::Whole(String::new())),
        None => (point.description.clone().into_owned(), Place::Whole(String::new())),
    }
}

/// What the end of a description means: `phase A`, `A-B`, `total`.
fn described(of: &str) -> Option<Place> {
    if let Some(phase) = of.strip_prefix("phase ") {
        return conductor(phase).map(Place::Phase);
    }
    if let Some((from, to)) = of.split_once('-') {
        return Some(Place::Pair(conductor(from)?, conductor(to)?));
    }
    match of {
        "total" | "all phases" => Some(Place::Whole(TOTAL.to_owned())),
        "average" | "sum" => Some(Place::Whole(of.to_owned())),
        _ => None,
    }
}

/// What the end of a name means: `_a`, `_an`, `_ab`, `_l1`, `_total`, `_avg`.
fn named(name: &str) -> Option<(String, Place)> {
    let (quantity, end) = name.rsplit_once('_')?;
    let whole = |what: &str| Some((words(quantity), Place::Whole(what.to_owned())));
    match end {
        "total" => return whole(TOTAL),
        "avg" | "mean" => return whole("average"),
        "sum" => return whole("sum"),
        _ => {}
    }
    // Numbers alone also count tariffs and contacts.
    let letters = if end.starts_with('l') && end.len() > 1 { Some(end.replace('l', "")) } else { None };
    let of = letters.as_deref().unwrap_or(end);
    let is_phase = |one: char| matches!(one, 'a'..='c') || letters.is_some() && matches!(one, '1'..='3');
    let mut each = of.chars();
    match (each.next(), each.next(), each.next()) {
        (Some(one), None, None) if is_phase(one) => {
            Some((words(quantity), Place::Phase(conductor(&one.to_string())?)))
        }
        (Some(one), Some('n'), None) if is_phase(one) => {
            Some((words(&format!("{quantity}_ln")), Place::Phase(conductor(&one.to_string())?)))
        }
        (Some(one), Some(other), None) if is_phase(one) && is_phase(other) => {
            let pair = Place::Pair(conductor(&one.to_string())?, conductor(&other.to_string())?);
            Some((words(&format!("{quantity}_ll")), pair))
        }
        (..) => None,
    }
}

/// As it is called on a panel: a letter, or L and a number.
fn conductor(name: &str) -> Option<String> {
    let short = (1..=2).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_alphanumeric());
    let name = name.to_ascii_uppercase();
    short.then(|| if name.bytes().all(|byte| byte.is_ascii_digit()) { format!("L{name}") } else { name })
}

/// `real_power` as people write it.
fn words(name: &str) -> String {
    let word = |word: &str| match word {
        "ln" => "L-N".to_owned(),
        "ll" => "L-L".to_owned(),
        word => word.to_owned(),
    };
    let words = name.split('_').map(word).collect::<Vec<_>>().join(" ");
    let mut letters = words.chars();
    letters.next().map_or(String::new(), |first| first.to_uppercase().chain(letters).collect())
}

/// The word for all phases together where the heading says it already.
const TOTAL: &str = "total";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::meter::Profile;

    /// The points of a profile that are no copies, with nothing read.
    fn points(profile: &Profile) -> Vec<Point<'_>> {
        let originals = profile.points.iter().filter(|point| point.copy_of.is_none());
        originals
            .map(|of| Point {
                point: of.name.as_str().into(),
                quantity: of.name.as_str().into(),
                description: of.description.as_str().into(),
                group: of.group,
                register: of.register,
                unit: of.unit.map(Into::into),
                value: None,
                text: None,
                age_ms: None,
                scale_age_ms: None,
                problem: None,
                in_range: None,
                meaningful: None,
                is_chosen: true,
                is_billed: of.bill_by,
                is_polled: true,
                is_fresh: false,
                is_alert: false,
                flags: Vec::new(),
            })
            .collect()
    }

    fn lines(points: &[Point<'_>]) -> (Vec<String>, Vec<String>) {
        let table = PhaseTable::new(&points.iter().collect::<Vec<_>>());
        let name = |cell: &Option<Cell<'_>>| {
            cell.as_ref().map_or_else(
                || "-".to_owned(),
                |cell| {
                    format!(
                        "{}{}",
                        cell.point.point,
                        if cell.tag.is_empty() { String::new() } else { format!("={}", cell.tag) }
                    )
                },
            )
        };
        let line = |row: &Row<'_>| {
            let cells: Vec<_> = row.cells.iter().chain([&row.whole]).map(name).collect();
            format!("{}: {}", row.label, cells.join(" "))
        };
        let rows = table.rows.iter().map(line).collect();
        (table.columns, rows)
    }

    #[test]
    fn the_leviton_has_a_row_for_each_quantity_and_three_columns() {
        let profile = Profile::builtin("leviton-4000r").expect("built in");
        let (columns, rows) = lines(&points(profile));
        assert_eq!(columns, ["A", "B", "C"]);
        for row in [
            "Real energy: real_energy_a real_energy_b real_energy_c real_energy_total",
            "Real power: real_power_a real_power_b real_power_c real_power_total",
            "Power factor: power_factor_a power_factor_b power_factor_c power_factor_total",
            "Voltage L-L: voltage_ab=A-B voltage_bc=B-C voltage_ac=A-C voltage_ll_avg=average",
            "Voltage L-N: voltage_an voltage_bn voltage_cn voltage_ln_avg=average",
            "Current: current_a current_b current_c current_avg=average",
            "Line frequency, taken from phase A: - - - frequency",
        ] {
            assert!(rows.contains(&row.to_owned()), "{row}: {rows:#?}");
        }
    }

    #[test]
    fn a_meter_whose_profile_has_no_descriptions_is_read_by_its_names() {
        let text = include_str!("../../config/profiles/sunspec-meter-213.yaml");
        let profile = Profile::parse(text, "sunspec-meter-213.yaml").expect("it loads");
        let (columns, rows) = lines(&points(&profile));
        assert_eq!(columns, ["A", "B", "C"]);
        for row in [
            "Current: current_a current_b current_c current",
            "Voltage L-N: voltage_an voltage_bn voltage_cn voltage_ln_avg=average",
            "Voltage L-L: voltage_ab=A-B voltage_bc=B-C voltage_ca=C-A voltage_ll_avg=average",
            "Real energy imported: real_energy_imported_a real_energy_imported_b real_energy_imported_c real_energy_imported",
        ] {
            assert!(rows.contains(&row.to_owned()), "{row}: {rows:#?}");
        }
    }

    #[test]
    fn phases_that_are_numbers_are_called_as_on_the_panel_and_a_second_whole_has_a_row_of_its_own() {
        let profile = Profile::builtin("eastron-sdm630").expect("built in");
        let (columns, rows) = lines(&points(profile));
        assert_eq!(columns, ["L1", "L2", "L3"]);
        for row in [
            "Voltage L-L: voltage_ab=L1-L2 voltage_bc=L2-L3 voltage_ca=L3-L1 voltage_ll_avg=average",
            "Current: current_a current_b current_c current_avg=average",
            "Current: - - - current_sum=sum",
            "Phase angle: phase_angle_a phase_angle_b phase_angle_c phase_angle_total",
        ] {
            assert!(rows.contains(&row.to_owned()), "{row}: {rows:#?}");
        }
    }

    #[test]
    fn no_column_is_there_that_the_profile_or_the_wiring_does_not_have() {
        let profile = Profile::builtin("leviton-4000r").expect("built in");
        let kept = ["voltage_ln_avg", "current_avg", "real_power_total", "frequency"];
        let single: Vec<_> =
            points(profile).into_iter().filter(|point| kept.contains(&&*point.point)).collect();
        let (columns, rows) = lines(&single);
        assert_eq!((columns.len(), rows.len()), (0, 4), "{columns:?} {rows:?}");
        let split = points(profile).into_iter().map(|point| {
            let has_c = point.point.ends_with("_c")
                || point.point.ends_with("_cn")
                || matches!(&*point.point, "voltage_bc" | "voltage_ac");
            Point { meaningful: Some(!has_c), ..point }
        });
        let (columns, rows) = lines(&split.collect::<Vec<_>>());
        assert_eq!(columns, ["A", "B"]);
        assert!(
            rows.contains(&"Voltage L-L: voltage_ab=A-B - voltage_ll_avg=average".to_owned()),
            "{rows:?}"
        );
        let pairs: Vec<_> = points(profile)
            .into_iter()
            .filter(|point| matches!(&*point.point, "voltage_ab" | "voltage_bc"))
            .collect();
        assert_eq!(lines(&pairs).0, ["A-B", "B-C"]);
    }

    #[test]
    fn a_name_that_only_ends_in_a_number_is_no_phase() {
        assert_eq!(named("real_energy_2"), None);
        assert_eq!(named("current_l2"), Some(("Current".to_owned(), Place::Phase("L2".to_owned()))));
        assert_eq!(
            named("voltage_l1l2"),
            Some(("Voltage L-L".to_owned(), Place::Pair("L1".to_owned(), "L2".to_owned())))
        );
        assert_eq!(named("voltage_l1n"), Some(("Voltage L-N".to_owned(), Place::Phase("L1".to_owned()))));
        assert_eq!(named("current_limit"), None);
    }
}
