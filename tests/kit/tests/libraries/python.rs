//! The library for Python, synchronous and on asyncio.

use std::process::Command;

use crate::{play, root, succeeds};

const PYTHON: &str = ".tools/venv/bin/python";

#[test]
fn its_own_tests_pass() {
    let mut pytest = Command::new(root().join(PYTHON));
    pytest.args(["-m", "pytest", "-q"]);

    succeeds(pytest.current_dir(root().join("clients/python")));
}

#[test]
fn its_types_are_right() {
    let mut mypy = Command::new(root().join(PYTHON));
    mypy.args(["-m", "mypy"]);

    succeeds(mypy.current_dir(root().join("clients/python")));
}

#[test]
fn it_passes_every_scenario() {
    play("full", &[PYTHON, "clients/python/kit/adapter.py"]);
}
