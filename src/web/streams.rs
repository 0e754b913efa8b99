//! Responses made while they are read: events, traces and captures.
//!
//! Owns how many are read at once. The next piece is made when the last has been taken, so nothing piles up; a viewer
//! that reads slowly delays nothing, and its stream says how many events it missed.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use std::vec::IntoIter;

use axum::Router;
use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::{StatusCode, header};
use axum::response::sse::{Event as SseEvent, Sse};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use bytes::Bytes;
use futures_util::stream::{Stream, StreamExt, unfold};
use serde::Deserialize;
use tokio::sync::Semaphore;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout_at};

use super::documents::Documents;
use super::report::report;
use super::sources::SharedSources;
use crate::capture::Capture;
use crate::endpoint::ClientAddress;
use crate::trace::{self, Ending, Filter, Origin};
use crate::traffic::{Followed, Follower, TrafficEvent, UnitDirectory};

/// Marks a response without a known end, in its extensions.
#[derive(Clone, Copy, Debug)]
pub(super) struct Endless;

#[derive(Clone)]
struct Streams {
    sources: SharedSources,
    documents: Documents,
    viewers: Arc<Semaphore>,
}

/// The routes of traces, captures, events and the report.
pub(super) fn router(sources: SharedSources, documents: Documents) -> Router {
    Router::new()
        .route("/capture.pcapng", get(capture))
        .route("/api/v1/trace", get(follow))
        .route("/api/v1/events", get(events))
        .route(
            "/api/v1/report",
            get(async |State(streams): State<Streams>| report(&streams.sources, &streams.documents)),
        )
        .with_state(Streams { sources, documents, viewers: Arc::new(Semaphore::new(MAX_VIEWERS)) })
}

impl Streams {
    /// A response that takes a viewer's place until its stream is dropped, if one is free.
    fn respond<P: Send + 'static, R: IntoResponse>(
        &self,
        stream: impl Stream<Item = P> + Send + 'static,
        respond: impl FnOnce(BoxedStream<P>) -> R,
    ) -> Response {
        let Ok(place) = Arc::clone(&self.viewers).try_acquire_owned() else {
            let text = "too many viewers at the moment; try again later\n";
            return (StatusCode::SERVICE_UNAVAILABLE, text).into_response();
        };
        let stream = stream.map(move |piece| {
            let _held = &place;
            Ok(piece)
        });
        let mut response = respond(stream.boxed()).into_response();
        response.extensions_mut().insert(Endless);
        response
    }
}

type BoxedStream<P> = futures_util::stream::BoxStream<'static, Result<P, Infallible>>;

