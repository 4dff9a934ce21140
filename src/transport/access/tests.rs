//! Every route and every call, asked by somebody who may do nothing.

mod documented;
mod matrix;

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, Method, Request, StatusCode, Version, header};
use axum::response::Response;
use http_body_util::BodyExt as _;
use prost::Message;
use prost_types::FileDescriptorSet;
use tonic::Code;
use tonic_health::pb::health_server::HealthServer;
use tonic_health::server::{HealthReporter, HealthService};
use tower::ServiceExt as _;

use super::RequestCaller;
use crate::auth::AuthBackground;
use crate::bus::Bus;
use crate::caller::{Caller, Permission};
use crate::config::{Config, Overrides};
use crate::engine::MemoryEngine;
use crate::error::ErrorKind;
use crate::metrics::OpenConnections;
use crate::source::SourceStates;
use crate::transport::connection_info::{ConnectionInfo, PeerAddress};
use crate::transport::grpc::{self, client_proto};
use crate::transport::router::{RouteParts, RouteTable, http_routes};
use crate::transport::routes::ListenerRules;
use crate::transport::state::{Settings, TransportConfig};
use crate::transport::{AdminWatch, admin, cloud_events, pages, publish};

const EVENT: &str = r#"{"topic":"door.1","data":1}"#;
const NOBODY: Caller = Caller::unnamed(Permission::Nothing, Permission::Nothing);

/// The routes of a gateway of its own, for this caller.
fn table(anonymous: Caller) -> RouteTable {
    let config = Config::parse("[legacy]\nwait = \"1ms\"", Overrides::default());
    let config = config.expect("a configuration");
    let transport = TransportConfig {
        anonymous,
        ..TransportConfig::of(&config, &AuthBackground::default())
    };
    table_with(&config, transport)
}

fn table_with(config: &Config, transport: TransportConfig) -> RouteTable {
    let engine = Arc::new(MemoryEngine::new(Duration::from_secs(60)));
    let health = HealthService::from_health_reporter(HealthReporter::new());
    let parts = RouteParts {
        bus: Bus::start(engine, config.bus.clone()),
        sources: SourceStates::none(),
        health: HealthServer::new(health),
        connections: OpenConnections::default(),
        admin: AdminWatch::default(),
        traces: crate::traces::Traces::default(),
    };
    let settings = Settings {
        transport: Arc::new(transport),
        ..Settings::of(config, &AuthBackground::default())
    };
    RouteTable::new(&parts, settings)
}

fn request(
    method: Method,
    target: &str,
    content_type: &str,
    body: impl Into<Body>,
) -> Request<Body> {
    let request = Request::builder().method(method).uri(target);
    let request = request.header(header::HOST, "localhost");
    let request = request.header(header::CONTENT_TYPE, content_type);
    request.body(body.into()).expect("a request")
}

fn connection() -> Arc<ConnectionInfo> {
    let peer = PeerAddress::Ip(([127, 0, 0, 1], 7).into());
    Arc::new(ConnectionInfo::plain(peer))
}

async fn answer(table: &RouteTable, request: Request<Body>) -> Response {
    table
        .answer(request, &connection(), ListenerRules::LOCAL)
        .await
        .expect("an answer")
}

async fn text_of(answer: Response) -> String {
    let body = answer.into_body().collect().await.expect("a body");
    String::from_utf8(body.to_bytes().to_vec()).expect("text")
}

/// Who may use a route.
#[derive(Debug, PartialEq, Eq)]
enum Needs {
    /// The right to read something, or to publish something.
    Right,
    Nothing,
}

/// What each path needs. Who adds one says it here.
fn needs(path: &str) -> Needs {
    match path {
        "/v1/poll"
        | "/v1/sse"
        | "/v1/topics"
        | "/v1/bus"
        | "/metrics"
        | "/v1/events"
        | "/v1/topics/{*topic}"
        | "/v1/cloudevents"
        | "/backend.php"
        | "/clients/longpoll/backend.php"
        | "/admin" => Needs::Right,
        api if api.starts_with(admin::API) => Needs::Right,
        "/" | "/clients" | "/healthz" | "/readyz" | "/openapi.json" => Needs::Nothing,
        page if page.starts_with("/clients/") || page.starts_with("/docs") => Needs::Nothing,
        new => panic!("{new} is not known: does it read or publish?"),
    }
}

/// A body that such a path takes.
fn body_for(path: &str) -> &'static str {
    match path.strip_prefix(admin::API) {
        None => EVENT,
        Some("cut") => r#"{"id":4000000000}"#,
        Some("revoke") => r#"{"name":"nobody at all"}"#,
        Some("purge") => r#"{"topic":"nothing.here"}"#,
        Some("delete") => r#"{"vid":9000000000}"#,
        Some("read-only") => r#"{"on":false}"#,
        Some(_) => "",
    }
}

