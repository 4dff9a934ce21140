//! Every address of the gateway, on one port: HTTP/1.1, h2c, gRPC and gRPC-web.
//!
//! Invariant: whether a request comes from a web page or not, the same routes answer it with the
//! same headers, but for those of the CORS protocol that only a page asks for.

mod polls;

use std::convert::Infallible;
use std::result::Result as StdResult;
use std::sync::Arc;

use axum::BoxError;
use axum::Router;
use axum::body::{Body, Bytes, HttpBody};
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, Uri, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{MethodRouter, get, post};
use tonic_health::pb::health_server::HealthServer;
use tonic_health::server::HealthService;
use tower::{Layer as _, ServiceExt as _, service_fn};
use tower_http::cors::CorsLayer;

use super::access::{self, Access};
use super::admin::{self, AdminWatch};
use super::client_address::KnownClient;
use super::connection_info::ConnectionInfo;
use super::counting::{RequestTally, transport_of_call};
use super::long_poll;
use super::own_files::OwnFiles;
use super::peer::PeerWatch;
use super::problem::refusal;
use super::redirect::Redirect;
use super::routes::ListenerRules;
use super::state::{AppState, ConnectionLimits, Settings};
use super::status::{bus_state, metrics, readyz, topics};
use super::{cloud_events, grpc, legacy, openapi, options, pages, publish, sse};
use crate::bus::Bus;
use crate::cursor::shorten;
use crate::error::{Error, ErrorKind};
use crate::metrics::{OpenConnections, Transport};
use crate::source::SourceStates;
use crate::traces::Traces;
use polls::{Asked, is_poll};
pub(super) use polls::{Begun, WaitingPoll};

/// The page of the long-poll era asks for `./backend.php`, so it is answered beside that page, too.
const LEGACY_BESIDE_PAGE: &str = "/clients/longpoll/backend.php";

/// What routes are made of, whatever the configuration says.
pub(crate) struct RouteParts {
    pub(crate) bus: Bus,
    pub(crate) sources: SourceStates,
    pub(crate) health: HealthServer<HealthService>,
    pub(crate) connections: OpenConnections,
    pub(crate) admin: AdminWatch,
    pub(crate) traces: Traces,
}

impl RouteParts {
    fn state(&self, settings: &Settings) -> AppState {
        AppState {
            bus: self.bus.clone(),
            config: settings.transport.clone(),
            sources: self.sources.clone(),
            connections: self.connections.clone(),
            admin: self.admin.clone(),
            traces: self.traces.clone(),
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
    waiting: [(String, Transport); 4],
    state: AppState,
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
            waiting: [
                ("/v1/sse", Transport::Sse),
                ("/v1/poll", Transport::LongPoll),
                (legacy_path, Transport::Legacy),
                (LEGACY_BESIDE_PAGE, Transport::Legacy),
            ]
            .map(|(path, route)| (path.to_owned(), route)),
            state: parts.state(&settings),
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
            Method::GET => self.waiting_at(path).is_some(),
            Method::POST => publish::takes_events(path),
            _ => false,
        }
    }

    fn waiting_at(&self, path: &str) -> Option<Transport> {
        let mut waiting = self.waiting.iter();
        let found = waiting.find(|(waiting, _)| waiting == path);
        found.map(|(_, transport)| *transport)
    }

