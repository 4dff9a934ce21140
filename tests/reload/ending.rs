//! What comes before the first stream's turn, between two turns, and after a second signal.

use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tonic::transport::{Channel, Endpoint};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

use crate::common::gateway::{Gateway, PATIENCE};
use crate::common::grpc;
use crate::common::read::{Reader, Refused, SubscribeParams, Transport};
use crate::streams::{RawSse, gateway, gateway_over, until_subscribed};

/// The status of an answer to a request that is no subscription.
async fn status_of(gateway: &Gateway, path: &str) -> u16 {
    let answer = reqwest::get(format!("{}{path}", gateway.url())).await;
    answer.expect("an answer").status().as_u16()
}

async fn publish(gateway: &Gateway) -> u64 {
    let event = json!({ "topic": "door.1", "data": 1 });
    gateway.publish(&event).await["vid"]
        .as_u64()
        .expect("a vid")
}

async fn until_told(gateway: &Gateway) {
    let is_told = || async { gateway.log().contains("shutting down") };
    gateway.until("it is asked to end", is_told).await;
}

/// Two streams over a minute: the first has its turn at once, the other half a minute later.
#[tokio::test]
async fn between_two_turns_publishers_are_served_and_new_readers_sent_away() {
    let mut gateway = gateway_over("60s");
    let address = gateway.address();
    let streams = [
        RawSse::open(address, "", "").await,
        RawSse::open(address, "", "").await,
    ];
    let reading = streams.map(|stream| tokio::spawn(stream.ended()));
    until_subscribed(&gateway, 2).await;
    gateway.ask_to_end();
    until_subscribed(&gateway, 1).await;

    // Readiness is red everywhere, and nobody new reads here.
    assert_eq!(status_of(&gateway, "/readyz").await, 503);
    assert_eq!(status_of(&gateway, "/healthz").await, 200);
    assert_eq!(health(&gateway).await, 2, "NOT_SERVING");
    let poll = reqwest::get(format!("{}/v1/poll", gateway.url())).await;
    let poll = poll.expect("an answer");
    assert_eq!(
        (
            poll.status().as_u16(),
            poll.headers().contains_key("retry-after")
        ),
        (503, true)
    );
    let mut retries = Vec::new();
    for _ in 0..20 {
        let late = RawSse::open(address, "", "").await.ended().await;
        assert!(late.is_told, "{late:?}");
        retries.push(late.retry_ms.expect("a time after which to come back"));
    }
    // Spread over more than what those get that were ended, as there may be no other gateway.
    let most = retries.iter().max().copied().unwrap_or(0);
    assert!((3_000..=13_000).contains(&most), "{retries:?}");
    let refused = Reader::open(Transport::Grpc, &gateway, &SubscribeParams::default()).await;
    assert!(matches!(refused.err(), Some(Refused::Unavailable(_))));

    // What is published reaches the one that is left, until it is sent away by a second signal.
    let vid = publish(&gateway).await;
    gateway.ask_to_end();
    assert!(gateway.ended().await.success(), "{}", gateway.log());
    let [one, other] = reading;
    let ended = [one.await.expect("one"), other.await.expect("other")];
    assert!(ended.iter().all(|one| one.is_told), "{ended:?}");
    let mut vids: Vec<_> = ended.iter().map(|one| one.vids.as_slice()).collect();
    vids.sort_unstable();
    assert_eq!(vids, [&[][..], &[vid]]);
}

async fn health_client(gateway: &Gateway) -> HealthClient<Channel> {
    let endpoint = Endpoint::from_shared(gateway.url()).expect("an address");
    HealthClient::new(endpoint.connect().await.expect("a connection"))
}

/// The number of the status that gRPC health gives.
async fn health(gateway: &Gateway) -> i32 {
    let mut client = health_client(gateway).await;
    let answer = client.check(HealthCheckRequest::default()).await;
    answer.expect("an answer").into_inner().status
}

#[tokio::test]
async fn with_a_notice_everything_is_served_while_readiness_is_red() {
    let mut gateway = gateway("over = \"60s\"\nnotice = \"60s\"");
    gateway.ask_to_end();
    let is_red = || async { status_of(&gateway, "/readyz").await == 503 };
    gateway.until("readiness is red", is_red).await;
    assert_eq!(health(&gateway).await, 2, "NOT_SERVING");

    let mut reader = Reader::open(Transport::Sse, &gateway, &SubscribeParams::default())
        .await
        .expect("a subscription");
    reader.until_caught_up().await;
    let vid = publish(&gateway).await;
    assert_eq!(reader.event().await.0.vid, vid);
    assert_eq!(status_of(&gateway, "/v1/poll?wait=0").await, 200);
    gateway.ask_to_end();
    assert!(gateway.ended().await.success(), "{}", gateway.log());
}

