//! `vidette tail`.

use serde_json::{Value, json};

use super::{VIDETTE, vidette};
use crate::common::gateway::{Gateway, Setup};
use crate::network::Network;
use crate::tools::Running;

const TRANSPORTS: [&str; 3] = ["sse", "poll", "grpc"];

fn vid_of(line: &str) -> u64 {
    let event: Value = serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
    event["vid"].as_u64().expect("a vid")
}

#[tokio::test]
async fn all_transports_print_the_same_objects() {
    let gateway = Gateway::start();
    let events = json!([
        { "topic": "door.1", "data": { "n": 1 } },
        { "topic": "door.2", "type": "opened", "id": "one", "data": [true, null, "门"] },
        { "topic": "gate.1", "content_type": "text/plain", "data": "two\nlines" },
        { "topic": "gate.1", "content_type": "image/png", "data_base64": "AAECAw==" },
        { "topic": "门.1", "headers": { "b": "2", "a": "1" }, "data": "" },
    ]);
    gateway.publish(&events).await;
    let mut printed = Vec::new();
    for via in TRANSPORTS {
        let args = [
            "tail",
            "--after",
            "earliest",
            "--limit",
            "5",
            "--json",
            "--via",
            via,
            "--url",
            &gateway.url(),
        ];
        printed.push(vidette(&args).await.ok());
    }
    assert_eq!(printed[0], printed[1]);
    assert_eq!(printed[0], printed[2]);
    let objects: Vec<Value> = printed[0]
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    let poll = gateway.get("/v1/poll?after=earliest&wait=0").await;
    assert_eq!(Value::from(objects), poll["events"]);
}

#[tokio::test]
async fn tail_resumes_by_itself_after_a_crash_and_after_an_orderly_end() {
    for via in TRANSPORTS {
        let mut gateway = Gateway::start();
        gateway.publish_numbers("door.1", 50).await;
        let url = gateway.url();
        let args = [
            "tail", "door.>", "--after", "earliest", "--json", "--limit", "150", "--via", via,
            "--url", &url,
        ];
        let mut tail = Running::start(VIDETTE, &args);
        let mut vids = Vec::new();
        for round in 1..=3 {
            while vids.len() < 50 * round {
                vids.push(vid_of(&tail.line().await.expect("an event")));
            }
            match round {
                1 => gateway.kill(),
                2 => assert!(gateway.terminate().await.success(), "{}", gateway.log()),
                _ => break,
            }
            gateway.start_again();
            gateway.publish_numbers("door.1", 50).await;
        }
        assert_eq!(vids, (1..=150).collect::<Vec<_>>(), "{via}");
        let output = tail.end().await;
        assert!(
            output.status.success() && output.stdout.is_empty(),
            "{via} {output:?}"
        );
        assert!(
            output.stderr.contains("resuming after 50-"),
            "{via} {output:?}"
        );
    }
}

#[tokio::test]
async fn a_line_has_the_vid_the_topic_the_type_and_the_data() {
    let gateway = Gateway::start();
    gateway
        .publish(&json!({ "topic": "door.3", "type": "opened", "data": { "a": [1, 2] } }))
        .await;
    for via in TRANSPORTS {
        let args = [
            "tail",
            "--after",
            "0",
            "--limit",
            "1",
            "--via",
            via,
            "--url",
            &gateway.url(),
        ];
        let line = vidette(&args).await.ok();
        let words: Vec<&str> = line.split_whitespace().collect();
        assert_eq!(
            (words[0], words[2], words[3], words[4]),
            ("1", "door.3", "opened", "{\"a\":[1,2]}"),
            "{line}"
        );
    }
}

