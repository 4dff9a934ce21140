//! Records everything that publishers and readers send and receive while everything around them
//! fails (history §1), and checks that one log explains it all (contract §2).

#[path = "../common/mod.rs"]
mod common;

mod checker;
mod clock;
mod disturbance;
mod findings;
mod ids;
mod jumps;
mod leaver;
mod network;
mod planted;
mod planted_clock;
mod planted_gaps;
mod planted_whole_log;
mod reader;
mod record;
mod run;
mod shared;
mod stranger;
#[allow(dead_code)] // the suite of failing disks asks more of it
mod whole_log;
mod writer;
