//! Publishing is atomic, idempotent and answered in the shape of the request (contract §2.2, §2.7,
//! §5).

use std::collections::BTreeSet;

use futures_util::future::join_all;
use futures_util::{StreamExt as _, stream};
use serde_json::{Value, json};
use tonic::Code;
use vidette::proto::{NewEvent, PublishRequest};

use crate::common::gateway::Gateway;
use crate::common::grpc;
use crate::common::read::{SubscribeParams, Transport, read_all};
use crate::support::{
    bounds, epoch, gateway, gateways, post, post_events, post_lines, publish_one,
};

fn grpc_event(topic: &str, id: &str, data: impl Into<Vec<u8>>) -> NewEvent {
    let data: Vec<u8> = data.into();
    NewEvent {
        topic: topic.into(),
        id: id.into(),
        data: data.into(),
        ..NewEvent::default()
    }
}

/// Vids of a batch's answer.
fn vids(answer: &Value) -> Vec<u64> {
    let events = answer["events"]
        .as_array()
        .unwrap_or_else(|| panic!("{answer}"));
    events
        .iter()
        .map(|event| event["vid"].as_u64().expect("a vid"))
        .collect()
}

#[tokio::test]
async fn a_batch_gets_neighbouring_vids_in_its_order_among_many_publishers() {
    for (engine, gateway) in gateways("") {
        let publishers = (0..12u64).map(|publisher| {
            let gateway = &gateway;
            async move {
                let mut batches = Vec::new();
                for round in 0..8u64 {
                    let size = 2 + (publisher + round) % 9;
                    let of_grpc =
                        (0..size).map(|n| grpc_event(&format!("p.{publisher}"), "", n.to_string()));
                    let of_http =
                        (0..size).map(|n| json!({ "topic": format!("p.{publisher}"), "data": n }));
                    batches.push(if publisher % 2 == 0 {
                        vids(&gateway.publish(&of_http.collect()).await)
                    } else {
                        let request = PublishRequest {
                            events: of_grpc.collect(),
                        };
                        let answer = grpc::client(&gateway.url())
                            .await
                            .publish(request)
                            .await
                            .expect("an answer");
                        answer
                            .into_inner()
                            .events
                            .iter()
                            .map(|event| event.vid)
                            .collect()
                    });
                }
                batches
            }
        });
        let batches = join_all(publishers).await.concat();
        for batch in &batches {
            assert!(
                batch.windows(2).all(|pair| pair[0] + 1 == pair[1]),
                "{engine}: {batch:?} has others between"
            );
        }
        let all: BTreeSet<_> = batches.concat().into_iter().collect();
        assert_eq!(
            all.len(),
            batches.concat().len(),
            "{engine}: no vid is given twice"
        );
        let read = read_all(Transport::Grpc, &gateway, &SubscribeParams::earliest()).await;
        assert_eq!(
            read.iter().map(|e| e.vid).collect::<BTreeSet<_>>(),
            all,
            "{engine}"
        );
        for batch in &batches {
            let numbers: Vec<_> = read
                .iter()
                .filter(|e| batch.contains(&e.vid))
                .map(|e| e.data.clone())
                .collect();
            let expected = (0..batch.len()).map(|n| crate::common::read::Data::Json(n.to_string()));
            assert_eq!(
                numbers,
                expected.collect::<Vec<_>>(),
                "{engine}: in the order of the batch"
            );
        }
    }
}

