//! curl.

use std::path::PathBuf;

use serde_json::{Value, json};

use crate::common::gateway::Gateway;
use crate::tools::{Output, Running, find, run, run_with_input};

const VERSIONS: [&str; 2] = ["--http1.1", "--http2-prior-knowledge"];
const STATUS: &str = "\n%{http_code} %{content_type}";

fn curl() -> PathBuf {
    find("curl", "bin")
}

/// curl to the end; `-sS` and without a bound of its own.
async fn ask(args: &[&str]) -> Output {
    run(curl(), &[&["-sS"], args].concat()).await
}

/// The body, and the status with the content type.
async fn ask_for_status(args: &[&str]) -> (String, String) {
    let text = ask(&[&["-w", STATUS], args].concat()).await.ok();
    let (body, status) = text.rsplit_once('\n').expect("a last line");
    (body.to_owned(), status.to_owned())
}

fn vid_of(line: &str) -> u64 {
    let object: Value =
        serde_json::from_str(line.strip_prefix("data: ").expect("a data line")).expect("JSON");
    object["vid"].as_u64().expect("a vid")
}

/// The lines of the next block, once the empty line behind it is there.
async fn next_block(stream: &mut Running) -> Vec<String> {
    let mut lines = Vec::new();
    loop {
        match stream.line().await.expect("a stream that goes on") {
            line if line.is_empty() => return lines,
            line => lines.push(line),
        }
    }
}

#[tokio::test]
async fn a_stream_comes_block_by_block_over_http_1_and_h2c() {
    for version in VERSIONS {
        let gateway = Gateway::start();
        gateway.publish_numbers("door.1", 2).await;
        let url = format!("{}/v1/sse?after=earliest", gateway.url());
        let mut stream = Running::start(curl(), &["-sSN", version, &url]);
        let is_event = |block: &[String], vid: u64| {
            assert_eq!(block.len(), 2, "{version} {block:?}");
            assert!(
                block[0].starts_with(&format!("id: {vid}-")) && vid_of(&block[1]) == vid,
                "{version} {block:?}"
            );
        };
        assert_eq!(
            next_block(&mut stream).await[0],
            "event: vidette.hello",
            "{version}"
        );
        for vid in [1, 2] {
            is_event(&next_block(&mut stream).await, vid);
        }
        assert!(
            next_block(&mut stream)
                .await
                .contains(&"event: vidette.caught_up".to_owned()),
            "{version}"
        );
        // It is live now: each event comes as it is published, and not with the next one.
        for vid in [3, 4] {
            gateway.publish_numbers("door.2", 1).await;
            is_event(&next_block(&mut stream).await, vid);
        }
    }
}

#[tokio::test]
async fn last_event_id_resumes_a_stream_and_wins_over_after() {
    let gateway = Gateway::start();
    let cursor = gateway.publish_numbers("door.1", 3).await;
    let epoch = cursor.split_once('-').expect("an epoch").1;
    gateway.publish_numbers("door.1", 3).await;
    for version in VERSIONS {
        let header = format!("Last-Event-ID: 2-{epoch}");
        let url = format!("{}/v1/sse?after=5&limit=2", gateway.url());
        let stream = ask(&["-N", version, "-H", &header, &url]).await.ok();
        let vids: Vec<u64> = stream
            .lines()
            .filter(|l| l.starts_with("data: {\"vid\":"))
            .map(vid_of)
            .collect();
        assert_eq!(vids, [3, 4], "{version}");
        let ids: Vec<&str> = stream
            .lines()
            .filter_map(|l| l.strip_prefix("id: "))
            .collect();
        assert!(ids.contains(&format!("4-{epoch}").as_str()), "{ids:?}");
    }
}

