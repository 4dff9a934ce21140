//! Whatever is published in whatever way arrives the same on all transports (contract §2.1, §5).

use crate::common::gateway::Gateway;
use crate::common::grpc;
use crate::common::read::{ALL, Data, Reader, Seen, SubscribeParams, Transport, read_all};
use crate::common::sse::Parser;
use crate::samples::{Sample, samples};
use crate::support::{gateway, gateways, open, post};
use crate::ways::{WAYS, publish};

const EVENTS: usize = 10_000;
/// Events that are published together.
const BLOCK: usize = 100;

/// How far a reader goes before it leaves, and which readers take turns. None of the numbers is a
/// multiple of a page, so that readers stop in the middle of one.
type Turns = (usize, &'static [Transport]);
const ALL_IN_TURN: Turns = (997, &ALL);
const EACH_ALONE: [Turns; 3] = [
    (1777, &[Transport::Poll]),
    (1777, &[Transport::Sse]),
    (1777, &[Transport::Grpc]),
];
const TWO_IN_TURN: [Turns; 3] = [
    (1499, &[Transport::Grpc, Transport::Sse]),
    (2003, &[Transport::Sse, Transport::Poll]),
    (2503, &[Transport::Poll, Transport::Grpc]),
];

#[tokio::test]
async fn ten_thousand_events_are_the_same_on_all_transports_out_of_memory() {
    let gateway = gateway("memory", "");
    let published = publish_samples(&gateway).await;
    assert_read_whole(&gateway, &published).await;
    for turns in EACH_ALONE {
        assert_read_in_turns(&gateway, &published, turns).await;
    }
}

#[tokio::test]
async fn ten_thousand_events_are_the_same_on_all_transports_from_disk_and_after_a_crash() {
    let mut gateway = gateway("sqlite", "");
    let published = publish_samples(&gateway).await;
    assert_read_in_turns(&gateway, &published, ALL_IN_TURN).await;
    gateway.kill();
    gateway.start_again();
    assert_read_whole(&gateway, &published).await;
    for turns in TWO_IN_TURN {
        assert_read_in_turns(&gateway, &published, turns).await;
    }
    assert!(
        gateway.metric("vidette_cold_reads_total").await > 0.0,
        "the second time they were read from disk"
    );
}

/// Publishes the samples in all ways in turn; gives them in the order of the bus, as they have to
/// be seen.
async fn publish_samples(gateway: &Gateway) -> Vec<Seen> {
    let client = reqwest::Client::new();
    let samples = samples(EVENTS);
    let mut published = Vec::with_capacity(EVENTS);
    for (block, way) in samples.chunks(BLOCK).zip(WAYS.into_iter().cycle()) {
        let vids = publish(way, gateway, &client, block).await;
        assert_eq!(vids.len(), block.len(), "{way:?} answers for each event");
        published.extend(
            block
                .iter()
                .cloned()
                .zip(vids)
                .map(|(sample, vid)| Sample::seen(sample, vid)),
        );
    }
    published.sort_by_key(|seen| seen.vid);
    assert!(
        published.windows(2).all(|pair| pair[0].vid < pair[1].vid),
        "each event has a vid of its own"
    );
    published
}

async fn assert_read_whole(gateway: &Gateway, published: &[Seen]) {
    let mut times: Vec<Vec<i64>> = Vec::new();
    for via in ALL {
        let seen = read_all(via, gateway, &SubscribeParams::earliest()).await;
        times.push(seen.iter().map(|s| s.time_ms).collect());
        assert_same(&format!("{via:?}"), &seen, published);
    }
    assert!(times[0].is_sorted(), "times do not fall");
    assert!(
        times.iter().all(|t| *t == times[0]),
        "the same times on all transports"
    );
}

/// Reads so many events, leaves, and resumes with the last cursor on the next transport.
async fn assert_read_in_turns(gateway: &Gateway, published: &[Seen], (every, readers): Turns) {
    let (mut seen, mut cursor) = (Vec::new(), "earliest".to_owned());
    for via in readers.iter().copied().cycle() {
        let mut reader = open(via, gateway, &SubscribeParams::after(cursor.clone())).await;
        for _ in 0..every.min(EVENTS - seen.len()) {
            let (event, position) = reader.event().await;
            seen.push(event);
            cursor = position;
        }
        if seen.len() == EVENTS {
            break;
        }
    }
    assert_same(&format!("{readers:?} by {every}"), &seen, published);
}

/// Compares without times, which the publisher does not know.
///
/// Server-Sent Events end a line at CR as well as at LF, and a parser joins the lines with LF: a CR
/// between the tokens of JSON arrives there as LF, which means the same. Inside JSON strings, and
/// in text, a CR is escaped and survives.
fn assert_same(reader: &str, seen: &[Seen], published: &[Seen]) {
    for (seen, published) in seen.iter().zip(published) {
        let (got, wanted) = match (&seen.data, &published.data) {
            (Data::Json(got), Data::Json(wanted)) if reader.contains("Sse") => (
                Data::Json(with_line_feeds(got)),
                Data::Json(with_line_feeds(wanted)),
            ),
            (got, wanted) => (got.clone(), wanted.clone()),
        };
        assert!(
            got == wanted,
            "{reader}: vid {}: {}, not {}",
            seen.vid,
            short(&got),
            short(&wanted)
        );
        let heads = [seen, published].map(|s| (s.vid, &s.topic, &s.kind, &s.id));
        assert_eq!(heads[0], heads[1], "{reader}");
    }
    assert_eq!(seen.len(), published.len(), "{reader}");
}

fn with_line_feeds(json: &str) -> String {
    json.replace("\r\n", "\n").replace('\r', "\n")
}

/// A mebibyte of data is no help in the text of a failure.
fn short(data: &Data) -> String {
    format!("{data:?}").chars().take(200).collect()
}

#[tokio::test]
async fn readers_at_the_live_end_get_the_same_events_while_they_are_published_in_all_ways_at_once()
{
    for (engine, gateway) in gateways("") {
        let mut readers = Vec::new();
        for via in ALL {
            readers.push((via, open(via, &gateway, &SubscribeParams::default()).await));
        }
        let client = reqwest::Client::new();
        let all = samples(600);
        let publishing = WAYS
            .into_iter()
            .zip(all.chunks(100))
            .map(|(way, part)| publish(way, &gateway, &client, part));
        let (vids, seen) = tokio::join!(
            futures_util::future::join_all(publishing),
            read_each(readers, all.len())
        );
        let mut published: Vec<_> = all
            .into_iter()
            .zip(vids.concat())
            .map(|(s, vid)| s.seen(vid))
            .collect();
        published.sort_by_key(|seen| seen.vid);
        for (via, seen) in seen {
            assert_same(&format!("{engine} {via:?}"), &seen, &published);
        }
    }
}

async fn read_each(readers: Vec<(Transport, Reader)>, count: usize) -> Vec<(Transport, Vec<Seen>)> {
    let reading = readers
        .into_iter()
        .map(|(via, mut reader)| async move { (via, reader.events(count).await) });
    futures_util::future::join_all(reading).await
}

#[tokio::test]
async fn headers_and_content_types_are_shown_by_all_transports() {
    for (engine, gateway) in gateways("") {
        let event = serde_json::json!({
            "topic": "door.1", "content_type": "application/vnd.door+json", "data": { "n": 1 },
            "headers": { "trace": "ab\"c", "Ключ": "😀" },
        });
        let cursor = gateway.publish(&event).await["cursor"].clone();
        let polled = gateway.get("/v1/poll?after=earliest&wait=0").await["events"][0].clone();
        for field in ["topic", "content_type", "data", "headers"] {
            assert_eq!(polled[field], event[field], "{engine}");
        }
        assert_eq!(
            polled.get("type").or(polled.get("id")),
            None,
            "{engine}: absent fields are left out"
        );

        let sse = get_sse(&gateway, "after=earliest&wait=0").await;
        assert!(
            sse.contains(&format!(
                "id: {}\ndata: {polled}\n\n",
                cursor.as_str().expect("a cursor")
            )),
            "{sse}"
        );

        let request = vidette::proto::SubscribeRequest {
            after: "earliest".into(),
            limit: 1,
            ..vidette::proto::SubscribeRequest::default()
        };
        let mut responses = grpc::client(&gateway.url())
            .await
            .subscribe(request)
            .await
            .expect("a stream")
            .into_inner();
        let mut found = Vec::new();
        while let Some(response) = responses.message().await.expect("a message") {
            if let Some(vidette::proto::subscribe_response::Message::Events(batch)) =
                response.message
            {
                found.extend(batch.events);
            }
        }
        assert_eq!(
            found[0].content_type, "application/vnd.door+json",
            "{engine}"
        );
        assert_eq!(
            serde_json::json!(found[0].headers),
            event["headers"],
            "{engine}"
        );
    }
}

#[tokio::test]
async fn white_space_around_json_data_does_no_harm() {
    let gateway = Gateway::in_memory();
    let padded = " \r\n\t{\"n\": 1}\n\n";
    assert_eq!(
        post(&gateway, "/v1/topics/door.1", "application/json", padded)
            .await
            .status,
        200
    );
    for via in ALL {
        let seen = read_all(via, &gateway, &SubscribeParams::earliest()).await;
        let Data::Json(text) = &seen[0].data else {
            panic!("{via:?}: {seen:?}")
        };
        assert_eq!(text.trim(), padded.trim(), "{via:?}");
        assert!(
            via != Transport::Grpc || text == padded,
            "bytes are bytes: {text:?}"
        );
    }
}

#[tokio::test]
async fn data_without_a_content_type_is_taken_for_what_it_looks_like() {
    let gateway = Gateway::in_memory();
    let cases: [(&str, &[u8], Data); 5] = [
        ("json.1", b"{\"n\":1}", Data::Json("{\"n\":1}".into())),
        (
            "json.2",
            b"12345678901234567890",
            Data::Json("12345678901234567890".into()),
        ),
        ("text.1", b"{\"n\":", Data::Text("{\"n\":".into())),
        ("text.2", b"", Data::Text(String::new())),
        ("bin.1", b"\xff", Data::Bytes(vec![0xff])),
    ];
    for (topic, data, _) in &cases {
        let url = format!("{}/v1/topics/{topic}", gateway.url());
        let response = reqwest::Client::new()
            .post(url)
            .body(data.to_vec())
            .send()
            .await
            .expect("an answer");
        assert_eq!(response.status(), 200, "{topic}");
    }
    for via in ALL {
        let seen = read_all(via, &gateway, &SubscribeParams::earliest()).await;
        let data: Vec<_> = seen.into_iter().map(|s| s.data).collect();
        assert_eq!(data, cases.clone().map(|(.., data)| data), "{via:?}");
    }
}

#[tokio::test]
async fn raw_server_sent_events_have_only_the_data() {
    let gateway = Gateway::in_memory();
    let cases = [
        ("text/plain", "two\nlines\n", "two\nlines\n"),
        ("text/plain", "crlf\r\ncr\rend", "crlf\ncr\nend"),
        ("text/plain", "", ""),
        (
            "application/json",
            "{\n\"n\": 12345678901234567890}",
            "{\n\"n\": 12345678901234567890}",
        ),
        ("application/octet-stream", "bytes", "Ynl0ZXM="),
    ];
    for (content_type, data, _) in cases {
        assert_eq!(
            post(&gateway, "/v1/topics/raw.1?type=t", content_type, data)
                .await
                .status,
            200
        );
    }
    let text = get_sse(&gateway, "after=earliest&wait=0&format=raw").await;
    let blocks = Parser::default().feed(text.as_bytes());
    let events: Vec<_> = blocks
        .iter()
        .filter(|b| b.event == "t")
        .map(|b| b.data.as_deref())
        .collect();
    assert_eq!(events, cases.map(|(.., shown)| Some(shown)));
}

/// A stream of Server-Sent Events as it is on the wire, up to its end.
async fn get_sse(gateway: &Gateway, query: &str) -> String {
    let response = reqwest::get(format!("{}/v1/sse?{query}", gateway.url()))
        .await
        .expect("an answer");
    assert_eq!(response.status(), 200);
    response.text().await.expect("a stream that ends")
}
