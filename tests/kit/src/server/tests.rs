//! The server as a client sees it, on real sockets.

use std::io::{self, Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::Server;
use crate::record::{Record, Seen};
use crate::scenario::Scenario;

const MOST: Duration = Duration::from_secs(5);

fn scenario(exchanges: &Value) -> Scenario {
    let scenario = json!({"title": "", "drive": [], "exchanges": exchanges, "expect": {}});
    serde_json::from_value(scenario).expect("it is a valid scenario")
}

/// A listening server that answers one stream with these actions behind its head.
fn server(then: &Value) -> (Arc<Server>, Arc<Record>) {
    let exchanges = json!([{"asked": {"path": "/v1/sse", "after": ["10-k"]}, "then": then}]);
    let record = Arc::new(Record::default());
    let server = Server::bind(&scenario(&exchanges), Arc::clone(&record)).expect("a free port");
    server.listen().expect("it listens");
    (server, record)
}

fn ask(server: &Server, target: &str) -> io::Result<TcpStream> {
    let mut stream = TcpStream::connect(server.address())?;
    stream.set_read_timeout(Some(MOST))?;
    stream.write_all(format!("GET {target} HTTP/1.1\r\nHost: kit\r\n\r\n").as_bytes())?;
    Ok(stream)
}

fn read_all(mut stream: TcpStream) -> io::Result<String> {
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    Ok(text)
}

#[test]
fn a_cut_within_a_chunk_size_leaves_it_without_a_line_end() {
    let (server, record) = server(&json!(["sse", {"event": {"vid": 11}}, {"bytes": "1f"}, "cut"]));

    let answer = ask(&server, "/v1/sse?after=10-k").and_then(read_all);
    let answer = answer.expect("a cut is no error of the socket");

    assert!(
        answer.contains("id: 11-k3x9q2\ndata: {\"vid\":11,"),
        "{answer}"
    );
    assert!(answer.ends_with("\r\n1f"), "{answer}");
    assert!(record.look(|seen| seen.wrong.is_empty()));
}

#[test]
fn a_reset_reaches_the_client_as_a_reset() {
    let (server, _) = server(&json!(["reset"]));

    let answer = ask(&server, "/v1/sse?after=10-k").and_then(read_all);

    let error = answer.expect_err("the connection is reset");
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
}

#[test]
fn a_stale_cursor_and_a_request_too_many_are_written_down() {
    let (server, record) = server(&json!(["sse", "cut"]));

    for _ in 0..2 {
        let answer = ask(&server, "/v1/sse?after=7-k").and_then(read_all);
        answer.expect("it is answered or closed");
    }

    let found = record.wait_until(MOST, |seen| seen.wrong.len() == 2);
    let wrong = record.look(|seen| seen.wrong.clone());
    assert!(found, "{wrong:?}");
    assert_eq!(wrong[0], "request 0: cursor 7-k, expected 10-k");
    assert!(
        wrong[1].starts_with("a request more than expected"),
        "{wrong:?}"
    );
}

#[test]
fn a_socket_counts_as_left_until_the_client_closes_it() {
    let (server, record) = server(&json!(["sse", "hold"]));
    let stream = ask(&server, "/v1/sse?after=10-k").expect("it connects");

    assert!(record.wait_until(MOST, |seen| seen.requests.len() == 1));
    assert_eq!(record.look(|seen| seen.open.len()), 1);

    drop(stream);
    assert!(record.wait_until(MOST, |seen| seen.open.is_empty()));
}

#[test]
fn an_idle_socket_is_the_librarys_unless_the_platform_holds_the_pool() {
    let (server, record) = server(&json!([{"answer": {"status": 204}}]));
    let _kept = ask(&server, "/v1/sse?after=10-k").expect("it connects");

    assert!(record.wait_until(MOST, |seen| seen.requests.len() == 1
        && seen.idle.len() == 1));
    assert_eq!(record.look(Seen::sockets_left), 1);

    let ready = json!({"say": "ready", "pool": "platform"});
    record.change(|seen| seen.said.push(ready));
    assert_eq!(record.look(Seen::sockets_left), 0);
}

#[test]
fn what_was_never_asked_for_is_left_over() {
    let (server, _) = server(&json!(["hold"]));

    assert_eq!(
        server.left_over(),
        ["exchange 0 (/v1/sse) was never asked for"]
    );
}

#[test]
fn connections_are_refused_until_it_listens() {
    let record = Arc::new(Record::default());
    let server = Server::bind(&scenario(&json!([])), record).expect("a free port");

    let refused = TcpStream::connect(server.address()).expect_err("nobody listens");
    assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);

    server.listen().expect("it listens");
    assert!(TcpStream::connect(server.address()).is_ok());
}
