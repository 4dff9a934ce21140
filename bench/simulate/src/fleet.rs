//! Gateways, pages and balancers, moved on from event to event.
//!
//! Invariants:
//! - a page is connected to at most one gateway, and each gateway's count is that of its pages;
//! - the same seed gives the same run: time is a number, and what happens at the same time happens
//!   in the order in which it was planned;
//! - a run ends when nothing is planned any more, so nobody is left waiting in it.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::balancer::Balancer;
use crate::cpu::Cpu;
use crate::history::{History, Report};
use crate::plan::{Plan, Setup};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Serving,
    Draining { until_us: u64 },
    Down,
}

#[derive(Debug)]
struct Gateway {
    stage: Stage,
    pages: u32,
    cpu: Cpu,
}

/// A page, small because there are many.
#[derive(Debug, Clone, Copy)]
struct Page {
    /// Where it is connected, or is connecting.
    gateway: Option<u16>,
    is_connected: bool,
    balancer: u8,
    failures: u8,
    /// When its stream ended.
    lost_us: u64,
}

pub(crate) struct Fleet {
    setup: Setup,
    now_us: u64,
    plans: BinaryHeap<Reverse<(u64, u64, Plan)>>,
    planned: u64,
    pages: Vec<Page>,
    gateways: Vec<Gateway>,
    balancers: Vec<Balancer>,
    listed: Vec<usize>,
    random: fastrand::Rng,
    history: History,
}

impl Fleet {
    /// All pages are connected, as evenly as the policy has it.
    pub(crate) fn new(setup: Setup) -> Self {
        let gateway = || Gateway {
            stage: Stage::Serving,
            pages: 0,
            cpu: Cpu::new(setup.cores),
        };
        let balancer = |index| Balancer::new(setup.policy, setup.gateways, index);
        let mut fleet = Fleet {
            now_us: 0,
            plans: BinaryHeap::new(),
            planned: 0,
            pages: Vec::new(),
            gateways: (0..setup.gateways).map(|_| gateway()).collect(),
            balancers: (0..setup.balancers).map(balancer).collect(),
            listed: (0..setup.gateways).collect(),
            random: fastrand::Rng::with_seed(setup.seed),
            history: History::new(setup.gateways),
            setup,
        };
        for page in 0..fleet.setup.pages {
            fleet.add_page(page);
        }
        fleet
    }

    fn add_page(&mut self, page: u32) {
        let balancer = self.random.usize(..self.balancers.len());
        let gateway = self.balancers[balancer]
            .choose(page, &self.listed, &mut self.random)
            .expect("all gateways are listed");
        self.gateways[gateway].pages += 1;
        self.pages.push(Page {
            gateway: Some(gateway as u16),
            is_connected: true,
            balancer: balancer as u8,
            failures: 0,
            lost_us: 0,
        });
    }

    pub(crate) fn plan(&mut self, at_us: u64, plan: Plan) {
        self.planned += 1;
        self.plans.push(Reverse((at_us, self.planned, plan)));
    }

    /// Runs until nothing is planned any more.
    pub(crate) fn run(mut self) -> Report {
        self.plan(0, Plan::Sample);
        while let Some(Reverse((at_us, _, plan))) = self.plans.pop() {
            self.now_us = at_us;
            self.happen(plan);
        }
        let cpus: Vec<_> = self
            .gateways
            .into_iter()
            .map(|gateway| gateway.cpu)
            .collect();
        self.history.report(self.setup.cores, &cpus)
    }

    fn happen(&mut self, plan: Plan) {
        match plan {
            Plan::Arrive(page) => self.arrive(page),
            Plan::Ready { page, gateway } => self.ready(page, gateway),
            Plan::GiveUp { page, gateway } => self.give_up(page, gateway),
            Plan::Turn { page, gateway } => self.turn(page, gateway),
            Plan::Kill(gateway) => self.kill(gateway),
            Plan::BreakAll => self.break_all(),
            Plan::Drain { gateway, over_us } => self.drain(gateway, over_us),
            Plan::Exit {
                gateway,
                restart_us,
            } => self.exit(gateway, restart_us),
            Plan::Start(gateway) => self.start(gateway),
            Plan::Look => self.look(),
            Plan::Sample => self.sample(),
        }
    }

