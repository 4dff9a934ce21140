//! JSON that is valid and that common readers cannot take (contract §5).

use serde_json::json;
use tonic::Code;
use vidette::proto::{NewEvent, PublishRequest};

use super::support::{gateways, post, post_events, post_lines};
use crate::common::grpc::client;

fn nested(levels: usize) -> String {
    format!("{}1{}", "[".repeat(levels), "]".repeat(levels))
}

/// Data, and what its refusal says.
fn poison() -> [(String, &'static str); 5] {
    [
        (nested(129), "deeper than 128 levels at byte 128"),
        (nested(100_000), "deeper than 128 levels at byte 128"),
        (
            "{\"a\":".repeat(200) + "1" + &"}".repeat(200),
            "deeper than 128",
        ),
        (r#"{"name":"\ud800"}"#.to_owned(), "surrogate at byte 9"),
        (r#"["\uDC00 \ud83d"]"#.to_owned(), "surrogate at byte 2"),
    ]
}

#[tokio::test]
async fn poison_is_refused_on_every_way_in_and_says_where_it_is() {
    for (engine, gateway) in gateways("") {
        let mut grpc = client(&gateway.url()).await;
        for (data, reason) in poison() {
            let object = format!("{{\"topic\":\"a\",\"data\":{data}}}");
            let batch = format!("[{{\"topic\":\"a\",\"data\":1}},{object}]");
            for body in [&object, &batch] {
                let detail = post_events(&gateway, body.clone()).await.problem(400);
                assert!(detail.contains(reason), "{engine} {detail}");
            }
            let answer = post_lines(&gateway, object).await.lines().remove(0);
            let detail = answer["error"]["detail"].as_str().expect("a detail");
            assert!(detail.contains(reason), "{engine} {detail}");
            for content_type in ["application/json", "application/vnd.door+json", ""] {
                let answer = post(&gateway, "/v1/topics/a", content_type, data.clone()).await;
                let detail = answer.problem(400);
                assert!(detail.contains(reason), "{engine} {detail}");
                let event = NewEvent {
                    topic: "a".to_owned(),
                    content_type: content_type.to_owned(),
                    data: data.clone().into(),
                    ..NewEvent::default()
                };
                let request = PublishRequest {
                    events: vec![event],
                };
                let status = grpc.publish(request).await.expect_err("a refusal");
                assert_eq!(status.code(), Code::InvalidArgument);
                assert!(status.message().contains(reason), "{status:?}");
            }
        }
        assert_eq!(gateway.get("/v1/bus").await["last"], 0, "{engine}");
    }
}

#[tokio::test]
async fn what_is_no_poison_is_taken() {
    for (engine, gateway) in gateways("") {
        for data in [&nested(128), r#""\ud83d\ude00 \\ud800 \u0000""#] {
            let answer = post(
                &gateway,
                "/v1/topics/a",
                "application/json",
                data.to_owned(),
            )
            .await;
            assert_eq!(answer.status, 200, "{engine} {}", answer.text);
        }
        // Text may look like anything.
        let text = json!({ "topic": "a", "content_type": "text/plain", "data": "\"\\ud800\"" });
        assert_eq!(post_events(&gateway, text.to_string()).await.status, 200);
        let answer = post(&gateway, "/v1/topics/a", "text/plain", nested(500)).await;
        assert_eq!(answer.status, 200, "{engine}");
        let page = gateway.get("/v1/poll?after=3&wait=0").await;
        assert_eq!(page["events"][0]["data"], nested(500));
    }
}
