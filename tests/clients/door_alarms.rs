//! The service of `examples/door-alarms` in each language, while it and the gateway are killed.

use std::ops::Range;
use std::path::Path;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::common::gateway::{Gateway, Setup};
use crate::tools::{Running, root};

/// A language, and how its service is started in the repository.
macro_rules! services {
    ($($language:ident: $($argument:expr),+;)+) => {
        $(#[tokio::test]
        async fn $language() {
            no_kill_loses_or_doubles_an_alarm(&[$($argument),+]).await;
        })+
    };
}

services! {
    python: ".tools/venv/bin/python", "examples/door-alarms/python/door_alarms.py";
    node: "node", "examples/door-alarms/node/door-alarms.js";
    rust: &built_by_cargo("door-alarms");
}

/// An example of this package, which every `cargo test` builds with the tests.
fn built_by_cargo(name: &str) -> String {
    let program = Path::new(env!("CARGO_BIN_EXE_vidette"));
    let program = program.with_file_name("examples").join(name);
    assert!(program.is_file(), "run cargo build --example {name}");
    program.display().to_string()
}

async fn no_kill_loses_or_doubles_an_alarm(command: &[&str]) {
    let folder = TempDir::new().expect("a folder");
    let database = folder.path().join("alarms.db");
    let mut gateway = Gateway::start_on_a_port_of_its_own(Setup::default());
    let mut service = start(command, &gateway, &database);

    // The gateway is killed while events come, and so is the service.
    let publishing = tokio::spawn(publish(gateway.url(), 0..80));
    service.line_with("a20:").await;
    gateway.kill();
    gateway.start_again();
    service.line_with("a60:").await;
    kill(Pid::from_raw(service.pid()), Signal::SIGKILL).expect("it runs");
    publishing.await.expect("all are published");

    // Some come while the service is not there.
    publish(gateway.url(), 80..120).await;
    let mut service = start(command, &gateway, &database);
    service.line_with("a119:").await;

    let expected: Vec<_> = (0..120).map(row).collect();
    assert_eq!(rows(&database), expected, "{}", service.complaints());
}

fn start(command: &[&str], gateway: &Gateway, database: &Path) -> Running {
    let variables = [
        format!("VIDETTE_URL={}", gateway.url()),
        format!("ALARMS_DB={}", database.display()),
        format!("PYTHONPATH={}", root().join("clients/python/src").display()),
    ];
    let mut arguments = vec!["-C", root().to_str().expect("UTF-8")];
    arguments.extend(variables.iter().map(String::as_str));
    Running::start("env", &[&arguments, command].concat())
}

/// Publishes each alarm by itself until it is acknowledged, with events between that are none.
async fn publish(url: String, numbers: Range<u32>) {
    let client = reqwest::Client::new();

    for number in numbers {
        for event in [alarm(number), closed(number)] {
            let post = || client.post(format!("{url}/v1/events")).json(&event).send();
            while !post().await.is_ok_and(|answer| answer.status().is_success()) {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
    }
}

fn alarm(number: u32) -> Value {
    let (id, topic, seconds) = row(number);
    json!({ "id": id, "topic": topic, "type": "alarm", "data": { "open_seconds": seconds } })
}

fn closed(number: u32) -> Value {
    json!({ "id": format!("c{number}"), "topic": "door.1", "type": "closed", "data": {} })
}

/// What is in the database of an alarm.
fn row(number: u32) -> (String, String, u32) {
    (format!("a{number}"), format!("door.{}", number % 3), number)
}

/// The database's rows in the order in which they were written.
fn rows(database: &Path) -> Vec<(String, String, u32)> {
    let connection = rusqlite::Connection::open(database).expect("a database");
    let mut query = connection
        .prepare("SELECT id, door, seconds FROM alarms ORDER BY rowid")
        .expect("a table");
    let rows = query.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)));
    rows.expect("rows").map(|row| row.expect("a row")).collect()
}
