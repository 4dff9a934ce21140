//! Python: grpcio with stubs of its own, with reflection only, and gRPC-web by hand over HTTP/1.1.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use tempfile::TempDir;

use crate::common::gateway::{Gateway, Setup};
use crate::tools::{Running, root};

fn python() -> PathBuf {
    let python = root().join(".tools/venv/bin/python");
    assert!(
        python.is_file(),
        "Python's grpcio is missing; run scripts/setup-tests.sh"
    );
    python
}

/// The folder of the stubs, generated from `proto/` once.
fn stubs() -> &'static str {
    static STUBS: OnceLock<String> = OnceLock::new();
    STUBS.get_or_init(|| {
        let target = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let fresh = TempDir::new_in(target).expect("a folder");
        generate_stubs(fresh.path());

        // Each file at once, as another run of these tests may be reading them.
        let (package, folder) = ("vidette/v1", target.join("python-stubs"));
        std::fs::create_dir_all(folder.join(package)).expect("a folder");
        for file in std::fs::read_dir(fresh.path().join(package)).expect("the stubs") {
            let file = file.expect("a file");
            let place = folder.join(package).join(file.file_name());
            std::fs::rename(file.path(), place).expect("a file");
        }
        folder.display().to_string()
    })
}

fn generate_stubs(folder: &Path) {
    let (proto, out) = (root().join("proto"), folder.display());
    let mut command = Command::new(python());
    command.args(["-m", "grpc_tools.protoc", "-I"]).arg(&proto);
    command.arg(format!("--python_out={out}"));
    command.arg(format!("--grpc_python_out={out}"));
    command.arg(proto.join("vidette/v1/vidette.proto"));
    let made = command.output().expect("protoc runs");
    let complaints = String::from_utf8_lossy(&made.stderr);
    assert!(made.status.success(), "{complaints}");
}

/// Starts a script of `tests/clients/python` with the stubs and the gateway's address.
fn start(script: &str, gateway: &Gateway, more: &[&str]) -> Running {
    start_at(script, &gateway.address().to_string(), more)
}

/// The same with the address of what stands before gateways.
pub(crate) fn start_at(script: &str, address: &str, more: &[&str]) -> Running {
    let script = root()
        .join("tests/clients/python")
        .join(script)
        .display()
        .to_string();
    Running::start(
        python(),
        &[&["-u", &script, stubs(), address], more].concat(),
    )
}

/// Starts a script that needs no gateway.
pub(crate) fn start_alone(script: &str) -> Running {
    let script = root().join("tests/clients/python").join(script);
    Running::start(python(), &["-u", &script.display().to_string()])
}

/// Runs a script, which checks what it sees by itself.
pub(crate) async fn run(script: &str, gateway: &Gateway) {
    let output = start(script, gateway, &[]).end().await;
    assert!(
        output.status.success(),
        "{script} failed:\n{}{}",
        output.stdout,
        output.stderr
    );
    assert!(
        output.stdout.ends_with("ok\n"),
        "{script} ended early: {output:?}"
    );
}

#[tokio::test]
async fn grpcio_publishes_subscribes_and_resumes() {
    run("roundtrip.py", &Gateway::start()).await;
}

#[tokio::test]
async fn grpcio_reads_large_batches_within_the_limits_that_a_client_has_by_default() {
    let config = "[limits]\nmax_event_bytes = 3145728".to_owned();
    run(
        "large.py",
        &Gateway::start_with(Setup {
            config,
            ..Setup::default()
        }),
    )
    .await;
}

#[tokio::test]
async fn grpcio_needs_nothing_but_reflection() {
    run("reflection.py", &Gateway::start()).await;
}

#[tokio::test]
async fn grpc_web_works_over_http_1() {
    run("web.py", &Gateway::start()).await;
}

#[tokio::test]
async fn grpcio_resumes_after_a_crash_and_after_an_orderly_end_with_its_last_cursor() {
    let mut gateway = Gateway::start();
    gateway.publish_numbers("door.1", 30).await;
    let mut reader = start("follow.py", &gateway, &["90"]);
    let mut vids = Vec::new();
    for round in 1..=3 {
        while vids.len() < 30 * round {
            let line = reader.line().await.expect("a vid");
            vids.push(
                line.parse::<u64>()
                    .unwrap_or_else(|e| panic!("{e}: {line}")),
            );
        }
        match round {
            1 => gateway.kill(),
            2 => assert!(gateway.terminate().await.success(), "{}", gateway.log()),
            _ => break,
        }
        gateway.start_again();
        gateway.publish_numbers("door.1", 30).await;
    }
    assert_eq!(vids, (1..=90).collect::<Vec<_>>());
    assert!(reader.end().await.status.success());
}

/// Two streams over a minute: one has its turn at once, the other half a minute later.
#[tokio::test]
async fn grpcio_takes_its_next_call_elsewhere_at_a_goaway_and_both_streams_resume() {
    let mut gateway = Gateway::start_on_a_port_of_its_own(Setup {
        config: "[drain]\nover = \"60s\"\n".to_owned(),
        ..Setup::default()
    });
    gateway.publish_numbers("door.1", 1).await;
    let mut readers = start("drain.py", &gateway, &[]);
    assert_eq!(readers.line().await.as_deref(), Some("both read"));
    gateway.ask_to_end();
    assert_eq!(readers.line().await.as_deref(), Some("one reads on"));

    // A second signal ends the other one, too.
    assert!(gateway.terminate().await.success(), "{}", gateway.log());
    gateway.start_again();
    let output = readers.end().await;
    assert!(output.stdout.ends_with("ok\n"), "{output:?}");
}
