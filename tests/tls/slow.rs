//! Large answers, and readers that take little or nothing of them.

use std::time::Duration;

use serde_json::json;
use tokio::io::AsyncReadExt as _;
use tokio::time::timeout;

use crate::common::gateway::PATIENCE;
use crate::support::{TlsGateway, get};

/// For the lean driver, and for hyper.
const DRIVERS: [&str; 2] = ["", "Content-Length: 0\r\n"];
const EVENTS: usize = 12;
const EVENT_BYTES: usize = 400_000;

/// Publishes several megabytes, no two events alike.
async fn publish_large(gateway: &TlsGateway) {
    let client = gateway.client();
    for number in 0..EVENTS {
        let data = (0..EVENT_BYTES / 10).map(|at| format!("{:010}", at * (number + 1)));
        let event = json!({"topic": "large", "data": data.collect::<String>()});
        let request = client.post(gateway.url("/v1/events")).json(&event);
        assert_eq!(request.send().await.expect("an answer").status(), 200);
    }
}

const TARGETS: [&str; 2] = [
    "/v1/poll?after=0&wait=0",
    // So many events that the stream ends after them.
    "/v1/sse?after=0&limit=12",
];

#[tokio::test]
async fn large_answers_are_the_same_bytes_as_without_encryption() {
    let gateway = TlsGateway::start();
    publish_large(&gateway).await;
    let plain = format!("http://{}", gateway.plain().await);
    for builder in [
        gateway.authority.http_client().http1_only(),
        gateway.authority.http_client(),
    ] {
        let client = builder.build().expect("a client");
        for target in TARGETS {
            let get = async |url: String| {
                let answer = client.get(url).send().await.expect("an answer");
                answer.bytes().await.expect("a body")
            };
            let encrypted = get(gateway.url(target)).await;
            let without = get(format!("{plain}{target}")).await;
            assert!(
                encrypted.len() > 500_000 && encrypted == without,
                "{target}"
            );
        }
    }
}

/// It is slower than the gateway by far, and gets every byte.
#[tokio::test]
async fn a_reader_that_takes_little_at_a_time_gets_all() {
    let gateway = TlsGateway::start();
    publish_large(&gateway).await;
    for header in DRIVERS {
        let mut connection = gateway.connect().await;
        let close = format!("{header}Connection: close\r\n");
        connection.send(get(TARGETS[1], &close)).await;
        let mut read = Vec::new();
        let reading = async {
            // In pieces of another size than the records, with a rest between them.
            let mut piece = [0; 5000];
            loop {
                let count = connection.stream.read(&mut piece).await.expect("bytes");
                if count == 0 {
                    return;
                }
                read.extend_from_slice(&piece[..count]);
                tokio::task::yield_now().await;
            }
        };
        timeout(PATIENCE, reading).await.expect("in time");
        let read = String::from_utf8(read).expect("text");
        assert_eq!(
            read.matches("\"topic\":\"large\"").count(),
            EVENTS,
            "{header:?}"
        );
        assert!(read.ends_with("0\r\n\r\n"), "{header:?}");
    }
}

#[tokio::test]
async fn a_peer_that_takes_nothing_is_cut_and_one_that_takes_something_is_not() {
    let gateway = TlsGateway::start_with("[limits]\nwrite_timeout = \"2s\"");
    publish_large(&gateway).await;
    for header in DRIVERS {
        let (mut stalled, mut slow) = (gateway.connect().await, gateway.connect().await);
        for connection in [&mut stalled, &mut slow] {
            connection.send(get("/v1/sse?after=0", header)).await;
        }
        gateway.until_subscribers_are(2).await;

        // The other takes some now and then, for longer than the timeout in all.
        let mut taken = 0;
        let mut piece = vec![0; 300_000];
        let taking = async {
            while gateway.subscribers().await == 2 || taken < 8 * piece.len() {
                taken += slow.stream.read_exact(&mut piece).await.expect("bytes");
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
        };
        timeout(PATIENCE, taking).await.expect("one is cut in time");
        assert_eq!(gateway.subscribers().await, 1, "{header:?}");
        drop((slow, stalled));
        gateway.until_subscribers_are(0).await;
    }
}
