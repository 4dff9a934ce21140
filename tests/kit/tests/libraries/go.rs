//! The library for Go.

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

#[test]
fn it_passes_every_scenario() {
    play("full", &[".tools/bin/kit-go"]);
}
