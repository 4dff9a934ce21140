//! Rows of a real PostgreSQL (Debian's package) that become events.
//!
//! Each test has a server of its own, so that it can be restarted, silenced and crashed.

#[path = "../history/clock.rs"]
#[expect(dead_code, reason = "the other tests use more of it")]
mod clock;
#[path = "../common/mod.rs"]
mod common;

mod database;
mod existing;
mod order;
mod outage;
mod outbox;
mod proof;
mod rows;
mod trouble;
mod waking;
mod writers;
