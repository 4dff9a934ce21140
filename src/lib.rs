//! vidette: one event bus, read over long-poll, Server-Sent Events and gRPC with one integer
//! cursor, the vid.
//!
//! The modules, in the order data flows:

// What the nouns are.
pub mod cursor;
pub mod error;
pub mod event;
pub mod limits;
pub mod memory;
pub mod metrics;
pub mod topic;

// Where are events kept?
pub mod engine;

// Who is told, and when?
pub mod bus;

// What can be configured.
pub mod config;

// Where else do events come from?
mod source;

// How does it look on the wire?
pub mod proto;
mod transport;

// What a Rust program reads and publishes with.
#[cfg(feature = "client")]
pub mod client;

// Bind, serve, drain.
pub mod server;

// What a person types, and what is logged for one.
pub mod cli;
mod telemetry;

// What the fuzz targets check.
#[cfg(fuzzing)]
pub mod fuzzing;
