//! The table of clients: a row for each address at each listener, the busiest first, then those that left within the
//! last hour.

use std::collections::BTreeMap;
use std::time::Duration;

use maud::{Markup, html};

use super::format::{self, NO_DATA};
use super::layout::{ago, cell, head};
use crate::endpoint::{ClientAddress, Endpoint};
use crate::modbus::pdu::ExceptionCode;
use crate::status::{Client, DepartedClient, Status};

/// The connections of one address to one listener, together.
pub(super) struct Row {
    address: ClientAddress,
    listener: Endpoint,
    connections: usize,
    connected_ms: u64,
    last_request_ms: Option<u64>,
    requests_per_second: Option<f64>,
    requests: u64,
    hits: u64,
    misses: u64,
    /// Of each connection.
    answer_times_ms: Vec<f64>,
    exceptions: BTreeMap<Option<u8>, u64>,
}

/// One for each address at each listener, the busiest first.
pub(super) fn rows(status: &Status<'_>) -> Vec<Row> {
    let mut rows: BTreeMap<(ClientAddress, Endpoint), Row> = BTreeMap::new();
    for client in &status.clients {
        let key = (client.client.client_address(), client.listener.clone());
        rows.entry(key).or_insert_with_key(|key| Row::new(key.clone())).add(client);
    }
    let mut rows: Vec<_> = rows.into_values().collect();
    let rate = |row: &Row| row.requests_per_second.unwrap_or_default();
    rows.sort_by(|one, other| {
        rate(other).total_cmp(&rate(one)).then_with(|| other.requests.cmp(&one.requests))
    });
    rows
}

impl Row {
    fn new((address, listener): (ClientAddress, Endpoint)) -> Self {
        Self {
            address,
            listener,
            connections: 0,
            connected_ms: 0,
            last_request_ms: None,
            requests_per_second: None,
            requests: 0,
            hits: 0,
            misses: 0,
            answer_times_ms: Vec::new(),
            exceptions: BTreeMap::new(),
        }
    }

    fn add(&mut self, client: &Client) {
        self.connections += 1;
        self.connected_ms = self.connected_ms.max(client.connected_ms);
        self.last_request_ms = match (self.last_request_ms, client.last_request_ms) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        };
        self.requests_per_second = match (self.requests_per_second, client.requests_per_second) {
            (Some(one), Some(other)) => Some(one + other),
            (one, other) => one.or(other),
        };
        self.requests += client.requests.requests;
        self.hits += client.requests.snapshot_hits;
        self.misses += client.requests.snapshot_misses;
        self.answer_times_ms.extend(client.answer_time_ms);
        for exception in &client.requests.exceptions {
            *self.exceptions.entry(exception.code).or_default() += exception.count;
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "there are few connections")]
    fn answer_time_ms(&self) -> Option<f64> {
        let times = &self.answer_times_ms;
        (!times.is_empty()).then(|| times.iter().sum::<f64>() / times.len() as f64)
    }
}

pub(super) fn section(rows: &[Row], departed: &[DepartedClient]) -> Markup {
    let (shown, left_out) = rows.split_at(rows.len().min(MOST_ROWS));
    let mut gone: Vec<_> = departed.iter().collect();
    gone.sort_by_key(|one| one.left_ms);
    let (gone, gone_too) = gone.split_at(gone.len().min(MOST_ROWS));
    html! {
        section id="connected" aria-labelledby="clients" {
            h2 id="clients" { "Clients" }
            @if shown.is_empty() { p class="empty" { "No client is connected." } }
            @if !shown.is_empty() || !gone.is_empty() {
                table class="rows clients" role="table" aria-labelledby="clients" {
                    thead role="rowgroup" {
                        tr role="row" {
                            (head("Client")) (head("By listener")) (head("Requests")) (head("From snapshot"))
                            (head("Response time")) (head("Exceptions")) (head("Last request"))
                        }
                    }
                    tbody role="rowgroup" {
                        @for row in shown { (markup(row)) }
                        @for client in gone { (departed_row(client)) }
                    }
                }
            }
            @if !left_out.is_empty() {
                p class="note" { "And " (format::counted(left_out.len(), "client", "clients")) " more." }
            }
            @if !gone_too.is_empty() {
                p class="note" {
                    "And " (format::counted(gone_too.len(), "client", "clients")) " more that left within the last hour: "
                    a href="/api/v1/clients" { "JSON" } "."
                }
            }
        }
    }
}

fn markup(row: &Row) -> Markup {
    let no_data = || NO_DATA.to_owned();
    let millis = |millis: u64| Duration::from_millis(millis);
    html! {
        tr role="row" {
            th role="rowheader" scope="row" {
                (row.address)
                @if row.connections > 1 { " (" (row.connections) " connections)" }
                span class="sub" { "for " (format::span(millis(row.connected_ms))) }
            }
            (cell("By listener", &row.listener.to_string(), None))
            (cell(
                "Requests",
                &row.requests_per_second.map_or_else(no_data, format::rate),
                Some(&format!("{} in all", format::count(row.requests))),
            ))
            (cell("From snapshot", &share(row.hits, row.misses).map_or_else(no_data, format::percent), None))
            (cell("Response time", &row.answer_time_ms().map_or_else(no_data, format::millis), None))
            (exceptions(row.exceptions.iter().map(|(code, count)| (*code, *count))))
            (cell(
                "Last request",
                &row.last_request_ms.map(millis).map_or_else(|| "none yet".to_owned(), ago),
                None,
            ))
        }
    }
}

fn exceptions(counted: impl ExactSizeIterator<Item = (Option<u8>, u64)>) -> Markup {
    html! {
        td role="cell" {
            span class="cap" aria-hidden="true" { "Exceptions" }
            span class="held" {
                @if counted.len() == 0 { "none" }
                @for (code, count) in counted {
                    span class="line" { (format::count(count)) " × " (exception(code)) }
                }
            }
        }
    }
}

/// A client that has left: when, and its requests.
fn departed_row(client: &DepartedClient) -> Markup {
    let requests = &client.requests;
    html! {
        tr role="row" class="gone" {
            th role="rowheader" scope="row" {
                (client.client)
                @if client.connections > 1 { " (" (format::count(client.connections)) " connections)" }
                span class="sub" { "left " (ago(Duration::from_millis(client.left_ms))) }
            }
            (cell("By listener", &client.listener.to_string(), None))
            (cell("Requests", &format!("{} in all", format::count(requests.requests)), None))
            (cell("From snapshot", &share(requests.snapshot_hits, requests.snapshot_misses).map_or_else(|| NO_DATA.to_owned(), format::percent), None))
            (cell("Response time", "–", None))
            (exceptions(requests.exceptions.iter().map(|one| (one.code, one.count))))
            (cell("Last request", "left", None))
        }
    }
}

/// Share of reads answered without the line; `None`: nothing was read.
#[expect(clippy::cast_precision_loss, reason = "a counter beyond 2^53 is not met")]
fn share(hits: u64, misses: u64) -> Option<f64> {
    let reads = hits + misses;
    (reads > 0).then(|| hits as f64 / reads as f64)
}

fn exception(code: Option<u8>) -> String {
    code.map_or_else(
        || "a code the standard does not have".to_owned(),
        |code| ExceptionCode(code).to_string(),
    )
}

/// Rows the page has room for.
const MOST_ROWS: usize = 20;
