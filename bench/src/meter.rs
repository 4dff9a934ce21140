//! What the measured part of a run cost: the server, this client, and everybody else.

use std::time::Instant;

use super::process::{Memory, MemoryWatch, Processes, machine_cpu_seconds, own_cpu_seconds};
use super::report::{Client, Server};

/// CPU seconds at some moment.
struct Clock {
    at: Instant,
    server: f64,
    own: f64,
    machine: f64,
}

impl Clock {
    fn read(server: &Processes) -> Self {
        Clock {
            at: Instant::now(),
            server: server.cpu_seconds(),
            own: own_cpu_seconds(),
            machine: machine_cpu_seconds(),
        }
    }
}

pub(crate) struct Meter {
    server: Processes,
    connecting: Clock,
    working: Option<Clock>,
    done: Option<Clock>,
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
            connecting: Clock::read(&server),
            working: None,
            done: None,
            memory: MemoryWatch::start(&server),
            server,
        }
    }

    /// All readers wait; from here on work is counted.
    pub(crate) fn begin_work(&mut self) {
        self.note_idle();
        self.working = Some(Clock::read(&self.server));
    }

    pub(crate) fn note_idle(&mut self) {
        self.idle = self.server.memory();
    }

    /// The last delivery has come; what follows is not counted.
    pub(crate) fn end_work(&mut self) {
        self.done = Some(Clock::read(&self.server));
    }

    #[expect(clippy::cast_precision_loss, reason = "a rate")]
    pub(crate) fn finish(self, readers: usize, delivered: u64) -> (Client, Option<Server>) {
        let Meter {
            server,
            connecting,
            working,
            done,
            before,
            idle,
            memory,
        } = self;
        let (rss_peak_bytes, rss_over_time_bytes) = memory.finish();
        let done = done.unwrap_or_else(|| Clock::read(&server));
        let work = working.as_ref().unwrap_or(&connecting);
        let (cpu_s, own_cpu_s) = (done.server - work.server, done.own - work.own);
        let is_visible = server.is_visible();
        let client = Client {
            seconds: (done.at - work.at).as_secs_f64(),
            cpu_s: round(own_cpu_s),
            other_cpu_s: is_visible.then(|| round(done.machine - work.machine - cpu_s - own_cpu_s)),
        };
        let each = |bytes: u64, base: u64| bytes.saturating_sub(base) / readers.max(1) as u64;
        let report = Server {
            connect_cpu_s: round(work.server - connecting.server),
            cpu_s: round(cpu_s),
            deliveries_per_cpu_s: if cpu_s > 0.0 {
                delivered as f64 / cpu_s
            } else {
                0.0
            },
            rss_before_bytes: before.rss,
            rss_idle_bytes: idle.rss,
            rss_peak_bytes,
            rss_over_time_bytes,
            rss_reader_bytes: each(idle.rss, before.rss),
            pss_reader_bytes: each(idle.pss, before.pss),
        };
        (client, is_visible.then_some(report))
    }
}

/// The kernel counts in hundredths.
fn round(seconds: f64) -> f64 {
    (seconds * 100.0).round() / 100.0
}
