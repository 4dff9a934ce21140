//! The limits of each client, by the clients that people use, on each transport.

#[path = "../common/mod.rs"]
mod common;
#[path = "../clients/tools.rs"]
#[allow(dead_code, reason = "made for another program")]
mod tools;

mod addresses;
mod certificates;
mod clients;
mod connections;
mod publishing;
mod replaced;
mod subscriptions;
