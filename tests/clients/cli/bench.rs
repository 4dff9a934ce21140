//! `vidette bench`: what it counts, and that it notices what is wrong.

use std::convert::Infallible;
use std::process::Stdio;

use axum::Router;
use axum::extract::{Path, State};
use axum::response::sse::{Event, Sse};
use axum::routing::{get, post};
use futures_util::{Stream, StreamExt as _};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::process::Command;
use tokio::sync::broadcast;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::timeout;

use super::{VIDETTE, vidette};
use crate::common::gateway::{Gateway, PATIENCE, Setup};
use crate::tools::Output;

const SHORT: [&str; 5] = ["-n", "20", "-d", "1", "--json"];

/// Runs it; the text it prints is one JSON object, whether all was well or not.
pub(super) async fn bench(args: &[&str]) -> (Value, Output) {
    let output = vidette(&[&["bench"], args].concat()).await;
    let report = serde_json::from_str(&output.stdout).unwrap_or_else(|e| panic!("{e}: {output:?}"));
    (report, output)
}

fn assert_all_came(report: &Value, output: &Output) {
    assert!(output.status.success(), "{output:?}");
    let (publish, delivery) = (&report["publish"], &report["delivery"]);
    let machine = &report["machine"];
    assert!(machine["cpu_s"].as_f64() > Some(0.0), "{report}");
    assert!(machine["us_per_delivery"].is_number(), "{report}");
    let readers = report["readers"].as_u64().expect("a count");
    assert_eq!(report["ready"], readers, "{report}");
    let accepted = publish["accepted"].as_u64().expect("a count");
    assert!(accepted > 0, "{report}");
    assert_eq!(delivery["delivered"], accepted * readers, "{report}");
    assert_eq!(delivery["expected"], accepted * readers, "{report}");
    for nothing in [
        "missing",
        "repeated",
        "out_of_order",
        "strange",
        "readers_with_missing",
    ] {
        assert_eq!(delivery[nothing], 0, "{nothing} in {report}");
    }
    let columns = delivery["latency_histogram_us"]
        .as_array()
        .expect("columns");
    let counted: u64 = columns
        .iter()
        .map(|column| column[1].as_u64().expect("a count"))
        .sum();
    assert_eq!(
        delivery["delivered"], counted,
        "the columns hold every delivery"
    );
    assert!(
        delivery["latency_us"]["p50"].as_u64() <= delivery["latency_us"]["max"].as_u64(),
        "{report}"
    );
}

#[tokio::test]
async fn every_transport_gets_every_event_of_a_gateway_that_is_started_for_it() {
    let own: [&[&str]; 4] = [
        &["fanout", "-r", "50"],
        &["poll", "-r", "50"],
        &["grpc", "-r", "50", "-c", "3"],
        &["publish", "-b", "10"],
    ];
    for args in own {
        let (report, output) = bench(&[args, &SHORT, &["--engine", "memory"]].concat()).await;
        assert_all_came(&report, &output);
        assert!(
            report["server"]["rss_idle_bytes"].as_u64() > Some(1_000_000),
            "its own gateway is measured: {report}"
        );
    }
}

#[tokio::test]
async fn a_running_gateway_is_measured_on_many_topics_with_several_publishers() {
    let gateway = Gateway::in_memory();
    let (url, pid) = (gateway.url(), gateway.pid().to_string());
    gateway.publish_numbers("door.1", 10).await;
    for kind in ["fanout", "poll", "grpc"] {
        let args = [
            kind, "-n", "21", "-k", "7", "-p", "3", "-r", "70", "-d", "1", "--json", "--url", &url,
        ];
        // Its log has events, so nothing is written there before somebody has agreed.
        let refused = vidette(&[&["bench"], &args[..]].concat()).await;
        assert_eq!(refused.code(), 1, "{refused:?}");
        assert!(
            refused.stdout.is_empty() && refused.stderr.contains("give --yes"),
            "{refused:?}"
        );
        let (report, output) = bench(&[&args[..], &["--yes"]].concat()).await;
        assert!(output.status.success(), "{output:?}");
        assert!(
            output.stderr.contains("publishes to its topics bench."),
            "a log that others use is written to: {output:?}"
        );
        // Each event goes to the three readers of its topic.
        assert_eq!(
            (
                &report["publish"]["accepted"],
                &report["delivery"]["delivered"]
            ),
            (&70.into(), &210.into()),
            "{report}"
        );
        assert_eq!(
            (&report["delivery"]["missing"], &report["server"]),
            (&0.into(), &Value::Null),
            "{report}"
        );
    }
    let (report, _) = bench(&[
        "idle",
        "-n",
        "20",
        "--hold",
        "0.1",
        "--json",
        "--url",
        &url,
        "--server-pid",
        &pid,
    ])
    .await;
    assert!(
        report["server"]["rss_idle_bytes"].as_u64() > Some(1_000_000),
        "{report}"
    );
}