/// Is there nothing that such an action could be done to, or nobody with a name?
fn finds_nothing(path: &str, status: StatusCode) -> bool {
    let has_nothing = [StatusCode::NOT_FOUND, StatusCode::NOT_IMPLEMENTED];
    path.starts_with(admin::API) && has_nothing.contains(&status)
}

/// With the headers of a CloudEvent where nothing else is taken.
fn as_cloud_event(mut request: Request<Body>) -> Request<Body> {
    if request.uri().path() == cloud_events::CLOUD_EVENTS {
        let headers = request.headers_mut();
        for (name, value) in [
            ("ce-specversion", "1.0"),
            ("ce-id", "1"),
            ("ce-source", "/"),
            ("ce-type", "t"),
        ] {
            headers.insert(name, HeaderValue::from_static(value));
        }
    }
    request
}

/// A request that such a path can serve.
fn target(path: &str) -> String {
    let path = path.replace("{*topic}", "door.1");
    let path = path.replace("{*path}", "contract.md");
    match &*path {
        "/v1/poll" | "/v1/sse" => format!("{path}?wait=0"),
        _ => path,
    }
}

/// The methods that the router has for a path.
async fn methods(table: &RouteTable, target: &str) -> Vec<Method> {
    let options = answer(table, request(Method::OPTIONS, target, "", "")).await;
    let allowed = options.headers()[header::ALLOW].to_str().expect("text");
    let names = allowed.split(',').map(str::trim);
    let methods = names.map(|name| name.parse().expect("a method"));
    methods
        .filter(|method| *method != Method::OPTIONS)
        .collect()
}

/// Every path of the router with each of its methods.
async fn http_requests(table: &RouteTable) -> Vec<(String, Method)> {
    let mut requests = Vec::new();
    let config = Config::parse("", Overrides::default()).expect("defaults");
    let routes = http_routes("/backend.php")
        .chain(pages::routes(&config.pages))
        .chain(admin::routes());
    for (path, _) in routes {
        for method in methods(table, &target(&path)).await {
            requests.push((path.clone(), method));
        }
    }
    assert!(requests.len() > 30, "the routes have not been found");
    requests
}

#[tokio::test]
async fn each_route_that_reads_or_publishes_refuses_who_may_do_neither() {
    let (closed, open) = (table(NOBODY), table(Caller::anonymous()));
    for (path, method) in http_requests(&closed).await {
        let body = body_for(&path);
        let ask = || {
            let ask = request(method.clone(), &target(&path), "application/json", body);
            as_cloud_event(ask)
        };
        let refused = answer(&closed, ask()).await.status();
        match needs(&path) {
            Needs::Right => assert_eq!(refused, StatusCode::FORBIDDEN, "{method} {path}"),
            Needs::Nothing => assert_ne!(refused, StatusCode::FORBIDDEN, "{method} {path}"),
        }

        // So it was for want of a right that it was refused.
        let served = answer(&open, ask()).await.status();
        let is_served =
            served.is_success() || needs(&path) == Needs::Nothing || finds_nothing(&path, served);
        assert!(is_served, "{method} {path}: {served}");
    }
}