#[tokio::test]
async fn every_start_is_taken() {
    let gateway = Gateway::start();
    let cursor = gateway.publish_numbers("door.1", 3).await;
    let epoch = cursor.split_once('-').expect("an epoch").1;
    gateway.publish_numbers("door.2", 3).await;
    let second = format!("2-{epoch}");
    let cases: [(&[&str], u64); 5] = [
        (&["--after", "earliest"], 1),
        (&["--after", &second], 3),
        (&["--after", "5"], 6),
        (&["--since", "1h", "door.2"], 4),
        (&["--snapshot"], 3),
    ];
    for via in TRANSPORTS {
        for (start, expected) in cases {
            let common = [
                "--limit",
                "1",
                "--json",
                "--via",
                via,
                "--url",
                &gateway.url(),
            ];
            let line = vidette(&[&["tail"], start, &common].concat()).await.ok();
            assert_eq!(vid_of(&line), expected, "{via} {start:?}");
        }
        // Without a start it is what comes from now on. The one before is not to be taken for it.
        until_subscribers(&gateway, 0).await;
        let tail = Running::start(
            VIDETTE,
            &[
                "tail",
                "--limit",
                "1",
                "--json",
                "--via",
                via,
                "--url",
                &gateway.url(),
            ],
        );
        until_subscribers(&gateway, 1).await;
        let expected = gateway
            .publish(&json!({ "topic": "gate.1", "data": 1 }))
            .await["vid"]
            .as_u64();
        assert_eq!(Some(vid_of(&tail.end().await.ok())), expected, "{via}");
        until_subscribers(&gateway, 0).await;
    }
}

/// Waits until so many read.
async fn until_subscribers(gateway: &Gateway, expected: u64) {
    gateway
        .until("subscribers", || async {
            gateway.get("/v1/bus").await["subscribers"] == expected
        })
        .await;
}

#[tokio::test]
async fn it_prints_what_there_is_of_some_types_and_stops() {
    let gateway = Gateway::in_memory();
    let events = json!([
        { "topic": "door.1", "type": "opened", "data": 1 },
        { "topic": "door.1", "type": "refused", "data": 2 },
        { "topic": "door.2", "data": 3 },
    ]);
    gateway.publish(&events).await;
    for via in TRANSPORTS {
        for (types, expected) in [
            (&[][..], &[1, 2, 3][..]),
            (&["--type", "refused", "--type", ""], &[2, 3]),
            (&["--type", "closed"], &[]),
        ] {
            let common = [
                "--no-follow",
                "--json",
                "--via",
                via,
                "--url",
                &gateway.url(),
            ];
            let printed = vidette(&[&["tail"], types, &common].concat()).await.ok();
            let vids: Vec<_> = printed.lines().map(vid_of).collect();
            assert_eq!(vids, expected, "{via} {types:?}");
        }
        let nowhere = [
            "tail",
            "--no-follow",
            "--via",
            via,
            "--url",
            "http://127.0.0.1:9",
        ];
        assert_eq!(vidette(&nowhere).await.code(), 1, "{via}");
    }
}

#[tokio::test]
async fn a_gap_is_told_on_standard_error_and_reading_goes_on() {
    let gateway = Gateway::in_memory();
    gateway.publish_numbers("door.1", 2).await;
    for via in TRANSPORTS {
        let args = [
            "tail",
            "--after",
            "1-otherlog",
            "--limit",
            "2",
            "--json",
            "--via",
            via,
            "--url",
            &gateway.url(),
        ];
        let output = vidette(&args).await;
        assert_eq!(
            output.stdout.lines().map(vid_of).collect::<Vec<_>>(),
            [1, 2],
            "{via}"
        );
        assert!(
            output.stderr.contains("gap (reset)") && output.status.success(),
            "{via} {output:?}"
        );
    }
}

#[tokio::test]
async fn a_refusal_ends_it_with_1_and_its_reason() {
    let gateway = Gateway::in_memory();
    for via in TRANSPORTS {
        let output = vidette(&["tail", "a..b", "--via", via, "--url", &gateway.url()]).await;
        assert_eq!(output.code(), 1, "{via} {output:?}");
        assert!(output.stderr.contains("a..b"), "{via} {output:?}");
    }
}