    fn arrive(&mut self, page: u32) {
        self.history.note_arrival(self.now_us);
        match self.reachable(page) {
            Some(gateway) => self.connect(page, gateway),
            None => self.fail(page),
        }
    }

    /// A gateway that the page's balancer can connect to: one that refuses is left out at once, as
    /// its health check has not told of it yet.
    fn reachable(&mut self, page: u32) -> Option<usize> {
        let balancer = self.random.usize(..self.balancers.len());
        self.pages[page as usize].balancer = balancer as u8;
        let chosen = self.balancers[balancer].choose(page, &self.listed, &mut self.random)?;
        if self.gateways[chosen].stage != Stage::Down {
            return Some(chosen);
        }
        self.balancers[balancer].ended(chosen);
        let is_up = |gateway: &usize| self.gateways[*gateway].stage != Stage::Down;
        let others: Vec<_> = self.listed.iter().copied().filter(is_up).collect();
        self.balancers[balancer].choose(page, &others, &mut self.random)
    }

    fn connect(&mut self, page: u32, index: usize) {
        let delivering = self.delivering_cores(index);
        let gateway = &mut self.gateways[index];
        let cost_us = self.setup.connect_us;
        let done_us = gateway.cpu.work(self.now_us, cost_us, delivering);
        self.pages[page as usize].gateway = Some(index as u16);
        let gateway = index as u16;
        // Whoever hangs up is worked for all the same: the gateway finds out when it answers.
        let patient_until_us = self.now_us + self.setup.patience_us;
        if done_us > patient_until_us {
            self.plan(patient_until_us, Plan::GiveUp { page, gateway });
        } else {
            self.plan(done_us, Plan::Ready { page, gateway });
        }
    }

    fn delivering_cores(&self, gateway: usize) -> f64 {
        f64::from(self.gateways[gateway].pages) * self.setup.cores_per_page
    }

    fn ready(&mut self, page: u32, gateway: u16) {
        if !self.is_waiting_at(page, gateway) {
            return;
        }
        match self.gateways[usize::from(gateway)].stage {
            Stage::Serving => self.connected(page, gateway),
            Stage::Draining { until_us } => {
                // Answered with `closing` at once.
                self.hang_up(page);
                let rest_us = until_us.saturating_sub(self.now_us);
                let later_us = rest_us.min(self.setup.newcomers_spread_us);
                let wait_us =
                    self.setup.waits.after_closing(&mut self.random) + self.random.u64(..=later_us);
                self.history.turned_away += 1;
                self.plan(self.now_us + wait_us, Plan::Arrive(page));
            }
            Stage::Down => self.fail(page),
        }
    }

    fn is_waiting_at(&self, page: u32, gateway: u16) -> bool {
        let state = &self.pages[page as usize];
        state.gateway == Some(gateway) && !state.is_connected
    }

    fn connected(&mut self, page: u32, gateway: u16) {
        let state = &mut self.pages[page as usize];
        state.is_connected = true;
        state.failures = 0;
        self.history
            .note_pause(self.now_us, self.now_us - state.lost_us);
        self.gateways[usize::from(gateway)].pages += 1;
    }

    fn give_up(&mut self, page: u32, gateway: u16) {
        if self.is_waiting_at(page, gateway) {
            self.history.gave_up += 1;
            self.fail(page);
        }
    }

    /// The page tries again by its own rule.
    fn fail(&mut self, page: u32) {
        self.hang_up(page);
        let state = &mut self.pages[page as usize];
        let failures = u32::from(state.failures);
        state.failures = state.failures.saturating_add(1);
        let wait_us = self
            .setup
            .waits
            .after_a_break(self.setup.client, failures, &mut self.random);
        self.plan(self.now_us + wait_us, Plan::Arrive(page));
    }

