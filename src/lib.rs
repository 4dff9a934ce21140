//! vidette: one event bus, read over long-poll, Server-Sent Events and gRPC with one integer
//! cursor, the vid.
//!
//! A program that reads or publishes takes the feature `client` alone (`vidette::client`);
//! the feature `server` adds the gateway, and `cli` the command. The modules, in the order data
//! flows:

#![cfg_attr(not(feature = "cli"), allow(dead_code))]

// What the nouns are.
#[cfg(feature = "server")]
pub mod caller;
pub mod cursor;
mod encodings;
pub mod error;
pub mod event;
pub mod limits;
pub mod lineage;
#[cfg(feature = "server")]
pub mod memory;
#[cfg(feature = "server")]
pub mod metrics;
#[cfg(feature = "server")]
pub mod quota;
pub mod topic;

// Where are events kept?
#[cfg(feature = "server")]
pub mod engine;

// Event fan-out: which subscribers are notified, and when?
#[cfg(feature = "server")]
pub mod bus;

// How connections are encrypted.
#[cfg(feature = "server")]
mod tls;

// What can be configured.
#[cfg(feature = "server")]
pub mod config;

// Spans of publishing.
#[cfg(feature = "server")]
mod traces;

// Who shows a credential?
#[cfg(feature = "server")]
mod auth;

// Where else do events come from?
#[cfg(feature = "server")]
mod source;

// How does it look on the wire?
#[cfg(feature = "grpc")]
pub mod proto;
#[cfg(feature = "server")]
mod transport;
#[cfg(feature = "server")]
pub use transport::{ErrorFace, error_face};

// Copying one log into another.
#[cfg(feature = "cli")]
mod copy;

// What a Rust program reads and publishes with.
#[cfg(feature = "client")]
pub mod client;

// Bind, serve, drain.
#[cfg(feature = "server")]
pub mod server;

// What a person types, and what is logged for one.
#[cfg(feature = "cli")]
pub mod cli;
#[cfg(feature = "cli")]
mod telemetry;

// What the fuzz targets check.
#[cfg(fuzzing)]
pub mod fuzzing;