#[tokio::test]
async fn readers_that_wait_and_readers_that_resume_are_measured_on_every_transport() {
    for via in ["sse", "poll", "grpc"] {
        let (report, output) = bench(&[
            "idle", "-n", "50", "-k", "50", "--via", via, "--hold", "0.1", "--engine", "memory",
            "--json",
        ])
        .await;
        assert!(output.status.success(), "{output:?}");
        assert_eq!(
            (&report["ready"], &report["failed"], &report["lost"]),
            (&50.into(), &0.into(), &0.into()),
            "{report}"
        );

        let (report, output) = bench(
            &[
                &[
                    "resume", "--via", via, "--behind", "1500", "--live", "5", "--engine", "memory",
                ][..],
                &SHORT,
            ]
            .concat(),
        )
        .await;
        assert!(output.status.success(), "{output:?}");
        let resume = &report["resume"];
        assert_eq!(resume["caught_up"]["delivered"], 1500 * 20, "{report}");
        assert_eq!(
            (&resume["caught_up"]["missing"], &resume["live_wrong"]),
            (&0.into(), &0.into()),
            "{report}"
        );
    }
}

#[tokio::test]
async fn a_person_gets_text_with_a_histogram() {
    let text = vidette(&[
        "bench", "fanout", "-n", "5", "-r", "20", "-d", "1", "--engine", "memory",
    ])
    .await
    .ok();
    for part in [
        "5 of 5",
        "20 in 1.0 s",
        "100 of 100",
        "0 missing, 0 repeated, 0 out of order",
        "p99.9",
        "█",
        "machine ",
        "µs a delivery",
        "CPU s",
    ] {
        assert!(text.contains(part), "{part} is missing in {text}");
    }
}

/// What a server does wrong, to the event of this number.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wrong {
    Drops,
    Repeats,
    /// Sends the next one first.
    Swaps,
    /// Ends the stream.
    Cuts,
}

const WRONG_EVENT: usize = 5;

#[derive(Clone)]
struct Faulty {
    wrong: Wrong,
    published: UnboundedSender<String>,
    shown: broadcast::Sender<Option<String>>,
}

/// A server of Server-Sent Events that does one thing wrong.
async fn faulty(wrong: Wrong) -> String {
    let (published, events) = unbounded_channel();
    let state = Faulty {
        wrong,
        published,
        shown: broadcast::Sender::new(1000),
    };
    tokio::spawn(show(state.clone(), events));
    let router = Router::new()
        .route("/sub/{topic}", get(subscribe))
        .route("/pub/{topic}", post(publish));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    tokio::spawn(async { axum::serve(listener, router.with_state(state)).await });
    url
}

async fn show(Faulty { wrong, shown, .. }: Faulty, mut events: UnboundedReceiver<String>) {
    let mut held = None;
    let mut number = 0;
    while let Some(event) = events.recv().await {
        number += 1;
        let sent = match wrong {
            _ if number != WRONG_EVENT => [Some(event), held.take()].into(),
            Wrong::Drops => Vec::new(),
            Wrong::Repeats => vec![Some(event.clone()), Some(event)],
            Wrong::Swaps => {
                held = Some(event);
                Vec::new()
            }
            Wrong::Cuts => {
                let _ = shown.send(None);
                Vec::new()
            }
        };
        for event in sent.into_iter().flatten() {
            let _ = shown.send(Some(event));
        }
    }
}

async fn subscribe(
    State(faulty): State<Faulty>,
) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let shown = futures_util::stream::unfold(faulty.shown.subscribe(), async |mut shown| {
        let data = shown.recv().await.ok()??;
        Some((Ok(Event::default().data(data)), shown))
    });
    Sse::new(shown.boxed())
}

async fn publish(State(faulty): State<Faulty>, Path(_): Path<String>, data: String) {
    let _ = faulty.published.send(data);
}

