//! Bounds of connections: how many there may be, and how long one may take nothing (contract §2.5).

use std::time::Duration;

use futures_util::future::join_all;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};

use crate::common::gateway::{Gateway, PATIENCE, Setup};
use crate::common::read::{SubscribeParams, Transport, read_all};
use crate::raw::Raw;

async fn ask_for_stream(stream: &mut TcpStream) {
    let request = "GET /v1/sse?after=earliest HTTP/1.1\r\nHost: localhost\r\n\r\n";
    stream
        .write_all(request.as_bytes())
        .await
        .expect("a request");
}

#[tokio::test]
async fn a_reader_that_takes_nothing_is_cut_after_the_write_timeout_and_can_resume() {
    let config = "[limits]\nwrite_timeout = \"1s\"".to_owned();
    let gateway = Gateway::start_with(Setup {
        config,
        ..Setup::default()
    });
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_recv_buffer_size(4096).expect("a small buffer"); // so that the gateway soon has nowhere to write
    let mut stalled = socket
        .connect(gateway.address())
        .await
        .expect("a connection");
    ask_for_stream(&mut stalled).await;
    gateway
        .until("it reads", || async {
            gateway.get("/v1/bus").await["subscribers"] == 1
        })
        .await;

    let large = "x".repeat(500_000);
    for _ in 0..20 {
        gateway
            .publish(&serde_json::json!({ "topic": "door.1", "data": large }))
            .await;
    }
    gateway
        .until("it is cut", || async {
            gateway.get("/v1/bus").await["subscribers"] == 0
        })
        .await;
    assert_eq!(
        read_all(Transport::Sse, &gateway, &SubscribeParams::after("0"))
            .await
            .len(),
        20,
        "nothing is lost by that"
    );
}

#[tokio::test]
async fn one_connection_too_many_is_told_so_and_let_in_when_another_has_left() {
    let config = "[limits]\nmax_connections = 1".to_owned();
    let gateway = Gateway::start_with(Setup {
        config,
        engine: "memory",
        ..Setup::default()
    });
    let mut first = TcpStream::connect(gateway.address())
        .await
        .expect("a connection");
    ask_for_stream(&mut first).await;
    first.read_u8().await.expect("an answer");

    let mut second = TcpStream::connect(gateway.address())
        .await
        .expect("a connection");
    let mut answer = String::new();
    let read = tokio::time::timeout(PATIENCE, second.read_to_string(&mut answer)).await;
    read.expect("it is closed in time").expect("an answer");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
    assert!(
        head.starts_with("HTTP/1.1 429 ") && head.contains("Retry-After: "),
        "{head}"
    );
    assert!(
        head.contains(&format!("Content-Length: {}", body.len())),
        "{head} {}",
        body.len()
    );
    assert_eq!(
        serde_json::from_str::<serde_json::Value>(body).expect("a problem")["status"],
        429
    );

    drop(first);
    gateway
        .until("there is a free place", || async {
            reqwest::get(format!("{}/healthz", gateway.url()))
                .await
                .is_ok_and(|r| r.status() == 200)
        })
        .await;
}

/// A gateway for one connection, and that one.
async fn full_gateway() -> (Gateway, Raw) {
    let config = "[limits]\nmax_connections = 1".to_owned();
    let gateway = Gateway::start_with(Setup {
        config,
        engine: "memory",
        ..Setup::default()
    });
    let mut first = Raw::connect(&gateway).await;
    ask_for_stream(&mut first.stream).await;
    first.stream.read_u8().await.expect("an answer");
    (gateway, first)
}

/// Refusals that reach their clients: more than one client at once, each of which sends its request
/// late and reads later still.
#[tokio::test]
async fn a_refusal_arrives_however_late_it_is_read() {
    let (gateway, _first) = full_gateway().await;

    let late = (0..200).map(|number| {
        let gateway = &gateway;
        async move {
            let mut raw = Raw::connect(gateway).await;
            if number % 2 == 0 {
                // The refusal is there before the request is sent.
                raw.stream.readable().await.expect("an answer");
            }
            raw.send("GET /v1/bus HTTP/1.1\r\nHost: localhost\r\n\r\n")
                .await;
            tokio::time::sleep(Duration::from_millis(300)).await; // others come meanwhile
            let answer = raw.answer().await;
            (answer.map(|answer| answer.status), raw.is_ended().await)
        }
    });
    let answers = join_all(late).await;
    let arrived = answers.iter().filter(|a| **a == (Some(429), true)).count();
    assert_eq!(arrived, 200, "{answers:?}");
}

/// What is refused on its way is answered so that the answer can be read.
#[tokio::test]
async fn a_refusal_of_a_body_arrives() {
    let gateway = Gateway::in_memory();
    for _ in 0..20 {
        let mut raw = Raw::connect(&gateway).await;
        let head = "POST /v1/bus HTTP/1.1\r\nHost: localhost\r\nContent-Length: 20000000\r\n\r\n";
        raw.send(head).await;
        // As much as is sent before the answer is looked at; more than the gateway has read.
        let _ = raw.stream.write_all(&vec![b' '; 1_000_000]).await;
        let answer = raw.answer().await;
        assert_eq!(answer.map(|answer| answer.status), Some(405));
        assert!(raw.is_ended().await);
    }
}

/// A flood of connections over the bound holds no more sockets than may be refused at once.
#[tokio::test]
async fn refusals_are_bounded() {
    const FLOOD: usize = 1500;
    let (gateway, _first) = full_gateway().await;
    let files = || {
        let folder = std::fs::read_dir(format!("/proc/{}/fd", gateway.pid()));
        folder.expect("open files").count()
    };
    let (before, mut most) = (files(), 0);
    let mut flood = Vec::new();
    for _ in 0..FLOOD {
        flood.push(Raw::connect(&gateway).await);
        most = most.max(files());
    }
    let (mut refused, mut closed) = (0, 0);
    for mut raw in flood {
        match raw.answer().await {
            Some(answer) => refused += usize::from(answer.status == 429),
            None => closed += 1,
        }
        most = most.max(files());
    }
    assert_eq!(refused + closed, FLOOD);
    assert!(
        refused >= vidette::limits::REFUSALS,
        "{refused} were refused"
    );
    // Those that are just being accepted come on top.
    let bound = before + vidette::limits::REFUSALS + 100;
    assert!(most <= bound, "{most} files were open, {before} before");
}
