//! Signals of a gateway that serves: how it ends, how it looks at its configuration again, and what
//! becomes of it and its logs when its terminal is closed or nobody reads them.

#[path = "../common/mod.rs"]
mod common;

mod ending;
mod hangup;
mod histogram;
mod logs;
mod pacing;
mod publishers;
mod streams;
mod terminal;
