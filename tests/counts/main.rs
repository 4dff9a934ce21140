//! How many instructions the hot paths take, so that a slip is seen as a count and not as a time.
//!
//! Each script is run under valgrind's callgrind with two lengths; the difference has no start-up
//! in it. What a unit takes is compared with `tests/counts/counts.json`, which has a table for each
//! build profile and says by which compiler it was made: with another one the counts are shown and
//! not compared. More than a tenth above them fails; `VIDETTE_COUNTS=write` writes them anew.

mod scripts;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};

/// A count may be off by this part: hash tables have random seeds, and sockets are read in other
/// portions.
const TOLERANCE: f64 = 0.10;
/// Scripts that are counted at the same time.
const AT_ONCE: usize = 2;
/// Counts that are too high are taken again so often.
const RECOUNTS: u32 = 2;
/// A run that takes longer hangs.
const RUN_WAIT: Duration = Duration::from_secs(120);

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["run", script, units] => {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a runtime");
            runtime.block_on(scripts::run(script, units.parse().expect("a number")));
            ExitCode::SUCCESS
        }
        _ if args.iter().any(|arg| arg == "--list") => ExitCode::SUCCESS,
        _ => compare(),
    }
}

fn compare() -> ExitCode {
    if Command::new("valgrind")
        .arg("--version")
        .stdout(Stdio::null())
        .status()
        .is_err()
    {
        eprintln!("valgrind is missing; run scripts/setup-tests.sh");
        return ExitCode::FAILURE;
    }
    let counts = count_all();
    let known = known(&counts);
    if known.is_none() {
        println!(
            "{} has no counts of {}, {}: shown only",
            path().display(),
            compiler(),
            profile()
        );
    }
    let mut is_good = true;
    for ((script, what), (_, count)) in scripts::SCRIPTS.iter().zip(&counts) {
        // A script that has not been counted before is shown only.
        let before = known.as_ref().and_then(|known| known[script].as_f64());
        let change =
            before.map(|before| best(script, *count, before * (1.0 + TOLERANCE)) / before - 1.0);
        is_good &= change.is_none_or(|change| change <= TOLERANCE);
        let (percent, verdict) = change.map_or((String::new(), ""), judged);
        println!("{script:8} {count:>12.0} instructions {percent:>9}   {what}{verdict}");
    }
    if is_good {
        return ExitCode::SUCCESS;
    }
    eprintln!(
        "if that is meant: VIDETTE_COUNTS=write cargo test --test counts, and commit tests/counts/counts.json"
    );
    ExitCode::FAILURE
}

/// On a busy machine sockets are read in smaller portions: what is too much is counted again before
/// it is believed.
fn best(script: &str, count: f64, bound: f64) -> f64 {
    let mut best = count;
    for _ in 0..RECOUNTS {
        if best <= bound {
            break;
        }
        best = best.min(self::count(script));
    }
    best
}

fn judged(change: f64) -> (String, &'static str) {
    let verdict = match change {
        c if c > TOLERANCE => "  <- more than a tenth worse",
        c if c < -TOLERANCE => "  <- better: write it, so that it stays so",
        _ => "",
    };
    (format!("{:+.1} %", change * 100.0), verdict)
}

/// The instructions that are known for this profile and compiler; those that were just counted, if
/// they are to be written.
fn known(counts: &[(&str, f64)]) -> Option<Value> {
    let mut all: Value = serde_json::from_str(&std::fs::read_to_string(path()).unwrap_or_default())
        .unwrap_or_default();
    if std::env::var_os("VIDETTE_COUNTS").is_some_and(|v| v == "write") {
        let table: Map<_, _> = counts
            .iter()
            .map(|(script, count)| ((*script).to_owned(), json!(count.round())))
            .collect();
        all[profile()] = json!({ "compiler": compiler(), "instructions": table });
        let text = serde_json::to_string_pretty(&all).expect("JSON");
        std::fs::write(path(), text + "\n").expect("the counts can be written");
    }
    let mine = all[profile()].take();
    (mine["compiler"] == compiler()).then(|| mine["instructions"].clone())
}

/// Instructions a unit, of all scripts.
fn count_all() -> Vec<(&'static str, f64)> {
    let mut counts = Vec::new();
    for some in scripts::SCRIPTS.chunks(AT_ONCE) {
        let threads: Vec<_> = some
            .iter()
            .map(|(script, _)| std::thread::spawn(|| (*script, count(script))))
            .collect();
        counts.extend(
            threads
                .into_iter()
                .map(|thread| thread.join().expect("a count")),
        );
    }
    counts
}

/// Units of a short and of a long run.
fn lengths(script: &str) -> (u64, u64) {
    match script {
        "match" | "append" => (1000, 5000),
        "page" => (2000, 10_000),
        // Commits: fewer than what brings the index up to date.
        "commit" | "wake" | "held" | "ready" => (100, 600),
        // Signing tokens takes another number of instructions each time: many units hide it.
        "known" => (20, 170),
        "again" => (20, 520),
        _ => (20, 70),
    }
}

#[expect(clippy::cast_precision_loss, reason = "a mean")]
fn count(script: &str) -> f64 {
    let (short, long) = lengths(script);
    let more = instructions(script, long) - instructions(script, short);
    more as f64 / (long - short) as f64
}

/// All instructions of a run of this program.
fn instructions(script: &str, units: u64) -> i64 {
    let mut command = Command::new("valgrind");
    command.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]);
    command
        .arg(std::env::current_exe().expect("this program"))
        .args(["run", script, &units.to_string()]);
    let mut child = command
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("valgrind starts");
    let begun = Instant::now();
    while child.try_wait().expect("it can be waited for").is_none() {
        if begun.elapsed() > RUN_WAIT {
            let _ = child.kill();
            let _ = child.wait();
            panic!("{script} did not end in time");
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    let output = child.wait_with_output().expect("its output");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{script}: {said}");
    let collected = said
        .lines()
        .find_map(|line| line.split_once("Collected :"))
        .map(|(_, count)| count.trim().parse());
    collected
        .unwrap_or_else(|| panic!("no count in {said}"))
        .expect("a number")
}

fn path() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/counts/counts.json")
}

fn profile() -> &'static str {
    if cfg!(debug_assertions) {
        "debug"
    } else {
        "release"
    }
}

/// The compiler, and the machine it makes code for.
fn compiler() -> String {
    let version = Command::new(std::env::var_os("RUSTC").unwrap_or("rustc".into()))
        .arg("--version")
        .output();
    let version = version.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    format!("{} {}", version.unwrap_or_default(), std::env::consts::ARCH)
}
