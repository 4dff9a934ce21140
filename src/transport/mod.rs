//! The transports: long-poll, Server-Sent Events, gRPC, and publishing over HTTP and gRPC.
//!
//! A transport parses a request, and encodes what a subscription yields; it knows the bus and no
//! engine. Invariants:
//! - an event is encoded at most once in each form, and the bytes are shared by all who read it;
//! - the same error has the same meaning on every transport.

mod access;
mod admin;
mod answering;
mod client_address;
mod closing;
mod cloud_events;
mod compression;
mod connection_info;
mod connection_log;
mod content_encoding;
mod counted;
mod counting;
pub(crate) mod event_input;
mod forwarded;
pub(crate) mod grpc;
mod headers;
mod json;
pub(crate) mod legacy;
mod long_poll;
mod message_ends;
mod metered;
pub(crate) mod ndjson;
mod openapi;
mod options;
mod own_files;
mod pages;
pub(crate) mod params;
mod peer;
mod pieces;
mod poll_ask;
mod problem;
pub(crate) mod publish;
mod reader;
mod receipts;
mod receive;
mod redirect;
pub(crate) mod request;
mod router;
mod routes;
pub(crate) mod sse;
mod state;
mod status;
#[cfg(test)]
mod tests;
pub(crate) mod trace_parent;
mod until_ended;

pub(crate) use admin::AdminWatch;
pub(crate) use answering::Answering;
pub(crate) use connection_info::{ConnectionInfo, PeerAddress};
pub(crate) use connection_log::ConnectionLog;
pub(crate) use grpc::HEALTH_SERVICES;
#[cfg(any(test, fuzzing))]
pub(crate) use json::event_json;
pub(crate) use peer::Peer;
pub(crate) use problem::bare_refusal;
pub use problem::{ErrorFace, error_face};
pub(crate) use router::RouteParts;
pub(crate) use routes::{CurrentRoutes, Routes};
pub(crate) use state::{ConnectionLimits, Settings};
