//! Readers that ask for much and take nothing.

use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest};
use h2::{Reason, RecvStream};
use http::Response;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;
use vidette::proto::{NewEvent, PublishRequest, SubscribeRequest};

use crate::common::gateway::{Gateway, PATIENCE};
use crate::common::grpc;
use crate::common::read::{Reader, SubscribeParams, Transport};
use crate::raw::{
    BUDGET, MIB, call, connect_h2, framed, gateway, get, peak_bytes, resident_bytes, send,
    until_all_is_given_back, used_bytes,
};

/// A peer that takes nothing for so long is cut.
const QUICK: &str = "write_timeout = \"2s\"";
/// The same, where the test ends before.
const PATIENT: &str = "write_timeout = \"5m\"";
/// What a gateway takes when it holds nothing, with its ring of events and their encodings.
const REST_BYTES: usize = 160 * MIB;
const EVENT_BYTES: usize = 1_000_000;

fn large(topic: usize) -> NewEvent {
    NewEvent {
        topic: format!("large.{topic}"),
        data: vec![0xff; EVENT_BYTES].into(),
        ..NewEvent::default()
    }
}

async fn publish_large(gateway: &Gateway, topics: std::ops::Range<usize>) {
    let mut client = grpc::client(&gateway.url()).await;
    for topic in topics {
        let events = vec![large(topic)];
        let request = PublishRequest { events };
        client.publish(request).await.expect("an answer");
    }
}

const SNAPSHOT: &str = "/v1/poll?snapshot=true&wait=0";

async fn params(requests: &SendRequest<Bytes>, gateway: &Gateway, path: &str) -> ResponseFuture {
    send(requests, get(gateway, path), true).await.0
}

async fn head(response: ResponseFuture) -> Response<RecvStream> {
    let response = timeout(PATIENCE, response).await.expect("in time");
    response.expect("an answer")
}

/// Waits until the gateway resets a stream, taking nothing of it.
async fn until_reset(response: &mut Response<RecvStream>) -> Option<Reason> {
    let body = response.body_mut();
    let ended = async {
        loop {
            match body.data().await {
                Some(Ok(_)) => {} // and nothing is given back
                Some(Err(error)) => return error.reason(),
                None => return None,
            }
        }
    };
    timeout(PATIENCE, ended).await.expect("it is cut in time")
}

#[tokio::test]
async fn snapshots_that_nobody_takes_over_http2_stay_within_the_budget() {
    let gateway = gateway(PATIENT);
    publish_large(&gateway, 0..12).await;
    let requests = connect_h2(&gateway, 0).await;
    let (mut held, mut refused) = (Vec::new(), 0);
    for _ in 0..200 {
        let response = head(params(&requests, &gateway, SNAPSHOT).await).await;
        match response.status().as_u16() {
            200 => held.push(response),
            503 => refused += 1,
            status => panic!("{status}"),
        }
    }
    assert!(refused > 0 && !held.is_empty(), "{} held", held.len());
    let peak = peak_bytes(&gateway);
    assert!(peak < REST_BYTES + BUDGET, "{} MiB", peak / MIB);
    // Who publishes, and who leaves memory alone, is served.
    gateway.publish_numbers("live", 3).await;
    drop((held, requests));
    until_all_is_given_back(&gateway, "page").await;
    let response = reqwest::get(format!("{}{SNAPSHOT}", gateway.url())).await;
    assert_eq!(response.expect("an answer").status(), 200);
}

#[tokio::test]
async fn a_stream_that_takes_nothing_is_reset_and_its_neighbours_are_not() {
    let gateway = gateway(QUICK);
    publish_large(&gateway, 0..4).await;
    for window_bytes in [0, 1, 40_000] {
        let requests = connect_h2(&gateway, window_bytes.max(200)).await;
        let stalling = connect_h2(&gateway, window_bytes).await;
        let mut stalled = Vec::new();
        for path in [SNAPSHOT, "/v1/sse?after=0", "/v1/poll?after=0&limit=1"] {
            stalled.push(head(params(&stalling, &gateway, path).await).await);
        }
        let neighbour = params(&stalling, &gateway, "/v1/poll?topic=neighbour&wait=20").await;
        for response in &mut stalled {
            assert_eq!(response.status(), 200);
            assert_eq!(until_reset(response).await, Some(Reason::CANCEL));
        }
        gateway.publish_numbers("neighbour", 1).await;
        assert_eq!(head(neighbour).await.status(), 200, "{window_bytes}");
        let later = params(&stalling, &gateway, "/healthz").await;
        assert_eq!(head(later).await.status(), 200, "{window_bytes}");
        drop(requests);
    }
    until_all_is_given_back(&gateway, "page").await;
}

