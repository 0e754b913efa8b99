//! Responses with an end: pages, JSON, metrics, and the states for supervisors.
//!
//! Owns their routes. A part of a path is compared with known names and never becomes the name of a file.

use std::fmt;
use std::sync::Arc;

use axum::Router;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use serde::{Deserialize, Serialize};

use super::renderings::{Page, Renderings};
use super::sources::{SharedEvents, SharedHistory};
use crate::events::Event;
use crate::page::{self, ASSETS, MeterView, OverviewView, Part, Refresh, ViewQuery};
use crate::runtime::Process;
use crate::runtime::timestamp::local;
use crate::status::DoctorReport;
use crate::status::History;
use crate::status::{self as model, Depth, metrics};
use crate::status::{ErrorBody, ListedEvent, RecordFilter, Status};
use crate::status::{Published, PublishedBus, PublishedUnit};

/// The sources of all documents.
#[derive(Clone)]
pub struct Documents {
    published: Arc<dyn Fn() -> Published + Send + Sync>,
    history: SharedHistory,
    events: SharedEvents,
    renderings: Arc<Renderings>,
}

impl fmt::Debug for Documents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Documents").finish_non_exhaustive()
    }
}

impl Documents {
    /// Of what `published` returns, and of the history.
    #[must_use]
    pub fn new(
        published: impl Fn() -> Published + Send + Sync + 'static,
        history: SharedHistory,
        events: SharedEvents,
    ) -> Self {
        Self { published: Arc::new(published), history, events, renderings: Arc::default() }
    }

    /// Their routes, and the answer to every other path.
    pub fn router(&self) -> Router {
        Router::new()
            .route("/", get(overview_html))
            .route("/units/{id}", get(meter_html))
            .route("/assets/{name}", get(asset))
            .route("/health", get(async || "alive\n"))
            .route("/ready", get(ready))
            .route("/metrics", get(prometheus))
            .route("/api/v1/status", get(status))
            .route("/api/v1/buses", get(buses))
            .route("/api/v1/buses/{name}", get(bus))
            .route("/api/v1/buses/{name}/history", get(bus_history))
            .route("/api/v1/units", get(units))
            .route("/api/v1/units/{id}", get(unit))
            .route("/api/v1/units/{id}/history", get(unit_history))
            .route("/api/v1/findings", get(findings))
            .route("/api/v1/event-log", get(event_log))
            .route("/api/v1/listeners", get(listeners))
            .route("/api/v1/brokers", get(brokers))
            .route("/api/v1/clients", get(clients))
            .route("/api/v1/checkup", get(checkup))
            .fallback(not_found)
            .with_state(self.clone())
    }

    /// The page, rendered at most once a second.
    fn page(&self, page: Page, published: &Published, render: impl FnOnce(&History) -> String) -> Response {
        let render = || self.history.with(|history| render(history));
        Html(self.renderings.get(page, published, render)).into_response()
    }

    fn listed_events(&self) -> Vec<ListedEvent> {
        self.events.with(|events| {
            let listed = |event: &Event| ListedEvent { begin: local(event.begin), event: event.clone() };
            events.newest_first().take(EVENTS_FOR_PAGES).map(listed).collect()
        })
    }

    pub(super) fn with<R>(&self, read: impl FnOnce(&Published, &History) -> R) -> R {
        let published = (self.published)();
        self.history.with(|history| read(&published, history))
    }

    /// `/api/v1/status`, on one line.
    pub(super) fn status(&self) -> String {
        self.with(|published, _| to_json(&headlines(published)))
    }
}

/// `/api/v1/status`.
pub(super) fn headlines(published: &Published) -> Status<'_> {
    model::status(published, |_| Depth::Headline)
}

type Segment = Result<Path<String>, PathRejection>;

#[derive(Debug, Deserialize)]
struct EventQuery {
    most: Option<usize>,
}

/// Events in the JSON where the query does not say how many.
const EVENTS_SHOWN: usize = 200;

/// Events from which a page chooses those it shows.
const EVENTS_FOR_PAGES: usize = 500;

#[derive(Debug, Deserialize)]
struct PageQuery {
    part: Option<String>,
    bus: Option<String>,
    transactions: Option<String>,
    refresh: Option<String>,
}

