//! Bind, serve, drain.
//!
//! A [`Gateway`] binds addresses and opens the log; a listener accepts connections; a connection is
//! driven by hyper, or by `direct` while it only waits for events.

mod connection;
mod corked;
mod direct;
mod gateway;
pub(crate) mod head;
mod listener;
mod outgoing;
mod protocol;
mod replayed;

pub use gateway::{Gateway, StartError};
