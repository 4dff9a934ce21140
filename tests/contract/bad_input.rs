//! Whatever comes in is answered with a problem or ends the connection, and the gateway goes on
//! (contract §5).

use serde_json::json;
use tonic::Code;
use vidette::proto::{ListTopicsRequest, NewEvent, PublishRequest, SubscribeRequest};

use crate::common::gateway::Gateway;
use crate::common::grpc;
use crate::common::read::{Refused, SubscribeParams, Transport};
use crate::support::{
    Answer, assert_serves, bounds, gateway, get, open, post, post_events, post_lines, refusal,
};

#[tokio::test]
async fn a_bad_address_is_answered_with_its_problem() {
    let gateway = Gateway::in_memory();
    let long = "x".repeat(256);
    let many_tokens = vec!["t"; 17].join(".");
    let many_topics: String = (0..101).fold(String::new(), |all, n| all + &format!("topic=t.{n}&"));
    let common = [
        "nonsense=1".to_owned(),
        "Topic=a".into(),
        "topics=a".into(),
        "topic=".into(),
        "topic=a..b".into(),
        "topic=.a".into(),
        "topic=a.".into(),
        "topic=a%20b".into(),
        "topic=a+b".into(),
        "topic=a%00b".into(),
        "topic=a%0ab".into(),
        "topic=%C2%A0".into(),
        "topic=%ff".into(),
        "topic=%C3".into(),
        "%ff=1".into(),
        "topic=a.%3E.b".into(),
        "topic=a*".into(),
        "topic=%3E%3E".into(),
        format!("topic={long}"),
        format!("topic={many_tokens}"),
        many_topics,
        "limit=-1".into(),
        "limit=ten".into(),
        "limit=1&limit=1".into(),
        "limit=1000001".into(),
        "limit=4294967296".into(),
    ];
    let subscribing = [
        "after=x",
        "after=1&after=1",
        "after=%00",
        "since=x",
        "since=1m&since=1m",
        "snapshot=maybe",
        "snapshot=true&snapshot=true",
        "on_gap=ignore",
        "on_gap=fail&on_gap=fail",
        "limit=0",
        "wait=-1",
        "wait=121",
        "wait=NaN",
        "wait=inf",
        "wait=soon",
        "wait=1&wait=1",
    ];
    for path in ["/v1/poll", "/v1/sse"] {
        for query in common.iter().map(String::as_str).chain(subscribing) {
            let answer = get(&gateway, &format!("{path}?{query}")).await;
            assert!(
                !answer.problem(400).is_empty(),
                "{path}?{query}: {answer:?}"
            );
        }
    }
    for query in common
        .iter()
        .map(String::as_str)
        .chain(["page_token=a&page_token=b"])
    {
        get(&gateway, &format!("/v1/topics?{query}"))
            .await
            .problem(400);
    }
    assert_serves(&gateway, "bad queries").await;
}

#[tokio::test]
async fn a_bad_path_is_answered_with_its_problem() {
    let gateway = Gateway::in_memory();
    for path in [
        "/v1/poll?format=raw",
        "/v1/sse?format=xml",
        "/v1/sse?format=raw&format=raw",
        "/v1/bus?topic=a",
    ] {
        get(&gateway, path).await.problem(400);
    }
    for maxvid in [
        "-1",
        "x",
        "latest",
        "9007199254740992",
        "1-",
        "%ff",
        "1&maxvid=1",
    ] {
        get(&gateway, &format!("/backend.php?maxvid={maxvid}"))
            .await
            .problem(400);
    }
    for path in [
        "/v1",
        "/v1/",
        "/v1/nothing",
        "/v1/poll/",
        "/v2/poll",
        "/V1/poll",
        "/%ff",
        "/..%2f..%2fetc/passwd",
    ] {
        get(&gateway, path).await.problem(404);
    }
    assert_serves(&gateway, "bad addresses").await;
}

