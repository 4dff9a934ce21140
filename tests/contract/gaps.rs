//! Lost events are reported, and retained ones are served without a gap (contract §2.3, §2.4, §3).

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use serde_json::json;

use crate::common::gateway::Gateway;
use crate::common::read::{ALL, Gap, Reader, Refused, Step, SubscribeParams, Transport};
use crate::common::steps::gaps_of;
use crate::support::{
    bounds, epoch, events_of, gateway, gateways, get, open, publish_one, refusal, until_first_is,
    vids_of,
};

/// A log that has trimmed the events 1 to 7 and keeps 8 to 12.
async fn trimmed(gateway: &Gateway) -> String {
    gateway.publish_numbers("door.1", 12).await;
    until_first_is(gateway, 8).await;
    epoch(gateway).await
}

const KEEP_FIVE: &str = "[retention]\nmax_events = 5";
/// The shortest retention that its heartbeat allows.
const KEEP_SECONDS: &str = "[bus]\nheartbeat = \"1s\"\n[retention]\nmax_age = \"3s\"";

fn gap(reason: &str, requested: &str, (first, last): (u64, u64), epoch: &str) -> Gap {
    Gap {
        reason: reason.into(),
        requested: requested.into(),
        first,
        last,
        epoch: epoch.into(),
    }
}

#[tokio::test]
async fn a_cursor_is_served_or_its_gap_is_told_before_the_next_event() {
    for (engine, gateway) in gateways(KEEP_FIVE) {
        let epoch = trimmed(&gateway).await;
        let full = |vid: u64| format!("{vid}-{epoch}");
        let of_another = |vid: &str| format!("{vid}-another1");
        let cases: [(String, Option<&str>, &[u64]); 17] = [
            ("earliest".into(), None, &[8, 9, 10, 11, 12]),
            ("0".into(), None, &[8, 9, 10, 11, 12]),
            (full(0), Some("expired"), &[8, 9, 10, 11, 12]),
            ("1".into(), Some("expired"), &[8, 9, 10, 11, 12]),
            ("6".into(), Some("expired"), &[8, 9, 10, 11, 12]),
            (full(6), Some("expired"), &[8, 9, 10, 11, 12]),
            ("7".into(), None, &[8, 9, 10, 11, 12]),
            (full(7), None, &[8, 9, 10, 11, 12]),
            ("8".into(), None, &[9, 10, 11, 12]),
            ("11".into(), None, &[12]),
            ("12".into(), None, &[]),
            (full(12), None, &[]),
            (of_another("0"), Some("reset"), &[8, 9, 10, 11, 12]),
            (of_another("6"), Some("reset"), &[8, 9, 10, 11, 12]),
            (of_another("12"), Some("reset"), &[8, 9, 10, 11, 12]),
            (of_another("13"), Some("reset"), &[8, 9, 10, 11, 12]),
            (
                of_another("9007199254740991"),
                Some("reset"),
                &[8, 9, 10, 11, 12],
            ),
        ];
        for (cursor, reason, expected) in cases {
            let gap = reason.map(|reason| gap(reason, &cursor, (8, 12), &epoch));
            for via in ALL {
                assert_continues(&gateway, via, &cursor, gap.as_ref(), expected, engine).await;
                assert_fails(&gateway, via, &cursor, gap.as_ref(), engine).await;
            }
        }
    }
}

/// `on_gap=continue`: hello, the gap, the events, caught up; nothing else.
async fn assert_continues(
    gw: &Gateway,
    via: Transport,
    cursor: &str,
    gap: Option<&Gap>,
    expected: &[u64],
    engine: &str,
) {
    let (steps, at) = open(via, gw, &SubscribeParams::after(cursor))
        .await
        .until_caught_up()
        .await;
    let what = format!("{engine} {via:?} after={cursor}: {steps:?}");
    assert_eq!(
        gaps_of(&steps),
        gap.into_iter().collect::<Vec<_>>(),
        "{what}"
    );
    if let Some(gap) = gap {
        assert_eq!(steps[1], Step::Gap(gap.clone()), "{what}");
    }
    assert_eq!(vids_of(&steps), expected, "{what}");
    assert_eq!(
        steps.len(),
        1 + gaps_of(&steps).len() + expected.len(),
        "{what}"
    );
    assert!(at.starts_with("12-"), "{what}");
}

