//! Who may (contract §8): tokens, API keys, cookies and what else one can be known by, on every
//! transport, against a gateway that is a process of its own.

#![allow(unreachable_pub)] // modules of one program

#[path = "../common/mod.rs"]
mod common;
mod ground;
mod provider;

mod algorithms;
mod configuration;
mod confusion;
mod cookies;
mod documented;
mod key_sets;
mod parameters;
mod replaced;
mod revocation;
mod secrets;
mod transports;
