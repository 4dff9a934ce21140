//! The kit for libraries that no adapter can start: those in a browser, or tried by hand.
//!
//! `vidette-kit serve` answers on one address:
//!
//! | request | |
//! |---|---|
//! | `POST /kit/start?scenario=A/cut-after-event` | begins; answers the `url` of the scripted server and the `drive` |
//! | `POST /kit/said` | what the library did, in the adapter's lines of JSON |
//! | `POST /kit/listen` | the step `listen` |
//! | `GET /kit/verdict` | ends it; answers `ok` and what was `wrong` |
//!
//! Invariant: one scenario at a time; to start the next one ends the one before.

use std::io::{self, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;

use serde_json::{Value, json};

use crate::adapter::take_in;
use crate::record::Record;
use crate::runner::look_for_sockets;
use crate::scenario::Scenario;
use crate::server::Server;
use crate::verdict::judge;
use crate::wire::{Reader, Request};

/// The scenario that is played.
struct Playing<'a> {
    scenario: &'a Scenario,
    server: Arc<Server>,
    record: Arc<Record>,
}

/// Serves until the process is ended.
pub(crate) fn serve(listener: &TcpListener, scenarios: &[Scenario]) -> io::Result<()> {
    let mut playing = None;
    for stream in listener.incoming() {
        // A client that leaves in the middle takes only its own request along.
        let _ = answer(stream?, scenarios, &mut playing);
    }
    Ok(())
}

fn answer<'a>(
    mut stream: TcpStream,
    scenarios: &'a [Scenario],
    playing: &mut Option<Playing<'a>>,
) -> io::Result<()> {
    let mut reader = Reader::new(stream.try_clone()?);
    let Some(request) = reader.head()? else {
        return Ok(());
    };
    let body = reader.body()?;

    let (status, answer) = match obey(&request, &body, scenarios, playing) {
        Ok(answer) => (200, answer.to_string()),
        Err(error) => (404, json!({"error": error.to_string()}).to_string()),
    };
    // A page of another origin may ask.
    let head = format!(
        "HTTP/1.1 {status} Kit\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\
         Access-Control-Allow-Origin: *\r\nConnection: close\r\n\r\n",
        answer.len()
    );
    stream.write_all(format!("{head}{answer}").as_bytes())
}

fn obey<'a>(
    request: &Request,
    body: &[u8],
    scenarios: &'a [Scenario],
    playing: &mut Option<Playing<'a>>,
) -> io::Result<Value> {
    match (&*request.method, &*request.path) {
        ("POST", "/kit/start") => {
            end(playing);
            let name = request.parameters.get("scenario");
            let scenario = scenarios
                .iter()
                .find(|scenario| Some(&scenario.name) == name);
            let scenario = scenario.ok_or_else(|| io::Error::other("no such scenario"))?;
            let begun = playing.insert(start(scenario)?);
            Ok(json!({
                "url": format!("http://{}", begun.server.address()),
                "waits": scenario.waits_factor.unwrap_or(0.01),
                "title": scenario.title, "drive": scenario.drive,
            }))
        }
        ("POST", "/kit/said") => {
            let playing = running(playing)?;
            for line in String::from_utf8_lossy(body).lines() {
                playing.record.change(|seen| take_in(seen, line));
            }
            Ok(json!({}))
        }
        ("POST", "/kit/listen") => {
            running(playing)?.server.listen()?;
            Ok(json!({}))
        }
        ("GET", "/kit/verdict") => {
            let wrong = verdict(running(playing)?);
            end(playing);
            Ok(json!({"ok": wrong.is_empty(), "wrong": wrong}))
        }
        _ => Err(io::Error::other(
            "POST /kit/start?scenario=, /kit/said or /kit/listen, or GET /kit/verdict",
        )),
    }
}

fn start(scenario: &Scenario) -> io::Result<Playing<'_>> {
    let record = Arc::new(Record::default());
    let server = Server::bind(scenario, Arc::clone(&record))?;
    if scenario.listening {
        server.listen()?;
    }
    Ok(Playing {
        scenario,
        server,
        record,
    })
}

fn running<'p, 'a>(playing: &'p mut Option<Playing<'a>>) -> io::Result<&'p Playing<'a>> {
    let playing = playing.as_ref();
    playing.ok_or_else(|| io::Error::other("no scenario is played: POST /kit/start?scenario="))
}

fn verdict(playing: &Playing<'_>) -> Vec<String> {
    look_for_sockets(&playing.record);
    let mut wrong = playing
        .record
        .look(|seen| judge(&playing.scenario.expect, seen));
    wrong.extend(playing.server.left_over());
    wrong
}

fn end(playing: &mut Option<Playing<'_>>) {
    if let Some(playing) = playing.take() {
        playing.record.change(|seen| seen.over = true);
        playing.server.stop();
    }
}
