//! What an operator does to a log: back it up, restore it, move it, upgrade and downgrade it. What
//! readers see of it, and the commands of docs/operations.md and docs/first-hour.md, run as they
//! stand there. The package and the image are installed and started.

#[path = "../common/mod.rs"]
mod common;

mod book;
mod copies;
mod deploy;
mod first_hour;
mod monitoring;
mod package;
mod page;
mod service;