/// A subscription to one topic, of which nothing is taken.
async fn subscribe(
    requests: &SendRequest<Bytes>,
    gateway: &Gateway,
    topic: usize,
) -> ResponseFuture {
    let request = SubscribeRequest {
        topic: vec![format!("large.{topic}")],
        after: "0".into(),
        ..SubscribeRequest::default()
    };
    let call = call(gateway, "vidette.v1.EventBus/Subscribe");
    let (response, mut body) = send(requests, call, false).await;
    let message = prost::Message::encode_to_vec(&request);
    body.send_data(framed(&message), true).expect("sent");
    response
}

#[tokio::test]
async fn subscriptions_that_take_nothing_stay_within_the_budget_and_live_readers_live() {
    let gateway = gateway(PATIENT);
    let mut live = Reader::open(
        Transport::Sse,
        &gateway,
        &SubscribeParams::default().topic("live"),
    )
    .await
    .expect("open");
    // Enough for the greeting, so that the first event is what does not pass.
    let requests = connect_h2(&gateway, 2000).await;
    let mut held = Vec::new();
    for topic in 0..300 {
        held.push(head(subscribe(&requests, &gateway, topic).await).await);
    }
    publish_large(&gateway, 0..300).await;
    let peak = peak_bytes(&gateway);
    assert!(peak < REST_BYTES + BUDGET, "{} MiB", peak / MIB);
    assert!(used_bytes(&gateway, "page").await > 0.0);

    for _ in 0..3 {
        gateway.publish_numbers("live", 1).await;
        live.event().await;
    }
    let refused = head(subscribe(&requests, &gateway, 0).await).await;
    assert_eq!(refused.headers()["grpc-status"], "8");
    drop((held, requests));
    until_all_is_given_back(&gateway, "page").await;
}

#[tokio::test]
async fn polls_over_http1_that_nobody_reads_stay_within_the_budget_and_are_cut() {
    let gateway = gateway(QUICK);
    publish_large(&gateway, 0..12).await;
    let mut held = Vec::new();
    for _ in 0..100 {
        let mut stream = TcpStream::connect(gateway.address())
            .await
            .expect("a connection");
        let request = format!("GET {SNAPSHOT} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.expect("sent");
        held.push(stream);
    }
    let peak = peak_bytes(&gateway);
    assert!(peak < REST_BYTES + BUDGET, "{} MiB", peak / MIB);
    until_all_is_given_back(&gateway, "page").await;
    for mut stream in held {
        let mut answer = Vec::new();
        let read = timeout(PATIENCE, stream.read_to_end(&mut answer)).await;
        let _cut_or_ended = read.expect("the connection is ended");
    }
}

#[tokio::test]
async fn readers_that_waited_for_memory_read_on() {
    let gateway = gateway("write_timeout = \"3s\"");
    // Enough for the greeting, so that the first event is what does not pass.
    let requests = connect_h2(&gateway, 2000).await;
    let mut held = Vec::new();
    for topic in 0..100 {
        held.push(head(subscribe(&requests, &gateway, topic).await).await);
    }
    let params = SubscribeParams::after("0").topic("large.*");
    let mut reader = Reader::open(Transport::Sse, &gateway, &params)
        .await
        .expect("open");
    let read_all = async {
        // The others are cut meanwhile.
        for topic in 0..100 {
            let (event, _) = reader.event().await;
            assert_eq!(event.topic, format!("large.{topic}"));
        }
    };
    tokio::join!(publish_large(&gateway, 0..100), read_all);
    drop(held);
}

/// What the gateway may hold for a poll that waits, with its connection.
const POLL_BYTES: usize = 2500;

#[tokio::test]
async fn a_poll_that_waits_holds_little() {
    let gateway = gateway("");
    let mut waiting = Vec::new();
    // The first of them fill what is made once, and what is kept for a burst of requests.
    wait_with(&gateway, 500, &mut waiting).await;
    let before = resident_bytes(&gateway);
    wait_with(&gateway, 2000, &mut waiting).await;
    let each = (resident_bytes(&gateway) - before) / 2000;
    assert!(each < POLL_BYTES, "{each} bytes");
}

/// How many polls begin at once: what only a beginning takes is then taken by the first of them,
/// however busy the machine is.
const POLLS_AT_ONCE: usize = 100;

/// Adds polls, each on a connection of its own.
async fn wait_with(gateway: &Gateway, more: usize, waiting: &mut Vec<TcpStream>) {
    for _ in 0..more / POLLS_AT_ONCE {
        for _ in 0..POLLS_AT_ONCE {
            waiting.push(start_poll(gateway).await);
        }

        let all = waiting.len();
        let wait = || async { gateway.get("/v1/bus").await["subscribers"] == all };
        gateway.until("all of them wait", wait).await;
    }
}

async fn start_poll(gateway: &Gateway) -> TcpStream {
    let connection = TcpStream::connect(gateway.address()).await;
    let mut stream = connection.expect("a connection");
    let request = b"GET /v1/poll?topic=a&wait=100 HTTP/1.1\r\nHost: localhost\r\n\r\n";
    stream.write_all(request).await.expect("sent");
    stream
}
