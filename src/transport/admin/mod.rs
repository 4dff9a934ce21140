//! What an operator sees and does: `/admin`, and the API below `/admin/api/` (contract §8).
//!
//! Invariants:
//! - looking needs the right to subscribe to `vidette.admin`, changing anything the right to
//!   publish to it, whichever handler answers;
//! - no page of another origin looks or changes anything, whoever's browser it is in: that is
//!   decided in [`super::access`], before any of these handlers sees the request;
//! - every answer is bounded, and nothing is sampled while nobody looks;
//! - what an operator has done is noted on the log, on the topic `vidette.admin`.

mod actions;
mod live;
mod notes;
mod page;
mod readers;
mod sampler;
mod status;

use axum::body::Body;
use axum::http::{HeaderMap, header};
use axum::routing::{get, post};
use serde::de::DeserializeOwned;

use super::access::RequestCaller;
use super::receive::read_body;
use super::router::HttpRoute;
use super::state::AppState;
use crate::error::{Error, Result};
use crate::limits;

pub(crate) use sampler::AdminWatch;

/// What the paths of the API begin with.
pub(super) const API: &str = "/admin/api/";

pub(super) fn routes() -> impl Iterator<Item = HttpRoute> {
    let routes = [
        ("/admin", get(page::admin)),
        ("/admin/api/status", get(status::status)),
        ("/admin/api/live", get(live::live)),
        ("/admin/api/connections", get(readers::connections)),
        ("/admin/api/topics", get(status::topics)),
        ("/admin/api/cut", post(actions::cut)),
        ("/admin/api/revoke", post(actions::revoke)),
        ("/admin/api/purge", post(actions::purge)),
        ("/admin/api/delete", post(actions::delete)),
        ("/admin/api/read-only", post(actions::read_only)),
    ];
    let named = |(path, methods): (&str, _)| (path.to_owned(), methods);
    routes.into_iter().map(named).chain(page::files())
}

/// The body of an action, where its caller may do it.
///
/// # Errors
/// Forbidden; a bad request when the body is not this JSON, or does not say that it is JSON.
async fn asked<T: DeserializeOwned>(
    state: &AppState,
    caller: &RequestCaller,
    headers: &HeaderMap,
    body: Body,
) -> Result<T> {
    caller.check_administers()?;
    // A page of another origin cannot send this type without asking first.
    if !is_json(headers) {
        return Err(Error::bad_request(
            "an action is JSON; send it with Content-Type: application/json",
        ));
    }
    let body = read_body(state.bus.memory(), body, limits::MAX_ADMIN_BODY_BYTES).await?;
    serde_json::from_slice(&body).map_err(|error| Error::bad_request(format!("the body: {error}")))
}

fn is_json(headers: &HeaderMap) -> bool {
    let content_type = headers.get(header::CONTENT_TYPE);
    let text = content_type.and_then(|value| value.to_str().ok());
    let essence = text.and_then(|text| text.split(';').next());
    essence.is_some_and(|essence| essence.trim().eq_ignore_ascii_case("application/json"))
}
