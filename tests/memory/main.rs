//! What strangers can make the gateway hold is bounded in all, and nobody else pays for it: attacks
//! by raw bytes against a gateway that is a process of its own, with an eye on its resident memory.

#![allow(unreachable_pub)] // modules of one program

#[path = "../common/mod.rs"]
mod common;
mod raw;

mod readers;
mod requests;
mod streams;
