//! grpcurl, which knows nothing of the gateway but what reflection says.

use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Deserializer, Value, json};

use crate::common::gateway::{Gateway, Setup};
use crate::tools::{Output, Running, find, run};

fn grpcurl() -> PathBuf {
    find("grpcurl", "bin")
}

async fn ask(gateway: &Gateway, args: &[&str], symbols: &[&str]) -> Output {
    let address = gateway.address().to_string();
    run(
        grpcurl(),
        &[&["-plaintext"], args, &[address.as_str()], symbols].concat(),
    )
    .await
}

/// One call of the bus.
async fn call(gateway: &Gateway, method: &str, request: &Value) -> Output {
    let request = request.to_string();
    ask(
        gateway,
        &["-format-error", "-d", &request],
        &[&format!("vidette.v1.EventBus/{method}")],
    )
    .await
}

/// All messages of a stream.
fn messages(text: &str) -> Vec<Value> {
    Deserializer::from_str(text)
        .into_iter()
        .map(|message| message.expect("JSON"))
        .collect()
}

fn vids(messages: &[Value]) -> Vec<u64> {
    let events = messages
        .iter()
        .filter_map(|m| m["events"]["events"].as_array())
        .flatten();
    events
        .map(|event| {
            event["vid"]
                .as_str()
                .expect("a vid")
                .parse()
                .expect("a number")
        })
        .collect()
}

#[tokio::test]
async fn services_and_messages_are_known_by_reflection() {
    let gateway = Gateway::in_memory();
    let services = ask(&gateway, &[], &["list"]).await.ok();
    for service in [
        "vidette.v1.EventBus",
        "grpc.health.v1.Health",
        "grpc.reflection.v1.ServerReflection",
    ] {
        assert!(
            services.lines().any(|line| line == service),
            "{service} in {services}"
        );
    }
    let methods = ask(&gateway, &[], &["list", "vidette.v1.EventBus"])
        .await
        .ok();
    for method in [
        "Publish",
        "PublishStream",
        "Subscribe",
        "GetBus",
        "ListTopics",
    ] {
        assert!(
            methods
                .lines()
                .any(|line| line == format!("vidette.v1.EventBus.{method}")),
            "{methods}"
        );
    }
    let service = ask(&gateway, &[], &["describe", "vidette.v1.EventBus"])
        .await
        .ok();
    assert!(
        service.contains("rpc Subscribe ( .vidette.v1.SubscribeRequest )"),
        "{service}"
    );
    for message in [
        "SubscribeRequest",
        "SubscribeResponse",
        "Event",
        "NewEvent",
        "PublishResponse",
        "Gap",
    ] {
        let received = ask(
            &gateway,
            &[],
            &["describe", &format!(".vidette.v1.{message}")],
        )
        .await
        .ok();
        assert!(
            received.contains(&format!("message {message} {{")),
            "{received}"
        );
    }
}

#[tokio::test]
async fn what_is_published_can_be_read_and_resumed() {
    let gateway = Gateway::start();
    let event = |n: u64| {
        let data = STANDARD.encode(format!("{{\"n\":{n}}}"));
        json!({ "topic": format!("door.{n}"), "type": "opened", "content_type": "application/json", "data": data })
    };
    let answer = call(
        &gateway,
        "Publish",
        &json!({ "events": [event(1), event(2), event(3)] }),
    )
    .await
    .json();
    assert_eq!(
        (&answer["firstVid"], &answer["lastVid"]),
        (&json!("1"), &json!("3"))
    );
    let cursor = answer["events"][0]["cursor"].as_str().expect("a cursor");

    let all = call(
        &gateway,
        "Subscribe",
        &json!({ "after": "earliest", "limit": 3 }),
    )
    .await
    .ok();
    let all = messages(&all);
    assert_eq!(all[0]["hello"]["last"], "3");
    assert_eq!(vids(&all), [1, 2, 3]);
    let rest = call(
        &gateway,
        "Subscribe",
        &json!({ "after": cursor, "limit": 2 }),
    )
    .await
    .ok();
    let rest = messages(&rest);
    assert_eq!(vids(&rest), [2, 3]);
    let first = &rest
        .iter()
        .find(|m| m.get("events").is_some())
        .expect("a batch")["events"]["events"][0];
    assert_eq!(
        (&first["topic"], &first["type"]),
        (&json!("door.2"), &json!("opened"))
    );
    assert_eq!(
        STANDARD
            .decode(first["data"].as_str().expect("data"))
            .expect("base64"),
        b"{\"n\":2}"
    );

    let request = json!({ "topic": ["door.3", "gate.>"], "after": "earliest", "limit": 1 });
    let filtered = call(&gateway, "Subscribe", &request).await.ok();
    assert_eq!(vids(&messages(&filtered)), [3]);
}

