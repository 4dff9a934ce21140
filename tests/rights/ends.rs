//! Whoever reads is ended with its credential (contract §4, §5, §8), by each of its usual clients.

use serde_json::{Deserializer, Value, json};

use crate::ground::{ENDS, Ground, short_token};

#[tokio::test]
async fn an_event_stream_ends_with_closing_and_a_time_to_come_back() {
    for end in ENDS {
        let ground = Ground::start();
        let token = short_token(end, &["door.>"]);
        let mut curl = ground.curl("/v1/sse?topic=door.*", &token, &[]);
        curl.line_with("vidette.caught_up").await;
        ground.publish("door.1", &json!("seen")).await;
        curl.line_with("seen").await;

        ground.bring_about(end);
        let retry = curl.line_with("retry: ").await;
        assert_eq!(curl.line().await.as_deref(), Some("event: vidette.closing"));
        let data = curl.line().await.expect("data");
        assert!(data.contains("\"reason\":\"expired\""), "{end:?}: {data}");
        assert!(data.contains(retry.trim_start_matches("retry: ")), "{data}");
        ground.publish("door.1", &json!("too late")).await;
        let rest = curl.ended().await.ok();
        assert_eq!(rest.trim(), "", "closing is the last word");
        assert_eq!(ground.status("/v1/sse?topic=door.1", &token).await, 401);
    }
}

#[tokio::test]
async fn a_waiting_poll_is_answered_with_what_it_has() {
    for end in ENDS {
        let ground = Ground::start();
        let token = short_token(end, &["door.>"]);
        ground.publish("door.1", &json!(1)).await;
        let path = "/v1/poll?topic=door.*&wait=100";
        let waiting = ground.curl(path, &token, &["-w", "\n%{http_code}"]);
        ground.until_subscribed(1).await;
        ground.bring_about(end);
        let said = waiting.ended().await.ok();
        let (answer, status) = said.trim().rsplit_once('\n').expect("an answer");
        assert_eq!(status, "200", "{end:?}: {answer}");
        let answer: Value = serde_json::from_str(answer).expect("JSON");
        assert_eq!(answer["events"], json!([]));
        assert_eq!(answer["vid"], 1, "its cursor stays good");
        assert_eq!(ground.status(path, &token).await, 401);
    }
}

#[tokio::test]
async fn a_waiting_legacy_page_is_answered_as_at_the_end_of_its_wait() {
    for end in ENDS {
        let ground = Ground::start();
        let token = short_token(end, &["*.1"]);
        ground.publish("door.1", &json!(1)).await;
        let path = "/backend.php?maxvid=1";
        let waiting = ground.curl(path, &token, &["-w", "%{http_code}"]);
        ground.until_subscribed(1).await;
        ground.bring_about(end);
        assert_eq!(waiting.ended().await.ok().trim(), "200", "{end:?}");
        assert_eq!(ground.status(path, &token).await, 401);
    }
}

#[tokio::test]
async fn a_call_of_grpcurl_ends_with_closing_and_unauthenticated() {
    for end in ENDS {
        let ground = Ground::start();
        let token = short_token(end, &["door.>"]);
        let mut call = ground.grpcurl("Subscribe", &token, r#"{"topic":"door.*"}"#);
        call.line_with("caughtUp").await;
        ground.publish("door.1", &json!(1)).await;
        call.line_with("events").await;
        ground.bring_about(end);
        call.line_with("closing").await;
        let reason = call.line().await.expect("a reason");
        assert!(reason.contains("\"expired\""), "{end:?}: {reason}");
        let ended = call.ended().await;
        assert_eq!(error_code(&ended.stderr), 16, "{ended:?}");
        let refused = ground.call("Subscribe", Some(&token), &json!({})).await;
        assert_eq!(error_code(&refused.stderr), 16, "{refused:?}");
    }
}

/// The code of the error that grpcurl prints as JSON.
fn error_code(complaints: &str) -> u64 {
    let mut values = Deserializer::from_str(complaints).into_iter::<Value>();
    let error = values.next().expect("an error").expect("JSON");
    error["code"].as_u64().expect("a code")
}

#[tokio::test]
async fn a_call_of_grpcio_ends_with_closing_and_unauthenticated() {
    for end in ENDS {
        let ground = Ground::start();
        let mut reader = ground.python("read.py", &short_token(end, &["door.>"]));
        reader.line_with("caught_up").await;
        ground.publish("door.1", &json!(1)).await;
        reader.line_with("events").await;
        ground.bring_about(end);
        let said = reader.ended().await.ok();
        assert_eq!(said, "closing expired\nUNAUTHENTICATED\n", "{end:?}");
    }
}

#[tokio::test]
async fn whoever_else_reads_the_same_goes_on() {
    let ground = Ground::start();
    let lasting = crate::ground::token("lasting", 3600, &[], &["door.>"]);
    let mut other = ground.curl("/v1/sse?topic=door.*", &lasting, &[]);
    other.line_with("vidette.caught_up").await;
    let end = crate::ground::End::Revocation;
    let token = short_token(end, &["door.>"]);
    let mut revoked = ground.curl("/v1/sse?topic=door.*", &token, &[]);
    revoked.line_with("vidette.caught_up").await;
    ground.bring_about(end);
    revoked.line_with("vidette.closing").await;
    ground.publish("door.1", &json!("still here")).await;
    other.line_with("still here").await;
}