    /// The page has no connection any more.
    fn hang_up(&mut self, page: u32) {
        let state = &mut self.pages[page as usize];
        let Some(gateway) = state.gateway.take().map(usize::from) else {
            return;
        };
        self.balancers[usize::from(state.balancer)].ended(gateway);
        if std::mem::replace(&mut state.is_connected, false) {
            self.gateways[gateway].pages -= 1;
            state.lost_us = self.now_us;
        }
    }

    fn turn(&mut self, page: u32, gateway: u16) {
        let state = &self.pages[page as usize];
        if state.is_connected && state.gateway == Some(gateway) {
            self.hang_up(page);
            let wait_us = self.setup.waits.after_closing(&mut self.random);
            self.plan(self.now_us + wait_us, Plan::Arrive(page));
        }
    }

    fn pages_of(&self, gateway: u16) -> Vec<u32> {
        let of_gateway = |page: &&Page| page.gateway == Some(gateway);
        let pages = self.pages.iter().zip(0u32..);
        pages
            .filter(|(page, _)| of_gateway(page))
            .map(|(_, page)| page)
            .collect()
    }

    fn kill(&mut self, gateway: u16) {
        let state = &mut self.gateways[usize::from(gateway)];
        state.stage = Stage::Down;
        state.cpu.reset(self.now_us);
        for page in self.pages_of(gateway) {
            self.fail(page);
        }
        self.plan(self.now_us + self.setup.notice_us, Plan::Look);
    }

    fn break_all(&mut self) {
        for page in 0..self.setup.pages {
            self.fail(page);
        }
    }

    fn drain(&mut self, gateway: u16, over_us: u64) {
        let until_us = self.now_us + over_us;
        self.gateways[usize::from(gateway)].stage = Stage::Draining { until_us };
        let mut pages = self.pages_of(gateway);
        self.random.shuffle(&mut pages);
        let count = pages.len().max(1) as u64;
        for (index, page) in pages.into_iter().enumerate() {
            let at_us = self.now_us + over_us * index as u64 / count;
            self.plan(at_us, Plan::Turn { page, gateway });
        }
        self.plan(self.now_us + self.setup.notice_us, Plan::Look);
    }

    fn exit(&mut self, gateway: u16, restart_us: u64) {
        let state = &mut self.gateways[usize::from(gateway)];
        state.stage = Stage::Down;
        state.cpu.reset(self.now_us);
        // Normally nobody: the drain has ended all streams.
        for page in self.pages_of(gateway) {
            self.fail(page);
        }
        self.plan(self.now_us + restart_us, Plan::Start(gateway));
    }

    fn start(&mut self, gateway: u16) {
        self.gateways[usize::from(gateway)].stage = Stage::Serving;
        self.plan(self.now_us + self.setup.notice_us, Plan::Look);
    }

    fn look(&mut self) {
        let is_ready = |index: &usize| self.gateways[*index].stage == Stage::Serving;
        self.listed = (0..self.gateways.len()).filter(is_ready).collect();
    }

    /// Is each gateway's count that of its pages? A page names one gateway at most.
    fn counts_agree(&self) -> bool {
        let mut counts = vec![0; self.gateways.len()];
        for page in self.pages.iter().filter(|page| page.is_connected) {
            let Some(gateway) = page.gateway else {
                return false;
            };
            counts[usize::from(gateway)] += 1;
        }
        self.gateways.iter().map(|gateway| gateway.pages).eq(counts)
    }

    fn sample(&mut self) {
        debug_assert!(self.counts_agree(), "at {} µs", self.now_us);
        let states = self.gateways.iter().map(|gateway| {
            let delivering = f64::from(gateway.pages) * self.setup.cores_per_page;
            (gateway.pages, delivering)
        });
        self.history.sample(states);
        // Where nothing else is planned, nothing will change.
        if !self.plans.is_empty() {
            self.plan(self.now_us + crate::cpu::WINDOW_US, Plan::Sample);
        }
    }
}
