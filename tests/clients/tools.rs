//! Programs that tests run: where they are, and how to hear from them without waiting for ever.

use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::common::gateway::PATIENCE;

/// The repository.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Where a program lies: below `.tools`, where the setup script puts it, or on the PATH.
pub(crate) fn find(name: &str, beside: &str) -> PathBuf {
    let own = root().join(".tools").join(beside).join(name);
    if own.is_file() {
        return own;
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let on_path = std::env::split_paths(&path)
        .map(|folder| folder.join(name))
        .find(|p| p.is_file());
    on_path.unwrap_or_else(|| panic!("{name} is missing; run scripts/setup-tests.sh"))
}

/// What a program that has ended has said.
#[derive(Debug)]
pub(crate) struct Output {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Output {
    pub(crate) fn code(&self) -> i32 {
        self.status.code().unwrap_or(-1)
    }

    /// Its standard output, if it succeeded.
    pub(crate) fn ok(self) -> String {
        assert!(self.status.success(), "{self:?}");
        self.stdout
    }

    /// Its standard output as one JSON value.
    pub(crate) fn json(self) -> serde_json::Value {
        let text = self.ok();
        serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}: {text:?}"))
    }
}

/// Runs a program to its end.
pub(crate) async fn run(program: impl AsRef<Path>, args: &[&str]) -> Output {
    run_with_input(program, args, b"").await
}

/// The same with a program that is busy itself for long, on a machine that has more to do.
pub(crate) async fn run_long(program: impl AsRef<Path>, args: &[&str]) -> Output {
    run_within(4 * PATIENCE, program, args, b"").await
}

/// Runs a program to its end, with this on its standard input.
pub(crate) async fn run_with_input(
    program: impl AsRef<Path>,
    args: &[&str],
    input: &[u8],
) -> Output {
    run_within(PATIENCE, program, args, input).await
}

async fn run_within(
    patience: Duration,
    program: impl AsRef<Path>,
    args: &[&str],
    input: &[u8],
) -> Output {
    let mut command = Command::new(program.as_ref());
    command
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    let mut child = command
        .spawn()
        .unwrap_or_else(|e| panic!("{}: {e}", program.as_ref().display()));
    let mut stdin = child.stdin.take().expect("a pipe");
    let writing = async move {
        // A program that has heard enough closes its end first.
        let _ = stdin.write_all(input).await;
    };
    let ended = timeout(patience, async {
        tokio::join!(writing, child.wait_with_output()).1
    })
    .await;
    let output = ended
        .unwrap_or_else(|_| panic!("{args:?} did not end in time"))
        .expect("an exit status");
    Output {
        status: output.status,
        stdout: String::from_utf8(output.stdout).expect("UTF-8"),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// A program that goes on while the test does; it is killed when this is dropped.
pub(crate) struct Running {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: Lines<BufReader<ChildStdout>>,
    stderr: Arc<Mutex<String>>,
    listening: JoinHandle<()>,
}

impl Running {
    pub(crate) fn start(program: impl AsRef<Path>, args: &[&str]) -> Self {
        let mut command = Command::new(program.as_ref());
        command
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        let mut child = command
            .spawn()
            .unwrap_or_else(|e| panic!("{}: {e}", program.as_ref().display()));
        let stdin = child.stdin.take();
        let stdout = BufReader::new(child.stdout.take().expect("a pipe")).lines();
        let mut complaints = BufReader::new(child.stderr.take().expect("a pipe")).lines();
        let stderr = Arc::new(Mutex::new(String::new()));
        let heard = stderr.clone();
        let listening = tokio::spawn(async move {
            while let Ok(Some(line)) = complaints.next_line().await {
                heard
                    .lock()
                    .expect("its complaints")
                    .push_str(&(line + "\n"));
            }
        });
        Running {
            child,
            stdin,
            stdout,
            stderr,
            listening,
        }
    }

    /// The next line of its standard output; none at its end.
    pub(crate) async fn line(&mut self) -> Option<String> {
        let line = timeout(PATIENCE, self.stdout.next_line()).await;
        let line = line
            .unwrap_or_else(|_| panic!("no line comes in time; until now: {}", self.complaints()));
        line.expect("UTF-8")
    }

    /// The next line that holds this text.
    pub(crate) async fn line_with(&mut self, text: &str) -> String {
        loop {
            match self.line().await {
                Some(line) if line.contains(text) => return line,
                Some(_) => {}
                None => {
                    // It may go on to say why.
                    let _ = timeout(PATIENCE, &mut self.listening).await;
                    panic!("it ended before it said {text:?}: {}", self.complaints());
                }
            }
        }
    }

    /// Writes to its standard input.
    pub(crate) async fn say(&mut self, text: &str) {
        let stdin = self.stdin.as_mut().expect("an open standard input");
        stdin.write_all(text.as_bytes()).await.expect("it listens");
        stdin.flush().await.expect("it listens");
    }

    /// Closes its standard input.
    pub(crate) fn hush(&mut self) {
        self.stdin = None;
    }

    /// What it has said on its standard error until now.
    pub(crate) fn complaints(&self) -> String {
        self.stderr.lock().expect("its complaints").clone()
    }

    pub(crate) fn pid(&self) -> i32 {
        self.child
            .id()
            .and_then(|pid| pid.try_into().ok())
            .expect("it runs")
    }

    /// Ends its input, and waits for its end: the rest of what it has said.
    pub(crate) async fn end(mut self) -> Output {
        self.hush();
        self.ended().await
    }

    /// Waits for its end without ending its input.
    pub(crate) async fn ended(mut self) -> Output {
        let mut stdout = String::new();
        while let Some(line) = self.line().await {
            stdout.push_str(&line);
            stdout.push('\n');
        }
        let status = timeout(PATIENCE, self.child.wait())
            .await
            .expect("it ends in time")
            .expect("an exit status");
        (&mut self.listening).await.expect("its complaints");
        Output {
            status,
            stdout,
            stderr: self.complaints(),
        }
    }
}
