//! The other addresses: the state of the bus, its topics, health, and the legacy page
//! (contract §5, §6).

use std::collections::BTreeMap;

use serde_json::{Value, json};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_reflection::pb::{v1, v1alpha};
use vidette::proto::{GetBusRequest, ListTopicsRequest};

use crate::common::gateway::Gateway;
use crate::common::grpc;
use crate::common::read::{SubscribeParams, Transport};
use crate::support::{
    epoch, gateway, gateways, get, open, post, publish_one, until_first_is, until_subscribers_are,
};

#[tokio::test]
async fn the_state_of_the_bus_is_the_same_over_http_and_grpc() {
    for (engine, gateway) in gateways("[retention]\nmax_events = 4") {
        let epoch = epoch(&gateway).await;
        assert_eq!(
            epoch.len(),
            epoch
                .bytes()
                .filter(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
                .count()
        );
        assert!((6..=16).contains(&epoch.len()), "{epoch}");
        for (published, first, last, events) in [(0, 1, 0, 0), (6, 3, 6, 4)] {
            for n in 0..published {
                publish_one(&gateway, "door.1", n).await;
            }
            until_first_is(&gateway, first).await;
            let _reader = open(Transport::Sse, &gateway, &SubscribeParams::default()).await;
            until_subscribers_are(&gateway, 1).await;
            let bus = gateway.get("/v1/bus").await;
            let grpc = grpc::client(&gateway.url())
                .await
                .get_bus(GetBusRequest {})
                .await
                .expect("an answer")
                .into_inner();
            let of_grpc = json!({
                "epoch": grpc.epoch, "first": grpc.first, "last": grpc.last, "events": grpc.events, "bytes": grpc.bytes,
                "subscribers": grpc.subscribers, "engine": grpc.engine, "cursor": grpc.cursor,
                "durability": bus["durability"],
            });
            assert_eq!(bus, of_grpc);
            let expected = json!([
                epoch,
                first,
                last,
                events,
                1,
                engine,
                format!("{last}-{epoch}")
            ]);
            let fields = [
                "epoch",
                "first",
                "last",
                "events",
                "subscribers",
                "engine",
                "cursor",
            ];
            assert_eq!(Value::from_iter(fields.map(|f| bus[f].clone())), expected);
            assert_eq!(
                bus["bytes"].as_u64().expect("bytes") > 0,
                events > 0,
                "{engine}: {bus}"
            );
        }
        let durability = gateway.get("/v1/bus").await["durability"]
            .as_str()
            .expect("a text")
            .to_owned();
        assert_eq!(
            durability.contains("lost"),
            engine == "memory",
            "{durability}"
        );
    }
}

#[tokio::test]
async fn topics_are_listed_page_by_page_with_their_newest_vid() {
    for (engine, gateway) in gateways("") {
        let names: Vec<String> = (0..25)
            .map(|n| format!("door.{n}"))
            .chain(["门.1".into(), "lamp.1".into()])
            .collect();
        let batch = names
            .iter()
            .chain(&names[3..5])
            .map(|topic| json!({ "topic": topic, "data": 1 }));
        gateway.publish(&batch.collect()).await;
        let mut newest: BTreeMap<&str, u64> = (1..)
            .zip(&names)
            .map(|(vid, topic)| (topic.as_str(), vid))
            .collect();
        newest.extend([("door.3", 28), ("door.4", 29)]);
        let expected: Vec<Value> = newest
            .iter()
            .map(|(topic, vid)| json!({ "topic": topic, "vid": vid }))
            .collect();

        for limit in [1, 5, 26, 27, 28, 1000] {
            assert_eq!(
                topics_by_http(&gateway, limit).await,
                expected,
                "{engine} limit={limit}"
            );
            assert_eq!(
                topics_by_grpc(&gateway, limit).await,
                expected,
                "{engine} limit={limit}"
            );
        }
        for (filter, count) in [
            ("topic=door.*", 25),
            ("topic=door.3", 1),
            ("topic=lamp.1&topic=nobody", 1),
            ("topic=x", 0),
        ] {
            let listed = gateway.get(&format!("/v1/topics?{filter}")).await;
            assert_eq!(
                listed["topics"].as_array().expect("topics").len(),
                count,
                "{engine} {filter}: {listed}"
            );
            assert_eq!(listed.get("next_page_token"), None, "{engine} {filter}");
        }
    }
}

async fn topics_by_http(gateway: &Gateway, limit: u32) -> Vec<Value> {
    let (mut topics, mut token) = (Vec::new(), String::new());
    loop {
        let page = gateway
            .get(&format!("/v1/topics?limit={limit}&page_token={token}"))
            .await;
        let page_topics = page["topics"].as_array().expect("topics").clone();
        assert!(page_topics.len() <= limit as usize);
        topics.extend(page_topics);
        match page.get("next_page_token") {
            Some(next) => next.as_str().expect("a token").clone_into(&mut token),
            None => return topics,
        }
    }
}

async fn topics_by_grpc(gateway: &Gateway, limit: u32) -> Vec<Value> {
    let mut client = grpc::client(&gateway.url()).await;
    let (mut topics, mut page_token) = (Vec::new(), String::new());
    loop {
        let request = ListTopicsRequest {
            topic: vec![],
            limit,
            page_token,
        };
        let page = client
            .list_topics(request)
            .await
            .expect("an answer")
            .into_inner();
        topics.extend(
            page.topics
                .into_iter()
                .map(|t| json!({ "topic": t.topic, "vid": t.vid })),
        );
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return topics;
        }
    }
}

