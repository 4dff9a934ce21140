//! Every address of the gateway, on one port: HTTP/1.1, h2c, gRPC and gRPC-web.

use std::sync::Arc;

use axum::Router;
use axum::http::{Method, Uri};
use axum::routing::{get, post};
use tonic_health::pb::health_server::{Health, HealthServer};

use super::state::{AppState, TransportConfig};
use super::status::{bus_state, metrics, readyz, topics};
use super::{grpc, legacy, long_poll, origin, pages, publish, sse};
use crate::bus::Bus;
use crate::config::Config;
use crate::cursor::shorten;
use crate::error::{Error, Kind};
use crate::source::SourceState;

/// The page of the comet age asks for `./backend.php`, so it is answered beside that page, too.
const LEGACY_BESIDE_PAGE: &str = "/clients/longpoll/backend.php";

/// All routes.
pub(crate) fn router(
    bus: Bus,
    config: &Config,
    sources: Arc<[Arc<SourceState>]>,
    health: HealthServer<impl Health>,
) -> Router {
    let transport =
        TransportConfig { legacy: config.legacy.clone(), origins: config.origins.clone(), pages: config.pages.clone() };
    let state = AppState { bus, config: Arc::new(transport), sources };
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

/// Paths whose answers may take long to come, or never end: there, most connections have nothing to do.
pub(crate) fn waiting_paths(config: &Config) -> Vec<String> {
    ["/v1/sse", "/v1/poll", &config.legacy.path, LEGACY_BESIDE_PAGE].map(str::to_owned).into()
}

async fn not_found(uri: Uri) -> Error {
    let path = shorten(uri.path());
    Error::new(Kind::NotFound, format!("there is nothing at {path}; the start page / shows what there is"))
}

async fn wrong_method(method: Method, uri: Uri) -> Error {
    let (method, path) = (shorten(method.as_str()), shorten(uri.path()));
    Error::new(Kind::MethodNotAllowed, format!("{path} does not take {method}; the Allow header says what it takes"))
}
