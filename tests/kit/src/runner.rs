//! Runs one scenario: server, adapter, steps, verdict.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::adapter::Adapter;
use crate::record::{Record, Seen};
use crate::scenario::Scenario;
use crate::server::Server;
use crate::verdict::judge;

/// How long a socket may be left after `close`.
const MOST_CLOSING: Duration = Duration::from_secs(1);

/// How one scenario ended.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Outcome {
    pub(crate) scenario: String,
    pub(crate) title: String,
    /// The adapter lacks what this needs.
    pub(crate) unsupported: bool,
    pub(crate) wrong: Vec<String>,
    pub(crate) library: String,
    pub(crate) milliseconds: u64,
}

/// Plays scenarios with one command, over as few processes as the adapter allows.
#[derive(Debug)]
pub(crate) struct Player<'a> {
    command: &'a [String],
    /// How long one step may wait for what it awaits.
    patience: Duration,
    /// A process that has played well and can play again.
    spare: Option<Adapter>,
}

impl<'a> Player<'a> {
    pub(crate) fn new(command: &'a [String], patience: Duration) -> Self {
        Self {
            command,
            patience,
            spare: None,
        }
    }

    /// An adapter for a server at this address.
    fn adapter(
        &mut self,
        scenario: &Scenario,
        server: &Server,
        record: &Arc<Record>,
    ) -> io::Result<Adapter> {
        let url = format!("http://{}", server.address());
        let waits = scenario.waits_factor;
        if let Some(mut adapter) = self.spare.take() {
            adapter.reset(&url, waits, record)?;
            return Ok(adapter);
        }
        Adapter::start(self.command, &url, waits, &log_file(server), record)
    }

    /// Ends the process that is left; false when it did not end well.
    pub(crate) fn ends_well(&mut self) -> bool {
        self.spare
            .take()
            .is_none_or(|mut adapter| adapter.ends_well())
    }

    /// Plays one scenario from start to verdict.
    pub(crate) fn play(&mut self, scenario: &Scenario) -> io::Result<Outcome> {
        let started = Instant::now();
        let record = Arc::new(Record::default());
        let server = Server::bind(scenario, Arc::clone(&record))?;
        if scenario.listening {
            server.listen()?;
        }

        let mut adapter = self.adapter(scenario, &server, &record)?;
        let stopped = drive(scenario, &server, &mut adapter, &record, self.patience);
        if scenario.drive.iter().any(|step| step["do"] == "close") {
            look_for_sockets(&record);
        }
        let plays_on =
            stopped.is_none() && record.look(|seen| seen.wrong.is_empty() && seen.resets());
        if !plays_on && !adapter.ends_well() {
            let what = "the adapter did not end well at the end of its stdin";
            wrong(&record, what.into());
        }
        record.change(|seen| seen.over = true);
        server.stop();

        let mut outcome = record.look(|seen| outcome(scenario, seen));
        outcome.wrong.extend(stopped);
        outcome.wrong.extend(server.left_over());
        let all_well = outcome.wrong.is_empty();
        outcome.wrong.extend(log_tail(adapter.log(), all_well));
        if outcome.unsupported {
            outcome.wrong.clear();
        }
        if plays_on && all_well {
            self.spare = Some(adapter);
        }
        outcome.milliseconds = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
        Ok(outcome)
    }
}

/// Takes the steps; what stopped them, if anything did.
fn drive(
    scenario: &Scenario,
    server: &Arc<Server>,
    adapter: &mut Adapter,
    record: &Record,
    patience: Duration,
) -> Option<String> {
    for (number, step) in scenario.drive.iter().enumerate() {
        if let Err(error) = take_step(step, server, adapter, record, patience) {
            return Some(format!("step {number} {step}: {error}"));
        }
    }
    None
}

fn take_step(
    step: &Value,
    server: &Arc<Server>,
    adapter: &mut Adapter,
    record: &Record,
    patience: Duration,
) -> io::Result<()> {
    if step["do"].is_string() {
        return adapter.tell(&with_saved_cursor(step, record));
    }
    if step["listen"].is_boolean() {
        return server.listen();
    }
    if let Some(ms) = step["pause_ms"].as_u64() {
        thread::sleep(Duration::from_millis(ms));
        return Ok(());
    }

    let awaited = step["await"]
        .as_object()
        .ok_or(io::ErrorKind::InvalidInput)?;
    for (what, count) in awaited {
        let count = usize::try_from(count.as_u64().unwrap_or(1)).unwrap_or(usize::MAX);
        let so = |seen: &Seen| counted(seen, what) >= count;
        record.wait_until(patience, |seen| so(seen) || cannot_go_on(seen, what));
        if !record.look(so) {
            let found = record.look(|seen| counted(seen, what));
            return Err(io::Error::other(format!("{found} came in time")));
        }
    }
    Ok(())
}

/// How much of what a step awaits has come.
fn counted(seen: &Seen, what: &str) -> usize {
    match what {
        "handed" => seen.handed.len(),
        "waits" => seen.waits.len(),
        "requests" => seen.requests.len(),
        say => seen.count(say),
    }
}

/// Whether what is awaited can no longer come.
fn cannot_go_on(seen: &Seen, what: &str) -> bool {
    let failed = seen.count("error") > 0 && what != "ended";
    failed || seen.gone || seen.count("unsupported") > 0
}

/// `"$cursor"` stands for the cursor of the latest `state`.
fn with_saved_cursor(step: &Value, record: &Record) -> Value {
    let mut step = step.clone();
    if step["after"] == "$cursor" {
        step["after"] = record.look(|seen| {
            let state = seen.lines("state").last();
            state.map_or(Value::Null, |state| state["cursor"].clone())
        });
    }
    step
}

pub(crate) fn look_for_sockets(record: &Record) {
    if !record.wait_until(MOST_CLOSING, |seen| seen.sockets_left() == 0) {
        let left = record.look(Seen::sockets_left);
        wrong(
            record,
            format!("{left} sockets are left a second after close"),
        );
    }
}

fn wrong(record: &Record, what: String) {
    record.change(|seen| seen.wrong.push(what));
}

fn outcome(scenario: &Scenario, seen: &Seen) -> Outcome {
    let ready = seen.lines("ready").next();
    let library = ready
        .and_then(|line| line["library"].as_str())
        .unwrap_or("unknown");

    Outcome {
        scenario: scenario.name.clone(),
        title: scenario.title.clone(),
        unsupported: seen.count("unsupported") > 0,
        wrong: judge(&scenario.expect, seen),
        library: library.into(),
        milliseconds: 0,
    }
}

/// A file of its own for each server, by its port.
fn log_file(server: &Server) -> PathBuf {
    let name = format!(
        "vidette-kit-{}-{}.log",
        std::process::id(),
        server.address().port()
    );
    std::env::temp_dir().join(name)
}

/// The last lines that the adapter wrote to stderr, where something was wrong.
fn log_tail(log: &Path, all_well: bool) -> Option<String> {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    if all_well || text.trim().is_empty() {
        return None;
    }

    let lines: Vec<_> = text.lines().collect();
    let from = lines.len().saturating_sub(5);
    Some(format!("stderr: {}", lines[from..].join(" | ")))
}
