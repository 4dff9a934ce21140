//! Two gateways on a stream of three servers of NATS, while servers, gateways, networks and
//! administrators fail them.
//!
//! Publishers with ids publish at both gateways, and readers resume at the other gateway and by
//! another transport at every event or page, with the cursor that they had. In the end the stream
//! has to explain all that anybody was told: nothing lost, repeated, reordered or left untold.
//!
//! By default a few cells run, in which each kind of fault is met once. `VIDETTE_CLUSTER=long` runs
//! all of them, and `VIDETTE_CLUSTER_CELLS` those whose names contain it.

#[path = "../common/mod.rs"]
mod common;

mod administrator;
mod cells;
mod checker;
mod clients;
mod drive;
mod faults;
mod observer;
mod record;
mod stage;
mod table;
mod times;

use std::env;

use crate::cells::Cell;
use crate::common::nats::{self, NatsCluster, NatsSetup};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_fails_clients_of_two_gateways_see_one_log() {
    if !nats::is_installed() {
        return;
    }
    let is_long = env::var("VIDETTE_CLUSTER").is_ok_and(|value| value == "long");
    let wanted = env::var("VIDETTE_CLUSTER_CELLS").unwrap_or_default();
    let mut cells = if is_long {
        cells::long()
    } else {
        cells::short()
    };
    cells.retain(|cell: &Cell| cell.name.contains(&wanted));
    assert!(!cells.is_empty(), "no cell is named {wanted}");

    let setup = NatsSetup {
        servers: stage::SERVERS,
        is_hidden: true,
        ..NatsSetup::default()
    };
    let mut nats = NatsCluster::start_setup(&setup).await;
    let mut failed = Vec::new();
    table::print_head();
    for (number, cell) in cells.iter().enumerate() {
        let wrong = drive::run(&mut nats, number, cell).await;
        failed.extend(
            wrong
                .into_iter()
                .map(|text| format!("{}: {text}", cell.name)),
        );
    }
    assert!(failed.is_empty(), "{failed:#?}");
}
