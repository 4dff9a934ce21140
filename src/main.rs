//! The `vidette` command; see [`vidette::cli`].

fn main() -> std::process::ExitCode {
    vidette::cli::main()
}
