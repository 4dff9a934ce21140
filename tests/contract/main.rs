//! The contract, on every transport and both engines, against a gateway that is a process of its own.

#[path = "../common/mod.rs"]
mod common;

mod closing;