#[tokio::test]
async fn a_server_that_drops_repeats_or_swaps_one_event_or_cuts_a_reader_is_found_out() {
    // Missing, repeated, out of order, lost: of 4 readers and 20 events.
    let cases = [
        (Wrong::Drops, [4, 0, 0, 0]),
        (Wrong::Repeats, [0, 4, 0, 0]),
        (Wrong::Swaps, [0, 0, 4, 0]),
        (Wrong::Cuts, [16 * 4, 0, 0, 4]),
    ];
    for (wrong, expected) in cases {
        let url = faulty(wrong).await;
        let (read, written) = (
            format!("{url}/sub/{{topic}}"),
            format!("{url}/pub/{{topic}}"),
        );
        let (report, output) = bench(&[
            "fanout",
            "-n",
            "4",
            "-r",
            "20",
            "-d",
            "1",
            "--drain",
            "0.3",
            "--url",
            &read,
            "--publish-url",
            &written,
            "--json",
        ])
        .await;
        assert_eq!(output.code(), 1, "{output:?}");
        let delivery = &report["delivery"];
        let found = [
            &delivery["missing"],
            &delivery["repeated"],
            &delivery["out_of_order"],
            &report["lost"],
        ];
        assert_eq!(
            found.map(|count| count.as_u64().expect("a count")),
            expected,
            "{report}"
        );
        assert!(
            output
                .stderr
                .contains("not every reader got every event once and in order"),
            "{output:?}"
        );
    }
}

#[tokio::test]
async fn what_cannot_be_measured_is_told() {
    let usage: [&[&str]; 7] = [
        &["bench"],
        &["bench", "fanout", "--url", "127.0.0.1:9"],
        &["bench", "fanout", "-n", "0"],
        &["bench", "fanout", "--rate", "fast"],
        &["bench", "fanout", "--publish-url", "http://127.0.0.1:9"],
        &["bench", "idle", "--via", "pigeon"],
        &["bench", "poll", "--churn", "1"],
    ];
    for args in usage {
        let output = vidette(args).await;
        assert_eq!(output.code(), 64, "{args:?} {output:?}");
    }
    let nobody = vidette(&["bench", "poll", "--url", "http://127.0.0.1:9"]).await;
    assert_eq!(nobody.code(), 1, "{nobody:?}");
    assert!(
        nobody.stderr.contains("no server answers at 127.0.0.1:9") && nobody.stdout.is_empty(),
        "one clear error, and no table of zeros: {nobody:?}"
    );
    let gateway = Gateway::start_with(Setup {
        engine: "memory",
        config: "[auth]\nanonymous = { subscribe = [\">\"] }".to_owned(),
        ..Setup::default()
    });
    let refused = vidette(&["bench", "publish", "-d", "1", "--url", &gateway.url()]).await;
    assert_eq!(refused.code(), 1, "{refused:?}");
    assert!(
        refused.stderr.contains("no event was accepted: ") && refused.stdout.is_empty(),
        "{refused:?}"
    );
    let too_many = vidette(&["bench", "idle", "-n", "1000000"]).await;
    assert!(
        too_many.code() == 1 && too_many.stderr.contains("open files"),
        "{too_many:?}"
    );
    let engine = vidette(&["bench", "idle", "--engine", "paper"]).await;
    assert!(
        engine.code() == 1 && engine.stderr.contains("paper"),
        "the gateway's own words are passed on: {engine:?}"
    );
}

#[tokio::test]
async fn an_interrupted_run_tells_what_it_has_measured() {
    let gateway = Gateway::in_memory();
    let mut bench = Command::new(VIDETTE);
    bench.args([
        "bench",
        "fanout",
        "-n",
        "5",
        "-r",
        "100",
        "-d",
        "600",
        "--json",
        "--url",
        &gateway.url(),
    ]);
    bench.stdout(Stdio::piped()).kill_on_drop(true);
    let bench = bench.spawn().expect("vidette bench starts");
    gateway
        .until("it publishes", async || {
            gateway.get("/v1/bus").await["last"].as_u64() > Some(20)
        })
        .await;
    let pid = i32::try_from(bench.id().expect("a pid")).expect("a pid");
    kill(Pid::from_raw(pid), Signal::SIGINT).expect("it can be interrupted");
    let output = timeout(PATIENCE, bench.wait_with_output())
        .await
        .expect("it ends in time")
        .expect("its output");
    assert!(output.status.success(), "{output:?}");
    let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert!(
        report["publish"]["accepted"].as_u64() > Some(20),
        "{report}"
    );
    assert_eq!(report["delivery"]["missing"], 0, "{report}");
}