#[tokio::test]
async fn one_bad_event_keeps_the_whole_batch_from_being_published() {
    for (engine, gateway) in gateways("[limits]\nmax_event_bytes = 100") {
        let good = json!({ "topic": "door.1", "data": 1 });
        for (bad, status) in [
            (json!({ "topic": "door..1", "data": 1 }), 400),
            (json!({ "topic": "door.*", "data": 1 }), 400),
            (json!({ "topic": "door.1" }), 400),
            (
                json!({ "topic": "door.1", "data": 1, "type": "vidette.gap" }),
                400,
            ),
            (
                json!({ "topic": "door.1", "data": 1, "data_base64": "" }),
                400,
            ),
            (json!({ "topic": "door.1", "data_base64": "?" }), 400),
            (json!({ "topic": "door.1", "data": 1, "vid": 7 }), 400),
            (json!({ "topic": "door.1", "data": "x".repeat(100) }), 413),
            (json!(7), 400),
        ] {
            let batch = json!([good, good, bad, good]);
            let detail = post_events(&gateway, batch.to_string())
                .await
                .problem(status);
            let tells_place = detail.contains("event 3") || detail.contains("the batch");
            assert!(tells_place, "{engine}: {bad}: {detail}");
        }
        for (bad, code) in [
            (grpc_event("door..1", "", "1"), Code::InvalidArgument),
            (grpc_event("vidette.own", "", "1"), Code::InvalidArgument),
            (grpc_event("door.1", "\u{7}", "1"), Code::InvalidArgument),
            (
                grpc_event("door.1", "", "x".repeat(101)),
                Code::ResourceExhausted,
            ),
        ] {
            let events = vec![grpc_event("door.1", "", "1"), bad.clone()];
            let refused = grpc::client(&gateway.url())
                .await
                .publish(PublishRequest { events })
                .await;
            let status = refused.expect_err("a bad batch");
            assert_eq!(status.code(), code, "{engine}: {bad:?}: {status:?}");
            assert!(status.message().contains("event 2"), "{engine}: {status:?}");
        }
        assert_eq!(
            bounds(&gateway).await,
            (1, 0),
            "{engine}: nothing was published"
        );
    }
}

#[tokio::test]
async fn an_id_seen_before_gets_the_first_vid_also_after_a_crash() {
    for (engine, mut gateway) in gateways("") {
        let event = |id: &str, n: u64| json!({ "topic": "door.1", "id": id, "data": n });
        let answer = gateway
            .publish(&json!([
                event("a", 1),
                event("b", 2),
                event("a", 3),
                event("c", 4)
            ]))
            .await;
        assert_eq!(vids(&answer), [1, 2, 1, 3], "{engine}: in the same batch");
        assert_eq!(duplicates(&answer), [false, false, true, false], "{engine}");

        let answer = gateway
            .publish(&json!([event("d", 5), event("b", 6), event("e", 7)]))
            .await;
        assert_eq!(vids(&answer), [4, 2, 5], "{engine}: later");
        assert_eq!(duplicates(&answer), [false, true, false], "{engine}");

        if engine == "sqlite" {
            gateway.kill();
            gateway.start_again();
        }
        assert_each_way_knows_a(&gateway, engine).await;
        assert_eq!(
            publish_one(&gateway, "door.1", 8).await,
            6,
            "{engine}: duplicates took no place"
        );
        assert_eq!(
            read_all(Transport::Poll, &gateway, &SubscribeParams::earliest())
                .await
                .len(),
            6,
            "{engine}"
        );
    }
}

fn duplicates(answer: &Value) -> Vec<bool> {
    answer["events"]
        .as_array()
        .expect("events")
        .iter()
        .map(|event| event["duplicate"] == true)
        .collect()
}

/// Every way of publishing the id `a` once more.
async fn assert_each_way_knows_a(gateway: &Gateway, engine: &str) {
    let known =
        json!({ "vid": 1, "cursor": format!("1-{}", epoch(gateway).await), "duplicate": true });
    let object = json!({ "topic": "another", "id": "a", "data": "else" }).to_string();
    assert_eq!(
        post_events(gateway, object.clone()).await.json(),
        known,
        "{engine}"
    );
    assert_eq!(
        post_lines(gateway, object).await.lines(),
        std::slice::from_ref(&known),
        "{engine}"
    );
    assert_eq!(
        post(gateway, "/v1/topics/another?id=a", "text/plain", "x")
            .await
            .json(),
        known,
        "{engine}"
    );
    let mut client = grpc::client(&gateway.url()).await;
    let request = PublishRequest {
        events: vec![grpc_event("another", "a", "x")],
    };
    let answer = client
        .publish(request.clone())
        .await
        .expect("an answer")
        .into_inner();
    assert!(
        answer.events[0].vid == 1 && answer.events[0].duplicate,
        "{engine}: {answer:?}"
    );
    let answers = client
        .publish_stream(stream::iter([request]))
        .await
        .expect("a stream")
        .into_inner();
    let answers: Vec<_> = answers
        .map(|answer| answer.expect("an answer"))
        .collect()
        .await;
    assert!(
        answers[0].events[0].vid == 1 && answers[0].events[0].duplicate,
        "{engine}: {answers:?}"
    );
}

