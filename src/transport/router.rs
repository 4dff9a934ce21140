//! Every address of the gateway, on one port: HTTP/1.1, h2c, gRPC and gRPC-web.
//!
//! Invariant: whether a request comes from a web page or not, the same routes answer it with the
//! same headers, but for those of the CORS protocol that only a page asks for.

use std::convert::Infallible;
use std::sync::Arc;

use axum::BoxError;
use axum::Router;
use axum::body::{Body, Bytes, HttpBody};
use axum::http::{HeaderName, HeaderValue, Method, Request, StatusCode, Uri, header};
use axum::response::Response;
use axum::routing::{MethodRouter, get, post};
use tonic_health::pb::health_server::HealthServer;
use tonic_health::server::HealthService;
use tower::{Layer as _, ServiceExt as _, service_fn};
use tower_http::cors::CorsLayer;

use super::access::{self, Access};
use super::client_address;
use super::connection_info::ConnectionInfo;
use super::own_files::OwnFiles;
use super::problem::refusal;
use super::redirect::Redirect;
use super::routes::ListenerRules;
use super::state::{AppState, ConnectionLimits, Settings};
use super::status::{bus_state, metrics, readyz, topics};
use super::{grpc, legacy, long_poll, options, pages, publish, sse};
use crate::bus::Bus;
use crate::cursor::shorten;
use crate::error::{Error, ErrorKind};
use crate::metrics::OpenConnections;
use crate::source::SourceStates;

/// The page of the long-poll era asks for `./backend.php`, so it is answered beside that page, too.
const LEGACY_BESIDE_PAGE: &str = "/clients/longpoll/backend.php";

/// What routes are made of, whatever the configuration says.
pub(crate) struct RouteParts {
    pub(crate) bus: Bus,
    pub(crate) sources: SourceStates,
    pub(crate) health: HealthServer<HealthService>,
    pub(crate) connections: OpenConnections,
}

impl RouteParts {
    fn state(&self, settings: &Settings) -> AppState {
        AppState {
            bus: self.bus.clone(),
            config: settings.transport.clone(),
            sources: self.sources.clone(),
            connections: self.connections.clone(),
        }
    }
}

/// All routes, as one configuration has them.
pub(super) struct RouteTable {
    limits: ConnectionLimits,
    access: Access,
    redirect: Option<Redirect>,
    plain: Router,
    /// The same behind the CORS layer, which is copied and asked anew for every request: two
    /// microseconds that a request without an `Origin` is spared.
    of_pages: Router,
    cors: CorsLayer,
    /// What that layer says to such a request, too, as a cache may give the answer to a page.
    mark: (HeaderName, HeaderValue),
    /// Paths whose answers may take long to come, or never end: there, most connections have
    /// nothing to do.
    waiting: [String; 4],
}

impl RouteTable {
    pub(super) fn new(parts: &RouteParts, settings: Settings) -> Self {
        // The routes are the same for everybody; what differs by configuration stands beside them.
        let plain = router(parts, &settings);
        let config = &settings.transport;
        let cors = access::cors(&config.origins);
        let legacy_path = config.legacy.path.as_str();
        RouteTable {
            of_pages: plain.clone().layer(cors.clone()),
            plain,
            cors,
            mark: access::mark(&config.origins),
            waiting: ["/v1/sse", "/v1/poll", legacy_path, LEGACY_BESIDE_PAGE].map(str::to_owned),
            redirect: config.redirect,
            access: Access::new(config, parts.bus.quotas().clone()),
            limits: settings.connections,
        }
    }

    pub(super) fn limits(&self) -> &ConnectionLimits {
        &self.limits
    }

    pub(super) fn takes_lean_path(&self, method: &Method, path: &str) -> bool {
        match *method {
            Method::GET => self.waiting.iter().any(|waiting| waiting == path),
            Method::POST => path == publish::EVENTS || path.starts_with(publish::TOPICS),
            _ => false,
        }
    }

    /// Checks a request, and has the routes answer it.
    pub(super) async fn answer<B>(
        &self,
        mut request: Request<B>,
        connection: &Arc<ConnectionInfo>,
        listener: ListenerRules,
    ) -> Result<Response, Infallible>
    where
        B: HttpBody<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        // First, so that whatever looks at the request knows where it comes from.
        client_address::note(&mut request, connection, &self.limits.proxy.trusted);
        // Looked at now, because the request is handed over below.
        let is_of_page = is_of_page(&request);

        // Whom it is for, what it asks for, who makes it: in this order, whatever the route.
        let mut answer =
            if let Err(refused) = self.access.check_host(&mut request, listener.is_guarded) {
                refusal(request.headers(), refused)
            } else if let Some(elsewhere) = self.redirect(&request, listener) {
                elsewhere
            } else if options::is_plain(&request) {
                options::answer(self.plain.clone(), request.uri().clone()).await?
            } else {
                self.admit_and_answer(request, connection, is_of_page)
                    .await?
            };

