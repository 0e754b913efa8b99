//! The list of events: outages, lost ports, findings, reloads, restarts; the newest first.
//!
//! Owns their layout. Beginnings are in the local time of the gateway's machine.

use std::time::Duration;

use maud::{Markup, html};

use super::layout::{cell, head};
use super::meter_link::MeterLink;
use crate::events::{Event, EventKind, Span};
use crate::status::{ListedEvent, Status, Unit};

/// Those of all lines; nothing before the first.
pub(super) fn of_status(status: &Status<'_>) -> Markup {
    section(status, status.events.iter().collect())
}

/// Those of one meter, and of its line.
pub(super) fn of_unit(status: &Status<'_>, unit: &Unit<'_>) -> Markup {
    let concerns = |event: &Event| {
        event.bus.as_deref() == Some(&*unit.bus) && event.unit.is_none_or(|number| number == unit.unit)
    };
    section(status, status.events.iter().filter(|listed| concerns(&listed.event)).collect())
}

fn section(status: &Status<'_>, events: Vec<&ListedEvent>) -> Markup {
    html! {
        @if !events.is_empty() {
            section class="events" id="what-happened" aria-labelledby="events" {
                h2 id="events" { "What happened" }
                table class="rows" role="table" aria-labelledby="events" {
                    thead role="rowgroup" {
                        tr role="row" { (head("From")) (head("Lasted")) (head("About")) (head("What")) }
                    }
                    tbody role="rowgroup" {
                        @for listed in events.iter().take(SHOWN) {
                            tr role="row" {
                                th role="rowheader" scope="row" {
                                    time datetime=(listed.event.begin.to_string()) { (listed.begin) }
                                }
                                (cell("Lasted", &lasted(&listed.event), None))
                                td role="cell" {
                                    span class="cap" aria-hidden="true" { "About" }
                                    span class="held" { (about(status, &listed.event)) }
                                }
                                (cell("What", &listed.event.text, None))
                            }
                        }
                    }
                }
                p class="sub" { "All that is kept: " a href="/api/v1/event-log?most=2000" { "JSON" } ", or " code { "metergate events" } "." }
            }
        }
    }
}

fn lasted(event: &Event) -> String {
    match (event.end, event.seconds) {
        (None, _) => "goes on".to_owned(),
        (Some(_), Some(seconds)) => Span(Duration::from_secs(seconds)).to_string(),
        (Some(_), None) => String::new(),
    }
}

fn about(status: &Status<'_>, event: &Event) -> Markup {
    let bus = event.bus.as_deref();
    let meter = event.unit.map(|unit| MeterLink {
        unit,
        name: event.name.as_deref(),
        bus: bus.filter(|_| status.is_ambiguous(unit)),
    });
    let is_there = |unit: u8| status.units.iter().any(|one| one.unit == unit && Some(&*one.bus) == bus);
    html! {
        @match (&meter, &event.client, bus) {
            (Some(meter), ..) => {
                @if is_there(meter.unit) { a href=(meter.href()) { (meter.full_title()) } }
                @else { (meter.full_title()) }
            }
            (None, Some(client), _) => { "client " (client) }
            (None, None, Some(bus)) => { "line " (bus) }
            (None, None, None) => {
                @match event.kind {
                    EventKind::ClockStep => "clock",
                    EventKind::BrokerLost => "broker",
                    EventKind::Outage | EventKind::PortLost | EventKind::LineSilent | EventKind::LineOccupied
                    | EventKind::Finding | EventKind::Start | EventKind::Stop | EventKind::Reload
                    | EventKind::Writes => "gateway",
                }
            }
        }
    }
}

/// Events on a page; the JSON has all.
const SHOWN: usize = 20;
