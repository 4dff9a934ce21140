//! Clients that nobody wrote for vidette: a browser, curl, grpcurl, Python's grpcio, and the
//! `vidette` command itself.
//!
//! What they need beside cargo is installed by `scripts/setup-tests.sh`.

#[path = "../common/mod.rs"]
mod common;

mod browser;
mod cli;
mod cloud_events;
mod curl;
mod door_alarms;
mod go;
mod grpcurl;
mod kills;
mod network;
mod openapi;
mod python;
mod three_lines;
mod tools;
mod traces;
