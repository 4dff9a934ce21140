//! Every address of the gateway, on one port: HTTP/1.1, h2c, gRPC and gRPC-web.
//!
//! Invariant: whether a request comes from a web page or not, the same routes answer it with the
//! same headers, but for those of the CORS protocol that only a page asks for.

use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;

use axum::Router;
use axum::body::{Bytes, HttpBody};
use axum::http::{HeaderName, HeaderValue, Method, Request, Uri, header};
use axum::response::Response;
use axum::routing::{get, post};
use axum::{BoxError, body};
use tonic_health::pb::health_server::{Health, HealthServer};
use tower::ServiceExt;

use super::access::{self, Access};
use super::own_files::OwnFiles;
use super::problem::refusal;
use super::state::{AppState, TransportConfig};
use super::status::{bus_state, metrics, readyz, topics};
use super::{grpc, legacy, long_poll, options, pages, publish, sse};
use crate::bus::Bus;
use crate::caller::Caller;
use crate::config::Config;
use crate::cursor::shorten;
use crate::error::{Error, ErrorKind};
use crate::source::SourceState;

/// The page of the comet age asks for `./backend.php`, so it is answered beside that page, too.
const LEGACY_BESIDE_PAGE: &str = "/clients/longpoll/backend.php";

/// All routes. A clone is a few pointers.
#[derive(Clone)]
pub(crate) struct Routes {
    plain: Router,
    /// The same behind the CORS layer, which is copied and asked anew for every request: two
    /// microseconds that a request without an `Origin` is spared.
    of_pages: Router,
    /// What that layer says to such a request, too, as a cache may give the answer to a page.
    mark: Arc<(HeaderName, HeaderValue)>,
    /// Paths whose answers may take long to come, or never end: there, most connections have
    /// nothing to do.
    waiting: Arc<[String]>,
    access: Arc<Access>,
    /// Does this listener ask for a host of the gateway's own?
    is_guarded: bool,
}

impl Routes {
    /// Routes that answer for the hosts of the configuration and the loopback names alone.
    pub(crate) fn new(
        bus: Bus,
        config: &Config,
        sources: Arc<[Arc<SourceState>]>,
        health: HealthServer<impl Health>,
    ) -> Self {
        let plain = router(bus, config, sources, health);
        let of_pages = plain.clone().layer(access::cors(&config.origins));
        let waiting = [
            "/v1/sse",
            "/v1/poll",
            &config.legacy.path,
            LEGACY_BESIDE_PAGE,
        ]
        .map(str::to_owned)
        .into();
        Routes {
            plain,
            of_pages,
            mark: Arc::new(access::mark(&config.origins)),
            waiting,
            access: Arc::new(Access::new(config.origins.clone(), Caller::anonymous())),
            is_guarded: true,
        }
    }

    /// The same for an address: what everybody can reach by its own name is asked by any.
    pub(crate) fn at(&self, address: IpAddr) -> Self {
        Routes {
            is_guarded: address.to_canonical().is_loopback(),
            ..self.clone()
        }
    }

    /// Is this one of the few requests that a gateway has very many of: to wait for events, or to
    /// publish one?
    pub(crate) fn is_frequent(&self, method: &Method, path: &str) -> bool {
        match *method {
            Method::GET => self.waiting.iter().any(|waiting| waiting == path),
            Method::POST => path == publish::EVENTS || path.starts_with(publish::TOPICS),
            _ => false,
        }
    }

    /// Answers a request. It cannot fail: a fault is an answer.
    ///
    /// The room of what is returned is kept for as long as a stream of HTTP/2 lives. So the request
    /// has a box until what answers begins, and that has one of its own until the answer is there:
    /// a waiting stream took 1,250 bytes more without. The second is made no earlier, or a thousand
    /// requests that come at once would leave as many holes.
    pub(crate) fn answer<B>(
        &self,
        request: Request<B>,
    ) -> impl Future<Output = Result<Response, Infallible>> + Send + use<B>
    where
        B: HttpBody<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let is_of_page =
            request.headers().contains_key(header::ORIGIN) && !options::is_plain(&request);
        let routes = if is_of_page {
            self.of_pages.clone()
        } else {
            self.plain.clone()
        };
        let mark = (!is_of_page).then(|| self.mark.clone());
        let (access, is_guarded, request) =
            (self.access.clone(), self.is_guarded, Box::new(request));
        async move {
            let mut answer = Box::pin(answer(routes, access, is_guarded, unboxed(request))).await?;
            if let Some((name, value)) = mark.as_deref() {
                answer.headers_mut().append(name, value.clone());
            }
            Ok(answer)
        }
    }
}

/// Takes out what is in a box, and frees it.
#[expect(
    clippy::boxed_local,
    reason = "a box that is only moved out of lives on until its scope ends"
)]
fn unboxed<T>(boxed: Box<T>) -> T {
    *boxed
}

async fn answer<B>(
    routes: Router,
    access: Arc<Access>,
    is_guarded: bool,
    mut request: Request<B>,
) -> Result<Response, Infallible>
where
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    if let Err(refused) = access.check_host(&mut request, is_guarded) {
        return Ok(refusal(request.headers(), refused));
    }
    if options::is_plain(&request) {
        return options::answer(routes, request.uri().clone()).await;
    }
    if let Err(refused) = access.admit(&mut request) {
        return Ok(refusal(request.headers(), refused));
    }
    routes.oneshot(request.map(body::Body::new)).await
}

fn router(
    bus: Bus,
    config: &Config,
    sources: Arc<[Arc<SourceState>]>,
    health: HealthServer<impl Health>,
) -> Router {
    let transport = TransportConfig {
        legacy: config.legacy.clone(),
        requests: config.requests.clone(),
        pages: config.pages.clone(),
    };
    let state = AppState {
        bus,
        config: Arc::new(transport),
        sources,
    };
    let http = http_routes(&config.legacy.path).merge(pages::routes());
    let http = match &config.pages.dir {
        Some(folder) => {
            let files = Arc::new(OwnFiles::new(folder, state.bus.memory().clone()));
            http.fallback(move |request| files.clone().answer(request))
        }
        None => http.fallback(not_found),
    };
    http.method_not_allowed_fallback(wrong_method)
        .with_state(state.clone())
        .merge(grpc::routes(state, health))
}

fn http_routes(legacy_path: &str) -> Router<AppState> {
    let routes = Router::new()
        .route("/v1/poll", get(long_poll::poll))
        .route("/v1/sse", get(sse::sse))
        .route(publish::EVENTS, post(publish::events))
        .route("/v1/topics/{*topic}", post(publish::topic))
        .route("/v1/topics", get(topics))
        .route("/v1/bus", get(bus_state))
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .route(legacy_path, get(legacy::backend));
    if legacy_path == LEGACY_BESIDE_PAGE {
        routes
    } else {
        routes.route(LEGACY_BESIDE_PAGE, get(legacy::backend))
    }
}

async fn not_found(uri: Uri) -> Error {
    nothing_at(uri.path())
}

pub(super) fn nothing_at(path: &str) -> Error {
    let path = shorten(path);
    Error::new(
        ErrorKind::NotFound,
        format!("there is nothing at {path}; the start page / shows what there is"),
    )
}

async fn wrong_method(method: Method, uri: Uri) -> Error {
    wrong_method_at(&method, uri.path())
}

pub(super) fn wrong_method_at(method: &Method, path: &str) -> Error {
    let (method, path) = (shorten(method.as_str()), shorten(path));
    Error::new(
        ErrorKind::MethodNotAllowed,
        format!("{path} does not take {method}; the Allow header says what it takes"),
    )
}
