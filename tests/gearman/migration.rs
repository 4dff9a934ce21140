//! docs/migrate-from-comet.md, run: its commands are one session of a shell, and print what the
//! page says.
//!
//! A `sh` block is run, and the `text` block behind it is what it has to print; without one it has
//! to print nothing. A block of no language was seen once. Ports are the only thing that differs.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

const PAGE: &str = include_str!("../../docs/migrate-from-comet.md");
const PORTS: [&str; 4] = ["4730", "8000", "8080", "8088"];
const END: &str = "--- the end of a block";

/// Commands, each with what it has to print.
fn blocks() -> Vec<(String, String)> {
    let mut blocks: Vec<(String, String)> = Vec::new();
    let mut lines = PAGE.lines();
    while let Some(line) = lines.next() {
        let Some(language) = line.strip_prefix("```") else {
            continue;
        };
        let text: String = lines
            .by_ref()
            .take_while(|line| *line != "```")
            .flat_map(|line| [line, "\n"])
            .collect();
        match (language, blocks.last_mut()) {
            ("sh", _) => blocks.push((text, String::new())),
            ("text", Some((_, answer))) if answer.is_empty() => *answer = text,
            ("", _) => {} // what was seen once
            _ => panic!("a block of {language:?} that nothing is done with"),
        }
    }
    blocks
}

/// The page's ports for some that are free.
fn with_free_ports(text: &str) -> String {
    PORTS.iter().fold(text.to_owned(), |text, port| {
        let mut ports = (0..1000).map(|_| fastrand::u16(16_000..30_000));
        let free = ports
            .find(|p| std::net::TcpListener::bind(("127.0.0.1", *p)).is_ok())
            .expect("a free port");
        text.replace(&format!("127.0.0.1:{port}"), &format!("127.0.0.1:{free}"))
            .replace(&format!("-p {port} "), &format!("-p {free} "))
            .replace(&format!("--port={port} "), &format!("--port={free} "))
            .replace(&format!("', {port})"), &format!("', {free})"))
    })
}

impl Session {
    /// What its programs have logged.
    fn logs(&self) -> String {
        let logs = ["gearmand.log", "nginx.log", "php.log", "hand_on.log"];
        let text = |name: &str| std::fs::read_to_string(self.folder.path().join(name));
        let with_its_name = |name| format!("{name}:\n{}\n", text(name).unwrap_or_default());
        logs.map(with_its_name).concat()
    }
}

/// Ends the daemons that a session leaves when it stops half-way.
struct Session {
    folder: TempDir,
    group: Option<u32>,
}

impl Drop for Session {
    fn drop(&mut self) {
        let pid_of = |file| {
            std::fs::read_to_string(self.folder.path().join(file))
                .ok()?
                .trim()
                .parse::<i32>()
                .ok()
        };
        for daemon in ["gearmand.pid", "nginx.pid"].into_iter().filter_map(pid_of) {
            // On this signal nginx ends its own processes.
            let _ = kill(Pid::from_raw(daemon), Signal::SIGTERM);
        }
        if let Some(group) = self.group.and_then(|pid| i32::try_from(pid).ok()) {
            let _ = kill(Pid::from_raw(-group), Signal::SIGKILL);
        }
    }
}

fn path() -> String {
    let vidette = Path::new(env!("CARGO_BIN_EXE_vidette"))
        .parent()
        .expect("a folder")
        .display()
        .to_string();
    format!(
        "{vidette}:{}:/usr/sbin",
        std::env::var("PATH").unwrap_or_default()
    )
}

#[tokio::test]
async fn the_way_from_the_old_system_is_as_its_page_says() {
    let blocks = blocks();
    let script: String = blocks
        .iter()
        .flat_map(|(command, _)| [command, "\necho '", END, "'\n"])
        .collect();
    let mut session = Session {
        folder: TempDir::new().expect("a folder"),
        group: None,
    };
    let seen = session.folder.path().join("seen");
    let out = std::fs::File::create(&seen).expect("a file"); // daemons would keep a pipe open
    let mut bash = tokio::process::Command::new("bash");
    bash.arg("-c")
        .arg(with_free_ports(&script))
        .current_dir(session.folder.path())
        .env("PATH", path());
    bash.stdin(Stdio::null())
        .stdout(out.try_clone().expect("a file"))
        .stderr(out)
        .process_group(0);
    let mut bash = bash.spawn().expect("bash");
    session.group = bash.id();
    let ended = tokio::time::timeout(Duration::from_secs(90), bash.wait()).await;
    let seen = std::fs::read_to_string(seen).expect("text");
    assert!(ended.is_ok(), "it did not end; until then: {seen}");
    let end = format!("{END}\n");
    let mut printed = seen.split(&end);
    for (command, expected) in &blocks {
        let printed = printed.next().unwrap_or_default();
        let (printed, expected) = (printed.trim_end(), expected.trim_end());
        assert_eq!(printed, expected, "{command}\n{seen}{}", session.logs());
    }
}
