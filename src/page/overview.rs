//! The first page: what is wrong, each line with its meters, the clients, the listeners.
//!
//! Owns their order and the words around them. Never decides what is wrong, and never counts anything but what it is
//! given. Source: docs/design.md, "The status page".

use maud::{Markup, html};

use super::frame::{Content, Part};
use super::model::{Client, Listener, MeterState, Overview, PortState};
use super::trouble::Verdict;
use super::words::{self, NO_DATA};
use super::{chain, trouble};

/// The overview as HTML.
#[must_use]
pub fn overview(model: &Overview, part: Part) -> String {
    let name = model.gateway.name.as_deref();
    let findings = model.buses.iter().flat_map(|bus| &bus.findings);
    let tally = trouble::tally(findings);
    let place = name.map_or_else(|| "metergate".to_owned(), |name| format!("{name} · metergate"));
    let title = tally.as_ref().map_or_else(|| place.clone(), |tally| format!("{tally} · {place}"));
    let main = html! {
        div class="intro" {
            h1 { (name.unwrap_or("Overview")) }
            (summary(model, tally.as_deref()))
        }
        (trouble::section(&trouble::of_buses(&model.buses), verdict(model)))
        @if model.buses.len() > 1 {
            nav class="lines" aria-label="Lines" {
                @for (index, bus) in model.buses.iter().enumerate() {
                    a href={ "#bus-" (index) } { (bus.name) }
                }
            }
        }
        @for (index, bus) in model.buses.iter().enumerate() { (chain::section(index, bus)) }
        (clients(model))
        (listeners(&model.listeners))
    };
    Content { title, main, gateway: &model.gateway }.render(part)
}

/// What to say where there is no finding: before anything was asked there is none either.
fn verdict(model: &Overview) -> Verdict {
    let is_open = model.buses.iter().all(|bus| bus.port.state == PortState::Open);
    let mut meters = model.buses.iter().flat_map(|bus| &bus.meters);
    if is_open && meters.all(|meter| meter.state == MeterState::Online) {
        Verdict::Well("Nothing: every port is open and every meter answers.")
    } else {
        Verdict::Unsure("Nothing has been found yet, but not everything answers.")
    }
}

fn summary(model: &Overview, tally: Option<&str>) -> Markup {
    let meters = || model.buses.iter().flat_map(|bus| &bus.meters);
    let online = meters().filter(|meter| meter.state == MeterState::Online).count();
    let all = meters().count();
    let open = model.buses.iter().filter(|bus| bus.port.state == PortState::Open).count();
    let clients = model.clients.len() + model.clients_left_out;
    let known: Vec<f64> =
        meters().filter(|meter| is_current(meter.state)).filter_map(|meter| meter.power).collect();
    html! {
        ul class="facts" {
            li { strong { (online) " of " (all) } " meters on-line" }
            li { strong { (open) " of " (model.buses.len()) } " ports open" }
            li { strong { (words::counted(clients, "client", "clients")) } " connected" }
            @if !known.is_empty() {
                li {
                    strong { (words::quantity(Some(known.iter().sum()), "kW")) }
                    @if known.len() == all { " together" } @else {
                        " from " (words::counted(known.len(), "meter", "meters"))
                    }
                }
            }
            li { strong { (tally.unwrap_or("no faults found")) } }
        }
    }
}

/// Whether what a meter said last may stand for what it says now.
fn is_current(state: MeterState) -> bool {
    match state {
        MeterState::Online | MeterState::Confirming => true,
        MeterState::Offline | MeterState::NeverSeen => false,
    }
}

fn clients(model: &Overview) -> Markup {
    html! {
        section aria-labelledby="clients" {
            h2 id="clients" { "Clients" }
            @if model.clients.is_empty() {
                p class="empty" { "No client is connected." }
            } @else {
                table class="rows" role="table" aria-labelledby="clients" {
                    thead role="rowgroup" {
                        tr role="row" {
                            (head("Client")) (head("By listener")) (head("Requests")) (head("From memory"))
                            (head("Answered in")) (head("Exceptions")) (head("Last request"))
                        }
                    }
                    tbody role="rowgroup" { @for client in &model.clients { (client_row(client)) } }
                }
            }
            @if model.clients_left_out > 0 {
                p class="note" { "And " (words::counted(model.clients_left_out, "client", "clients")) " more." }
            }
        }
    }
}

fn client_row(client: &Client) -> Markup {
    let rate = client.rate.map_or_else(|| NO_DATA.to_owned(), words::rate);
    html! {
        tr role="row" {
            th role="rowheader" scope="row" {
                (client.address) span class="sub" { "for " (words::span(client.connected_for)) }
            }
            (cell("By listener", &client.listener, None))
            (cell("Requests", &rate, Some(&format!("{} in all", words::count(client.requests)))))
            (cell("From memory", &client.from_snapshot.map_or_else(|| NO_DATA.to_owned(), words::percent), None))
            (cell("Answered in", &client.answer_time.map_or_else(|| NO_DATA.to_owned(), words::answer_time), None))
            td role="cell" {
                span class="cap" aria-hidden="true" { "Exceptions" }
                span class="held" {
                    @if client.exceptions.is_empty() { "none" }
                    @for exception in &client.exceptions {
                        span class="line" { (words::count(exception.count)) " × " (exception.exception) }
                    }
                }
            }
            (cell("Last request", &client.idle_for.map_or_else(|| "none yet".to_owned(), ago), None))
        }
    }
}

fn listeners(listeners: &[Listener]) -> Markup {
    html! {
        section aria-labelledby="listeners" {
            h2 id="listeners" { "Listeners" }
            table class="rows" role="table" aria-labelledby="listeners" {
                thead role="rowgroup" {
                    tr role="row" {
                        (head("Address")) (head("Lines")) (head("Oldest data given")) (head("Writes"))
                        (head("Connections")) (head("Requests"))
                    }
                }
                tbody role="rowgroup" {
                    @for listener in listeners {
                        tr role="row" {
                            th role="rowheader" scope="row" { (listener.address) }
                            (cell("Lines", &listener.buses.join(", "), None))
                            (cell("Oldest data given", &max_age(listener), None))
                            (cell("Writes", if listener.writes { "allowed" } else { "denied" }, None))
                            (cell(
                                "Connections",
                                &format!("{} of {}", listener.connections, listener.connections_max),
                                (listener.refused > 0)
                                    .then(|| format!("{} turned away", words::count(listener.refused)))
                                    .as_deref(),
                            ))
                            (cell("Requests", &words::count(listener.requests), None))
                        }
                    }
                }
            }
        }
    }
}

fn max_age(listener: &Listener) -> String {
    if listener.max_age.is_zero() { "always read anew".to_owned() } else { words::age(listener.max_age) }
}

pub(super) fn ago(span: std::time::Duration) -> String {
    format!("{} ago", words::age(span))
}

pub(super) fn head(text: &str) -> Markup {
    html! { th role="columnheader" scope="col" { (text) } }
}

/// A cell that says on a narrow screen, where there is no heading above it, what it holds.
pub(super) fn cell(caption: &str, text: &str, below: Option<&str>) -> Markup {
    html! {
        td role="cell" {
            span class="cap" aria-hidden="true" { (caption) }
            span class="held" { (text) @if let Some(below) = below { span class="sub" { (below) } } }
        }
    }
}
