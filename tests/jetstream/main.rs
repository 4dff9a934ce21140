//! A log on NATS JetStream, with real servers: what it does with the stream, and what others may do
//! to it.

#[path = "../common/mod.rs"]
mod common;

mod copy;
mod lease;
mod open;
mod publish;
mod publish_speed;
mod reads;
mod tail;
