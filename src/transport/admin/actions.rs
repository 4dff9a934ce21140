//! What an operator can do to a gateway that runs.
//!
//! Invariant: an action is answered once it is done, with what it did, in words as well.

use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse as _, Response};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{asked, notes};
use crate::auth::Revoked;
use crate::cursor::Vid;
use crate::error::{Error, ErrorKind, Result};
use crate::limits;
use crate::topic::Topic;
use crate::transport::access::RequestCaller;
use crate::transport::state::AppState;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Cut {
    id: u32,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Revoke {
    name: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Purge {
    topic: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Delete {
    vid: Vid,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ReadOnly {
    on: bool,
}

/// Notes what was done, and answers with it.
async fn done(
    state: &AppState,
    caller: &RequestCaller,
    action: &'static str,
    mut details: Value,
    says: String,
) -> Response {
    details["by"] = caller.identity.to_string().into();
    tracing::info!(action, %details, "an operator's action");
    let noted_as = notes::note(&state.bus, action, &details).await;
    details["action"] = action.into();
    details["says"] = says.into();
    details["noted_as"] = noted_as.into();
    axum::Json(details).into_response()
}

pub(super) async fn cut(
    State(state): State<AppState>,
    caller: RequestCaller,
    headers: HeaderMap,
    body: Body,
) -> Result<Response> {
    let Cut { id } = asked(&state, &caller, &headers, body).await?;
    if !state.bus.cut_reader(id).await {
        let detail = format!("no open connection has the number {id}; it may have ended already");
        return Err(Error::new(ErrorKind::NotFound, detail));
    }
    let says = format!(
        "connection {id} is being ended; its reader keeps its cursor and may come back in a while"
    );
    Ok(done(&state, &caller, "cut", json!({ "id": id }), says).await)
}

pub(super) async fn revoke(
    State(state): State<AppState>,
    caller: RequestCaller,
    headers: HeaderMap,
    body: Body,
) -> Result<Response> {
    let Revoke { name } = asked(&state, &caller, &headers, body).await?;
    let name = checked_name(&name)?;
    let authenticator = state.config.authenticator.as_ref().ok_or_else(no_auth)?;
    let revoked = authenticator.revoke(name).await;
    let (holds, how_long) = how_long(&revoked)?;
    state.bus.recheck_callers();

    let says = format!("{name} is revoked, and whoever is served on it ends; {how_long}");
    let details = json!({ "name": name, "holds": holds });
    Ok(done(&state, &caller, "revoke", details, says).await)
}

fn checked_name(name: &str) -> Result<&str> {
    let name = name.trim();
    let is_line = !name.contains(char::is_control) && !name.starts_with('#');
    if name.is_empty() || !is_line || name.len() > limits::MAX_CREDENTIAL_ID_BYTES {
        return Err(Error::bad_request(
            "name is the jti or sub of a token, or the name of a key or certificate: one line",
        ));
    }
    Ok(name)
}

fn no_auth() -> Error {
    let detail = "the configuration has no [auth], so nobody has a name to be revoked by";
    Error::new(ErrorKind::Unsupported, detail)
}

fn too_many_revoked() -> Error {
    let most = limits::MAX_REVOKED_UNTIL_RESTART;
    let detail = format!(
        "{most} names are revoked until the restart already; set auth.revoked_file to a file that \
         can be written, and this one is a line of it"
    );
    Error::new(ErrorKind::Busy, detail)
}

fn how_long(revoked: &Revoked) -> Result<(&'static str, String)> {
    Ok(match revoked {
        Revoked::InFile(path) => {
            let path = path.display();
            (
                "in_file",
                format!("it is a line of {path} now, and holds until that is taken out"),
            )
        }
        Revoked::UntilRestart => (
            "until_restart",
            "this holds until the gateway restarts, as auth.revoked_file is not set".to_owned(),
        ),
        Revoked::NotWritten(path, error) => {
            let path = path.display();
            (
                "until_restart",
                format!("this holds until the gateway restarts: {path}: {error}"),
            )
        }
        Revoked::TooMany => return Err(too_many_revoked()),
    })
}

pub(super) async fn purge(
    State(state): State<AppState>,
    caller: RequestCaller,
    headers: HeaderMap,
    body: Body,
) -> Result<Response> {
    let Purge { topic } = asked(&state, &caller, &headers, body).await?;
    let topic = Topic::to_purge(&topic)?;
    let (removed, through) = state.bus.purge_topic(topic.clone()).await?;
    let says = match removed {
        0 => format!("{topic} had no events"),
        _ => format!("{removed} events of {topic} up to vid {through} are gone for good"),
    };
    let details = json!({ "topic": topic.as_str(), "removed": removed, "through": through });
    Ok(done(&state, &caller, "purge", details, says).await)
}

pub(super) async fn delete(
    State(state): State<AppState>,
    caller: RequestCaller,
    headers: HeaderMap,
    body: Body,
) -> Result<Response> {
    let Delete { vid } = asked(&state, &caller, &headers, body).await?;
    let topic = state.bus.delete_event(vid).await?;
    let says = format!("event {vid} of {topic} is gone for good; its vid stays empty");
    let details = json!({ "vid": vid, "topic": topic.as_str() });
    Ok(done(&state, &caller, "delete", details, says).await)
}

pub(super) async fn read_only(
    State(state): State<AppState>,
    caller: RequestCaller,
    headers: HeaderMap,
    body: Body,
) -> Result<Response> {
    let ReadOnly { on } = asked(&state, &caller, &headers, body).await?;
    state.bus.set_read_only(on);
    let says = if on {
        "nothing is published here until this is switched off again, or the gateway restarts"
    } else {
        "publishing is on again"
    };
    Ok(done(
        &state,
        &caller,
        "read-only",
        json!({ "on": on }),
        says.to_owned(),
    )
    .await)
}
