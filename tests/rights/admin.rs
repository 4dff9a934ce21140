//! What operators see and do by the API: allowed, and refused (contract §8).

use reqwest::StatusCode;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::common::gateway::{Gateway, PATIENCE};
use crate::ground::{Ground, master, token};

const RIGHT: &[&str] = &["vidette.admin"];

fn operator() -> String {
    token("operator", 3600, RIGHT, RIGHT)
}

/// Does something; gives the status and the answer.
async fn act(url: &str, action: &str, bearer: Option<&str>, body: Value) -> (StatusCode, Value) {
    let mut request = reqwest::Client::new().post(format!("{url}/admin/api/{action}"));
    if let Some(token) = bearer {
        request = request.bearer_auth(token);
    }
    let answer = request.json(&body).send().await.expect("an answer");
    (answer.status(), answer.json().await.expect("JSON"))
}

async fn done(url: &str, action: &str, body: Value) -> Value {
    let (status, answer) = act(url, action, Some(&operator()), body).await;
    assert_eq!(status, 200, "{answer}");
    answer
}

async fn look(ground: &Ground, what: &str) -> Value {
    let request = reqwest::Client::new().get(ground.url(&format!("/admin/api/{what}")));
    let answer = request.bearer_auth(operator()).send().await;
    answer.expect("an answer").json().await.expect("JSON")
}

#[tokio::test]
async fn who_may_only_look_changes_nothing_and_a_stranger_sees_nothing() {
    let ground = Ground::start();
    ground.publish("door.1", &json!(1)).await;
    let url = ground.url("");
    let (looks, reads) = (
        token("looks", 3600, &[], RIGHT),
        token("reads", 3600, &[], &[">"]),
    );
    for (action, body) in [
        ("cut", json!({ "id": 1 })),
        ("revoke", json!({ "name": "master" })),
        ("purge", json!({ "topic": "door.1" })),
        ("delete", json!({ "vid": 1 })),
        ("read-only", json!({ "on": true })),
    ] {
        assert_eq!(
            act(&url, action, None, body.clone()).await.0,
            401,
            "{action}"
        );
        for token in [&looks, &reads] {
            let (status, answer) = act(&url, action, Some(token), body.clone()).await;
            assert_eq!(status, 403, "{action}: {answer}");
        }
        // What is no JSON could be sent by a form of any page.
        let form = reqwest::Client::new().post(format!("{url}/admin/api/{action}"));
        let form = form
            .bearer_auth(operator())
            .body(body.to_string())
            .send()
            .await;
        assert_eq!(form.expect("an answer").status(), 400, "{action}");
        let wrong = json!({ "nonsense": 1 });
        let (status, answer) = act(&url, action, Some(&operator()), wrong).await;
        assert_eq!(status, 400, "{action}: {answer}");
    }
    for path in ["status", "live", "connections", "topics"] {
        let path = format!("/admin/api/{path}");
        assert_eq!(ground.status(&path, &reads).await, 403, "{path}");
        assert_eq!(ground.status(&path, &looks).await, 200, "{path}");
    }
    assert_eq!(
        ground.last_vid().await,
        1,
        "nothing was noted, as nothing was done"
    );
    assert_eq!(
        ground
            .status("/v1/poll?topic=door.1&wait=0", &master())
            .await,
        200
    );
}

#[tokio::test]
async fn a_reader_is_listed_with_its_lag_and_cut_with_its_cursor_intact() {
    let ground = Ground::start();
    let mut curl = ground.curl(
        "/v1/sse?topic=door.*",
        &token("alice", 60, &[], &["door.>"]),
        &[],
    );
    curl.line_with("vidette.caught_up").await;
    let list = look(&ground, "connections").await;
    let reader = &list["connections"][0];
    assert_eq!(
        (&list["open"], &reader["lag"]),
        (&json!(1), &json!(0)),
        "{list}"
    );
    assert_eq!(
        (&reader["transport"], &reader["names"]),
        (&json!("sse"), &json!(["alice"]))
    );
    assert_eq!(reader["topics"], json!(["door.*"]));
    assert!(
        reader["peer"]
            .as_str()
            .is_some_and(|peer| peer.starts_with("127.0.0.1:"))
    );

    let answer = done(&ground.url(""), "cut", json!({ "id": reader["id"] })).await;
    assert_eq!(answer["noted_as"], 1, "{answer}");
    let rest = curl.ended().await.ok();
    assert!(
        rest.contains("vidette.closing") && rest.contains("\"reason\":\"busy\""),
        "{rest}"
    );
    let gone = act(
        &ground.url(""),
        "cut",
        Some(&operator()),
        json!({ "id": reader["id"] }),
    )
    .await;
    assert_eq!(gone.0, 404, "{}", gone.1);
}

#[tokio::test]
async fn a_reader_that_takes_nothing_is_the_slowest_and_loses_its_connection_when_it_is_cut() {
    let ground = Ground::start();
    let mut stream = TcpStream::connect(ground.gateway.address())
        .await
        .expect("a connection");
    let head = format!(
        "GET /v1/sse?topic=door.* HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {}\r\n\r\n",
        master()
    );
    stream.write_all(head.as_bytes()).await.expect("a request");
    ground.until_subscribed(1).await;
    // More than all buffers on the way hold.
    let large = "x".repeat(500_000);
    for _ in 0..40 {
        ground.publish("door.1", &json!(large)).await;
    }
    let list = look(&ground, "connections").await;
    let reader = &list["connections"][0];
    assert!(reader["lag"].as_u64() > Some(0), "{list}");
    done(&ground.url(""), "cut", json!({ "id": reader["id"] })).await;

    ground.until_subscribed(0).await;
    let reading = async {
        let (mut piece, mut read) = (vec![0; 64 * 1024], 0);
        while let Ok(length) = stream.read(&mut piece).await {
            read += length;
            if length == 0 {
                break;
            }
        }
        read
    };
    let read = timeout(PATIENCE, reading).await.expect("it ends");
    assert!(read < 40 * large.len(), "it was blocked");
}

