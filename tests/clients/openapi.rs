//! Requests made of the OpenAPI document, by schemathesis.

use crate::common::gateway::{Gateway, Setup};
use crate::tools::{find, root, run};

/// The same requests in each run, so many that they take a few seconds.
const SEED: &str = "16";
const EXAMPLES: &str = "6";

#[tokio::test]
async fn no_request_made_of_the_document_is_answered_otherwise_than_it_says() {
    let gateway = Gateway::start_with(Setup {
        config: "[legacy]\nwait = \"1ms\"\njsonp = true".to_owned(),
        ..Setup::default()
    });
    gateway.publish_numbers("door.1", 3).await;
    let config = root().join("tests/clients/python/schemathesis.toml");
    let document = format!("{}/openapi.json", gateway.url());
    let output = run(
        find("schemathesis", "venv/bin"),
        &[
            "--config-file",
            &config.display().to_string(),
            "--no-color",
            "run",
            &document,
            "--seed",
            SEED,
            "--max-examples",
            EXAMPLES,
            "--phases",
            "examples,coverage,fuzzing",
            "--generation-database",
            "none",
        ],
    )
    .await;
    let output = (output.status, output.stdout, output.stderr);
    assert!(output.0.success(), "{}\n{}", output.1, output.2);
}
