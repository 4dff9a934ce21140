//! How does it look on the wire?
//!
//! A transport parses a request and shows what a subscription yields; it knows the bus and no
//! engine. Invariants:
//! - an event's encoding is made at most once and shared by all who read it;
//! - the same fault has the same meaning on every transport.

mod access;
mod closing;
mod content_encoding;
mod counted;
pub(crate) mod grpc;
mod json;
pub(crate) mod legacy;
mod long_poll;
mod metered;
pub(crate) mod ndjson;
mod options;
mod own_files;
mod pages;
mod peer;
mod pieces;
mod problem;
pub(crate) mod publish;
mod receive;
pub(crate) mod request;
mod router;
mod routes;
pub(crate) mod sse;
mod state;
mod status;

pub(crate) use grpc::HEALTH_SERVICES;
pub use grpc::client_proto as proto;
pub(crate) use json::event_json;
pub(crate) use peer::Peer;
pub(crate) use problem::bare_refusal;
pub(crate) use router::RouteParts;
pub(crate) use routes::{CurrentRoutes, Routes};
pub(crate) use state::{ConnectionLimits, Settings};