#[tokio::test]
async fn a_bad_body_is_answered_with_its_problem_and_nothing_is_published() {
    let gateway = Gateway::in_memory();
    let deep = "[".repeat(200_000);
    let many_headers: String =
        (0..33).fold(String::new(), |all, n| all + &format!("\"h{n}\":\"v\","));
    let mut bodies: Vec<Vec<u8>> = [
        "",
        " ",
        "null",
        "7",
        "\"text\"",
        "{",
        "{}",
        "[]",
        "[",
        "[{}]",
        "[null]",
        "{\"topic\":\"a\",\"data\":1}x",
        "{\"topic\":\"a\",\"data\":1}{\"topic\":\"a\",\"data\":1}",
        "{\"topic\":\"a\"}",
        "{\"data\":1}",
        "{\"topic\":7,\"data\":1}",
        "{\"topic\":null,\"data\":1}",
        "{\"topic\":\"\",\"data\":1}",
        "{\"topic\":\"a\",\"topic\":\"b\",\"data\":1}",
        "{\"topic\":\"a\",\"data\":1,\"data\":2}",
        "{\"topic\":\"a\",\"data\":01}",
        "{\"topic\":\"a\",\"data\":NaN}",
        "{\"topic\":\"a\",\"data\":'x'}",
        "{\"topic\":\"a\",\"data\":\"\n\"}",
        "{\"topic\":\"a\",\"data\":1,}",
        "{\"topic\":\"a\",\"data\":1,\"unknown\":1}",
        "{\"topic\":\"a\",\"data\":1,\"time\":\"2026-11-22T10:00:00Z\"}",
        "{\"topic\":\"a\",\"data\":1,\"id\":7}",
        "{\"topic\":\"a\",\"data\":1,\"id\":\"\\u0000\"}",
        "{\"topic\":\"a\",\"data\":1,\"type\":\"open\"}",
        "{\"topic\":\"a\",\"data\":1,\"type\":\"error\"}",
        "{\"topic\":\"a\",\"data\":1,\"type\":\"a\\nb\"}",
        "{\"topic\":\"a\",\"data\":1,\"headers\":[]}",
        "{\"topic\":\"a\",\"data\":1,\"headers\":{\"a\":1}}",
        "{\"topic\":\"a\",\"data\":1,\"headers\":{\"\":\"a\"}}",
        "{\"topic\":\"a\",\"data\":1,\"content_type\":\"text/plain\"}",
        "{\"topic\":\"a\",\"data\":1,\"content_type\":\"image/png\"}",
        "{\"topic\":\"a\",\"data_base64\":\"YQ\"}",
        "{\"topic\":\"a\",\"data_base64\":\"/w==\",\"content_type\":\"text/plain\"}",
        "{\"topic\":\"a\",\"data_base64\":\"e30x\",\"content_type\":\"application/json\"}",
        "{\"topic\":\"a\\u0000b\",\"data\":1}",
        "{\"topic\":\"\\ud800\",\"data\":1}",
        "{\"topic\":\"a b\",\"data\":1}",
        "{\"topic\":\"a.*\",\"data\":1}",
        "{\"topic\":\"vidette.bus\",\"data\":1}",
    ]
    .map(|body| body.as_bytes().to_vec())
    .into();
    bodies.extend([
        b"{\"topic\":\"\xff\",\"data\":1}".to_vec(),
        b"{\"topic\":\"a\",\"data\":\"\xff\"}".to_vec(),
        b"{\"topic\":\"a\",\"data\":\"\xed\xa0\x80\"}".to_vec(),
        b"\xef\xbb\xbf{\"topic\":\"a\",\"data\":1}".to_vec(),
        b"\x00\x01\x02\x03".to_vec(),
        deep.clone().into_bytes(),
        format!("{{\"topic\":\"a\",\"unknown\":{deep}").into_bytes(),
        format!("{{\"topic\":\"a\",\"data\":{deep}").into_bytes(),
        format!("{{\"topic\":\"a\",\"headers\":{deep}").into_bytes(),
        format!("{{\"topic\":\"{}\",\"data\":1}}", "x".repeat(256)).into_bytes(),
        format!(
            "{{\"topic\":\"a\",\"data\":1,\"id\":\"{}\"}}",
            "x".repeat(256)
        )
        .into_bytes(),
        format!(
            "{{\"topic\":\"a\",\"data\":1,\"type\":\"{}\"}}",
            "x".repeat(65)
        )
        .into_bytes(),
        format!(
            "{{\"topic\":\"a\",\"data\":1,\"headers\":{{\"a\":\"{}\"}}}}",
            "x".repeat(4096)
        )
        .into_bytes(),
        format!("{{\"topic\":\"a\",\"data\":1,\"headers\":{{{many_headers}\"h\":\"v\"}}}}")
            .into_bytes(),
    ]);
    for body in bodies {
        let shown: String = String::from_utf8_lossy(&body).chars().take(80).collect();
        let answer = post_events(&gateway, body.clone()).await;
        assert!(!answer.problem(400).is_empty(), "{shown}");
        // As a line, among good ones: whatever is no UTF-8 ends the stream, and white space alone
        // is passed over.
        let is_line = std::str::from_utf8(&body)
            .is_ok_and(|text| !text.contains('\n') && !text.trim().is_empty());
        if is_line {
            let answers = post_lines(&gateway, body).await.lines();
            assert_eq!(
                (answers.len(), &answers[0]["error"]["status"]),
                (1, &json!(400)),
                "{shown}: {answers:?}"
            );
        }
        assert_eq!(bounds(&gateway).await, (1, 0), "{shown} was published");
    }
    assert_serves(&gateway, "bad bodies").await;
}

