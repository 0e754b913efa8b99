//! The page of one meter: what it measures, how old that is, how it answers, what went over the line.
//!
//! Owns the order and the words. A value that is not there is said to be missing, with the reason; a value of a meter
//! that no longer answers is marked as old. Source: docs/design.md, "The status page".

use maud::{Markup, html};

use super::chain::{answer_times, failures, is_old};
use super::frame::{Content, Part, state_badge};
use super::meter_model::{
    Counters, Exchange, HISTORY_MINUTES, MeterPage, Point, PointGroup, PointValue, Series,
};
use super::model::{MeterRef, MeterState};
use super::overview::{ago, head};
use super::trouble::Verdict;
use super::words::{self, NO_DATA};
use super::{plot, trouble};

/// The page of one meter as HTML.
#[must_use]
pub fn meter(model: &MeterPage, part: Part) -> String {
    let meter = &model.meter;
    let name = meter.meter.full_title();
    let old = is_old(meter.state);
    let main = html! {
        nav class="trail" aria-label="Meters" {
            a href="/" { "All meters" }
            @if let Some(previous) = &model.previous { (neighbour("Previous", previous)) }
            @if let Some(next) = &model.next { (neighbour("Next", next)) }
        }
        div class="intro" id="meter" data-name=(name) data-state=(meter.state.word()) {
            h1 { (meter.meter.title()) }
            p class="under" {
                (state_badge(meter.state))
                span { "unit " (meter.meter.unit) }
                @if meter.line_id != meter.meter.unit { span { "on the line " (meter.line_id) } }
                span { "line " (model.bus) }
                span { (model.profile.as_deref().unwrap_or("no profile: its registers are passed on as they are")) }
            }
        }
        (headline(model, old))
        (trouble::section(&trouble::of_meter(&model.findings, &model.bus), verdict(meter.state)))
        (alerts(model))
        (history(model))
        (health(model))
        (points(&model.groups, old))
        (transactions(&model.transactions))
    };
    let tally = trouble::tally(model.findings.iter());
    let title = format!("{name} {} · metergate", meter.state.word());
    let title = tally.map_or_else(|| title.clone(), |tally| format!("{tally} · {title}"));
    Content { title, main, gateway: &model.gateway }.render(part)
}

/// What to say where there is no finding.
fn verdict(state: MeterState) -> Verdict {
    match state {
        MeterState::Online => Verdict::Well("Nothing that can be seen from here."),
        MeterState::NeverSeen | MeterState::Offline | MeterState::Confirming => {
            Verdict::Unsure("Nothing has been found yet, but it does not answer as it should.")
        }
    }
}

fn neighbour(way: &str, meter: &MeterRef) -> Markup {
    html! { a href=(meter.href()) { (way) ": " (meter.title()) } }
}

fn headline(model: &MeterPage, old: bool) -> Markup {
    let age = model.meter.age;
    html! {
        section class={ "headline" @if old { " old" } } aria-label="Now" {
            dl {
                @for value in &model.headline {
                    div {
                        dt { (value.label) }
                        dd {
                            @match value.value.filter(|value| value.is_finite()) {
                                None => { span class="no" { (NO_DATA) } }
                                Some(number) => { b { (words::number(number)) } " " (value.unit) }
                            }
                        }
                    }
                }
                div {
                    dt { "Age of data" }
                    dd { @match age { None => { span class="no" { (NO_DATA) } }, Some(age) => { b { (words::age(age)) } } } }
                }
            }
            @if old && age.is_some() {
                p class="note" { "These are the last known values: the meter does not answer now." }
            }
        }
    }
}

fn alerts(model: &MeterPage) -> Markup {
    html! {
        section aria-labelledby="alerts" {
            h2 id="alerts" { "Alerts of the meter" }
            @match &model.alerts {
                None => { p class="empty" { "Not known: they have not been read." } }
                Some(alerts) if alerts.is_empty() => { p { "None is set." } }
                Some(alerts) => { ul class="alerts" { @for alert in alerts { li { (alert) } } } }
            }
        }
    }
}

fn history(model: &MeterPage) -> Markup {
    html! {
        @if !model.history.is_empty() {
            section aria-labelledby="history" {
                h2 id="history" { "The last 12 hours" }
                div class="charts" { @for series in &model.history { (chart(series)) } }
            }
        }
    }
}

