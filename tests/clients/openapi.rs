//! Requests made of the OpenAPI document, by schemathesis.

use crate::common::gateway::{Gateway, Setup};
use crate::tools::{find, root, run_long};

/// The same requests in each run, so many that they take a few seconds.
const BOUNDED: [&str; 8] = [
    "--seed",
    "16",
    "--max-examples",
    "4",
    "--phases",
    "examples,coverage,fuzzing",
    "--generation-database",
    "none",
];

#[tokio::test]
async fn no_request_made_of_the_document_is_answered_otherwise_than_it_says() {
    let gateway = Gateway::start_with(Setup {
        config: "[legacy]\nwait = \"1ms\"\njsonp = true".to_owned(),
        ..Setup::default()
    });
    gateway.publish_numbers("door.1", 3).await;
    let config = root().join("tests/clients/python/schemathesis.toml");
    let config = config.display().to_string();
    let document = format!("{}/openapi.json", gateway.url());
    let asked = ["--config-file", &config, "--no-color", "run", &document];
    let output = run_long(
        find("schemathesis", "venv/bin"),
        &[&asked[..], &BOUNDED].concat(),
    )
    .await;
    let (code, found) = (output.code(), output.stdout);
    assert_eq!(code, 0, "{found}\n{}", output.stderr);
    assert!(found.contains("No issues found"), "{found}");
}
