//! The whole way: producers, job server, gateway, pages; and what may be killed is killed.
//!
//! `VIDETTE_JOBS` and `VIDETTE_KILLS` make it longer; `make gearman-long` runs the full size.

use std::time::Duration;

use tempfile::TempDir;

use crate::chromium::Browser;
use crate::common::gateway::{Gateway, Setup};
use crate::job_server::JobServer;
use crate::page::Page as _;
use crate::support::{events, numbers, of_source, record, source, until_done};
use crate::tools::{find, root};

const PAGES: usize = 5;
/// Jobs that are sent by the `gearman` command, one process each.
const BY_COMMAND: u64 = 20;

/// The page of the old system: prototype.js, `./backend.php?maxvid=N`, one record an answer, 5 s
/// after a failure.
const PAGE: &str = r#"<html>
<head><meta http-equiv="Content-Type" content="text/html; charset=gb2312"><title>door</title>
<script type="text/javascript" src="prototype.js"></script></head>
<body><div id="content"></div>
<script type="text/javascript">
var maxvid = 0, lines = [], failures = 0;
function ask() {
  var record = null;
  new Ajax.Request('./backend.php', { method: 'get', parameters: { maxvid: maxvid },
    onSuccess: function (transport) {
      if (transport.responseText == '') return;
      record = eval('(' + transport.responseText + ')');
      maxvid = record['vid'];
      var names = ['vid', 'doorno', 'rfsim', 'optime', 'ynopen'];
      lines.push(names.map(function (name) { return record[name]; }).join(','));
      $('content').update(lines[lines.length - 1]);
    },
    onComplete: function () { if (record) ask(); else { failures++; setTimeout(ask, 5000); } }
  });
}
ask();
</script></body></html>"#;

fn number_from_env(name: &str, default: u64) -> u64 {
    std::env::var(name)
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(default)
}

fn page_folder() -> TempDir {
    let folder = TempDir::new().expect("a folder");
    std::fs::write(folder.path().join("door.html"), PAGE).expect("a page");
    let library = std::fs::read("/usr/share/javascript/prototype/prototype.js")
        .expect("run scripts/setup-tests.sh");
    std::fs::write(folder.path().join("prototype.js"), library).expect("a script");
    folder
}

fn producer(server: &JobServer, first: u64, last: u64, how: &str) -> tokio::process::Child {
    let mut php = tokio::process::Command::new(find("php", "bin"));
    php.arg(root().join("tests/gearman/producer.php"));
    php.args([&server.port(), &first.to_string(), &last.to_string(), how])
        .kill_on_drop(true);
    php.stdout(std::process::Stdio::null())
        .spawn()
        .expect("php")
}

/// Waits until the log has so many events.
async fn until_last(gateway: &Gateway, at_least: u64) {
    let reached = async {
        while gateway.get("/v1/bus").await["last"].as_u64() < Some(at_least) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let in_time = tokio::time::timeout(Duration::from_secs(300), reached).await;
    assert!(
        in_time.is_ok(),
        "the log never came to {at_least}: {}",
        gateway.get("/v1/bus").await
    );
}

/// SIGKILLs the gateway and restarts the job server while jobs come in, evenly over all of them.
async fn disturb(gateway: &mut Gateway, server: &mut JobServer, jobs: u64, kills: u64) {
    for kill in 1..=kills {
        until_last(gateway, jobs * kill / (kills + 2)).await;
        gateway.kill();
        if kill % 3 == 0 {
            server.stop();
            gateway.start_again();
            server.start_again();
        } else {
            gateway.start_again();
        }
    }
}

async fn lines_of(browser: &Browser, jobs: u64) -> Vec<Vec<String>> {
    let all_there = async {
        loop {
            let seen = browser
                .in_each_tab(|| browser.ask::<u64>("return lines.length"))
                .await;
            if seen.iter().all(|count| *count >= jobs) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    let patience = Duration::from_secs(60 + jobs / 10);
    let in_time = tokio::time::timeout(patience, all_there).await.is_ok();
    let lines = browser
        .in_each_tab(|| browser.ask::<Vec<String>>("return lines"))
        .await;
    assert!(
        in_time,
        "pages have {:?} of {jobs} records",
        lines.iter().map(Vec::len).collect::<Vec<_>>()
    );
    lines
}

#[tokio::test(flavor = "multi_thread")]
async fn every_page_shows_every_record_once_and_in_order_whoever_is_killed() {
    let (jobs, kills) = (
        number_from_env("VIDETTE_JOBS", 900),
        number_from_env("VIDETTE_KILLS", 3),
    );
    let (mut server, pages) = (JobServer::start(), page_folder());
    let flags = vec!["--pages-dir".to_owned(), pages.path().display().to_string()];
    let setup = Setup {
        config: source(&[server.address()]),
        flags,
        ..Setup::default()
    };
    let mut gateway = Gateway::start_on_a_port_of_its_own(setup);
    let page = format!("{}/door.html", gateway.url());
    let browser = Browser::open(&page).await;
    for _ in 1..PAGES {
        browser.new_tab(&page).await;
    }

    let by_php = jobs - BY_COMMAND;
    let background = producer(&server, 1, by_php / 2, "background");
    let foreground = producer(&server, by_php / 2 + 1, by_php, "foreground");
    disturb(&mut gateway, &mut server, jobs, kills).await;
    for producer in [background, foreground] {
        let output =
            tokio::time::timeout(Duration::from_secs(300), producer.wait_with_output()).await;
        let output = output.expect("it ends in time").expect("php");
        assert!(output.status.success(), "{output:?}");
    }
    for number in by_php + 1..=jobs {
        let unique = format!("rec-{number}");
        server
            .gearman(&["-b", "-u", &unique, &record(number)])
            .await
            .ok();
    }
    until_done(&gateway, &server).await;

    let log = numbers(&gateway).await;
    let mut sorted = log.clone();
    sorted.sort_unstable();
    assert_eq!(
        sorted,
        (1..=jobs).collect::<Vec<u64>>(),
        "each record is in the log once"
    );
    // The vids have holes: the gateway notes on the log what may not have been acknowledged when a
    // connection broke.
    let vids = events(&gateway, "door.>")
        .await
        .into_iter()
        .filter_map(|event| event["vid"].as_u64());
    let line = |(vid, n): (u64, &u64)| format!("{vid},{},{n},2008-05-12 14:28:04,1", n % 5);
    let expected: Vec<String> = vids.zip(&log).map(line).collect();
    let lines = lines_of(&browser, jobs).await;
    assert_eq!(lines.len(), PAGES);
    for lines in &lines {
        let first_wrong = lines
            .iter()
            .zip(&expected)
            .find(|(shown, expected)| shown != expected);
        assert_eq!(
            (first_wrong, lines.len()),
            (None, expected.len()),
            "a page shows something else than the log"
        );
    }
    let failures = browser
        .in_each_tab(|| browser.ask::<u64>("return failures"))
        .await;
    let redelivered = of_source(&gateway, "duplicates").await;
    println!(
        "{jobs} jobs, {kills} SIGKILLs of the gateway, {} restarts of the job server: each of \
         {PAGES} pages showed {} records, each once, in the order of the log; their requests \
         failed {failures:?} times; in its last run the gateway was given {redelivered} jobs again",
        kills / 3,
        lines[0].len(),
    );
}
