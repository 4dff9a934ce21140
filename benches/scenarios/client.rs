//! One run of `vidette bench`, the client of every server.

use std::fs::OpenOptions;
use std::io::{Read, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::Options;
use crate::servers::{RunningServer, Server};

/// A run that takes longer is given up.
const RUN_WAIT: Duration = Duration::from_secs(420);

/// Starts a server, measures it once and ends it. Returns the result as JSON, or an object with the
/// error: one server that does not start must not end the runs of the others.
pub(crate) fn measure(options: &Options, server: Server, args: &[String]) -> Value {
    let running = match RunningServer::start(server, &args[0]) {
        Ok(running) => running,
        Err(error) => return json!({ "error": error }),
    };
    let begin = ["bench".to_owned()];
    let all = begin.iter().chain(args).chain(&running.flags);
    let mut all: Vec<_> = all.cloned().chain(["--json".to_owned()]).collect();
    if let Some(gateway) = options.gateway.as_ref().filter(|_| server.is_own()) {
        all.extend(["--gateway".to_owned(), gateway.display().to_string()]);
    }

    // The server ends with this, so the next one has the machine to itself.
    bench(&options.program, &all)
}

/// Runs `vidette bench`. Returns its JSON, or an object with the error.
fn bench(program: &Path, args: &[String]) -> Value {
    let mut command = Command::new(program);
    command.args(args).stdin(Stdio::null());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(error) => return json!({ "error": format!("{}: {error}", program.display()) }),
    };
    if !ends_in_time(&mut child) {
        return json!({ "error": "the run did not end" });
    }

    // Both are short enough for the pipes to hold them until now.
    let output = read_all(child.stdout.take());
    let error = read_all(child.stderr.take());
    serde_json::from_str(&output).unwrap_or_else(|_| json!({ "error": last_line(&error) }))
}

/// What stands above it is about how the run began.
fn last_line(text: &str) -> &str {
    text.trim().lines().next_back().unwrap_or("no output")
}

fn ends_in_time(child: &mut Child) -> bool {
    let begun = Instant::now();
    while child.try_wait().expect("it can be waited for").is_none() {
        if begun.elapsed() > RUN_WAIT {
            child.kill().expect("it can be killed");
            child.wait().expect("it ends");
            return false;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    true
}

fn read_all(pipe: Option<impl Read>) -> String {
    let mut text = String::new();
    let mut pipe = pipe.expect("a pipe");
    pipe.read_to_string(&mut text).expect("UTF-8");
    text
}

/// Adds a run to a file of results.
pub(crate) fn append_line(path: &Path, line: &Value) {
    let file = OpenOptions::new().create(true).append(true).open(path);
    file.and_then(|mut file| writeln!(file, "{line}"))
        .expect("the file of results can be written");
}
