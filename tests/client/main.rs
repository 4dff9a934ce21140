//! The client library, `vidette::client`: against a gateway that is killed and comes back, and
//! against servers that do not behave.

#[path = "../common/mod.rs"]
mod common;

mod publishing;
mod reading;
mod scripted;
mod tokens;
