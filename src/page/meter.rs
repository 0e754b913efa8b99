//! The page of one meter: what it measures, how old that is, how it answers, what went over the line.
//!
//! Owns the order and the words. A value that is not there is said to be missing, with the reason; a value of a meter
//! that no longer answers is marked as old. Source: docs/design.md, "The status page".

use std::borrow::Cow;
use std::time::Duration;

use maud::{Markup, html};

use super::bus_section::{answer_times, failures};
use super::events;
use super::findings::{self, Verdict};
use super::format::{self, NO_DATA};
use super::layout::{Content, Part, ago, head, state_badge};
use super::meter_link::MeterLink;
use super::plot;
use crate::meter::Group;
use crate::modbus::hex::Hex;
use crate::status::{
    Number, Point, Problem, READING_MINUTES, ReadingHistory, Status, TransactionRecord, Unit, UnitDetail,
    UnitState,
};

/// The page of one meter of the model as HTML; its unit has its detail.
#[must_use]
pub fn meter(status: &Status<'_>, unit: &Unit<'_>, part: Part) -> String {
    let nothing = UnitDetail::default();
    let detail = unit.detail.as_ref().unwrap_or(&nothing);
    let link = MeterLink::new(unit, status);
    let name = link.full_title();
    let (previous, next) = neighbours(status, unit);
    let findings = findings::of_unit(status, unit);
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
        (history(&detail.readings))
        (health(unit))
        (points(unit, detail))
        (events::of_unit(status, unit))
        (transactions(&detail.records))
    };
    let counts = findings::counts(findings.iter().map(findings::Item::finding));
    let title = format!("{name} {} · metergate", unit.state.title());
    let title = counts.map_or_else(|| title.clone(), |counts| format!("{counts} · {title}"));
    Content { title, main, status }.render(part)
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

