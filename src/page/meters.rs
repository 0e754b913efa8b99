//! The meters of the overview: a table for each line, as they hang on it, or for each group, with its totals.
//!
//! Owns the rows, their order and the sums. There are no sums of a line: a main meter would be added to the meters that
//! it feeds. Old values stay readable, are marked as old, and are left out of sums.

use std::time::Duration;

use maud::{Markup, html};

use super::format::{self, NO_DATA};
use super::layout::{class, state_shape};
use super::meter_link::MeterLink;
use super::plot;
use super::quantity::{Energy, power, power_to_add};
use super::view::{
    Arrangement, LONGEST_TEXT, NOTABLE, OverviewView, Refresh, Sort, StateFilter, error_share, share,
};
use crate::status::{Bus, Status, Unit, UnitMinute, UnitState, WireBreak};

/// The meters of one line or one group that are shown.
pub(super) struct Section<'s> {
    /// Its identifier in the address: `line-0`, `group-2`.
    id: String,
    /// Whether it is a line or a group.
    by: Arrangement,
    /// Its title.
    title: &'s str,
    /// All of them, in the order of the wire.
    all: Vec<&'s Unit<'s>>,
    /// Those that the view shows, as it sorts them.
    shown: Vec<&'s Unit<'s>>,
    /// How they are sorted.
    sort: Sort,
    /// Where the wire of the line is broken.
    wire_break: Option<WireBreak>,
}

/// Whether the meters are folded by group: where there are groups, unless the view says otherwise.
pub(super) fn is_grouped(status: &Status<'_>, view: &OverviewView) -> bool {
    match view.by {
        Arrangement::Group => has_groups(status),
        Arrangement::Line => false,
    }
}

fn has_groups(status: &Status<'_>) -> bool {
    status.units.iter().any(|unit| unit.group.is_some())
}

impl<'s> Section<'s> {
    fn new(
        by: Arrangement,
        index: usize,
        title: &'s str,
        all: Vec<&'s Unit<'s>>,
        view: &OverviewView,
    ) -> Self {
        let id = format!("{}-{index}", by.word());
        let mut shown: Vec<_> = all.iter().copied().filter(|unit| view.shows(unit)).collect();
        view.sort.sort(&mut shown);
        Self { id, by, title, all, shown, sort: view.sort, wire_break: None }
    }

    /// The meters of a line; if its wire is broken, in the order of the wire, which shows the place.
    pub(super) fn of_line(
        index: usize,
        bus: &'s Bus<'s>,
        status: &'s Status<'s>,
        view: &OverviewView,
    ) -> Self {
        let sort = match (view.sort, bus.wire_break) {
            (Sort::Failures, Some(_)) => Sort::Wire,
            (sort, _) => sort,
        };
        let view = OverviewView { sort, ..view.clone() };
        let section = Self::new(Arrangement::Line, index, &bus.bus, status.on_the_wire(bus).collect(), &view);
        Self { wire_break: bus.wire_break, ..section }
    }

    /// Each group, in the order of its first meter on a wire; then the meters without a group.
    fn of_groups(status: &'s Status<'s>, view: &OverviewView) -> Vec<Self> {
        let units: Vec<_> = status.buses.iter().flat_map(|bus| status.on_the_wire(bus)).collect();
        let mut names: Vec<&str> = Vec::new();
        for name in units.iter().filter_map(|unit| unit.group.as_deref()) {
            if !names.contains(&name) {
                names.push(name);
            }
        }
        let groups = names.into_iter().map(Some).chain([None]).enumerate();
        let section = |(index, name): (usize, Option<&'s str>)| {
            let members: Vec<_> =
                units.iter().copied().filter(|unit| unit.group.as_deref() == name).collect();
            Self::new(Arrangement::Group, index, name.unwrap_or("Without a group"), members, view)
        };
        groups.map(section).filter(|section| !section.all.is_empty()).collect()
    }

