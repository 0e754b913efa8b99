//! One line as it hangs on the wire: the gateway's port at its head, then each meter in the order of the wire.
//!
//! Owns the drawing of a bus. What is old stays readable but is marked as old; what is not known is said to be not
//! known. Source: docs/design.md, "The status page".

use std::time::Duration;

use maud::{Markup, html};

use super::findings::commands;
use super::format::{self, NO_DATA};
use super::layout::{class, head, port_badge, state_shape};
use super::meter_link::MeterLink;
use super::plot::{self, Part};
use crate::meter::Group;
use crate::status::{Bus, LineShares, Point, Port, PortState, Status, Unit, UnitMinute};

/// A bus; `index` tells it from the others of the page.
pub(super) fn section(index: usize, bus: &Bus<'_>, status: &Status<'_>) -> Markup {
    let heading = format!("bus-{index}");
    let (port_name, port_state) = (format!("The port of {}", bus.bus), bus.port.state.word());
    html! {
        section class={ "bus " (bus.port.state.word()) } aria-labelledby=(heading) {
            div class="port" id={ (heading) "-port" } data-name=(port_name) data-state=(port_state) {
                div class="port-name" {
                    h2 id=(heading) { (bus.bus) }
                    (port_badge(bus.port.state))
                }
                (port_facts(bus))
                (line_time(bus))
            }
            @if bus.wire.is_empty() {
                p class="empty" { "No meters." }
            } @else {
                (wire(index, bus, status, &heading))
            }
        }
    }
}

fn port_facts(bus: &Bus<'_>) -> Markup {
    let port = &bus.port;
    html! {
        dl class="port-facts" {
            (fact("Device", html! { span class="device" { (bus.device) } }))
            (fact("Framing", html! { (bus.framing) }))
            (fact("Port", open(port)))
            (fact("Active", html! {
                @match &port.active {
                    None => "nothing known",
                    Some(active) => (active.replace("; ", ", ")),
                }
            }))
            (fact("Echo", html! {
                (match bus.echo {
                    None => "not known yet",
                    Some(true) => "yes, and removed",
                    Some(false) => "none",
                })
            }))
            (fact("Faulty characters", errors(port)))
            (fact("Waiting", html! { (format::counted(bus.requests_waiting, "request", "requests")) }))
        }
    }
}

fn fact(name: &str, value: Markup) -> Markup {
    html! { div { dt { (name) } dd { (value) } } }
}

fn open(port: &Port<'_>) -> Markup {
    html! {
        @match (port.state, port.open_for_ms, &port.problem) {
            (PortState::Closed, _, Some(problem)) => { "closed: " (commands(problem)) }
            (PortState::Closed, _, None) => { "closed" }
            (PortState::Open | PortState::Occupied, Some(millis), _) => { "open for " (format::span(Duration::from_millis(millis))) }
            (PortState::Open | PortState::Occupied, None, _) => { "open" }
        }
        @if port.losses > 0 { ", lost " (times(port.losses)) }
        @if port.openings > 1 { ", opened " (times(port.openings)) }
    }
}

fn times(count: u64) -> String {
    if count == 1 { "once".to_owned() } else { format!("{} times", format::count(count)) }
}

fn errors(port: &Port<'_>) -> Markup {
    let Some(errors) = port.driver_errors else {
        return match port.state {
            PortState::Closed => html! { "not known while it is closed" },
            PortState::Open | PortState::Occupied => html! { "this driver does not count them" },
        };
    };
    let kinds = [
        (errors.framing.into(), "framing"),
        (errors.parity.into(), "parity"),
        (u64::from(errors.overrun) + u64::from(errors.buffer_overrun), "overrun"),
        (errors.breaks.into(), if errors.breaks == 1 { "break" } else { "breaks" }),
    ];
    let some: Vec<_> = kinds
        .into_iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, kind)| format!("{} {kind}", format::count(count)))
        .collect();
    html! { @if some.is_empty() { "none" } @else { (some.join(", ")) } }
}

/// Where the line's time goes: now as a bar with its numbers, the last hour above one another.
fn line_time(bus: &Bus<'_>) -> Markup {
    html! {
        div class="line-time" {
            h3 { "Line time" }
            @match bus.recent {
                None => { p class="empty" { "Not measured yet." } }
                Some(shares) => { (shares_now(shares)) }
            }
            @if bus.hour.iter().any(Option::is_some) {
                figure {
                    (hour(bus))
                    figcaption { span { "1 h ago" } span { "now" } }
                }
            }
        }
    }
}

fn shares_now(recent: LineShares) -> Markup {
    let shares = shares(recent);
    let silence = format::percent(recent.silence());
    let said: Vec<_> =
        shares.iter().map(|(name, _, share)| format!("{name} {}", format::percent(*share))).collect();
    let label = format!("Line time now: {}, silence {silence}", said.join(", "));
    let parts: Vec<_> = shares.iter().map(|(_, class, share)| Part { class, share: *share }).collect();
    html! {
        (plot::bar(&label, &parts))
        ul class="legend" {
            @for (name, class, share) in shares {
                li { (swatch(class)) (name) " " b { (format::percent(share)) } }
            }
            li { (swatch("silence")) "silence " b { (silence) } }
        }
    }
}

fn swatch(class: &str) -> Markup {
    html! {
        svg class="swatch" viewBox="0 0 10 10" aria-hidden="true" {
            rect class=(class) x="0.5" y="0.5" width="9" height="9" {}
        }
    }
}

fn shares(of: LineShares) -> [(&'static str, &'static str, f64); 3] {
    [
        ("clients", "clients", of.clients),
        ("polling", "polling", of.polling),
        ("failures", "failures", of.failures),
    ]
}

