//! Connections that do not hold to HTTP are ended, each by itself, and nothing of them is
//! published.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::common::gateway::Gateway;
use crate::support::{
    assert_no_panic, assert_serves, connect, gateways, publish_one, read_to_end, send_raw,
};

#[tokio::test]
async fn bytes_that_are_no_request_end_the_connection_and_nothing_else() {
    let gateway = Gateway::in_memory();
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    let huge_header = format!(
        "GET /v1/bus HTTP/1.1\r\nHost: localhost\r\nX: {}\r\n\r\n",
        "x".repeat(200_000)
    );
    let many_headers: String =
        (0..500).fold("GET /v1/bus HTTP/1.1\r\n".to_owned(), |mut all, n| {
            write!(all, "X-{n}: 1\r\n").expect("text");
            all
        }) + "\r\n";
    let long_address = format!(
        "GET /v1/bus?_={} HTTP/1.1\r\nHost: localhost\r\n\r\n",
        "x".repeat(200_000)
    );
    let cases: [(&str, Vec<u8>, &str); 14] = [
        (
            "garbage",
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 a TLS hello\r\n\r\n".to_vec(),
            "HTTP/1.1 400",
        ),
        ("zeros", vec![0; 10_000], "HTTP/1.1 400"),
        ("a space", b"   \r\n\r\n".to_vec(), "HTTP/1.1 400"),
        (
            "a wrong version",
            b"GET / HTTP/9.9\r\n\r\n".to_vec(),
            "HTTP/1.1 400",
        ),
        (
            "a bad header",
            b"GET / HTTP/1.1\r\nno colon\r\n\r\n".to_vec(),
            "HTTP/1.1 400",
        ),
        (
            "NUL in a header",
            b"GET / HTTP/1.1\r\nHost: localhost\r\nX: \0\r\n\r\n".to_vec(),
            "HTTP/1.1 400",
        ),
        (
            "two lengths",
            b"POST /v1/events HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n{}"
                .to_vec(),
            "HTTP/1.1 400",
        ),
        (
            "a bad length",
            b"POST /v1/events HTTP/1.1\r\nContent-Length: -1\r\n\r\n".to_vec(),
            "HTTP/1.1 400",
        ),
        ("a huge header", huge_header.into_bytes(), "HTTP/1.1 431"),
        ("many headers", many_headers.into_bytes(), "HTTP/1.1 431"),
        ("a long address", long_address.into_bytes(), "HTTP/1.1 4"),
        (
            "HTTP/2, then garbage",
            [&preface[..], &[0xff; 1000]].concat(),
            "",
        ),
        (
            "HTTP/2, then HTTP/1.1",
            [
                &preface[..],
                b"GET /v1/bus HTTP/1.1\r\nHost: localhost\r\n\r\n",
            ]
            .concat(),
            "",
        ),
        (
            "almost HTTP/2",
            b"PRI * HTTP/2.1\r\n\r\nSM\r\n\r\n".to_vec(),
            "",
        ),
    ];
    for (what, bytes, expected) in cases {
        let answer = send_raw(&gateway, &bytes).await;
        // Also where more was sent than was read: the connection is not reset before it is read.
        assert!(answer.starts_with(expected), "{what}: {answer:?}");
        assert!(!answer.contains("HTTP/1.1 200"), "{what}: {answer:?}");
        assert_serves(&gateway, what).await;
    }
    for bytes in [
        "",
        "G",
        "PR",
        "PRI",
        "GET / HT",
        "GET / HTTP/1.1\r\nHost: localhost\r\n",
    ] {
        let mut stream = connect(&gateway).await;
        stream
            .write_all(bytes.as_bytes())
            .await
            .expect("it is taken");
        drop(stream);
    }
    assert_serves(&gateway, "early closes").await;
}