/// The status at once, and then every [`EVENT_PERIOD`].
async fn events(State(streams): State<Streams>) -> Response {
    let mut due = interval(EVENT_PERIOD);
    due.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let events = unfold((due, streams.documents.clone()), async |(mut due, documents)| {
        due.tick().await;
        let event = SseEvent::default().data(documents.status());
        Some((event, (due, documents)))
    });
    streams.respond(events, |events| ([(header::CACHE_CONTROL, "no-store")], Sse::new(events)))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct CaptureQuery {
    /// How long to record after the kept traffic.
    seconds: Option<u64>,
}

async fn capture(
    State(streams): State<Streams>,
    query: Result<Query<CaptureQuery>, QueryRejection>,
) -> Response {
    let seconds = match query {
        Ok(Query(query)) => query.seconds,
        Err(rejection) => return bad_request(&problem_of(&rejection)),
    };
    if seconds.is_some_and(|seconds| !(1..=CAPTURE_SECONDS_MAX).contains(&seconds)) {
        return bad_request(&format!("seconds is a number from 1 to {CAPTURE_SECONDS_MAX}"));
    }
    let (kept, follower) = streams.sources.load().traffic.follow();
    let capturing = Capturing {
        capture: Capture::default(),
        head: Capture::head(),
        sources: streams.sources.clone(),
        kept: kept.into_iter(),
        last: None,
        follower,
        until: seconds.map(|seconds| Instant::now() + Duration::from_secs(seconds)),
    };
    let pieces = unfold(capturing, async |mut capturing| Some((capturing.next().await?, capturing)));
    streams.respond(pieces, |pieces| {
        ([(header::CONTENT_TYPE, "application/x-pcapng")], Body::from_stream(pieces))
    })
}

/// A capture that is being read.
struct Capturing {
    capture: Capture,
    /// Not read yet.
    head: Vec<u8>,
    sources: SharedSources,
    kept: IntoIter<Arc<TrafficEvent>>,
    last: Option<Arc<TrafficEvent>>,
    follower: Follower,
    /// `None`: only what is kept.
    until: Option<Instant>,
}

impl Capturing {
    async fn next(&mut self) -> Option<Bytes> {
        let mut piece = std::mem::take(&mut self.head);
        for event in self.kept.by_ref() {
            piece.extend(self.capture.encode(&event, &self.sources.load().names));
            self.last = Some(event);
            if piece.len() >= PIECE_SIZE {
                break;
            }
        }
        while piece.is_empty() {
            piece = match timeout_at(self.until?, self.follower.next()).await.ok()? {
                Followed::Event(event) => {
                    let piece = self.capture.encode(&event, &self.sources.load().names);
                    self.last = Some(event);
                    piece
                }
                Followed::Lost(count) => {
                    self.last.as_ref().map(|last| self.capture.encode_loss(count, last)).unwrap_or_default()
                }
            };
        }
        Some(piece.into())
    }
}

/// The query of a trace.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct TraceQuery {
    unit: Option<u8>,
    client: Option<ClientAddress>,
    outcome: Option<Ending>,
    bus: Option<String>,
    #[serde(default)]
    origin: Origin,
    #[serde(default)]
    format: Format,
    #[serde(default)]
    kept: Kept,
    #[serde(default)]
    utc_offset: UtcOffset,
}

/// How many seconds the reader's time is ahead of UTC.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(try_from = "i32")]
struct UtcOffset(i32);

impl TryFrom<i32> for UtcOffset {
    type Error = String;