/// `on_gap=fail`: refused with the same fields, or served as ever.
async fn assert_fails(gw: &Gateway, via: Transport, cursor: &str, gap: Option<&Gap>, engine: &str) {
    let params = SubscribeParams::after(cursor).fail_on_gap();
    match gap {
        Some(gap) => assert_eq!(
            refusal(via, gw, &params).await,
            Refused::Gap(gap.clone()),
            "{engine} {via:?} {cursor}"
        ),
        None => drop(open(via, gw, &params).await.until_caught_up().await),
    }
}

#[tokio::test]
async fn what_is_no_cursor_is_a_bad_request() {
    for (engine, gateway) in gateways(KEEP_FIVE) {
        let epoch = trimmed(&gateway).await;
        for cursor in [
            "9007199254740992",
            &format!("9007199254740992-{epoch}"),
            "99999999999999999999999999",
            "-1",
            "-abc",
            "-",
            "1042-",
            "1042-abc",
            "1042-ABCDEF",
            "1042-k3x9q2-k3x9q2",
            "1042-abcdefghijklmnopq",
            &format!("10-{epoch} "),
            "+10",
            " 10",
            "10.0",
            "1e1",
            "0x0a",
            "１０",
            "٣",
            "10\u{0}",
            "ten",
        ] {
            for via in ALL {
                for params in [
                    SubscribeParams::after(cursor),
                    SubscribeParams::after(cursor).fail_on_gap(),
                ] {
                    let refused = refusal(via, &gateway, &params).await;
                    assert!(
                        matches!(refused, Refused::BadRequest(_)),
                        "{engine} {via:?} {cursor:?}: {refused:?}"
                    );
                }
            }
        }
    }
}

#[tokio::test]
async fn a_cursor_from_the_future_is_waited_for_and_then_reading_goes_on_at_the_live_end() {
    let gateways = gateways(KEEP_FIVE);
    join_all(gateways.iter().map(|(engine, gateway)| async move {
        let epoch = trimmed(gateway).await;
        let cursors = [
            "13".to_owned(),
            format!("13-{epoch}"),
            "9007199254740991".to_owned(),
        ];
        let asked = cursors
            .iter()
            .flat_map(|cursor| ALL.map(|via| (cursor, via)));
        join_all(asked.map(|(cursor, via)| assert_ahead(gateway, via, cursor, &epoch, engine)))
            .await;
    }))
    .await;
}

async fn assert_ahead(gateway: &Gateway, via: Transport, cursor: &str, epoch: &str, engine: &str) {
    let expected = gap("ahead", cursor, (8, 12), epoch);
    let asked = Instant::now();
    let params = SubscribeParams::after(cursor);
    let failing = params.clone().fail_on_gap();
    let (mut reader, refused) =
        tokio::join!(open(via, gateway, &params), refusal(via, gateway, &failing));
    let (steps, at) = reader.until_caught_up().await;
    let waited = asked.elapsed();
    let what = format!("{engine} {via:?} {cursor}: {steps:?} after {waited:?}");
    assert_eq!(refused, Refused::Gap(expected.clone()), "{what}");
    assert_eq!(steps[1..], [Step::Gap(expected)], "{what}");
    assert_eq!(at, format!("12-{epoch}"), "{what}");
    assert!(
        waited >= Duration::from_millis(2900) && waited < Duration::from_secs(10),
        "{what}"
    );
}

