//! `vidette config`.

use std::fs;

use tempfile::TempDir;

use super::{VIDETTE, vidette};
use crate::tools::Output;

/// A folder with this configuration in it, and the path of that.
fn file(text: &str) -> (TempDir, String) {
    let folder = TempDir::new().expect("a folder");
    let path = folder.path().join("vidette.toml");
    fs::write(&path, text).expect("a file");
    let path = path.display().to_string();
    (folder, path)
}

/// Runs the command with variables of the environment.
async fn with_variables(args: &[&str], variables: &[(&str, &str)]) -> Output {
    let mut command: Vec<String> = Vec::new();
    command.extend(
        variables
            .iter()
            .map(|(name, value)| format!("{name}={value}")),
    );
    command.push(VIDETTE.to_owned());
    command.extend(args.iter().map(|arg| (*arg).to_owned()));
    let command: Vec<&str> = command.iter().map(String::as_str).collect();
    crate::tools::run("env", &command).await
}

#[tokio::test]
async fn the_example_is_right_and_every_error_is_named_with_its_place() {
    let example = vidette(&["config", "example"]).await.ok();
    let (_folder, path) = file(&example);
    let said = vidette(&["config", "check", &path]).await.ok();
    assert!(said.contains("is right: 0 settings are set"), "{said}");

    let (_folder, path) = file("listen = []\n[limits]\n  max_connections = 0\nmax_evnts = 3\n");
    let variables = [("VIDETTE_LIMITS__WRITE_TIMEOUT", "0s")];
    let flags = ["--engine", "paper", "--listen", "nowhere"];
    let args = [&["config", "check", &path], &flags[..]].concat();
    let wrong = with_variables(&args, &variables).await;
    assert_eq!(wrong.code(), 64, "{wrong:?}");
    for part in [
        format!("{path}:1:10: listen names no address"),
        format!("{path}:3:21: limits.max_connections has to be at least 1"),
        format!("{path}:4:13: limits.max_evnts: unknown setting"),
        "VIDETTE_LIMITS__WRITE_TIMEOUT: limits.write_timeout has to be more than 0s".to_owned(),
        "--engine: engine: \"paper\" is neither".to_owned(),
        "--listen: listen: \"nowhere\" is not an address".to_owned(),
    ] {
        assert!(wrong.stderr.contains(&part), "{part} is not in {wrong:?}");
    }
    assert!(wrong.stdout.is_empty(), "{wrong:?}");
}

#[tokio::test]
async fn what_is_in_force_is_shown_with_where_it_comes_from() {
    let (_folder, path) = file("listen = \"8080\"\n[retention]\nmax_age = \"2days\"\n");
    let variables = [
        ("VIDETTE_LISTEN", "localhost:7070"),
        ("VIDETTE_RETENTION__MAX_EVENTS", "7"),
    ];
    let args = ["config", "show", &path, "--set", "--data-dir", "/tmp/log"];
    let shown = with_variables(&args, &variables).await.ok();
    let lines = shown
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "));
    let expected = [
        "listen = [\"127.0.0.1:7070\"] # VIDETTE_LISTEN".to_owned(),
        "data_dir = \"/tmp/log\" # --data-dir".to_owned(),
        String::new(),
        "[retention]".to_owned(),
        format!("max_age = \"2days\" # {path}:3:11"),
        "max_events = 7 # VIDETTE_RETENTION__MAX_EVENTS".to_owned(),
    ];
    assert_eq!(lines.collect::<Vec<_>>(), expected, "{shown}");
}

#[test]
fn the_page_about_the_configuration_has_the_example_as_it_is() {
    let page = include_str!("../../../docs/configuration.md");
    let example = include_str!("../../../src/config/example.toml");
    assert!(
        page.contains(&format!("```toml\n{example}```\n")),
        "docs/configuration.md is old"
    );
}
