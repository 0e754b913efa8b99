//! One line: the gateway's port at its head, where its time goes, then its meters.
//!
//! Owns the drawing of a port. Unknown values are shown as unknown. Source: docs/design.md, "The status page".

use std::time::Duration;

use maud::{Markup, html};

use super::findings::commands;
use super::format::{self, NO_DATA};
use super::layout::port_badge;
use super::meters;
use super::plot::{self, BarPart};
use super::view::OverviewView;
use crate::status::{Bus, LineShares, Port, PortState, Status};

/// A bus; `index` tells it from the others of the page. The meters hang below it where the view folds by line.
pub(super) fn section(index: usize, bus: &Bus<'_>, status: &Status<'_>, view: &OverviewView) -> Markup {
    let heading = format!("bus-{index}");
    let (port_name, port_state) = (format!("The port of {}", bus.bus), bus.port.state.word());
    html! {
        section class={ "bus " (bus.port.state.word()) } id={ (heading) "-section" } aria-labelledby=(heading) {
            div class="port" id={ (heading) "-port" } data-name=(port_name) data-state=(port_state) {
                div class="port-name" {
                    h2 id=(heading) { (bus.bus) }
                    (port_badge(bus.port.state))
                }
                (port_facts(bus))
                (line_time(bus))
            }
            @if !meters::is_grouped(status, view) {
                (meters::Section::of_line(index, bus, status, view).line_markup(status, view, &heading))
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
    let minutes = u64::try_from(bus.hour.len().min(plot::HOUR)).unwrap_or_default();
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
                    figcaption { span { (format::age(Duration::from_secs(60 * minutes))) " ago" } span { "now" } }
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
    let parts: Vec<_> = shares.iter().map(|(_, class, share)| BarPart { class, share: *share }).collect();
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
        &format!("Line time in use over {}: {words}", plot::last_minutes(bus.hour.len())),
        &["clients", "polling", "failures"],
        &slots,
    )
}