#[tokio::test]
async fn a_cursor_from_the_future_that_the_log_reaches_in_time_is_served_without_a_gap() {
    for (engine, gateway) in gateways("") {
        gateway.publish_numbers("door.1", 2).await;
        let params = SubscribeParams::after("3").fail_on_gap();
        let reading = ALL.map(|via| {
            let (gateway, params) = (&gateway, &params);
            async move {
                let mut reader = open(via, gateway, params).await;
                (via, reader.event().await.0.vid)
            }
        });
        let publishing = async {
            // Each reader has one connection, and whoever asks for the metric, too.
            let are_waiting = || async { gateway.metric("vidette_connections").await >= 4.0 };
            gateway.until("all readers wait", are_waiting).await;
            gateway.publish_numbers("door.1", 2).await;
        };
        let (read, ()) = tokio::join!(join_all(reading), publishing);
        assert_eq!(read, ALL.map(|via| (via, 4)), "{engine}");
    }
}

#[tokio::test]
async fn a_gap_alone_ends_the_wait_of_a_poll() {
    let gateway = gateway("memory", KEEP_FIVE);
    trimmed(&gateway).await;
    let asked = Instant::now();
    let answer = get(&gateway, "/v1/poll?after=2&topic=nobody&wait=60")
        .await
        .json();
    assert_eq!(answer["gap"]["reason"], "expired");
    assert_eq!(
        (&answer["events"], &answer["vid"]),
        (&json!([]), &json!(12))
    );
    assert!(
        asked.elapsed() < Duration::from_secs(20),
        "the poll waited with its gap"
    );
}

#[tokio::test]
async fn a_gap_refused_over_http_is_a_410_that_names_the_remedy() {
    let gateway = gateway("memory", KEEP_FIVE);
    let epoch = trimmed(&gateway).await;
    for path in ["/v1/poll", "/v1/sse"] {
        let answer = get(&gateway, &format!("{path}?after=2-{epoch}&on_gap=fail")).await;
        let detail = answer.problem(410);
        assert!(
            detail.contains("after=earliest") && detail.contains("snapshot=true"),
            "{detail}"
        );
        let problem = answer.json();
        assert_eq!(
            (&problem["reason"], &problem["first"], &problem["last"]),
            (&json!("expired"), &json!(8), &json!(12))
        );
        assert_eq!(
            (&problem["requested"], &problem["epoch"]),
            (&json!(format!("2-{epoch}")), &json!(epoch))
        );
    }
}

#[tokio::test]
async fn a_log_that_age_has_emptied_keeps_its_place_also_after_a_restart() {
    for (engine, mut gateway) in gateways(KEEP_SECONDS) {
        let last = gateway.publish_numbers("door.1", 3).await;
        let epoch = epoch(&gateway).await;
        until_first_is(&gateway, 4).await;
        let bus = gateway.get("/v1/bus").await;
        assert_eq!(
            (&bus["last"], &bus["events"], &bus["bytes"]),
            (&json!(3), &json!(0), &json!(0)),
            "{engine}"
        );
        if engine == "sqlite" {
            gateway.kill();
            gateway.start_again();
            assert_eq!(bounds(&gateway).await, (4, 3), "after a restart");
        }
        let expired = |cursor: &str| Some(gap("expired", cursor, (4, 3), &epoch));
        let snapshot = SubscribeParams {
            snapshot: true,
            ..SubscribeParams::default()
        };
        let cases = [
            (SubscribeParams::earliest(), None),
            (snapshot, None),
            (SubscribeParams::after("0"), None),
            (SubscribeParams::after("3"), None),
            (SubscribeParams::after(last), None),
            (SubscribeParams::after("2"), expired("2")),
            (
                SubscribeParams::after(format!("0-{epoch}")),
                expired(&format!("0-{epoch}")),
            ),
        ];
        let mut readers = Vec::new();
        for (params, expected) in cases {
            for via in ALL {
                let mut reader = open(via, &gateway, &params).await;
                let (steps, at) = reader.until_caught_up().await;
                assert_eq!(
                    gaps_of(&steps),
                    expected.iter().collect::<Vec<_>>(),
                    "{engine} {via:?} {params:?}"
                );
                assert_eq!(
                    (vids_of(&steps), at),
                    (vec![], format!("3-{epoch}")),
                    "{engine} {via:?} {params:?}"
                );
                readers.push(reader);
            }
        }
        assert_eq!(
            publish_one(&gateway, "door.1", 4).await,
            4,
            "{engine}: no vid is given twice"
        );
        for mut reader in readers {
            assert_eq!(reader.event().await.0.vid, 4, "{engine}");
        }
    }
}