#[tokio::test]
async fn a_topic_whose_events_are_all_trimmed_is_listed_no_more() {
    for (engine, gateway) in gateways("[retention]\nmax_events = 2") {
        for (n, topic) in (1..).zip(["gone", "kept", "gone", "kept", "newest"]) {
            publish_one(&gateway, topic, n).await;
        }
        until_first_is(&gateway, 4).await;
        let expected =
            json!({ "topics": [{ "topic": "kept", "vid": 4 }, { "topic": "newest", "vid": 5 }] });
        assert_eq!(gateway.get("/v1/topics").await, expected, "{engine}");
    }
}

#[tokio::test]
async fn health_is_told_over_http_and_grpc() {
    let gateway = Gateway::in_memory();
    for (path, text) in [("/healthz", "ok\n"), ("/readyz", "ready\n")] {
        let answer = get(&gateway, path).await;
        assert_eq!((answer.status, &*answer.text), (200, text), "{path}");
    }
    let endpoint = tonic::transport::Endpoint::from_shared(gateway.url()).expect("an address");
    let mut health = HealthClient::new(endpoint.connect().await.expect("a connection"));
    for (service, expected) in [
        ("", Ok(())),
        ("vidette.v1.EventBus", Ok(())),
        ("nothing", Err(tonic::Code::NotFound)),
    ] {
        let answer = health
            .check(HealthCheckRequest {
                service: service.into(),
            })
            .await;
        let reported = answer
            .map(|a| assert_eq!(a.into_inner().status(), ServingStatus::Serving))
            .map_err(|s| s.code());
        assert_eq!(reported, expected, "{service:?}");
    }
}

#[tokio::test]
async fn both_versions_of_reflection_name_the_services() {
    let gateway = Gateway::in_memory();
    let endpoint = tonic::transport::Endpoint::from_shared(gateway.url()).expect("an address");
    let channel = endpoint.connect().await.expect("a connection");

    let mut client = v1::server_reflection_client::ServerReflectionClient::new(channel.clone());
    let list = v1::server_reflection_request::MessageRequest::ListServices(String::new());
    let request = v1::ServerReflectionRequest {
        host: String::new(),
        message_request: Some(list),
    };
    let requests = futures_util::stream::iter([request]);
    let mut answers = client
        .server_reflection_info(requests)
        .await
        .expect("a stream")
        .into_inner();
    let answer = answers.message().await.expect("an answer").expect("one");
    let reported = format!("{answer:?}");
    assert!(
        reported.contains("vidette.v1.EventBus") && reported.contains("grpc.health.v1.Health"),
        "{reported}"
    );

    let mut client = v1alpha::server_reflection_client::ServerReflectionClient::new(channel);
    let symbol = "vidette.v1.EventBus".to_owned();
    let file = v1alpha::server_reflection_request::MessageRequest::FileContainingSymbol(symbol);
    let request = v1alpha::ServerReflectionRequest {
        host: String::new(),
        message_request: Some(file),
    };
    let requests = futures_util::stream::iter([request]);
    let mut answers = client
        .server_reflection_info(requests)
        .await
        .expect("a stream")
        .into_inner();
    let answer = answers.message().await.expect("an answer").expect("one");
    let reported = format!("{answer:?}");
    assert!(reported.contains("FileDescriptorResponse"), "{reported}");
}

