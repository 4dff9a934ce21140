//! `vidette publish --ndjson` when it, the gateway or the network between them breaks off.

use std::fmt::Write as _;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{VIDETTE, vidette, vidette_with_input};
use crate::common::gateway::{Gateway, Setup};
use crate::network::Network;
use crate::tools::{Output, Running, run};

/// `{"topic":"a","data":1}` and so on, without ids.
pub(super) fn lines(numbers: std::ops::RangeInclusive<u64>) -> String {
    numbers.fold(String::new(), |mut text, n| {
        writeln!(text, "{{\"topic\":\"a\",\"data\":{n}}}").expect("a text");
        text
    })
}

/// What the log has: the data of all events.
pub(super) async fn data(gateway: &Gateway) -> Vec<u64> {
    let (mut numbers, mut after) = (Vec::new(), "earliest".to_owned());
    loop {
        let page = gateway.get(&format!("/v1/poll?after={after}&wait=0")).await;
        let events = page["events"].as_array().expect("events");
        if events.is_empty() {
            return numbers;
        }
        numbers.extend(
            events
                .iter()
                .map(|event| event["data"].as_u64().expect("a number")),
        );
        page["cursor"]
            .as_str()
            .expect("a cursor")
            .clone_into(&mut after);
    }
}

pub(super) fn each_once(numbers: std::ops::RangeInclusive<u64>) -> Vec<u64> {
    numbers.collect()
}

async fn until_last(gateway: &Gateway, vid: u64) {
    gateway
        .until("the line is an event", || async {
            gateway.get("/v1/bus").await["last"] == vid
        })
        .await;
}

fn gateway() -> Gateway {
    Gateway::start_on_a_port_of_its_own(Setup::default())
}

#[tokio::test]
async fn a_stream_goes_on_when_the_gateway_was_killed_and_comes_back() {
    let mut gateway = gateway();
    let url = gateway.url();
    let mut stream = Running::start(
        VIDETTE,
        &[
            "publish",
            "--ndjson",
            "-",
            "--id-prefix",
            "run",
            "--url",
            &url,
        ],
    );
    for round in 0..5 {
        stream
            .say(&lines(round * 1000 + 1..=round * 1000 + 1000))
            .await;
        // A command that has never reached a gateway does not wait for one.
        gateway
            .until("an event", || async {
                gateway.get("/v1/bus").await["last"] != 0
            })
            .await;
        gateway.kill();
        gateway.start_again();
    }
    let output = stream.end().await;
    assert_eq!(output.code(), 0, "{output:?}");
    assert!(
        output.stdout.starts_with("5000 events published"),
        "{output:?}"
    );
    assert_eq!(data(&gateway).await, each_once(1..=5000));
}

#[tokio::test]
async fn a_stream_goes_on_when_the_connection_is_cut_again_and_again() {
    let gateway = gateway();
    let network = Network::before(gateway.address()).await;
    let mut stream = Running::start(
        VIDETTE,
        &[
            "publish",
            "--ndjson",
            "--id-prefix",
            "run",
            "--url",
            &network.url(),
        ],
    );
    for round in 0..5 {
        stream
            .say(&lines(round * 1000 + 1..=round * 1000 + 1000))
            .await;
        gateway
            .until("an event", || async {
                gateway.get("/v1/bus").await["last"] != 0
            })
            .await;
        network.cut().await;
        network.mend();
    }
    let output = stream.end().await;
    assert_eq!(output.code(), 0, "{output:?}");
    assert!(output.stderr.contains("trying again"), "{output:?}");
    assert_eq!(data(&gateway).await, each_once(1..=5000));
}

#[tokio::test]
async fn a_gateway_that_shuts_down_is_waited_for() {
    let mut gateway = gateway();
    let url = gateway.url();
    let mut stream = Running::start(
        VIDETTE,
        &["publish", "--ndjson", "--id-prefix", "run", "--url", &url],
    );
    stream.say(&lines(1..=10)).await;
    until_last(&gateway, 10).await;
    gateway.terminate().await;
    stream.say(&lines(11..=20)).await;
    gateway.start_again();
    assert!(stream.end().await.ok().starts_with("20 events published"));
    assert_eq!(data(&gateway).await, each_once(1..=20));
}

