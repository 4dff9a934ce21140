//! Logs that nobody reads hold up nobody.

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Child, ChildStderr, Command, Stdio};
use std::time::Duration;

use futures_util::StreamExt as _;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::common::gateway::PATIENCE;

/// What a pipe, the queue before it and the lines on their way hold is less than this.
const MORE_THAN_FITS: usize = 3 << 20;

/// A gateway whose log goes to a pipe; it is killed when this is dropped.
struct Piped {
    child: Child,
    log: BufReader<ChildStderr>,
    url: String,
}

impl Piped {
    fn start(format: &str) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_vidette"));
        command
            .args(["serve", "--engine", "memory", "--listen", "127.0.0.1:0"])
            .args(["--log", "info,h2=trace", "--log-format", format])
            .stdin(Stdio::null())
            .stderr(Stdio::piped());
        let mut child = command.spawn().expect("it starts");
        let mut log = BufReader::new(child.stderr.take().expect("a pipe"));
        let mut line = String::new();
        while !line.contains("listening on ") {
            line.clear();
            log.read_line(&mut line).expect("a line");
        }
        let url = line.split("listening on ").nth(1).unwrap_or_default();
        let url = url.split(['"', '\n']).next().unwrap_or_default().to_owned();
        Piped { child, log, url }
    }

    /// Has it log more than fits, without reading any of it. Every request is answered.
    async fn log_too_much(&self) {
        let client = reqwest::Client::builder().http2_prior_knowledge().build();
        let client = client.expect("a client");
        // A request over HTTP/2 is traced in more than 1,000 bytes.
        let requests = futures_util::stream::iter(0..MORE_THAN_FITS / 1000);
        let asked = requests.for_each_concurrent(16, |_| async {
            let asked = client.get(format!("{}/healthz", self.url)).send();
            let answer = tokio::time::timeout(PATIENCE, asked).await;
            let answer = answer.expect("it is held up by its log");
            assert!(answer.expect("an answer").status().is_success());
        });
        asked.await;
    }

    fn terminate(&self) {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).expect("a pid"));
        kill(pid, Signal::SIGTERM).expect("it can be signalled");
    }

    /// The first line from here on that has this text.
    fn read_to(&mut self, text: &str) -> String {
        for line in self.log.by_ref().lines() {
            let line = line.expect("UTF-8");
            if line.contains(text) {
                return line;
            }
        }
        panic!("{text:?} is not logged")
    }
}

impl Drop for Piped {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pipe_that_nobody_reads_holds_up_nobody_and_lost_lines_are_counted() {
    let mut gateway = Piped::start("json");
    gateway.log_too_much().await;
    let line = gateway.read_to("lines of this log are lost");
    let json: serde_json::Value = serde_json::from_str(&line).expect("JSON");
    assert!(json["lines"].as_u64() > Some(0), "{line}");
    assert_eq!(json["level"], "WARN");
}

#[tokio::test(flavor = "multi_thread")]
async fn it_ends_although_nobody_reads_its_log() {
    let mut gateway = Piped::start("text");
    gateway.log_too_much().await;
    gateway.terminate();
    let ending = async {
        loop {
            if let Some(status) = gateway.child.try_wait().expect("it can be waited for") {
                return status.code();
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let code = tokio::time::timeout(PATIENCE, ending).await;
    assert_eq!(code.expect("it ends"), Some(0));
}