#[tokio::test]
async fn a_second_signal_ends_all_streams_at_once_and_cleanly() {
    let mut gateway = gateway_over("1h");
    let address = gateway.address();
    let mut reading = Vec::new();
    for _ in 0..20 {
        let stream = RawSse::open(address, "", "").await;
        reading.push(tokio::spawn(stream.ended()));
    }
    until_subscribed(&gateway, 20).await;
    gateway.ask_to_end();
    until_told(&gateway).await;
    gateway.signal(nix::sys::signal::Signal::SIGINT);
    assert!(gateway.ended().await.success(), "{}", gateway.log());
    for stream in reading {
        let ended = stream.await.expect("a stream");
        assert!(ended.is_told, "{ended:?}");
    }
    assert!(!gateway.log().contains("are cut"), "{}", gateway.log());
}

#[tokio::test]
async fn without_streams_it_ends_at_once_and_so_do_idle_connections() {
    let mut gateway = gateway_over("1h");
    let mut idle = TcpStream::connect(gateway.address())
        .await
        .expect("a connection");
    let request = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n";
    idle.write_all(request).await.expect("it is taken");
    let mut watch = health_client(&gateway).await;
    let watch = watch.watch(HealthCheckRequest::default()).await;
    let mut watch = watch.expect("a stream").into_inner();
    assert!(watch.message().await.expect("a status").is_some());

    gateway.ask_to_end();
    let mut answer = Vec::new();
    let reading = timeout(PATIENCE, idle.read_to_end(&mut answer)).await;
    reading.expect("in time").expect("an end, and no reset");
    assert!(gateway.ended().await.success(), "{}", gateway.log());
    assert!(!gateway.log().contains("are cut"), "{}", gateway.log());
}

/// How a stream of gRPC ended.
#[derive(Debug)]
struct StreamEnd {
    closing: Option<vidette::proto::Closing>,
    code: tonic::Code,
}

impl StreamEnd {
    fn check(&self) {
        let reason = self.closing.as_ref().map(|closing| closing.reason.as_str());
        assert_eq!(reason, Some("shutdown"), "{self:?}");
        assert_eq!(self.code, tonic::Code::Unavailable, "{self:?}");
    }
}

/// The vid of the next event, or how the stream ended instead.
async fn until_event_or_end(
    stream: &mut tonic::Streaming<vidette::proto::SubscribeResponse>,
) -> Result<u64, StreamEnd> {
    use vidette::proto::subscribe_response::Message;

    let mut closing = None;
    loop {
        let next = timeout(PATIENCE, stream.message()).await.expect("in time");
        match next {
            Ok(Some(response)) => match response.message.expect("a message") {
                Message::Events(batch) => return Ok(batch.events[0].vid),
                Message::Closing(told) => closing = Some(told),
                _ => {}
            },
            Ok(None) => panic!("it ended without a status"),
            Err(status) => {
                return Err(StreamEnd {
                    closing,
                    code: status.code(),
                });
            }
        }
    }
}

/// A connection of HTTP/2 is told to take its next request elsewhere, while its stream lives on.
#[tokio::test]
async fn a_stream_of_grpc_lives_on_behind_the_goaway_and_new_calls_are_answered() {
    let mut gateway = gateway_over("60s");
    let mut client = grpc::client(&gateway.url()).await;
    let subscribe = || vidette::proto::SubscribeRequest::default();
    let mut streams = Vec::new();
    for _ in 0..2 {
        let stream = client.subscribe(subscribe()).await.expect("a stream");
        streams.push(stream.into_inner());
    }
    until_subscribed(&gateway, 2).await;
    gateway.ask_to_end();
    until_subscribed(&gateway, 1).await;

    // On the same channel: its library may notice only by a call that it has to connect again.
    let is_answered = || {
        let mut client = client.clone();
        async move {
            let asked = client.get_bus(vidette::proto::GetBusRequest {});
            asked.await.is_ok()
        }
    };
    gateway.until("another call is answered", is_answered).await;
    let vid = publish(&gateway).await;
    let mut ended = 0;
    let mut living = None;
    for mut stream in streams {
        match until_event_or_end(&mut stream).await {
            Ok(event) => {
                assert_eq!(event, vid);
                assert!(living.replace(stream).is_none(), "one has ended");
            }
            Err(end) => {
                end.check();
                ended += 1;
            }
        }
    }
    assert_eq!(ended, 1, "the other one lives on");
    gateway.ask_to_end();
    let end = until_event_or_end(&mut living.expect("a stream")).await;
    end.expect_err("nothing else is published").check();
    assert!(gateway.ended().await.success(), "{}", gateway.log());
}