#[tokio::test]
async fn the_legacy_page_gets_one_flat_object_after_another() {
    for (engine, gateway) in gateways("") {
        for (content_type, data) in [
            (
                "application/json",
                r#"{"vid":"mine","card":12345678901234567890,"name":"张","n":{"a":[1]}}"#,
            ),
            ("application/json", "[1, 2.50]"),
            ("text/plain", "a\nb\u{2028}"),
            ("application/octet-stream", "bytes"),
            ("application/json", "{ }"),
        ] {
            assert_eq!(
                post(&gateway, "/v1/topics/door.1", content_type, data)
                    .await
                    .status,
                200
            );
        }
        let expected = [
            r#"{"vid":1,"card":12345678901234567890,"name":"张","n":{"a":[1]}}"#,
            r#"{"vid":2,"data":[1, 2.50]}"#,
            r#"{"vid":3,"data":"a\nb\u2028"}"#,
            r#"{"vid":4,"data_base64":"Ynl0ZXM="}"#,
            r#"{"vid":5}"#,
        ];
        for (maxvid, flat) in (0..).zip(expected) {
            for path in ["/backend.php", "/clients/longpoll/backend.php"] {
                let answer = get(
                    &gateway,
                    &format!("{path}?maxvid={maxvid}&_={maxvid}&other=1"),
                )
                .await;
                assert_eq!(
                    (answer.status, &*answer.text),
                    (200, flat),
                    "{engine} {path}"
                );
                assert_eq!(answer.header("cache-control"), Some("no-store"), "{engine}");
                assert_eq!(
                    answer.header("content-type"),
                    Some("application/json; charset=utf-8"),
                    "{engine}"
                );
            }
        }
        assert_eq!(
            get(&gateway, "/backend.php").await.text,
            expected[0],
            "{engine}: no maxvid is the earliest"
        );

        let path = format!("{}/backend.php?maxvid=5", gateway.url());
        let page =
            tokio::spawn(async move { reqwest::get(path).await.expect("an answer").text().await });
        until_subscribers_are(&gateway, 1).await;
        publish_one(&gateway, "door.1", 7).await;
        assert_eq!(
            page.await.expect("the page").expect("a body"),
            r#"{"vid":6,"data":7}"#,
            "{engine}"
        );
    }
}

#[tokio::test]
async fn the_legacy_page_is_told_a_gap_in_a_header() {
    for (engine, gateway) in gateways("[retention]\nmax_events = 2") {
        gateway.publish_numbers("door.1", 5).await;
        until_first_is(&gateway, 4).await;
        let answer = get(&gateway, "/backend.php?maxvid=1").await;
        assert_eq!(answer.text, r#"{"vid":4,"n":4}"#, "{engine}");
        let gap: Value =
            serde_json::from_str(answer.header("vidette-gap").expect("a header")).expect("JSON");
        assert_eq!(
            (&gap["reason"], &gap["first"]),
            (&json!("expired"), &json!(4)),
            "{engine}"
        );
        assert_eq!(
            get(&gateway, "/backend.php?maxvid=0")
                .await
                .header("vidette-gap"),
            None,
            "{engine}"
        );
    }
}

#[tokio::test]
async fn jsonp_is_refused_unless_the_configuration_allows_it() {
    let refusing = Gateway::in_memory();
    refusing.publish_numbers("door.1", 1).await;
    let detail = get(&refusing, "/backend.php?maxvid=0&callback=show")
        .await
        .problem(403);
    assert!(detail.contains("legacy.jsonp"), "{detail}");

    let allowing = gateway("memory", "[legacy]\njsonp = true");
    allowing.publish_numbers("door.1", 1).await;
    let answer = get(&allowing, "/backend.php?maxvid=0&callback=Page.show_1").await;
    assert_eq!(answer.text, r#"/**/Page.show_1({"vid":1,"n":1});"#);
    assert_eq!(
        answer.header("content-type"),
        Some("text/javascript; charset=utf-8")
    );
    assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
    for callback in [
        "alert(1)//",
        "a%20b",
        "1a",
        "%3Cscript%3E",
        "a%0ab",
        "a;b",
        "%E9%97%A8",
    ] {
        get(
            &allowing,
            &format!("/backend.php?maxvid=0&callback={callback}"),
        )
        .await
        .problem(400);
    }
    assert_eq!(
        get(&allowing, "/backend.php?maxvid=0").await.text,
        r#"{"vid":1,"n":1}"#
    );
}

#[tokio::test]
async fn the_legacy_page_has_the_path_and_topics_that_are_configured() {
    let config = "[legacy]\npath = \"/comet/poll.php\"\ntopic = [\"door.*\", \"lamp.1\"]";
    let gateway = gateway("memory", config);
    for (n, topic) in (1..).zip(["other", "door.3", "other", "lamp.1"]) {
        publish_one(&gateway, topic, n).await;
    }
    assert_eq!(
        get(&gateway, "/comet/poll.php?maxvid=0").await.json(),
        json!({ "vid": 2, "data": 2 })
    );
    assert_eq!(
        get(&gateway, "/comet/poll.php?maxvid=2").await.json(),
        json!({ "vid": 4, "data": 4 })
    );
    get(&gateway, "/backend.php?maxvid=0").await.problem(404);
}
