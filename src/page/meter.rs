//! The page of one meter: its values and their ages, its response times, its last transactions.
//!
//! Owns the order and the words. A value that is not there is said to be missing, with the reason; a value of a meter
//! that no longer answers is marked as old. Source: docs/design.md, "The status page".

use std::time::Duration;

use maud::{Markup, html};

use super::events;
use super::findings::{self, Verdict};
use super::format::{self, NO_DATA};
use super::layout::{Content, Part, Reload, ago, head, state_badge};
use super::meter_link::MeterLink;
use super::meters::{failures, response_times};
use super::phases::{self, PhaseTable};
use super::plot;
use super::quantity::{label, unit_of, value};
use super::time_axis::TimeAxis;
use super::view::Refresh;
use crate::meter::Group;
use crate::modbus::hex::Hex;
use crate::status::{
    Decoded, DecodedAnswer, DecodedValue, Point, READING_MINUTES, ReadingHistory, RecordFilter, Status,
    TransactionRecord, Unit, UnitDetail, UnitState, ValueProblem,
};

/// The page of one meter of the model as HTML; its unit has its detail.
#[must_use]
pub fn meter(status: &Status<'_>, unit: &Unit<'_>, view: MeterView, part: Part) -> String {
    let nothing = UnitDetail::default();
    let detail = unit.detail.as_ref().unwrap_or(&nothing);
    let link = MeterLink::new(unit, status);
    let name = link.full_title();
    let (previous, next) = neighbours(status, unit);
    let findings = findings::of_unit(status, unit);
    let points = Points::new(unit, &detail.points);
    let main = html! {
        nav class="trail" aria-label="Meters" {
            a href="/" { "All meters" }
            @if let Some(previous) = previous { (neighbour("Previous", &previous)) }
            @if let Some(next) = next { (neighbour("Next", &next)) }
        }
        div class="intro" id="meter" data-name=(name) data-state=(unit.state.title()) {
            h1 { (link.title()) }
            p class="under" {
                (state_badge(unit.state))
                span { "unit " (unit.unit) }
                @if unit.line_unit != unit.unit { span { "on the line " (unit.line_unit) } }
                span { "line " (unit.bus) }
                span {
                    (detail.profile_title.as_deref().unwrap_or("no profile: its registers are passed on as they are"))
                }
            }
        }
        (headline(unit))
        (findings::section(&findings, verdict(unit.state)))
        (alerts(unit, detail))
        (points.measured())
        (history(&detail.readings))
        (health(unit))
        (points.others())
        (events::of_unit(status, unit))
        (transactions(&detail.records, view, &link))
    };
    let title = format!("{name} {} · metergate", unit.state.title());
    let title = findings::counted_title(findings.iter().map(findings::Item::finding), title);
    let other = address(&link, MeterView { refresh: view.refresh.other(), ..view });
    Content { title, main, status, reload: Reload { refresh: view.refresh, other } }.render(part)
}

/// A view of the page of a meter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MeterView {
    /// Which transactions are shown.
    pub records: RecordFilter,
    /// Whether it loads itself anew without a script.
    pub refresh: Refresh,
}

/// The address of a view.
fn address(link: &MeterLink<'_>, view: MeterView) -> String {
    let href = link.href();
    let refresh = match view.refresh {
        Refresh::On => None,
        Refresh::Off => Some("refresh=off"),
    };
    let records = match view.records {
        RecordFilter::All => None,
        RecordFilter::Failed => Some("transactions=failed"),
    };
    let query: Vec<_> = [records, refresh].into_iter().flatten().collect();
    match (query.is_empty(), href.contains('?')) {
        (true, _) => href,
        (false, true) => format!("{href}&{}", query.join("&")),
        (false, false) => format!("{href}?{}", query.join("&")),
    }
}