#[tokio::test]
async fn a_new_log_in_memory_is_told_as_a_reset_and_disk_resumes() {
    for (engine, mut gateway) in gateways("") {
        let cursor = gateway.publish_numbers("door.1", 3).await;
        gateway.kill();
        gateway.start_again();
        publish_one(&gateway, "door.1", 4).await;
        let (expected, vids) = match engine {
            "memory" => (
                Some(gap("reset", &cursor, (1, 1), &epoch(&gateway).await)),
                [1],
            ),
            _ => (None, [4]),
        };
        for via in ALL {
            let (steps, _) = open(via, &gateway, &SubscribeParams::after(&*cursor))
                .await
                .until_caught_up()
                .await;
            assert_eq!(
                gaps_of(&steps),
                expected.iter().collect::<Vec<_>>(),
                "{engine} {via:?}"
            );
            assert_eq!(vids_of(&steps), vids, "{engine} {via:?}");
        }
    }
}

#[tokio::test]
async fn an_idle_filtered_subscriber_keeps_a_cursor_that_resumes_without_a_gap() {
    let gateways = gateways(KEEP_SECONDS);
    join_all(gateways.iter().map(|(engine, gateway)| async move {
        let begun_at = publish_one(gateway, "other", 0).await;
        let idle = ALL.map(|via| idle_until_trimmed(gateway, via, begun_at));
        for (via, cursor) in join_all(idle).await {
            let params = SubscribeParams::after(&*cursor)
                .topic("door.1")
                .fail_on_gap();
            let (steps, _) = open(via, gateway, &params).await.until_caught_up().await;
            assert_eq!(events_of(&steps).len(), 0, "{engine} {via:?}");
        }
        let refused = refusal(
            Transport::Poll,
            gateway,
            &SubscribeParams::after(begun_at.to_string()).fail_on_gap(),
        )
        .await;
        assert!(
            matches!(refused, Refused::Gap(_)),
            "{engine}: the cursor it began with is gone: {refused:?}"
        );
    }))
    .await;
}

/// Waits for events that never come until the first cursor has been trimmed; gives the last cursor.
/// Whenever a heartbeat comes another event passes by.
async fn idle_until_trimmed(
    gateway: &Gateway,
    via: Transport,
    begun_at: u64,
) -> (Transport, String) {
    let mut cursor = begun_at.to_string();
    let mut reader = match via {
        Transport::Poll => None, // its position comes with each answer
        _ => Some(
            open(
                via,
                gateway,
                &SubscribeParams::after(&*cursor).topic("door.1"),
            )
            .await,
        ),
    };
    while bounds(gateway).await.0 <= begun_at + 1 {
        publish_one(gateway, "other", 1).await;
        cursor = if let Some(reader) = &mut reader {
            next_position(reader).await
        } else {
            let path = format!("/v1/poll?after={cursor}&topic=door.1&wait=0.8&on_gap=fail");
            get(gateway, &path).await.json()["cursor"]
                .as_str()
                .expect("a cursor")
                .to_owned()
        };
    }
    (via, cursor)
}

async fn next_position(reader: &mut Reader) -> String {
    loop {
        match reader.next().await.expect("no error").expect("no end") {
            Step::Progress(cursor) | Step::CaughtUp(cursor) => return cursor,
            Step::Hello { .. } => {}
            step => panic!("{step:?} came to a filter that nothing matches"),
        }
    }
}
