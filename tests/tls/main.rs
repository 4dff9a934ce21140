//! Encrypted connections: each transport over TLS by its usual clients, certificates that change
//! while streams run, certificates of clients, and peers that do not keep to the protocol.

#![allow(unreachable_pub)]

#[path = "../common/mod.rs"]
mod common;

mod support;
mod transports;