#[tokio::test]
async fn the_same_id_is_published_once() {
    let gateway = Gateway::start();
    let request =
        json!({ "events": [{ "topic": "door.3", "id": "card-17-0001", "data": "e30=" }] });
    let first = call(&gateway, "Publish", &request).await.json();
    let second = call(&gateway, "Publish", &request).await.json();
    assert_eq!(
        (&first["events"][0]["vid"], &first["events"][0]["duplicate"]),
        (&json!("1"), &Value::Null)
    );
    assert_eq!(
        (
            &second["events"][0]["vid"],
            &second["events"][0]["duplicate"]
        ),
        (&json!("1"), &json!(true))
    );
}

#[tokio::test]
async fn a_publish_stream_is_acknowledged_in_order() {
    let gateway = Gateway::start();
    let batch = |n: u32| {
        json!({ "events": [{ "topic": "a", "data": STANDARD.encode(n.to_string()) }] }).to_string()
    };
    let requests: String = (1..=20).map(batch).collect();
    let answers = ask(
        &gateway,
        &["-d", &requests],
        &["vidette.v1.EventBus/PublishStream"],
    )
    .await
    .ok();
    let vids: Vec<String> = messages(&answers)
        .iter()
        .map(|m| m["firstVid"].as_str().expect("a vid").into())
        .collect();
    assert_eq!(vids, (1..=20).map(|n| n.to_string()).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_live_subscription_shows_events_as_they_are_published() {
    let gateway = Gateway::start();
    let address = gateway.address().to_string();
    let args = [
        "-plaintext",
        "-d",
        "{\"topic\":[\"door.*\"]}",
        &address,
        "vidette.v1.EventBus/Subscribe",
    ];
    let mut stream = Running::start(grpcurl(), &args);
    stream.line_with("caughtUp").await;
    gateway.publish_numbers("gate.1", 1).await;
    for vid in ["2", "3"] {
        gateway.publish_numbers("door.1", 1).await;
        assert!(
            stream
                .line_with("\"vid\":")
                .await
                .contains(&format!("\"{vid}\""))
        );
    }
}

#[tokio::test]
async fn the_bus_and_its_topics_are_told() {
    let gateway = Gateway::start();
    let cursor = gateway.publish_numbers("door.1", 2).await;
    gateway.publish_numbers("gate.1", 1).await;
    let bus = call(&gateway, "GetBus", &json!({})).await.json();
    assert_eq!(
        (&bus["first"], &bus["last"], &bus["events"]),
        (&json!("1"), &json!("3"), &json!("3"))
    );
    assert_eq!(bus["epoch"], cursor.split_once('-').expect("an epoch").1);
    assert_eq!(bus["engine"], "sqlite");
    let topics = call(&gateway, "ListTopics", &json!({})).await.json();
    assert_eq!(
        topics["topics"],
        json!([{ "topic": "door.1", "vid": "2" }, { "topic": "gate.1", "vid": "3" }])
    );
    let page = call(&gateway, "ListTopics", &json!({ "limit": 1 }))
        .await
        .json();
    let token = page["nextPageToken"].as_str().expect("a token");
    let rest = call(
        &gateway,
        "ListTopics",
        &json!({ "limit": 1, "page_token": token }),
    )
    .await
    .json();
    assert_eq!(rest["topics"], json!([{ "topic": "gate.1", "vid": "3" }]));
}

#[tokio::test]
async fn health_is_told_of_the_gateway_and_of_its_service() {
    let gateway = Gateway::in_memory();
    for service in ["", "vidette.v1.EventBus"] {
        let request = json!({ "service": service }).to_string();
        let answer = ask(
            &gateway,
            &["-d", &request],
            &["grpc.health.v1.Health/Check"],
        )
        .await
        .json();
        assert_eq!(answer["status"], "SERVING", "{service:?}");
    }
    let unknown = ask(
        &gateway,
        &["-d", "{\"service\":\"other\"}"],
        &["grpc.health.v1.Health/Check"],
    )
    .await;
    assert!(unknown.stderr.contains("NotFound"), "{unknown:?}");
}

#[tokio::test]
async fn a_cursor_that_cannot_be_served_is_out_of_range_with_the_gap_in_its_details() {
    let config = "[retention]\nmax_events = 5".to_owned();
    let gateway = Gateway::start_with(Setup {
        config,
        ..Setup::default()
    });
    let cursor = gateway.publish_numbers("door.1", 20).await;
    let epoch = cursor.split_once('-').expect("an epoch").1;
    gateway
        .until("old events go", || async {
            gateway.get("/v1/bus").await["first"] == 16
        })
        .await;
    let after = format!("3-{epoch}");

    let refused = call(
        &gateway,
        "Subscribe",
        &json!({ "after": after, "on_gap": "ON_GAP_FAIL" }),
    )
    .await;
    // grpcurl exits with 64 and the number of the status.
    assert_eq!(refused.code(), 64 + 11, "{refused:?}");
    let status: Value =
        serde_json::from_str(&refused.stderr).unwrap_or_else(|e| panic!("{e}: {refused:?}"));
    let gap = &status["details"][0];
    assert_eq!(gap["@type"], "type.googleapis.com/vidette.v1.Gap");
    assert_eq!(
        (&gap["reason"], &gap["requested"]),
        (&json!("expired"), &json!(after))
    );
    assert_eq!(
        (&gap["first"], &gap["last"], &gap["epoch"]),
        (&json!("16"), &json!("20"), &json!(epoch))
    );

    let received = call(
        &gateway,
        "Subscribe",
        &json!({ "after": after, "limit": 5 }),
    )
    .await
    .ok();
    let received = messages(&received);
    assert!(
        received.iter().any(|m| m["gap"]["reason"] == "expired"),
        "{received:?}"
    );
    assert_eq!(vids(&received), [16, 17, 18, 19, 20]);
}

#[tokio::test]
async fn a_bad_request_is_an_invalid_argument() {
    let gateway = Gateway::in_memory();
    for request in [
        json!({ "after": "x" }),
        json!({ "topic": ["a..b"] }),
        json!({ "after": "1", "snapshot": true }),
    ] {
        let refused = call(&gateway, "Subscribe", &request).await;
        assert_eq!(refused.code(), 64 + 3, "{request} {refused:?}");
    }
    let wildcard = json!({ "events": [{ "topic": "door.*", "data": "e30=" }] });
    assert_eq!(call(&gateway, "Publish", &wildcard).await.code(), 64 + 3);
}

/// The commands between ```sh and ```.
fn commands(page: &str) -> Vec<&str> {
    page.split("```sh\n")
        .skip(1)
        .map(|rest| rest.split("\n```").next().expect("an end"))
        .collect()
}

#[tokio::test]
async fn the_commands_of_the_readme_work_as_they_stand() {
    let gateway = Gateway::start_with(Setup {
        flags: vec!["--demo".into()],
        ..Setup::default()
    });
    let folder = grpcurl().parent().expect("a folder").display().to_string();
    let mut ran = 0;
    for command in commands(include_str!("../../clients/grpcurl/README.md")) {
        if command.starts_with("export") || command.contains("jq") {
            continue;
        }
        let script = format!(
            "export VIDETTE={} PATH={folder}:$PATH\n{command}",
            gateway.address()
        );
        let output = run("timeout", &["2", "bash", "-c", &script]).await;
        // Done, out of range, its own bound of time, or ours.
        assert!(
            [0, 64 + 11, 64 + 4, 124].contains(&output.code()),
            "{command}: {output:?}"
        );
        assert_eq!(
            output.code() == 64 + 11,
            command.contains("ON_GAP_FAIL"),
            "{command}: {output:?}"
        );
        ran += 1;
    }
    assert_eq!(ran, 11);
}
