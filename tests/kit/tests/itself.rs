//! The kit tests itself: a right reader passes, and its naive twin fails where it is known to be
//! wrong.

use std::process::Command;

/// Plays the scenarios whose names begin so; the exit status and what was printed.
fn play(only: &str, reader: &[&str]) -> (bool, String) {
    // A naive reader never brings what is awaited; a right one is given time on a busy machine.
    let patience = if reader.is_empty() { "20" } else { "2" };
    let adapter = concat!(env!("CARGO_MANIFEST_DIR"), "/reference/adapter.py");
    let output = Command::new(env!("CARGO_BIN_EXE_vidette-kit"))
        .args([
            "run",
            "--jobs",
            "8",
            "--patience",
            patience,
            "--only",
            only,
            "--",
            "python3",
            adapter,
        ])
        .args(reader)
        .output()
        .expect("the kit starts");
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    (output.status.success(), printed)
}

#[test]
fn a_right_reader_passes_every_scenario_of_resuming() {
    let (passed, printed) = play("A/", &[]);

    assert!(passed, "{printed}");
    assert!(printed.contains("17 scenarios, 0 failed"), "{printed}");
}

#[test]
fn a_reader_that_asks_with_its_first_cursor_again_is_found() {
    let (passed, printed) = play("A/cut-after-event", &["naive"]);

    assert!(!passed);
    assert!(
        printed.contains("cursor 10-k3x9q2, expected 11-k3x9q2"),
        "{printed}"
    );
}

#[test]
fn a_reader_that_swallows_gaps_is_found() {
    let (passed, printed) = play("B/expired", &["naive"]);

    assert!(!passed);
    assert!(printed.contains(r#"expected ["gap:expired""#), "{printed}");
}

#[test]
fn a_reader_that_hands_on_an_event_twice_is_found() {
    let (passed, printed) = play("C/lower-vid", &["naive"]);

    assert!(!passed);
    assert!(printed.contains(r#""12-k3x9q2", "11-k3x9q2""#), "{printed}");
}

#[test]
fn a_reader_that_gives_up_is_found() {
    let (passed, printed) = play("D/refused-20-times", &["naive"]);

    assert!(!passed);
    assert!(printed.contains("expected no error"), "{printed}");
}

#[test]
fn a_publisher_that_makes_a_new_id_for_each_try_is_found() {
    let (passed, printed) = play("G/answer-lost", &["naive"]);

    assert!(!passed);
    assert!(printed.contains("expected those of before"), "{printed}");
}
