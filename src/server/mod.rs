//! Bind, serve, drain.
//!
//! A [`Gateway`] binds addresses and opens the log; a listener accepts connections; a connection is
//! driven by hyper, or by `lean` while it only waits or publishes.

mod below_tls;
mod by_hyper;
mod chunks;
mod connection;
mod corked;
mod drain;
mod gateway;
mod guard;
mod handshake;
pub(crate) mod head;
mod in_flight;
mod io;
mod layered;
mod lean;
mod linger;
mod listener;
mod live;
mod opening;
mod outgoing;
mod per_address;
mod protocol;
mod proxy_header;
mod readiness;
mod requests;
mod rewind;
mod streams;
#[cfg(test)]
mod tests;
mod unix_socket;

pub use gateway::{Gateway, StartError};
pub use live::LiveConfig;
