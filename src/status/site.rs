//! The pages by their paths: which there are, and what stands in each.
//!
//! Owns the paths of contract section 6. Every part of a path is compared with what there is, or looked up by it,
//! and never becomes a file's name. It reads a picture and a history, and changes neither.

use std::time::Instant;

use serde::Serialize;

use super::history::History;
use super::picture::{BusPicture, Picture, UnitPicture};
use super::{json, meter_page, metrics, overview, overview_page};
use crate::io::http::{Question, Reply};
use crate::page::{self, ASSETS, Part};

/// What is answered to a question.
#[must_use]
pub fn answer(question: &Question<'_>, picture: &Picture, history: &History, now: Instant) -> Reply {
    match question.path {
        "/" => {
            let model = overview_page::overview(picture, history, now);
            html(200, page::overview(&model, part(question.query)))
        }
        "/health" => Reply::text(200, "alive\n"),
        "/ready" if picture.is_ready() => Reply::text(200, "ready\n"),
        "/ready" => Reply::text(503, "not ready: no port is open with a unit that answers\n"),
        "/metrics" => Reply::Page {
            status: 200,
            kind: METRICS,
            body: metrics::exposition(picture, history, now).into(),
        },
        path => {
            if let Some(rest) = path.strip_prefix("/api/v1/") {
                api(rest, question.query, picture, history, now)
            } else if let Some(id) = path.strip_prefix("/units/") {
                meter(id, question.query, picture, history, now)
            } else {
                asset(path, question.query)
            }
        }
    }
}

/// The page of a meter, or one that says why there is none.
fn meter(id: &str, query: &str, picture: &Picture, history: &History, now: Instant) -> Reply {
    match find_unit(picture, id, query) {
        Ok(unit) => {
            let model = meter_page::page(picture, &unit, history, now);
            html(200, page::meter(&model, part(query)))
        }
        Err((status, why)) => {
            let gateway = overview_page::gateway(picture, now);
            html(
                status,
                page::notice(&gateway, "No such meter", &format!("{}.", sentence(&why)), part(query)),
            )
        }
    }
}

/// A file of the pages. Only under the address that has its content's hash it may be kept.
fn asset(path: &str, query: &str) -> Reply {
    let Some(asset) = ASSETS.iter().find(|asset| asset.path == path) else {
        return Reply::text(404, "no such page; / has those there are\n");
    };
    let (kind, body) = (asset.content_type, asset.body);
    if query == format!("v={:016x}", asset.hash) {
        Reply::File { kind, body }
    } else {
        Reply::Page { status: 200, kind, body: body.into() }
    }
}

/// How much of a page the query wants.
fn part(query: &str) -> Part {
    if query.split('&').any(|pair| pair == "part=main") { Part::Main } else { Part::Page }
}

fn html(status: u16, body: String) -> Reply {
    Reply::Page { status, kind: HTML, body: body.into() }
}

fn sentence(words: &str) -> String {
    let mut rest = words.chars();
    rest.next().map(|first| first.to_uppercase().chain(rest).collect()).unwrap_or_default()
}

fn api(path: &str, query: &str, picture: &Picture, history: &History, now: Instant) -> Reply {
    let segments: Vec<&str> = path.split('/').collect();
    match segments[..] {
        ["status"] => page_of(&overview::status(picture, now)),
        ["events"] => Reply::Events("/api/v1/status"),
        ["buses"] => page_of(&picture.buses.iter().map(|one| overview::bus(one, now)).collect::<Vec<_>>()),
        ["buses", name] => with_bus(picture, name, |bus| page_of(&overview::bus(bus, now))),
        ["buses", name, "history"] => {
            with_bus(picture, name, |bus| page_of(&overview::bus_history(bus, history, now)))
        }
        ["findings"] => page_of(&overview::findings(picture, history, now)),
        ["listeners"] => page_of(&picture.listeners.iter().map(overview::listener).collect::<Vec<_>>()),
        ["clients"] => page_of(&overview::clients(picture, now)),
        ["units"] => page_of(&overview::status(picture, now).units),
        ["units", id] => with_unit(picture, id, query, |unit| page_of(&overview::unit_page(unit, now))),
        ["units", id, "history"] => {
            with_unit(picture, id, query, |unit| page_of(&overview::unit_history(unit, history, now)))
        }
        _ => fault(404, "no such page; docs/api.md has those there are"),
    }
}

fn with_bus(picture: &Picture, name: &str, page: impl FnOnce(&BusPicture) -> Reply) -> Reply {
    let bus = decode(name).and_then(|name| picture.buses.iter().find(|bus| bus.name() == name));
    bus.map_or_else(|| fault(404, "no bus has this name"), page)
}

fn with_unit(
    picture: &Picture,
    id: &str,
    query: &str,
    page: impl FnOnce(&UnitPicture<'_>) -> Reply,
) -> Reply {
    match find_unit(picture, id, query) {
        Ok(unit) => page(&unit),
        Err((status, message)) => fault(status, &message),
    }
}

/// The unit clients know by that identifier, on the bus that `bus=` in the query names, if it does.
///
/// # Errors
/// The HTTP status code and the words for it.
pub(super) fn find_unit<'a>(
    picture: &'a Picture,
    id: &str,
    query: &str,
) -> Result<UnitPicture<'a>, (u16, String)> {
    let bus = match query.split('&').find_map(|pair| pair.strip_prefix("bus=")) {
        Some(name) => {
            Some(decode(&name.replace('+', " ")).ok_or((400, "the name of the bus is no text".to_owned()))?)
        }
        None => None,
    };
    let alias: u8 = id.parse().map_err(|_| (404, "units have identifiers from 1 to 255".to_owned()))?;
    let fits = |unit: &UnitPicture<'_>| {
        unit.alias == alias && bus.as_ref().is_none_or(|name| unit.bus.name() == name)
    };
    let mut found = picture.units().filter(fits);
    match (found.next(), found.next()) {
        (Some(unit), None) => Ok(unit),
        (None, _) => Err((404, "no unit has this identifier".to_owned())),
        (Some(_), Some(_)) => {
            Err((409, "units of several buses have this identifier; add ?bus=NAME".to_owned()))
        }
    }
}

/// A part of a path or a query with its escapes undone; `None` where they are none, or no text comes out.
pub(crate) fn decode(part: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(part.len());
    let mut rest = part.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
                u8::try_from(digit(rest.next())? * 16 + digit(rest.next())?).ok()?
            }
            other => other,
        });
    }
    String::from_utf8(bytes).ok()
}

fn page_of(value: &impl Serialize) -> Reply {
    match serde_json::to_vec(value) {
        Ok(body) => Reply::Page { status: 200, kind: JSON, body: body.into() },
        Err(error) => fault(500, &error.to_string()),
    }
}

fn fault(status: u16, error: &str) -> Reply {
    let fault = json::Fault { error: error.to_owned() };
    let body = serde_json::to_vec(&fault).expect("a text can always be written as JSON");
    Reply::Page { status, kind: JSON, body: body.into() }
}

const JSON: &str = "application/json";
const HTML: &str = "text/html; charset=utf-8";
const METRICS: &str = "text/plain; version=0.0.4; charset=utf-8";
