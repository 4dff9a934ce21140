//! The Rust client passes every scenario of the kit.

use std::process::ExitCode;

#[test]
fn it_passes_every_scenario() {
    let adapter = env!("CARGO_BIN_EXE_vidette-rust-kit");
    let arguments = ["run", "--jobs", "8", "--patience", "20", "--", adapter];

    let status = vidette_kit::command_line(arguments.map(str::to_owned));
    // What failed, and why, has been printed.
    assert_eq!(status, ExitCode::SUCCESS);
}
