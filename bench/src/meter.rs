//! What the measured part of a run used: the server, this client, and everything else.

use std::time::Instant;

use super::memory_watch::MemoryWatch;
use super::process::{MachineClock, MachineCpu, Memory, Processes, own_cpu_seconds};
use super::report::{ClientReport, MachineReport, ServerReport};

/// CPU seconds at some moment.
struct CpuClock {
    at: Instant,
    server: f64,
    own: f64,
    machine: MachineClock,
}

impl CpuClock {
    fn read(server: &Processes) -> Self {
        CpuClock {
            at: Instant::now(),
            server: server.cpu_seconds(),
            own: own_cpu_seconds(),
            machine: MachineClock::read(),
        }
    }

    /// CPU seconds of all other processes since an earlier moment.
    fn others_since(&self, earlier: &CpuClock) -> f64 {
        // The server's share and this client's are known; the rest of the machine is others'.
        let used_here = self.server - earlier.server + self.own - earlier.own;
        self.machine_since(earlier).busy_s - used_here
    }

    fn machine_since(&self, earlier: &CpuClock) -> MachineCpu {
        self.machine.since(&earlier.machine)
    }
}

/// What a run used.
pub(crate) struct UsageReports {
    pub(crate) client: ClientReport,
    pub(crate) machine: MachineReport,
    pub(crate) server: Option<ServerReport>,
}

pub(crate) struct Meter {
    server: Processes,
    connecting: CpuClock,
    working: Option<CpuClock>,
    done: Option<CpuClock>,
    before: Memory,
    idle: Memory,
    memory: MemoryWatch,
}

impl Meter {
    /// Before the readers connect.
    pub(crate) fn start(server: Processes) -> Self {
        Meter {
            before: server.memory(),
            idle: Memory::default(),
            connecting: CpuClock::read(&server),
            working: None,
            done: None,
            memory: MemoryWatch::start(&server),
            server,
        }
    }

    /// All readers wait; from here on work is counted.
    pub(crate) fn begin_work(&mut self) {
        // Readers wait and nothing is published yet: what the server holds now is their memory.
        self.note_idle();
        self.working = Some(CpuClock::read(&self.server));
    }

    pub(crate) fn note_idle(&mut self) {
        self.idle = self.server.memory();
    }

    /// The last delivery has come; what follows is not counted.
    pub(crate) fn end_work(&mut self) {
        self.done = Some(CpuClock::read(&self.server));
    }

    /// The figures; none of a server whose processes are unknown.
    pub(crate) fn finish(mut self, readers: usize, delivered: u64) -> UsageReports {
        // A run that was cut short ends now.
        let done = self.done.take();
        let done = done.unwrap_or_else(|| CpuClock::read(&self.server));

        // Another user's processes, or those of another machine, have no figures.
        let is_visible = self.server.is_visible();
        let client = self.client(&done, is_visible);
        let machine = self.machine(&done, delivered);
        let server = self.into_server(&done, readers, delivered);
        UsageReports {
            client,
            machine,
            server: is_visible.then_some(server),
        }
    }

    fn work_began(&self) -> &CpuClock {
        self.working.as_ref().unwrap_or(&self.connecting)
    }

    fn client(&self, done: &CpuClock, is_visible: bool) -> ClientReport {
        let work = self.work_began();
        ClientReport {
            seconds: (done.at - work.at).as_secs_f64(),
            cpu_s: round(done.own - work.own),
            // Without the server's share nobody can say which part of the machine's is others'.
            other_cpu_s: is_visible.then(|| round(done.others_since(work))),
        }
    }

    /// On loopback a part of what a server sends is processed by its client, so only the whole
    /// machine's time says what a delivery costs.
    fn machine(&self, done: &CpuClock, delivered: u64) -> MachineReport {
        let work = self.work_began();
        let connecting = work.machine_since(&self.connecting);
        let working = done.machine_since(work);
        MachineReport {
            connect_cpu_s: round(connecting.busy_s),
            cpu_s: round(working.busy_s),
            us_per_delivery: us_each(working.busy_s, delivered),
            us_per_publish: None,
            stolen_s: round(working.stolen_s),
        }
    }

    fn into_server(self, done: &CpuClock, readers: usize, delivered: u64) -> ServerReport {
        // Work begins where connecting ends, so no CPU time is counted in both.
        let connect_cpu_s = self.work_began().server - self.connecting.server;
        let cpu_s = done.server - self.work_began().server;

        // What the server took before the first reader is not the readers'.
        let each = |bytes: u64, base: u64| bytes.saturating_sub(base) / readers.max(1) as u64;
        let (rss_peak_bytes, rss_over_time_bytes) = self.memory.finish();
        ServerReport {
            connect_cpu_s: round(connect_cpu_s),
            cpu_s: round(cpu_s),
            deliveries_per_cpu_s: per_cpu_second(delivered, cpu_s),
            us_per_delivery: us_each(cpu_s, delivered),
            rss_before_bytes: self.before.rss,
            rss_idle_bytes: self.idle.rss,
            rss_peak_bytes,
            rss_over_time_bytes,
            rss_reader_bytes: each(self.idle.rss, self.before.rss),
            pss_reader_bytes: each(self.idle.pss, self.before.pss),
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "a rate")]
fn per_cpu_second(delivered: u64, cpu_s: f64) -> f64 {
    if cpu_s > 0.0 {
        delivered as f64 / cpu_s
    } else {
        0.0
    }
}

/// Microseconds for each of so many events, to a hundredth; nothing where there were none.
#[expect(clippy::cast_precision_loss, reason = "a mean")]
pub(crate) fn us_each(cpu_s: f64, events: u64) -> Option<f64> {
    (events > 0).then(|| round(cpu_s * 1e6 / events as f64))
}

/// The kernel counts in hundredths.
fn round(seconds: f64) -> f64 {
    (seconds * 100.0).round() / 100.0
}