#[tokio::test]
async fn raw_bytes_beyond_ascii_in_an_address_are_text_or_a_bad_request() {
    let gateway = Gateway::in_memory();
    for (query, expected) in [
        (&b"topic=\xe9\x97\xa8"[..], "HTTP/1.1 200"),
        (b"topic=\xff", "HTTP/1.1 400"),
    ] {
        let request = [
            b"GET /v1/poll?wait=0&",
            query,
            b" HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
        ]
        .concat();
        let answer = send_raw(&gateway, &request).await;
        assert!(answer.starts_with(expected), "{query:?}: {answer}");
    }
    assert_serves(&gateway, "raw bytes in an address").await;
}

#[tokio::test]
async fn a_body_that_breaks_off_publishes_nothing() {
    for (engine, gateway) in gateways("") {
        let object = r#"{"topic":"a","data":1}"#;
        let heads = [
            "POST /v1/events HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n",
            "POST /v1/topics/a HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/plain\r\n",
            "POST /v1/events HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-ndjson\r\n",
        ];
        for head in heads {
            let by_length = format!("{head}Content-Length: 1000\r\n\r\n{object}");
            let by_chunks = format!(
                "{head}Transfer-Encoding: chunked\r\n\r\n{:x}\r\n{object}\r\n",
                object.len()
            );
            let bad_chunk =
                format!("{head}Transfer-Encoding: chunked\r\n\r\nzz\r\n{object}\r\n0\r\n\r\n");
            for request in [by_length, by_chunks, bad_chunk] {
                let mut stream = connect(&gateway).await;
                stream
                    .write_all(request.as_bytes())
                    .await
                    .expect("it is taken");
                stream.shutdown().await.expect("no more comes");
                let answer = read_to_end(&mut stream, Duration::from_secs(10)).await;
                assert!(!answer.contains("\"vid\""), "{engine}: {request}: {answer}");
            }
        }
        assert_eq!(
            publish_one(&gateway, "a", 1).await,
            1,
            "{engine}: nothing was published"
        );
        assert_serves(&gateway, "broken bodies").await;
    }
}

/// The one slow test: everything in it waits for the same ten seconds, at the same time.
#[tokio::test]
async fn a_head_that_does_not_come_in_ten_seconds_is_not_waited_for() {
    let gateway = Gateway::in_memory();
    let dribbled =
        b"GET /v1/bus HTTP/1.1\r\nHost: localhost\r\nX-Slow: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    let ((), (), (), (), (), ()) = tokio::join!(
        assert_cut(&gateway, "a dribbled head", b"GET", dribbled),
        assert_cut(
            &gateway,
            "half a head",
            b"GET /v1/bus HTTP/1.1\r\nHost:",
            b""
        ),
        assert_cut(&gateway, "silence", b"", b""),
        assert_cut(&gateway, "the begin of HTTP/2", b"PRI", b""),
        assert_cut(
            &gateway,
            "half a second head",
            b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\nGET /he",
            b""
        ),
        assert_cut(
            &gateway,
            "half a second head behind a poll",
            b"GET /v1/poll?wait=0 HTTP/1.1\r\nHost: localhost\r\n\r\nGET /v1/po",
            b""
        ),
    );
    assert_serves(&gateway, "slow heads").await;
}

/// Sends the first bytes at once and the others one every half second, and waits for the end of the
/// connection.
async fn assert_cut(gateway: &Gateway, what: &str, at_once: &[u8], slowly: &[u8]) {
    let begun = Instant::now();
    let (mut reading, mut writing) = connect(gateway).await.into_split();
    writing.write_all(at_once).await.expect("it is taken");
    let mut ticks = tokio::time::interval(Duration::from_millis(500));
    let dribbling = async {
        for byte in slowly {
            ticks.tick().await;
            if writing.write_all(&[*byte]).await.is_err() {
                break;
            }
        }
        std::future::pending::<()>().await;
    };
    let mut received = Vec::new();
    let ending = async {
        let _ =
            tokio::time::timeout(Duration::from_secs(20), reading.read_to_end(&mut received)).await;
    };
    tokio::select! {
        () = dribbling => {}
        () = ending => {}
    }
    let waited = begun.elapsed();
    assert!(
        (9..14).contains(&waited.as_secs()),
        "{what} was waited for {waited:?}"
    );
    assert_no_panic(gateway, what);
}
