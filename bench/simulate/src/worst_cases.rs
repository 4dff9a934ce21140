//! What may happen to a million pages, and for how long it keeps their machines busy.

use crate::capacity::{Need, PageCost, Transport};
use crate::parameters::Parameters;
use crate::tables::{number, table};

const PAGES: f64 = 1e6;
/// Events that each page has missed, and events a second of a topic that all pages read.
const MANY: f64 = 1000.0;

/// Pages of one event a second each, on the machines that they need.
struct Fleet<'a> {
    p: &'a Parameters,
    machines: f64,
    cores: f64,
}

impl Fleet<'_> {
    /// All connect at once.
    fn back(&self, connect_us: f64) -> String {
        format!("{} s", number(PAGES * connect_us / 1e6 / self.cores))
    }

    fn of_cores(&self, cores: f64) -> String {
        format!("{} of {} cores", number(cores), number(self.cores))
    }

    /// Each asks again and again, and is told to come back.
    fn behind(&self) -> String {
        let wait_s = self.p.busy_retry_s + self.p.retry_jitter_s / 2.0;
        self.of_cores(PAGES / wait_s * self.p.connect_tls_cpu_us / 1e6)
    }

    fn catch_up(&self) -> String {
        let bytes = PAGES * MANY * self.p.sse_event_bytes;
        let by_bound = bytes / (self.p.catch_up_mb * 1e6 * self.cores);
        let by_network = bytes * 8.0 / (self.machines * self.p.machine_gbit * 1e9);
        format!("{} s; {} s", number(by_bound), number(by_network))
    }

    fn hot_topic(&self) -> String {
        self.of_cores(PAGES * MANY * self.p.event_in_write_cpu_us / 1e6)
    }

    fn own_topics(&self) -> String {
        let rate = self.p.bus_events_most / PAGES;
        format!("{rate} events/s for each page at most")
    }
}

pub(crate) fn table_of(p: &Parameters) -> String {
    let page = PageCost::of(p, Transport::Sse, true);
    let machines = Need::of(p, &page, PAGES, 1.0, 1.0).machines();
    let cores = machines * p.machine_cores;
    let fleet = Fleet { p, machines, cores };
    let rows = [
        [
            "all connections break at once",
            "pages × connect ÷ cores",
            &fleet.back(p.connect_tls_cpu_us),
        ],
        [
            "… the key of the certificate is RSA 2048",
            "the same",
            &fleet.back(p.connect_tls_rsa_cpu_us),
        ],
        [
            "… each comes back to its gateway, and resumes its session",
            "the same",
            &fleet.back(p.connect_tls_resumed_cpu_us),
        ],
        [
            "the log is out of reach for minutes: each page asks again every 3 to 5 s",
            "pages ÷ 4 s × connect",
            &fleet.behind(),
        ],
        [
            "all come back with 1,000 missed events each",
            "bytes ÷ (160 MB × cores); ÷ network",
            &fleet.catch_up(),
        ],
        [
            "a topic that all pages read has 1,000 events/s",
            "deliveries × an event in a write",
            &fleet.hot_topic(),
        ],
        [
            "each page has a topic of its own",
            "events/s of the bus ÷ pages",
            &fleet.own_topics(),
        ],
    ];
    let rows = rows.map(|row| row.map(str::to_owned).into());
    let columns = [
        "what",
        "formula",
        "1,000,000 pages, SSE over TLS, one event/s each",
    ];
    let table = table(&columns, &rows);
    format!(
        "\n{} machines of {} cores.\n{table}",
        number(machines),
        number(p.machine_cores)
    )
}
