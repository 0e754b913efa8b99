//! One line as it hangs on the wire: the gateway's port at its head, then each meter in the order of the wire.
//!
//! Owns the drawing of a bus. What is old stays readable but is marked as old; what is not known is said to be not
//! known. Source: docs/design.md, "The status page".

use maud::{Markup, html};

use super::frame::{port_badge, state_shape};
use super::model::{Bus, Meter, MeterState, Port, PortState, Split};
use super::overview::head;
use super::plot::{self, Part};
use super::trouble::commands;
use super::words::{self, NO_DATA};

/// A bus; `index` tells it from the others of the page.
pub(super) fn section(index: usize, bus: &Bus) -> Markup {
    let heading = format!("bus-{index}");
    let (port_name, port_state) = (format!("The port of {}", bus.name), bus.port.state.word());
    html! {
        section class={ "bus " (bus.port.state.word()) } aria-labelledby=(heading) {
            div class="port" id={ (heading) "-port" } data-name=(port_name) data-state=(port_state) {
                div class="port-name" {
                    h2 id=(heading) { (bus.name) }
                    (port_badge(bus.port.state))
                }
                (port_facts(bus))
                (line_time(bus))
            }
            @if bus.meters.is_empty() {
                p class="empty" { "No meters." }
            } @else {
                (wire(index, bus, &heading))
            }
        }
    }
}

fn port_facts(bus: &Bus) -> Markup {
    let port = &bus.port;
    html! {
        dl class="port-facts" {
            (fact("Device", html! { span class="device" { (bus.device) } }))
            (fact("Framing", html! { (bus.framing) }))
            (fact("Port", open(port)))
            (fact("Active", html! {
                @if port.active.is_empty() { "nothing known" } @else { (port.active.join(", ")) }
            }))
            (fact("Echo", html! {
                (match port.echo {
                    None => "not known yet",
                    Some(true) => "comes back, taken off",
                    Some(false) => "none",
                })
            }))
            (fact("Faulty characters", errors(port)))
            (fact("Waiting", html! { (words::counted(bus.waiting, "request", "requests")) }))
        }
    }
}

fn fact(name: &str, value: Markup) -> Markup {
    html! { div { dt { (name) } dd { (value) } } }
}

fn open(port: &Port) -> Markup {
    html! {
        @match (port.state, port.open_for, &port.problem) {
            (PortState::Closed, _, Some(problem)) => { "closed: " (commands(problem)) }
            (PortState::Closed, _, None) => { "closed" }
            (PortState::Open | PortState::Occupied, Some(span), _) => { "open for " (words::span(span)) }
            (PortState::Open | PortState::Occupied, None, _) => { "open" }
        }
        @if port.losses > 0 { ", lost " (times(port.losses)) }
        @if port.openings > 1 { ", opened " (times(port.openings)) }
    }
}

fn times(count: u64) -> String {
    if count == 1 { "once".to_owned() } else { format!("{} times", words::count(count)) }
}

fn errors(port: &Port) -> Markup {
    let Some(errors) = port.errors else {
        return match port.state {
            PortState::Closed => html! { "not known while it is closed" },
            PortState::Open | PortState::Occupied => html! { "this driver does not count them" },
        };
    };
    let kinds = [
        (errors.framing, "framing"),
        (errors.parity, "parity"),
        (errors.overrun, "overrun"),
        (errors.breaks, if errors.breaks == 1 { "break" } else { "breaks" }),
    ];
    let some: Vec<_> = kinds
        .into_iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, kind)| format!("{} {kind}", words::count(count)))
        .collect();
    html! { @if some.is_empty() { "none" } @else { (some.join(", ")) } }
}

/// Where the line's time goes: now as a bar with its numbers, the last hour above one another.
fn line_time(bus: &Bus) -> Markup {
    html! {
        div class="line-time" {
            h3 { "Line time" }
            @match bus.utilisation {
                None => { p class="empty" { "Not measured yet." } }
                Some(split) => { (split_now(split)) }
            }
            @if bus.utilisation_hour.iter().any(Option::is_some) {
                figure {
                    (hour(&bus.utilisation_hour))
                    figcaption { span { "1 h ago" } span { "now" } }
                }
            }
        }
    }
}

