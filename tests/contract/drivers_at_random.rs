//! Random events, read from random places in random pieces on both connection drivers: the same
//! bytes, and by a parser of its own exactly the events that match.

use proptest::prelude::*;
use proptest::test_runner::{Config, TestError, TestRunner};
use serde_json::{Value, json};

use crate::common::gateway::Gateway;
use crate::common::sse::Parser;
use crate::drivers::{Answer, BY_HYPER, ask, get};
use crate::support::{bounds, gateway, post_events};

/// Scripts by default; `PROPTEST_CASES` is for more.
const CASES: u32 = 100;
const TOPICS: [&str; 5] = ["r.a", "r.b", "r.b.c", "s.a", "门.3"];
/// Each with the topics that it takes in.
const FILTERS: [(&str, &[&str]); 5] = [
    ("r.a", &["r.a"]),
    ("r.*", &["r.a", "r.b"]),
    ("r.>", &["r.a", "r.b", "r.b.c"]),
    ("%3E", &TOPICS),
    ("s.a&topic=%E9%97%A8.*", &["s.a", "门.3"]),
];

#[derive(Debug, Clone)]
struct Draft {
    topic: usize,
    kind: Option<&'static str>,
    data: String,
}

#[derive(Debug, Clone)]
struct Read {
    filter: usize,
    /// So many of the events have been seen.
    seen: usize,
    limit: Option<usize>,
    raw: bool,
    /// Of the pieces in which each driver's answer is read.
    seeds: (u64, u64),
}

fn drafts() -> impl Strategy<Value = Vec<Draft>> {
    let line = prop_oneof![
        "[ -~]{0,40}",
        "\\PC{0,12}",
        Just("data: x".to_owned()),
        Just("id: 7".to_owned())
    ];
    let end = prop_oneof![
        Just("\n"),
        Just("\r"),
        Just("\r\n"),
        Just("\n\n"),
        Just(""),
        Just("\u{2028}"),
        Just("\0")
    ];
    let data = prop::collection::vec((line, end), 0..6);
    let data = data.prop_map(|lines| {
        lines
            .into_iter()
            .flat_map(|(line, end)| [line, end.to_owned()])
            .collect()
    });
    let data = prop_oneof![9 => data, 1 => (1000..90_000_usize).prop_map(|size| "x".repeat(size))];
    let kind = prop::option::of(prop_oneof![Just("opened"), Just("message")]);
    let draft =
        (0..TOPICS.len(), kind, data).prop_map(|(topic, kind, data)| Draft { topic, kind, data });
    prop::collection::vec(draft, 1..40)
}

fn reads() -> impl Strategy<Value = Vec<Read>> {
    let read = (
        0..FILTERS.len(),
        0..40_usize,
        prop::option::of(1..30_usize),
        any::<bool>(),
        any::<(u64, u64)>(),
    );
    let read = read.prop_map(|(filter, seen, limit, raw, seeds)| Read {
        filter,
        seen,
        limit,
        raw,
        seeds,
    });
    prop::collection::vec(read, 1..6)
}

/// Runs the check on many values, with one gateway for all.
fn check<S: Strategy>(strategy: &S, check: &impl AsyncFn(&Gateway, S::Value) -> Result<(), String>)
where
    S::Value: Clone + std::fmt::Debug,
{
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let gateway = gateway("memory", "");
    let mut config = Config {
        failure_persistence: None,
        ..Config::default()
    };
    if std::env::var_os("PROPTEST_CASES").is_none() {
        config.cases = CASES;
    }
    let tried = TestRunner::new(config).run(strategy, |value| {
        runtime
            .block_on(check(&gateway, value))
            .map_err(TestCaseError::fail)
    });
    match tried {
        Ok(()) => {}
        Err(TestError::Fail(why, value)) => panic!("{why}\n{value:?}"),
        Err(TestError::Abort(why)) => panic!("nothing to try: {why}"),
    }
}

#[test]
fn whatever_is_published_arrives_the_same_on_both_drivers() {
    check(&(drafts(), reads()), &async |gateway, (drafts, reads)| {
        let before = bounds(gateway).await.1;
        let batch = drafts.iter().map(|draft| {
            let mut event = json!({ "topic": TOPICS[draft.topic], "data": draft.data, "content_type": "text/plain" });
            if let Some(kind) = draft.kind {
                event["type"] = kind.into();
            }
            event
        });
        let answer = post_events(gateway, batch.collect::<Value>().to_string()).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        for read in reads {
            streams_agree(gateway, before, &drafts, &read)
                .await
                .map_err(|why| format!("{read:?}: {why}"))?;
            polls_agree(gateway, before, &drafts, &read)
                .await
                .map_err(|why| format!("{read:?}: {why}"))?;
        }
        Ok(())
    });
}

/// The vids and data that a read has to bring.
fn expected(before: u64, drafts: &[Draft], read: &Read) -> Vec<(u64, String)> {
    let events = (before + 1..).zip(drafts).skip(read.seen);
    let wanted = events.filter(|(_, draft)| FILTERS[read.filter].1.contains(&TOPICS[draft.topic]));
    let data = |text: &str| text.replace("\r\n", "\n").replace('\r', "\n");
    wanted
        .take(read.limit.unwrap_or(usize::MAX))
        .map(|(vid, draft)| (vid, data(&draft.data)))
        .collect()
}