/// The meters before and after it on the wire.
fn neighbours<'s>(status: &'s Status<'_>, unit: &Unit<'_>) -> (Option<MeterLink<'s>>, Option<MeterLink<'s>>) {
    let bus = status.buses.iter().find(|bus| bus.bus == unit.bus);
    let wire: Vec<_> = bus.into_iter().flat_map(|bus| status.on_the_wire(bus)).collect();
    let Some(place) = wire.iter().position(|other| other.line_unit == unit.line_unit) else {
        return (None, None);
    };
    let link = |place: Option<usize>| Some(MeterLink::new(wire.get(place?)?, status));
    (link(place.checked_sub(1)), link(place.checked_add(1)))
}

/// The text where there is no finding.
fn verdict(state: UnitState) -> Verdict {
    match state {
        UnitState::Online => Verdict::Well("Nothing: the meter answers."),
        UnitState::Unreachable => Verdict::Unsure(
            "It cannot be reached: its port is closed, or no unit of its line gives an intact answer.",
        ),
        UnitState::NeverSeen | UnitState::Offline | UnitState::Confirming => {
            Verdict::Unsure("Nothing has been found yet, but it does not answer as it should.")
        }
    }
}

fn neighbour(way: &str, meter: &MeterLink<'_>) -> Markup {
    html! { a href=(meter.href()) { (way) ": " (meter.title()) } }
}

fn headline(unit: &Unit<'_>) -> Markup {
    let is_old = !unit.state.is_answering();
    html! {
        section id="now" class={ "headline" @if is_old { " old" } } aria-label="Now" {
            dl {
                @for point in &unit.headline {
                    div {
                        dt { (label(&point.description)) }
                        dd {
                            @match value(point) {
                                None => { span class="no" { (NO_DATA) } }
                                Some(value) => { b { (value) } " " (unit_of(point.unit.as_ref())) }
                            }
                        }
                    }
                }
                div {
                    dt { "Age of data" }
                    dd {
                        @match unit.age_ms {
                            None => { span class="no" { (NO_DATA) } }
                            Some(millis) => { b { (format::age(Duration::from_millis(millis))) } }
                        }
                    }
                }
            }
            @if is_old && unit.age_ms.is_some() {
                p class="note" { "These are the last known values: the meter does not answer now." }
            }
        }
    }
}

fn alerts(unit: &Unit<'_>, detail: &UnitDetail<'_>) -> Markup {
    let are_known = detail.points.iter().any(|point| point.is_alert && point.age_ms.is_some());
    html! {
        section id="raised" aria-labelledby="alerts" {
            h2 id="alerts" { "Alerts of the meter" }
            @if !are_known {
                p class="empty" { "Not known: they have not been read." }
            } @else if unit.alerts.is_empty() {
                p { "None is set." }
            } @else {
                ul class="alerts" { @for alert in &unit.alerts { li { (alert.means) } } }
            }
        }
    }
}

