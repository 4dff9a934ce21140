//! A database with an outbox, and a gateway that reads it.

use std::process::Command;

use serde_json::Value;
use tokio_postgres::Client;

use crate::common::gateway::{Gateway, PATIENCE, Setup};
use crate::common::read::{Data, Seen, SubscribeParams, Transport, read_all};
use crate::database::Database;

/// What `vidette source postgres init --print` prints.
pub(crate) fn init(args: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_vidette"));
    let output = command
        .args(["source", "postgres", "init", "--print"])
        .args(args)
        .output()
        .expect("vidette");
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// A server whose database has an outbox.
pub(crate) async fn database() -> Database {
    let database = Database::start().await;
    database.psql(&init(&[]));
    database
}

/// The configuration of a source that reads the outbox, with more settings.
pub(crate) fn source(database: &Database, settings: &str) -> String {
    format!(
        "[[source.postgres]]\nname = \"doors\"\nurl = \"{}\"\n{settings}\n",
        database.url()
    )
}

/// A gateway that reads the outbox.
pub(crate) fn gateway(database: &Database, settings: &str) -> Gateway {
    gateway_with(database, settings, "")
}

/// The same with more sections.
pub(crate) fn gateway_with(database: &Database, settings: &str, sections: &str) -> Gateway {
    let config = format!("{sections}\n{}", source(database, settings));
    Gateway::start_on_a_port_of_its_own(Setup {
        config,
        ..Setup::default()
    })
}

/// The source as `/v1/bus` shows it.
pub(crate) async fn state(gateway: &Gateway) -> Value {
    gateway.get("/v1/bus").await["sources"][0].clone()
}

pub(crate) async fn until_state(gateway: &Gateway, expected: &str) -> Value {
    gateway
        .until(expected, || async {
            state(gateway).await["state"] == expected
        })
        .await;
    state(gateway).await
}

/// Waits until the log has so many events, dead letters too, and no fewer rows wait than are left.
pub(crate) async fn until_events(gateway: &Gateway, count: u64) -> Vec<Seen> {
    gateway
        .until("enough events", || async {
            gateway.get("/v1/bus").await["events"].as_u64() >= Some(count)
        })
        .await;
    events(gateway).await
}

/// All events but the gateway's own.
pub(crate) async fn events(gateway: &Gateway) -> Vec<Seen> {
    read_all(Transport::Poll, gateway, &SubscribeParams::earliest()).await
}

pub(crate) async fn dead_letters(gateway: &Gateway) -> Vec<Value> {
    let page = gateway
        .get("/v1/poll?topic=vidette.dead.postgres&after=earliest&wait=0")
        .await;
    page["events"].as_array().expect("events").clone()
}

/// The data of events, which are words.
pub(crate) fn words(events: &[Seen]) -> Vec<String> {
    let word = |event: &Seen| match &event.data {
        Data::Json(word) | Data::Text(word) => word.trim_matches('"').to_owned(),
        Data::Bytes(bytes) => panic!("{bytes:?} is no word"),
    };
    events.iter().map(word).collect()
}

/// Waits until no row waits any more.
pub(crate) async fn until_all_done(client: &Client) {
    let all_done = async {
        while waiting(client).await > 0 {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, all_done)
        .await
        .expect("all rows are done in time");
}

pub(crate) async fn waiting(client: &Client) -> i64 {
    number(
        client,
        "SELECT count(*) FROM vidette_outbox WHERE outcome IS NULL",
    )
    .await
}

/// A query's one number.
pub(crate) async fn number(client: &Client, sql: &str) -> i64 {
    client.query_one(sql, &[]).await.expect("an answer").get(0)
}

/// Writes one row in a transaction of its own.
pub(crate) async fn write(client: &Client, topic: &str, data: &str) {
    let sql = "INSERT INTO vidette_outbox (topic, data) VALUES ($1, $2)";
    client.execute(sql, &[&topic, &data]).await.expect("a row");
}
