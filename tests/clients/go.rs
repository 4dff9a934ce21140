//! Go: the library over gRPC (`clients/go/grpcsub`), whose tests kill a gateway of their own, and
//! a reader on plain go-sse (`examples/go-sse`).

use std::process::Command;

use crate::common::gateway::Gateway;
use crate::tools::{Running, find};

#[test]
fn the_library_over_grpc_loses_and_doubles_nothing_when_the_gateway_is_killed() {
    let mut tests = Command::new(find("grpcsub-go", "bin"));
    tests.args(["-test.timeout", "60s", "-test.v"]);
    tests.env("VIDETTE_PROGRAM", env!("CARGO_BIN_EXE_vidette"));
    let output = tests.output().expect("the tests run");

    let printed = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{printed}");
    assert!(!printed.contains("--- SKIP"), "{printed}");
}

#[tokio::test]
async fn a_reader_on_go_sse_resumes_after_a_crash() {
    let mut gateway = Gateway::start();
    gateway.publish_numbers("door.1", 3).await;
    let mut reader = Running::start(find("go-sse-reader", "bin"), &[&gateway.url()]);
    let mut vids = Vec::new();

    for round in 1..=2 {
        while vids.len() < 3 * round {
            let line = reader.line().await.expect("an event");
            let event: serde_json::Value = serde_json::from_str(&line).expect("JSON");
            vids.push(event["vid"].as_u64().expect("a vid"));
        }
        if round == 1 {
            gateway.kill();
            gateway.start_again();
            gateway.publish_numbers("door.1", 3).await;
        }
    }

    assert_eq!(vids, (1..=6).collect::<Vec<_>>());
}
