//! An orderly end while connections are encrypted.

use tokio::io::AsyncWriteExt as _;
use tonic::Code;
use vidette::proto::SubscribeRequest;
use vidette::proto::event_bus_client::EventBusClient;

use crate::support::{TlsGateway, get};

#[tokio::test]
async fn streams_get_their_last_word_and_the_end_of_tls_and_who_comes_is_answered() {
    let mut gateway = TlsGateway::start();
    let mut stream = gateway.connect().await;
    stream.send(get("/v1/sse", "")).await;
    stream.read_to("vidette.caught_up").await;
    let channel = tonic::transport::Channel::from_shared(gateway.gateway.url()).expect("a URL");
    let channel = channel
        .tls_config(gateway.authority.grpc_client())
        .expect("an authority");
    let channel = channel.connect().await.expect("a connection");
    let subscribed = EventBusClient::new(channel)
        .subscribe(SubscribeRequest::default())
        .await;
    let mut messages = subscribed.expect("a stream").into_inner();
    gateway.until_subscribers_are(2).await;

    // A publisher whose body has not ended yet is waited for, and others may come meanwhile.
    let mut publisher = gateway.connect().await;
    let event = r#"{"topic":"a","data":1}"#;
    let length = event.len();
    let head = format!(
        "POST /v1/events HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\
         Expect: 100-continue\r\n\r\n"
    );
    publisher.send(head).await;
    publisher.read_to("100 Continue").await;
    let mut begun = gateway.connect().await;
    gateway.gateway.ask_to_end();
    let ended = stream.read_to_end().await;
    assert!(ended.contains("event: vidette.closing"), "{ended}");
    let status = loop {
        match messages.message().await {
            Ok(Some(_)) => {}
            Ok(None) => panic!("it ended without a status"),
            Err(status) => break status,
        }
    };
    assert_eq!(status.code(), Code::Unavailable);

    for late in [&mut begun, &mut gateway.connect().await] {
        late.send(get("/v1/poll", "")).await;
        let answer = late.read_to_end().await;
        assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
    }
    publisher
        .stream
        .write_all(event.as_bytes())
        .await
        .expect("it is taken");
    publisher.stream.flush().await.expect("it is taken");
    publisher.read_to("HTTP/1.1 503").await;
    assert!(
        gateway.gateway.ended().await.success(),
        "{}",
        gateway.gateway.log()
    );
}
