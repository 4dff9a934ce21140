//! Every address of the gateway, on one port: HTTP/1.1, h2c, gRPC and gRPC-web.

use std::sync::Arc;

use axum::Router;
use axum::extract::{RawQuery, State};
use axum::http::{Method, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde_json::json;
use tonic_health::pb::health_server::{Health, HealthServer};

use super::request::Params;
use super::state::{AppState, TransportConfig};
use super::{grpc, legacy, long_poll, origin, pages, publish, sse};
use crate::bus::Bus;
use crate::config::Config;
use crate::cursor::shorten;
use crate::error::{Error, Kind, Result};
use crate::limits;
use crate::topic::{Filter, Topic};

/// The page of the comet age asks for `./backend.php`, so it is answered beside that page, too.
const LEGACY_BESIDE_PAGE: &str = "/clients/longpoll/backend.php";

/// All routes.
pub(crate) fn router(bus: Bus, config: &Config, health: HealthServer<impl Health>) -> Router {
    let transport =
        TransportConfig { legacy: config.legacy.clone(), origins: config.origins.clone(), pages: config.pages.clone() };
    let state = AppState { bus, config: Arc::new(transport) };
    let http = http_routes(&config.legacy.path).merge(pages::routes());
    let http = match pages::own_files(&config.pages) {
        Some(files) => http.fallback_service(files),
        None => http.fallback(not_found),
    };
    http.method_not_allowed_fallback(wrong_method)
        .with_state(state.clone())
        .merge(grpc::routes(state, health))
        .layer(origin::cors(&config.origins))
        .layer(axum::middleware::map_request(origin::name_host))
}

fn http_routes(legacy_path: &str) -> Router<AppState> {
    let routes = Router::new()
        .route("/v1/poll", get(long_poll::poll))
        .route("/v1/sse", get(sse::sse))
        .route("/v1/events", post(publish::events))
        .route("/v1/topics/{*topic}", post(publish::topic))
        .route("/v1/topics", get(topics))
        .route("/v1/bus", get(bus_state))
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .route(legacy_path, get(legacy::backend));
    if legacy_path == LEGACY_BESIDE_PAGE { routes } else { routes.route(LEGACY_BESIDE_PAGE, get(legacy::backend)) }
}

async fn bus_state(State(AppState { bus, .. }): State<AppState>, RawQuery(query): RawQuery) -> Result<Response> {
    Params::parse(query.as_deref())?.finish("none here")?;
    let (bounds, sizes) = (bus.bounds(), bus.engine().sizes());
    Ok(axum::Json(json!({
        "epoch": bus.engine().epoch(),
        "first": bounds.first,
        "last": bounds.last,
        "cursor": bus.cursor(bounds.last).to_string(),
        "events": sizes.events,
        "bytes": sizes.bytes,
        "subscribers": bus.subscribers(),
        "engine": bus.engine().kind(),
        "durability": bus.engine().durability(),
    }))
    .into_response())
}

async fn topics(State(AppState { bus, .. }): State<AppState>, RawQuery(query): RawQuery) -> Result<Response> {
    let mut params = Params::parse(query.as_deref())?;
    let filter = params.take_all("topic");
    let filter = Filter::parse(filter.iter().map(String::as_str))?;
    let limit = params.take("limit")?.map_or(Ok(0), |text| {
        text.parse().map_err(|_| Error::bad_request(format!("limit={:?} is not a number", shorten(&text))))
    })?;
    let after = params.take("page_token")?;
    params.finish("topic, limit, page_token")?;
    let page = list_topics(&bus, filter, limit, after.as_deref()).await?;
    let topics: Vec<_> =
        page.topics.iter().map(|(topic, vid)| json!({ "topic": topic.as_str(), "vid": vid })).collect();
    let mut answer = json!({ "topics": topics });
    if let Some(token) = page.next_page_token {
        answer["next_page_token"] = token.as_str().into();
    }
    Ok(axum::Json(answer).into_response())
}

/// A page of topics, over HTTP and gRPC.
pub(super) struct TopicPage {
    pub(super) topics: Vec<(Topic, u64)>,
    pub(super) next_page_token: Option<Topic>,
}

/// Lists topics; a limit of 0 is the default.
pub(super) async fn list_topics(bus: &Bus, filter: Filter, limit: u32, page_token: Option<&str>) -> Result<TopicPage> {
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
    let mut topics = bus.engine().topics(filter, after, limit + 1).await?; // one more tells whether there is a next page
    let is_last = topics.len() <= limit;
    topics.truncate(limit);
    let next_page_token = topics.last().filter(|_| !is_last).map(|(topic, _)| topic.clone());
    Ok(TopicPage { topics, next_page_token })
}

async fn readyz(State(AppState { bus, .. }): State<AppState>) -> Result<&'static str> {
    bus.writable().map(|()| "ready\n")
}

async fn metrics(State(AppState { bus, .. }): State<AppState>) -> Response {
    let text = bus.metrics().render(bus.gauges());
    ([("content-type", "application/openmetrics-text; version=1.0.0; charset=utf-8")], text).into_response()
}

async fn not_found(uri: Uri) -> Error {
    let path = shorten(uri.path());
    Error::new(Kind::NotFound, format!("there is nothing at {path}; the start page / shows what there is"))
}

async fn wrong_method(method: Method, uri: Uri) -> Error {
    let (method, path) = (shorten(method.as_str()), shorten(uri.path()));
    Error::new(Kind::MethodNotAllowed, format!("{path} does not take {method}; the Allow header says what it takes"))
}
