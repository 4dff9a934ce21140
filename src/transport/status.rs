//! The bus as it stands: `/v1/bus`, `/v1/topics`, `/readyz`, `/metrics`.

use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use prometheus_client::registry::Registry;
use serde_json::json;

use super::access::RequestCaller;
use super::json::paid_json;
use super::params::Params;
use super::state::AppState;
use crate::bus::Bus;
use crate::caller::Caller;
use crate::error::{Error, Result};
use crate::limits::MAX_LISTED_TOPICS;
use crate::memory::{MEMORY_KINDS, MemoryBudget, MemoryKind};
use crate::metrics::{Shown, process};
use crate::source::register_metrics;
use crate::topic::{Filter, Topic};

pub(super) async fn bus_state(
    State(state): State<AppState>,
    caller: RequestCaller,
    RawQuery(query): RawQuery,
) -> Result<Response> {
    caller.check_any_right()?;
    Params::of(&state, query.as_deref())?.finish("none")?;
    // A gateway without sources does not speak of them.
    let mut answer = log_state(&state.bus);
    if !state.sources.is_empty() {
        answer["sources"] = state.sources.json();
    }
    Ok(axum::Json(answer).into_response())
}

fn log_state(bus: &Bus) -> serde_json::Value {
    // Of one moment: a reader may resume from this cursor.
    let (log, bounds) = bus.log_and_bounds();
    let sizes = bus.sizes();
    json!({
        "epoch": log.epoch(),
        "first": bounds.first,
        "last": bounds.last,
        "cursor": log.cursor(bounds.last).to_string(),
        "events": sizes.events,
        "bytes": sizes.bytes,
        "subscribers": bus.subscribers(),
        "engine": bus.engine_kind(),
        "durability": bus.durability(),
    })
}

pub(super) async fn topics(
    State(state): State<AppState>,
    caller: RequestCaller,
    RawQuery(query): RawQuery,
) -> Result<Response> {
    let params = Params::of(&state, query.as_deref())?;
    let (filter, limit, token) = take_topics(params)?;
    let list = list_topics(&state.bus, &caller, filter, limit, token.as_deref()).await?;
    Ok(paid_json(&state.bus, &list.json()))
}

/// The filter, the limit and the page token of a listing.
pub(super) fn take_topics(mut params: Params<'_>) -> Result<(Filter, u32, Option<String>)> {
    let topics = params.take_all("topic");
    // Without a topic all are listed, but for the gateway's own.
    let filter = Filter::parse(topics.iter().map(|topic| &**topic))?;
    let limit = take_limit(&mut params)?;
    let token = params.take("page_token")?;
    params.finish("topic, limit, page_token")?;
    Ok((filter, limit, token.map(String::from)))
}

fn take_limit(params: &mut Params<'_>) -> Result<u32> {
    let number = |text: &str| text.parse().ok();
    let limit = params.take_parsed("limit", number, || "not a number")?;
    Ok(limit.unwrap_or(0))
}

/// Some of the topics, in their order, over HTTP and gRPC.
pub(super) struct TopicList {
    pub(super) topics: Vec<(Topic, u64)>,
    pub(super) next_page_token: Option<Topic>,
}

impl TopicList {
    /// At most so many topics, and the last of them where more follow.
    fn cut(mut topics: Vec<(Topic, u64)>, limit: usize) -> Self {
        let is_last = topics.len() <= limit;
        topics.truncate(limit);
        let last_topic = topics.last().map(|(topic, _)| topic.clone());
        TopicList {
            topics,
            next_page_token: last_topic.filter(|_| !is_last),
        }
    }

    pub(super) fn json(&self) -> serde_json::Value {
        let topics: Vec<_> = self.topics.iter().map(topic_json).collect();
        // The last page has no token, so that a client knows it is the last.
        let mut answer = json!({ "topics": topics });
        if let Some(token) = &self.next_page_token {
            answer["next_page_token"] = token.as_str().into();
        }
        answer
    }
}

fn topic_json((topic, vid): &(Topic, u64)) -> serde_json::Value {
    json!({ "topic": topic.as_str(), "vid": vid })
}

/// Lists topics; a limit of 0 is the default.
pub(super) async fn list_topics(
    bus: &Bus,
    caller: &Caller,
    filter: Filter,
    limit: u32,
    page_token: Option<&str>,
) -> Result<TopicList> {
    // Refused before the log is read, when there is no memory for an answer anyway.
    bus.memory().check(MemoryKind::Answer)?;
    let limit = checked_limit(limit)?;
    let after = page_token.filter(|token| !token.is_empty());
    let after = after.map(Topic::trusted);

    // One more than is asked for shows whether there is a next page.
    let topics = bus.topics(caller, filter, after, limit + 1).await?;
    Ok(TopicList::cut(topics, limit))
}

fn checked_limit(limit: u32) -> Result<usize> {
    match limit {
        0 => Ok(MAX_LISTED_TOPICS as usize),
        1..=MAX_LISTED_TOPICS => Ok(limit as usize),
        _ => Err(too_many_topics()),
    }
}

fn too_many_topics() -> Error {
    Error::bad_request(format!(
        "limit is more than {MAX_LISTED_TOPICS} topics; read on with page_token"
    ))
}

pub(super) async fn readyz(State(AppState { bus, .. }): State<AppState>) -> Result<&'static str> {
    bus.ready().map(|()| "ready\n")
}

pub(super) async fn metrics(
    State(state): State<AppState>,
    caller: RequestCaller,
) -> Result<Response> {
    caller.check_admin()?;
    let AppState {
        bus,
        sources,
        connections,
        ..
    } = state;
    // Reading what the kernel says takes as long as there are files open.
    let process = tokio::task::spawn_blocking(process::shown).await;
    let process = process.unwrap_or_default();
    let metrics = bus.metrics();
    let text = metrics.render(&bus.gauges(), &connections, process, |registry| {
        register_metrics(registry, &sources);
        register_memory(registry, bus.memory());
    });
    let content_type = [(header::CONTENT_TYPE, OPEN_METRICS)];
    let body = Body::from(bus.memory().own(MemoryKind::Answer, text));
    Ok((content_type, body).into_response())
}

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// How much memory publishers and readers may make the gateway hold, and how much they do.
fn register_memory(registry: &mut Registry, memory: &MemoryBudget) {
    let budget = memory.limit_bytes() as u64;
    Shown::gauge("memory_budget_bytes", MEMORY_BUDGET_HELP, budget).register(registry);
    let used = MEMORY_KINDS.map(|kind| {
        let bytes = memory.used_bytes(kind) as u64;
        ([("kind", kind.as_str())], bytes)
    });
    Shown::gauges("memory_used_bytes", "What they take now", used).register(registry);
}

const MEMORY_BUDGET_HELP: &str = "What requests, answers and unread pages may take together";
