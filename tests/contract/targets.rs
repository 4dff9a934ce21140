//! `<` and `>` in a request target mean the same wherever the request stands.

use crate::h2_frames::{self, First};
use crate::raw::{Answer, DRIVERS, Raw};
use crate::support::{connect, gateway};

const TARGETS: [&str; 2] = ["/v1/poll?after=0&topic=door.>&wait=0", "/v1/bus?x=<>"];

fn get(target: &str, header: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n{header}\r\n")
}

/// An answer, but for what depends on the moment.
fn gist(place: &str, answer: Option<Answer>) -> (u16, String) {
    let answer = answer.unwrap_or_else(|| panic!("{place}: no answer"));
    let events = answer.body.split("\"events\"").last().unwrap_or_default();
    (answer.status, events.to_owned())
}

#[tokio::test]
async fn a_wildcard_means_the_same_wherever_its_request_stands() {
    let gateway = gateway("memory", "");
    gateway.publish_numbers("door.1", 2).await;
    let chunked = "POST /v1/events HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n\
                   1B\r\n{\"topic\":\"lift.1\",\"data\":1}\r\n0\r\nX-Trailer: a\r\n\r\n";
    let sized = "POST /v1/topics/lift.1 HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\n\
                 Content-Length: 6\r\n\r\nGET >\n";
    for target in TARGETS {
        let encoded = target.replace('>', "%3E").replace('<', "%3C");
        let mut raw = Raw::connect(&gateway).await;
        raw.send(get(&encoded, "")).await;
        let expected = gist(&encoded, raw.answer().await);
        for (driver, header) in DRIVERS {
            let mut raw = Raw::connect(&gateway).await;
            for first in ["", "\r\n", "\r\n\r\n", "\n"] {
                raw.send(format!("{first}{}", get(target, header))).await;
                let place = format!("{driver} {target} behind {first:?}");
                assert_eq!(gist(&place, raw.answer().await), expected, "{place}");
            }
            for before in [get("/healthz", ""), get("/v1/bus", header)] {
                let mut raw = Raw::connect(&gateway).await;
                raw.send(&before).await;
                raw.answer().await.expect("an answer");
                raw.send(get(target, header)).await;
                let place = format!("{driver} {target} behind {before}");
                assert_eq!(gist(&place, raw.answer().await), expected, "{place}");
            }
            // Each piece is read by itself, as the one before has been answered or read.
            let request = get(target, header);
            for cut in 1..request.len() {
                let mut raw = Raw::connect(&gateway).await;
                raw.stream.set_nodelay(true).expect("an option");
                raw.send(&request[..cut]).await;
                tokio::task::yield_now().await;
                raw.send(&request[cut..]).await;
                let place = format!("{driver} {target} cut at {cut}");
                assert_eq!(gist(&place, raw.answer().await), expected, "{place}");
            }
            for body in [chunked, sized] {
                let mut raw = Raw::connect(&gateway).await;
                raw.send([body, &request, &request].concat()).await;
                let place = format!("{driver} {target} behind {body}");
                while raw.answer().await.expect("an answer").status == 100 {}
                for _ in 0..2 {
                    assert_eq!(gist(&place, raw.answer().await), expected, "{place}");
                }
            }
        }
    }
}

#[tokio::test]
async fn what_a_body_holds_is_no_target() {
    let gateway = gateway("memory", "");
    let data = "GET /v1/poll?topic=> HTTP/1.1\r\n\r\n\r\nGET /<>\n";
    let mut raw = Raw::connect(&gateway).await;
    raw.send(get("/healthz", "")).await;
    raw.answer().await.expect("an answer");
    let (first, second) = data.split_at(11);
    raw.send(format!(
        "POST /v1/topics/a HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/plain\r\n\
         Content-Length: {}\r\n\r\n{data}\
         POST /v1/topics/a HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/plain\r\n\
         Transfer-Encoding: chunked\r\n\r\n{:x};x=<>\r\n{first}\r\n{:X}\r\n{second}\r\n0\r\n\r\n",
        data.len(),
        first.len(),
        second.len()
    ))
    .await;
    for _ in 0..2 {
        assert_eq!(raw.answer().await.expect("an answer").status, 200);
    }
    let poll = gateway.get("/v1/poll?after=0&wait=0").await;
    for event in poll["events"].as_array().expect("events") {
        assert_eq!(event["data"], data);
    }
    assert_eq!(poll["events"].as_array().map(Vec::len), Some(2));
}

/// The library that reads HTTP/2 resets such a stream before anything here sees its path. The
/// connection and its other streams are not touched.
#[tokio::test]
async fn over_http2_a_bare_wildcard_resets_its_stream_and_an_encoded_one_is_served() {
    const PROTOCOL_ERROR: u32 = 1;
    let gateway = gateway("memory", "");
    for (path, expected) in [
        ("/v1/poll?topic=door.%3E&wait=0", First::Headers),
        ("/v1/poll?topic=door.>&wait=0", First::Reset(PROTOCOL_ERROR)),
    ] {
        let mut stream = connect(&gateway).await;
        let answer = h2_frames::ask(&mut stream, &h2_frames::get(path, "localhost")).await;
        assert_eq!(answer, expected, "{path}");
    }
}