#[tokio::test]
async fn deep_json_is_data_like_any_other() {
    let gateway = Gateway::in_memory();
    // With the object around it as deep as may be.
    let deep = format!("{}{}", "[".repeat(127), "]".repeat(127));
    assert_eq!(
        post_events(&gateway, format!("{{\"topic\":\"a\",\"data\":{deep}}}"))
            .await
            .status,
        200
    );
    assert_eq!(
        post(&gateway, "/v1/topics/a", "application/json", deep.clone())
            .await
            .status,
        200
    );
    let object = format!("{{\"deep\":{deep}}}");
    assert_eq!(
        post(&gateway, "/v1/topics/a", "application/json", object.clone())
            .await
            .status,
        200
    );
    assert!(
        get(&gateway, "/v1/poll?after=earliest&wait=0")
            .await
            .text
            .contains(&deep)
    );
    assert!(
        get(&gateway, "/v1/sse?after=earliest&wait=0")
            .await
            .text
            .contains(&object)
    );
    assert_eq!(
        get(&gateway, "/backend.php?maxvid=2").await.text,
        object.replacen('{', "{\"vid\":3,", 1)
    );
    assert_serves(&gateway, "deep JSON").await;
}

#[tokio::test]
async fn a_wrong_method_is_told_which_one_is_right() {
    let gateway = Gateway::in_memory();
    for (path, right) in [
        ("/v1/poll", "GET"),
        ("/v1/sse", "GET"),
        ("/v1/bus", "GET"),
        ("/v1/topics", "GET"),
        ("/healthz", "GET"),
        ("/readyz", "GET"),
        ("/metrics", "GET"),
        ("/backend.php", "GET"),
        ("/", "GET"),
        ("/v1/events", "POST"),
        ("/v1/topics/door.1", "POST"),
    ] {
        for method in ["GET", "POST", "PUT", "DELETE", "PATCH", "TRACE", "VIDETTE"] {
            if method == right {
                continue;
            }
            let request = reqwest::Client::new()
                .request(method.parse().expect("a method"), gateway.url() + path);
            let answer = Answer::of(request.body("{}").send().await.expect("an answer")).await;
            answer.problem(405);
            assert!(
                answer
                    .header("allow")
                    .is_some_and(|allow| allow.contains(right)),
                "{method} {path}: {answer:?}"
            );
        }
    }
    assert_serves(&gateway, "wrong methods").await;
}

