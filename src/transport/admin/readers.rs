//! Who reads, the slowest first.

use axum::extract::{RawQuery, State};
use axum::response::Response;
use serde_json::{Value, json};

use crate::bus::ReaderInfo;
use crate::error::{Error, Result};
use crate::limits;
use crate::metrics::Transport;
use crate::transport::access::RequestCaller;
use crate::transport::json::paid_json;
use crate::transport::params::Params;
use crate::transport::state::AppState;

/// Readers of a page, unless it says how many.
const DEFAULT_READERS: usize = 50;

pub(super) async fn connections(
    State(state): State<AppState>,
    caller: RequestCaller,
    RawQuery(query): RawQuery,
) -> Result<Response> {
    caller.check_admin()?;
    let (skip, limit) = take_page(Params::of(&state, query.as_deref())?)?;

    // One more shows whether there is a next page.
    let mut list = state.bus.slowest_readers(skip, limit + 1).await;
    let is_last = list.readers.len() <= limit;
    list.readers.truncate(limit);
    let readers: Vec<Value> = list.readers.iter().map(json).collect();
    let mut answer = json!({ "open": list.open, "connections": readers });
    if !is_last {
        answer["next_page_token"] = (skip + limit).to_string().into();
    }
    Ok(paid_json(&state.bus, &answer))
}

/// How many to skip, and how many to list.
fn take_page(mut params: Params<'_>) -> Result<(usize, usize)> {
    let number = |text: &str| text.parse::<usize>().ok();
    let limit = params.take_parsed("limit", number, || "not a number")?;
    let skip = params.take_parsed("page_token", number, || "not the token of an answer")?;
    params.finish("limit, page_token")?;

    let (limit, skip) = (limit.unwrap_or(DEFAULT_READERS), skip.unwrap_or(0));
    let most = limits::MAX_LISTED_READERS;
    if limit == 0 || skip.saturating_add(limit) >= most {
        let detail = format!("fewer than {most} connections are listed in all, and at least one");
        return Err(Error::bad_request(detail));
    }
    Ok((skip, limit))
}

fn json(reader: &ReaderInfo) -> Value {
    json!({
        "id": reader.number,
        "transport": reader.transport.map(Transport::as_str),
        "peer": reader.peer,
        "names": reader.names,
        "topics": reader.topics,
        "position": reader.position,
        "lag": reader.lag,
        "open_for_s": reader.open_for_s,
    })
}
