//! The `vidette` command; see [`vidette::cli`].

/// Gives memory back to the system after a burst, which glibc's does not (docs/performance.md).
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> std::process::ExitCode {
    vidette::cli::main()
}
