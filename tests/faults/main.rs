//! What a crash, a power cut, a disk that lies or is full, and a damaged folder do to a gateway.

#[path = "../common/mod.rs"]
mod common;

mod checkpoint;
mod data_folder;
mod disk_full;
mod folders;
mod health;
mod kill;
mod outside;
mod power_loss;
mod queue;
mod refusals;
mod replaced;
mod shim;
mod stranger;
mod subscriber;
mod sync;
mod writer;

// Records and comparisons as in the history suite, of which a part is used here.
#[allow(dead_code)]
#[path = "../history/checker.rs"]
mod checker;
#[allow(dead_code)]
#[path = "../history/findings.rs"]
mod findings;
#[allow(dead_code)]
#[path = "../history/record.rs"]
mod record;
#[path = "../history/whole_log.rs"]
mod whole_log;

use common::publisher;