        // The CORS layer has marked the others itself.
        if !is_of_page {
            let (name, value) = &self.mark;
            answer.headers_mut().append(name, value.clone());
        }
        Ok(answer)
    }

    /// The answer to a request that is to be asked where it is encrypted.
    fn redirect<B>(&self, request: &Request<B>, listener: ListenerRules) -> Option<Response> {
        let (redirect, port) = self.redirect.zip(listener.https_port)?;
        redirect.answer(request, port)
    }

    /// Has the routes answer a request, once it is decided who makes it.
    async fn admit_and_answer<B>(
        &self,
        mut request: Request<B>,
        connection: &ConnectionInfo,
        is_of_page: bool,
    ) -> Result<Response, Infallible>
    where
        B: HttpBody<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let admitted = match self.access.admit(&mut request, connection).await {
            Ok(admitted) => admitted,
            Err(refused) => {
                let request = request.map(|_| Body::empty());
                return self.refuse_page(request, refused).await;
            }
        };
        let mut answer = match admitted.refused {
            Some(refused) if is_of_page => {
                let request = request.map(|_| Body::empty());
                self.refuse_page(request, refused).await?
            }
            Some(refused) => refusal(request.headers(), refused),
            None => self.route(request.map(Body::new), is_of_page).await?,
        };

        // Whether something was missing or bad is known only here.
        if answer.status() == StatusCode::UNAUTHORIZED {
            let challenge = access::challenge(admitted.has_shown);
            answer
                .headers_mut()
                .insert(header::WWW_AUTHENTICATE, challenge);
        }
        Ok(answer)
    }

    async fn route(
        &self,
        request: Request<Body>,
        is_of_page: bool,
    ) -> Result<Response, Infallible> {
        let routes = if is_of_page {
            &self.of_pages
        } else {
            &self.plain
        };
        routes.clone().oneshot(request).await
    }

    /// The handlers, as nothing must reach them.
    #[cfg(test)]
    pub(super) fn without_access(&self) -> Router {
        self.plain.clone()
    }

    /// Lets a page read why it is refused.
    async fn refuse_page(
        &self,
        request: Request<Body>,
        refused: Error,
    ) -> Result<Response, Infallible> {
        // Without the headers of the CORS layer a browser would keep the answer from its page.
        let answer = service_fn(|request: Request<Body>| {
            std::future::ready(Ok(refusal(request.headers(), refused.clone())))
        });
        self.cors.layer(answer).oneshot(request).await
    }
}

/// Does a browser ask for a page, so that the CORS layer has to see it?
fn is_of_page<B>(request: &Request<B>) -> bool {
    request.headers().contains_key(header::ORIGIN) && !options::is_plain(request)
}

fn router(parts: &RouteParts, settings: &Settings) -> Router {
    let state = parts.state(settings);
    let table = http_routes(&settings.transport.legacy.path).chain(pages::routes());
    let http = table.fold(Router::new(), |http, (path, methods)| {
        http.route(&path, methods)
    });

    // What is at no route.
    let http = match &settings.transport.pages.dir {
        // The user's own files lie beneath everything else.
        Some(folder) => {
            let files = Arc::new(OwnFiles::new(folder, state.bus.memory().clone()));
            http.fallback(move |request| files.clone().answer(request))
        }
        None => http.fallback(not_found),
    };
    http.method_not_allowed_fallback(wrong_method)
        .with_state(state.clone())
        .merge(grpc::routes(state, parts.health.clone()))
}

/// A path, and what answers there.
pub(super) type HttpRoute = (String, MethodRouter<AppState>);

/// The routes of HTTP, but for the pages'.
pub(super) fn http_routes(legacy_path: &str) -> impl Iterator<Item = HttpRoute> + use<> {
    let routes = [
        ("/v1/poll", get(long_poll::poll)),
        ("/v1/sse", get(sse::sse)),
        (publish::EVENTS, post(publish::events)),
        ("/v1/topics/{*topic}", post(publish::topic)),
        ("/v1/topics", get(topics)),
        ("/v1/bus", get(bus_state)),
        ("/healthz", get(async || "ok\n")),
        ("/readyz", get(readyz)),
        ("/metrics", get(metrics)),
        (LEGACY_BESIDE_PAGE, get(legacy::backend)),
    ];

    // Where the configuration names the page's own place, it is there already.
    let legacy =
        (legacy_path != LEGACY_BESIDE_PAGE).then(|| (legacy_path.to_owned(), get(legacy::backend)));
    let named = |(path, methods): (&str, _)| (path.to_owned(), methods);
    routes.into_iter().map(named).chain(legacy)
}

async fn not_found(uri: Uri) -> Error {
    nothing_at(uri.path())
}

pub(super) fn nothing_at(path: &str) -> Error {
    let path = shorten(path);
    let detail = format!("there is nothing at {path}; the start page / shows what there is");
    Error::new(ErrorKind::NotFound, detail)
}

async fn wrong_method(method: Method, uri: Uri) -> Error {
    wrong_method_at(&method, uri.path())
}

pub(super) fn wrong_method_at(method: &Method, path: &str) -> Error {
    let (method, path) = (shorten(method.as_str()), shorten(path));
    let detail = format!("{path} does not take {method}; the Allow header says what it takes");
    Error::new(ErrorKind::MethodNotAllowed, detail)
}
