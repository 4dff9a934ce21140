//! How many machines a fleet needs, by each thing that may run out. The page has the same formulas.

use crate::parameters::Parameters;

const GB: f64 = 1e9;
/// Bytes a second of 1 Gbit/s.
const GBIT_BYTES: f64 = 1e9 / 8.0;
/// Servers of NATS, and replicas of the stream.
pub(crate) const NATS_SERVERS: f64 = 3.0;

/// How a page is connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Transport {
    Sse,
    Poll,
    /// A connection for each page.
    Grpc,
}

/// What one page costs.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PageCost {
    pub(crate) gateway_bytes: f64,
    pub(crate) kernel_bytes: f64,
    pub(crate) idle_cpu_us: f64,
    pub(crate) write_cpu_us: f64,
    pub(crate) connect_cpu_us: f64,
    pub(crate) write_bytes: f64,
}

impl PageCost {
    pub(crate) fn of(p: &Parameters, transport: Transport, tls: bool) -> Self {
        let choose = |plain: f64, encrypted: f64| if tls { encrypted } else { plain };
        let record = choose(0.0, p.tls_record_bytes);
        let (memory, idle, write, event) = match transport {
            Transport::Sse => (
                choose(p.sse_idle_bytes, p.sse_tls_idle_bytes),
                choose(p.sse_idle_cpu_us, p.sse_tls_idle_cpu_us),
                choose(p.sse_write_cpu_us, p.sse_tls_write_cpu_us),
                p.sse_event_bytes,
            ),
            Transport::Poll => (
                choose(p.poll_idle_bytes, p.poll_tls_idle_bytes),
                choose(p.poll_idle_cpu_us, p.poll_tls_idle_cpu_us),
                choose(p.poll_write_cpu_us, p.poll_tls_write_cpu_us),
                p.poll_event_bytes,
            ),
            Transport::Grpc => (
                choose(p.grpc_idle_bytes, p.grpc_tls_idle_bytes),
                choose(p.grpc_idle_cpu_us, p.grpc_tls_idle_cpu_us),
                choose(p.grpc_write_cpu_us, p.grpc_tls_write_cpu_us),
                p.sse_event_bytes,
            ),
        };
        PageCost {
            gateway_bytes: memory,
            kernel_bytes: p.socket_kernel_bytes,
            idle_cpu_us: idle,
            write_cpu_us: write,
            connect_cpu_us: choose(p.connect_cpu_us, p.connect_tls_cpu_us),
            write_bytes: event + p.packet_bytes + record,
        }
    }

    pub(crate) fn bytes(&self) -> f64 {
        self.gateway_bytes + self.kernel_bytes
    }

    /// Cores for one page that gets so many events a second, each in a write of its own.
    pub(crate) fn cores(&self, events_a_second: f64) -> f64 {
        (self.idle_cpu_us + events_a_second * self.write_cpu_us) / 1e6
    }
}

/// Machines that each thing alone would need, as fractions.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Need {
    pub(crate) memory: f64,
    pub(crate) cpu: f64,
    pub(crate) egress: f64,
    /// All pages come back at once, and each is answered before it gives up.
    pub(crate) storm: f64,
}

impl Need {
    /// `bus_events` is how many events a second the whole bus has: each gateway reads all of them.
    pub(crate) fn of(
        p: &Parameters,
        page: &PageCost,
        pages: f64,
        rate: f64,
        bus_events: f64,
    ) -> Self {
        let memory = p.machine_gb * GB * p.target_memory - p.base_bytes - p.shared_gateway_bytes;
        let cores = p.machine_cores * p.target_cpu - bus_events * p.tail_event_cpu_us / 1e6;
        let egress = p.machine_gbit * GBIT_BYTES * p.target_egress;
        // What is not used for deliveries is there for handshakes, at full load for once.
        let delivering = pages * page.cores(rate);
        let storm_cores = pages * page.connect_cpu_us / 1e6 / p.patience_s + delivering;
        Need {
            memory: pages * page.bytes() / memory,
            cpu: delivering / cores.max(f64::EPSILON),
            egress: pages * rate * page.write_bytes / egress,
            storm: storm_cores / p.machine_cores,
        }
    }

