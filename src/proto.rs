//! The generated code of a gRPC client of `vidette.v1.EventBus`, with the contract's messages.
//!
//! It is made of `proto/vidette/v1/vidette.proto`, where each message and field is explained.

#![allow(missing_docs, unreachable_pub, clippy::pedantic)]

include!(concat!(env!("OUT_DIR"), "/client/vidette.v1.rs"));
