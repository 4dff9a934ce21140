//! The library for Go.

use std::path::Path;
use std::process::Command;

use crate::{play, root, succeeds};

/// The `go` command in the module's folder.
fn go(arguments: &[&str]) -> Command {
    let mut go = Command::new("go");
    go.args(arguments).current_dir(root().join("clients/go"));
    go
}

#[test]
fn its_own_tests_pass() {
    // With all of `go vet`.
    succeeds(&mut go(&["test", "-vet=all", "-timeout", "60s", "./..."]));
}

/// The adapter is built once: `go run` for each scenario would take too long.
#[test]
fn it_passes_every_scenario() {
    let adapter = Path::new(env!("CARGO_TARGET_TMPDIR")).join("kit-go");
    let adapter = adapter.to_str().expect("a path of UTF-8");
    succeeds(&mut go(&["build", "-o", adapter, "./kit"]));

    play("full", &[adapter]);
}
