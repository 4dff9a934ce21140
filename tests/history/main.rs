//! Records everything that publishers and readers are told while everything around them fails, and
//! checks that one log explains it all (contract §2).

#[path = "../common/mod.rs"]
mod common;

mod checker;
mod clock;
mod findings;
mod jumps;
mod network;
mod planted;
mod reader;
mod record;
mod run;
mod shared;
mod writer;