fn hour(bus: &Bus<'_>) -> Markup {
    let minutes: Vec<_> = bus.hour.iter().map(|minute| minute.map(|minute| minute.shares())).collect();
    let used = |minute: &Option<LineShares>| minute.map(|shares| 1.0 - shares.silence());
    let values: Vec<_> = minutes.iter().map(used).collect();
    let words = plot::Summary::of(&values, plot::HOUR)
        .map_or_else(|| NO_DATA.to_owned(), |summary| summary.words(format::percent));
    let slots: Vec<_> = minutes
        .iter()
        .map(|minute| minute.map(|minute| shares(minute).map(|(_, _, share)| share).to_vec()))
        .collect();
    plot::stack(
        &format!("Line time in use over the last hour: {words}"),
        &["clients", "polling", "failures"],
        &slots,
    )
}

/// The meters. A table, so that it can be read by column; the style sheet lays it out on narrow screens, so the roles
/// are said.
fn wire(index: usize, bus: &Bus<'_>, status: &Status<'_>, heading: &str) -> Markup {
    html! {
        table class="wire" role="table" aria-labelledby=(heading) {
            thead role="rowgroup" {
                tr role="row" {
                    th role="columnheader" scope="col" class="tap" { span class="unseen-text" { "Unit" } }
                    (head("Meter")) (head("State")) (head("Real power")) (head("Age of data"))
                    (head("Answers in, last hour")) (head("Errors, last hour"))
                }
            }
            tbody role="rowgroup" {
                @for unit in status.on_the_wire(bus) { (row(index, unit, &MeterLink::new(unit, status))) }
            }
        }
    }
}

fn row(index: usize, unit: &Unit<'_>, link: &MeterLink<'_>) -> Markup {
    html! {
        tr role="row" id={ "bus-" (index) "-line-" (unit.line_unit) } class=(class(unit.state))
            data-name=(link.full_title()) data-state=(unit.state.title()) {
            td role="cell" class="tap" { (state_shape(unit.state)) span class="id" { (unit.unit) } }
            th role="rowheader" scope="row" class="name" {
                a href=(link.href()) { (link.title()) }
                @if unit.line_unit != unit.unit { span class="sub" { "on the line " (unit.line_unit) } }
            }
            td role="cell" class="is" { span class={ "state " (class(unit.state)) } { (unit.state.title()) } }
            td role="cell" class={ "kw" @if !unit.state.is_answering() { " old" } } { (power_cell(unit)) }
            td role="cell" class={ "age" @if !unit.state.is_answering() { " old" } } {
                span class="cap" aria-hidden="true" { "Age" }
                @match unit.age_ms {
                    None => { span class="no" { (NO_DATA) } }
                    Some(millis) => { (format::age(Duration::from_millis(millis))) }
                }
            }
            td role="cell" class="time" {
                span class="cap" aria-hidden="true" { "Answers in" }
                (answer_times(unit))
            }
            td role="cell" class="errors" {
                span class="cap" aria-hidden="true" { "Errors" }
                (failures(unit))
            }
        }
    }
}

/// The real power of a unit as far as it may be added to that of others: of one that answers, and young.
pub(super) fn power_to_add(unit: &Unit<'_>) -> Option<f64> {
    power(unit, |point| point.is_fresh).filter(|_| unit.state.is_answering())
}

/// The real power the profile puts first, in kW, as last read, if it is `wanted`.
fn power(unit: &Unit<'_>, wanted: impl Fn(&Point<'_>) -> bool) -> Option<f64> {
    unit.headline.iter().filter(|point| wanted(point)).find_map(|point| {
        let factor = match point.unit.as_deref()? {
            "W" => 1e-3,
            "kW" => 1.0,
            "MW" => 1e3,
            _ => return None,
        };
        Some(point.value.filter(|_| point.group == Group::Power)?.to_f64() * factor)
    })
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

pub(super) fn answer_times(unit: &Unit<'_>) -> Markup {
    let values: Vec<_> =
        unit.hour.iter().map(|minute| minute.and_then(|one| one.answer_time_ms).map(f64::from)).collect();
    html! {
        span class="pair" {
            span class={ "figure" @if unit.answer_time_ms.is_none() { " no" } } {
                (unit.answer_time_ms.map_or_else(|| NO_DATA.to_owned(), format::millis))
            }
            (plot::spark_line("Answer time over the last hour", &values, format::millis))
        }
    }
}

pub(super) fn failures(unit: &Unit<'_>) -> Markup {
    let counts = |minute: UnitMinute| (u64::from(minute.errors), u64::from(minute.transactions));
    let minutes: Vec<_> = unit.hour.iter().map(|minute| minute.map_or((0, 0), counts)).collect();
    let sums = minutes.iter().fold((0, 0), |sums, minute| (sums.0 + minute.0, sums.1 + minute.1));
    let values: Vec<_> = minutes.iter().map(|(failures, requests)| share(*failures, *requests)).collect();
    let whole = share(sums.0, sums.1);
    html! {
        span class="pair" {
            span class={ "figure" @if whole.is_none() { " no" } @else if whole.is_some_and(|share| share >= NOTABLE) { " high" } } {
                (whole.map_or_else(|| NO_DATA.to_owned(), format::percent))
            }
            (plot::spark_steps("Errors over the last hour", &values, FULL, format::percent))
        }
    }
}

/// `None` where nothing was asked: that is not 0 %.
fn share(part: u64, whole: u64) -> Option<f64> {
    // Counts of an hour are far below the 53 bits a float holds exactly.
    (whole > 0).then(|| part as f64 / whole as f64)
}

/// The scale of errors reaches at least so far.
const FULL: f64 = 0.1;

/// From here on the number itself is marked.
const NOTABLE: f64 = 0.02;
