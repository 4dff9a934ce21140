//! The vid contract as a table: every case on every transport and every engine.
//!
//! The HTTP transports have a second table: there hyper drives the connections, and not the driver
//! for pages that wait.
//!
//! `cargo test --test conformance` runs it on engines of its own, and on engines that break one
//! promise each, which some case has to catch. `cargo test --test conformance -- --url
//! http://127.0.0.1:8080` runs the cases that need no control of the engine against a running
//! gateway; it publishes to topics below `conformance.`. With an address `https://`, `--ca FILE`
//! and `--token-file FILE` say whom to trust and what to show. `--secure` runs only what is over
//! TLS.

#![allow(unreachable_pub)] // a program of its own

#[path = "../common/mod.rs"]
mod common;

mod bounds;
mod cases;
mod cursors;
mod filters;
mod paging;
mod publishing;
mod report;
mod resets;
mod shared;
mod starts;
mod target;
mod wrong;

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::StreamExt as _;

use cases::{Case, Cell, Needs};
use common::engines::{self, engines};
use common::read::{ALL, ALL_BY_HYPER, Transport};
use report::Report;
use target::Kind;

/// Cells run at once; most of them wait for something.
const AT_ONCE: usize = 8;

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    // A cell that fails panics; its message is shown in the report.
    std::panic::set_hook(Box::new(|_| ()));
    let cases: Vec<Case> = cases::all()
        .into_iter()
        .filter(|c| c.name.contains(&arguments.only))
        .collect();
    arguments.show_credentials();
    let mut reports = Vec::new();
    if !arguments.is_only_secure {
        reports.extend(run_plain(&cases, &arguments).await);
    }
    if arguments.url.is_none() {
        reports.extend(run_secure(&cases).await);
    }
    let passed: usize = reports.iter().map(Report::passed).sum();
    let mut failed: usize = reports.iter().map(Report::failed).sum();
    if arguments.is_whole() {
        failed += wrong::all_are_caught(&cases).await;
    }
    println!("\n{passed} passed, {failed} failed");
    ExitCode::from(u8::from(failed > 0))
}

/// The cases on plain gateways, or on the one that is running.
async fn run_plain(cases: &[Case], arguments: &Arguments) -> Vec<Report> {
    let kinds = match &arguments.url {
        Some(url) => vec![Kind::Running(url.clone())],
        None => engines().into_iter().map(Kind::Own).collect(),
    };
    let mut reports = run_and_print("", cases, &kinds, &ALL).await;

    ALL_BY_HYPER.store(true, Ordering::SeqCst);
    let (what, kinds) = ("with connections that hyper drives", not_on_nats(kinds));
    let transports = [Transport::Poll, Transport::Sse];
    reports.extend(run_and_print(what, cases, &kinds, &transports).await);
    ALL_BY_HYPER.store(false, Ordering::SeqCst);
    reports
}

/// The same over TLS, for callers with a token.
async fn run_secure(cases: &[Case]) -> Vec<Report> {
    let kinds = not_on_nats(engines().into_iter().map(Kind::Secure).collect());
    let what = "over TLS, for callers with a token";
    let mut reports = run_and_print(what, cases, &kinds, &ALL).await;

    // A client that is free to choose speaks HTTP/2 there.
    let kinds = [Kind::Secure(engines::MEMORY)];
    ALL_BY_HYPER.store(true, Ordering::SeqCst);
    let (what, transports) = ("over TLS and HTTP/2", [Transport::Poll, Transport::Sse]);
    reports.extend(run_and_print(what, cases, &kinds, &transports).await);
    ALL_BY_HYPER.store(false, Ordering::SeqCst);
    reports
}

/// How a connection is driven makes no difference to a log on NATS, where each case takes longer.
fn not_on_nats(kinds: Vec<Kind>) -> Vec<Kind> {
    kinds
        .into_iter()
        .filter(|kind| !kind.is_on_nats())
        .collect()
}

