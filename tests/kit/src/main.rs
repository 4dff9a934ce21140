//! The command: `vidette-kit list`, `run`, `serve` and `table`.

use std::process::ExitCode;

fn main() -> ExitCode {
    vidette_kit::command_line(std::env::args().skip(1))
}
