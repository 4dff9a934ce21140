//! How long the legacy page waits, and what it receives then (contract §6).

use std::time::{Duration, Instant};

use super::support::{gateway, get, send_raw, until_first_is};

#[tokio::test]
async fn the_legacy_page_waits_as_long_as_is_configured() {
    for (config, status) in [("", 200), ("empty_status = 204", 204)] {
        let gateway = gateway("memory", &format!("[legacy]\nwait = \"300ms\"\n{config}"));
        for path in ["/backend.php", "/clients/longpoll/backend.php"] {
            let begun = Instant::now();
            let answer = get(&gateway, &format!("{path}?maxvid=0")).await;
            assert_eq!((answer.status, &*answer.text), (status, ""), "{path}");
            assert_eq!(answer.header("cache-control"), Some("no-store"));
            assert!(begun.elapsed() >= Duration::from_millis(300));
        }
    }
}

/// An answer of status 204 has no length (RFC 9110 §8.6), and the connection goes on.
#[tokio::test]
async fn an_empty_answer_of_status_204_is_no_more_than_a_head() {
    let config = "[legacy]\nwait = \"50ms\"\nempty_status = 204";
    let gateway = gateway("memory", config);
    for by_hyper in ["", "Content-Length: 0\r\n"] {
        let request =
            format!("GET /backend.php?maxvid=0 HTTP/1.1\r\nHost: 127.0.0.1\r\n{by_hyper}");
        let both = format!("{request}\r\n{request}Connection: close\r\n\r\n");
        let answers = send_raw(&gateway, both.as_bytes()).await;
        let heads: Vec<&str> = answers.split_terminator("\r\n\r\n").collect();
        assert_eq!(heads.len(), 2, "{answers}");
        for head in heads {
            assert!(head.starts_with("HTTP/1.1 204 No Content\r\n"), "{head}");
            let lower = head.to_lowercase();
            assert!(!lower.contains("content-length:"), "{head}");
            assert!(!lower.contains("transfer-encoding:"), "{head}");
        }
    }
}

#[tokio::test]
async fn a_gap_alone_is_told_with_the_empty_answer() {
    let config = "[legacy]\nwait = \"300ms\"\ntopic = [\"lamp.1\"]\n[retention]\nmax_events = 2";
    let gateway = gateway("memory", config);
    gateway.publish_numbers("door.1", 5).await;
    until_first_is(&gateway, 4).await;
    let answer = get(&gateway, "/backend.php?maxvid=1").await;
    assert_eq!((answer.status, &*answer.text), (200, ""));
    assert!(
        answer.header("vidette-gap").is_some(),
        "the gap is reported"
    );
}