#[tokio::test]
async fn a_caller_is_revoked_at_once_and_in_the_list() {
    let ground = Ground::start();
    let alice = token("alice", 3600, &[], &["door.>"]);
    let mut curl = ground.curl("/v1/sse?topic=door.*", &alice, &[]);
    curl.line_with("vidette.caught_up").await;
    let answer = done(&ground.url(""), "revoke", json!({ "name": "alice" })).await;
    assert_eq!(answer["holds"], "in_file", "{answer}");
    assert!(curl.ended().await.ok().contains("\"reason\":\"expired\""));
    assert_eq!(
        ground.status("/v1/poll?topic=door.1&wait=0", &alice).await,
        401
    );
    assert_eq!(ground.revoked(), "alice\n");
}

#[tokio::test]
async fn what_an_operator_deletes_is_served_in_no_way_and_noted() {
    for engine in ["sqlite", "memory"] {
        let mut gateway = Gateway::start_with(crate::common::gateway::Setup {
            engine,
            ..Default::default()
        });
        gateway.publish_numbers("door.1", 3).await;
        gateway.publish_numbers("door.2", 2).await;
        let seen = async |gateway: &Gateway, query: &str| -> Vec<u64> {
            let answer = gateway.get(&format!("/v1/poll?wait=0&{query}")).await;
            let events = answer["events"].as_array().expect("events").iter();
            events
                .map(|event| event["vid"].as_u64().expect("a vid"))
                .collect()
        };
        // Twice by each filter, so that pages are shared.
        for _ in 0..2 {
            assert_eq!(seen(&gateway, "after=earliest").await, [1, 2, 3, 4, 5]);
        }
        let act = async |action: &str, body: Value| {
            super::admin::act(&gateway.url(), action, None, body).await
        };
        let (status, answer) = act("delete", json!({ "vid": 2 })).await;
        assert_eq!(
            (status, &answer["topic"]),
            (StatusCode::OK, &json!("door.1")),
            "{answer}"
        );
        assert_eq!(act("delete", json!({ "vid": 2 })).await.0, 404);
        let (status, answer) = act("purge", json!({ "topic": "door.2" })).await;
        assert_eq!(
            (status, &answer["removed"]),
            (StatusCode::OK, &json!(2)),
            "{answer}"
        );

        for _ in 0..2 {
            assert_eq!(seen(&gateway, "after=earliest").await, [1, 3]);
            assert_eq!(seen(&gateway, "after=1&topic=door.1").await, [3]);
            assert_eq!(seen(&gateway, "snapshot=true").await, [3]);
            assert_eq!(
                seen(&gateway, "after=earliest&topic=vidette.admin").await,
                [6, 7]
            );
            let topics = gateway.get("/v1/topics").await;
            assert_eq!(topics["topics"], json!([{ "topic": "door.1", "vid": 3 }]));
            if engine == "memory" {
                break;
            }
            gateway.kill();
            gateway.start_again();
        }
        let notes = gateway
            .get("/v1/poll?wait=0&after=earliest&topic=vidette.admin")
            .await;
        let note = &notes["events"][0];
        assert_eq!(
            (&note["type"], &note["data"]["vid"]),
            (&json!("delete"), &json!(2))
        );
    }
}

#[tokio::test]
async fn a_gateway_that_is_read_only_serves_readers_and_refuses_publishers() {
    let gateway = Gateway::in_memory();
    gateway.publish_numbers("door.1", 1).await;
    let publish = async || {
        let request = reqwest::Client::new().post(format!("{}/v1/topics/door.1", gateway.url()));
        let answer = request.body("x").send().await.expect("an answer");
        let wait = answer.headers().contains_key("retry-after");
        (answer.status().as_u16(), wait)
    };
    assert_eq!(
        act(&gateway.url(), "read-only", None, json!({ "on": true }))
            .await
            .0,
        200
    );
    assert_eq!(publish().await, (503, true));
    assert_eq!(
        gateway.get("/v1/poll?after=earliest&wait=0").await["events"][0]["vid"],
        1
    );
    let status = gateway.get("/admin/api/status").await;
    assert_eq!(
        status["health"],
        json!({ "ready": true, "trouble": null, "read_only": true })
    );
    assert!(status["rates"]["events_per_s"].is_number(), "{status}");
    assert_eq!(
        act(&gateway.url(), "read-only", None, json!({ "on": false }))
            .await
            .0,
        200
    );
    assert_eq!(publish().await, (200, false));

    // Without [auth] there is nobody to revoke; no other site's page may ask for anything.
    assert_eq!(
        act(&gateway.url(), "revoke", None, json!({ "name": "x" }))
            .await
            .0,
        501
    );
    let page = reqwest::Client::new().get(format!("{}/admin", gateway.url()));
    let page = page.send().await.expect("an answer");
    let policy = page.headers()["content-security-policy"]
        .to_str()
        .expect("text");
    assert!(
        policy.contains("frame-ancestors 'none'") && !policy.contains("unsafe"),
        "{policy}"
    );
}
