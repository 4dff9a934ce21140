//! The page `/admin`, and what it is made of.
//!
//! Invariants:
//! - the page shows nothing by itself: what it shows comes from the API, which asks for a right;
//! - nothing runs in it but its own files, and no other page may frame it.

use axum::http::{HeaderMap, HeaderName, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;

use crate::error::{Error, Result};
use crate::transport::access::RequestCaller;
use crate::transport::headers::set;
use crate::transport::problem::error_face;
use crate::transport::router::HttpRoute;

const PAGE: &str = include_str!("../../../clients/admin/index.html");
const FILES: [(&str, &str, &str); 3] = [
    (
        "/clients/admin/admin.css",
        "text/css; charset=utf-8",
        include_str!("../../../clients/admin/admin.css"),
    ),
    (
        "/clients/admin/admin.js",
        "text/javascript; charset=utf-8",
        include_str!("../../../clients/admin/admin.js"),
    ),
    (
        "/clients/admin/gateway.js",
        "text/javascript; charset=utf-8",
        include_str!("../../../clients/admin/gateway.js"),
    ),
];

const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
    connect-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'none'; \
    frame-ancestors 'none'";
const FRAME_OPTIONS: HeaderName = HeaderName::from_static("x-frame-options");

/// The page. Whoever lacks the right gets it as well where a person asks, with the status that says
/// so: it has a field for a token, and shows nothing without one.
pub(super) async fn admin(caller: Result<RequestCaller>, headers: HeaderMap) -> Result<Response> {
    let checked = caller.and_then(|caller| caller.check_admin());
    match checked {
        Ok(()) => Ok(page(StatusCode::OK)),
        Err(refused) if asks_for_a_page(&headers) => Ok(page(status_of(&refused))),
        Err(refused) => Err(refused),
    }
}

fn status_of(refused: &Error) -> StatusCode {
    let face = error_face(refused.kind());
    StatusCode::from_u16(face.http_status).unwrap_or(StatusCode::FORBIDDEN)
}

fn asks_for_a_page(headers: &HeaderMap) -> bool {
    let accept = headers
        .get(header::ACCEPT)
        .and_then(|accept| accept.to_str().ok());
    accept.is_some_and(|accept| accept.contains("text/html"))
}

fn page(status: StatusCode) -> Response {
    (status, headers("text/html; charset=utf-8"), PAGE).into_response()
}

fn headers(content_type: &'static str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    set(&mut headers, header::CONTENT_TYPE, content_type);
    set(&mut headers, header::CACHE_CONTROL, "no-cache");
    set(&mut headers, header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    set(&mut headers, header::CONTENT_SECURITY_POLICY, POLICY);
    set(&mut headers, header::REFERRER_POLICY, "no-referrer");
    set(&mut headers, FRAME_OPTIONS, "DENY");
    headers
}

/// What the page loads, which says nothing of this gateway.
pub(super) fn files() -> impl Iterator<Item = HttpRoute> {
    FILES.iter().map(|(path, content_type, text)| {
        let methods = get(move || async move { (headers(content_type), *text).into_response() });
        ((*path).to_owned(), methods)
    })
}
