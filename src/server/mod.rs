//! Bind, serve, drain.
//!
//! A [`Gateway`] binds addresses and opens the log; a listener accepts connections; a connection is
//! driven by hyper, or by `direct` while it only waits for events.

mod chunks;
mod connection;
mod corked;
mod direct;
mod gateway;
pub(crate) mod head;
mod in_flight;
mod linger;
mod listener;
mod outgoing;
mod protocol;
mod readiness;
mod replayed;
mod requests;
mod streams;

pub use gateway::{Gateway, StartError};