#[tokio::test]
async fn a_stream_of_raw_data_has_nothing_but_the_data() {
    let gateway = Gateway::in_memory();
    gateway
        .publish(
            &json!({ "topic": "t", "type": "note", "content_type": "text/plain", "data": "a\nb" }),
        )
        .await;
    let stream = ask(&[
        "-N",
        &format!("{}/v1/sse?after=earliest&format=raw&limit=1", gateway.url()),
    ])
    .await
    .ok();
    assert!(
        stream.contains("event: note\ndata: a\ndata: b\n\n"),
        "{stream}"
    );
}

#[tokio::test]
async fn long_polls_one_after_the_other_read_the_whole_log() {
    let gateway = Gateway::start();
    gateway.publish_numbers("door.1", 7).await;
    for version in VERSIONS {
        let (mut cursor, mut vids) = ("earliest".to_owned(), Vec::new());
        loop {
            let url = format!("{}/v1/poll?after={cursor}&limit=3&wait=0", gateway.url());
            let answer = ask(&[version, &url]).await.json();
            vids.extend(
                answer["events"]
                    .as_array()
                    .expect("events")
                    .iter()
                    .map(|e| e["vid"].as_u64().expect("a vid")),
            );
            cursor = answer["cursor"].as_str().expect("a cursor").to_owned();
            if answer["up_to_date"] == true {
                break;
            }
        }
        assert_eq!(vids, [1, 2, 3, 4, 5, 6, 7], "{version}");
    }
}

#[tokio::test]
async fn a_long_poll_waits_for_the_next_event() {
    let gateway = Gateway::start();
    let url = format!("{}/v1/poll?topic=door.*&wait=20", gateway.url());
    let waiting = Running::start(curl(), &["-sS", &url]);
    gateway
        .until("curl waits", || async {
            gateway.get("/v1/bus").await["subscribers"] == 1
        })
        .await;
    gateway.publish_numbers("gate.1", 1).await;
    gateway.publish_numbers("door.1", 1).await;
    let answer = waiting.end().await.json();
    assert_eq!(
        (&answer["events"][0]["vid"], &answer["vid"]),
        (&json!(2), &json!(2))
    );
}

#[tokio::test]
async fn everything_that_can_be_posted_is_kept_as_it_was_meant() {
    let gateway = Gateway::start();
    let topic = format!("{}/v1/topics/door.3", gateway.url());
    let events = format!("{}/v1/events", gateway.url());
    // -d names the content type of a form, which nobody means: the data decides.
    ask(&["-d", "{\"n\":1.50}", &topic]).await.ok();
    ask(&["-d", "plain words", &topic]).await.ok();
    ask(&["-d", "{\"n\":3}", "-H", "Content-Type: text/plain", &topic])
        .await
        .ok();
    run_with_input(
        curl(),
        &["-sS", "--data-binary", "@-", &topic],
        b"\xff\x00\xfe",
    )
    .await
    .ok();
    ask(&["-d", "{}", &format!("{topic}?type=opened&id=one")])
        .await
        .ok();
    ask(&["-d", "{\"topic\":\"door.4\",\"data\":[6]}", &events])
        .await
        .ok();
    let batch =
        "[{\"topic\":\"door.5\",\"data\":7},{\"topic\":\"door.5\",\"data_base64\":\"AAE=\"}]";
    let answer = ask(&["--json", batch, &events]).await.json();
    assert_eq!(
        (&answer["first_vid"], &answer["last_vid"]),
        (&json!(7), &json!(8))
    );
    assert_eq!(answer["events"].as_array().map(Vec::len), Some(2));
    let again = ask(&["-d", "{}", &format!("{topic}?type=opened&id=one")])
        .await
        .json();
    assert_eq!(
        (&again["vid"], &again["duplicate"]),
        (&json!(5), &json!(true))
    );

    let poll = ask(&[&format!("{}/v1/poll?after=earliest&wait=0", gateway.url())])
        .await
        .ok();
    assert!(
        poll.contains("\"data\":{\"n\":1.50}"),
        "the digits stay: {poll}"
    );
    let poll: Value = serde_json::from_str(&poll).expect("JSON");
    let kept: Vec<Value> = poll["events"]
        .as_array()
        .expect("events")
        .iter()
        .map(data_of)
        .collect();
    let text = "{\"n\":3}";
    assert_eq!(
        kept[1..],
        [
            json!("plain words"),
            json!(text),
            json!(["/wD+"]),
            json!({}),
            json!([6]),
            json!(7),
            json!(["AAE="])
        ]
    );
    assert_eq!(
        (&poll["events"][4]["type"], &poll["events"][4]["id"]),
        (&json!("opened"), &json!("one"))
    );
}

