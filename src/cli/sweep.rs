//! The meters that one `read` asks: one of them in full, or several in a sweep, a row a meter.
//!
//! Owns what is asked of each meter, and how a sweep looks: whose row, which columns, and how far apart its readings
//! are. Opens nothing.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use super::exit::Exit;
use super::export::{self, csv};
use super::reading::{MeterReading, Row, Subject};
use super::shown::{Shown, Style};
use super::{point_selection, screen, table};
use crate::client::Client;
use crate::client::survey::survey;
use crate::meter::{Point, Profile};
use crate::runtime::timestamp::{local_with_zone, utc};

/// What is read of one meter.
pub(super) struct Points {
    /// Which of the clients leads to it.
    pub(super) client: usize,
    pub(super) target: String,
    pub(super) name: Option<String>,
    pub(super) max_age: Option<Duration>,
    pub(super) unit: u8,
    pub(super) profile: Arc<Profile>,
    pub(super) words: Vec<String>,
}

/// Several meters, one after the other.
pub(super) struct Sweep {
    pub(super) meters: Vec<Points>,
    /// Units that are not read, for only listeners lead to them that speak what no command does.
    pub(super) unreached: Vec<u8>,
}

/// One reading of one meter.
struct Read<'p> {
    subject: Subject<'p>,
    found: MeterReading<'p>,
    /// When its registers were asked for.
    instants: Vec<Instant>,
}

impl Points {
    /// What every reading of it has in common.
    pub(super) fn subject(&self) -> Subject<'_> {
        // Chosen once before, from the same profile: it cannot fail now.
        let points = point_selection::choose(&self.profile, &self.words).unwrap_or_default();
        let Self { target, max_age, unit, name, profile, .. } = self;
        Subject {
            target: target.clone(),
            unit: *unit,
            name: name.clone(),
            profile,
            points,
            max_age: *max_age,
        }
    }

    async fn read(&self, client: &mut Client) -> Read<'_> {
        let subject = self.subject();
        let time = SystemTime::now();
        let survey = survey(client, self.unit, &self.profile, &subject.points).await;
        let found = MeterReading::new(&subject, &survey, time);
        let instants = survey.samples().iter().map(crate::meter::Sample::asked_at).collect();
        Read { subject, found, instants }
    }

    /// Reads it once.
    pub(super) async fn once(&self, client: &mut Client, style: Style) -> Shown {
        let Read { subject, found, instants } = self.read(client).await;
        let complaint = found
            .missed
            .first()
            .filter(|_| instants.is_empty())
            .map(|(_, failure)| format!("unit {} at {}: {failure}", self.unit, self.target));
        let text = match style {
            Style::Table if complaint.is_some() => String::new(),
            Style::Table => table::reading(&subject, &found, screen::width()),
            Style::Json => export::json(&subject, &found, None),
            Style::Csv => export::csv_line(&subject, &found),
        };
        let exit = if found.missed.is_empty() { Exit::Ok } else { Exit::Fault };
        Shown { text, complaint, exit }
    }
}

impl Sweep {
    /// The names of the columns of a CSV line.
    pub(super) fn csv_head(&self) -> String {
        let fixed = ["time", "target", "unit", "name"].map(str::to_owned);
        let names = self.columns().into_iter().map(export::csv_name);
        let scale = export::has_scale(&self.columns()).then(|| export::SCALE_AGE.to_owned());
        csv(fixed.into_iter().chain(names).chain(["spread_ms", "error"].map(str::to_owned)).chain(scale))
    }

