//! Each transport, encrypted, over each protocol that clients speak.

use futures_util::StreamExt as _;
use http::Version;
use serde_json::Value;
use vidette::proto::event_bus_client::EventBusClient;
use vidette::proto::{GetBusRequest, SubscribeRequest};

use crate::support::TlsGateway;

const EVENT: &str = r#"{"topic":"door.1","data":{"n":1}}"#;

async fn publish(client: &reqwest::Client, url: String) -> reqwest::Response {
    let request = client.post(url).body(EVENT);
    let request = request.header("content-type", "application/json");
    request.send().await.expect("an answer")
}

#[tokio::test]
async fn a_page_publishes_polls_and_streams_over_http_1_and_2() {
    let gateway = TlsGateway::start();
    for version in [Version::HTTP_11, Version::HTTP_2] {
        let builder = gateway.authority.http_client();
        let builder = match version {
            Version::HTTP_11 => builder.http1_only(),
            _ => builder,
        };
        let client = builder.build().expect("a client");
        let published = publish(&client, gateway.url("/v1/events")).await;
        assert_eq!(
            (published.status().as_u16(), published.version()),
            (200, version)
        );

        let polled = client.get(gateway.url("/v1/poll?after=0&wait=0&topic=door.1"));
        let polled: Value = polled
            .send()
            .await
            .expect("an answer")
            .json()
            .await
            .expect("JSON");
        assert_eq!(polled["events"][0]["data"]["n"], 1);

        let stream = client
            .get(gateway.url("/v1/sse?after=0&topic=door.1"))
            .send()
            .await;
        let mut stream = stream.expect("a stream").bytes_stream();
        let mut read = String::new();
        while !read.contains("vidette.caught_up") {
            let piece = stream.next().await.expect("no end").expect("bytes");
            read.push_str(&String::from_utf8_lossy(&piece));
        }
        assert!(read.contains("\"topic\":\"door.1\""), "{read}");
    }
}

#[tokio::test]
async fn grpc_calls_and_streams() {
    let gateway = TlsGateway::start();
    publish(&gateway.client(), gateway.url("/v1/events")).await;
    let channel = tonic::transport::Channel::from_shared(gateway.gateway.url());
    let channel = channel
        .expect("a URL")
        .tls_config(gateway.authority.grpc_client());
    let channel = channel
        .expect("an authority")
        .connect()
        .await
        .expect("a connection");
    let mut client = EventBusClient::new(channel);
    let bus = client.get_bus(GetBusRequest {}).await.expect("an answer");
    assert_eq!(bus.into_inner().last, 1);

    let request = SubscribeRequest {
        after: "0".into(),
        limit: 1,
        ..SubscribeRequest::default()
    };
    let stream = client
        .subscribe(request)
        .await
        .expect("a stream")
        .into_inner();
    let steps: Vec<_> = stream.collect().await;
    assert!(
        steps.iter().all(Result::is_ok) && steps.len() >= 2,
        "{steps:?}"
    );
}
