//! `grpc-timeout` (gRPC over HTTP/2), by gRPC-web so that no client library ends the call itself.

use std::time::Duration;

use reqwest::Response;

use super::support::{connect, gateway, read_to_end, until_subscribers_are};
use crate::common::gateway::{Gateway, PATIENCE};

/// A message without a field, in its frame.
const EMPTY: &[u8] = &[0; 5];

async fn call(gateway: &Gateway, method: &str, timeout: &str) -> Response {
    let request = reqwest::Client::new()
        .post(format!("{}/vidette.v1.EventBus/{method}", gateway.url()))
        .header("content-type", "application/grpc-web+proto")
        .header("grpc-timeout", timeout)
        .body(EMPTY);
    request.send().await.expect("an answer")
}

/// The status of an answer, from its head or from the trailers in its body.
async fn status_of(response: Response) -> String {
    let head = response.headers().get("grpc-status").cloned();
    let body = response.bytes().await.expect("an answer that ends");
    let body = String::from_utf8_lossy(&body).into_owned();
    let in_body = || {
        let (_, rest) = body.rsplit_once("grpc-status:").expect("trailers");
        rest.trim()
            .split('\r')
            .next()
            .unwrap_or_default()
            .to_owned()
    };
    head.map_or_else(in_body, |status| {
        status.to_str().expect("a number").to_owned()
    })
}

#[tokio::test]
async fn a_subscription_ends_with_its_deadline() {
    let gateway = gateway("memory", "");
    let status = tokio::time::timeout(PATIENCE, async {
        status_of(call(&gateway, "Subscribe", "300m").await).await
    });
    assert_eq!(status.await.expect("in time"), "4");
    until_subscribers_are(&gateway, 0).await;
}

#[tokio::test]
async fn a_call_that_is_over_in_time_is_answered() {
    let gateway = gateway("memory", "");
    for timeout in ["30S", "99999999H", "60000m"] {
        assert_eq!(
            status_of(call(&gateway, "GetBus", timeout).await).await,
            "0"
        );
    }
    for wrong in ["", "soon", "1", "1.5S", "123456789S"] {
        let status = status_of(call(&gateway, "GetBus", wrong).await).await;
        assert_eq!(status, "3", "{wrong:?}");
    }
}

#[tokio::test]
async fn a_request_that_does_not_end_is_given_up_at_the_deadline() {
    let gateway = gateway("memory", "");
    for method in [
        "vidette.v1.EventBus/Publish",
        "vidette.v1.EventBus/Subscribe",
        "vidette.v1.EventBus/PublishStream",
        "grpc.health.v1.Health/Check",
    ] {
        let head = format!(
            "POST /{method} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\
             Content-Type: application/grpc-web+proto\r\ngrpc-timeout: 300m\r\nContent-Length: 1000\r\n\r\n\0"
        );
        let mut stream = connect(&gateway).await;
        tokio::io::AsyncWriteExt::write_all(&mut stream, head.as_bytes())
            .await
            .expect("a request");
        let answer = read_to_end(&mut stream, Duration::from_secs(20)).await;
        let answer = answer.replace("grpc-status: ", "grpc-status:");
        assert!(answer.contains("grpc-status:4"), "{method}: {answer}");
    }
}
