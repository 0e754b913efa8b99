//! The page people look at: the lines and the meters as one table each.
//!
//! Owns the HTML. It works without scripts, and every text that somebody chose is escaped on its way into it.

use std::time::Instant;

use super::json;
use super::overview;
use super::picture::Picture;

/// The page at `/`.
#[must_use]
pub(super) fn overview(picture: &Picture, now: Instant) -> String {
    let status = overview::status(picture, now);
    let mut html = String::from(HEAD);
    html.push_str(
        "<h1>metergate</h1>\n<table>\n<tr><th>Bus<th>Device<th>Port<th>Load<th>Waiting<th>On-line\n",
    );
    for bus in &status.buses {
        row(
            &mut html,
            &[
                bus.bus,
                &bus.device,
                &port(&bus.port),
                &format!("{:.1} %", bus.utilisation_percent),
                &bus.requests_waiting.to_string(),
                &format!("{} of {}", bus.units.online, picture_units(picture, bus.bus)),
            ],
        );
    }
    html.push_str("</table>\n<table>\n<tr><th>Bus<th>Unit<th>Name<th>State<th>Age<th>Readings<th>Alerts\n");
    for unit in &status.units {
        let readings: Vec<_> = unit.headline.iter().filter_map(reading).collect();
        let alerts: Vec<_> = unit.alerts.iter().map(|alert| alert.means).collect();
        row(
            &mut html,
            &[
                unit.bus,
                &unit.unit.to_string(),
                unit.name.unwrap_or_default(),
                unit.state,
                &unit.age_ms.map(|age| format!("{} s", age / 1000)).unwrap_or_default(),
                &readings.join(", "),
                &alerts.join(", "),
            ],
        );
    }
    html.push_str("</table>\n<p><a href=\"/api/v1/status\">JSON</a> <a href=\"/metrics\">Metrics</a>\n");
    html
}

fn port(port: &json::Port<'_>) -> String {
    port.problem.map_or_else(|| port.state.to_owned(), |problem| format!("{}: {problem}", port.state))
}

fn picture_units(picture: &Picture, bus: &str) -> usize {
    picture.buses.iter().filter(|one| one.name() == bus).map(|one| one.units().count()).sum()
}

fn reading(point: &json::Point<'_>) -> Option<String> {
    let value = match point.value.as_ref()? {
        json::Number::Single(number) => number.to_string(),
        json::Number::Word(number) => number.to_string(),
        json::Number::Decimal(number) => number.get().to_owned(),
    };
    Some(format!("{value} {}", point.unit.unwrap_or_default()))
}

fn row(html: &mut String, cells: &[&str]) {
    html.push_str("<tr>");
    for cell in cells {
        html.push_str("<td>");
        escape(html, cell);
    }
    html.push('\n');
}

/// Adds text so that it stays text.
pub(super) fn escape(html: &mut String, text: &str) {
    for character in text.chars() {
        match character {
            '&' => html.push_str("&amp;"),
            '<' => html.push_str("&lt;"),
            '>' => html.push_str("&gt;"),
            '"' => html.push_str("&quot;"),
            '\'' => html.push_str("&#39;"),
            other => html.push(other),
        }
    }
}

const HEAD: &str = "<!DOCTYPE html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n<title>metergate</title>\n\
    <meta name=\"viewport\" content=\"width=device-width\">\n<link rel=\"stylesheet\" href=\"/style.css\">\n";

/// The page's looks.
pub(super) const STYLE: &str = "body{font-family:sans-serif;margin:1em}\ntable{border-collapse:collapse;margin:1em 0}\n\
    th,td{padding:.3em .8em;text-align:left;border-bottom:1px solid #ccc}\n";
