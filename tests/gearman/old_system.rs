//! What was wrong with the old system, and what has become of it: the same pages on both. Prints
//! the table of docs/migrate-from-comet.md.

use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use serde_json::Value;
use tempfile::TempDir;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::client::SUBMIT_JOB_BG;
use crate::common::gateway::PATIENCE;
use crate::job_server::JobServer;
use crate::support::{gateway_of, record};
use crate::tools::find;

const PAGES: usize = 5;
const RECORDS: u64 = 50;
const LEAVING: u64 = 30;

/// The script behind `backend.php`: a worker for one job.
const SCRIPT: &str = "<?php
$worker = new GearmanWorker();
$worker->addServer('127.0.0.1', PORT);
$worker->setTimeout(60000);
$worker->addFunction('getmsg', function ($job) { echo $job->workload(); });
$worker->work();
";

/// PHP's own web server, a process for each page.
struct Php {
    child: Child,
    address: SocketAddr,
    _folder: TempDir,
}

impl Php {
    fn start(job_server: &JobServer, processes: usize) -> Self {
        let folder = TempDir::new().expect("a folder");
        let script = SCRIPT.replace("PORT", &job_server.port());
        std::fs::write(folder.path().join("backend.php"), script).expect("a script");
        let mut ports =
            (0..1000).map(|_| SocketAddr::from(([127, 0, 0, 1], fastrand::u16(16_000..30_000))));
        let address = ports
            .find(|a| std::net::TcpListener::bind(a).is_ok())
            .expect("a free port");
        let mut php = Command::new(find("php", "bin"));
        php.args(["-S", &address.to_string(), "-t"])
            .arg(folder.path());
        php.env("PHP_CLI_SERVER_WORKERS", processes.to_string());
        php.stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        // Its processes are ended with it as a group.
        std::os::unix::process::CommandExt::process_group(&mut php, 0);
        let child = php.spawn().expect("php");
        let started = std::time::Instant::now();
        while std::net::TcpStream::connect(address).is_err() {
            assert!(started.elapsed() < PATIENCE, "PHP does not listen");
            std::thread::sleep(Duration::from_millis(5));
        }
        Php {
            child,
            address,
            _folder: folder,
        }
    }
}

impl Drop for Php {
    fn drop(&mut self) {
        let group = nix::unistd::Pid::from_raw(-i32::try_from(self.child.id()).expect("a pid"));
        let _ = nix::sys::signal::kill(group, nix::sys::signal::Signal::SIGKILL);
        let _ = self.child.wait();
    }
}

/// Asks once, as a page does. `None` when nothing came.
async fn ask(address: SocketAddr, maxvid: u64, patience: Duration) -> Option<Value> {
    let url = format!("http://{address}/backend.php?maxvid={maxvid}");
    let asking = async { reqwest::get(url).await.ok()?.text().await.ok() };
    let text = timeout(patience, asking).await.ok().flatten()?;
    serde_json::from_str(&text).ok()
}

/// Reads until it has all records, or all pages together have what is to be shown.
async fn page(address: SocketAddr, to_show: &AtomicU64, all_are_shown: &CancellationToken) -> u64 {
    let (mut records, mut maxvid) = (0, 0);
    while records < RECORDS {
        let asking = ask(address, maxvid, PATIENCE);
        let Some(Some(record)) = all_are_shown.run_until_cancelled(asking).await else {
            break;
        };
        maxvid = record["vid"].as_u64().expect("a vid");
        records += 1;
        if to_show.fetch_sub(1, Ordering::SeqCst) == 1 {
            all_are_shown.cancel();
        }
    }
    records
}

/// Five open pages, and records, each of which is to be shown so often.
async fn five_pages(address: SocketAddr, server: &JobServer, times: u64) -> Vec<u64> {
    let writing = async {
        let mut client = server.client();
        for number in 1..=RECORDS {
            client.submit(
                SUBMIT_JOB_BG,
                &format!("rec-{number}"),
                record(number).as_bytes(),
            );
            sleep(Duration::from_millis(10)).await; // records come one after the other
        }
    };
    let (to_show, all_are_shown) = (AtomicU64::new(times * RECORDS), CancellationToken::new());
    let pages = join_all((0..PAGES).map(|_| page(address, &to_show, &all_are_shown)));
    tokio::join!(pages, writing).0
}

/// Who takes the jobs while pages wait.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Worker {
    /// The script of each page, for one job.
    EachPage,
    Gateway,
}

/// Pages that leave while they wait, each before a record comes. How many of the records one that
/// stays is shown.
async fn leaving_pages(address: SocketAddr, server: &JobServer, worker: Worker) -> u64 {
    for number in 1..=LEAVING {
        let waits = async {
            sleep(Duration::from_millis(150)).await;
            if worker == Worker::EachPage {
                // A page that leaves before its script is there would take nothing with it.
                until("a script waits", || server.workers() == 1).await;
            }
        };
        tokio::select! {
            answer = ask(address, number - 1, PATIENCE) => panic!("it was waiting: {answer:?}"),
            () = waits => {}
        }
        let id = format!("rec-{number}");
        let mut client = server.client();
        client.submit(SUBMIT_JOB_BG, &id, record(number).as_bytes());
        until("the job is done", || server.jobs() == 0).await;
        if worker == Worker::EachPage {
            until("its script has ended", || server.workers() == 0).await;
        }
    }

    let (mut shown, mut maxvid) = (0, 0);
    while let Some(record) = ask(address, maxvid, Duration::from_secs(2)).await {
        maxvid = record["vid"].as_u64().expect("a vid");
        shown += 1;
    }
    shown
}

async fn until(what: &str, holds: impl Fn() -> bool) {
    let waiting = async {
        while !holds() {
            sleep(Duration::from_millis(5)).await;
        }
    };
    let in_time = timeout(PATIENCE, waiting).await;
    assert!(in_time.is_ok(), "never: {what}");
}

#[tokio::test]
async fn every_page_has_what_a_queue_gave_to_one() {
    let server = JobServer::start();
    let php = Php::start(&server, PAGES);
    let before = five_pages(php.address, &server, 1).await;
    assert_eq!(
        before.iter().sum::<u64>(),
        RECORDS,
        "each record reached one page: {before:?}"
    );
    drop(php);

    let server = JobServer::start();
    let gateway = gateway_of(&[server.address()]);
    let after = five_pages(gateway.address(), &server, PAGES as u64).await;
    assert_eq!(after, [RECORDS; PAGES], "each record reaches every page");
    println!("five open pages, {RECORDS} records: before {before:?}, after {after:?}");
}

#[tokio::test]
async fn pages_that_leave_while_they_wait_take_no_record_with_them() {
    let server = JobServer::start();
    let php = Php::start(&server, PAGES);
    let before = leaving_pages(php.address, &server, Worker::EachPage).await;
    assert_eq!(before, 0, "each went to a script whose page had gone");
    drop(php);

    let server = JobServer::start();
    let gateway = gateway_of(&[server.address()]);
    let after = leaving_pages(gateway.address(), &server, Worker::Gateway).await;
    assert_eq!(after, LEAVING);
    println!(
        "{LEAVING} pages leave while they wait: before {before} records are shown, after {after}"
    );
}