#[tokio::test]
async fn tail_comes_back_when_its_network_has_gone() {
    for via in TRANSPORTS {
        let gateway = Gateway::start();
        let network = Network::before(gateway.address()).await;
        let url = network.url();
        let args = [
            "tail", "--after", "earliest", "--json", "--limit", "4", "--via", via, "--url", &url,
        ];
        let mut tail = Running::start(VIDETTE, &args);
        gateway.publish_numbers("door.1", 2).await;
        for vid in [1, 2] {
            assert_eq!(vid_of(&tail.line().await.expect("an event")), vid, "{via}");
        }
        let tried = network.connections();
        network.cut().await;
        gateway.publish_numbers("door.1", 2).await;
        gateway
            .until("it has tried in vain", || async {
                network.connections() > tried
            })
            .await;
        network.mend();
        let rest: Vec<u64> = tail.end().await.ok().lines().map(vid_of).collect();
        assert_eq!(rest, [3, 4], "{via}");
    }
}

/// A gateway writes at least once a heartbeat (contract §4); silence for much longer means that the
/// connection is dead.
async fn comes_back_after_silence(via: &str) {
    let config = "[bus]\nheartbeat = \"1s\"".to_owned();
    let gateway = Gateway::start_with(Setup {
        config,
        ..Setup::default()
    });
    let network = Network::before(gateway.address()).await;
    let url = network.url();
    let args = [
        "tail", "--after", "earliest", "--json", "--limit", "2", "--via", via, "--url", &url,
    ];
    let mut tail = Running::start(VIDETTE, &args);
    gateway.publish_numbers("door.1", 1).await;
    assert_eq!(vid_of(&tail.line().await.expect("an event")), 1);
    network.silence();
    gateway.publish_numbers("door.1", 1).await;
    gateway
        .until("it has tried again", || async { network.connections() > 1 })
        .await;
    network.mend();
    assert_eq!(vid_of(&tail.end().await.ok()), 2);
}

#[tokio::test]
async fn tail_by_sse_comes_back_when_its_connection_has_gone_silent() {
    comes_back_after_silence("sse").await;
}

#[tokio::test]
async fn tail_by_grpc_comes_back_when_its_connection_has_gone_silent() {
    comes_back_after_silence("grpc").await;
}

#[tokio::test]
async fn tail_leaves_a_busy_gateway_alone_for_as_long_as_it_asks() {
    for via in ["sse", "poll"] {
        let gateway = Gateway::start_with(Setup {
            engine: "memory",
            config: "[limits]\nmax_subscribers = 1".to_owned(),
            ..Setup::default()
        });
        gateway.publish_numbers("door.1", 1).await;
        let mut occupant = reqwest::get(format!("{}/v1/sse", gateway.url()))
            .await
            .expect("a stream");
        occupant.chunk().await.expect("a greeting");
        let url = gateway.url();
        let args = [
            "tail", "--after", "earliest", "--limit", "1", "--json", "--via", via, "--url", &url,
        ];
        let tail = Running::start(VIDETTE, &args);
        let is_told = || async { tail.complaints().contains("resuming after") };
        gateway.until("tail waits", is_told).await;
        drop(occupant);
        let output = tail.ended().await;
        let said = output.stderr.clone();
        assert_eq!(vid_of(&output.ok()), 1);
        let (_, wait) = said.split_once("earliest in ").expect("a wait");
        let wait_ms: u64 = wait
            .split(' ')
            .next()
            .and_then(|ms| ms.parse().ok())
            .expect("a number");
        let (least_ms, word) = if via == "sse" {
            (3000, "no capacity")
        } else {
            (1000, "subscriptions are open")
        };
        assert!(wait_ms >= least_ms && said.contains(word), "{via}: {said}");
    }
}