/// The data; bytes as a list with their base64.
fn data_of(event: &Value) -> Value {
    event
        .get("data")
        .cloned()
        .unwrap_or_else(|| json!([event["data_base64"]]))
}

#[tokio::test]
async fn an_ndjson_stream_is_answered_line_by_line_while_it_goes_on() {
    for version in VERSIONS {
        let gateway = Gateway::start();
        let url = format!("{}/v1/events", gateway.url());
        // With `-T .` curl shows answers while it waits for more input; with `-T -` it does one
        // thing at a time.
        let args = [
            "-sSN",
            version,
            "-X",
            "POST",
            "-H",
            "Content-Type: application/x-ndjson",
            "-T",
            ".",
            &url,
        ];
        let mut stream = Running::start(curl(), &args);
        for number in 1..=3 {
            stream
                .say(&format!("{{\"topic\":\"door.1\",\"data\":{number}}}\n"))
                .await;
            let answer: Value =
                serde_json::from_str(&stream.line().await.expect("an answer")).expect("JSON");
            assert_eq!(answer["vid"], number, "{version}");
        }
        stream
            .say("not an event\n{\"topic\":\"door.1\",\"data\":4}\n")
            .await;
        let refused: Value =
            serde_json::from_str(&stream.line().await.expect("an answer")).expect("JSON");
        assert_eq!(
            (&refused["line"], &refused["error"]["status"]),
            (&json!(4), &json!(400)),
            "{version}"
        );
        let rest = stream.end().await.ok();
        let answer: Value = serde_json::from_str(&rest).expect("JSON");
        assert_eq!(answer["vid"], 4, "{version}");
    }
}

#[tokio::test]
async fn a_file_of_ndjson_is_published_in_its_order() {
    for version in VERSIONS {
        let gateway = Gateway::start();
        let url = format!("{}/v1/events", gateway.url());
        let lines = (1..=2000).map(|n| format!("{{\"topic\":\"door.1\",\"data\":{n}}}\n"));
        let input = lines.collect::<Vec<_>>().concat();
        let args = [
            "-sS",
            version,
            "-X",
            "POST",
            "-H",
            "Content-Type: application/x-ndjson",
            "-T",
            "-",
            &url,
        ];
        let answers = run_with_input(curl(), &args, input.as_bytes()).await.ok();
        let answers: Vec<Value> = answers
            .lines()
            .map(|line| serde_json::from_str(line).expect("JSON"))
            .collect();
        let vids: Vec<u64> = answers
            .iter()
            .map(|answer| answer["vid"].as_u64().expect("a vid"))
            .collect();
        assert_eq!(vids, (1..=2000).collect::<Vec<_>>(), "{version}");
    }
}

#[tokio::test]
async fn refusals_are_problems_that_say_what_is_wrong() {
    let gateway = Gateway::start();
    let cases = [
        ("/v1/poll?after=x", "400"),
        ("/v1/sse?topic=a..b", "400"),
        ("/v1/poll?after=5-otherlog&on_gap=fail", "410"),
        ("/v1/sse?after=5-otherlog&on_gap=fail", "410"),
        ("/v1/nothing", "404"),
        ("/v1/events", "405"),
    ];
    for (path, status) in cases {
        for version in VERSIONS {
            let (body, received) =
                ask_for_status(&[version, &format!("{}{path}", gateway.url())]).await;
            assert_eq!(
                received,
                format!("{status} application/problem+json"),
                "{path} {body}"
            );
            let problem: Value = serde_json::from_str(&body).expect("JSON");
            assert!(
                problem["detail"].as_str().is_some_and(|d| !d.is_empty()),
                "{path} {body}"
            );
        }
    }
}

