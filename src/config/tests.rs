//! The configuration as a whole.

use super::*;

fn errors(text: &str) -> String {
    Config::parse(text, Overrides::default())
        .expect_err("an error")
        .to_string()
}

#[test]
fn a_text_that_is_not_toml_has_its_line_named_and_not_shown() {
    let said = errors("[a]\nurl = \"postgres://me:s3cret@db\n");
    assert!(said.contains("line 2, column "), "{said}");
    assert!(said.contains(": not TOML: "), "{said}");
    assert!(!said.contains("s3cret"), "{said}");
}

#[test]
fn nothing_at_all_is_a_configuration() {
    let config = Config::parse("", Overrides::default()).expect("defaults");
    assert_eq!(
        config.engine,
        EngineKind::Sqlite {
            data_dir: "./vidette-data".into()
        }
    );
    assert_eq!(config.bus.heartbeat, Duration::from_secs(15));
}

#[test]
fn the_command_line_wins_over_the_file() {
    let overrides = Overrides {
        engine: Some("memory".into()),
        ..Overrides::default()
    };
    let config = Config::parse("engine = \"sqlite\"", overrides).expect("a configuration");
    assert_eq!(config.engine, EngineKind::Memory);
}

#[test]
fn all_errors_are_reported_at_once() {
    let reported = errors(
        r#"
        listen = "nowhere"
        enginee = "sqlite"
        [bus]
        heartbeat = "soon"
        [limits]
        max_event_bytes = 0
        memory_budget = 1000
        [retention]
        max_age = "10s"
        max_events = "many"
        [origins]
        allow = ["example.org"]
        "#,
    );
    for part in [
        "nowhere",
        "enginee",
        "bus.heartbeat",
        "max_event_bytes",
        "limits.memory_budget",
        "retention.max_age",
        "retention.max_events",
        "example.org",
    ] {
        assert!(reported.contains(part), "{part} is missing in: {reported}");
    }
}

#[test]
fn no_duration_is_too_long_to_be_compared() {
    let reported = errors("[bus]\nheartbeat = \"500000000000years\"");
    assert!(reported.contains("three times"), "{reported}");
}

#[test]
fn retention_has_to_outlast_three_heartbeats() {
    assert!(
        errors("[bus]\nheartbeat = \"15s\"\n[retention]\nmax_age = \"44s\"")
            .contains("three times")
    );
    assert!(
        Config::parse(
            "[bus]\nheartbeat = \"15s\"\n[retention]\nmax_age = \"45s\"",
            Overrides::default()
        )
        .is_ok()
    );
}
