//! A filter that goes beyond the rights is cut down to them, and each wire says so.

use futures_util::StreamExt as _;
use serde_json::{Deserializer, Value, json};
use vidette::client::{Client, ReadItem, ReadOptions, Transport};

use crate::ground::{Ground, token};
use crate::tools::Running;

fn reader() -> String {
    token("reader", 3600, &[], &["door.*", "lift.>"])
}

/// Some events, of which the reader may see the first and the fourth where it asks for `*.1`.
async fn publish_some(ground: &Ground) {
    for topic in ["door.1", "stairs.1", "door.2", "lift.1", "public.1"] {
        ground.publish(topic, &json!(topic)).await;
    }
}

#[tokio::test]
async fn server_sent_events_say_it_in_hello() {
    let ground = Ground::start();
    publish_some(&ground).await;
    let path = |topic: &str| format!("/v1/sse?topic={topic}&after=earliest&wait=0");
    let stream = ground.curl(&path("*.1"), &reader(), &[]).ended().await.ok();
    let hello = stream.lines().find(|line| line.contains("heartbeat_ms"));
    let hello = hello.expect("hello").trim_start_matches("data: ");
    let hello: Value = serde_json::from_str(hello).expect("JSON");
    assert_eq!(hello["filter"], json!(["door.1", "lift.1"]));
    let events = stream.lines().filter(|line| line.contains("\"topic\""));
    assert_eq!(events.count(), 2, "{stream}");

    let within = ground.curl(&path("door.1"), &reader(), &[]).ended().await;
    assert!(!within.ok().contains("filter"), "nothing was cut");
    assert_eq!(ground.status(&path("cellar.>"), &reader()).await, 403);
}

#[tokio::test]
async fn a_poll_says_it_in_each_answer() {
    let ground = Ground::start();
    publish_some(&ground).await;
    let get = |path: &str| {
        let request = reqwest::Client::new().get(ground.url(path));
        request.bearer_auth(reader()).send()
    };
    let poll = async |topic: &str| -> Value {
        let path = format!("/v1/poll?topic={topic}&after=earliest&wait=0");
        get(&path)
            .await
            .expect("an answer")
            .json()
            .await
            .expect("JSON")
    };
    let answer = poll("*.1").await;
    assert_eq!(answer["filter"], json!(["door.1", "lift.1"]));
    let vids = answer["events"].as_array().expect("events").iter();
    assert!(vids.map(|event| &event["vid"]).eq([1, 4]), "{answer}");
    assert_eq!(poll("door.1").await.get("filter"), None);
    assert_eq!(
        ground.status("/v1/poll?topic=a&wait=0", &reader()).await,
        403
    );

    let page = get("/backend.php?maxvid=1").await.expect("an answer");
    let served = page.headers()["vidette-filter"].to_str().expect("text");
    assert_eq!(served, r#"["door.1","lift.1"]"#);
    assert_eq!(page.json::<Value>().await.expect("JSON")["vid"], 4);

    let listed = get("/v1/topics").await.expect("an answer");
    let listed: Value = listed.json().await.expect("JSON");
    let topics = listed["topics"].as_array().expect("topics").iter();
    assert!(
        topics
            .map(|t| &t["topic"])
            .eq(["door.1", "door.2", "lift.1"])
    );
    assert_eq!(
        ground.status("/v1/topics?topic=stairs.*", &reader()).await,
        403
    );
    assert_eq!(ground.status("/v1/bus", &reader()).await, 200);
}

/// The messages that grpcurl prints.
fn messages(text: &str) -> Vec<Value> {
    let messages = Deserializer::from_str(text).into_iter();
    messages.map(|message| message.expect("JSON")).collect()
}

#[tokio::test]
async fn grpc_says_it_in_hello() {
    let ground = Ground::start();
    publish_some(&ground).await;
    let subscribe = async |topic: &str, limit: u32| {
        let request = json!({ "topic": [topic], "after": "earliest", "limit": limit });
        ground.call("Subscribe", Some(&reader()), &request).await
    };
    let cut = messages(&subscribe("*.1", 2).await.ok());
    assert_eq!(cut[0]["hello"]["filter"], json!(["door.1", "lift.1"]));
    let whole = messages(&subscribe("door.1", 1).await.ok());
    assert_eq!(whole[0]["hello"].get("filter"), None);
    let refused = subscribe("cellar.>", 1).await;
    assert!(refused.stderr.contains("\"code\": 7"), "{refused:?}");

    let list = async |topic: &[&str]| {
        let request = json!({ "topic": topic });
        ground.call("ListTopics", Some(&reader()), &request).await
    };
    let listed = messages(&list(&[]).await.ok());
    let topics = listed[0]["topics"].as_array().expect("topics").iter();
    assert!(
        topics
            .map(|t| &t["topic"])
            .eq(["door.1", "door.2", "lift.1"])
    );
    let refused = list(&["stairs.*"]).await;
    assert!(refused.stderr.contains("\"code\": 7"), "{refused:?}");
}

#[tokio::test]
async fn who_has_shown_nothing_reads_what_everybody_may_and_is_asked_for_more() {
    let ground = Ground::start();
    publish_some(&ground).await;
    let path = "/v1/poll?after=earliest&wait=0";
    let answer: Value = ground.gateway.get(path).await;
    assert_eq!(answer["filter"], json!(["public.>"]));
    assert_eq!(answer["events"][0]["vid"], 5);
    let refused = reqwest::get(ground.url("/v1/poll?topic=door.1&wait=0")).await;
    let refused = refused.expect("an answer");
    assert_eq!(refused.status(), 401);
    assert!(refused.headers().contains_key("www-authenticate"));
    let request = json!({ "topic": ["door.1"] });
    let refused = ground.call("Subscribe", None, &request).await;
    assert!(refused.stderr.contains("\"code\": 16"), "{refused:?}");
}

#[tokio::test]
async fn the_rust_client_passes_it_on_and_tail_prints_it() {
    let ground = Ground::start();
    for transport in [Transport::Sse, Transport::LongPoll, Transport::Grpc] {
        let client = Client::new(&ground.gateway.url()).expect("a client");
        let mut reader = client.read(ReadOptions::new().via(transport));
        let connected = reader.next().await.expect("an item").expect("no error");
        let ReadItem::Connected(log) = connected else {
            panic!("{transport:?}: {connected:?}");
        };
        assert_eq!(log.filter, ["public.>"], "{transport:?}");
    }

    ground.publish("public.1", &json!(1)).await;
    let vidette = env!("CARGO_BIN_EXE_vidette");
    let url = ground.gateway.url();
    let args = ["tail", "--after", "earliest", "--limit", "1", "--url", &url];
    let tail = Running::start(vidette, &args).ended().await;
    assert!(tail.stderr.contains("may read public.>"), "{tail:?}");
    assert!(tail.stdout.contains("public.1"), "{tail:?}");
}
