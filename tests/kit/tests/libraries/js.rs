//! The library for JavaScript, in Node.

use std::process::Command;

use crate::{play, root, succeeds};

#[test]
fn its_own_tests_pass() {
    let mut tests = Command::new("node");
    tests.arg("--test");

    succeeds(tests.current_dir(root().join("clients/js")));
}

#[test]
fn it_passes_every_scenario() {
    play("full", &["node", "clients/js/kit/adapter.js"]);
}
