//! Whoever publishes is ended with its credential, also while it sends nothing.

use serde_json::{Value, json};

use crate::ground::{ENDS, End, Ground, short_token, token};

/// A message of `PublishStream`.
const BATCH: &str = "{\"events\":[{\"topic\":\"door.1\",\"data\":\"MQ==\"}]}\n";

#[tokio::test]
async fn a_stream_of_lines_ends_also_while_no_line_comes() {
    for end in ENDS {
        let ground = Ground::start();
        let token = short_token(end, &["door.>"]);
        let lines = [
            "-T",
            ".",
            "-X",
            "POST",
            "-H",
            "Content-Type: application/x-ndjson",
        ];
        let mut curl = ground.curl("/v1/events", &token, &lines);
        curl.say("{\"topic\":\"door.1\",\"data\":1}\n").await;
        curl.line_with("\"vid\":1").await;
        ground.bring_about(end);
        let line = curl.line().await.expect("a last line");
        let last: Value = serde_json::from_str(&line).expect("JSON");
        assert_eq!(last["error"]["status"], 401, "{end:?}: {line}");
        assert_eq!(last["line"], 2);
    }
}

#[tokio::test]
async fn a_call_of_grpcurl_that_publishes_ends_also_while_nothing_is_sent() {
    for end in ENDS {
        let ground = Ground::start();
        let token = short_token(end, &["door.>"]);
        let mut call = ground.grpcurl("PublishStream", &token, "@");
        call.say(BATCH).await;
        call.line_with("firstVid").await;
        ground.bring_about(end);
        let is_over = || async { ground.status("/v1/bus", &token).await == 401 };
        ground.gateway.until("it has ended", is_over).await;
        // grpcurl looks at the end of a call only when it has something to send.
        call.say(BATCH).await;
        let ended = call.end().await;
        assert!(ended.stderr.contains("\"code\": 16"), "{end:?}: {ended:?}");
        assert_eq!(ground.last_vid().await, 1);
    }
}

#[tokio::test]
async fn a_call_of_grpcio_that_publishes_ends_also_while_nothing_is_sent() {
    for end in ENDS {
        let ground = Ground::start();
        let mut publisher = ground.python("publish.py", &short_token(end, &["door.>"]));
        publisher.line_with("acknowledged 1").await;
        ground.bring_about(end);
        let said = publisher.ended().await.ok();
        assert_eq!(said, "UNAUTHENTICATED\n", "{end:?}");
    }
}

#[tokio::test]
async fn each_topic_of_a_batch_needs_the_right_and_each_line_is_answered_by_itself() {
    let ground = Ground::start();
    let token = token("doors", 3600, &["door.*"], &[]);
    let events = json!([
        { "topic": "door.1", "data": 1 },
        { "topic": "lift.1", "data": 2 },
    ]);
    let post = |content_type: &'static str, body: String| {
        let request = reqwest::Client::new().post(ground.url("/v1/events"));
        let request = request.bearer_auth(&token).body(body);
        request.header("content-type", content_type).send()
    };
    let batch = post("application/json", events.to_string()).await;
    let batch = batch.expect("an answer");
    assert_eq!(batch.status(), 403);
    assert!(batch.text().await.expect("text").contains("lift.1"));

    let lines: String = events
        .as_array()
        .expect("two")
        .iter()
        .chain([&json!({ "topic": "door.2", "data": 3 })])
        .fold(String::new(), |lines, event| lines + &format!("{event}\n"));
    let answers = post("application/x-ndjson", lines)
        .await
        .expect("an answer");
    let answers = answers.text().await.expect("text");
    let answers: Vec<Value> = answers
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    assert_eq!(answers[0]["vid"], 1, "nothing of the batch was kept");
    assert_eq!(answers[1]["error"]["status"], 403);
    assert_eq!(answers[2]["vid"], 2);

    let batch = json!({ "events": [{ "topic": "door.1" }, { "topic": "lift.1" }] });
    let refused = ground.call("Publish", Some(&token), &batch).await;
    assert!(refused.stderr.contains("\"code\": 7"), "{refused:?}");
    assert!(refused.stderr.contains("lift.1"), "{refused:?}");
}

#[tokio::test]
async fn a_credential_that_has_ended_publishes_by_no_way() {
    let ground = Ground::start();
    let revoked = short_token(End::Revocation, &["door.>"]);
    ground.bring_about(End::Revocation);
    let is_revoked = || async { ground.status("/v1/bus", &revoked).await == 401 };
    ground.gateway.until("it is revoked", is_revoked).await;
    let expired = token("expired", -600, &["door.>"], &["door.>"]);
    for token in [&revoked, &expired] {
        for (path, content_type) in [
            ("/v1/events", "application/json"),
            ("/v1/events", "application/x-ndjson"),
            ("/v1/topics/door.1", "text/plain"),
        ] {
            let request = reqwest::Client::new().post(ground.url(path));
            let request = request
                .bearer_auth(token)
                .header("content-type", content_type);
            let answer = request.body("{\"topic\":\"door.1\",\"data\":1}").send();
            assert_eq!(answer.await.expect("an answer").status(), 401, "{path}");
        }
        let batch = json!({ "events": [{ "topic": "door.1" }] });
        for method in ["Publish", "PublishStream"] {
            let refused = ground.call(method, Some(token), &batch).await;
            assert!(
                refused.stderr.contains("\"code\": 16"),
                "{method}: {refused:?}"
            );
        }
    }
}
