//! A gateway that the bench starts: this program's `serve`, or another's, in a process of its own.
//!
//! Invariants: its log is in a temporary folder; process and folder are removed when the bench
//! ends. It has a process group of its own, so that an interrupt ends the measuring first.

use std::io::{BufRead as _, BufReader};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, ChildStderr, Command, Stdio};

use tempfile::TempDir;

/// A random port, and a log that says which one it is.
const SERVE: [&str; 5] = ["serve", "--listen", "127.0.0.1:0", "--log", "info"];

pub(crate) struct OwnGateway {
    child: Child,
    pub(crate) url: String,
    _folder: TempDir,
}

impl OwnGateway {
    pub(crate) fn start(
        program: Option<&Path>,
        engine: &str,
        config: Option<&Path>,
    ) -> Result<Self, String> {
        // A log of its own, so that no earlier run adds to what is measured.
        let folder = TempDir::new()
            .map_err(|error| format!("failed to make a temporary folder: {error}"))?;
        let mut command = serve(program, engine, config, &folder.path().join("data"))?;
        let child = command.spawn();
        let child = child.map_err(|error| format!("failed to start the gateway: {error}"))?;

        // From here on dropping it ends the process, whatever goes wrong.
        let mut gateway = OwnGateway {
            child,
            url: String::new(),
            _folder: folder,
        };
        gateway.url = gateway.listening()?;
        Ok(gateway)
    }

    /// Its address, once it listens.
    fn listening(&mut self) -> Result<String, String> {
        // A gateway that cannot start says why in its log.
        let log = self.child.stderr.take();
        let address = log.map_or_else(|| Err(String::new()), address);
        address.map_err(|log| format!("the gateway did not start: {log}"))
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }
}

fn serve(
    program: Option<&Path>,
    engine: &str,
    config: Option<&Path>,
    data_dir: &Path,
) -> Result<Command, String> {
    // The same program by default, so that client and gateway are of the same build.
    let program = match program {
        Some(program) => program.to_owned(),
        None => std::env::current_exe()
            .map_err(|error| format!("failed to find this program: {error}"))?,
    };
    let mut command = Command::new(program);
    command.args(SERVE).args(["--engine", engine]);
    command.arg("--data-dir").arg(data_dir);
    if let Some(config) = config {
        command.arg("--config").arg(config);
    }

    // Only its log is read; whatever it prints otherwise would mix with the report.
    command.stdin(Stdio::null()).stdout(Stdio::null());
    command.stderr(Stdio::piped()).process_group(0);
    Ok(command)
}

impl Drop for OwnGateway {
    fn drop(&mut self) {
        // Waited for as well, or its folder would be removed while it still writes there.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Reads the log up to the line that names the address. If the log ends before, the error is its
/// text.
fn address(log: ChildStderr) -> Result<String, String> {
    let mut lines = BufReader::new(log).lines().map_while(Result::ok);
    let mut said = String::new();
    for line in lines.by_ref() {
        if let Some((_, address)) = line.split_once("listening on ") {
            // A pipe that nobody reads would stop the gateway once it is full.
            std::thread::spawn(move || lines.for_each(drop));
            return Ok(address.trim().to_owned());
        }

        // Kept for the error: a gateway that cannot start says why in these lines.
        said.push_str(&line);
        said.push('\n');
    }
    Err(said)
}