    fn try_from(seconds: i32) -> Result<Self, String> {
        let is_offset = (-UTC_OFFSET_MAX..=UTC_OFFSET_MAX).contains(&seconds);
        let wrong = || format!("utc_offset: at most {UTC_OFFSET_MAX} s from UTC");
        is_offset.then_some(Self(seconds)).ok_or_else(wrong)
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Format {
    #[default]
    Json,
    Text,
}

/// Whether the kept traffic comes before the live one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
enum Kept {
    #[default]
    #[serde(rename = "0")]
    Skipped,
    #[serde(rename = "1")]
    First,
}

async fn follow(
    State(streams): State<Streams>,
    query: Result<Query<TraceQuery>, QueryRejection>,
) -> Response {
    let query = match query {
        Ok(Query(query)) => query,
        Err(rejection) => return bad_request(&problem_of(&rejection)),
    };
    let sources = streams.sources.load();
    let bus = match &query.bus {
        Some(wanted) => {
            let Some(bus) = sources.names.find_bus(wanted) else {
                let known = sources.names.buses().map(|(_, name)| name).collect::<Vec<_>>().join(", ");
                return bad_request(&format!("no bus has the name {wanted}; allowed: {known}"));
            };
            Some(bus)
        }
        None => None,
    };
    let (kept, follower) = sources.traffic.follow();
    let tracing = Tracing {
        filter: Filter {
            bus,
            unit: query.unit,
            client: query.client,
            outcome: query.outcome,
            origin: query.origin,
        },
        format: query.format,
        utc_offset: query.utc_offset,
        kept: if query.kept == Kept::First { kept } else { Vec::new() }.into_iter(),
        follower,
        sources: streams.sources.clone(),
    };
    let kind = match query.format {
        Format::Text => "text/plain; charset=utf-8",
        Format::Json => "application/x-ndjson",
    };
    let lines = unfold(tracing, async |mut tracing| Some((tracing.next().await, tracing)));
    streams.respond(lines, |lines| ([(header::CONTENT_TYPE, kind)], Body::from_stream(lines)))
}

/// A trace that is being read.
struct Tracing {
    filter: Filter,
    format: Format,
    utc_offset: UtcOffset,
    kept: IntoIter<Arc<TrafficEvent>>,
    follower: Follower,
    sources: SharedSources,
}

impl Tracing {
    async fn next(&mut self) -> Bytes {
        loop {
            let followed = match self.kept.next() {
                Some(event) => Followed::Event(event),
                None => self.follower.next().await,
            };
            let line = match (followed, self.format) {
                // A reload may give units other names.
                (Followed::Event(event), _) => self.line(&event, &self.sources.load().names),
                (Followed::Lost(count), Format::Text) => {
                    Some(format!("{count} events are missing here: the reader was too slow"))
                }
                (Followed::Lost(count), Format::Json) => Some(trace::lost(count)),
            };
            if let Some(line) = line {
                return (line + "\n").into();
            }
        }
    }

    fn line(&self, event: &TrafficEvent, names: &UnitDirectory) -> Option<String> {
        if !self.filter.passes(event, names) {
            return None;
        }
        match self.format {
            Format::Text => trace::line(event, names, |_| self.utc_offset.0),
            Format::Json => Some(trace::json(event, names)),
        }
    }
}

/// The wrong key, and its allowed values.
fn problem_of(rejection: &QueryRejection) -> String {
    let text = rejection.body_text();
    text.strip_prefix("Failed to deserialize query string: ").unwrap_or(&text).to_owned()
}

fn bad_request(why: &str) -> Response {
    (StatusCode::BAD_REQUEST, format!("{why}\n")).into_response()
}

/// Between two events of a stream.
pub const EVENT_PERIOD: Duration = Duration::from_secs(1);

/// Streams read at once: of [`super::MAX_CONNECTIONS`], so that pages and metrics keep theirs.
pub const MAX_VIEWERS: usize = 8;

/// The greatest distance of a time zone from UTC, in seconds; a day.
const UTC_OFFSET_MAX: i32 = 86_400;

/// Longest capture.
const CAPTURE_SECONDS_MAX: u64 = 600;

/// Bytes of what is kept that are handed on at once.
const PIECE_SIZE: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use axum::http::Uri;

    use super::*;

    fn read<Q: serde::de::DeserializeOwned>(query: &str) -> Result<Q, String> {
        let uri: Uri = format!("/?{query}").parse().unwrap();
        Query::try_from_uri(&uri).map(|Query(query)| query).map_err(|rejection| problem_of(&rejection))
    }

    #[test]
    fn a_key_or_a_word_that_means_nothing_is_refused() {
        assert_eq!(read::<CaptureQuery>("seconds=600").unwrap().seconds, Some(600));
        for wrong in ["seconds=", "seconds=-1", "second=1", "seconds=1&x", "seconds=1&seconds=2"] {
            assert!(read::<CaptureQuery>(wrong).is_err(), "{wrong}");
        }
        let query: TraceQuery =
            read("unit=3&client=10.0.0.7&outcome=failed&bus=riser%20a&format=text&kept=1").unwrap();
        assert_eq!((query.unit, query.bus.as_deref()), (Some(3), Some("riser a")));
        assert_eq!(
            (query.outcome, query.format, query.kept),
            (Some(Ending::Failed), Format::Text, Kept::First)
        );
        for wrong in ["unit=256", "unit=x", "client=me", "outcome=bad", "format=xml", "kept=2", "x=1"] {
            let said = read::<TraceQuery>(wrong).unwrap_err();
            let key = wrong.split('=').next().unwrap();
            assert!(said.starts_with(key) || said.contains(&format!("`{key}`")), "{wrong}: {said}");
        }
    }
}
