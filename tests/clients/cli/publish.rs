//! `vidette publish`.

use std::fmt::Write as _;

use serde_json::json;

use super::{VIDETTE, vidette, vidette_with_input};
use crate::common::gateway::Gateway;
use crate::tools::{Running, run_with_input};

#[tokio::test]
async fn one_event_is_published_and_its_cursor_printed() {
    let gateway = Gateway::start();
    let url = gateway.url();
    let epoch = gateway.get("/v1/bus").await["epoch"]
        .as_str()
        .expect("an epoch")
        .to_owned();
    let args = [
        "publish",
        "door.3",
        "{\"doorno\":3}",
        "--type",
        "opened",
        "--id",
        "one",
        "--url",
        &url,
    ];
    assert_eq!(vidette(&args).await.ok(), format!("1-{epoch}\n"));
    assert_eq!(
        vidette(&args).await.ok(),
        format!("1-{epoch}  (published before)\n")
    );
    let event = gateway.get("/v1/poll?after=earliest&wait=0").await["events"][0].clone();
    assert_eq!(
        (&event["topic"], &event["type"], &event["id"]),
        (&json!("door.3"), &json!("opened"), &json!("one"))
    );
    assert_eq!(event["data"], json!({ "doorno": 3 }));
}

#[tokio::test]
async fn data_comes_from_standard_input_and_its_kind_is_found() {
    let gateway = Gateway::start();
    let url = gateway.url();
    vidette_with_input(&["publish", "a", "-", "--url", &url], "{\"n\":1}")
        .await
        .ok();
    vidette_with_input(&["publish", "a", "--url", &url], "plain words\n")
        .await
        .ok();
    run_with_input(VIDETTE, &["publish", "a", "-", "--url", &url], b"\xff\x00")
        .await
        .ok();
    vidette(&[
        "publish",
        "a",
        "{}",
        "--content-type",
        "text/plain",
        "--url",
        &url,
    ])
    .await
    .ok();
    let events = gateway.get("/v1/poll?after=earliest&wait=0").await["events"].clone();
    assert_eq!(events[0]["data"], json!({ "n": 1 }));
    assert_eq!(events[1]["data"], "plain words\n");
    assert_eq!(events[2]["data_base64"], "/wA=");
    assert_eq!(events[3]["data"], "{}");
}

#[tokio::test]
async fn an_empty_standard_input_publishes_nothing_unless_that_is_said() {
    let gateway = Gateway::in_memory();
    let url = gateway.url();
    let refused = vidette(&["publish", "a", "--url", &url]).await;
    assert_eq!(refused.code(), 64, "{refused:?}");
    assert!(refused.stderr.contains("--empty"), "{refused:?}");
    assert_eq!(gateway.get("/v1/bus").await["last"], 0);
    for explicit in ["--empty", ""] {
        vidette(&["publish", "a", explicit, "--url", &url])
            .await
            .ok();
    }
    assert_eq!(gateway.get("/v1/bus").await["last"], 2);
}

#[tokio::test]
async fn a_topic_with_letters_of_any_script_is_published_as_it_is() {
    let gateway = Gateway::start();
    for topic in ["门.3", "a/b.c", "a%20b", "a?b#c"] {
        vidette(&["publish", topic, "1", "--url", &gateway.url()])
            .await
            .ok();
        let topics = gateway.get("/v1/topics").await;
        let is_there = topics["topics"]
            .as_array()
            .expect("topics")
            .iter()
            .any(|t| t["topic"] == topic);
        assert!(is_there, "{topic} in {topics}");
    }
}

#[tokio::test]
async fn what_goes_wrong_is_told_and_exits_with_1() {
    let gateway = Gateway::start();
    let refused = vidette(&["publish", "a..b", "1", "--url", &gateway.url()]).await;
    assert_eq!(refused.code(), 1);
    assert!(refused.stderr.contains("a..b"), "{refused:?}");
    let nobody = vidette(&["publish", "a", "1", "--url", "http://127.0.0.1:9"]).await;
    assert_eq!(nobody.code(), 1);
    assert!(
        nobody.stderr.contains("no gateway at http://127.0.0.1:9"),
        "{nobody:?}"
    );
}

const LINES: usize = 10_000;

fn lines() -> String {
    (1..=LINES).fold(String::new(), |mut text, n| {
        writeln!(
            text,
            "{{\"topic\":\"door.{}\",\"id\":\"id-{n}\",\"data\":{{\"n\":{n}}}}}",
            n % 8
        )
        .expect("a text");
        text
    })
}

#[tokio::test]
async fn ten_thousand_lines_are_published_in_their_order_and_once() {
    let gateway = Gateway::start();
    let args = ["publish", "--ndjson", "--url", &gateway.url()];
    let first = vidette_with_input(&args, &lines()).await.ok();
    assert!(
        first.starts_with("10000 events published") && first.contains(" 0 of them known already"),
        "{first}"
    );
    let again = vidette_with_input(&args, &lines()).await.ok();
    assert!(again.contains("10000 of them known already"), "{again}");

    let bus = gateway.get("/v1/bus").await;
    assert_eq!(
        (&bus["first"], &bus["last"], &bus["events"]),
        (&json!(1), &json!(LINES), &json!(LINES))
    );
    let args = [
        "tail",
        "--after",
        "earliest",
        "--limit",
        "10000",
        "--json",
        "--url",
        &gateway.url(),
    ];
    let printed = vidette(&args).await.ok();
    for (line, n) in printed.lines().zip(1u64..) {
        assert!(
            line.contains(&format!("\"vid\":{n},")) && line.contains(&format!("{{\"n\":{n}}}")),
            "{n}: {line}"
        );
    }
    assert_eq!(printed.lines().count(), LINES);
}

#[tokio::test]
async fn a_bad_line_is_told_with_its_number_and_the_others_are_published() {
    let gateway = Gateway::start();
    let input = "{\"topic\":\"a\",\"data\":1}\n\nnonsense\n{\"topic\":\"a\",\"data\":2}\n{\"topic\":\"b..c\",\"data\":3}\n";
    let output = vidette_with_input(&["publish", "--ndjson", "--url", &gateway.url()], input).await;
    assert_eq!(output.code(), 1, "{output:?}");
    assert!(
        output.stderr.contains("line 3:") && output.stderr.contains("line 5:"),
        "{output:?}"
    );
    assert!(
        output.stderr.contains("2 lines were not published"),
        "{output:?}"
    );
    assert!(
        output.stdout.starts_with("2 events published"),
        "{output:?}"
    );
    assert_eq!(gateway.get("/v1/bus").await["last"], 2);
}

#[tokio::test]
async fn lines_are_published_as_they_come() {
    let gateway = Gateway::start();
    let mut stream = Running::start(VIDETTE, &["publish", "--ndjson", "--url", &gateway.url()]);
    for number in 1..=3 {
        stream
            .say(&format!("{{\"topic\":\"a\",\"data\":{number}}}\n"))
            .await;
        gateway
            .until("the line is an event", || async {
                gateway.get("/v1/bus").await["last"] == number
            })
            .await;
    }
    assert!(stream.end().await.ok().starts_with("3 events published"));
}
