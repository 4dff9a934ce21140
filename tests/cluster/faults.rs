//! What servers, gateways and the network between them do; it has ended when the call returns.

use std::time::Duration;

use nix::sys::signal::Signal;
use tokio::time::sleep;

use crate::common::tcp_proxy::Network;
use crate::stage::{GATEWAYS, Stage};

/// What happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// SIGKILL, and a start so long after.
    Kill(Target, Duration),
    /// SIGSTOP for so long.
    Freeze(Target, Duration),
    /// Each server in turn is killed, and is back after so long.
    Rolling(Duration),
    /// The leader gives way so many times, once a second.
    StepDowns(u32),
    Network(Gateways, Network, Duration),
    /// Half of the stream is trimmed, and it is full from then on.
    MaxBytes,
    PurgeAll,
    PurgeTo,
    /// To a sequence that is still to come.
    PurgeAhead,
    DeleteSome,
    EditMark,
    Recreate,
    DeleteConsumers,
    OutsideBatch,
    OutsideId,
    SpoofedHeaders,
    BadSubjects,
}

/// Whom it hits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Target {
    Leader,
    Follower,
    /// The server that the first gateway is connected to.
    Connection,
    /// The server of a gateway's consumer.
    ConsumersNode,
    /// The first gateway.
    Gateway,
    LeaderAndFollower,
    Followers,
    /// All servers.
    All,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Gateways {
    First,
    Both,
}

impl Stage<'_> {
    /// Lets it happen; it has ended when this returns.
    pub(crate) async fn suffer(&mut self, fault: Fault) {
        match fault {
            Fault::Kill(Target::Gateway, back_after) => {
                self.gateways[0].kill();
                sleep(back_after).await;
                self.start_gateway_again(0).await;
            }
            Fault::Kill(target, back_after) => {
                let servers = self.servers_of(target).await;
                for server in &servers {
                    self.kill(server);
                }
                sleep(back_after).await;
                for server in &servers {
                    self.bring_back(server);
                }
            }
            Fault::Freeze(Target::Gateway, lasts) => {
                self.signal_gateway(0, Signal::SIGSTOP);
                sleep(lasts).await;
                self.signal_gateway(0, Signal::SIGCONT);
            }
            Fault::Freeze(target, lasts) => {
                let servers = self.servers_of(target).await;
                for server in &servers {
                    self.freeze(server);
                }
                sleep(lasts).await;
                for server in &servers {
                    self.bring_back(server);
                }
            }
            Fault::Rolling(down_for) => self.roll(down_for).await,
            Fault::StepDowns(count) => self.step_down(count).await,
            Fault::Network(gateways, network, lasts) => {
                self.break_network(gateways, network, lasts).await;
            }
            _ => self.administer(fault).await,
        }
    }

    async fn servers_of(&self, target: Target) -> Vec<String> {
        let leader = self.leader().await;
        let all = self
            .nats
            .servers
            .iter()
            .map(|server| server.name().to_owned());
        let all: Vec<_> = all.collect();
        let followers = all.iter().filter(|name| **name != leader).cloned();
        let mut followers: Vec<_> = followers.collect();
        match target {
            Target::Leader => vec![leader],
            Target::Follower => vec![followers.swap_remove(0)],
            Target::Connection | Target::Gateway => vec![self.connection_of(0).await],
            Target::ConsumersNode => vec![self.consumers_node().await],
            Target::LeaderAndFollower => vec![leader, followers.swap_remove(0)],
            Target::Followers => followers,
            Target::All => all,
        }
    }

    async fn roll(&mut self, down_for: Duration) {
        for server in self.servers_of(Target::All).await {
            self.kill(&server);
            sleep(down_for).await;
            self.bring_back(&server);
            self.until_healthy().await;
        }
    }

    async fn step_down(&mut self, count: u32) {
        for _ in 0..count {
            // Where there is no leader just now, there is none to give way.
            let _ = self.stream().step_down().await;
            sleep(Duration::from_secs(1)).await;
        }
    }

    async fn break_network(&self, gateways: Gateways, network: Network, lasts: Duration) {
        let count = match gateways {
            Gateways::First => 1,
            Gateways::Both => GATEWAYS,
        };
        (0..count).for_each(|gateway| self.set_network(gateway, network));
        sleep(lasts).await;
        (0..count).for_each(|gateway| self.set_network(gateway, Network::Passes));
    }
}
