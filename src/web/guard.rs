//! Which requests are served, and the headers of every response.
//!
//! Owns the checks before any route: method, body, query, Host and token. Requests under a name of the web's are
//! refused where there is no token, or a page of the web could read this one through a browser (DNS rebinding).

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::Router;
use axum::body::{Body, HttpBody};
use axum::extract::{Request, State};
use axum::http::header::{self, HeaderName, HeaderValue};
use axum::http::{Method, StatusCode, Version};
use axum::middleware::{Next, from_fn_with_state, map_response};
use axum::response::{IntoResponse, Response};

use crate::config::{API_HEADER, StatusSettings};

/// The routes behind these checks.
pub(super) fn guarded(routes: Router, settings: StatusSettings) -> Router {
    routes.layer(from_fn_with_state(Arc::new(settings), check)).layer(map_response(add_headers))
}

async fn check(State(settings): State<Arc<StatusSettings>>, request: Request, next: Next) -> Response {
    match refusal(&request, &settings) {
        Some(refusal) => refusal.into_response(),
        None => next.run(request).await,
    }
}

async fn add_headers(mut response: Response) -> Response {
    let headers = response.headers_mut();
    for (name, value) in HEADERS {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
    response
}

/// Why a request is refused before any route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Refusal {
    Method,
    Body,
    Query,
    Host,
    Token,
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let challenge = [(header::WWW_AUTHENTICATE, "Basic realm=\"metergate\", charset=\"UTF-8\"")];
        match self {
            Self::Method => {
                let allow = [(header::ALLOW, "GET, HEAD")];
                (StatusCode::METHOD_NOT_ALLOWED, allow, "read only: GET and HEAD\n").into_response()
            }
            Self::Body => {
                (StatusCode::PAYLOAD_TOO_LARGE, "read only: a request has no body\n").into_response()
            }
            Self::Query => {
                (StatusCode::BAD_REQUEST, "the query is not UTF-8 in percent-encoding\n").into_response()
            }
            Self::Host => (
                StatusCode::MISDIRECTED_REQUEST,
                "Host must be an IP address or localhost unless a token is configured\n",
            )
                .into_response(),
            Self::Token => (
                StatusCode::UNAUTHORIZED,
                challenge,
                "a token is needed: as bearer token, or as password with any user name\n",
            )
                .into_response(),
        }
    }
}

fn refusal(request: &Request<Body>, settings: &StatusSettings) -> Option<Refusal> {
    let uri = request.uri();
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return Some(Refusal::Method);
    }
    if !request.body().is_end_stream() {
        return Some(Refusal::Body);
    }
    if uri.query().is_some_and(|query| !is_percent_encoded(query)) {
        return Some(Refusal::Query);
    }
    if OPEN_PATHS.contains(&uri.path()) {
        return None;
    }
    let Some(token) = &settings.token else {
        return (!is_own_host(request)).then_some(Refusal::Host);
    };
    let given = request.headers().get(header::AUTHORIZATION);
    let opens = given.is_some_and(|value| token.opens(value.as_bytes()));
    (!opens).then_some(Refusal::Token)
}

/// Whether every `%` begins an escape and the escapes are UTF-8. What reads the query is lenient: a name with a typing
/// error would be another name.
fn is_percent_encoded(query: &str) -> bool {
    let is_escape =
        |rest: &str| rest.as_bytes().get(..2).is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit));
    query.split('%').skip(1).all(is_escape)
        && percent_encoding::percent_decode_str(query).decode_utf8().is_ok()
}

/// Whether the request was addressed to an IP address or to localhost.
fn is_own_host(request: &Request<Body>) -> bool {
    let mut hosts = request.headers().get_all(header::HOST).iter();
    let host = match (hosts.next(), hosts.next()) {
        (Some(host), None) => host,
        (None, _) => return request.version() == Version::HTTP_10,
        (Some(_), Some(_)) => return false,
    };
    let Ok(host) = host.to_str() else { return false };
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) && !name.ends_with(':') => name,
        Some(_) | None => host,
    };
    let bare = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    name.eq_ignore_ascii_case("localhost")
        || host.parse::<SocketAddr>().is_ok()
        || bare.parse::<IpAddr>().is_ok()
}

/// Scripts, styles and data from here only, in no frame, never cached unless the route says otherwise.
const HEADERS: [(HeaderName, &str); 7] = [
    (HeaderName::from_static(API_HEADER), "1"),
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; \
         frame-ancestors 'none'; base-uri 'none'; form-action 'self'",
    ),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::CACHE_CONTROL, "no-store"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
];

/// For supervisors, who have neither the token nor the right name: one word, and no detail.
const OPEN_PATHS: [&str; 2] = ["/health", "/ready"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_with_a_broken_escape_is_told_from_a_good_one() {
        for good in ["", "bus=riser%20a", "bus=riser+a&x", "bus=%C3%A4"] {
            assert!(is_percent_encoded(good), "{good}");
        }
        for bad in ["bus=%f", "bus=%zz", "bus=%", "bus=%ff", "bus=%+1"] {
            assert!(!is_percent_encoded(bad), "{bad}");
        }
    }
}
