//! The table of MQTT brokers: whether each is there, and what is published or waits.

use std::time::Duration;

use maud::{Markup, html};

use super::format::{self, NO_DATA};
use super::layout::{cell, head};
use crate::status::Broker;

/// Nothing where no broker is configured.
pub(super) fn section(brokers: &[Broker<'_>]) -> Markup {
    html! {
        @if !brokers.is_empty() {
            section id="publishing" aria-labelledby="brokers" {
                h2 id="brokers" { "MQTT brokers" }
                table class="rows" role="table" aria-labelledby="brokers" {
                    thead role="rowgroup" {
                        tr role="row" {
                            (head("Broker")) (head("Connection")) (head("Messages")) (head("Waiting"))
                            (head("Dropped")) (head("Last error"))
                        }
                    }
                    tbody role="rowgroup" { @for broker in brokers { (row(broker)) } }
                }
            }
        }
    }
}

fn row(broker: &Broker<'_>) -> Markup {
    let rate = broker.published_per_second.map_or_else(|| NO_DATA.to_owned(), format::rate);
    let waiting = format::count(broker.queued as u64);
    let bytes = (broker.queued > 0)
        .then(|| format!("{} kB", format::count(broker.queued_bytes.div_ceil(1000) as u64)));
    html! {
        tr role="row" {
            th role="rowheader" scope="row" {
                (broker.broker)
                span class="sub" { "as " (broker.client_id) }
            }
            (cell("Connection", &connection(broker), Some(&broker.status_topic)))
            (cell("Messages", &rate, Some(&format!("{} in all", format::count(broker.published)))))
            (cell("Waiting", &waiting, bytes.as_deref()))
            (cell("Dropped", &format::count(broker.dropped), None))
            (cell("Last error", broker.last_error.as_deref().unwrap_or("none"), None))
        }
    }
}

fn connection(broker: &Broker<'_>) -> String {
    let span = |millis: u64| format::span(Duration::from_millis(millis));
    match (broker.connected_for_ms, broker.away_for_ms) {
        (Some(millis), _) => format!("connected for {}", span(millis)),
        (None, Some(millis)) => format!("away for {}", span(millis)),
        (None, None) => "connecting".to_owned(),
    }
}
