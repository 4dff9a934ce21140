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
    go: ".tools/bin/door-alarms-go";
    node: "node", "examples/door-alarms/node/door-alarms.js";
    php: "php", "examples/door-alarms/php/door-alarms.php";
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

    // The gateway is killed while it is published to and read from.
    let publishing = tokio::spawn(publish_one_by_one(gateway.url(), 0..20));
    service.line_with("a10:").await;
    gateway.kill();
    gateway.start_again();
    publishing.await.expect("all are published");

    // The service is killed at any moment while it writes, and others come while it is not there.
    gateway.publish(&(20..60).map(alarm).collect()).await;
    service.line_with("a25:").await;
    let moment = Duration::from_micros(fastrand::u64(..100_000));
    tokio::time::sleep(moment).await;
    kill(Pid::from_raw(service.pid()), Signal::SIGKILL).expect("it runs");
    gateway.publish(&(60..80).map(alarm).collect()).await;
    let mut service = start(command, &gateway, &database);
    service.line_with("a79:").await;

    let expected: Vec<_> = (0..80).map(row).collect();
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

/// Publishes each alarm until it is acknowledged, and behind it an event that is none.
async fn publish_one_by_one(url: String, numbers: Range<u32>) {
    let client = reqwest::Client::new();

    for number in numbers {
        for event in [alarm(number), closed(number)] {
            let post = || client.post(format!("{url}/v1/events")).json(&event).send();
            while !post()
                .await
                .is_ok_and(|answer| answer.status().is_success())
            {
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
