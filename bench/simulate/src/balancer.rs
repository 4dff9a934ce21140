//! Which gateway a new connection is given.
//!
//! Invariants:
//! - only a gateway that is listed is chosen, and none where none is listed;
//! - a balancer counts the connections that came through it, and knows nothing of others'.

/// How a balancer chooses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Policy {
    RoundRobin,
    LeastConnections,
    /// The emptier one of two that are drawn.
    TwoChoices,
    /// The same gateway for the same page as long as it is listed (rendezvous hashing).
    Hash,
}

impl Policy {
    pub(crate) const ALL: [Policy; 4] = [
        Policy::RoundRobin,
        Policy::LeastConnections,
        Policy::TwoChoices,
        Policy::Hash,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Policy::RoundRobin => "round robin",
            Policy::LeastConnections => "least connections",
            Policy::TwoChoices => "random two choices",
            Policy::Hash => "hash of the page",
        }
    }
}

/// One of the balancers in front of the fleet.
#[derive(Debug, Clone)]
pub(crate) struct Balancer {
    policy: Policy,
    /// Connections of each gateway through this balancer, those that are being made with them.
    counts: Vec<u32>,
    next: usize,
}

impl Balancer {
    pub(crate) fn new(policy: Policy, gateways: usize, first: usize) -> Self {
        Balancer {
            policy,
            counts: vec![0; gateways],
            next: first,
        }
    }

    /// A listed gateway for this page.
    pub(crate) fn choose(
        &mut self,
        page: u32,
        listed: &[usize],
        random: &mut fastrand::Rng,
    ) -> Option<usize> {
        if listed.is_empty() {
            return None;
        }
        let any = |random: &mut fastrand::Rng| listed[random.usize(..listed.len())];
        let chosen = match self.policy {
            Policy::RoundRobin => {
                self.next = self.next.wrapping_add(1);
                Some(listed[self.next % listed.len()])
            }
            Policy::LeastConnections => self.emptiest(listed),
            Policy::TwoChoices => self.emptiest(&[any(random), any(random)]),
            Policy::Hash => listed
                .iter()
                .copied()
                .max_by_key(|gateway| score(page, *gateway)),
        };
        chosen.inspect(|gateway| self.counts[*gateway] += 1)
    }

    /// The first of those with the fewest connections.
    fn emptiest(&self, gateways: &[usize]) -> Option<usize> {
        let by_count = |gateway: &usize| self.counts[*gateway];
        gateways.iter().copied().min_by_key(by_count)
    }

    /// A connection to this gateway has ended, or did not come about.
    pub(crate) fn ended(&mut self, gateway: usize) {
        self.counts[gateway] -= 1;
    }
}

/// Mixes both numbers well enough that each gateway gets its share.
fn score(page: u32, gateway: usize) -> u64 {
    let mut mixed = (u64::from(page) << 20) ^ (gateway as u64 + 1);
    for _ in 0..2 {
        mixed = (mixed ^ (mixed >> 31)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
    mixed ^ (mixed >> 29)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spread(policy: Policy, listed: &[usize]) -> Vec<u32> {
        let mut balancer = Balancer::new(policy, 4, 0);
        let mut random = fastrand::Rng::with_seed(1);
        for page in 0..4000 {
            balancer.choose(page, listed, &mut random).expect("one");
        }
        balancer.counts
    }

    #[test]
    fn every_policy_spreads_new_connections_over_the_listed_gateways_only() {
        for policy in Policy::ALL {
            let counts = spread(policy, &[0, 1, 3]);
            assert_eq!(counts[2], 0, "{policy:?}");
            assert_eq!(counts.iter().sum::<u32>(), 4000, "{policy:?}");
            let shares = [0, 1, 3].map(|gateway| counts[gateway]);
            assert!(
                shares.iter().all(|n| (1200..1480).contains(n)),
                "{policy:?}: {shares:?}"
            );
        }
    }

    #[test]
    fn nobody_is_chosen_where_nobody_is_listed() {
        let mut balancer = Balancer::new(Policy::TwoChoices, 4, 0);
        assert_eq!(balancer.choose(1, &[], &mut fastrand::Rng::new()), None);
    }

    #[test]
    fn a_hash_moves_only_the_pages_of_the_gateway_that_left() {
        let choose = |page, listed: &[usize]| {
            let mut balancer = Balancer::new(Policy::Hash, 4, 0);
            balancer.choose(page, listed, &mut fastrand::Rng::new())
        };
        for page in 0..1000 {
            let before = choose(page, &[0, 1, 2, 3]);
            let after = choose(page, &[0, 1, 3]);
            assert!(before == Some(2) || before == after, "page {page}");
        }
    }
}
