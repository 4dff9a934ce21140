//! Streams of a shared connection: one caller's resets, and windows that open by a byte.

use std::time::Duration;

use bytes::Bytes;
use h2::client::SendRequest;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};

use crate::common::gateway::{Gateway, PATIENCE};
use crate::raw::{connect_h2, gateway, get, send, until_all_is_given_back};

async fn begin_poll(
    requests: &SendRequest<Bytes>,
    gateway: &Gateway,
    topic: &str,
) -> h2::client::ResponseFuture {
    let path = format!("/v1/poll?topic={topic}&wait=100");
    send(requests, get(gateway, &path), true).await.0
}

#[tokio::test]
async fn callers_that_give_up_all_at_once_do_not_end_the_connection_of_their_neighbours() {
    let gateway = gateway("");
    let requests = connect_h2(&gateway, 1 << 20).await;
    let neighbour = begin_poll(&requests, &gateway, "neighbour").await;
    for _ in 0..5 {
        let mut given_up = Vec::new();
        for _ in 0..1000 {
            given_up.push(begin_poll(&requests, &gateway, "other").await);
        }
        drop(given_up); // before the gateway has seen most of them
        let (response, _) = send(&requests, get(&gateway, "/healthz"), true).await;
        let response = timeout(PATIENCE, response).await.expect("in time");
        assert_eq!(response.expect("no GOAWAY").status(), 200);
    }
    gateway.publish_numbers("neighbour", 1).await;
    let response = timeout(PATIENCE, neighbour).await.expect("in time");
    assert_eq!(response.expect("no GOAWAY").status(), 200);
}

#[tokio::test]
async fn the_end_of_a_small_answer_that_nobody_takes_goes_with_its_idle_connection() {
    let gateway = gateway("write_timeout = \"1s\"\nkeep_alive_timeout = \"1s\"");
    let requests = connect_h2(&gateway, 1).await;
    let (response, _) = send(&requests, get(&gateway, "/healthz"), true).await;
    let response = timeout(PATIENCE, response).await.expect("in time");
    let response = response.expect("an answer"); // three bytes, of which one is taken
    let is_alone = || async { gateway.metric("vidette_connections").await <= 1.0 };
    gateway.until("the connection is given up", is_alone).await;
    drop((response, requests));
}

/// The head of every frame (RFC 9113 §4.1).
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("small").to_be_bytes();
    let mut frame = vec![length[1], length[2], length[3], kind, flags];
    frame.extend_from_slice(&stream.to_be_bytes());
    frame.extend_from_slice(payload);
    frame
}

const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const END_STREAM_AND_HEADERS: u8 = 5;

/// `GET` of a path over plain HTTP/2, without a table (RFC 7541 §6.2.2).
fn get_frame(stream: u32, path: &str) -> Vec<u8> {
    let mut block = vec![0x82, 0x86]; // :method GET, :scheme http
    for (name_index, value) in [(0x04, path), (0x01, "localhost")] {
        block.push(name_index);
        block.push(u8::try_from(value.len()).expect("below 127"));
        block.extend_from_slice(value.as_bytes());
    }
    frame(HEADERS, END_STREAM_AND_HEADERS, stream, &block)
}

/// A connection whose streams begin with such a window.
async fn connect_raw(gateway: &Gateway, window_bytes: u32) -> TcpStream {
    let stream = TcpStream::connect(gateway.address()).await;
    let mut stream = stream.expect("a connection");
    let mut setting = vec![0, 4]; // SETTINGS_INITIAL_WINDOW_SIZE
    setting.extend_from_slice(&window_bytes.to_be_bytes());
    let begin = [
        &b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..],
        &frame(SETTINGS, 0, 0, &setting),
    ];
    stream.write_all(&begin.concat()).await.expect("sent");
    stream
}

/// The next frame's kind and stream.
async fn next_frame(stream: &mut TcpStream) -> Option<(u8, u32)> {
    let mut head = [0; 9];
    stream.read_exact(&mut head).await.ok()?;
    let [a, b, c, kind, _, id @ ..] = head;
    let mut payload = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
    stream.read_exact(&mut payload).await.ok()?;
    Some((kind, u32::from_be_bytes(id)))
}

#[tokio::test]
async fn a_window_that_opens_by_a_byte_does_not_keep_a_stream() {
    let gateway = gateway("write_timeout = \"2s\"");
    let body = vec![b'x'; 500_000];
    let publish = reqwest::Client::new().post(format!("{}/v1/topics/large", gateway.url()));
    let answer = publish.body(body).send().await.expect("an answer");
    assert_eq!(answer.status(), 200);

    let mut stream = connect_raw(&gateway, 1).await;
    let request = get_frame(1, "/v1/poll?after=0&wait=0");
    stream.write_all(&request).await.expect("sent");
    let begun = Instant::now();
    let one_byte = frame(WINDOW_UPDATE, 0, 1, &[0, 0, 0, 1]);
    let reset = async {
        loop {
            tokio::select! {
                next = next_frame(&mut stream) => match next {
                    Some((RST_STREAM, 1)) => return,
                    Some((GOAWAY, _)) | None => panic!("the connection is ended"),
                    Some(_) => continue,
                },
                () = sleep(Duration::from_millis(300)) => {}
            }
            stream.write_all(&one_byte).await.expect("sent");
        }
    };
    timeout(PATIENCE, reset).await.expect("it is reset in time");
    assert!(begun.elapsed() >= Duration::from_secs(2), "not before");
    until_all_is_given_back(&gateway, "page").await;
}

/// Opens streams and resets them, as fast as they are taken, until the gateway ends the connection
/// or `count` are sent.
async fn rapid_resets(gateway: &Gateway, count: u32) -> u32 {
    let mut stream = connect_raw(gateway, 0).await;
    let cancel = 8_u32.to_be_bytes();
    for number in 0..count {
        let id = 2 * number + 1;
        let both = [
            get_frame(id, "/v1/poll?wait=100"),
            frame(RST_STREAM, 0, id, &cancel),
        ];
        if stream.write_all(&both.concat()).await.is_err() {
            return number;
        }
    }
    count
}

#[tokio::test]
async fn a_flood_of_rapid_resets_leaves_nothing_behind_and_starves_nobody() {
    let gateway = gateway("");
    let floods: Vec<_> = (0..4).map(|_| rapid_resets(&gateway, 20_000)).collect();
    let flooding = futures_util::future::join_all(floods);
    let others = async {
        for _ in 0..20 {
            timeout(PATIENCE, gateway.publish_numbers("live", 1))
                .await
                .expect("an answer in time");
        }
    };
    let (_, ()) = tokio::join!(flooding, others);
    let is_left_alone = || async { gateway.get("/v1/bus").await["subscribers"] == 0 };
    gateway
        .until("no subscription is left", is_left_alone)
        .await;
    let resident = crate::raw::resident_bytes(&gateway);
    assert!(resident < 64 * crate::raw::MIB, "{resident}");
}