    /// Whether the rows are in the order of the wire, so that it can be drawn.
    fn is_wire(&self) -> bool {
        self.all.len() == self.shown.len()
            && self.all.iter().zip(&self.shown).all(|(one, other)| std::ptr::eq(*one, *other))
    }

    /// The section of a line: its table, folded or not. `heading` is the identifier of the line's name.
    pub(super) fn line_markup(&self, status: &Status<'_>, view: &OverviewView, heading: &str) -> Markup {
        html! {
            @if self.all.is_empty() {
                p class="empty" { "No meters." }
            } @else {
                details class="fold" id=(self.id) data-fold=(self.id) open[!view.folded.contains(&self.id)] {
                    summary { (self.counts()) }
                    (self.table(status, view, heading))
                }
            }
        }
    }

    fn group_markup(&self, status: &Status<'_>, view: &OverviewView) -> Markup {
        let heading = format!("{}-name", self.id);
        html! {
            details class="fold group" id=(self.id) data-fold=(self.id) open[!view.folded.contains(&self.id)] {
                summary {
                    h3 id=(heading) { (self.title) }
                    span class="counts" { (self.counts()) }
                    (self.totals())
                }
                (self.table(status, view, &heading))
            }
        }
    }

    /// `11 of 12 meters on-line`.
    fn counts(&self) -> String {
        let online = self.all.iter().filter(|unit| unit.state == UnitState::Online).count();
        let all = format::counted(self.all.len(), "meter", "meters");
        let shown = if self.shown.len() == self.all.len() {
            String::new()
        } else {
            format!(", {} shown", self.shown.len())
        };
        if online == self.all.len() {
            format!("{all}, all on-line{shown}")
        } else {
            format!("{all}, {online} on-line{shown}")
        }
    }

    /// The totals of the group's meters that answer, and their number.
    fn totals(&self) -> Markup {
        let all = self.all.len();
        let powers: Vec<f64> = self.all.iter().filter_map(|unit| power_to_add(unit)).collect();
        let energies: Vec<Energy> = self.all.iter().filter_map(|unit| Energy::to_add(unit)).collect();
        let from = |count: usize| {
            (count < all).then(|| format!(" from {count} of {}", format::counted(all, "meter", "meters")))
        };
        html! {
            span class="totals" {
                @if !powers.is_empty() {
                    span { b { (format::number(powers.iter().sum())) } " kW" (from(powers.len()).unwrap_or_default()) }
                }
                @if let Some(sum) = Energy::sum(&energies) {
                    span { b { (sum) } " kWh" (from(energies.len()).unwrap_or_default()) }
                }
                @if powers.is_empty() && energies.is_empty() { span class="no" { "no sum: no meter of it answers" } }
            }
        }
    }

    /// The meters, as a table that can be read by column. The style sheet lays it out anew on narrow screens, so the
    /// roles are given explicitly.
    fn table(&self, status: &Status<'_>, view: &OverviewView, heading: &str) -> Markup {
        let is_wire = self.by == Arrangement::Line && self.is_wire();
        html! {
            @if self.shown.is_empty() {
                p class="empty" { "None of them fits the filter." }
            } @else {
                table class={ "wire" @if !is_wire { " listed" } } role="table" aria-labelledby=(heading) {
                    thead role="rowgroup" {
                        tr role="row" {
                            (self.sorted("Unit", Sort::Unit, view))
                            (self.sorted("Meter", Sort::Name, view)) (self.sorted("State", Sort::Failures, view))
                            (self.sorted("Real power", Sort::Power, view)) (self.sorted("Energy", Sort::Energy, view))
                            (self.sorted("Age", Sort::Age, view)) (self.sorted("Response time", Sort::ResponseTime, view))
                            (self.sorted("Errors, last hour", Sort::Errors, view))
                        }
                    }
                    tbody role="rowgroup" {
                        @for unit in &self.shown {
                            (row(unit, status, self.by))
                            @if is_wire && let Some(place) = self.wire_break && place.after == unit.unit {
                                (self.break_row(place))
                            }
                        }
                    }
                }
            }
        }
    }
}

