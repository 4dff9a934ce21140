//! Everyone who asks while the gateway drains is answered (contract §2.6, §5).

use futures_util::future::join_all;
use tokio::io::AsyncReadExt as _;
use tonic::Code;
use vidette::proto::{GetBusRequest, NewEvent, PublishRequest};

use crate::common::gateway::Gateway;
use crate::common::grpc;
use crate::common::read::{Refused, SubscribeParams, Transport};
use crate::raw::{DRIVERS, Raw};
use crate::support::gateway;

/// Clients that come during a drain, of each kind.
const LATE: usize = 25;

/// A gateway that drains, held open by a publisher whose body does not end.
async fn draining() -> (Gateway, Raw) {
    let gateway = gateway("memory", "");
    let mut publisher = Raw::connect(&gateway).await;
    let head = "POST /v1/events HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\
                Expect: 100-continue\r\n\r\n";
    publisher.send(head).await;
    let answer = publisher.answer().await.expect("an answer");
    assert_eq!(answer.status, 100, "its body is waited for");
    gateway.ask_to_end();
    until_it_drains(&gateway).await;
    (gateway, publisher)
}

/// Its log speaks of the end a moment before a new reader is refused.
async fn until_it_drains(gateway: &Gateway) {
    let is_refused = || async {
        let mut raw = Raw::connect(gateway).await;
        raw.send("GET /v1/poll?wait=0 HTTP/1.1\r\nHost: localhost\r\n\r\n")
            .await;
        raw.answer().await.expect("an answer").status == 503
    };
    gateway.until("it drains", is_refused).await;
}

#[tokio::test]
async fn connections_that_are_opened_during_the_drain_are_answered() {
    let (gateway, _publisher) = draining().await;
    let event = r#"{"topic":"a","data":1}"#;
    let mut requests = vec![format!(
        "POST /v1/events HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n{event}",
        event.len()
    )];
    for (_, header) in DRIVERS {
        requests.push(format!(
            "GET /v1/poll?wait=5 HTTP/1.1\r\nHost: localhost\r\n{header}\r\n"
        ));
    }
    // All are connected before the first of them asks: none of them can be recognised by its first
    // byte.
    let count = requests.len() * LATE;
    let opened = join_all((0..count).map(|_| Raw::connect(&gateway))).await;
    let asked =
        opened
            .into_iter()
            .zip(requests.iter().cycle())
            .map(|(mut raw, request)| async move {
                raw.send(request).await;
                (request, raw.answer().await, raw)
            });
    for (request, answer, mut raw) in join_all(asked).await {
        let answer = answer.unwrap_or_else(|| panic!("no answer to {request}"));
        assert_eq!(answer.status, 503, "{request}: {answer:?}");
        assert!(answer.header("retry-after").is_some(), "{answer:?}");
        assert_eq!(answer.header("connection"), Some("close"), "{answer:?}");
        assert!(raw.is_ended().await, "{request}");
    }
}

#[tokio::test]
async fn a_head_that_comes_in_pieces_during_the_drain_is_answered() {
    let (gateway, _publisher) = draining().await;
    let pieces = ["GET /v1/po", "ll HTTP/1.1\r\nHost: loc", "alhost\r\n\r\n"];
    let mut raw = Raw::connect(&gateway).await;
    for piece in pieces {
        raw.send(piece).await;
        // The answer to another request stands between, so the piece has been read.
        Raw::connect(&gateway).await;
    }
    assert_eq!(raw.answer().await.expect("an answer").status, 503);
}

fn client_of_http2() -> reqwest::Client {
    let client = reqwest::Client::builder().http2_prior_knowledge();
    client.build().expect("a client")
}

#[tokio::test]
async fn streams_and_calls_over_http2_are_answered_during_the_drain() {
    // Made first: it takes long, and whoever has connected has to ask within two seconds.
    let clients_of_http2 = [(); LATE].map(|()| client_of_http2());
    let (gateway, _publisher) = draining().await;
    let url = gateway.url();
    let calls = (0..LATE).map(|_| async {
        let mut client = grpc::client(&url).await;
        let event = NewEvent {
            topic: "a".into(),
            ..NewEvent::default()
        };
        let published = client
            .publish(PublishRequest {
                events: vec![event],
            })
            .await;
        assert_eq!(
            published.map_err(|s| s.code()).err(),
            Some(Code::Unavailable)
        );
        // What was open may go on asking until it has been asked to go.
        let _ = client.get_bus(GetBusRequest {}).await;
        let refused =
            crate::support::refusal(Transport::Grpc, &gateway, &SubscribeParams::default()).await;
        assert!(matches!(refused, Refused::Unavailable(_)), "{refused:?}");
    });
    let polls = clients_of_http2.iter().map(|client| async {
        let answer = client.get(format!("{url}/v1/poll")).send().await;
        assert_eq!(answer.expect("an answer").status(), 503);
    });
    tokio::join!(join_all(calls), join_all(polls));
}

/// A connection of HTTP/2 that is opened in the drain and asks a moment later is answered: it is
/// not asked to go before it has asked.
#[tokio::test]
async fn a_late_first_request_over_http2_is_answered() {
    let (gateway, _publisher) = draining().await;
    let mut raw = Raw::connect(&gateway).await;
    raw.send(crate::h2_frames::HELLO).await;
    // The settings of the gateway: it has begun to speak.
    let mut settings = [0; 9];
    let read = raw.stream.read_exact(&mut settings).await;
    read.expect("settings");
    raw.send(crate::h2_frames::get("/v1/poll", "localhost"))
        .await;
    let answer = crate::h2_frames::first_answer(&mut raw.stream, &settings).await;
    assert_eq!(answer, crate::h2_frames::First::Headers);
}

#[tokio::test]
async fn silent_connections_do_not_hold_the_drain() {
    let mut gateway = gateway("memory", "");
    let early = Raw::connect(&gateway).await;
    gateway.ask_to_end();
    let is_told = || async { gateway.log().contains("shutting down") };
    gateway.until("it drains", is_told).await;
    let late = tokio::net::TcpStream::connect(gateway.address()).await;
    assert!(gateway.ended().await.success(), "{}", gateway.log());
    assert!(!gateway.log().contains("are cut"), "{}", gateway.log());
    drop((early, late));
}

/// Clients that come one after the other until the gateway is gone: those whose connection is made
/// are answered. Between the listener's last look and its end the kernel may reset one.
#[tokio::test]
async fn connections_at_the_end_of_the_drain_are_answered() {
    let gateway = gateway("memory", "");
    let comes_again = || async {
        let (mut answered, mut lost) = (0, 0);
        while let Ok(stream) = tokio::net::TcpStream::connect(gateway.address()).await {
            let mut raw = Raw::of(stream);
            let request = "GET /v1/bus HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
            let _ = tokio::io::AsyncWriteExt::write_all(&mut raw.stream, request.as_bytes()).await;
            match raw.answer().await {
                Some(_) => answered += 1,
                None => lost += 1,
            }
        }
        (answered, lost)
    };
    let ending = async {
        let is_busy = || async { gateway.metric("vidette_connections").await > 4.0 };
        gateway.until("clients come", is_busy).await;
        gateway.ask_to_end();
    };
    let (clients, ()) = tokio::join!(join_all((0..8).map(|_| comes_again())), ending);
    let answered: u32 = clients.iter().map(|(answered, _)| answered).sum();
    let lost: u32 = clients.iter().map(|(_, lost)| lost).sum();
    assert!(answered > 8 && lost <= 1, "{lost} of {answered} were lost");
}