#[tokio::test]
async fn lines_that_are_answered_need_no_id_to_go_on() {
    let mut gateway = gateway();
    let mut stream = Running::start(VIDETTE, &["publish", "--ndjson", "--url", &gateway.url()]);
    stream.say(&lines(1..=3)).await;
    until_last(&gateway, 3).await;
    // The answers are on their way, or there: the next line comes with a connection that is known
    // to be good.
    stream.say(&lines(4..=4)).await;
    until_last(&gateway, 4).await;
    gateway.kill();
    gateway.start_again();
    let output = stream.end().await;
    assert!(
        output.code() == 0 || output.stderr.contains("have no id"),
        "{output:?}"
    );
    assert_eq!(data(&gateway).await, each_once(1..=4), "none twice");
}

#[tokio::test]
async fn a_line_that_may_have_been_published_is_not_sent_again_without_an_id() {
    let gateway = gateway();
    let network = Network::before(gateway.address()).await;
    let mut stream = Running::start(VIDETTE, &["publish", "--ndjson", "--url", &network.url()]);
    stream.say(&lines(1..=2)).await;
    until_last(&gateway, 2).await;
    network.silence(); // answers do not arrive any more
    stream.say(&lines(3..=3)).await;
    until_last(&gateway, 3).await;
    network.cut().await;
    network.mend();
    let output = stream.end().await;
    assert_eq!(output.code(), 1, "{output:?}");
    assert!(
        output.stderr.contains("have no id") && output.stderr.contains("--from-line"),
        "{output:?}"
    );
    assert_eq!(data(&gateway).await, each_once(1..=3));
}

#[tokio::test]
async fn a_gateway_that_stays_away_is_given_up_with_the_line_to_go_on_with() {
    let mut gateway = gateway();
    let url = gateway.url();
    let args = [
        "publish",
        "--ndjson",
        "--id-prefix",
        "run",
        "--retry-for",
        "300ms",
        "--url",
        &url,
    ];
    let mut stream = Running::start(VIDETTE, &args);
    stream.say(&lines(1..=7)).await;
    until_last(&gateway, 7).await;
    gateway.kill();
    stream.say(&lines(8..=9)).await;
    let output = stream.end().await;
    assert_eq!(output.code(), 1, "{output:?}");
    assert!(
        output.stderr.contains("go on with --from-line"),
        "{output:?}"
    );

    // What is given again from there on is published, and what was published before is known.
    gateway.start_again();
    let line = output
        .stderr
        .rsplit("--from-line ")
        .next()
        .and_then(|n| n.trim().parse::<u64>().ok())
        .expect("a line");
    assert!((1..=8).contains(&line), "{line}");
    let again = [
        "publish",
        "--ndjson",
        "--id-prefix",
        "run",
        "--from-line",
        &line.to_string(),
        "--url",
        &url,
    ];
    vidette_with_input(&again, &lines(1..=9)).await.ok();
    assert_eq!(data(&gateway).await, each_once(1..=9));
}

#[tokio::test]
async fn a_first_connection_that_fails_is_told_at_once() {
    let output = vidette_with_input(
        &["publish", "--ndjson", "--url", "http://127.0.0.1:9"],
        &lines(1..=1),
    )
    .await;
    assert_eq!(output.code(), 1);
    assert!(
        output.stderr.contains("no gateway at http://127.0.0.1:9"),
        "{output:?}"
    );
}

#[tokio::test]
async fn a_gateway_that_is_not_up_yet_is_waited_for_where_patience_is_asked_for() {
    let mut gateway = gateway();
    let url = gateway.url();
    gateway.kill();
    let args = ["publish", "--ndjson", "--retry-for", "60s", "--url", &url];
    let mut stream = Running::start(VIDETTE, &args);
    stream.say(&lines(1..=3)).await;
    let is_told = || async { stream.complaints().contains("trying again") };
    gateway.until("it has tried in vain", is_told).await;
    gateway.start_again();
    assert!(stream.end().await.ok().starts_with("3 events published"));
    assert_eq!(data(&gateway).await, each_once(1..=3));
}

