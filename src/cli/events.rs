//! `events`: what happened on the running gateway, with beginning and duration, in local time.

use std::fmt::Write as _;
use std::time::Duration;

use super::args::gateway::Events;
use super::command_error::CommandError;
use super::exit::Exit;
use super::gateway_client::GatewayClient;
use super::output;
use crate::events::{Event, Span};
use crate::runtime::timestamp::local;

/// Prints the list of events, the last begun last.
pub async fn events(args: &Events) -> Exit {
    match list(args).await {
        Ok(exit) => exit,
        Err(stop) => stop.report(),
    }
}

async fn list(args: &Events) -> Result<Exit, CommandError> {
    let gateway = GatewayClient::find(&args.location)?;
    let json = gateway.page(&format!("/api/v1/event-log?most={}", args.most)).await?;
    if args.json {
        return Ok(output::print(&json));
    }
    let mut events: Vec<Event> = serde_json::from_slice(&json).map_err(|error| {
        CommandError::Failed(
            Exit::CannotStart,
            format!("{} does not answer as a gateway does: {error}", gateway.shown()),
        )
    })?;
    events.reverse();
    Ok(output::print(table(&events).as_bytes()))
}

/// A line for each event.
fn table(events: &[Event]) -> String {
    let mut text = String::new();
    for event in events {
        let lasted = match (event.end, event.seconds) {
            (None, _) => "goes on".to_owned(),
            (Some(_), Some(seconds)) => Span(Duration::from_secs(seconds)).to_string(),
            (Some(_), None) => String::new(),
        };
        let begin = local(event.begin);
        let _written = writeln!(
            text,
            "{begin}  {lasted:>12}  {:<13}  {}",
            event.kind.as_str(),
            on_one_line(&what(event))
        );
    }
    text
}

/// What it is about, and what happened.
fn what(event: &Event) -> String {
    let mut about = Vec::new();
    if let Some(bus) = &event.bus {
        about.push(format!("bus {bus}"));
    }
    if let Some(unit) = event.unit {
        let name = event.name.as_ref().map(|name| format!(" ({name})")).unwrap_or_default();
        about.push(format!("unit {unit}{name}"));
    }
    if let Some(client) = &event.client {
        about.push(format!("client {client}"));
    }
    if about.is_empty() { event.text.clone() } else { format!("{}: {}", about.join(", "), event.text) }
}

/// Text from elsewhere with nothing in it that a terminal acts on.
fn on_one_line(text: &str) -> String {
    String::from_utf8_lossy(&output::escape(text.replace('\n', " ").as_bytes())).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::EventKind;

    #[test]
    fn a_line_says_when_how_long_what_and_where() {
        let event = Event {
            id: 1,
            kind: EventKind::Outage,
            bus: Some("riser-a".into()),
            unit: Some(7),
            name: Some("Tenant 7\x1b[2J".into()),
            client: None,
            subject: None,
            writes: None,
            refused: None,
            begin: "2026-11-22T02:13:50Z".parse().expect("an instant"),
            end: Some("2026-11-22T02:41:02Z".parse().expect("an instant")),
            seconds: Some(1632),
            text: "off-line".into(),
        };
        let text = table(&[event]);
        let (begin, rest) = text.split_at(19);
        assert_eq!(begin.len(), "2026-11-22 03:13:50".len());
        assert!(rest.starts_with("   27 min 12 s  outage         bus riser-a, unit 7 (Tenant 7"), "{rest}");
        assert!(!rest.contains('\x1b'), "{rest:?}");
    }
}