fn split_now(split: Split) -> Markup {
    let shares = shares(split);
    let silence = words::percent(split.silence());
    let said: Vec<_> =
        shares.iter().map(|(name, _, share)| format!("{name} {}", words::percent(*share))).collect();
    let label = format!("Line time now: {}, silence {silence}", said.join(", "));
    let parts: Vec<_> = shares.iter().map(|(_, class, share)| Part { class, share: *share }).collect();
    html! {
        (plot::bar(&label, &parts))
        ul class="legend" {
            @for (name, class, share) in shares {
                li { (swatch(class)) (name) " " b { (words::percent(share)) } }
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

fn shares(split: Split) -> [(&'static str, &'static str, f64); 3] {
    [
        ("clients", "clients", split.clients),
        ("polling", "polling", split.polling),
        ("failures", "failures", split.failures),
    ]
}

fn hour(splits: &[Option<Split>]) -> Markup {
    let used = |split: &Option<Split>| split.map(|split| 1.0 - split.silence());
    let values: Vec<_> = splits.iter().map(used).collect();
    let words = plot::Summary::of(&values, plot::HOUR)
        .map_or_else(|| NO_DATA.to_owned(), |summary| summary.words(words::percent));
    let slots: Vec<_> = splits
        .iter()
        .map(|split| split.map(|split| shares(split).map(|(_, _, share)| share).to_vec()))
        .collect();
    plot::stack(
        &format!("Line time in use over the last hour: {words}"),
        &["clients", "polling", "failures"],
        &slots,
    )
}

/// The meters. A table, so that it can be read by column; the style sheet lays it out on narrow screens, so the roles
/// are said.
fn wire(index: usize, bus: &Bus, heading: &str) -> Markup {
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
                @for meter in &bus.meters { (row(index, meter)) }
            }
        }
    }
}

fn row(index: usize, meter: &Meter) -> Markup {
    let key = &meter.meter;
    let announced = key.full_title();
    html! {
        tr role="row" id={ "bus-" (index) "-line-" (meter.line_id) } class=(meter.state.class())
            data-name=(announced) data-state=(meter.state.word()) {
            td role="cell" class="tap" { (state_shape(meter.state)) span class="id" { (key.unit) } }
            th role="rowheader" scope="row" class="name" {
                a href=(key.href()) { (key.title()) }
                @if meter.line_id != key.unit { span class="sub" { "on the line " (meter.line_id) } }
            }
            td role="cell" class="is" { span class={ "state " (meter.state.class()) } { (meter.state.word()) } }
            td role="cell" class={ "kw" @if is_old(meter.state) { " old" } } { (power(meter)) }
            td role="cell" class="age" {
                span class="cap" aria-hidden="true" { "Age" }
                @match meter.age { None => { span class="no" { (NO_DATA) } }, Some(age) => { (words::age(age)) } }
            }
            td role="cell" class="time" {
                span class="cap" aria-hidden="true" { "Answers in" }
                (answer_times(meter))
            }
            td role="cell" class="errors" {
                span class="cap" aria-hidden="true" { "Errors" }
                (failures(meter))
            }
        }
    }
}

/// Whether what is shown is only what was known last.
pub(super) fn is_old(state: MeterState) -> bool {
    match state {
        MeterState::Offline | MeterState::NeverSeen => true,
        MeterState::Online | MeterState::Confirming => false,
    }
}

fn power(meter: &Meter) -> Markup {
    html! {
        @match meter.power.filter(|power| power.is_finite()) {
            None => { span class="no" { (NO_DATA) } }
            Some(power) => {
                @if is_old(meter.state) { span class="unseen-text" { "last known " } }
                b { (words::number(power)) } " kW"
            }
        }
    }
}

pub(super) fn answer_times(meter: &Meter) -> Markup {
    let millis = |time: std::time::Duration| time.as_secs_f64() * 1000.0;
    let values: Vec<_> = meter.hour.iter().map(|minute| minute.answer_time.map(millis)).collect();
    html! {
        span class="pair" {
            span class={ "figure" @if meter.answer_time.is_none() { " no" } } {
                (meter.answer_time.map_or_else(|| NO_DATA.to_owned(), words::answer_time))
            }
            (plot::spark_line("Answer time over the last hour", &values, words::millis))
        }
    }
}

pub(super) fn failures(meter: &Meter) -> Markup {
    let sums = meter.hour.iter().fold((0_u64, 0_u64), |(requests, failures), minute| {
        (requests.saturating_add(minute.requests), failures.saturating_add(minute.failures))
    });
    let values: Vec<_> = meter.hour.iter().map(|minute| share(minute.failures, minute.requests)).collect();
    let whole = share(sums.1, sums.0);
    html! {
        span class="pair" {
            span class={ "figure" @if whole.is_none() { " no" } @else if whole.is_some_and(|share| share >= NOTABLE) { " high" } } {
                (whole.map_or_else(|| NO_DATA.to_owned(), words::percent))
            }
            (plot::spark_steps("Errors over the last hour", &values, FULL, words::percent))
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