impl Section<'_> {
    /// The heading of a column, which sorts by it.
    fn sorted(&self, text: &str, by: Sort, view: &OverviewView) -> Markup {
        let is_current = self.sort == by;
        let address = OverviewView { sort: by, ..view.clone() }.href();
        let class = if by == Sort::Unit { "tap" } else { "" };
        let direction = match by {
            Sort::Unit | Sort::Name | Sort::Wire => "ascending",
            Sort::Failures | Sort::Power | Sort::Energy | Sort::Age | Sort::ResponseTime | Sort::Errors => {
                "descending"
            }
        };
        html! {
            th role="columnheader" scope="col" class=[(!class.is_empty()).then_some(class)] aria-sort=[is_current.then_some(direction)] {
                (text)
                // Over the whole heading; a narrow screen, which shows no headings, has the form.
                a class="sorter" href=(address) aria-label={ "Sort by " (text.to_lowercase()) } {}
            }
        }
    }

    /// Between the last meter that answers and the first that does not.
    fn break_row(&self, place: WireBreak) -> Markup {
        let name = |unit: u8| {
            let found = self.all.iter().find(|other| other.unit == unit);
            let name = found.and_then(|unit| unit.name.as_deref());
            MeterLink { unit, name, bus: None }.full_title()
        };
        html! {
            tr role="row" id={ (self.id) "-break" } class="break" {
                td role="cell" class="tap" { span class="unseen-text" { "Break" } }
                td role="cell" colspan="7" {
                    "Broken here: the cable between " b { (name(place.after)) } " and " b { (name(place.before)) }
                    ", or the power of everything below."
                }
            }
        }
    }
}

/// The groups, where the view folds by them.
pub(super) fn groups(status: &Status<'_>, view: &OverviewView) -> Markup {
    html! {
        section id="groups" aria-labelledby="groups-name" {
            h2 id="groups-name" { "Meters by group" }
            @for section in Section::of_groups(status, view) { (section.group_markup(status, view)) }
        }
    }
}

/// The form with filter and order; left out for a few meters.
pub(super) fn filter(status: &Status<'_>, view: &OverviewView) -> Markup {
    let shown = status.units.iter().filter(|unit| view.shows(unit)).count();
    let is_wanted = status.units.len() > FEW
        || *view != (OverviewView { refresh: view.refresh, ..OverviewView::default() });
    html! {
        @if is_wanted {
            section id="filter" aria-label="Which meters are shown" {
                form id="view" class="view" action="/" method="get" role="search" {
                    label { span { "Find" } input type="search" name="q" value=(view.text) maxlength=(LONGEST_TEXT) placeholder="name, unit, group" autocomplete="off"; }
                    label { span { "State" }
                        select name="state" {
                            @for state in StateFilter::ALL { option value=(state.word()) selected[state == view.state] { (state.title()) } }
                        }
                    }
                    label { span { "Order" }
                        select name="sort" {
                            @for sort in Sort::ALL { option value=(sort.word()) selected[sort == view.sort] { (sort.title()) } }
                        }
                    }
                    @if has_groups(status) {
                        label { span { "Fold by" }
                            select name="by" {
                                @for by in Arrangement::ALL { option value=(by.word()) selected[by == view.by] { (by.word()) } }
                            }
                        }
                    }
                    @if !view.folded.is_empty() { input type="hidden" name="fold" value=(view.folded.join(".")); }
                    @if view.refresh == Refresh::Off { input type="hidden" name="refresh" value="off"; }
                    button type="submit" { "Show" }
                }
                p id="found" class="found note" aria-live="polite" {
                    @if view.is_filtered() {
                        (shown) " of " (format::counted(status.units.len(), "meter", "meters")) " shown. "
                        a href=(OverviewView { text: String::new(), state: StateFilter::All, ..view.clone() }.href()) { "Show all" }
                    }
                }
            }
        }
    }
}