impl PageQuery {
    fn part(&self) -> Part {
        if self.part.as_deref() == Some("main") { Part::Main } else { Part::Page }
    }

    fn meter_view(&self) -> MeterView {
        let records = match self.transactions.as_deref() {
            Some("failed") => RecordFilter::Failed,
            Some(_) | None => RecordFilter::All,
        };
        MeterView { records, refresh: Refresh::from_word(self.refresh.as_deref()) }
    }
}

/// Why there is no document.
struct Missing(StatusCode, &'static str);

impl IntoResponse for Missing {
    fn into_response(self) -> Response {
        let Self(status, error) = self;
        (status, json(&ErrorBody { error: error.to_owned() })).into_response()
    }
}

async fn overview_html(
    State(documents): State<Documents>,
    Query(query): Query<PageQuery>,
    Query(view): Query<ViewQuery>,
) -> Response {
    let (published, part, view) = ((documents.published)(), query.part(), OverviewView::new(&view));
    documents.page(Page::Overview { view: view.clone(), part }, &published, |history| {
        let depth = |_: &PublishedUnit<'_>| Depth::Headline;
        let mut status = model::status_for_pages(&published, history, depth, RecordFilter::All);
        status.events = documents.listed_events();
        page::overview(&status, &view, part)
    })
}

async fn meter_html(
    State(documents): State<Documents>,
    id: Segment,
    Query(query): Query<PageQuery>,
) -> Response {
    let (published, part, view) = ((documents.published)(), query.part(), query.meter_view());
    let shown = match find_unit(&published, id, &query) {
        Ok(unit) => unit,
        Err(Missing(code, why)) => {
            let status = model::status(&published, |_| Depth::Counters);
            let text = format!("{}.", sentence(why));
            return (code, Html(page::notice(&status, "No such meter", &text, part))).into_response();
        }
    };
    let (bus, unit) = (shown.bus.id, shown.settings.id);
    documents.page(Page::Unit { bus, unit, view, part }, &published, |history| {
        let depth = |other: &PublishedUnit<'_>| {
            let is_shown = other.settings.id == unit && other.bus.id == bus;
            if is_shown { Depth::Detail } else { Depth::Counters }
        };
        let mut status = model::status_for_pages(&published, history, depth, view.records);
        status.events = documents.listed_events();
        let shown = status.units.iter().find(|unit| unit.detail.is_some());
        shown.map(|unit| page::meter(&status, unit, view, part)).unwrap_or_default()
    })
}

fn sentence(words: &str) -> String {
    let mut rest = words.chars();
    rest.next().map(|first| first.to_uppercase().chain(rest).collect()).unwrap_or_default()
}

/// A browser may keep a file only under the address that has its content's hash.
async fn asset(uri: Uri) -> Response {
    let Some(asset) = ASSETS.iter().find(|asset| asset.path == uri.path()) else {
        return not_found(uri).await;
    };
    let response = ([(header::CONTENT_TYPE, asset.content_type)], asset.body);
    if uri.query() == Some(&format!("v={:016x}", asset.hash)) {
        let kept = [(header::CACHE_CONTROL, "private, max-age=31536000, immutable")];
        return (kept, response).into_response();
    }
    response.into_response()
}

async fn ready(State(documents): State<Documents>) -> Response {
    if documents.with(|published, _| published.is_ready()) {
        return "ready\n".into_response();
    }
    (StatusCode::SERVICE_UNAVAILABLE, "not ready: no port is open with a unit that answers\n").into_response()
}

async fn prometheus(State(documents): State<Documents>, headers: HeaderMap) -> Response {
    let accepted = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let format = metrics::ExpositionFormat::accepted(&accepted.collect::<Vec<_>>().join(","));
    let text = documents.with(|published, history| {
        let status = Status {
            findings: model::findings(published, history),
            process: Process::read(),
            ..model::status(published, |_| Depth::Metrics)
        };
        metrics::exposition(&status, format)
    });
    ([(header::CONTENT_TYPE, format.content_type()), (header::VARY, "accept")], text).into_response()
}

async fn status(State(documents): State<Documents>) -> Response {
    documents.with(|published, _| json(&headlines(published)))
}

