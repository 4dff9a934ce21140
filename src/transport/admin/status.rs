//! How the gateway is doing, and which topics its log has.

use axum::extract::{RawQuery, State};
use axum::response::{IntoResponse as _, Response};
use serde_json::{Map, Value, json};

use crate::bus::Bus;
use crate::caller::Caller;
use crate::error::Result;
use crate::memory::{MEMORY_KINDS, MemoryBudget};
use crate::metrics::READING;
use crate::transport::access::RequestCaller;
use crate::transport::headers::no_store;
use crate::transport::json::{paid_json, to_json};
use crate::transport::params::Params;
use crate::transport::state::AppState;
use crate::transport::status::{list_topics, take_topics};

const JSON: axum::http::HeaderValue = axum::http::HeaderValue::from_static("application/json");

pub(super) async fn status(
    State(state): State<AppState>,
    caller: RequestCaller,
    RawQuery(query): RawQuery,
) -> Result<Response> {
    caller.check_admin()?;
    Params::of(&state, query.as_deref())?.finish("none")?;
    state.admin.look(&state.bus);
    state.admin.until_there_are_rates().await;

    let mut answer = status_json(&state, &caller);
    answer["history"] = state.admin.history().into();
    Ok((no_store(JSON), to_json(&answer)).into_response())
}

/// Every topic of the log, whatever the caller may read: only their names are shown.
pub(super) async fn topics(
    State(state): State<AppState>,
    caller: RequestCaller,
    RawQuery(query): RawQuery,
) -> Result<Response> {
    caller.check_admin()?;
    let (filter, limit, token) = take_topics(Params::of(&state, query.as_deref())?)?;
    let everybody = Caller::gateway();
    let list = list_topics(&state.bus, &everybody, filter, limit, token.as_deref()).await?;
    Ok(paid_json(&state.bus, &list.json()))
}

/// The answer, but for the rates of before.
pub(super) fn status_json(state: &AppState, caller: &Caller) -> Value {
    let bus = &state.bus;
    let mut answer = log_json(bus);
    answer["version"] = env!("CARGO_PKG_VERSION").into();
    answer["uptime_s"] = state.admin.uptime_s().into();
    answer["you"] = json!({
        "name": caller.identity.to_string(),
        "may_change": caller.check_administers().is_ok(),
    });
    answer["health"] = health_json(bus);
    answer["connections"] = state.connections.count().into();
    answer["subscribers"] = bus.subscribers().into();
    answer["transports"] = transports_json(state);
    answer["rates"] = state
        .admin
        .rates()
        .map_or(Value::Null, |rates| rates.json());
    answer["totals"] = json!(bus.metrics().totals());
    answer["memory"] = memory_json(bus.memory());
    answer["sources"] = state.sources.json();
    answer
}

fn log_json(bus: &Bus) -> Value {
    // Of one moment, as in /v1/bus.
    let (log, bounds) = bus.log_and_bounds();
    let (sizes, gauges) = (bus.sizes(), bus.gauges());
    json!({
        "epoch": log.epoch(),
        "first": bounds.first,
        "last": bounds.last,
        "events": sizes.events,
        "bytes": sizes.bytes,
        "wal_bytes": gauges.wal_bytes,
        "engine": bus.engine_kind(),
        "durability": bus.durability(),
    })
}

fn health_json(bus: &Bus) -> Value {
    let trouble = bus.ready().err().map(|error| error.to_string());
    json!({
        "ready": trouble.is_none(),
        "trouble": trouble,
        "read_only": bus.is_read_only(),
    })
}

fn transports_json(state: &AppState) -> Value {
    let rates = state.admin.rates();
    let readers = &state.bus.metrics().readers;
    let shown = READING.iter().enumerate().map(|(at, &via)| {
        json!({
            "transport": via.as_str(),
            "subscribers": readers.open_now(via),
            "deliveries": readers.deliveries(via),
            "deliveries_per_s": rates.map(|rates| rates.by_transport[at]),
        })
    });
    shown.collect()
}

fn memory_json(memory: &MemoryBudget) -> Value {
    let used = MEMORY_KINDS.map(|kind| (kind.as_str().to_owned(), memory.used_bytes(kind).into()));
    json!({
        "budget_bytes": memory.limit_bytes(),
        "used_bytes": used.into_iter().collect::<Map<_, _>>(),
    })
}
