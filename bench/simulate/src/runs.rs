//! The runs that the page shows: what happens to a million pages.

use crate::balancer::Policy;
use crate::capacity::{Need, PageCost, Transport};
use crate::clients::{Client, SECOND_US, Waits};
use crate::fleet::Fleet;
use crate::history::Report;
use crate::hot_topic::{HotTopic, Lag};
use crate::parameters::Parameters;
use crate::plan::{Plan, Setup};

pub(crate) const PAGES: u32 = 1_000_000;
/// Events a second for each page.
pub(crate) const RATE: f64 = 1.0;
const BALANCERS: usize = 4;
const SEED: u64 = 1;

fn us(seconds: f64) -> u64 {
    (seconds * SECOND_US as f64).round() as u64
}

pub(crate) fn waits(p: &Parameters) -> Waits {
    Waits {
        event_source_us: us(p.event_source_wait_s),
        retry_us: us(p.retry_s),
        retry_jitter_us: us(p.retry_jitter_s),
        backoff_us: us(p.backoff_s),
        backoff_most_us: us(p.backoff_most_s),
        network_us: us(p.network_s),
    }
}

/// Machines for the pages of these runs.
pub(crate) fn gateways(p: &Parameters) -> usize {
    let page = PageCost::of(p, Transport::Sse, true);
    let need = Need::of(p, &page, f64::from(PAGES), RATE, RATE);
    need.machines() as usize
}

/// A million pages over TLS, of one event a second each.
pub(crate) fn setup(p: &Parameters, client: Client, policy: Policy) -> Setup {
    let page = PageCost::of(p, Transport::Sse, true);
    Setup {
        gateways: gateways(p),
        pages: PAGES,
        cores: p.machine_cores,
        // What was missed in a few seconds is read with the greeting.
        connect_us: page.connect_cpu_us + p.event_source_wait_s * RATE * p.resume_event_cpu_us,
        cores_per_page: page.cores(RATE),
        balancers: BALANCERS,
        policy,
        client,
        waits: waits(p),
        patience_us: us(p.patience_s),
        notice_us: us(p.notice_s),
        newcomers_spread_us: us(p.newcomers_spread_s),
        seed: SEED,
    }
}

/// What begins at the end of the first second.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Trouble {
    OneKilled,
    AllBroken,
}

pub(crate) fn storm(setup: Setup, trouble: Trouble) -> Report {
    let mut fleet = Fleet::new(setup);
    let plan = match trouble {
        Trouble::OneKilled => Plan::Kill(0),
        Trouble::AllBroken => Plan::BreakAll,
    };
    fleet.plan(SECOND_US, plan);
    fleet.run()
}

/// Restarts each gateway in turn.
fn plan_rolling_restart(
    fleet: &mut Fleet,
    gateways: usize,
    over_us: u64,
    restart_us: u64,
    settle_us: u64,
) {
    let mut at_us = SECOND_US;
    for gateway in 0..gateways as u16 {
        fleet.plan(at_us, Plan::Drain { gateway, over_us });
        // Those whose answer is on its way still get it.
        let exit_us = at_us + over_us + SECOND_US;
        fleet.plan(
            exit_us,
            Plan::Exit {
                gateway,
                restart_us,
            },
        );
        at_us = exit_us + restart_us + settle_us;
    }
}

pub(crate) fn rolling_restart(p: &Parameters, policy: Policy, over_s: f64) -> Report {
    let setup = setup(p, Client::EventSource, policy);
    let gateways = setup.gateways;
    let mut fleet = Fleet::new(setup);
    let [drain_us, restart_us, settle_us] = [over_s, p.restart_s, p.settle_s].map(us);
    plan_rolling_restart(&mut fleet, gateways, drain_us, restart_us, settle_us);
    fleet.run()
}