#[tokio::test]
async fn an_interrupted_stream_says_where_to_go_on_and_a_second_run_doubles_nothing() {
    let gateway = gateway();
    let url = gateway.url();
    let folder = TempDir::new().expect("a folder");
    let file = folder.path().join("events.ndjson");
    std::fs::write(&file, lines(1..=300)).expect("a file");
    let file = file.to_str().expect("UTF-8");

    let mut stream = Running::start(
        VIDETTE,
        &["publish", "--ndjson", "--id-prefix", "run", "--url", &url],
    );
    stream.say(&lines(1..=100)).await;
    until_last(&gateway, 100).await;
    kill(Pid::from_raw(stream.pid()), Signal::SIGINT).expect("it is there");
    let output = stream.ended().await;
    assert_eq!(output.code(), 130, "{output:?}");
    assert!(
        output
            .stderr
            .contains("100 events are published; go on with --from-line 101"),
        "{output:?}"
    );

    let from = vidette(&[
        "publish",
        "--ndjson",
        file,
        "--id-prefix",
        "run",
        "--from-line",
        "101",
        "--url",
        &url,
    ])
    .await;
    assert!(from.ok().starts_with("200 events published"));
    let all = vidette(&[
        "publish",
        "--ndjson",
        file,
        "--id-prefix",
        "run",
        "--url",
        &url,
    ])
    .await
    .ok();
    assert!(
        all.starts_with("300 events published") && all.contains(" 300 of them known already"),
        "{all}"
    );
    assert_eq!(data(&gateway).await, each_once(1..=300));
}

#[tokio::test]
async fn ids_come_from_line_numbers_where_lines_have_none() {
    let gateway = gateway();
    let input = "{\"topic\":\"a\",\"data\":1}\n\n{\"topic\":\"a\",\"id\":\"own\",\"data\":1.50}\nnonsense\n{\"topic\":\"a\",\"data\":2}\n";
    let args = [
        "publish",
        "--ndjson",
        "-",
        "--id-prefix",
        "run",
        "--url",
        &gateway.url(),
    ];
    let output = vidette_with_input(&args, input).await;
    assert_eq!(output.code(), 1, "{output:?}");
    assert!(
        output.stderr.contains("line 4: ") && output.stderr.contains("1 lines were not published"),
        "{output:?}"
    );
    let events = gateway.get("/v1/poll?after=earliest&wait=0").await["events"].clone();
    let ids: Vec<&Value> = events
        .as_array()
        .expect("events")
        .iter()
        .map(|event| &event["id"])
        .collect();
    assert_eq!(ids, [&json!("run:1"), &json!("own"), &json!("run:5")]);
    assert_eq!(events[1]["data"].to_string(), "1.5");
}

#[tokio::test]
async fn a_line_that_is_too_long_is_told_and_passed_over() {
    let gateway = gateway();
    let input = format!(
        "{}{}\n{}",
        lines(1..=1),
        "x".repeat(6 * 1024 * 1024),
        lines(2..=2)
    );
    let output =
        vidette_with_input(&["publish", "--ndjson", "--url", &gateway.url()], &input).await;
    assert_eq!(output.code(), 1);
    assert!(
        output.stderr.contains("line 2: it has more than"),
        "{}",
        output.stderr
    );
    assert_eq!(data(&gateway).await, [1, 2]);
}

#[tokio::test]
async fn the_input_is_not_read_on_while_the_gateway_takes_nothing() {
    let gateway = gateway();
    let network = Network::before(gateway.address()).await;
    let url = network.url();
    let mut stream = Running::start(
        VIDETTE,
        &["publish", "--ndjson", "--id-prefix", "run", "--url", &url],
    );
    stream.say(&lines(1..=1)).await;
    until_last(&gateway, 1).await;
    network.silence();
    // 64 MiB do not fit into what the command keeps and the pipes hold: writing has to stand still.
    let line = format!(
        "{{\"topic\":\"a\",\"data\":\"{}\"}}\n",
        "x".repeat(64 * 1024)
    );
    let written = async {
        for _ in 0..1024 {
            stream.say(&line).await;
        }
    };
    assert!(
        tokio::time::timeout(Duration::from_secs(3), written)
            .await
            .is_err(),
        "it was all read"
    );
}

/// Runs a command on a terminal.
async fn on_a_terminal(command: &str) -> Output {
    run("script", &["-qefc", command, "/dev/null"]).await
}

#[tokio::test]
async fn a_terminal_shows_a_bar_for_a_file_and_anything_else_shows_none() {
    let gateway = gateway();
    let folder = TempDir::new().expect("a folder");
    let file = folder.path().join("events.ndjson");
    std::fs::write(&file, lines(1..=3000)).expect("a file");
    let command = format!(
        "{VIDETTE} publish --ndjson {} --url {}",
        file.display(),
        gateway.url()
    );
    let shown = on_a_terminal(&command).await.ok();
    assert!(shown.contains('█') && shown.contains("% "), "{shown:?}");
    assert!(shown.contains("3000 events published"), "{shown:?}");
    let piped = vidette(&[
        "publish",
        "--ndjson",
        file.to_str().expect("UTF-8"),
        "--url",
        &gateway.url(),
    ])
    .await;
    assert_eq!(piped.stderr, "");
}
