//! Which web pages may read and publish (contract §5 "not allowed"; the Fetch standard, "CORS
//! protocol").

use reqwest::{Method, RequestBuilder};
use serde_json::json;
use tonic::Code;
use vidette::proto::{NewEvent, PublishRequest};

use crate::common::gateway::Gateway;
use crate::common::grpc;
use crate::support::{Answer, bounds, gateway};

const FOREIGN: &str = "https://elsewhere.test";
const ALLOWED: &str = "https://allowed.test";
/// Each way of publishing over HTTP: path, content type, body.
const PUBLISHING: [(&str, &str, &str); 4] = [
    (
        "/v1/events",
        "application/json",
        r#"{"topic":"door.1","data":1}"#,
    ),
    (
        "/v1/events",
        "text/plain",
        r#"[{"topic":"door.1","data":1}]"#,
    ),
    (
        "/v1/events",
        "application/x-ndjson",
        r#"{"topic":"door.1","data":1}"#,
    ),
    ("/v1/topics/door.1", "text/plain", "x"),
];
const READING: [&str; 8] = [
    "/v1/poll?wait=0",
    "/v1/sse?wait=0",
    "/v1/bus",
    "/v1/topics",
    "/healthz",
    "/metrics",
    "/backend.php?maxvid=0",
    "/v1/poll?after=nonsense",
];

fn request(gateway: &Gateway, method: Method, path: &str, origin: &str) -> RequestBuilder {
    reqwest::Client::new()
        .request(method, format!("{}{path}", gateway.url()))
        .header("origin", origin)
}

async fn send(request: RequestBuilder) -> Answer {
    Answer::of(request.send().await.expect("an answer")).await
}

async fn publish_as(
    gateway: &Gateway,
    origin: &str,
    (path, content_type, body): (&str, &str, &str),
) -> Answer {
    let request = request(gateway, Method::POST, path, origin);
    send(
        request
            .header("content-type", content_type)
            .body(body.to_owned()),
    )
    .await
}

async fn publish_by_grpc_as(gateway: &Gateway, origin: &str) -> Result<u64, Code> {
    let event = NewEvent {
        topic: "door.1".into(),
        data: "1".into(),
        ..NewEvent::default()
    };
    let mut request = tonic::Request::new(PublishRequest {
        events: vec![event],
    });
    request
        .metadata_mut()
        .insert("origin", origin.parse().expect("a header"));
    let answer = grpc::client(&gateway.url()).await.publish(request).await;
    answer
        .map(|a| a.into_inner().first_vid)
        .map_err(|status| status.code())
}

#[tokio::test]
async fn any_page_may_read_without_credentials() {
    let gateway = Gateway::in_memory();
    gateway
        .publish(&json!({ "topic": "door.1", "data": 1 }))
        .await;
    for origin in [FOREIGN, "null", "http://localhost:3000"] {
        for path in READING {
            let answer = send(request(&gateway, Method::GET, path, origin)).await;
            assert_eq!(
                answer.header("access-control-allow-origin"),
                Some("*"),
                "{origin} {path}: {answer:?}"
            );
            assert_eq!(
                answer.header("access-control-allow-credentials"),
                None,
                "{origin} {path}"
            );
            let exposed = answer
                .header("access-control-expose-headers")
                .unwrap_or_default();
            assert!(
                exposed.contains("retry-after") && exposed.contains("grpc-status"),
                "{origin} {path}: {exposed}"
            );
        }
    }
}

#[tokio::test]
async fn no_page_of_another_origin_may_publish_unless_it_is_allowed() {
    let gateway = Gateway::in_memory();
    let almost_its_own = [
        gateway.url().replace("127.0.0.1", "localhost"),
        format!("{}0", gateway.url()),
    ];
    for origin in [
        FOREIGN,
        "null",
        "http://",
        &almost_its_own[0],
        &almost_its_own[1],
    ] {
        for way in PUBLISHING {
            let detail = publish_as(&gateway, origin, way).await.problem(403);
            assert!(
                detail.contains("origins.allow"),
                "{origin} {way:?}: {detail}"
            );
        }
        assert_eq!(
            publish_by_grpc_as(&gateway, origin).await,
            Err(Code::PermissionDenied),
            "{origin}"
        );
    }
    assert_eq!(bounds(&gateway).await, (1, 0), "nothing was published");
}