    fn named(&self) -> [(&'static str, f64); 4] {
        [
            ("memory", self.memory),
            ("CPU", self.cpu),
            ("egress", self.egress),
            ("reconnects", self.storm),
        ]
    }

    /// What runs out first.
    pub(crate) fn decides(&self) -> (&'static str, f64) {
        let named = self.named().into_iter();
        named
            .max_by(|a, b| a.1.total_cmp(&b.1))
            .unwrap_or(("nothing", 0.0))
    }

    /// With one more in twenty, and at least one: a machine that is lost or restarted.
    pub(crate) fn machines(&self) -> f64 {
        let least = self.decides().1.ceil().max(1.0);
        least + (least / 20.0).ceil()
    }
}

/// Events a second for each page, from which CPU and no longer memory decides.
pub(crate) fn cpu_decides_from(p: &Parameters, page: &PageCost) -> f64 {
    let pages_by_memory = pages_by_memory(p, page);
    let cores_a_page = p.machine_cores * p.target_cpu / pages_by_memory;
    ((cores_a_page * 1e6 - page.idle_cpu_us) / page.write_cpu_us).max(0.0)
}

/// Pages for which a machine has memory.
pub(crate) fn pages_by_memory(p: &Parameters, page: &PageCost) -> f64 {
    let memory = p.machine_gb * GB * p.target_memory - p.base_bytes - p.shared_gateway_bytes;
    memory / page.bytes()
}

/// What the servers of NATS need for the tails of so many gateways.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NatsNeed {
    /// Of each server, in Gbit/s.
    pub(crate) egress_gbit: f64,
    /// Of all servers.
    pub(crate) tail_cores: f64,
    /// Of the stream's leader: it also takes what is published, and answers each gateway's INFO.
    pub(crate) leader_cores: f64,
}

impl NatsNeed {
    pub(crate) fn of(p: &Parameters, gateways: f64, bus_events: f64) -> Self {
        let tails = gateways * bus_events;
        let bytes = tails * p.nats_event_bytes / NATS_SERVERS;
        let tail_cores = tails * p.nats_tail_cpu_us / 1e6;
        let leader_us = bus_events * p.nats_leader_group_cpu_us + gateways * p.nats_info_cpu_us;
        NatsNeed {
            egress_gbit: bytes / GBIT_BYTES,
            tail_cores,
            leader_cores: leader_us / 1e6 + tail_cores / NATS_SERVERS,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parameters;

    #[test]
    fn twice_the_pages_need_twice_the_machines_and_encryption_needs_more() {
        let (_, p) = parameters::read().expect("figures");
        for transport in [Transport::Sse, Transport::Poll, Transport::Grpc] {
            let [plain, tls] = [false, true].map(|tls| PageCost::of(&p, transport, tls));
            let need = |page, pages| Need::of(&p, page, pages, 1.0, 100.0);
            let (one, two) = (need(&plain, 1e6), need(&plain, 2e6));
            assert!((two.memory / one.memory - 2.0).abs() < 1e-9);
            assert!((two.cpu / one.cpu - 2.0).abs() < 1e-9);
            assert!((two.storm / one.storm - 2.0).abs() < 1e-9);
            assert!(need(&tls, 1e6).storm > one.storm, "{transport:?}");
            assert!(need(&tls, 1e6).memory > one.memory, "{transport:?}");
        }
    }

    #[test]
    fn at_the_boundary_memory_and_cpu_ask_for_the_same() {
        let (_, p) = parameters::read().expect("figures");
        let page = PageCost::of(&p, Transport::Sse, true);
        let rate = cpu_decides_from(&p, &page);
        let need = Need::of(&p, &page, 1e6, rate, 0.0);
        assert!((need.cpu / need.memory - 1.0).abs() < 1e-6, "{need:?}");
    }
}
