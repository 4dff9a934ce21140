//! A gateway of the bench's own: this program's `serve`, as a process of its own.
//!
//! Invariants: its log is in a temporary folder; both go when the bench ends. It has a process
//! group of its own, so that an interrupt ends the measuring first.

use std::io::{BufRead as _, BufReader};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, ChildStderr, Command, Stdio};

use tempfile::TempDir;

pub(crate) struct OwnGateway {
    child: Child,
    pub(crate) url: String,
    _folder: TempDir,
}

impl OwnGateway {
    pub(crate) fn start(engine: &str, config: Option<&Path>) -> Result<Self, String> {
        let folder = TempDir::new().map_err(|e| format!("no temporary folder: {e}"))?;
        let program =
            std::env::current_exe().map_err(|e| format!("this program is not to be found: {e}"))?;
        let mut command = Command::new(program);
        command.args([
            "serve",
            "--listen",
            "127.0.0.1:0",
            "--log",
            "info",
            "--engine",
            engine,
        ]);
        command.arg("--data-dir").arg(folder.path().join("data"));
        if let Some(config) = config {
            command.arg("--config").arg(config);
        }
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .process_group(0);
        let mut child = command
            .spawn()
            .map_err(|e| format!("the gateway cannot be started: {e}"))?;
        match child.stderr.take().map(address) {
            Some(Ok(url)) => Ok(OwnGateway {
                child,
                url,
                _folder: folder,
            }),
            other => {
                let _ = child.kill();
                let _ = child.wait();
                let said = other.and_then(Result::err).unwrap_or_default();
                Err(format!("the gateway did not start: {said}"))
            }
        }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for OwnGateway {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Reads the log up to where it listens; what comes later is read and dropped. If it ends before,
/// all it said.
fn address(log: ChildStderr) -> Result<String, String> {
    let mut lines = BufReader::new(log).lines().map_while(Result::ok);
    let mut said = String::new();
    for line in lines.by_ref() {
        if let Some((_, address)) = line.split_once("listening on ") {
            std::thread::spawn(move || lines.for_each(drop));
            return Ok(address.trim().to_owned());
        }
        said.push_str(&line);
        said.push('\n');
    }
    Err(said)
}
