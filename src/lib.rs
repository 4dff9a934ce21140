//! vidette: one event bus, read over long-poll, Server-Sent Events and gRPC with one integer
//! cursor, the vid.
//!
//! The modules, in the order data flows:

// What the nouns are.
pub mod caller;
pub mod cursor;
mod encodings;
pub mod error;
pub mod event;
pub mod limits;
pub mod lineage;
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
mod transport;
pub use transport::{ErrorFace, error_face, proto};

// Bind, serve, drain.
pub mod server;

// What a person types, and what is logged for one.
pub mod cli;
mod telemetry;

// What the fuzz targets check.
#[cfg(fuzzing)]
pub mod fuzzing;
