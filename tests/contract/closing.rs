//! Going away is not a dead cursor (contract §2.6, §4).

use crate::common::gateway::Gateway;
use crate::common::read::{ALL, Reader, Refused, Step, SubscribeParams, Transport};

#[tokio::test]
async fn a_stream_is_told_that_the_gateway_closes_and_resumes_after_it_is_back() {
    for via in [Transport::Sse, Transport::Grpc] {
        let mut gateway = Gateway::start();
        let cursor = gateway.publish_numbers("door.1", 3).await;
        let mut reader = Reader::open(via, &gateway, &SubscribeParams::earliest())
            .await
            .expect("a subscription");
        assert_eq!(reader.until_caught_up().await.1, cursor);

        gateway.ask_to_end();
        assert_eq!(
            reader.next().await.expect("a step"),
            Some(Step::Closing),
            "{via:?}"
        );
        match via {
            Transport::Grpc => assert!(matches!(reader.next().await, Err(Refused::Unavailable(_)))),
            _ => assert_eq!(reader.next().await.expect("an end"), None),
        }
        assert!(gateway.terminate().await.success(), "{}", gateway.log());

        gateway.start_again();
        gateway.publish_numbers("door.1", 1).await;
        let mut reader = Reader::open(via, &gateway, &SubscribeParams::after(cursor))
            .await
            .expect("a subscription");
        assert_eq!(reader.event().await.0.vid, 4, "{via:?}");
    }
}

#[tokio::test]
async fn a_waiting_poll_is_answered_early_with_its_cursor() {
    let mut gateway = Gateway::start();
    let cursor = gateway.publish_numbers("door.1", 3).await;
    let url = format!("{}/v1/poll?after={cursor}&wait=60", gateway.url());
    let poll = tokio::spawn(async move {
        reqwest::get(url)
            .await
            .expect("an answer")
            .json::<serde_json::Value>()
            .await
            .expect("JSON")
    });
    gateway
        .until("the poll waits", || async {
            gateway.get("/v1/bus").await["subscribers"] == 1
        })
        .await;
    gateway.ask_to_end();
    let answer = poll.await.expect("the poll");
    assert_eq!(answer["cursor"], cursor);
    assert_eq!(answer["events"], serde_json::json!([]));
    assert!(gateway.terminate().await.success());
}

#[tokio::test]
async fn all_transports_resume_each_others_cursors() {
    let gateway = Gateway::in_memory();
    gateway.publish_numbers("door.1", 5).await;
    for first in ALL {
        let mut reader = Reader::open(first, &gateway, &SubscribeParams::earliest())
            .await
            .expect("a subscription");
        reader.event().await;
        let (_, cursor) = reader.event().await;
        for second in ALL {
            let mut reader =
                Reader::open(second, &gateway, &SubscribeParams::after(cursor.clone()))
                    .await
                    .expect("a subscription");
            assert_eq!(reader.event().await.0.vid, 3, "{first:?} then {second:?}");
        }
    }
}