    /// Reads every meter once.
    pub(super) async fn once(&self, clients: &mut [Client], style: Style) -> Shown {
        let mut rows = Vec::new();
        for meter in &self.meters {
            let Some(client) = clients.get_mut(meter.client) else { continue };
            rows.push(meter.read(client).await);
        }
        let instants = || rows.iter().flat_map(|row| row.instants.iter().copied());
        let spread = instants().max().zip(instants().min());
        let spread = spread.map(|(last, first)| last.saturating_duration_since(first));
        let text = match style {
            Style::Table => self.table(&rows, spread),
            Style::Json => rows.iter().map(|row| export::json(&row.subject, &row.found, spread)).collect(),
            Style::Csv => rows.iter().map(|row| self.csv_line(row, spread)).collect(),
        };
        let complaint = if rows.is_empty() {
            Some("the configuration names no meter that can be asked".to_owned())
        } else {
            (!self.unreached.is_empty()).then(|| {
                let units: Vec<String> = self.unreached.iter().map(u8::to_string).collect();
                format!("not read, for no listener for Modbus TCP leads to them: units {}", units.join(", "))
            })
        };
        let all = complaint.is_none() && rows.iter().all(|row| row.found.missed.is_empty());
        Shown { text, complaint, exit: if all { Exit::Ok } else { Exit::Fault } }
    }

    /// Each point that is read of any meter, once for each unit it is given in, in the order of the first meter that
    /// has it. Profiles may give one name in different units: one column would put W below a heading in kW.
    fn columns(&self) -> Vec<&Point> {
        let mut columns: Vec<&Point> = Vec::new();
        for meter in &self.meters {
            for point in meter.subject().points {
                if !columns.iter().any(|known| is_same_column(known, point)) {
                    columns.push(point);
                }
            }
        }
        columns
    }

    /// What a meter says in each column, in the words of `show`; empty where it does not have the point.
    fn values<'r>(
        &'r self,
        read: &'r Read<'_>,
        show: fn(&Row<'_>) -> String,
    ) -> impl Iterator<Item = String> + 'r {
        self.columns().into_iter().map(move |column| {
            let row = read.found.rows.iter().find(|row| is_same_column(row.point, column));
            row.map(show).unwrap_or_default()
        })
    }

    fn csv_line(&self, read: &Read<'_>, spread: Option<Duration>) -> String {
        let Read { subject, found, .. } = read;
        let name = subject.name.clone().unwrap_or_default();
        let fixed = [utc(found.time), subject.target.clone(), subject.unit.to_string(), name];
        let spread = spread.map_or(String::new(), |spread| spread.as_millis().to_string());
        let error = missed(found).unwrap_or_default();
        let scale = export::has_scale(&self.columns()).then(|| export::scale_age(found));
        let values = self.values(read, export::csv_value);
        csv(fixed.into_iter().chain(values).chain([spread, error]).chain(scale))
    }

    fn table(&self, rows: &[Read<'_>], spread: Option<Duration>) -> String {
        let head = ["unit", "name"].map(str::to_owned).into_iter();
        let head = head.chain(self.columns().into_iter().map(export::csv_name)).collect();
        let row = |read: &Read<'_>| {
            let name = read.subject.name.clone().unwrap_or_default();
            [read.subject.unit.to_string(), name].into_iter().chain(self.values(read, table::cell)).collect()
        };
        let cells: Vec<Vec<String>> = [head].into_iter().chain(rows.iter().map(row)).collect();
        let mut text = table::plain(&cells, screen::width());
        let meters = if rows.len() == 1 { "meter" } else { "meters" };
        let time = rows.first().map_or(String::new(), |row| local_with_zone(row.found.time));
        let within = spread
            .map_or(String::new(), |spread| format!(", all readings within {:.2} s", spread.as_secs_f64()));
        text.push_str(&format!("\n{} {meters}, {time}{within}\n", rows.len()));
        for read in rows {
            if let Some(missed) = missed(&read.found) {
                text.push_str(&format!("Not read: unit {}: {missed}\n", read.subject.unit));
            }
        }
        text
    }
}

/// Whether the values of both belong in one column.
fn is_same_column(one: &Point, other: &Point) -> bool {
    (&one.name, one.unit) == (&other.name, other.unit)
}

/// What could not be read, and why.
fn missed(found: &MeterReading<'_>) -> Option<String> {
    let missed = found.missed.iter().map(|(registers, failure)| format!("{registers}: {failure}"));
    let missed = missed.collect::<Vec<_>>().join("; ");
    (!missed.is_empty()).then_some(missed)
}