#[tokio::test]
async fn bad_grpc_requests_have_the_codes_of_the_contract() {
    let gateway = Gateway::in_memory();
    let mut client = grpc::client(&gateway.url()).await;
    let topics = |topics: &[&str]| topics.iter().map(ToString::to_string).collect::<Vec<_>>();
    let many: Vec<String> = (0..101).map(|n| format!("t.{n}")).collect();
    for request in [
        SubscribeRequest {
            topic: topics(&["a..b"]),
            ..SubscribeRequest::default()
        },
        SubscribeRequest {
            topic: topics(&[""]),
            ..SubscribeRequest::default()
        },
        SubscribeRequest {
            topic: topics(&["a\0b"]),
            ..SubscribeRequest::default()
        },
        SubscribeRequest {
            topic: many.clone(),
            ..SubscribeRequest::default()
        },
        SubscribeRequest {
            after: "x".into(),
            ..SubscribeRequest::default()
        },
        SubscribeRequest {
            since: "x".into(),
            ..SubscribeRequest::default()
        },
        SubscribeRequest {
            after: "1".into(),
            snapshot: true,
            ..SubscribeRequest::default()
        },
        SubscribeRequest {
            on_gap: 7,
            ..SubscribeRequest::default()
        },
        SubscribeRequest {
            limit: u32::MAX,
            ..SubscribeRequest::default()
        },
    ] {
        let refused = client
            .subscribe(request.clone())
            .await
            .expect_err("a bad request");
        assert_eq!(
            refused.code(),
            Code::InvalidArgument,
            "{request:?}: {refused:?}"
        );
    }
    for event in [
        NewEvent::default(),
        NewEvent {
            topic: "a".into(),
            r#type: "error".into(),
            ..NewEvent::default()
        },
        NewEvent {
            topic: "a".into(),
            id: "x".repeat(256),
            ..NewEvent::default()
        },
        NewEvent {
            topic: "a".into(),
            content_type: "application/json".into(),
            ..NewEvent::default()
        },
        NewEvent {
            topic: "a".into(),
            headers: [(String::new(), "v".into())].into(),
            ..NewEvent::default()
        },
    ] {
        let refused = client
            .publish(PublishRequest {
                events: vec![event.clone()],
            })
            .await
            .expect_err("a bad request");
        assert_eq!(
            refused.code(),
            Code::InvalidArgument,
            "{event:?}: {refused:?}"
        );
    }
    let refused = client
        .publish(PublishRequest::default())
        .await
        .expect_err("an empty batch");
    assert_eq!(refused.code(), Code::InvalidArgument);
    for request in [
        ListTopicsRequest {
            topic: topics(&["a b"]),
            ..ListTopicsRequest::default()
        },
        ListTopicsRequest {
            limit: 1001,
            ..ListTopicsRequest::default()
        },
    ] {
        let refused = client
            .list_topics(request)
            .await
            .expect_err("a bad request");
        assert_eq!(refused.code(), Code::InvalidArgument);
    }
    assert_serves(&gateway, "bad gRPC requests").await;
}

#[tokio::test]
async fn bytes_that_are_no_grpc_message_are_an_error_of_that_call_only() {
    let gateway = Gateway::in_memory();
    let client = reqwest::Client::builder()
        .http2_prior_knowledge()
        .build()
        .expect("a client");
    for method in [
        "Publish",
        "PublishStream",
        "Subscribe",
        "ListTopics",
        "Nothing",
    ] {
        for body in [
            &b"garbage"[..],
            b"",
            b"\0\0\0\0\x04\xff\xff\xff\xff",
            b"\0\xff\xff\xff\xff",
            b"\x01\0\0\0\x01a",
        ] {
            let request = client.post(format!("{}/vidette.v1.EventBus/{method}", gateway.url()));
            let request = request
                .header("content-type", "application/grpc")
                .header("te", "trailers")
                .body(body);
            // Trailers are out of this client's reach; what counts is that the call ends.
            drop(request.send().await.expect("an answer").bytes().await);
        }
    }
    assert_eq!(bounds(&gateway).await, (1, 0), "nothing was published");
    assert_serves(&gateway, "garbage for gRPC").await;
}

#[tokio::test]
async fn more_subscriptions_than_the_bound_are_refused_until_one_leaves() {
    let gateway = gateway("memory", "[limits]\nmax_subscribers = 3");
    let mut held = vec![open(Transport::Sse, &gateway, &SubscribeParams::default()).await];
    held.push(open(Transport::Sse, &gateway, &SubscribeParams::default()).await);
    held.push(open(Transport::Grpc, &gateway, &SubscribeParams::default()).await);
    for via in [Transport::Poll, Transport::Grpc] {
        let refused = refusal(via, &gateway, &SubscribeParams::default()).await;
        assert!(
            matches!(&refused, Refused::TooMuch(d) if d.contains("max_subscribers")),
            "{via:?}: {refused:?}"
        );
    }
    let poll = get(&gateway, "/v1/poll").await;
    poll.problem(429);
    assert!(poll.header("retry-after").is_some(), "{poll:?}");
    // An EventSource would give up for good on a status.
    let stream = get(&gateway, "/v1/sse").await;
    assert_eq!(stream.status, 200, "{stream:?}");
    assert!(
        stream.text.contains("max_subscribers") && stream.text.contains("\"reason\":\"busy\""),
        "{stream:?}"
    );
    drop(held.pop());
    gateway
        .until("there is memory again", || async {
            get(&gateway, "/v1/poll?wait=0").await.status == 200
        })
        .await;
}
