//! The program behind `make kills-long`, for seconds: a client library while everything around it
//! fails.

use tokio::process::Command;

use crate::tools::{find, root};

/// The program has bounds of its own for everything that it waits for.
#[tokio::test]
async fn what_a_library_reads_and_publishes_is_the_log_after_kills_cuts_and_swaps() {
    let mut kills = Command::new(find("python3", "venv/bin"));
    kills.arg(root().join("tests/kit/kills"));
    kills.args(["--gateway", env!("CARGO_BIN_EXE_vidette")]);
    kills.args(["--seconds", "2", "python"]);

    let output = kills.kill_on_drop(true).output().await.expect("it starts");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && said.ends_with("\nok\n"),
        "{output:?}"
    );
}
