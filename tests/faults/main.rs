//! What a crash, a power cut, a disk that lies or is full, and a damaged folder do to a gateway.

#[path = "../common/mod.rs"]
mod common;

mod checkpoint;
mod data_folder;
mod disk_full;
mod folders;
mod health;
mod history;
mod kill;
mod outside;
mod power_loss;
mod replaced;
mod shim;
mod stranger;
mod subscriber;
mod sync;
mod writer;

use common::publisher;
