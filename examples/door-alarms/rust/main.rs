//! Writes every alarm of a door into a database, each exactly once.
//!
//! The row and the position behind its event are written in one transaction. So whatever is killed,
//! and whenever: the service goes on behind the last row, and no alarm is missing or there twice.

use std::env;
use std::error::Error;

use rusqlite::{Connection, OptionalExtension as _, params};
use serde::Deserialize;
use tokio_stream::StreamExt as _;
use vidette::client::{Client, ReadItem, ReadOptions, ReceivedEvent};

const TABLES: &str = "
CREATE TABLE IF NOT EXISTS alarms (id TEXT NOT NULL, door TEXT NOT NULL, seconds INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS position (one INTEGER PRIMARY KEY CHECK (one = 1), cursor TEXT NOT NULL);
";

#[derive(Deserialize)]
struct Alarm {
    open_seconds: i64,
}

/// Follows until it is stopped; lost connections are the library's work.
#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut db = Connection::open(variable("ALARMS_DB", "alarms.db"))?;
    db.execute_batch(TABLES)?;

    let client = Client::new(&variable("VIDETTE_URL", "http://127.0.0.1:8080"))?;
    let after = saved_cursor(&db)?;
    let mut reader = client.read(ReadOptions::new().topic("door.*").after(&after));

    while let Some(item) = reader.next().await {
        match item? {
            ReadItem::Event(event) => handle(&mut db, &event)?,
            // The service was away for longer than events are retained.
            ReadItem::Gap(gap) => println!("alarms may be missing: {gap}"),
            _ => {}
        }
    }
    Ok(())
}

/// Where the last run came to; at first, the oldest event that is retained.
fn saved_cursor(db: &Connection) -> rusqlite::Result<String> {
    let saved = db.query_row("SELECT cursor FROM position", [], |row| row.get(0));
    Ok(saved.optional()?.unwrap_or_else(|| "earliest".to_owned()))
}

/// The row and the position: both or none.
fn handle(db: &mut Connection, event: &ReceivedEvent) -> Result<(), Box<dyn Error>> {
    let is_alarm = event.kind.as_deref() == Some("alarm");
    let transaction = db.transaction()?;

    if is_alarm {
        let Alarm { open_seconds } = event.json()?;
        let row = params![event.id, event.topic, open_seconds];
        transaction.execute("INSERT INTO alarms VALUES (?, ?, ?)", row)?;
    }
    let cursor = event.cursor.to_string();
    transaction.execute("REPLACE INTO position VALUES (1, ?)", [cursor])?;
    transaction.commit()?;

    let (id, kind) = (event.id.as_deref(), event.kind.as_deref());
    println!(
        "{}: {} of {}",
        id.unwrap_or("?"),
        kind.unwrap_or("?"),
        event.topic
    );
    Ok(())
}

/// A variable of the environment, or its default.
fn variable(name: &str, default: &str) -> String {
    env::var(name).unwrap_or_else(|_| default.to_owned())
}
