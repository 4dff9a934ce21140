//! The adapter's process: commands to its stdin, and its lines into the record.
//!
//! A process that says `resets` in its `ready` plays one scenario after another. Invariant: a line
//! that it still says of one scenario never gets into the record of the next.

use std::fs::OpenOptions;
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::record::{Record, Seen};

/// The factor for waits where a scenario names none.
const USUAL_WAITS_FACTOR: f64 = 0.01;

/// A running adapter; killed when dropped.
#[derive(Debug)]
pub(crate) struct Adapter {
    process: Child,
    commands: Option<ChildStdin>,
    heard: Arc<Mutex<Heard>>,
    log: PathBuf,
}

/// Where the adapter's lines go.
#[derive(Debug)]
struct Heard {
    record: Arc<Record>,
    /// Lines of the scenario before it are dropped until the next `ready`.
    awaits_ready: bool,
}

impl Adapter {
    /// Starts the command; what it says on stderr goes to the log file.
    pub(crate) fn start(
        command: &[String],
        url: &str,
        waits_factor: Option<f64>,
        log: &Path,
        record: &Arc<Record>,
    ) -> io::Result<Self> {
        let (program, arguments) = command.split_first().ok_or(io::ErrorKind::InvalidInput)?;
        let mut start = Command::new(program);
        start
            .args(arguments)
            .env("VIDETTE_KIT", "fast")
            .env("VIDETTE_KIT_URL", url)
            .env_remove("VIDETTE_KIT_WAITS")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(OpenOptions::new().create(true).append(true).open(log)?);
        if let Some(factor) = waits_factor {
            start.env("VIDETTE_KIT_WAITS", factor.to_string());
        }

        let mut process = start.spawn()?;
        let commands = process.stdin.take();
        let lines = process.stdout.take().ok_or(io::ErrorKind::BrokenPipe)?;
        let heard = Arc::new(Mutex::new(Heard {
            record: Arc::clone(record),
            awaits_ready: false,
        }));
        let destination = Arc::clone(&heard);
        thread::spawn(move || {
            for line in BufReader::new(lines).lines().map_while(Result::ok) {
                hear(&destination, &line);
            }
            let record = Arc::clone(&lock(&destination).record);
            record.change(|seen| seen.gone = true);
        });
        Ok(Self {
            process,
            commands,
            heard,
            log: log.into(),
        })
    }

    /// Begins the next scenario, in a process that can.
    pub(crate) fn reset(
        &mut self,
        url: &str,
        waits_factor: Option<f64>,
        record: &Arc<Record>,
    ) -> io::Result<()> {
        *lock(&self.heard) = Heard {
            record: Arc::clone(record),
            awaits_ready: true,
        };
        // Only what is said from here on is shown when the scenario fails.
        OpenOptions::new().write(true).open(&self.log)?.set_len(0)?;

        let waits = waits_factor.unwrap_or(USUAL_WAITS_FACTOR);
        self.tell(&json!({"do": "reset", "url": url, "waits": waits}))
    }

    /// The file that has what it wrote to stderr.
    pub(crate) fn log(&self) -> &Path {
        &self.log
    }

    /// Sends one command.
    pub(crate) fn tell(&mut self, command: &Value) -> io::Result<()> {
        let commands = self.commands.as_mut().ok_or(io::ErrorKind::BrokenPipe)?;
        commands.write_all(format!("{command}\n").as_bytes())?;
        commands.flush()
    }

    /// Closes stdin; false when the process did not end well, with time for a busy machine.
    pub(crate) fn ends_well(&mut self) -> bool {
        self.commands = None;
        let until = Instant::now() + Duration::from_secs(5);

        while Instant::now() < until {
            if let Ok(Some(status)) = self.process.try_wait() {
                return status.success();
            }
            thread::sleep(Duration::from_millis(5));
        }
        false
    }
}

impl Drop for Adapter {
    fn drop(&mut self) {
        // It has ended already in the good case.
        let _ = self.process.kill();
        let _ = self.process.wait();
        // It lies in the temporary folder; one that stays does no harm.
        let _ = std::fs::remove_file(&self.log);
    }
}

fn lock(heard: &Mutex<Heard>) -> std::sync::MutexGuard<'_, Heard> {
    heard.lock().unwrap_or_else(PoisonError::into_inner)
}

fn hear(heard: &Mutex<Heard>, line: &str) {
    let mut heard = lock(heard);
    if heard.awaits_ready {
        heard.awaits_ready = !line.contains(r#""ready""#);
    }
    if !heard.awaits_ready {
        heard.record.change(|seen| take_in(seen, line));
    }
}

/// Takes what an adapter said.
pub(crate) fn take_in(seen: &mut Seen, line: &str) {
    let Ok(line) = serde_json::from_str::<Value>(line) else {
        let start: String = line.chars().take(100).collect();
        seen.wrong
            .push(format!("the adapter said no JSON: {start}"));
        return;
    };

    match line["say"].as_str().unwrap_or_default() {
        "event" => seen
            .handed
            .push(line["cursor"].as_str().unwrap_or("no cursor").into()),
        "gap" => {
            let reason = line["reason"].as_str().unwrap_or("no reason");
            seen.handed.push(format!("gap:{reason}"));
        }
        "wait" if line["why"] != "sse" => seen.waits.push(line["ms"].as_u64().unwrap_or(u64::MAX)),
        _ => {}
    }
    seen.said.push(line);
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::{Heard, hear};
    use crate::record::Record;

    #[test]
    fn what_is_still_said_of_one_scenario_is_not_taken_for_the_next() {
        let record = Arc::new(Record::default());
        let heard = Mutex::new(Heard {
            record: Arc::clone(&record),
            awaits_ready: true,
        });
        hear(&heard, r#"{"say":"event","cursor":"11-k3x9q2"}"#);
        hear(&heard, r#"{"say":"ready","library":"x","resets":true}"#);
        hear(&heard, r#"{"say":"event","cursor":"12-k3x9q2"}"#);

        record.look(|seen| {
            assert_eq!(seen.handed, ["12-k3x9q2"]);
            assert!(seen.resets());
        });
    }
}
