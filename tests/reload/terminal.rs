//! A terminal that is closed takes nothing with it.

use std::fs::File;
use std::io::Read as _;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::pty::openpty;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::common::gateway::PATIENCE;

/// A gateway that a person has started on a terminal; it is killed when this is dropped.
struct OnTerminal {
    child: Child,
    /// The other end of the terminal, while there is one.
    terminal: Option<File>,
    url: String,
}

impl OnTerminal {
    /// Starts it as the first process of a session, which a closed terminal sends SIGHUP to.
    fn start() -> Self {
        let pty = openpty(None, None).expect("a terminal");
        let end = || Stdio::from(pty.slave.try_clone().expect("a descriptor"));
        let mut command = Command::new("setsid");
        command
            .args(["--ctty", env!("CARGO_BIN_EXE_vidette"), "serve"])
            .args(["--engine", "memory", "--listen", "127.0.0.1:0"]);
        let child = command.stdin(end()).stdout(end()).stderr(end()).spawn();
        let mut terminal = File::from(pty.master);
        let said = read_to(&mut terminal, "listening on ");
        let url = said.split("listening on ").nth(1).unwrap_or_default();
        OnTerminal {
            child: child.expect("setsid"),
            terminal: Some(terminal),
            url: url.split_whitespace().next().unwrap_or_default().to_owned(),
        }
    }

    async fn is_healthy(&self) -> bool {
        let answer = reqwest::get(format!("{}/healthz", self.url)).await;
        answer.is_ok_and(|answer| answer.status().is_success())
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).expect("a pid"));
        kill(pid, signal).expect("it can be signalled");
    }

    /// Waits for its end; gives its exit code.
    async fn ended(&mut self) -> Option<i32> {
        let ending = async {
            loop {
                if let Some(status) = self.child.try_wait().expect("it can be waited for") {
                    return status.code();
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(PATIENCE, ending)
            .await
            .expect("it ends")
    }
}

impl Drop for OnTerminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Reads until a line has this text; gives all that was read.
fn read_to(terminal: &mut File, text: &str) -> String {
    let mut said = String::new();
    let mut bytes = [0; 1024];
    while !said
        .split_once(text)
        .is_some_and(|(_, rest)| rest.contains('\n'))
    {
        let count = terminal.read(&mut bytes).expect("it says something");
        said.push_str(&String::from_utf8_lossy(&bytes[..count]));
    }
    said
}

#[tokio::test]
async fn it_goes_on_when_its_terminal_is_closed_and_ends_with_0() {
    let mut gateway = OnTerminal::start();
    assert!(gateway.is_healthy().await, "{}", gateway.url);
    drop(gateway.terminal.take());

    // Several lines find no terminal to be written to.
    for _ in 0..20 {
        gateway.signal(Signal::SIGHUP);
        assert!(gateway.is_healthy().await);
    }
    let published = reqwest::Client::new()
        .post(format!("{}/v1/topics/door.1", gateway.url))
        .body("1");
    assert!(
        published
            .send()
            .await
            .expect("an answer")
            .status()
            .is_success()
    );
    gateway.signal(Signal::SIGTERM);
    assert_eq!(gateway.ended().await, Some(0));
}

#[tokio::test]
async fn without_a_configuration_file_it_says_so_and_goes_on() {
    let mut gateway = OnTerminal::start();
    gateway.signal(Signal::SIGHUP);
    let terminal = gateway.terminal.as_mut().expect("a terminal");
    read_to(terminal, "there is no configuration file to read again");
    assert!(gateway.is_healthy().await);
}