#[tokio::test]
async fn a_page_of_the_gateway_itself_may_publish() {
    let gateway = Gateway::in_memory();
    for way in PUBLISHING {
        assert_eq!(
            publish_as(&gateway, &gateway.url(), way).await.status,
            200,
            "{way:?}"
        );
    }
}

/// As a browser does behind a proxy that speaks HTTP/2 to the gateway: there `:authority` stands
/// for `Host`.
#[tokio::test]
async fn a_page_of_the_gateway_itself_may_publish_over_http2() {
    let gateway = Gateway::in_memory();
    let client = reqwest::Client::builder()
        .http2_prior_knowledge()
        .build()
        .expect("a client");
    for (path, content_type, body) in PUBLISHING {
        let request = client
            .post(format!("{}{path}", gateway.url()))
            .header("origin", gateway.url());
        let answer = send(request.header("content-type", content_type).body(body)).await;
        assert_eq!(answer.status, 200, "{path}: {answer:?}");
    }
    assert_eq!(publish_by_grpc_as(&gateway, &gateway.url()).await, Ok(5));
}

#[tokio::test]
async fn pages_on_the_list_may_read_and_publish_and_others_may_do_neither() {
    let gateway = gateway(
        "memory",
        &format!("[origins]\nallow = [\"{ALLOWED}\", \"http://second.test:8000\"]"),
    );
    for origin in [ALLOWED, "http://second.test:8000"] {
        for way in PUBLISHING {
            let answer = publish_as(&gateway, origin, way).await;
            assert_eq!(answer.status, 200, "{origin} {way:?}: {answer:?}");
            assert_eq!(
                answer.header("access-control-allow-origin"),
                Some(origin),
                "{way:?}"
            );
            assert_eq!(
                answer.header("access-control-allow-credentials"),
                Some("true"),
                "{way:?}"
            );
            assert!(
                answer
                    .header("vary")
                    .is_some_and(|v| v.to_lowercase().contains("origin")),
                "{answer:?}"
            );
        }
        assert!(
            publish_by_grpc_as(&gateway, origin).await.is_ok(),
            "{origin}"
        );
    }
    let before = bounds(&gateway).await;
    for origin in [
        FOREIGN,
        "https://allowed.test.evil.test",
        "http://allowed.test",
        "https://sub.allowed.test",
        "null",
    ] {
        for way in PUBLISHING {
            publish_as(&gateway, origin, way).await.problem(403);
        }
        assert_eq!(
            publish_by_grpc_as(&gateway, origin).await,
            Err(Code::PermissionDenied),
            "{origin}"
        );
        for path in READING {
            let answer = send(request(&gateway, Method::GET, path, origin)).await;
            assert_eq!(
                answer.header("access-control-allow-origin"),
                None,
                "{origin} {path}"
            );
        }
    }
    assert_eq!(bounds(&gateway).await, before, "nothing was published");
}

#[tokio::test]
async fn a_preflight_is_answered_for_reading_and_for_pages_on_the_list() {
    let open = Gateway::in_memory();
    let listed = gateway("memory", &format!("[origins]\nallow = \"{ALLOWED}\""));
    for (gateway, origin, allowed) in [
        (&open, FOREIGN, Some("*")),
        (&listed, ALLOWED, Some(ALLOWED)),
        (&listed, FOREIGN, None),
    ] {
        for path in [
            "/v1/events",
            "/v1/topics/door.1",
            "/v1/poll",
            "/vidette.v1.EventBus/Publish",
        ] {
            let preflight = request(gateway, Method::OPTIONS, path, origin)
                .header("access-control-request-method", "POST")
                .header(
                    "access-control-request-headers",
                    "content-type,last-event-id,traceparent,tracestate,x-grpc-web",
                );
            let answer = send(preflight).await;
            assert_eq!(answer.status, 200, "{path}");
            assert_eq!(
                answer.header("access-control-allow-origin"),
                allowed,
                "{origin} {path}: {answer:?}"
            );
            let methods = answer
                .header("access-control-allow-methods")
                .unwrap_or_default();
            assert!(
                methods.contains("GET") && methods.contains("POST"),
                "{path}: {methods}"
            );
            let headers = answer
                .header("access-control-allow-headers")
                .unwrap_or_default();
            // `*` would not let `Authorization` through.
            for needed in ["last-event-id", "traceparent", "tracestate"] {
                assert!(headers.contains(needed), "{path}: {headers}");
            }
        }
    }
}