/// What to say where there is no finding.
fn verdict(state: UnitState) -> Verdict {
    match state {
        UnitState::Online => Verdict::Well("Nothing: the meter answers."),
        UnitState::Unreachable => {
            Verdict::Unsure("It cannot be reached: its line is silent or its port closed.")
        }
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
        section class={ "headline" @if is_old { " old" } } aria-label="Now" {
            dl {
                @for point in &unit.headline {
                    div {
                        dt { (label(&point.description)) }
                        dd {
                            @match measured(point).filter(|value| value.is_finite()) {
                                None => { span class="no" { (NO_DATA) } }
                                Some(number) => { b { (format::number(number)) } " " (unit_of(point.unit.as_ref())) }
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

/// What a quantity is called where there is little room: its description up to the first comma.
fn label(description: &str) -> &str {
    description.split(',').next().unwrap_or_default()
}

/// A ratio is a number without a unit.
fn unit_of<'u>(unit: Option<&'u Cow<'_, str>>) -> &'u str {
    unit.map(|unit| &**unit).filter(|unit| !matches!(*unit, "ratio" | "count")).unwrap_or_default()
}

/// The value, where it is a plain number.
fn measured(point: &Point<'_>) -> Option<f64> {
    point.value.filter(|_| point.text.is_none()).map(Number::to_f64)
}

fn alerts(unit: &Unit<'_>, detail: &UnitDetail<'_>) -> Markup {
    let are_known = detail.points.iter().any(|point| point.is_alert && point.age_ms.is_some());
    html! {
        section aria-labelledby="alerts" {
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
    let readings: Vec<_> = readings.iter().filter(|reading| !reading.means.is_empty()).collect();
    html! {
        @if !readings.is_empty() {
            section aria-labelledby="history" {
                h2 id="history" { "The last 12 hours" }
                div class="charts" { @for reading in readings { (chart(reading)) } }
            }
        }
    }
}

fn chart(reading: &ReadingHistory<'_>) -> Markup {
    let (name, unit) = (label(&reading.description), unit_of(reading.unit.as_ref()));
    let minutes: Vec<_> = reading.means.iter().map(|mean| mean.map(f64::from)).collect();
    let print = |value| format::quantity(Some(value), unit);
    let label = format!("{name}, one-minute means over the last 12 hours");
    html! {
        figure {
            figcaption {
                strong { (name) ", " (unit) }
                @if let Some(summary) = plot::Summary::of(&minutes, READING_MINUTES) {
                    span { "lowest " b { (print(summary.low)) } }
                    span { "mean " b { (print(summary.mean)) } }
                    span { "highest " b { (print(summary.high)) } }
                }
            }
            (plot::chart(&label, unit, &minutes, READING_MINUTES, &HOURS))
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
        section class="health" aria-labelledby="health" {
            h2 id="health" { "How it answers" }
            dl {
                div { dt { "Answers in, last hour" } dd { (answer_times(unit)) } }
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

fn points(unit: &Unit<'_>, detail: &UnitDetail<'_>) -> Markup {
    // Exponents are part of what they scale, and reserved registers mean nothing.
    let groups = Group::ALL.iter().filter(|group| !matches!(group, Group::Scale | Group::Reserved));
    let originals = |group: Group| {
        let is_original = move |point: &&Point<'_>| point.group == group && point.point == point.quantity;
        detail.points.iter().filter(is_original)
    };
    let groups: Vec<_> = groups.copied().filter(|group| originals(*group).next().is_some()).collect();
    let is_old = !unit.state.is_answering();
    html! {
        section aria-labelledby="points" {
            h2 id="points" { "All points" }
            @if groups.is_empty() {
                p class="empty" { "None: without a profile nobody knows what its registers mean." }
            }
            div class="groups" {
                @for group in groups {
                    table class={ "points" @if is_old { " old" } } {
                        caption { (title(group)) }
                        thead { tr { (head("Point")) (head("Value")) (head("Age")) } }
                        tbody { @for point in originals(group) { (point_row(point, &detail.points)) } }
                    }
                }
            }
        }
    }
}

/// A quantity, by the point that stands for it.
fn point_row(original: &Point<'_>, points: &[Point<'_>]) -> Markup {
    let same = || points.iter().filter(|point| point.quantity == original.quantity);
    let point = same().find(|point| point.is_chosen).unwrap_or(original);
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
            }
        }
    }
}

/// The value in words; `None` where there is none.
fn value(point: &Point<'_>) -> Option<String> {
    match (point.value, &point.text) {
        (Some(Number::Float(value)), _) => value.is_finite().then(|| float(value)),
        (Some(Number::Double(value)), _) => value.is_finite().then(|| value.to_string()),
        (Some(Number::Decimal(number)), _) => Some(number.to_string()),
        (Some(Number::Code(bits)), _) if !point.flags.is_empty() => {
            let set: Vec<_> =
                point.flags.iter().filter(|flag| flag.is_set).map(|flag| &*flag.means).collect();
            Some(match (set.is_empty(), bits) {
                (true, 0) => "none".to_owned(),
                (true, bits) => format!("0x{bits:04X}"),
                (false, _) => set.join(", "),
            })
        }
        (Some(Number::Code(code)), Some(means)) => Some(format!("{code}: {means}")),
        (Some(Number::Code(code)), None) => Some(code.to_string()),
        (None, text) => text.as_deref().map(str::to_owned),
    }
}

/// Why there is no value.
fn why(problem: Problem, point: &Point<'_>, is_polled: bool) -> &'static str {
    match problem {
        Problem::NotRead if is_polled => "not read yet",
        Problem::NotRead => "not among what is read in the background",
        Problem::NotAvailable if point.meaningful == Some(false) => "not for this system type",
        Problem::NotAvailable => "the meter has none",
        Problem::NotANumber => "not a number",
        Problem::ExponentNotRead => "its exponent has not been read",
        Problem::ExponentChanged => "its exponent changed while it was read",
        Problem::ExponentImpossible => "its exponent is none the profile allows",
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

/// All the digits a float of 32 bits is good for and not one more, as the meter's own number.
fn float(value: f32) -> String {
    let size = value.abs();
    if size != 0.0 && !(1e-4..1e9).contains(&size) {
        return format!("{value:e}");
    }
    let shortest = value.to_string();
    let decimals = shortest.split_once('.').map_or(0, |(_, decimals)| decimals.len());
    format!("{value:.*}", decimals.min(DECIMALS_MAX))
}

fn transactions(records: &[TransactionRecord]) -> Markup {
    html! {
        section aria-labelledby="transactions" {
            h2 id="transactions" { "Last transactions" }
            @if records.is_empty() {
                p class="empty" { "None yet." }
            } @else {
                p class="note" { "Newest first; unfold one for its bytes." }
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
                dl class="bytes" {
                    (bytes("Sent", &record.request, record.request.len()))
                    (bytes("Received", &record.received, record.received_total))
                }
            }
        }
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

/// Below the plots of the last 12 hours, evenly spaced.
const HOURS: [&str; 5] = ["12 h ago", "9 h", "6 h", "3 h", "now"];

/// Digits after the point that a page has room for.
const DECIMALS_MAX: usize = 5;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_float_is_printed_as_the_meter_gave_it() {
        assert_eq!(float(12.34), "12.34");
        assert_eq!(float(0.0), "0");
        assert_eq!(float(16_777_216.0), "16777216");
        assert_eq!(float(0.333_333_34), "0.33333");
        assert_eq!(float(1e-9), "1e-9");
    }
}
