//! The `vidette` command, as a person or a script uses it.

mod behind_a_proxy;
mod bench;
mod churn;
mod config;
mod operate;
mod protected;
mod publish;
mod readme;
mod resume;
mod serve;
mod tail;
mod token;

use crate::tools::{Output, run_with_input};

const VIDETTE: &str = env!("CARGO_BIN_EXE_vidette");

async fn vidette(args: &[&str]) -> Output {
    vidette_with_input(args, "").await
}

async fn vidette_with_input(args: &[&str], input: &str) -> Output {
    run_with_input(VIDETTE, args, input.as_bytes()).await
}

#[tokio::test]
async fn help_is_there_for_each_command_and_exits_with_0() {
    let cases: [(&[&str], &[&str]); 9] = [
        (
            &["--help"],
            &[
                "serve",
                "publish",
                "tail",
                "token",
                "source",
                "bench",
                "Examples:",
            ],
        ),
        (
            &["serve", "--help"],
            &[
                "--listen",
                "--data-dir",
                "--engine",
                "--config",
                "--demo",
                "VIDETTE_LISTEN",
            ],
        ),
        (
            &["publish", "--help"],
            &[
                "--ndjson",
                "--type",
                "--id",
                "--id-prefix",
                "--from-line",
                "--retry-for",
                "Examples:",
            ],
        ),
        (
            &["source", "postgres", "init", "--help"],
            &[
                "--print",
                "--table",
                "--topic",
                "--outbox",
                "--role",
                "Examples:",
            ],
        ),
        (
            &["tail", "--help"],
            &[
                "--via",
                "--after",
                "--since",
                "--snapshot",
                "--limit",
                "--no-follow",
                "--type",
                "--json",
                "--token-file",
                "VIDETTE_TOKEN",
                "--ca",
                "--certificate",
                "Examples:",
            ],
        ),
        (
            &["token", "--help"],
            &["new", "key", "secret", "pair", "show", "hash", "Examples:"],
        ),
        (
            &["token", "new", "--help"],
            &["--subscribe", "--publish", "--expires-in", "Examples:"],
        ),
        (
            &["bench", "--help"],
            &[
                "fanout",
                "idle",
                "poll",
                "publish",
                "grpc",
                "resume",
                "Examples:",
            ],
        ),
        (&["--version"], &[env!("CARGO_PKG_VERSION")]),
    ];
    for (args, texts) in cases {
        let help = vidette(args).await.ok();
        for text in texts {
            assert!(help.contains(text), "{args:?}: {text} is missing in {help}");
        }
    }
}

#[tokio::test]
async fn wrong_flags_exit_with_64() {
    let cases: [&[&str]; 20] = [
        &[],
        &["sreve"],
        &["serve", "--nonsense"],
        &["serve", "--listen", "nowhere"],
        &["serve", "--engine", "paper"],
        &["tail", "--via", "pigeon"],
        &["tail", "--after", "1", "--since", "1m"],
        &["tail", "--limit", "0"],
        &["publish"],
        &["publish", "--ndjson", "door.3", "{}"],
        &["publish", "--ndjson", "--type", "opened"],
        &["publish", "--ndjson", "/nowhere/at/all"],
        &["publish", "--ndjson", "-", "--from-line", "0"],
        &["publish", "--ndjson", "-", "--retry-for", "soon"],
        &["publish", "door.3", "{}", "--id-prefix", "x"],
        &["publish", "door.3", "{}", "--from-line", "7"],
        &["source", "postgres"],
        &["tail", "--token", "x"],
        &["tail", "--certificate", "cert.pem"],
        &["token"],
    ];
    for args in cases {
        let output = vidette(args).await;
        assert_eq!(output.code(), 64, "{args:?} {output:?}");
        assert!(
            !output.stderr.is_empty() && output.stdout.is_empty(),
            "{args:?} {output:?}"
        );
    }
}

#[tokio::test]
async fn an_address_that_is_no_url_exits_with_64_instead_of_being_tried_for_ever() {
    let cases: [&[&str]; 4] = [
        &["publish", "a", "1", "--url", "127.0.0.1:9"],
        &["tail", "--url", "127.0.0.1:9"],
        &["tail", "--via", "poll", "--url", "ftp://127.0.0.1:9"],
        &["tail", "--via", "grpc", "--url", "127.0.0.1:9"],
    ];
    for args in cases {
        let output = vidette(args).await;
        assert_eq!(output.code(), 64, "{args:?} {output:?}");
    }
}
