//! The status address: pages, JSON, metrics and streams over HTTP.
//!
//! Owns the connections and their limits, who may ask, the routes, and what is read of a query. It never changes
//! anything, never uses a serial line, and knows no rule of what is shown: that is `status`, and `page` lays it out.
//! A client that does not ask, read or leave costs the others nothing. Source: docs/http-api.md; RFC 9110 and
//! RFC 9112, with hyper doing the framing and axum the routing.

mod documents;
mod guard;
mod renderings;
mod report;
mod server;
mod sources;
mod streams;

use axum::Router;

use crate::config::StatusSettings;

pub use documents::Documents;
pub use server::{
    HEADER_TIMEOUT, MAX_CONNECTIONS, MAX_HEADER_BYTES, MAX_HEADERS, MAX_REQUESTS, RESPONSE_TIMEOUT, run,
};
pub use sources::{
    BrokerSource, BusSource, ListenerSource, SharedEvents, SharedHistory, SharedSources, Sources,
};
pub use streams::{EVENT_PERIOD, MAX_VIEWERS};

/// Everything the status address answers, to those who may ask.
pub fn router(
    sources: &SharedSources,
    history: &SharedHistory,
    events: &SharedEvents,
    settings: StatusSettings,
) -> Router {
    let published = {
        let sources = sources.clone();
        move || sources.load().published()
    };
    let documents = Documents::new(published, history.clone(), events.clone());
    let streams = streams::router(sources.clone(), documents.clone());
    guard::guarded(documents.router().merge(streams), settings)
}