#[tokio::test]
async fn head_answers_at_once_and_without_a_body() {
    let gateway = Gateway::start();
    gateway.publish_numbers("door.1", 1).await;
    let cases = [
        ("/", "text/html"),
        ("/healthz", "text/plain"),
        ("/v1/bus", "application/json"),
        ("/v1/topics", "application/json"),
        ("/v1/poll?after=earliest", "application/json"),
        ("/v1/sse?after=earliest", "text/event-stream"),
        ("/clients/longpoll/prototype.html", "text/html"),
    ];
    for (path, content_type) in cases {
        for version in VERSIONS {
            let head = ask(&["-I", version, &format!("{}{path}", gateway.url())])
                .await
                .ok()
                .to_ascii_lowercase();
            let (status, fields) = head.split_once("\r\n").expect("a status line");
            assert!(status.contains(" 200"), "{path}: {head}");
            assert!(
                fields.contains(&format!("content-type: {content_type}")),
                "{path}: {head}"
            );
            assert!(head.ends_with("\r\n\r\n"), "{path}: {head}");
        }
    }
    gateway
        .until("no reader is left", || async {
            gateway.get("/v1/bus").await["subscribers"] == 0
        })
        .await;
}

#[tokio::test]
async fn the_legacy_address_answers_one_flat_record() {
    let gateway = Gateway::start();
    gateway
        .publish(&json!({ "topic": "door.1", "data": { "vid": 99, "doorno": 3, "ynopen": 1 } }))
        .await;
    let head_and_body = ask(&["-i", &format!("{}/backend.php?maxvid=0", gateway.url())])
        .await
        .ok();
    let (head, body) = head_and_body.split_once("\r\n\r\n").expect("a head");
    let head = head.to_ascii_lowercase();
    assert_eq!(body, "{\"vid\":1,\"doorno\":3,\"ynopen\":1}");
    assert!(
        head.contains("cache-control: no-store") && head.contains("charset=utf-8"),
        "{head}"
    );
    let (problem, status) = ask_for_status(&[&format!(
        "{}/backend.php?maxvid=0&callback=show",
        gateway.url()
    )])
    .await;
    assert!(status.starts_with("403"), "{status} {problem}");
}

#[tokio::test]
async fn a_wildcard_may_stand_in_an_address_as_it_is() {
    let gateway = Gateway::in_memory();
    gateway.publish_numbers("door.1", 1).await;
    let url = format!("{}/v1/poll?topic=door.>&after=0&wait=0", gateway.url());
    let (body, status) = ask_for_status(&["--http1.1", &url]).await;
    assert!(status.starts_with("200 "), "{status} {body}");
    assert_eq!(
        serde_json::from_str::<Value>(&body).expect("JSON")["events"][0]["vid"],
        1
    );
}

#[tokio::test]
async fn a_stream_of_a_gateway_that_ends_is_whole_and_curl_ends_with_0() {
    for version in VERSIONS {
        let mut gateway = Gateway::start();
        let url = format!("{}/v1/sse", gateway.url());
        let mut stream = Running::start(curl(), &["-sSN", version, &url]);
        let mut blocks = vec![next_block(&mut stream).await, next_block(&mut stream).await];
        assert!(gateway.terminate().await.success(), "{}", gateway.log());
        blocks.push(next_block(&mut stream).await);
        let last = blocks.last().expect("three blocks");
        assert!(last[0].starts_with("retry: "), "{version} {blocks:?}");
        assert_eq!(last[1], "event: vidette.closing", "{version} {blocks:?}");
        assert!(stream.end().await.status.success(), "{version}");
    }
}