fn history(readings: &[ReadingHistory<'_>]) -> Markup {
    // What a meter never gives needs no plot.
    let plots: Vec<_> = readings.iter().map(|reading| (reading, plotted(reading))).collect();
    let plots: Vec<_> = plots.into_iter().filter(|(_, points)| !points.is_empty()).collect();
    let axis = TimeAxis::over(
        plots.iter().filter_map(|(_, points)| points.first()).map(|(ago, _)| *ago).fold(0.0, f64::max),
    );
    html! {
        @if !plots.is_empty() {
            section id="readings" aria-labelledby="history" {
                h2 id="history" { "Over " (axis.words()) }
                div class="charts" { @for (reading, points) in &plots { (chart(reading, points, axis)) } }
            }
        }
    }
}

/// How many seconds ago each reading or each minute was, and its value, the newest last.
fn plotted(reading: &ReadingHistory<'_>) -> Vec<(f64, Option<f64>)> {
    let seconds = |millis: u64| Duration::from_millis(millis).as_secs_f64();
    if !reading.first.is_empty() {
        return reading
            .first
            .iter()
            .map(|(millis, value)| (seconds(*millis), Some(f64::from(*value))))
            .collect();
    }
    let means = &reading.means[reading.means.len().saturating_sub(READING_MINUTES)..];
    let ended = seconds(reading.ended_ms);
    // A mean stands in the middle of its minute.
    let ago = (0..u32::try_from(means.len()).unwrap_or(u32::MAX)).rev();
    let ago = ago.map(|minutes| ended + 60.0 * f64::from(minutes) + 30.0);
    ago.zip(means.iter().map(|mean| mean.map(f64::from))).collect()
}

fn chart(reading: &ReadingHistory<'_>, points: &[(f64, Option<f64>)], axis: TimeAxis) -> Markup {
    let (name, unit) = (label(&reading.description), unit_of(reading.unit.as_ref()));
    let print = |value| format::quantity(Some(value), unit);
    let values: Vec<_> = points.iter().map(|(_, value)| *value).collect();
    let label = format!("{name} over {}", axis.words());
    html! {
        figure {
            figcaption {
                strong { (name) @if !unit.is_empty() { ", " (unit) } }
                @if let Some(summary) = plot::Summary::of(&values, values.len()) {
                    span { "lowest " b { (print(summary.low)) } }
                    span { "mean " b { (print(summary.mean)) } }
                    span { "highest " b { (print(summary.high)) } }
                }
            }
            (plot::chart(&label, unit, points, axis))
        }
    }
}

fn health(unit: &Unit<'_>) -> Markup {
    let counted = [
        ("Requests", unit.transactions),
        ("Without an answer", unit.timeouts),
        ("Wrong CRC", unit.crc_errors),
        ("Too late", unit.late_answers),
        ("Exceptions", unit.exceptions),
    ];
    let last_answer = unit.last_answer_ms.map(Duration::from_millis);
    html! {
        section class="health" id="answering" aria-labelledby="health" {
            h2 id="health" { "How it answers" }
            dl {
                div { dt { "Response time" } dd { (response_times(unit)) } }
                div { dt { "Errors, last hour" } dd { (failures(unit)) } }
                div {
                    dt { "Last answer" }
                    dd { (last_answer.map_or_else(|| "never".to_owned(), ago)) }
                }
            }
            dl class="counters" aria-label="Since the start" {
                @for (name, count) in counted { div { dt { (name) } dd { (format::count(count)) } } }
            }
        }
    }
}

/// The points of a meter: those that the table of phases shows, and the others.
struct Points<'p> {
    all: &'p [Point<'p>],
    /// Each quantity, and the point that stands for it.
    quantities: Vec<(&'p Point<'p>, &'p Point<'p>)>,
    phases: PhaseTable<'p>,
    state: UnitState,
}

