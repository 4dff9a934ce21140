//! Encrypted connections whose peers do with TLS what no client does.

use std::process::Stdio;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::Command;
use tokio::time::timeout;

use crate::common::gateway::PATIENCE;
use crate::common::target::{Stream, Target};
use crate::ground::Ground;
use crate::h1;

/// Connections that do it at once.
const CONNECTIONS: usize = 20;
/// New keys that each of them asks for.
const KEY_UPDATES: usize = 1000;
/// New handshakes that a client of TLS 1.2 asks for on its connection.
const RENEGOTIATIONS: usize = 200;

/// Readers that ask for new keys over and over.
pub async fn key_updates(ground: &mut Ground) {
    ground.begin();
    let target = ground.target();
    let labels = join_all((0..CONNECTIONS).map(|_| update_keys(target))).await;
    for label in labels {
        ground.got(label);
    }
    ground.check_got_only(&["cut", "goes on"]);
}

async fn update_keys(target: Target) -> &'static str {
    let Ok(Stream::Tls(mut stream)) = target.connect().await else {
        return "no connection";
    };
    let request = h1::get(target, "/v1/sse?topic=live");
    let _ = stream.write_all(request.as_bytes()).await;
    for _ in 0..KEY_UPDATES {
        let asked = stream.get_mut().1.refresh_traffic_keys();
        if asked.is_err() || stream.flush().await.is_err() {
            return "cut";
        }
    }

    // What was read before the end comes first.
    let mut received = [0; 4096];
    let reading = async {
        loop {
            match stream.read(&mut received).await {
                Ok(0) | Err(_) => return "cut",
                Ok(_) => {}
            }
        }
    };
    let a_while = Duration::from_secs(2);
    timeout(a_while, reading).await.unwrap_or("goes on")
}

/// A body each of whose bytes is a record of its own.
pub async fn tiny(ground: &mut Ground) {
    ground.begin();
    let (target, bytes) = (ground.target(), ground.count(2000, 100_000));
    let labels = join_all((0..CONNECTIONS).map(|_| post_tiny(target, bytes))).await;
    for label in labels {
        ground.got(label);
    }
    ground.check_got_only(&["200"]);
}

async fn post_tiny(target: Target, bytes: usize) -> String {
    let Ok(mut stream) = target.connect().await else {
        return "no connection".to_owned();
    };
    let event = br#"{"topic":"tiny","data":1}"#;
    let body = [&b" ".repeat(bytes)[..], event].concat();
    let head = h1::post_head(target, "/v1/events", "application/json", body.len());
    for byte in head.as_bytes().iter().chain(&body) {
        if stream.write_all(&[*byte]).await.is_err() || stream.flush().await.is_err() {
            break; // the answer says why
        }
    }
    h1::read_answer(&mut stream, PATIENCE).await.label()
}

/// Clients of TLS 1.2 that ask for a new handshake on their connection, by OpenSSL.
pub async fn renegotiations(ground: &mut Ground) {
    ground.begin();
    let target = ground.target();
    let labels = join_all((0..CONNECTIONS).map(|_| renegotiate(target))).await;
    for label in labels {
        ground.got(label);
    }
    ground.check_got_only(&["refused"]);
}

async fn renegotiate(target: Target) -> &'static str {
    let mut command = Command::new("openssl");
    command.args(["s_client", "-tls1_2", "-connect", &target.to_string()]);
    command.stdin(Stdio::piped()).kill_on_drop(true);
    command.stdout(Stdio::null()).stderr(Stdio::piped());
    let mut client = command.spawn().expect("openssl starts");

    // One `R` a line; it may have ended before the last of them.
    let mut stdin = client.stdin.take().expect("a pipe");
    let _ = stdin.write_all(&b"R\n".repeat(RENEGOTIATIONS)).await;
    let ended = timeout(PATIENCE, client.wait_with_output()).await;
    drop(stdin);
    let Ok(Ok(output)) = ended else {
        return "held";
    };
    let said = String::from_utf8_lossy(&output.stderr);
    match (said.contains("RENEGOTIATING"), said.contains("error:")) {
        (true, true) => "refused",
        (true, false) => "renegotiated",
        (false, _) => "it did not ask",
    }
}
