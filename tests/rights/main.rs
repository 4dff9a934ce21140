//! What rights do to whoever is served: filters that are cut down, and streams that end with their
//! credentials, on every transport by its usual clients.

#![allow(unreachable_pub)] // modules of one program

#[path = "../common/mod.rs"]
mod common;
#[allow(dead_code)]
#[path = "../clients/tools.rs"]
mod tools;

mod admin;
mod cut;
mod ends;
mod ground;
mod publishing;
mod slow;