impl<'p> Points<'p> {
    fn new(unit: &Unit<'_>, all: &'p [Point<'p>]) -> Self {
        let originals = all.iter().filter(|point| point.point == point.quantity);
        let quantities: Vec<_> = originals.map(|point| (point, stand_in(point, all))).collect();
        let phases = PhaseTable::new(&quantities.iter().map(|(_, point)| *point).collect::<Vec<_>>());
        Self { all, quantities, phases, state: unit.state }
    }

    fn is_measured(&self, point: &Point<'_>) -> bool {
        phases::is_measured(point.group) || self.phases.has(point)
    }

    /// The panel's table, and the same point by point.
    fn measured(&self) -> Markup {
        let listed: Vec<_> = self.quantities.iter().filter(|(_, point)| self.is_measured(point)).collect();
        html! {
            section id="measured" aria-labelledby="points" {
                h2 id="points" { "What it measures" }
                @if self.quantities.is_empty() {
                    p class="empty" { "Not known: without a profile its registers have no meaning here." }
                }
                @if !self.phases.is_empty() { (self.phases.markup(self.state)) }
                @if !listed.is_empty() {
                    details class="registers" id="registers" {
                        summary { "The same by points and registers" }
                        (self.by_group(&listed))
                    }
                }
            }
        }
    }

    /// Settings, alerts, versions.
    fn others(&self) -> Markup {
        // Exponents are part of what they scale, and reserved registers mean nothing.
        let is_shown = |group: Group| !matches!(group, Group::Scale | Group::Reserved);
        let others = self.quantities.iter();
        let others: Vec<_> =
            others.filter(|(_, point)| is_shown(point.group) && !self.is_measured(point)).collect();
        html! {
            @if !others.is_empty() {
                section id="others" aria-labelledby="settings" {
                    h2 id="settings" { "Settings and diagnostics" }
                    (self.by_group(&others))
                }
            }
        }
    }

    fn by_group(&self, quantities: &[&(&Point<'_>, &Point<'_>)]) -> Markup {
        let of = |group: Group| quantities.iter().filter(move |(original, _)| original.group == group);
        html! {
            div class="groups" {
                @for group in Group::ALL.iter().copied().filter(|group| of(*group).next().is_some()) {
                    table class={ "points" @if !self.state.is_answering() { " old" } } {
                        caption { (title(group)) }
                        thead { tr { (head("Point")) (head("Value")) (head("Age")) } }
                        tbody { @for (original, point) in of(group) { (point_row(original, point, self.all)) } }
                    }
                }
            }
        }
    }
}

/// The point that stands for a quantity: the chosen one, or, while that still waits for its exponent, one that has a
/// value.
fn stand_in<'p>(original: &'p Point<'p>, points: &'p [Point<'p>]) -> &'p Point<'p> {
    let same = || points.iter().filter(|point| point.quantity == original.quantity);
    let chosen = same().find(|point| point.is_chosen).unwrap_or(original);
    let waits = chosen.problem == Some(ValueProblem::ExponentNotRead);
    same().find(|point| waits && point.value.is_some()).unwrap_or(chosen)
}

/// A quantity, by the point that stands for it.
fn point_row(original: &Point<'_>, point: &Point<'_>, points: &[Point<'_>]) -> Markup {
    let same = || points.iter().filter(|point| point.quantity == original.quantity);
    html! {
        tr {
            th scope="row" {
                (original.description)
                span class="sub" { code { (point.point) } " · register " (point.register) }
            }
            td class="value" {
                @match value(point) {
                    Some(value) => { b { (value) } " " (unit_of(point.unit.as_ref())) }
                    None => {
                        span class="no" {
                            (NO_DATA)
                            @if let Some(problem) = point.problem {
                                span class="sub" { (why(problem, point, same().any(|point| point.is_polled))) }
                            }
                        }
                    }
                }
            }
            td class="age" {
                @match point.age_ms {
                    None => { span class="no" { "–" } }
                    Some(millis) => { (format::age(Duration::from_millis(millis))) }
                }
                (phases::scale_age([point].into_iter()))
            }
        }
    }
}

/// Why there is no value.
fn why(problem: ValueProblem, point: &Point<'_>, is_polled: bool) -> &'static str {
    match problem {
        ValueProblem::NotRead if is_polled => "not read yet",
        ValueProblem::NotRead => "not among what is read in the background",
        ValueProblem::NotAvailable if point.meaningful == Some(false) => "not for this system type",
        ValueProblem::NotAvailable => "the meter has none",
        ValueProblem::NotANumber => "not a number",
        ValueProblem::ExponentNotRead => "its exponent has not been read",
        ValueProblem::ExponentChanged => "its exponent changed while it was read",
        ValueProblem::ExponentImpossible => "its exponent is none the profile allows",
    }
}

fn title(group: Group) -> &'static str {
    match group {
        Group::Energy => "Energy",
        Group::Power => "Power",
        Group::PowerFactor => "Power factor",
        Group::Voltage => "Voltage",
        Group::Current => "Current",
        Group::Frequency => "Frequency",
        Group::Demand => "Demand",
        Group::Pulses => "Pulses",
        Group::Configuration => "Configuration",
        Group::Scale => "Exponents",
        Group::Diagnostics => "Diagnostics",
        Group::Identity => "Identity",
        Group::Other => "Other",
        Group::Reserved => "Reserved",
    }
}

fn transactions(records: &[TransactionRecord], view: MeterView, link: &MeterLink<'_>) -> Markup {
    let choice = |of: RecordFilter, words: &str| {
        let address = address(link, MeterView { records: of, ..view });
        html! {
            @if view.records == of { b aria-current="true" { (words) } } @else { a href=(address) { (words) } }
        }
    };
    html! {
        section id="exchanged" aria-labelledby="transactions" {
            h2 id="transactions" { "Last transactions" }
            p class="choice" {
                (choice(RecordFilter::All, "All"))
                (choice(RecordFilter::Failed, "Only failures and exceptions"))
            }
            @if records.is_empty() {
                p class="empty" { @if view.records == RecordFilter::All { "None yet." } @else { "None among those that are kept." } }
            } @else {
                p class="note" { "Newest first; unfold one for its fields and bytes." }
                ol class="exchanges" { @for record in records { (transaction(record)) } }
            }
        }
    }
}

fn transaction(record: &TransactionRecord) -> Markup {
    html! {
        li id={ "exchange-" (record.number) } class=(if record.is_good { "good" } else { "failed" }) {
            details {
                summary {
                    span class="when" { (ago(Duration::from_millis(record.begun_ms))) }
                    span class="what" { (record.what) }
                    span class="who" { (record.cause) }
                    span class="outcome" { (record.outcome) }
                    @if let Some(millis) = record.took_ms { span class="took" { (format::millis(millis)) } }
                }
                div class="decoded" {
                    (request_fields(&record.decoded))
                    (answer_fields(&record.decoded.answer))
                    dl class="bytes" {
                        (bytes("Sent", &record.request, record.request.len()))
                        (bytes("Received", &record.received, record.received_total))
                    }
                }
            }
        }
    }
}

fn request_fields(decoded: &Decoded) -> Markup {
    let field = |name: &str, value: &str| html! { div { dt { (name) } dd { (value) } } };
    html! {
        @if !decoded.function.is_empty() {
            dl class="fields" {
                @match decoded.unit {
                    None => {}
                    Some(0) => (field("Unit", "all")),
                    Some(unit) => (field("Unit on the line", &unit.to_string())),
                }
                (field("Function", &decoded.function))
                @if let Some((start, quantity)) = decoded.range {
                    (field("Start", &start.to_string()))
                    (field("Quantity", &quantity.to_string()))
                }
            }
        }
        @if !decoded.written.is_empty() { (values("Written", &decoded.written)) }
    }
}

fn answer_fields(answer: &DecodedAnswer) -> Markup {
    html! {
        @match answer {
            DecodedAnswer::Nothing => {}
            DecodedAnswer::Exception(exception) => p { "Answered with exception " b { (exception) } },
            DecodedAnswer::Values(read) => (values("Answer", read)),
            DecodedAnswer::Confirmed => p { "The unit confirmed the write." },
        }
    }
}

fn values(name: &str, values: &[DecodedValue]) -> Markup {
    html! {
        p class="cap" { (name) }
        ul class="values" { @for one in values { li { code { (one.name) } " " (one.value) } } }
    }
}

fn bytes(name: &str, held: &[u8], total: usize) -> Markup {
    html! {
        div {
            dt { (name) ", " (format::counted(total, "byte", "bytes")) }
            dd {
                @if held.is_empty() { "nothing" } @else { code { (Hex(held)) } }
                @if total > held.len() { " and " (total - held.len()) " more that were not kept" }
            }
        }
    }
}