#[tokio::test]
async fn one_id_published_by_many_at_once_is_one_event() {
    for (engine, gateway) in gateways("") {
        let event = json!({ "topic": "door.1", "id": "once", "data": 1 });
        let answers = join_all((0..40).map(|_| gateway.publish(&event))).await;
        assert!(
            answers.iter().all(|answer| answer["vid"] == 1),
            "{engine}: {answers:?}"
        );
        assert_eq!(
            answers
                .iter()
                .filter(|a| a.get("duplicate").is_none())
                .count(),
            1,
            "{engine}"
        );
        assert_eq!(bounds(&gateway).await, (1, 1), "{engine}");
    }
}

#[tokio::test]
async fn an_id_is_forgotten_after_the_dedupe_window() {
    for (engine, gateway) in gateways("[retention]\ndedupe_window = \"200ms\"") {
        let event = json!({ "topic": "door.1", "id": "again", "data": 1 });
        assert_eq!(gateway.publish(&event).await["vid"], 1, "{engine}");
        let is_new = || async { gateway.publish(&event).await.get("duplicate").is_none() };
        gateway.until("the id is forgotten", is_new).await;
        assert_eq!(bounds(&gateway).await, (1, 2), "{engine}");
    }
}

#[tokio::test]
async fn each_way_of_publishing_is_answered_in_its_shape() {
    for (engine, gateway) in gateways("") {
        let epoch = epoch(&gateway).await;
        let at = |vid: u64| json!({ "vid": vid, "cursor": format!("{vid}-{epoch}") });
        let event = json!({ "topic": "door.1", "data": 1 });

        let answer = post_events(&gateway, event.to_string()).await;
        assert_eq!(
            (answer.status, answer.header("content-type")),
            (200, Some("application/json")),
            "{engine}"
        );
        assert_eq!(answer.json(), at(1), "{engine}");
        let answer = post_events(&gateway, format!(" \r\n[{event}, {event}]\n"))
            .await
            .json();
        let batch = json!({ "first_vid": 2, "last_vid": 3, "cursor": at(3)["cursor"], "events": [at(2), at(3)] });
        assert_eq!(answer, batch, "{engine}");
        assert_eq!(
            post(&gateway, "/v1/topics/door.1", "text/plain", "x")
                .await
                .json(),
            at(4),
            "{engine}"
        );

        let lines = format!(
            "{event}\n\n  \r\n{event}\r\n{{\"topic\":\"door..1\",\"data\":1}}\nno JSON\n[1]\n{event}"
        );
        let answer = post_lines(&gateway, lines).await;
        assert_eq!(
            (answer.status, answer.header("content-type")),
            (200, Some("application/x-ndjson")),
            "{engine}"
        );
        let answers = answer.lines();
        assert_eq!(
            [&answers[0], &answers[1], &answers[5]],
            [&at(5), &at(6), &at(7)],
            "{engine}"
        );
        let errors: Vec<_> = answers[2..5]
            .iter()
            .map(|a| (&a["line"], &a["error"]["status"]))
            .collect();
        let bad = json!(400);
        assert_eq!(
            errors,
            [(&json!(5), &bad), (&json!(6), &bad), (&json!(7), &bad)],
            "{engine}: {answers:?}"
        );
        assert_eq!(answers.len(), 6, "{engine}");
    }
}

