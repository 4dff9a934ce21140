//! What an operator does to a log: back it up, restore it, move it, upgrade and downgrade it. What
//! readers see of it, and the commands of docs/operations.md, run as they stand there.

#[path = "../common/mod.rs"]
mod common;

mod copies;
mod deploy;
mod monitoring;
mod page;
mod service;
