//! The `vidette` command.
fn main() {}
