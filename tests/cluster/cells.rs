//! Which faults are met, and what is promised of each.

use std::time::Duration;

use crate::common::tcp_proxy::Network;
use crate::faults::{Fault, Gateways, Target};
use crate::stage::Made;

/// The bound that gateways start with: so long after the last word of the log they are not ready.
pub(crate) const STALE_AFTER: Duration = Duration::from_secs(15);

/// A fault, what it hits, and what is promised.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cell {
    pub(crate) name: &'static str,
    pub(crate) fault: Fault,
    /// Gateways that the fault itself keeps from following are measured from its end.
    pub(crate) is_tail_from_end: bool,
    /// Gateways have to say that they are not in touch with the log.
    pub(crate) has_to_be_red: bool,
    pub(crate) made: Made,
}

fn cell(name: &'static str, fault: Fault) -> Cell {
    Cell {
        name,
        fault,
        is_tail_from_end: false,
        has_to_be_red: false,
        made: Made::ByGateway,
    }
}

impl Cell {
    fn cut_off(self) -> Self {
        Cell {
            is_tail_from_end: true,
            ..self
        }
    }

    fn red(self) -> Self {
        Cell {
            has_to_be_red: true,
            ..self.cut_off()
        }
    }

    fn by_administrator(self) -> Self {
        Cell {
            made: Made::ByAdministrator,
            ..self
        }
    }

    /// A frozen gateway answers nobody.
    pub(crate) fn freezes_gateway(&self) -> bool {
        matches!(self.fault, Fault::Freeze(Target::Gateway, _))
    }
}

const fn kill(target: Target) -> Fault {
    Fault::Kill(target, Duration::from_secs(8))
}

const fn freeze(target: Target, seconds: u64) -> Fault {
    Fault::Freeze(target, Duration::from_secs(seconds))
}

const fn network(of: Gateways, network: Network, seconds: u64) -> Fault {
    Fault::Network(of, network, Duration::from_secs(seconds))
}

/// Each kind of fault once, for all runs of the tests.
pub(crate) fn short() -> Vec<Cell> {
    let back_soon = Duration::from_secs(1);
    vec![
        cell("kill leader", Fault::Kill(Target::Leader, back_soon)),
        cell("step-downs", Fault::StepDowns(3)),
        cell("kill gateway", Fault::Kill(Target::Gateway, back_soon)).cut_off(),
        cell("drop one", network(Gateways::First, Network::Drops, 2)).cut_off(),
        cell("recreate", Fault::Recreate).cut_off(),
        cell("bad subjects", Fault::BadSubjects),
    ]
}

/// All of them.
pub(crate) fn long() -> Vec<Cell> {
    let mut cells = servers();
    cells.extend(networks());
    cells.extend(administrators());
    cells
}

fn servers() -> Vec<Cell> {
    use Target::{All, Connection, ConsumersNode, Follower, Gateway, Leader};

    let seconds = Duration::from_secs;
    vec![
        cell("kill leader", kill(Leader)),
        cell("kill follower", kill(Follower)),
        cell("kill connection", kill(Connection)),
        cell("kill consumer", kill(ConsumersNode)),
        cell("kill gateway", kill(Gateway)).cut_off(),
        cell("kill all", Fault::Kill(All, seconds(2))).cut_off(),
        cell("kill rolling", Fault::Rolling(seconds(2))),
        cell("freeze 5 leader", freeze(Leader, 5)),
        cell("freeze 5 follower", freeze(Follower, 5)),
        cell("freeze 5 connection", freeze(Connection, 5)),
        cell("freeze 5 consumer", freeze(ConsumersNode, 5)),
        cell("freeze 5 gateway", freeze(Gateway, 5)).cut_off(),
        cell("freeze 5 all", freeze(All, 5)).cut_off(),
        cell(
            "majority with leader",
            freeze(Target::LeaderAndFollower, 25),
        )
        .red(),
        cell("majority of followers", freeze(Target::Followers, 25)).red(),
        cell("freeze 30 leader", freeze(Leader, 30)),
        cell("freeze 30 follower", freeze(Follower, 30)),
        cell("freeze 30 connection", freeze(Connection, 30)),
        cell("freeze 30 consumer", freeze(ConsumersNode, 30)),
        cell("freeze 30 gateway", freeze(Gateway, 30)).cut_off(),
        cell("freeze 30 all", freeze(All, 30)).red(),
        cell("step-downs", Fault::StepDowns(8)),
    ]
}

fn networks() -> Vec<Cell> {
    use Gateways::{Both, First};

    let slow = Network::Delays(Duration::from_millis(200));
    vec![
        cell("drop one", network(First, Network::Drops, 20)).cut_off(),
        cell("drop both", network(Both, Network::Drops, 20)).red(),
        cell("delay one", network(First, slow, 8)),
        cell("delay both", network(Both, slow, 8)),
        cell("half open one", network(First, Network::IsHalfOpen, 20)).cut_off(),
        cell("half open both", network(Both, Network::IsHalfOpen, 20)).red(),
        cell("refuse one", network(First, Network::Refuses, 20)).cut_off(),
        cell("refuse both", network(Both, Network::Refuses, 20)).red(),
    ]
}

fn administrators() -> Vec<Cell> {
    vec![
        cell("max_bytes", Fault::MaxBytes),
        cell("purge all", Fault::PurgeAll),
        cell("purge to", Fault::PurgeTo),
        cell("purge ahead", Fault::PurgeAhead),
        cell("delete one", Fault::DeleteSome).by_administrator(),
        cell("edit mark", Fault::EditMark).cut_off(),
        cell("recreate", Fault::Recreate).cut_off(),
        cell("delete consumers", Fault::DeleteConsumers),
        cell("outside batch", Fault::OutsideBatch),
        cell("outside id", Fault::OutsideId),
        cell("spoofed headers", Fault::SpoofedHeaders),
        cell("bad subjects", Fault::BadSubjects),
    ]
}
