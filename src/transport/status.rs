//! The bus as it stands: `/v1/bus`, `/v1/topics`, `/readyz`, `/metrics`.

use axum::body::{Body, Bytes};
use axum::extract::{RawQuery, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use serde_json::json;

use super::access::RequestCaller;
use super::request::Params;
use super::state::AppState;
use crate::bus::Bus;
use crate::caller::Caller;
use crate::cursor::shorten;
use crate::error::{Error, Result};
use crate::limits;
use crate::memory::{MEMORY_KINDS, MemoryBudget, MemoryKind};
use crate::source::register_metrics;
use crate::topic::{Filter, Topic};

pub(super) async fn bus_state(
    State(AppState {
        bus,
        sources,
        config,
        ..
    }): State<AppState>,
    caller: RequestCaller,
    RawQuery(query): RawQuery,
) -> Result<Response> {
    caller.check_any_right()?;
    Params::parse(query.as_deref(), &config.requests.ignore_parameters)?.finish("none here")?;
    let (bounds, sizes) = (bus.bounds(), bus.engine().state().sizes);
    let mut state = json!({
        "epoch": bus.epoch(),
        "first": bounds.first,
        "last": bounds.last,
        "cursor": bus.cursor(bounds.last).to_string(),
        "events": sizes.events,
        "bytes": sizes.bytes,
        "subscribers": bus.subscribers(),
        "engine": bus.engine().kind(),
        "durability": bus.engine().durability(),
    });
    if !sources.is_empty() {
        state["sources"] = sources.iter().map(|source| source.json()).collect();
    }
    Ok(axum::Json(state).into_response())
}

pub(super) async fn topics(
    State(AppState { bus, config, .. }): State<AppState>,
    caller: RequestCaller,
    RawQuery(query): RawQuery,
) -> Result<Response> {
    let mut params = Params::parse(query.as_deref(), &config.requests.ignore_parameters)?;
    let filter = params.take_all("topic");
    let filter = Filter::parse(filter.iter().map(String::as_str))?;
    let limit = params.take("limit")?.map_or(Ok(0), |text| {
        text.parse()
            .map_err(|_| Error::bad_request(format!("limit={:?} is not a number", shorten(&text))))
    })?;
    let after = params.take("page_token")?;
    params.finish("topic, limit, page_token")?;
    let page = list_topics(&bus, &caller, filter, limit, after.as_deref()).await?;
    let topics: Vec<_> = page
        .topics
        .iter()
        .map(|(topic, vid)| json!({ "topic": topic.as_str(), "vid": vid }))
        .collect();
    let mut answer = json!({ "topics": topics });
    if let Some(token) = page.next_page_token {
        answer["next_page_token"] = token.as_str().into();
    }
    let json = serde_json::to_vec(&answer).expect("texts and numbers are JSON");
    let content_type = [(header::CONTENT_TYPE, "application/json")];
    Ok((content_type, paid(&bus, json)).into_response())
}

/// An answer that may be long.
fn paid(bus: &Bus, bytes: impl Into<Bytes>) -> Body {
    bus.memory().own(MemoryKind::Answer, bytes).into()
}

/// A page of topics, over HTTP and gRPC.
pub(super) struct TopicPage {
    pub(super) topics: Vec<(Topic, u64)>,
    pub(super) next_page_token: Option<Topic>,
}

/// Lists topics; a limit of 0 is the default.
pub(super) async fn list_topics(
    bus: &Bus,
    caller: &Caller,
    filter: Filter,
    limit: u32,
    page_token: Option<&str>,
) -> Result<TopicPage> {
    bus.memory().check(MemoryKind::Answer)?;
    let limit = match limit {
        0 => limits::MAX_LISTED_TOPICS,
        1..=limits::MAX_LISTED_TOPICS => limit,
        _ => {
            return Err(Error::bad_request(format!(
                "limit is more than {} topics; read on with page_token",
                limits::MAX_LISTED_TOPICS
            )));
        }
    } as usize;
    let after = page_token.filter(|t| !t.is_empty()).map(Topic::trusted);
    // One more tells whether there is a next page.
    let mut topics = bus.topics(caller, filter, after, limit + 1).await?;
    let is_last = topics.len() <= limit;
    topics.truncate(limit);
    let next_page_token = topics
        .last()
        .filter(|_| !is_last)
        .map(|(topic, _)| topic.clone());
    Ok(TopicPage {
        topics,
        next_page_token,
    })
}

pub(super) async fn readyz(State(AppState { bus, .. }): State<AppState>) -> Result<&'static str> {
    bus.writable().map(|()| "ready\n")
}

pub(super) async fn metrics(State(state): State<AppState>) -> Response {
    let AppState {
        bus,
        sources,
        connections,
        ..
    } = state;
    let text = bus.metrics().render(bus.gauges(), |registry| {
        connections.register(registry);
        register_metrics(registry, &sources);
        register_memory(registry, bus.memory());
    });
    (
        [(
            "content-type",
            "application/openmetrics-text; version=1.0.0; charset=utf-8",
        )],
        paid(&bus, text),
    )
        .into_response()
}

/// What publishers and readers may make the gateway hold, and what they do.
fn register_memory(registry: &mut Registry, memory: &MemoryBudget) {
    let gauge_of = |bytes| i64::try_from(bytes).unwrap_or(i64::MAX);
    let budget = Gauge::<i64>::default();
    budget.set(gauge_of(memory.limit_bytes()));
    let used = Family::<[(&str, &str); 1], Gauge>::default();
    for kind in MEMORY_KINDS {
        let label = [("kind", kind.as_str())];
        used.get_or_create(&label)
            .set(gauge_of(memory.used_bytes(kind)));
    }
    registry.register(
        "memory_budget_bytes",
        "What requests, answers and unread pages may take together",
        budget,
    );
    registry.register("memory_used_bytes", "What they take now", used);
}
