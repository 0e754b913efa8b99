//! The first page: findings, each line with its meters, clients, listeners, MQTT brokers.
//!
//! Owns their order and the text around them. Source: docs/design.md, "The status page".

use std::time::Duration;

use maud::{Markup, html};

use super::brokers;
use super::bus_section;
use super::clients;
use super::events;
use super::findings::{self, Verdict};
use super::format;
use super::layout::{Content, Part, Reload, cell, head};
use super::meters;
use super::view::OverviewView;
use crate::status::{Listener, PortState, RoleCount, Status, UnitState};

/// The overview as HTML.
#[must_use]
pub fn overview(status: &Status<'_>, view: &OverviewView, part: Part) -> String {
    let name = status.site.as_deref();
    let counts = findings::counts(status.findings.iter());
    let place = name.map_or_else(|| "metergate".to_owned(), |name| format!("{name} · metergate"));
    let title = findings::counted_title(status.findings.iter(), place);
    let clients = clients::rows(status);
    let main = html! {
        div class="intro" {
            h1 { (name.unwrap_or("Overview")) }
            (summary(status, clients.len(), counts.as_deref()))
        }
        (findings::section(&findings::of_status(status), verdict(status)))
        (meters::filter(status, view))
        @if meters::is_grouped(status, view) { (meters::groups(status, view)) }
        @if status.buses.len() > 1 {
            nav class="lines" aria-label="Lines" {
                @for (index, bus) in status.buses.iter().enumerate() {
                    a href={ "#bus-" (index) } { (bus.bus) }
                }
            }
        }
        @for (index, bus) in status.buses.iter().enumerate() { (bus_section::section(index, bus, status, view)) }
        (events::of_status(status))
        (clients::section(&clients, &status.departed))
        (listeners(&status.listeners))
        (brokers::section(&status.brokers))
    };
    let other = OverviewView { refresh: view.refresh.other(), ..view.clone() }.href();
    Content { title, main, status, reload: Reload { refresh: view.refresh, other } }.render(part)
}

/// The text where there is no finding; before the first request there is none either.
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
    html! {
        ul class="facts" {
            li { strong { (online) " of " (all) } " meters on-line" }
            li { strong { (open) " of " (status.buses.len()) } " ports open" }
            li { strong { (format::counted(clients, "client", "clients")) } " connected" }
            li { strong { (findings.unwrap_or("no faults found")) } }
        }
    }
}

fn listeners(listeners: &[Listener<'_>]) -> Markup {
    html! {
        section id="listening" aria-labelledby="listeners" {
            h2 id="listeners" { "Listeners" }
            table class="rows" role="table" aria-labelledby="listeners" {
                thead role="rowgroup" {
                    tr role="row" {
                        (head("Address")) (head("Framing")) (head("Lines")) (head("Max age")) (head("Writes"))
                        (head("Connections")) (head("Requests"))
                    }
                }
                tbody role="rowgroup" {
                    @for listener in listeners {
                        tr role="row" {
                            th role="rowheader" scope="row" { (listener.listener) }
                            (cell("Framing", framing(listener), None))
                            (cell("Lines", &listener.buses.join(", "), None))
                            (cell("Max age", &max_age(listener), None))
                            (cell("Writes", if listener.writes { "allowed" } else { "denied" }, None))
                            (cell(
                                "Connections",
                                &connections(listener),
                                connections_note(listener).as_deref(),
                            ))
                            (cell("Requests", &format::count(listener.requests.requests), None))
                        }
                    }
                }
            }
        }
    }
}

fn framing(listener: &Listener<'_>) -> &'static str {
    if listener.port.is_some() { "Modbus RTU" } else { listener.framing.name() }
}

/// How many clients are connected; at a serial port, whether its one client can be served.
fn connections(listener: &Listener<'_>) -> String {
    match &listener.port {
        None => format!("{} of {}", listener.connections, listener.max_connections),
        Some(port) if port.open_for_ms.is_some() => "port open".to_owned(),
        Some(_) => "port closed".to_owned(),
    }
}

/// What else is to be said of the connections: why a port is closed, clients turned away, roles,
/// failed handshakes.
fn connections_note(listener: &Listener<'_>) -> Option<String> {
    if let Some(port) = &listener.port {
        return port.problem.as_deref().map(str::to_owned);
    }
    let mut notes = Vec::new();
    if listener.turned_away > 0 {
        notes.push(format!("{} turned away", format::count(listener.turned_away)));
    }
    if let Some(tls) = &listener.tls {
        let role = |one: &RoleCount| {
            format!("{} {}", one.connections, one.role.as_deref().unwrap_or("without a role"))
        };
        notes.extend(tls.roles.iter().map(role));
        let failed: u64 = tls.failed_handshakes.values().sum();
        if failed > 0 {
            notes.push(format!("{} handshakes failed", format::count(failed)));
        }
    }
    (!notes.is_empty()).then(|| notes.join(", "))
}

fn max_age(listener: &Listener<'_>) -> String {
    match listener.max_age_ms {
        0 => "not cached".to_owned(),
        millis => format::age(Duration::from_millis(millis)),
    }
}