    /// Checks a request, and has the routes answer it to the end of a poll's wait.
    #[cfg(test)]
    pub(super) async fn answer<B>(
        &self,
        request: Request<B>,
        connection: &Arc<ConnectionInfo>,
        listener: ListenerRules,
    ) -> StdResult<Response, Infallible>
    where
        B: HttpBody<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        Ok(match self.begin(request, connection, listener).await? {
            Begun::Answered(answer) => answer,
            Begun::Waits(mut poll) => {
                let waited = poll.waiting.as_mut().await;
                self.end_wait(waited, &poll)
            }
        })
    }

    /// Checks a request, and has the routes answer it, but for a poll's wait.
    pub(super) async fn begin<B>(
        &self,
        mut request: Request<B>,
        connection: &Arc<ConnectionInfo>,
        listener: ListenerRules,
    ) -> StdResult<Begun, Infallible>
    where
        B: HttpBody<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        // Looked at now, because the request is handed over below.
        let trusted = &self.limits.proxy.trusted;
        let client = KnownClient::of(request.headers(), connection, trusted);
        let is_of_page = is_of_page(&request);
        let transport = self.transport_of(&request);
        connection.note_request(transport, request.uri());
        let mut tally = RequestTally::begin(transport, &request);

        // Whom it is for, what it asks for, who makes it: in this order, whatever the route.
        let begun = if let Err(refused) = self.access.check_host(&mut request, listener.is_guarded)
        {
            Begun::Answered(refusal(request.headers(), refused))
        } else if let Some(elsewhere) = self.redirect(&request, listener) {
            Begun::Answered(elsewhere)
        } else if options::is_plain(&request) {
            let (uri, rules) = (request.uri().clone(), &self.state.config.quotas);
            let allowed = options::answer(self.plain.clone(), uri, request.headers(), rules);
            Begun::Answered(allowed.await?)
        } else {
            let asked = Asked {
                client: &client,
                is_of_page,
                tally: &mut tally,
            };
            self.admit_and_begin(request, connection, asked).await?
        };

        Ok(match begun {
            Begun::Answered(answer) => {
                tally.count(&self.state.bus, &answer);
                // The CORS layer has marked the others itself.
                let answer = if is_of_page {
                    answer
                } else {
                    self.marked(answer)
                };
                Begun::Answered(answer)
            }
            waits @ Begun::Waits(_) => waits,
        })
    }

    /// What a request is counted by.
    fn transport_of<B>(&self, request: &Request<B>) -> Transport {
        let waiting = self.waiting_at(request.uri().path());
        waiting.unwrap_or_else(|| transport_of_call(request.headers()))
    }

    fn marked(&self, mut answer: Response) -> Response {
        let (name, value) = &self.mark;
        answer.headers_mut().append(name, value.clone());
        answer
    }

    /// The answer to a request that is to be asked where it is encrypted.
    fn redirect<B>(&self, request: &Request<B>, listener: ListenerRules) -> Option<Response> {
        let (redirect, port) = self.redirect.zip(listener.https_port)?;
        redirect.answer(request, port)
    }

    /// Has the routes answer a request, once it is decided who makes it.
    async fn admit_and_begin<B>(
        &self,
        mut request: Request<B>,
        connection: &Arc<ConnectionInfo>,
        Asked {
            client,
            is_of_page,
            tally,
        }: Asked<'_>,
    ) -> StdResult<Begun, Infallible>
    where
        B: HttpBody<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let mut admitted = match self.access.admit(&mut request, connection, client).await {
            Ok(admitted) => admitted,
            Err(refused) => {
                let request = request.map(|_| Body::empty());
                return Ok(Begun::Answered(self.refuse_page(request, refused).await?));
            }
        };
        let has_shown = admitted.has_shown;
        let answer = match admitted.refused.take() {
            Some(refused) if is_of_page => {
                let request = request.map(|_| Body::empty());
                self.refuse_page(request, refused).await?
            }
            Some(refused) => refusal(request.headers(), refused),
            None if is_poll(request.method(), tally.transport) && !is_of_page => {
                let peer = PeerWatch::on(connection);
                let by = (tally.transport, peer);
                match self.begin_poll(request, &admitted, by).await {
                    Ok(waiting) => {
                        let tally = tally.take();
                        return Ok(Begun::Waits(WaitingPoll::new(waiting, has_shown, tally)));
                    }
                    Err(refused) => refused.into_response(),
                }
            }
            None => {
                admitted.put_into(request.extensions_mut());
                if tally.transport != Transport::Http {
                    request.extensions_mut().insert(connection.clone());
                }
                self.route(request.map(Body::new), is_of_page).await?
            }
        };
        Ok(Begun::Answered(challenged(answer, has_shown)))
    }

    async fn route(
        &self,
        request: Request<Body>,
        is_of_page: bool,
    ) -> StdResult<Response, Infallible> {
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
    ) -> StdResult<Response, Infallible> {
        // Without the headers of the CORS layer a browser would keep the answer from its page.
        let answer = service_fn(|request: Request<Body>| {
            std::future::ready(Ok(refusal(request.headers(), refused.clone())))
        });
        self.cors.layer(answer).oneshot(request).await
    }
}

/// Says which credentials would help, where some would. Whether they were missing or bad is known
/// only once there is an answer.
fn challenged(mut answer: Response, has_shown: bool) -> Response {
    if answer.status() == StatusCode::UNAUTHORIZED {
        let challenge = access::challenge(has_shown);
        answer
            .headers_mut()
            .insert(header::WWW_AUTHENTICATE, challenge);
    }
    answer
}

/// Does a browser ask for a page, so that the CORS layer has to see it?
fn is_of_page<B>(request: &Request<B>) -> bool {
    request.headers().contains_key(header::ORIGIN) && !options::is_plain(request)
}

fn router(parts: &RouteParts, settings: &Settings) -> Router {
    let state = parts.state(settings);
    let config = &settings.transport;
    let table = http_routes(&config.legacy.path)
        .chain(pages::routes(&config.pages))
        .chain(admin::routes());
    let http = table.fold(Router::new(), |http, (path, methods)| {
        http.route(&path, methods)
    });

    // What is at no route.
    let http = match &config.pages.dir {
        // The user's own files lie beneath everything else.
        Some(folder) => {
            let files = Arc::new(OwnFiles::new(
                folder,
                &config.pages,
                state.bus.memory().clone(),
            ));
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
        (cloud_events::CLOUD_EVENTS, post(cloud_events::cloud_events)),
        ("/v1/topics", get(topics)),
        ("/v1/bus", get(bus_state)),
        ("/healthz", get(async || "ok\n")),
        ("/readyz", get(readyz)),
        ("/metrics", get(metrics)),
        ("/openapi.json", openapi::route(legacy_path)),
        (LEGACY_BESIDE_PAGE, get(legacy::backend)),
    ];

    // Where the configuration names the page's own place, it is there already.
    let legacy =
        (legacy_path != LEGACY_BESIDE_PAGE).then(|| (legacy_path.to_owned(), get(legacy::backend)));
    let named = |(path, methods): (&str, _)| (path.to_owned(), methods);
    routes.into_iter().map(named).chain(legacy)
}

async fn not_found(
    State(state): State<AppState>,
    method: Method,
    headers: HeaderMap,
    uri: Uri,
) -> Response {
    pages::nothing_at(&state.config.pages, &method, &headers, uri.path())
}

async fn wrong_method(method: Method, uri: Uri) -> Error {
    wrong_method_at(&method, uri.path())
}

pub(super) fn wrong_method_at(method: &Method, path: &str) -> Error {
    let (method, path) = (shorten(method.as_str()), shorten(path));
    let detail = format!("{path} does not take {method}; the Allow header says what it takes");
    Error::new(ErrorKind::MethodNotAllowed, detail)
}
