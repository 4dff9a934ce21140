//! Python's grpcio, with stubs of its own.

use std::path::PathBuf;
use std::process::Command;

use tempfile::TempDir;

use crate::tools::{root, run};

/// Runs a script of `tests/clients/python`, which checks what it sees by itself.
pub(crate) async fn check(script: &str, address: &str) {
    let (stubs, python) = (TempDir::new().expect("a folder"), python());
    let (proto, out) = (root().join("proto"), stubs.path().display().to_string());
    let mut command = Command::new(&python);
    command.args(["-m", "grpc_tools.protoc", "-I"]).arg(&proto);
    command.arg(format!("--python_out={out}"));
    command.arg(format!("--grpc_python_out={out}"));
    let made = command.arg(proto.join("vidette/v1/vidette.proto")).output();
    assert!(made.expect("protoc runs").status.success());

    let script = root().join("tests/clients/python").join(script);
    let script = script.display().to_string();
    let said = run(python, &["-u", &script, &out, address]).await.ok();
    assert!(said.ends_with("ok\n"), "{said}");
}

fn python() -> PathBuf {
    let python = root().join(".tools/venv/bin/python");
    assert!(python.is_file(), "run scripts/setup-tests.sh");
    python
}