#[tokio::test]
async fn a_batch_is_refused_whole_and_lines_are_refused_one_by_one() {
    let closed = table(NOBODY);
    let batch = format!("[{EVENT},{EVENT}]");
    let batch = request(Method::POST, publish::EVENTS, "application/json", batch);
    assert_eq!(answer(&closed, batch).await.status(), StatusCode::FORBIDDEN);

    let lines = format!("{EVENT}\n{EVENT}\n");
    let lines = request(Method::POST, publish::EVENTS, "application/x-ndjson", lines);
    let answers = text_of(answer(&closed, lines).await).await;
    let refused = answers
        .lines()
        .filter(|line| line.contains(r#""status":403"#));
    assert_eq!(refused.count(), 2, "{answers}");
}

#[tokio::test]
async fn a_page_of_another_origin_publishes_nowhere_and_reads_why() {
    let open = table(Caller::anonymous());
    for (path, method) in http_requests(&open).await {
        let mut ask = request(method.clone(), &target(&path), "application/json", EVENT);
        let origin = "https://elsewhere.test".parse().expect("a header");
        ask.headers_mut().insert(header::ORIGIN, origin);
        let answer = answer(&open, ask).await;
        let is_refused = answer.status() == StatusCode::FORBIDDEN;
        let is_to_be = method == Method::POST || path.starts_with(admin::API);
        assert_eq!(is_refused, is_to_be, "{method} {path}");
        let readable = &answer.headers()[header::ACCESS_CONTROL_ALLOW_ORIGIN];
        assert_eq!(readable, "*", "{method} {path}");
    }
}

/// A call as gRPC frames it.
fn call(path: &str, message: &impl Message) -> Request<Body> {
    let message = message.encode_to_vec();
    let length = u32::try_from(message.len()).expect("a short message");
    let frame = [&[0], &length.to_be_bytes()[..], &message].concat();
    let mut request = request(Method::POST, path, "application/grpc", frame);
    *request.version_mut() = Version::HTTP_2;
    request
}

/// The calls of these services, as `/package.Service/Method`.
fn calls_of(descriptors: &[u8]) -> Vec<String> {
    let set = FileDescriptorSet::decode(descriptors).expect("descriptors");
    let mut paths = Vec::new();
    for file in set.file {
        let package = file.package().to_owned();
        for service in file.service {
            let calls = service.method.iter();
            paths
                .extend(calls.map(|call| format!("/{package}.{}/{}", service.name(), call.name())));
        }
    }
    assert!(!paths.is_empty(), "the services have not been found");
    paths
}

/// A request that each call can serve; none where nobody needs a right for it. Who adds a call
/// says it here.
fn guarded_call(path: &str) -> Option<Request<Body>> {
    let event = client_proto::NewEvent {
        topic: "door.1".into(),
        ..Default::default()
    };
    let batch = client_proto::PublishRequest {
        events: vec![event],
    };
    let request = match path {
        "/vidette.v1.EventBus/Publish" | "/vidette.v1.EventBus/PublishStream" => call(path, &batch),
        "/vidette.v1.EventBus/Subscribe" => call(path, &client_proto::SubscribeRequest::default()),
        "/vidette.v1.EventBus/GetBus" => call(path, &client_proto::GetBusRequest::default()),
        "/vidette.v1.EventBus/ListTopics" => {
            call(path, &client_proto::ListTopicsRequest::default())
        }
        open if open.starts_with("/grpc.health.v1.Health/") => return None,
        open if open.starts_with("/grpc.reflection.") => return None,
        new => panic!("{new} is not known: does it read or publish?"),
    };
    Some(request)
}

/// The status of a call that ends.
async fn code_of(answer: Response) -> Code {
    let code = |headers: &HeaderMap| {
        let status = headers.get("grpc-status")?;
        Some(Code::from_bytes(status.as_bytes()))
    };
    if let Some(code) = code(answer.headers()) {
        return code;
    }
    let body = answer.into_body().collect().await.expect("a body");
    body.trailers().and_then(code).expect("a status")
}

#[tokio::test]
async fn each_call_that_reads_or_publishes_refuses_who_may_do_neither() {
    let closed = table(NOBODY);
    let sets = [
        grpc::DESCRIPTORS,
        tonic_health::pb::FILE_DESCRIPTOR_SET,
        tonic_reflection::pb::v1::FILE_DESCRIPTOR_SET,
        tonic_reflection::pb::v1alpha::FILE_DESCRIPTOR_SET,
    ];
    for path in sets.into_iter().flat_map(calls_of) {
        let Some(request) = guarded_call(&path) else {
            let open = answer(&closed, call(&path, &())).await;
            assert_ne!(
                open.headers().get("grpc-status").map(HeaderValue::as_bytes),
                Some(&b"7"[..]),
                "{path}"
            );
            continue;
        };
        let code = code_of(answer(&closed, request).await).await;
        assert_eq!(code, Code::PermissionDenied, "{path}");
    }
}

#[tokio::test]
async fn who_has_passed_no_access_check_is_served_nothing() {
    let open = table(Caller::anonymous());
    for (path, method) in http_requests(&open).await {
        let ask = request(method.clone(), &target(&path), "application/json", EVENT);
        let answer = open.without_access().oneshot(ask).await.expect("an answer");
        let is_refused = answer.status() == StatusCode::INTERNAL_SERVER_ERROR;
        assert_eq!(is_refused, needs(&path) == Needs::Right, "{method} {path}");
    }
    for path in calls_of(grpc::DESCRIPTORS) {
        let request = guarded_call(&path).expect("a call that needs a right");
        let answer = open.without_access().oneshot(request).await;
        let code = code_of(answer.expect("an answer")).await;
        assert_eq!(code, Code::Internal, "{path}");
    }
    let missing = RequestCaller::of(&axum::http::Extensions::new());
    assert_eq!(missing.expect_err("an error").kind(), ErrorKind::Internal);
}
