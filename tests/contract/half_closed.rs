//! A client that sends its request and then no more, as `nc -N` does, is answered; leaving is
//! looked for only while an answer waits for events.

use tokio::io::AsyncWriteExt as _;

use crate::common::gateway::Gateway;
use crate::raw::{DRIVERS, Raw};
use crate::support::{bounds, gateways, get, until_subscribers_are};

/// Sends all requests and ends the sending side at once.
async fn ask_and_close(gateway: &Gateway, requests: &str) -> Raw {
    let mut raw = Raw::connect(gateway).await;
    raw.send(requests).await;
    raw.stream.shutdown().await.expect("no more comes");
    raw
}

fn post(header: &str, number: u32) -> String {
    let event = format!(r#"{{"topic":"door.1","data":{number}}}"#);
    format!(
        "POST /v1/events HTTP/1.1\r\nHost: localhost\r\n{header}Content-Length: {}\r\n\r\n{event}",
        event.len()
    )
}

#[tokio::test]
async fn a_publisher_that_sends_no_more_gets_its_vid() {
    for (engine, gateway) in gateways("") {
        // A POST that expects something is for hyper.
        for header in ["", "Expect: 100-continue\r\n"] {
            for number in 0..20 {
                let before = bounds(&gateway).await.1;
                let mut raw = ask_and_close(&gateway, &post(header, number)).await;
                let mut answer = raw.answer().await;
                if answer.as_ref().is_some_and(|answer| answer.status == 100) {
                    answer = raw.answer().await;
                }
                let answer = answer.unwrap_or_else(|| panic!("{engine} {header:?}: no answer"));
                assert_eq!(answer.status, 200, "{engine} {header:?}: {answer:?}");
                let vid = format!("\"vid\":{}", before + 1);
                assert!(answer.body.contains(&vid), "{answer:?}");
            }
        }
    }
}

#[tokio::test]
async fn a_reader_that_sends_no_more_gets_what_is_there() {
    for (engine, gateway) in gateways("") {
        gateway.publish_numbers("door.1", 3).await;
        for (driver, header) in DRIVERS {
            for target in [
                "/v1/poll?after=0&wait=0",
                "/v1/poll?after=0",
                "/v1/sse?after=0&wait=0",
                "/backend.php?maxvid=2",
                "/v1/bus",
            ] {
                let request = format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n{header}\r\n");
                let mut raw = ask_and_close(&gateway, &request).await;
                let answer = raw.answer().await;
                let answer = answer.unwrap_or_else(|| panic!("{engine} {driver} {target}: none"));
                assert_eq!(answer.status, 200, "{engine} {driver} {target}");
                let is_whole = match target {
                    "/v1/bus" => answer.body.contains("\"last\":3"),
                    _ => answer.body.contains("\"vid\":3"),
                };
                assert!(is_whole, "{engine} {driver} {target}: {answer:?}");
                assert!(raw.is_ended().await, "{engine} {driver} {target}");
            }
        }
    }
}

/// It cannot be distinguished from one that has left, so its wait is over: it is answered at once.
#[tokio::test]
async fn a_reader_that_waits_and_sends_no_more_is_answered_at_once() {
    for (engine, gateway) in gateways("") {
        gateway.publish_numbers("door.1", 3).await;
        for (driver, header) in DRIVERS {
            for (target, expected) in [
                ("/v1/poll?after=3&wait=100", "\"cursor\":\"3-"),
                ("/v1/sse?after=2", "event: vidette.caught_up"),
                ("/backend.php?maxvid=3", ""),
            ] {
                let request = format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n{header}\r\n");
                let mut raw = Raw::connect(&gateway).await;
                raw.send(&request).await;
                until_subscribers_are(&gateway, 1).await;
                raw.stream.shutdown().await.expect("no more comes");
                let answer = raw.answer().await;
                let answer = answer.unwrap_or_else(|| panic!("{engine} {driver} {target}: none"));
                assert_eq!(answer.status, 200, "{engine} {driver} {target}");
                assert!(answer.body.contains(expected), "{target}: {answer:?}");
                assert!(raw.is_ended().await, "{engine} {driver} {target}");
                until_subscribers_are(&gateway, 0).await;
            }
        }
    }
}

#[tokio::test]
async fn all_requests_before_the_end_of_the_sending_side_are_answered() {
    for (engine, gateway) in gateways("") {
        for (driver, header) in DRIVERS {
            let poll = format!(
                "GET /v1/poll?after=0&topic=nobody&wait=100 HTTP/1.1\r\nHost: localhost\r\n{header}\r\n"
            );
            let requests = [poll.as_str(), &post("", 1), &poll, &post("", 2)].concat();
            let mut raw = ask_and_close(&gateway, &requests).await;
            for number in 0..4 {
                let answer = raw.answer().await;
                let answer = answer.unwrap_or_else(|| panic!("{engine} {driver}: not {number}"));
                assert_eq!(answer.status, 200, "{engine} {driver} {number}");
            }
            assert!(raw.is_ended().await, "{engine} {driver}");
        }
    }
}

/// Pages behind a proxy that speaks HTTP/1.0 are driven by hyper; they leave, too.
#[tokio::test]
async fn whoever_leaves_hyper_while_waiting_is_noticed_at_once() {
    for (engine, gateway) in gateways("") {
        for target in ["/v1/poll?wait=100", "/v1/sse", "/backend.php?maxvid=0"] {
            for version in ["1.0", "1.1"] {
                let request = format!(
                    "GET {target} HTTP/{version}\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n"
                );
                let mut raw = Raw::connect(&gateway).await;
                raw.send(&request).await;
                until_subscribers_are(&gateway, 1).await;
                drop(raw);
                until_subscribers_are(&gateway, 0).await;
            }
        }
        assert_eq!(get(&gateway, "/healthz").await.status, 200, "{engine}");
    }
}