fn query(before: u64, read: &Read) -> String {
    let after = before + read.seen as u64;
    let limit = read
        .limit
        .map(|limit| format!("&limit={limit}"))
        .unwrap_or_default();
    format!(
        "after={after}&topic={}&wait=0{limit}",
        FILTERS[read.filter].0
    )
}

async fn on_both(gateway: &Gateway, target: &str, read: &Read) -> Result<Answer, String> {
    let direct = get(gateway, target, "", read.seeds.0).await;
    let by_hyper = get(gateway, target, BY_HYPER, read.seeds.1).await;
    if direct == by_hyper {
        Ok(direct)
    } else {
        Err(format!("{target}: {direct:?}, by hyper {by_hyper:?}"))
    }
}

async fn streams_agree(
    gateway: &Gateway,
    before: u64,
    drafts: &[Draft],
    read: &Read,
) -> Result<(), String> {
    // Behind the end of the log a cursor is waited for.
    let read = &Read {
        seen: read.seen.min(drafts.len()),
        ..read.clone()
    };
    let format = if read.raw { "&format=raw" } else { "" };
    let answer = on_both(
        gateway,
        &format!("/v1/sse?{}{format}", query(before, read)),
        read,
    )
    .await?;
    let blocks = Parser::default().feed(&answer.body);
    let events = blocks
        .into_iter()
        .filter(|block| block.has_id && !block.event.starts_with("vidette."));
    let found: Vec<(u64, String)> = events
        .map(|block| {
            let vid = block
                .last_event_id
                .split('-')
                .next()
                .and_then(|vid| vid.parse().ok())
                .expect("a vid");
            let data = block.data.unwrap_or_default();
            if read.raw {
                return (vid, data);
            }
            let event: Value = serde_json::from_str(&data).expect("an event");
            (
                vid,
                event["data"]
                    .as_str()
                    .expect("a text")
                    .replace("\r\n", "\n")
                    .replace('\r', "\n"),
            )
        })
        .collect();
    let expected = expected(before, drafts, read);
    if found == expected {
        Ok(())
    } else {
        Err(format!("the stream had {found:?}, expected {expected:?}"))
    }
}

async fn polls_agree(
    gateway: &Gateway,
    before: u64,
    drafts: &[Draft],
    read: &Read,
) -> Result<(), String> {
    let read = &Read {
        seen: read.seen.min(drafts.len()),
        ..read.clone()
    };
    let answer = on_both(gateway, &format!("/v1/poll?{}", query(before, read)), read).await?;
    let page: Value = serde_json::from_slice(&answer.body).map_err(|e| e.to_string())?;
    let vids = page["events"]
        .as_array()
        .expect("events")
        .iter()
        .map(|event| event["vid"].as_u64().expect("a vid"));
    let expected = expected(before, drafts, read);
    if vids.clone().eq(expected.iter().map(|(vid, _)| *vid)) {
        Ok(())
    } else {
        Err(format!(
            "the poll had {:?}, expected {expected:?}",
            vids.collect::<Vec<_>>()
        ))
    }
}

#[test]
fn a_post_is_answered_the_same_on_both_drivers() {
    let good = ("[a-z]{1,4}", "[ -~]{0,30}")
        .prop_map(|(topic, data)| json!({ "topic": topic, "data": data }).to_string());
    let bad = prop_oneof![
        "[ -~]{0,40}",
        Just("{\"topic\":\"a..b\"}".to_owned()),
        Just("[]".to_owned())
    ];
    check(&(prop_oneof![good, bad], any::<u64>()), &async |gateway,
                                                           (
        body,
        seed,
    )| {
        let head =
            "POST /v1/events HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n";
        let length = body.len();
        let direct = ask(
            gateway,
            &format!("{head}Content-Length: {length}\r\n\r\n{body}"),
            seed,
        )
        .await;
        let chunk = if body.is_empty() {
            String::new()
        } else {
            format!("{length:x}\r\n{body}\r\n")
        };
        let chunked = format!("{head}Transfer-Encoding: chunked\r\n\r\n{chunk}0\r\n\r\n");
        let by_hyper = ask(gateway, &chunked, seed).await;
        let is_same = match (direct.status, by_hyper.status) {
            (200, 200) => without_vids(&direct) == without_vids(&by_hyper),
            _ => direct == by_hyper,
        };
        if is_same {
            Ok(())
        } else {
            Err(format!("{direct:?}, by hyper {by_hyper:?}"))
        }
    });
}

/// The answer's shape: two events have two vids.
fn without_vids(answer: &Answer) -> (Vec<(String, String)>, Vec<String>) {
    let body: Value = serde_json::from_slice(&answer.body).expect("an answer");
    let names = body
        .as_object()
        .map(|fields| fields.keys().cloned().collect())
        .unwrap_or_default();
    (answer.headers.clone(), names)
}