/// The end of one gateway with 10,000 readers beside another one, as `make drain-long` has it.
pub(crate) fn measured_drain(p: &Parameters, over_s: f64) -> Report {
    let page = PageCost::of(p, Transport::Sse, false);
    let two_gateways = Setup {
        gateways: 2,
        pages: 20_000,
        cores: 2.0,
        connect_us: page.connect_cpu_us,
        cores_per_page: 0.0,
        notice_us: 0,
        waits: Waits {
            network_us: 0,
            ..waits(p)
        },
        ..setup(p, Client::EventSource, Policy::RoundRobin)
    };
    let mut fleet = Fleet::new(two_gateways);
    let drain = Plan::Drain {
        gateway: 0,
        over_us: us(over_s),
    };
    fleet.plan(0, drain);
    fleet.run()
}

/// A topic that this part of a gateway's pages read.
pub(crate) fn hot_topic(p: &Parameters, part: f64, events_a_second: f64) -> Lag {
    let page = PageCost::of(p, Transport::Sse, true);
    let topic = HotTopic {
        readers: part * f64::from(PAGES) / gateways(p) as f64,
        events_a_second,
        cores: p.machine_cores,
        write_us: page.write_cpu_us,
        event_us: p.event_in_write_cpu_us,
        spacing_us: p.round_spacing_us,
        spacing_bounds_us: (
            p.round_spacing_least_ms * 1000.0,
            p.round_spacing_most_ms * 1000.0,
        ),
        seconds: 60.0,
        seed: SEED,
    };
    topic.run()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parameters;
    use crate::run_tables::MEASURED_BACK;

    fn small(client: Client, policy: Policy, seed: u64) -> Setup {
        let (_, p) = parameters::read().expect("figures");
        Setup {
            gateways: 5,
            pages: 5000,
            cores: 0.1,
            seed,
            ..setup(&p, client, policy)
        }
    }

    #[test]
    fn all_pages_are_back_in_the_end_whatever_happens_and_however_they_are_balanced() {
        for policy in Policy::ALL {
            for client in [Client::EventSource, Client::Jittered, Client::Backoff] {
                for trouble in [Trouble::OneKilled, Trouble::AllBroken] {
                    let report = storm(small(client, policy, 1), trouble);
                    let shown = format!("{policy:?} {client:?} {trouble:?}");
                    assert_eq!(report.connected_in_the_end(), 5000, "{shown}");
                    let most = report.connected.iter().map(|(_, n)| *n).fold(0.0, f64::max);
                    assert!(most <= 5000.0, "{shown}: a page is at two gateways");
                }
            }
        }
    }

    #[test]
    fn a_rolling_restart_ends_each_stream_and_loses_nobody() {
        for over_us in [0, 5 * SECOND_US] {
            let mut fleet = Fleet::new(small(Client::EventSource, Policy::LeastConnections, 1));
            plan_rolling_restart(&mut fleet, 5, over_us, SECOND_US, SECOND_US);
            let report = fleet.run();
            assert_eq!(report.connected_in_the_end(), 5000);
            assert!(report.pauses >= 5000, "each was ended at least once");
        }
    }

    #[test]
    fn the_same_seed_gives_the_same_run_and_another_one_another() {
        let run = |seed| {
            let setup = small(Client::Jittered, Policy::TwoChoices, seed);
            storm(setup, Trouble::AllBroken)
        };
        assert_eq!(run(1), run(1));
        assert_ne!(run(1), run(2));
    }

    #[test]
    fn whoever_is_not_answered_in_time_gives_up_and_the_work_is_done_in_vain() {
        let hurried = Setup {
            patience_us: SECOND_US / 2,
            ..small(Client::EventSource, Policy::RoundRobin, 1)
        };
        let report = storm(hurried, Trouble::AllBroken);
        assert!(report.gave_up > 0, "{}", report.gave_up);
        assert_eq!(report.connected_in_the_end(), 5000);
    }

    #[test]
    fn a_paced_drain_brings_readers_back_as_it_was_measured() {
        let (_, p) = parameters::read().expect("figures");
        let report = measured_drain(&p, 20.0);
        assert_eq!(report.pauses, 10_000);
        let back = report.back_a_second.iter().copied().chain([0; 23]);
        for (second, (measured, simulated)) in MEASURED_BACK.into_iter().zip(back).enumerate() {
            let apart = measured.abs_diff(simulated);
            assert!(
                apart <= 80,
                "second {second}: {measured}, simulated {simulated}"
            );
        }
    }
}