#[tokio::test]
async fn an_event_is_an_object_and_no_list_of_its_fields() {
    let gateway = Gateway::in_memory();
    let fields = r#"["door.1",null,null,null,{},1,null]"#;
    post_events(&gateway, format!("[{fields}]"))
        .await
        .problem(400);
    let answers = post_lines(&gateway, fields).await.lines();
    assert_eq!(answers[0]["error"]["status"], 400, "{answers:?}");
    assert_eq!(bounds(&gateway).await, (1, 0), "nothing was published");
}

#[tokio::test]
async fn a_topic_in_the_address_is_taken_as_it_is() {
    let gateway = Gateway::in_memory();
    let cases = [
        ("door.1", "door.1"),
        ("%E9%97%A8.3", "门.3"),
        ("a/b", "a/b"),
        ("a%2Fb", "a/b"),
        ("a+b", "a+b"),
        ("%25", "%"),
        ("/v1/topics/x", "/v1/topics/x"),
    ];
    for (path, _) in cases {
        let answer = post(&gateway, &format!("/v1/topics/{path}"), "text/plain", "x").await;
        assert_eq!(answer.status, 200, "{path}: {answer:?}");
    }
    let polled = gateway.get("/v1/poll?after=earliest&wait=0").await;
    let topics: Vec<_> = polled["events"]
        .as_array()
        .expect("events")
        .iter()
        .map(|e| e["topic"].clone())
        .collect();
    assert_eq!(topics, cases.map(|(_, topic)| json!(topic)));
}

#[tokio::test]
async fn a_broken_publish_stream_acknowledges_what_came_before_the_error_and_nothing_behind_it() {
    for (engine, gateway) in gateways("") {
        let request = |topic: &str| PublishRequest {
            events: vec![grpc_event(topic, "", "1")],
        };
        let requests = stream::iter([
            request("door.1"),
            request("door.2"),
            request("door..3"),
            request("door.4"),
        ]);
        let answers = grpc::client(&gateway.url())
            .await
            .publish_stream(requests)
            .await
            .expect("a stream");
        let answers: Vec<_> = answers
            .into_inner()
            .map(|answer| answer.map(|a| a.first_vid))
            .collect()
            .await;
        let codes: Vec<_> = answers
            .iter()
            .map(|a| a.as_ref().map_err(tonic::Status::code))
            .collect();
        assert_eq!(
            codes,
            [Ok(&1), Ok(&2), Err(Code::InvalidArgument)],
            "{engine}"
        );
    }
}

#[tokio::test]
async fn what_is_too_large_is_refused_with_its_bound_and_the_gateway_goes_on() {
    let gateway = gateway("memory", "[limits]\nmax_event_bytes = 1000");
    let large = "x".repeat(1001);
    let object = json!({ "topic": "door.1", "data": large }).to_string();
    let detail = post_events(&gateway, object.clone()).await.problem(413);
    assert!(detail.contains("1000"), "{detail}");
    post_events(&gateway, format!("[{object}]"))
        .await
        .problem(413);
    assert_eq!(
        post_lines(&gateway, object).await.lines()[0]["error"]["status"],
        413
    );
    post(&gateway, "/v1/topics/door.1", "text/plain", large.clone())
        .await
        .problem(413);
    let many = vec![json!({ "topic": "door.1", "data": 1 }); 10_001];
    post_events(&gateway, json!(many).to_string())
        .await
        .problem(413);
    post_events(&gateway, " ".repeat(16 * 1024 * 1024 + 1))
        .await
        .problem(413);

    let mut client = grpc::client(&gateway.url()).await;
    for events in [
        vec![grpc_event("door.1", "", large.clone())],
        vec![grpc_event("door.1", "", "1"); 10_001],
        vec![grpc_event("door.1", "", "x".repeat(17 * 1024 * 1024))],
    ] {
        let bytes: usize = events.iter().map(|e| e.data.len()).sum();
        let refused = client
            .publish(PublishRequest { events })
            .await
            .expect_err("too large");
        assert_eq!(
            refused.code(),
            Code::ResourceExhausted,
            "{bytes} bytes: {refused:?}"
        );
    }
    assert_eq!(publish_one(&gateway, "door.1", 1).await, 1);
}
