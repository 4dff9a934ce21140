//! Encrypted connections: each transport over TLS by its usual clients, certificates that change
//! while streams run, certificates of clients, and peers that do not keep to the protocol.

// Of what other test programs have, only a part is used.
#![allow(dead_code, unreachable_pub)]

#[path = "../common/mod.rs"]
mod common;

#[path = "../clients/browser/chromium.rs"]
mod chromium;
#[path = "../clients/browser/page.rs"]
mod page;
#[path = "../clients/browser/process.rs"]
mod process;
#[path = "../clients/tools.rs"]
mod tools;

mod clients;
mod drain;
mod half_closed;
mod identities;
mod idle;
mod peers;
mod renewal;
mod settings;
mod slow;
mod support;
mod transports;