/// A meter; beside its name its group or its line, whichever the section does not show.
fn row(unit: &Unit<'_>, status: &Status<'_>, by: Arrangement) -> Markup {
    let link = MeterLink::new(unit, status);
    let index = status.buses.iter().position(|bus| bus.bus == unit.bus).unwrap_or_default();
    let old = if unit.state.is_answering() { "" } else { " old" };
    let beside = match by {
        Arrangement::Line => unit.group.as_deref(),
        Arrangement::Group => Some(&*unit.bus).filter(|_| status.buses.len() > 1),
    };
    html! {
        tr role="row" id={ "bus-" (index) "-line-" (unit.line_unit) } class=(class(unit.state))
            data-name=(link.full_title()) data-state=(unit.state.title()) {
            td role="cell" class="tap" { (state_shape(unit.state)) span class="id" { (unit.unit) } }
            th role="rowheader" scope="row" class="name" {
                a href=(link.href()) { (link.title()) }
                @if unit.line_unit != unit.unit { span class="sub" { "on the line " (unit.line_unit) } }
                @if let Some(beside) = beside { span class="sub" { (beside) } }
            }
            td role="cell" class="is" { span class={ "state " (class(unit.state)) } { (unit.state.title()) } }
            td role="cell" class={ "kw" (old) } { (power_cell(unit)) }
            td role="cell" class={ "kwh" (old) } { (energy_cell(unit)) }
            td role="cell" class={ "age" (old) } {
                span class="cap" aria-hidden="true" { "Age" }
                @match unit.age_ms {
                    None => { span class="no" { (NO_DATA) } }
                    Some(millis) => { (format::age(Duration::from_millis(millis))) }
                }
            }
            td role="cell" class="time" {
                span class="cap" aria-hidden="true" { "Response time" }
                (response_times(unit))
            }
            td role="cell" class="errors" {
                span class="cap" aria-hidden="true" { "Errors" }
                (failures(unit))
            }
        }
    }
}

fn power_cell(unit: &Unit<'_>) -> Markup {
    html! {
        @match power(unit, |_| true).filter(|power| power.is_finite()) {
            None => { span class="no" { (NO_DATA) } }
            Some(power) => {
                @if !unit.state.is_answering() { span class="unseen-text" { "last known " } }
                b { (format::number(power)) } " kW"
            }
        }
    }
}

fn energy_cell(unit: &Unit<'_>) -> Markup {
    html! {
        span class="cap" aria-hidden="true" { "Energy" }
        @match Energy::of(unit, |_| true) {
            None => { span class="no" { (NO_DATA) } }
            Some(energy) => {
                @if !unit.state.is_answering() { span class="unseen-text" { "last known " } }
                b { (energy.words()) } " kWh"
            }
        }
    }
}

/// The response time now, and over the last hour.
pub(super) fn response_times(unit: &Unit<'_>) -> Markup {
    let values: Vec<_> =
        unit.hour.iter().map(|minute| minute.and_then(|one| one.answer_time_ms).map(f64::from)).collect();
    html! {
        span class="pair" {
            span class={ "figure" @if unit.answer_time_ms.is_none() { " no" } } {
                (unit.answer_time_ms.map_or_else(|| NO_DATA.to_owned(), format::millis))
            }
            (plot::spark_line("Response time", &values, format::millis))
        }
    }
}

/// The share of requests without a good answer, over the last hour.
pub(super) fn failures(unit: &Unit<'_>) -> Markup {
    let of = |minute: &UnitMinute| share(minute.errors.into(), minute.transactions.into());
    let values: Vec<_> = unit.hour.iter().map(|minute| minute.as_ref().and_then(of)).collect();
    let whole = error_share(unit);
    html! {
        span class="pair" {
            span class={ "figure" @if whole.is_none() { " no" } @else if whole.is_some_and(|share| share >= NOTABLE) { " high" } } {
                (whole.map_or_else(|| NO_DATA.to_owned(), format::percent))
            }
            (plot::spark_steps("Errors", &values, FULL, format::percent))
        }
    }
}

/// The smallest upper end of the scale of errors.
const FULL: f64 = 0.1;

/// Up to this many meters need no filter.
const FEW: usize = 6;
