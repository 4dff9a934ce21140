//! How does it look on the wire?
//!
//! A transport parses a request and shows what a subscription yields; it knows the bus and no
//! engine. Invariants:
//! - an event's encoding is made at most once and shared by all who read it;
//! - the same fault has the same meaning on every transport.

mod closing;
mod content_encoding;
mod counted;
pub(crate) mod grpc;
mod hosts;
mod json;
pub(crate) mod legacy;
mod long_poll;
mod metered;
pub(crate) mod ndjson;
mod options;
mod origin;
mod own_files;
mod pages;
mod peer;
mod pieces;
mod problem;
pub(crate) mod publish;
mod receive;
pub(crate) mod request;
mod router;
pub(crate) mod sse;
mod state;
mod status;

pub(crate) use grpc::HEALTH_SERVICES;
#[cfg(any(test, fuzzing))]
pub(crate) use json::event_json;
pub(crate) use peer::Peer;
pub(crate) use problem::bare_refusal;
pub(crate) use router::Routes;
