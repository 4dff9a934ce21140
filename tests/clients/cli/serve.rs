//! `vidette serve`.

use std::process::Stdio;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Command;
use tokio::time::timeout;

use super::{VIDETTE, vidette};
use crate::common::gateway::{Gateway, PATIENCE, Setup};

#[tokio::test]
async fn it_logs_its_engine_its_log_and_its_address() {
    let mut gateway = Gateway::start();
    let epoch = gateway.get("/v1/bus").await["epoch"]
        .as_str()
        .expect("an epoch")
        .to_owned();
    gateway.publish_numbers("door.1", 3).await;
    assert!(gateway.terminate().await.success());
    gateway.start_again();
    let log = gateway.log();
    let parts = [
        format!("listening on http://{}", gateway.address()),
        "engine=\"sqlite\"".to_owned(),
        format!("epoch={epoch}"),
        "first=1".to_owned(),
        "last=3".to_owned(),
        gateway.data_dir().display().to_string(),
    ];
    for part in parts {
        assert!(log.contains(&part), "{part} is missing in {log}");
    }
}

#[tokio::test]
async fn its_log_can_be_json() {
    let gateway = Gateway::start_with(Setup {
        engine: "memory",
        env: vec![("VIDETTE_LOG_FORMAT".into(), "json".into())],
        flags: vec!["--listen".into(), "127.0.0.1:0".into()],
        ..Setup::default()
    });
    let lines: Vec<Value> = gateway
        .log()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}")))
        .collect();
    assert!(
        lines
            .iter()
            .any(|line| line["engine"] == "memory" && line["last"] == 0),
        "{lines:?}"
    );
}

#[tokio::test]
async fn sigterm_and_sigint_end_it_with_0() {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let mut gateway = Gateway::start();
        gateway.publish_numbers("door.1", 1).await;
        kill(
            Pid::from_raw(i32::try_from(gateway.pid()).expect("a pid")),
            signal,
        )
        .expect("it can be signalled");
        let status = gateway.ended().await;
        assert_eq!(status.code(), Some(0), "{signal} {}", gateway.log());
        assert!(
            gateway.log().contains("stopped"),
            "{signal} {}",
            gateway.log()
        );
    }
}

#[tokio::test]
async fn every_fault_of_a_configuration_is_told_at_once() {
    let folder = TempDir::new().expect("a folder");
    let config = "engine = \"paper\"\ncolour = \"blue\"\n[bus]\nheartbeat = \"soon\"\n[retention]\nmax_age = \"1s\"\n\
                  [legacy]\npath = \"backend\"\n[pages]\ndir = \"/nowhere/at/all\"\n";
    let path = folder.path().join("vidette.toml");
    std::fs::write(&path, config).expect("a file");
    let output = vidette(&["serve", "--config", path.to_str().expect("UTF-8")]).await;
    assert_eq!(output.code(), 64, "{output:?}");
    for part in [
        "paper",
        "colour",
        "bus.heartbeat",
        "retention.max_age",
        "legacy.path",
        "/nowhere/at/all",
    ] {
        assert!(
            output.stderr.contains(part),
            "{part} is missing in {}",
            output.stderr
        );
    }
}

#[tokio::test]
async fn a_configuration_that_is_no_toml_or_not_there_exits_with_64() {
    let folder = TempDir::new().expect("a folder");
    let path = folder.path().join("vidette.toml");
    std::fs::write(&path, "[bus\n").expect("a file");
    for config in [path.clone(), folder.path().join("missing.toml")] {
        let output = vidette(&["serve", "--config", config.to_str().expect("UTF-8")]).await;
        assert_eq!(output.code(), 64, "{output:?}");
        assert!(output.stderr.starts_with("vidette: "), "{output:?}");
    }
}

#[tokio::test]
async fn an_address_that_is_taken_is_told_and_exits_with_1() {
    let gateway = Gateway::in_memory();
    let address = gateway.address().to_string();
    let output = vidette(&["serve", "--engine", "memory", "--listen", &address]).await;
    assert_eq!(output.code(), 1, "{output:?}");
    assert!(
        output.stderr.contains(&address) && output.stderr.contains("--listen"),
        "{output:?}"
    );
}

#[tokio::test]
async fn it_listens_on_several_addresses() {
    let flags = vec!["--listen".to_owned(), "127.0.0.1:0".to_owned()];
    let gateway = Gateway::start_with(Setup {
        engine: "memory",
        flags,
        ..Setup::default()
    });
    gateway
        .until("both are logged", || async {
            gateway.log().matches("listening on http://").count() == 2
        })
        .await;
    let log = gateway.log();
    let urls = log
        .lines()
        .filter_map(|line| line.split_once("listening on "))
        .map(|(_, url)| url.trim().to_owned());
    for url in urls {
        assert!(
            reqwest::get(format!("{url}/healthz"))
                .await
                .expect("an answer")
                .status()
                .is_success(),
            "{url}"
        );
    }
}

#[tokio::test]
async fn the_demo_publishes_door_events() {
    let flags = vec!["--demo".to_owned()];
    let gateway = Gateway::start_with(Setup {
        engine: "memory",
        flags,
        ..Setup::default()
    });
    let answer = gateway
        .get("/v1/poll?topic=door.*&after=earliest&limit=1&wait=20")
        .await;
    let event = &answer["events"][0];
    let door = event["data"]["doorno"].as_u64().expect("a door");
    assert_eq!(event["topic"], format!("door.{door}"));
    assert!(
        event["type"] == "opened" || event["type"] == "refused",
        "{event}"
    );
    for field in ["rfsim", "optime", "ynopen"] {
        assert!(
            event["data"].get(field).is_some(),
            "{field} is missing in {event}"
        );
    }
}

#[tokio::test]
async fn it_goes_on_and_ends_with_0_when_nobody_reads_its_log_any_more() {
    let mut command = Command::new(VIDETTE);
    command
        .args(["serve", "--engine", "memory", "--listen", "127.0.0.1:0"])
        .stdin(Stdio::null());
    let mut child = command
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("it starts");
    let mut log = BufReader::new(child.stderr.take().expect("a pipe")).lines();
    let url = loop {
        let line = timeout(PATIENCE, log.next_line())
            .await
            .expect("a line in time")
            .expect("UTF-8")
            .expect("a line");
        if let Some((_, url)) = line.split_once("listening on ") {
            break url.trim().to_owned();
        }
    };
    drop(log);
    assert!(
        reqwest::get(format!("{url}/healthz"))
            .await
            .expect("an answer")
            .status()
            .is_success()
    );
    let pid = i32::try_from(child.id().expect("it runs")).expect("a pid");
    kill(Pid::from_raw(pid), Signal::SIGTERM).expect("it can be signalled");
    let status = timeout(PATIENCE, child.wait())
        .await
        .expect("it ends in time")
        .expect("an exit status");
    assert_eq!(status.code(), Some(0));
}
