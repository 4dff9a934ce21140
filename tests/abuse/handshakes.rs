//! Handshakes of TLS that are slow, many, or none.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use rustls::client::Resumption;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsConnector;

use crate::common::gateway::Gateway;
use crate::common::secure::AUTHORITY;
use crate::common::target::Target;
use crate::ground::Ground;

/// How long an unfinished handshake may be held: its bound, and what a loaded machine adds.
const HANDSHAKE_WAIT: Duration = Duration::from_secs(25);
/// Clients that shake hands at once.
const CLIENTS: usize = 8;
/// Types of records: an alert, and what a handshake is made of.
const ALERT: u8 = 21;
const HANDSHAKE: u8 = 22;

/// Connections that begin a handshake, or do not even do that, and wait.
pub async fn half_open(ground: &mut Ground) {
    ground.begin();
    let (target, hello) = (ground.target(), client_hello());
    let mut open = JoinSet::new();
    for n in 0..ground.count(400, 10_000) {
        // Nothing, the first bytes, nearly all, and all: then the answer is not answered.
        let lengths = [0, 5, hello.len() - 1, hello.len()];
        let sent = hello[..lengths[n % lengths.len()]].to_vec();
        open.spawn(begin_and_wait(target, sent));
    }
    while let Some(label) = open.join_next().await {
        ground.got(label.expect("a connection"));
    }
    ground.check_got_only(&["cut"]);
    let are_gone = async |gateway: &Gateway| gateway.metric("vidette_connections").await <= 4.0;
    ground
        .check_soon(HANDSHAKE_WAIT, "their connections are held", are_gone)
        .await;
}

async fn begin_and_wait(target: Target, sent: Vec<u8>) -> String {
    let Ok(mut stream) = TcpStream::connect(target.address).await else {
        return "no connection".to_owned();
    };
    let _ = stream.write_all(&sent).await;
    let mut received = Vec::new();
    match timeout(HANDSHAKE_WAIT, stream.read_to_end(&mut received)).await {
        Ok(_) => "cut".to_owned(),
        Err(_) => "held".to_owned(),
    }
}

/// Whole handshakes, none of which resumes an earlier session, as fast as they can be done.
pub async fn flood(ground: &mut Ground) {
    ground.begin();
    let (target, until) = (ground.target(), Instant::now() + ground.seconds(3, 30));
    let client = async |_| {
        let mut done = Vec::new();
        while Instant::now() < until {
            done.push(shake_hands(target).await);
        }
        done
    };
    for label in join_all((0..CLIENTS).map(client)).await.concat() {
        ground.got(label);
    }
    ground.check_got_only(&["handshake"]);
}

async fn shake_hands(target: Target) -> &'static str {
    let shaking = async {
        let socket = TcpStream::connect(target.address).await?;
        let connector = TlsConnector::from(one_time_config());
        connector.connect(target.address.ip().into(), socket).await
    };
    match timeout(HANDSHAKE_WAIT, shaking).await {
        Ok(Ok(_)) => "handshake",
        Ok(Err(_)) => "refused",
        Err(_) => "silence",
    }
}

/// A configuration that resumes nothing.
fn one_time_config() -> Arc<ClientConfig> {
    let mut config = ClientConfig::clone(&AUTHORITY.client(&["http/1.1"]));
    config.resumption = Resumption::disabled();
    Arc::new(config)
}

/// The first bytes of a handshake.
fn client_hello() -> Vec<u8> {
    let name = ServerName::try_from("localhost").expect("a name");
    let mut session = ClientConnection::new(one_time_config(), name).expect("a session");
    let mut bytes = Vec::new();
    session.write_tls(&mut bytes).expect("memory takes it");
    bytes
}

/// What is no handshake, or stops being one behind its first message.
pub async fn garbage(ground: &mut Ground) {
    ground.begin();
    let target = ground.target();
    for _ in 0..ground.count(2, 40) {
        let attempts = kinds_of_garbage(target);
        let labels = join_all(attempts.into_iter().map(|(kind, bytes)| async move {
            format!("{} to {kind}", send_garbage(target, &bytes).await)
        }));
        for label in labels.await {
            ground.got(label);
        }
    }
    ground.check_got_only(&["alert", "closed", "400 to a plain request"]);
}

fn kinds_of_garbage(target: Target) -> Vec<(&'static str, Vec<u8>)> {
    let noise = |count: usize| -> Vec<u8> { (0..count).map(|_| fastrand::u8(..)).collect() };
    let record = |kind: u8, length: u16, body: &[u8]| {
        let head = [&[kind, 3, 3][..], &length.to_be_bytes()].concat();
        [head, body.to_vec()].concat()
    };
    let hello = client_hello();

    // A message that says to be of 16 MiB, in records that are as large as they may be.
    let mut endless = record(HANDSHAKE, 4, &[1, 0xff, 0xff, 0xff]);
    for _ in 0..64 {
        endless.extend(record(HANDSHAKE, 16_384, &noise(16_384)));
    }
    let plain = format!("GET /v1/bus HTTP/1.1\r\nHost: {target}\r\nConnection: close\r\n\r\n");
    vec![
        ("noise", [&[0xff], &noise(4000)[..]].concat()),
        ("noise behind a hello", [&hello[..], &noise(4000)].concat()),
        ("two hellos", [&hello[..], &hello].concat()),
        (
            "a record that is too long",
            record(HANDSHAKE, 0xffff, &noise(70_000)),
        ),
        ("data before a handshake", record(23, 100, &noise(100))),
        ("a message without an end", endless),
        ("empty records", record(HANDSHAKE, 0, &[]).repeat(10_000)),
        ("a plain request", plain.into_bytes()),
    ]
}

async fn send_garbage(target: Target, bytes: &[u8]) -> &'static str {
    let Ok(mut stream) = TcpStream::connect(target.address).await else {
        return "no connection";
    };
    let mut received = Vec::new();
    let talking = async {
        let _ = stream.write_all(bytes).await; // it may be cut before that
        let _ = stream.read_to_end(&mut received).await;
    };
    if timeout(HANDSHAKE_WAIT, talking).await.is_err() {
        return "held";
    }
    match received.first() {
        None => "closed",
        Some(&ALERT | &HANDSHAKE) => "alert",
        _ if received.starts_with(b"HTTP/1.1 400") => "400",
        _ => "something else",
    }
}
