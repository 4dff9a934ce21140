//! Whoever drives a connection, what arrives on it is the same: hyper, or the driver for pages that
//! wait.
//!
//! A GET that says something of a body is left to hyper, be it that there is none.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};

use crate::common::gateway::Gateway;
use crate::common::sse::Parser;
use crate::samples::samples;
use crate::support::gateway;
use crate::ways::{WAYS, publish};

const EVENTS: usize = 600;
const ROUNDS: u64 = 16;
pub const BY_HYPER: &str = "Content-Length: 0\r\n";

/// An answer, taken apart.
#[derive(Debug, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    /// In alphabetical order, without the date and the framing.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

#[tokio::test]
async fn streams_and_polls_are_the_same_however_they_are_read() {
    let gateway = gateway("memory", "");
    let client = reqwest::Client::new();
    for (block, way) in samples(EVENTS).chunks(100).zip(WAYS.into_iter().cycle()) {
        publish(way, &gateway, &client, block).await;
    }
    let mut random = fastrand::Rng::with_seed(7);
    for round in 0..ROUNDS {
        let after = random.usize(..EVENTS);
        let target = match round % 6 {
            0 => format!("/v1/sse?after={after}&wait=0"),
            1 => format!("/v1/sse?after={after}&wait=0&format=raw"),
            2 => format!(
                "/v1/sse?after={after}&wait=0&limit={}",
                1 + random.u32(..500)
            ),
            3 => format!("/v1/poll?after={after}&wait=0"),
            4 => format!("/v1/sse?after={after}&wait=0&format=cloudevents"),
            _ => format!("/v1/poll?after={after}&wait=0&format=cloudevents"),
        };
        let direct = get(&gateway, &target, "", random.u64(..)).await;
        let by_hyper = get(&gateway, &target, BY_HYPER, random.u64(..)).await;
        assert_eq!(direct.status, 200);
        assert!(direct == by_hyper, "{target}: {direct:?}\n{by_hyper:?}");
        if target.starts_with("/v1/sse") {
            assert!(
                Parser::default().feed(&direct.body).len() > 1,
                "{target} has a hello and an end"
            );
        }
    }
    for target in [
        "/v1/sse?after=x",
        "/v1/poll?topic=a..b",
        "/v1/sse?after=999999&on_gap=fail",
    ] {
        let answers = (
            get(&gateway, target, "", 1).await,
            get(&gateway, target, BY_HYPER, 1).await,
        );
        assert_eq!(answers.0, answers.1, "{target}");
        assert!(answers.0.status >= 400);
    }
}

#[tokio::test]
async fn requests_that_come_early_are_answered_in_order_by_whoever_drives() {
    let gateway = gateway("memory", "");
    let mut stream = connect(&gateway).await;
    let targets = [
        "/v1/poll?wait=0.2",
        "/v1/poll?after=x",
        "/v1/bus",
        "/v1/poll?wait=0",
        "/healthz",
    ];
    let requests: String = targets
        .map(|target| format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n"))
        .concat();
    stream.write_all(requests.as_bytes()).await.expect("sent");
    let mut read = Vec::new();
    for (target, status) in targets.into_iter().zip([200, 400, 200, 200, 200]) {
        let answer = answer(&mut stream, &mut read, 0).await;
        assert_eq!(answer.status, status, "{target}");
        assert_eq!(answer.body == b"ok\n", target == "/healthz");
    }
}

async fn connect(gateway: &Gateway) -> TcpStream {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket
        .set_recv_buffer_size(64 * 1024)
        .expect("a small buffer"); // so that writes stall in the middle
    let address = gateway
        .url()
        .trim_start_matches("http://")
        .parse()
        .expect("an address");
    socket.connect(address).await.expect("a connection")
}

pub async fn get(gateway: &Gateway, target: &str, header: &str, seed: u64) -> Answer {
    ask(
        gateway,
        &format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n{header}\r\n"),
        seed,
    )
    .await
}

/// The answer to a request that is sent at once, on a connection of its own.
pub async fn ask(gateway: &Gateway, request: &str, seed: u64) -> Answer {
    let mut stream = connect(gateway).await;
    stream.write_all(request.as_bytes()).await.expect("sent");
    answer(&mut stream, &mut Vec::new(), seed).await
}

/// Reads one answer in pieces of any size; what comes behind it stays in `read`.
async fn answer(stream: &mut TcpStream, read: &mut Vec<u8>, seed: u64) -> Answer {
    let mut random = fastrand::Rng::with_seed(seed);
    let (status, headers) = loop {
        if let Some(head) = take_head(read) {
            break head;
        }
        more(stream, read, &mut random).await;
    };
    let length = headers
        .iter()
        .find(|(name, _)| name == "content-length")
        .map(|(_, n)| n.parse().expect("a number"));
    let mut body = Vec::new();
    loop {
        let is_whole = match length {
            Some(length) if read.len() < length => false,
            Some(length) => {
                body.extend(read.drain(..length));
                true
            }
            None => take_chunks(read, &mut body),
        };
        if is_whole {
            break;
        }
        more(stream, read, &mut random).await;
    }
    let framing = ["date", "content-length", "transfer-encoding"];
    let headers = headers
        .into_iter()
        .filter(|(name, _)| !framing.contains(&name.as_str()))
        .collect();
    Answer {
        status,
        headers,
        body,
    }
}

async fn more(stream: &mut TcpStream, read: &mut Vec<u8>, random: &mut fastrand::Rng) {
    let mut piece = vec![0; 1 + random.usize(..5000)];
    let count = stream.read(&mut piece).await.expect("it is readable");
    assert!(count > 0, "the connection ended in the middle of an answer");
    read.extend_from_slice(&piece[..count]);
    if random.u8(..8) == 0 {
        tokio::task::yield_now().await;
    }
}

type Head = (u16, Vec<(String, String)>);

fn take_head(read: &mut Vec<u8>) -> Option<Head> {
    let mut lines = [httparse::EMPTY_HEADER; 32];
    let mut parsed = httparse::Response::new(&mut lines);
    let httparse::Status::Complete(length) = parsed.parse(read).expect("a head") else {
        return None;
    };
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("text");
    let mut headers: Vec<_> = parsed
        .headers
        .iter()
        .map(|line| (line.name.to_ascii_lowercase(), text(line.value)))
        .collect();
    headers.sort();
    let status = parsed.code.expect("a status");
    read.drain(..length);
    Some((status, headers))
}

/// Takes all chunks that are whole; true after the last one.
fn take_chunks(read: &mut Vec<u8>, body: &mut Vec<u8>) -> bool {
    while let httparse::Status::Complete((start, size)) =
        httparse::parse_chunk_size(read).expect("a chunk")
    {
        let end = start + usize::try_from(size).expect("a small chunk");
        if read.len() < end + 2 {
            return false;
        }
        assert_eq!(&read[end..end + 2], b"\r\n");
        body.extend_from_slice(&read[start..end]);
        read.drain(..end + 2);
        if size == 0 {
            return true;
        }
    }
    false
}