async fn run_and_print(
    what: &str,
    cases: &[Case],
    kinds: &[Kind],
    transports: &[Transport],
) -> Vec<Report> {
    if kinds.is_empty() {
        return Vec::new();
    }
    let report = run(cases, kinds, transports).await;
    if !what.is_empty() {
        println!("\n{what}:");
    }
    report.print();
    vec![report]
}

struct Arguments {
    url: Option<String>,
    /// Of a running gateway that encrypts and asks who calls.
    ca: Option<String>,
    token_file: Option<String>,
    /// Only over TLS, for callers with a token.
    is_only_secure: bool,
    only: String,
}

impl Arguments {
    fn parse() -> Self {
        let mut arguments = Arguments {
            url: None,
            ca: None,
            token_file: None,
            is_only_secure: false,
            only: String::new(),
        };
        let mut given = std::env::args().skip(1);
        while let Some(argument) = given.next() {
            match argument.as_str() {
                "--url" => arguments.url = given.next(),
                "--ca" => arguments.ca = given.next(),
                "--token-file" => arguments.token_file = given.next(),
                "--secure" => arguments.is_only_secure = true,
                flag if flag.starts_with('-') => {} // those of the usual test runner
                name => name.clone_into(&mut arguments.only),
            }
        }
        arguments
    }

    /// Nothing is left out.
    fn is_whole(&self) -> bool {
        self.url.is_none() && self.only.is_empty() && !self.is_only_secure
    }

    /// Has the clients trust and show what a running gateway asks for.
    fn show_credentials(&self) {
        let read = |file: &String| std::fs::read_to_string(file).expect("the file is there");
        if let (Some(ca), Some(token)) = (&self.ca, &self.token_file) {
            common::secure::show(read(ca), read(token).trim().to_owned());
        }
    }
}

/// Runs each case on each kind and transport.
async fn run(cases: &[Case], kinds: &[Kind], transports: &[Transport]) -> Report {
    let mut cells = Vec::new();
    for case in cases {
        for kind in kinds.iter().filter(|kind| is_possible(case.needs, kind)) {
            cells.extend(
                transports
                    .iter()
                    .map(|&via| (case.clone(), kind.clone(), via)),
            );
        }
    }
    let column = |kind: &Kind| {
        transports
            .iter()
            .map(|&via| (kind.name().to_owned(), via))
            .collect::<Vec<_>>()
    };
    let columns = kinds.iter().flat_map(column).collect();
    let outcomes = futures_util::stream::iter(cells).map(|(case, kind, via)| async move {
        let outcome = run_cell(&case, &kind, via, cases::CELL_PATIENCE).await;
        ((case.name, kind.name().to_owned(), via), outcome)
    });
    Report::new(
        cases,
        columns,
        outcomes.buffer_unordered(AT_ONCE).collect().await,
    )
}

fn is_possible(needs: Needs, kind: &Kind) -> bool {
    match (needs, kind) {
        (Needs::OwnLog, Kind::Running(_)) => false,
        (Needs::Nothing | Needs::OwnLog, _) => true,
        (Needs::Restart, kind) => kind.survives_a_restart(),
        (Needs::SharedLog, kind) => kind.is_on_shared_log(),
    }
}

async fn run_cell(
    case: &Case,
    kind: &Kind,
    via: Transport,
    patience: Duration,
) -> Result<(), String> {
    // Tasks of their own: gateways are started on whichever core is free.
    let (kind, setup) = (kind.clone(), case.setup);
    let making = tokio::spawn(async move { Cell::new(&kind, via, setup).await });
    let cell = making.await.map_err(message)?;

    let run = tokio::spawn((case.run)(Arc::new(cell)));
    let stop = run.abort_handle();
    match tokio::time::timeout(patience, run).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(panic)) => Err(message(panic)),
        Err(_) => {
            stop.abort();
            Err("it did not end in time".to_owned())
        }
    }
}

fn message(error: tokio::task::JoinError) -> String {
    let Ok(payload) = error.try_into_panic() else {
        return "it was cancelled".to_owned();
    };
    let text = payload.downcast_ref::<String>().cloned();
    text.or_else(|| payload.downcast_ref::<&str>().map(ToString::to_string))
        .unwrap_or_else(|| "it panicked".to_owned())
}
