//! What a run of a fleet begins with, and what is planned in it.

use crate::balancer::Policy;
use crate::clients::{Client, Waits};

/// A fleet, and what a connection costs it.
#[derive(Debug, Clone)]
pub(crate) struct Setup {
    pub(crate) gateways: usize,
    pub(crate) pages: u32,
    pub(crate) cores: f64,
    /// CPU of a new connection: handshake, request, greeting and what was missed.
    pub(crate) connect_us: f64,
    /// Cores that delivering to one page uses.
    pub(crate) cores_per_page: f64,
    pub(crate) balancers: usize,
    pub(crate) policy: Policy,
    pub(crate) client: Client,
    pub(crate) waits: Waits,
    /// A page that has not been answered for so long hangs up and tries again.
    pub(crate) patience_us: u64,
    /// Until balancers know that a gateway is not ready, or ready again.
    pub(crate) notice_us: u64,
    /// Readers that come to a gateway that ends are asked to come back later by up to this.
    pub(crate) newcomers_spread_us: u64,
    pub(crate) seed: u64,
}

/// What is planned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Plan {
    /// A page asks for a gateway.
    Arrive(u32),
    /// Its connection is ready.
    Ready {
        page: u32,
        gateway: u16,
    },
    /// It has waited for too long.
    GiveUp {
        page: u32,
        gateway: u16,
    },
    /// Its stream has its turn to end.
    Turn {
        page: u32,
        gateway: u16,
    },
    /// The process is gone, without a word.
    Kill(u16),
    /// Every connection breaks off, as when the balancers restart.
    BreakAll,
    /// It refuses new streams and ends the others over this time.
    Drain {
        gateway: u16,
        over_us: u64,
    },
    /// The process has ended, and starts again after this time.
    Exit {
        gateway: u16,
        restart_us: u64,
    },
    Start(u16),
    /// Balancers look at who is ready.
    Look,
    /// The state is noted.
    Sample,
}
