//! vidette: one event bus, read over long-poll, Server-Sent Events and gRPC with one integer cursor, the vid.
//!
//! The modules, in the order data flows:

// What the nouns are.
pub mod cursor;
pub mod error;
pub mod event;
pub mod limits;
pub mod metrics;
pub mod topic;

// Where are events kept?
pub mod engine;

// Who is told, and when?
pub mod bus;