fn chart(series: &Series) -> Markup {
    let print = |value| words::quantity(Some(value), &series.unit);
    let label = format!("{}, one-minute means over the last 12 hours", series.label);
    html! {
        figure {
            figcaption {
                strong { (series.label) ", " (series.unit) }
                @if let Some(summary) = plot::Summary::of(&series.minutes, HISTORY_MINUTES) {
                    span { "lowest " b { (print(summary.low)) } }
                    span { "mean " b { (print(summary.mean)) } }
                    span { "highest " b { (print(summary.high)) } }
                }
            }
            (plot::chart(&label, &series.unit, &series.minutes, HISTORY_MINUTES, &HOURS))
        }
    }
}

fn health(model: &MeterPage) -> Markup {
    let Counters { requests, timeouts, crc_errors, late_answers, exceptions, last_answer } = model.counters;
    let counted = [
        ("Requests", requests),
        ("Without an answer", timeouts),
        ("Wrong CRC", crc_errors),
        ("Too late", late_answers),
        ("Exceptions", exceptions),
    ];
    html! {
        section class="health" aria-labelledby="health" {
            h2 id="health" { "How it answers" }
            dl {
                div { dt { "Answers in, last hour" } dd { (answer_times(&model.meter)) } }
                div { dt { "Errors, last hour" } dd { (failures(&model.meter)) } }
                div {
                    dt { "Last answer" }
                    dd { (last_answer.map_or_else(|| "never".to_owned(), ago)) }
                }
            }
            dl class="counters" aria-label="Since the start" {
                @for (name, count) in counted { div { dt { (name) } dd { (words::count(count)) } } }
            }
        }
    }
}

fn points(groups: &[PointGroup], old: bool) -> Markup {
    html! {
        section aria-labelledby="points" {
            h2 id="points" { "All points" }
            @if groups.is_empty() {
                p class="empty" { "None: without a profile nobody knows what its registers mean." }
            }
            div class="groups" { @for group in groups { (group_table(group, old)) } }
        }
    }
}

fn group_table(group: &PointGroup, old: bool) -> Markup {
    html! {
        table class={ "points" @if old { " old" } } {
            caption { (group.title) }
            thead { tr { (head("Point")) (head("Value")) (head("Age")) } }
            tbody { @for point in &group.points { (point_row(point)) } }
        }
    }
}

fn point_row(point: &Point) -> Markup {
    html! {
        tr {
            th scope="row" {
                (point.description)
                span class="sub" { code { (point.name) } " · register " (point.register) }
            }
            td class="value" {
                @match &point.value {
                    PointValue::Float(value) if value.is_finite() => { b { (float(*value)) } " " (point.unit) }
                    PointValue::Float(_) => { span class="no" { (NO_DATA) } }
                    PointValue::Text(text) => { b { (text) } " " (point.unit) }
                    PointValue::Missing(why) => { span class="no" { (NO_DATA) span class="sub" { (why) } } }
                }
            }
            td class="age" { @match point.age { None => { span class="no" { "–" } }, Some(age) => { (words::age(age)) } } }
        }
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

fn transactions(exchanges: &[Exchange]) -> Markup {
    html! {
        section aria-labelledby="transactions" {
            h2 id="transactions" { "Last transactions" }
            @if exchanges.is_empty() {
                p class="empty" { "None yet." }
            } @else {
                p class="note" { "Newest first; unfold one for its bytes." }
                ol class="exchanges" { @for exchange in exchanges { (exchange_item(exchange)) } }
            }
        }
    }
}

fn exchange_item(exchange: &Exchange) -> Markup {
    html! {
        li id={ "exchange-" (exchange.number) } class=(if exchange.good { "good" } else { "failed" }) {
            details {
                summary {
                    span class="when" { (ago(exchange.ago)) }
                    span class="what" { (exchange.what) }
                    span class="who" { (exchange.cause) }
                    span class="outcome" { (exchange.outcome) }
                    @if let Some(took) = exchange.took { span class="took" { (words::answer_time(took)) } }
                }
                dl class="bytes" {
                    (bytes("Sent", &exchange.request, exchange.request.len()))
                    (bytes("Received", &exchange.received, exchange.received_total))
                }
            }
        }
    }
}

fn bytes(name: &str, held: &[u8], total: usize) -> Markup {
    html! {
        div {
            dt { (name) ", " (words::counted(total, "byte", "bytes")) }
            dd {
                @if held.is_empty() { "nothing" } @else { code { (hex(held)) } }
                @if total > held.len() { " and " (total - held.len()) " more that were not kept" }
            }
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02X}")).collect::<Vec<_>>().join(" ")
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

    #[test]
    fn bytes_are_printed_as_every_modbus_tool_prints_them() {
        assert_eq!(hex(&[0x01, 0x0b, 0xff]), "01 0B FF");
    }
}