async fn buses(State(documents): State<Documents>) -> Response {
    documents.with(|published, _| {
        json(&published.buses.iter().map(|one| model::bus(one, published.at)).collect::<Vec<_>>())
    })
}

async fn bus(State(documents): State<Documents>, name: Segment) -> Result<Response, Missing> {
    documents.with(|published, _| Ok(json(&model::bus(find_bus(published, name)?, published.at))))
}

async fn bus_history(State(documents): State<Documents>, name: Segment) -> Result<Response, Missing> {
    documents.with(|published, history| {
        Ok(json(&model::bus_history(find_bus(published, name)?, history, published.at)))
    })
}

async fn units(State(documents): State<Documents>) -> Response {
    documents.with(|published, _| json(&headlines(published).units))
}

async fn unit(
    State(documents): State<Documents>,
    id: Segment,
    Query(query): Query<PageQuery>,
) -> Result<Response, Missing> {
    documents.with(|published, _| {
        Ok(json(&model::unit(&find_unit(published, id, &query)?, Depth::Detail, published.at)))
    })
}

async fn unit_history(
    State(documents): State<Documents>,
    id: Segment,
    Query(query): Query<PageQuery>,
) -> Result<Response, Missing> {
    documents.with(|published, history| {
        Ok(json(&model::unit_history(&find_unit(published, id, &query)?, history, published.at)))
    })
}

async fn findings(State(documents): State<Documents>) -> Response {
    documents.with(|published, history| json(&model::findings(published, history)))
}

async fn event_log(State(documents): State<Documents>, Query(query): Query<EventQuery>) -> Response {
    let most = query.most.unwrap_or(EVENTS_SHOWN);
    documents.events.with(|events| json(&events.newest_first().take(most).collect::<Vec<_>>()))
}

async fn listeners(State(documents): State<Documents>) -> Response {
    documents.with(|published, _| {
        json(&published.listeners.iter().map(|one| model::listener(published, one)).collect::<Vec<_>>())
    })
}

async fn brokers(State(documents): State<Documents>) -> Response {
    documents.with(|published, _| {
        json(&published.brokers.iter().map(|one| model::broker(one, published.at)).collect::<Vec<_>>())
    })
}

async fn clients(State(documents): State<Documents>) -> Response {
    documents.with(|published, _| json(&model::clients(published)))
}

async fn checkup(State(documents): State<Documents>) -> Response {
    documents.with(|published, history| json(&DoctorReport::of(published, history)))
}

async fn not_found(uri: Uri) -> Response {
    if uri.path().starts_with("/api/v1/") {
        return Missing(StatusCode::NOT_FOUND, "no such page; docs/http-api.md has those there are")
            .into_response();
    }
    (StatusCode::NOT_FOUND, "no such page; / has those there are\n").into_response()
}

fn find_bus(published: &Published, name: Segment) -> Result<&PublishedBus, Missing> {
    let bus = name.ok().and_then(|Path(name)| published.buses.iter().find(|bus| bus.name() == name));
    bus.ok_or(Missing(StatusCode::NOT_FOUND, "no bus has this name"))
}

/// The unit with this identifier, on the bus that the query names, if it does.
fn find_unit<'a>(
    published: &'a Published,
    id: Segment,
    query: &PageQuery,
) -> Result<PublishedUnit<'a>, Missing> {
    let alias: Option<u8> = id.ok().and_then(|Path(id)| id.parse().ok());
    let alias = alias.ok_or(Missing(StatusCode::NOT_FOUND, "units have identifiers from 1 to 255"))?;
    let fits = |unit: &PublishedUnit<'_>| {
        unit.alias == alias && query.bus.as_ref().is_none_or(|name| unit.bus.name() == name)
    };
    let mut found = published.units().filter(fits);
    match (found.next(), found.next()) {
        (Some(unit), None) => Ok(unit),
        (None, _) => Err(Missing(StatusCode::NOT_FOUND, "no unit has this identifier")),
        (Some(_), Some(_)) => {
            Err(Missing(StatusCode::CONFLICT, "units of several buses have this identifier; add ?bus=NAME"))
        }
    }
}

fn json(value: &impl Serialize) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], to_json(value)).into_response()
}

fn to_json(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("the keys of the model are text and its maps have no others")
}
