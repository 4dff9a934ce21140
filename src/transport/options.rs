//! `OPTIONS`: what an address takes (RFC 9110 §9.3.7).
//!
//! Invariant: a preflight, by which a browser asks for a page, is not answered here but by the
//! layer for CORS.

use std::convert::Infallible;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, Method, Request, StatusCode, Uri, header};
use axum::response::Response;
use tower::ServiceExt as _;

use super::cloud_events::webhook;
use super::publish;
use crate::quota::QuotaRules;

/// What an address takes that is not one of the gateway's, and the gateway as a whole (`*`).
const EVERYTHING: HeaderValue = HeaderValue::from_static("GET, HEAD, POST, OPTIONS");
/// What a call of gRPC takes.
const CALL: HeaderValue = HeaderValue::from_static("POST, OPTIONS");

/// Does this ask what an address takes, and not for a page whether it may?
pub(super) fn is_plain<B>(request: &Request<B>) -> bool {
    // A browser that asks for a page names its origin and the method that it means to use.
    let is_preflight = || {
        let headers = request.headers();
        headers.contains_key(header::ORIGIN)
            && headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD)
    };
    *request.method() == Method::OPTIONS && !is_preflight()
}

/// Asks the routes themselves. They get nothing of the request but its address, so none of them
/// does anything.
pub(super) async fn answer(
    routes: Router,
    uri: Uri,
    asked: &HeaderMap,
    rules: &QuotaRules,
) -> Result<Response, Infallible> {
    let takes_events = publish::takes_events(uri.path());
    // `*` is the gateway as a whole.
    let allow = match uri.path() {
        "*" => EVERYTHING,
        _ => allowed(&routes.oneshot(bare_request(uri)).await?),
    };

    // All that is asked for stands in the head.
    let mut answer = Response::new(Body::empty());
    *answer.status_mut() = StatusCode::NO_CONTENT;
    answer.headers_mut().insert(header::ALLOW, allow);
    if takes_events {
        webhook::agree(asked, &mut answer, rules);
    }
    Ok(answer)
}

fn bare_request(uri: Uri) -> Request<Body> {
    let mut request = Request::new(Body::empty());
    *request.method_mut() = Method::OPTIONS;
    *request.uri_mut() = uri;
    request
}

fn allowed(routed: &Response) -> HeaderValue {
    let listed = routed.headers().get(header::ALLOW);
    match listed.and_then(|methods| methods.to_str().ok()) {
        // The router lists what it has; it knows nothing of this answer.
        Some(methods) => HeaderValue::try_from(format!("{methods}, OPTIONS")).unwrap_or(EVERYTHING),
        None if routed.status() == StatusCode::NOT_FOUND => EVERYTHING,
        // Everything else of the gateway's own looks at the path alone.
        None => CALL,
    }
}
