//! The library for JavaScript, in Node.

use std::fs;
use std::process::Command;

use tempfile::TempDir;

use crate::{play, root, succeeds};

#[test]
fn its_own_tests_pass() {
    let mut tests = Command::new("node");
    tests.arg("--test");

    succeeds(tests.current_dir(root().join("clients/js")));
}

#[test]
fn its_types_are_right() {
    let mut tsc = Command::new(root().join(".tools/typescript/node_modules/.bin/tsc"));
    tsc.args(["-p", "tests"]);

    succeeds(tsc.current_dir(root().join("clients/js")));
}

/// What is in the package is all that its entry points need.
#[test]
fn its_package_builds_and_can_be_used() {
    let folder = TempDir::new().expect("a folder");
    let mut pack = Command::new("npm");
    pack.args(["pack", "--silent", "--pack-destination"])
        .arg(folder.path());
    succeeds(pack.current_dir(root().join("clients/js")));

    let package = folder.path().join("node_modules/@vidette/client");
    fs::create_dir_all(&package).expect("a folder");
    let mut unpack = Command::new("sh");
    unpack.args([
        "-c",
        "tar -xzf *.tgz -C node_modules/@vidette/client --strip-components 1",
    ]);
    succeeds(unpack.current_dir(folder.path()));

    let mut usage = Command::new("node");
    usage.args(["--input-type=module", "--eval", USES_EVERY_ENTRY_POINT]);
    succeeds(usage.current_dir(folder.path()));
}

const USES_EVERY_ENTRY_POINT: &str = r#"
    import { EventStream, publish, subscribe } from "@vidette/client";
    import { Publisher } from "@vidette/client/publish";
    import { Subscription } from "@vidette/client/subscribe";
    await import("@vidette/client/stream");
    await import("@vidette/client/tabs");
    await import("@vidette/client/all");
    const reader = subscribe("http://127.0.0.1:9", { topic: "a" });
    const hasAll = [EventStream, Publisher, publish].every(Boolean);
    if (!hasAll || !(reader instanceof Subscription)) process.exit(1);
"#;

#[test]
fn it_passes_every_scenario() {
    play("full", &["node", "clients/js/kit/adapter.js"]);
}
