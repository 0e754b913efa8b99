//! The first page: what is wrong, each line with its meters, the clients, the listeners.
//!
//! Owns their order and the words around them. Source: docs/design.md, "The status page".

use std::time::Duration;

use maud::{Markup, html};

use super::bus_section::{self, power_to_add};
use super::clients;
use super::events;
use super::findings::{self, Verdict};
use super::format;
use super::layout::{Content, Part, cell, head};
use crate::status::{Listener, PortState, Status, UnitState};

/// The overview as HTML.
#[must_use]
pub fn overview(status: &Status<'_>, part: Part) -> String {
    let name = status.site.as_deref();
    let counts = findings::counts(status.findings.iter());
    let place = name.map_or_else(|| "metergate".to_owned(), |name| format!("{name} · metergate"));
    let title = counts.as_ref().map_or_else(|| place.clone(), |counts| format!("{counts} · {place}"));
    let clients = clients::rows(status);
    let main = html! {
        div class="intro" {
            h1 { (name.unwrap_or("Overview")) }
            (summary(status, clients.len(), counts.as_deref()))
        }
        (findings::section(&findings::of_status(status), verdict(status)))
        @if status.buses.len() > 1 {
            nav class="lines" aria-label="Lines" {
                @for (index, bus) in status.buses.iter().enumerate() {
                    a href={ "#bus-" (index) } { (bus.bus) }
                }
            }
        }
        @for (index, bus) in status.buses.iter().enumerate() { (bus_section::section(index, bus, status)) }
        (events::of_status(status))
        (clients::section(&clients))
        (listeners(&status.listeners))
    };
    Content { title, main, status }.render(part)
}

/// What to say where there is no finding: before anything was asked there is none either.
fn verdict(status: &Status<'_>) -> Verdict {
    let is_open = status.buses.iter().all(|bus| bus.port.state == PortState::Open);
    if is_open && status.units.iter().all(|unit| unit.state == UnitState::Online) {
        Verdict::Well("Nothing: every port is open and every meter answers.")
    } else {
        Verdict::Unsure("Nothing has been found yet, but not everything answers.")
    }
}

fn summary(status: &Status<'_>, clients: usize, findings: Option<&str>) -> Markup {
    let online = status.units.iter().filter(|unit| unit.state == UnitState::Online).count();
    let all = status.units.len();
    let open = status.buses.iter().filter(|bus| bus.port.state == PortState::Open).count();
    // What a meter said last is no part of what all say now.
    let known: Vec<f64> = status.units.iter().filter_map(power_to_add).collect();
    html! {
        ul class="facts" {
            li { strong { (online) " of " (all) } " meters on-line" }
            li { strong { (open) " of " (status.buses.len()) } " ports open" }
            li { strong { (format::counted(clients, "client", "clients")) } " connected" }
            @if !known.is_empty() {
                li {
                    strong { (format::quantity(Some(known.iter().sum()), "kW")) }
                    @if known.len() == all { " together" } @else {
                        " from " (format::counted(known.len(), "meter", "meters"))
                    }
                }
            }
            li { strong { (findings.unwrap_or("no faults found")) } }
        }
    }
}

fn listeners(listeners: &[Listener<'_>]) -> Markup {
    html! {
        section aria-labelledby="listeners" {
            h2 id="listeners" { "Listeners" }
            table class="rows" role="table" aria-labelledby="listeners" {
                thead role="rowgroup" {
                    tr role="row" {
                        (head("Address")) (head("Lines")) (head("Max age")) (head("Writes"))
                        (head("Connections")) (head("Requests"))
                    }
                }
                tbody role="rowgroup" {
                    @for listener in listeners {
                        tr role="row" {
                            th role="rowheader" scope="row" { (listener.listener) }
                            (cell("Lines", &listener.buses.join(", "), None))
                            (cell("Max age", &max_age(listener), None))
                            (cell("Writes", if listener.writes { "allowed" } else { "denied" }, None))
                            (cell(
                                "Connections",
                                &format!("{} of {}", listener.connections, listener.max_connections),
                                (listener.turned_away > 0)
                                    .then(|| format!("{} turned away", format::count(listener.turned_away)))
                                    .as_deref(),
                            ))
                            (cell("Requests", &format::count(listener.requests.requests), None))
                        }
                    }
                }
            }
        }
    }
}

fn max_age(listener: &Listener<'_>) -> String {
    match listener.max_age_ms {
        0 => "not cached".to_owned(),
        millis => format::age(Duration::from_millis(millis)),
    }
}
