//! Every client library of this repository: its own tests, and every scenario of its level.
//!
//! Each library has a file here. A library's tools come from `scripts/setup-tests.sh`.

mod go;
mod js;
mod own;
mod php;
mod python;

use std::path::PathBuf;
use std::process::Command;
use std::sync::{Mutex, PoisonError};

/// The folder of the repository.
fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The kit's limits are a tenth of the real ones: two libraries at once would miss them on a small
/// machine.
static PLAYING: Mutex<()> = Mutex::new(());

/// Plays every scenario of `level` with this adapter, and says which ones failed.
fn play(level: &str, adapter: &[&str]) {
    play_by(&["--level", level], adapter);
}

/// The same with other options of the kit.
fn play_by(options: &[&str], adapter: &[&str]) {
    let _one_at_a_time = PLAYING.lock().unwrap_or_else(PoisonError::into_inner);
    let mut kit = Command::new(env!("CARGO_BIN_EXE_vidette-kit"));
    kit.args(["run", "--jobs", "8", "--patience", "20"])
        .args(options);
    kit.arg("--").args(adapter);

    succeeds(&mut kit);
}

/// Runs a command in the repository's folder; shows what it printed when it fails.
fn succeeds(command: &mut Command) {
    if command.get_current_dir().is_none() {
        command.current_dir(root());
    }
    let output = command.output().expect("the program starts");

    let printed = [output.stdout, output.stderr].concat();
    assert!(
        output.status.success(),
        "{command:?}\n{}",
        String::from_utf8_lossy(&printed)
    );
}
