//! Two gateways on one log behind a balancer, restarted one after the other while all kinds of
//! clients read and a publisher publishes: nobody misses an event or sees one twice.
//!
//! HAProxy and nginx have the files that `deploy/` has. HAProxy looks at `/readyz`, so whoever
//! comes back goes to the other gateway. nginx sends some of them to the one that ends, which asks
//! them to come again. How late events come because of the restarts is printed.

use std::net::TcpListener;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures_util::StreamExt as _;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tokio_util::task::AbortOnDropHandle;
use vidette::client::{Client, ReadItem, ReadOptions, Transport};

use super::chromium::Browser;
use super::page::Page as _;
use crate::common::gateway::{Gateway, PATIENCE, Setup};
use crate::common::nats::NatsCluster;
use crate::python;
use crate::tools::{Running, root};

/// Longer than HAProxy needs to notice.
const NOTICE: Duration = Duration::from_millis(1500);
/// Readers of each transport beside the browser and grpcio.
const READERS: usize = 10;
/// Between two events.
const PACE: Duration = Duration::from_millis(20);

/// An event as a reader has it: its number, and how many milliseconds after it was made it came.
type Arrival = (u64, f64);

const EVENT_SOURCE_PAGE: &str = "<script>
var arrivals = [], gaps = 0
var events = new EventSource('/v1/sse?after=earliest&topic=door.1')
events.onmessage = function (message) {
  var data = JSON.parse(message.data).data
  arrivals.push([data.n, Date.now() - data.made_ms])
}
events.addEventListener('vidette.gap', function () { gaps++ })
</script>";

/// As pages of the long-poll age do it: after an error it waits for a while.
const LEGACY_PAGE: &str = "<script src=\"prototype.js\"></script><script>
var arrivals = [], gaps = 0, maxvid = 0
function connect() {
  var failed = true
  new Ajax.Request('backend.php', {
    method: 'get',
    parameters: { maxvid: maxvid },
    onSuccess: function (transport) {
      var event = eval('(' + transport.responseText + ')')
      maxvid = event.vid
      arrivals.push([event.n, Date.now() - event.made_ms])
      failed = false
    },
    onComplete: function () { setTimeout(connect, failed ? 5000 : 0) }
  })
}
connect()
</script>";

fn pages() -> TempDir {
    let folder = TempDir::new().expect("a folder");
    let write = |name: &str, text: &[u8]| {
        std::fs::write(folder.path().join(name), text).expect("a page");
    };
    write("source.html", EVENT_SOURCE_PAGE.as_bytes());
    write("legacy.html", LEGACY_PAGE.as_bytes());
    let library = std::fs::read("/usr/share/javascript/prototype/prototype.js");
    write("prototype.js", &library.expect("prototype.js (make setup)"));
    folder
}

fn gateway_on(nats: &NatsCluster, pages: &Path) -> Gateway {
    let servers = nats.urls().join(",");
    let pages = pages.display().to_string();
    let flags = [
        "--nats",
        &servers,
        "--stream",
        "events",
        "--create",
        "--replicas",
        "1",
        "--pages-dir",
        &pages,
    ];
    Gateway::start_on_a_port_of_its_own(Setup {
        engine: "jetstream",
        config: "[drain]\nover = \"2s\"\nnotice = \"1500ms\"\n[proxy]\ntrusted = \"127.0.0.1\"\n"
            .to_owned(),
        flags: flags.map(str::to_owned).to_vec(),
        ..Setup::default()
    })
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    HaProxy,
    Nginx,
}

/// What stands before both gateways.
struct Balancer {
    _running: Running,
    _folder: TempDir,
    http: u16,
    grpc: u16,
}

impl Balancer {
    async fn before(gateways: &[Gateway; 2], kind: Kind) -> Self {
        let folder = TempDir::new().expect("a folder");
        let [http, grpc] = free_ports();
        let file = match kind {
            Kind::HaProxy => "haproxy.cfg",
            Kind::Nginx => "nginx.conf",
        };
        let config = match kind {
            Kind::HaProxy => haproxy_config(gateways, http),
            Kind::Nginx => nginx_config(gateways, [http, grpc], folder.path()),
        };
        let config_file = folder.path().join(file);
        std::fs::write(&config_file, config).expect("a file");
        let config_file = config_file.display().to_string();
        let running = match kind {
            Kind::HaProxy => Running::start("/usr/sbin/haproxy", &["-db", "-f", &config_file]),
            Kind::Nginx => {
                let at = folder.path().display();
                let more = format!(
                    "daemon off; master_process off; pid {at}/pid; error_log {at}/error.log;"
                );
                Running::start("/usr/sbin/nginx", &["-c", &config_file, "-g", &more])
            }
        };
        let serves = async || {
            let answer = reqwest::get(format!("http://127.0.0.1:{http}/v1/bus")).await;
            answer.is_ok_and(|answer| answer.status().is_success())
        };
        gateways[0].until("the balancer serves", serves).await;
        Balancer {
            _running: running,
            _folder: folder,
            http,
            // HAProxy has one address for all.
            grpc: if kind == Kind::Nginx { grpc } else { http },
        }
    }

    fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.http)
    }
}

/// A file of `deploy/` with other words in these places.
fn of_deploy(file: &str, changes: &[(&str, String)]) -> String {
    let path = root().join("deploy/cluster").join(file);
    let mut config = std::fs::read_to_string(path).expect("a file of deploy");
    for (from, to) in changes {
        assert!(config.contains(from), "{file}: {from}");
        config = config.replace(from, to);
    }
    config
}

fn haproxy_config(gateways: &[Gateway; 2], port: u16) -> String {
    let changes = [
        ("gateway1:8080", gateways[0].address().to_string()),
        ("gateway2:8080", gateways[1].address().to_string()),
        ("bind :8080", format!("bind 127.0.0.1:{port}")),
        ("maxconn 50000", "maxconn 500".to_owned()),
    ];
    of_deploy("haproxy.cfg", &changes)
}

fn nginx_config(gateways: &[Gateway; 2], [http, grpc]: [u16; 2], folder: &Path) -> String {
    let at = folder.display();
    let own_folders = format!(
        "access_log off;\n  client_body_temp_path {at}/b;\n  proxy_temp_path {at}/p;\n  \
         fastcgi_temp_path {at}/f;\n  uwsgi_temp_path {at}/u;\n  scgi_temp_path {at}/s;"
    );
    let http2 = format!("listen 127.0.0.1:{grpc} http2;");
    let changes = [
        ("gateway1:8080", gateways[0].address().to_string()),
        ("gateway2:8080", gateways[1].address().to_string()),
        ("listen 8080;", format!("listen 127.0.0.1:{http};")),
        ("listen 8081 http2;", http2),
        ("worker_processes auto;", "worker_processes 1;".to_owned()),
        ("worker_rlimit_nofile 200000;", String::new()),
        (
            "worker_connections 50000;",
            "worker_connections 500;".to_owned(),
        ),
        ("access_log off;", own_folders),
    ];
    of_deploy("nginx.conf", &changes)
}

/// Two ports that were free a moment ago.
fn free_ports() -> [u16; 2] {
    let bound = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").expect("a port"));
    bound.map(|listener| listener.local_addr().expect("an address").port())
}

fn now_ms() -> f64 {
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH);
    since_1970.expect("a clock that is set").as_secs_f64() * 1000.0
}

/// Publishes 1, 2, 3, … through the balancer until it is asked to stop, each again with its id
/// until it is acknowledged.
struct Publisher {
    stop: Arc<AtomicBool>,
    running: JoinHandle<Vec<MadeEvent>>,
}

struct MadeEvent {
    made_ms: f64,
    acknowledged_after_ms: f64,
}

impl Publisher {
    fn start(url: String) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let running = tokio::spawn(async move {
            let mut made = Vec::new();
            loop {
                let is_last = stopped.load(Ordering::SeqCst);
                let (n, made_ms) = (made.len() + 1, now_ms());
                let data = json!({ "n": n, "made_ms": made_ms, "is_last": is_last });
                let id = format!("n-{n}");
                publish(&url, &json!({ "topic": "door.1", "id": id, "data": data })).await;
                made.push(MadeEvent {
                    made_ms,
                    acknowledged_after_ms: now_ms() - made_ms,
                });
                if is_last {
                    return made;
                }
                sleep(PACE).await;
            }
        });
        Publisher { stop, running }
    }

    /// All that it has published.
    async fn end(self) -> Vec<MadeEvent> {
        self.stop.store(true, Ordering::SeqCst);
        self.running.await.expect("a publisher")
    }
}

async fn publish(url: &str, event: &Value) {
    // A connection for each, so that the balancer chooses a gateway each time.
    let http = reqwest::Client::new();
    let sending = async {
        loop {
            let sent = http
                .post(format!("{url}/v1/events"))
                .json(event)
                .send()
                .await;
            if sent.is_ok_and(|answer| answer.status().is_success()) {
                return;
            }
            sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(PATIENCE, sending)
        .await
        .expect("an acknowledgement");
}

/// Reads up to the last event.
fn read(url: &str, via: Transport) -> JoinHandle<Vec<Arrival>> {
    let client = Client::new(url).expect("an address");
    tokio::spawn(async move {
        let options = ReadOptions::new().topic("door.1").after("earliest");
        let mut reader = client.read(options.via(via));
        let mut arrivals = Vec::new();
        loop {
            let item = reader.next().await.expect("it never ends");
            match item.expect("it resumes") {
                ReadItem::Event(event) => {
                    let data: Value = event.json().expect("JSON");
                    let (n, made_ms) = (data["n"].as_u64(), data["made_ms"].as_f64());
                    let late_ms = now_ms() - made_ms.expect("a time");
                    arrivals.push((n.expect("a number"), late_ms));
                    if data["is_last"] == true {
                        return arrivals;
                    }
                }
                ReadItem::Gap(gap) => panic!("{gap}"),
                _ => {}
            }
        }
    })
}

/// What Python's grpcio has read, with the vid for the number, and when.
struct GrpcioReader {
    arrived: Arc<Mutex<Vec<(u64, f64)>>>,
    reading: AbortOnDropHandle<()>,
}

impl GrpcioReader {
    fn start(address: &str) -> Self {
        let mut follow = python::start_at("follow.py", address, &["1000000"]);
        let arrived = Arc::<Mutex<Vec<_>>>::default();
        let kept = arrived.clone();
        let reading = tokio::spawn(async move {
            while let Some(line) = follow.line().await {
                let vid = line.parse().expect("a vid");
                kept.lock().expect("a list").push((vid, now_ms()));
            }
            panic!("grpcio has ended: {}", follow.complaints());
        });
        GrpcioReader {
            arrived,
            reading: AbortOnDropHandle::new(reading),
        }
    }

    /// Only the publisher publishes, so vids are the numbers of events.
    async fn arrivals(self, made: &[MadeEvent]) -> Vec<Arrival> {
        let reads_all = async {
            while self.arrived.lock().expect("a list").len() < made.len() {
                assert!(!self.reading.is_finished(), "grpcio has ended");
                sleep(Duration::from_millis(10)).await;
            }
        };
        timeout(PATIENCE, reads_all).await.expect("all events");
        let arrived = self.arrived.lock().expect("a list");
        let late = arrived.iter().zip(made);
        late.map(|((vid, at), event)| (*vid, at - event.made_ms))
            .collect()
    }
}

/// What each tab has read.
async fn arrivals_of_tabs(browser: &Browser, count: usize) -> Vec<Vec<Arrival>> {
    let seen = async || browser.ask::<usize>("return arrivals.length").await;
    let in_tab = async || {
        browser.until(true, async || seen().await >= count).await;
        assert_eq!(browser.ask::<u64>("return gaps").await, 0);
        browser.ask("return arrivals").await
    };
    browser.in_each_tab(in_tab).await
}

fn assert_each_once(who: &str, arrivals: &[Arrival], count: usize) {
    let numbers: Vec<u64> = arrivals.iter().map(|(number, _)| *number).collect();
    let expected: Vec<u64> = (1..=count as u64).collect();
    assert_eq!(numbers, expected, "{who}");
}

fn report(kind: Kind, who: &str, mut late_ms: Vec<f64>) {
    late_ms.sort_by(f64::total_cmp);
    let at = |share: usize| late_ms[(late_ms.len() * share / 1000).min(late_ms.len() - 1)];
    println!(
        "{kind:?}: {who:<24} {:>6} events, late by p50 {:>5.0} ms, p99 {:>5.0} ms, p99.9 {:>5.0} ms, at most {:>5.0} ms",
        late_ms.len(),
        at(500),
        at(990),
        at(999),
        at(1000),
    );
}

/// As often as `VIDETTE_ROLLING_ROUNDS` says.
async fn restart_one_after_the_other(gateways: &mut [Gateway; 2]) {
    let rounds = std::env::var("VIDETTE_ROLLING_ROUNDS").ok();
    let rounds = rounds.map_or(1, |rounds| rounds.parse().expect("a number"));
    for _ in 0..rounds {
        for gateway in &mut *gateways {
            assert!(gateway.terminate().await.success(), "{}", gateway.log());
            gateway.start_again();
            let is_ready = async || {
                let answer = reqwest::get(format!("{}/readyz", gateway.url())).await;
                answer.is_ok_and(|answer| answer.status().is_success())
            };
            gateway.until("it is ready", is_ready).await;
            // Until the balancer knows, as an operator would.
            sleep(NOTICE).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_gateways_behind_haproxy_are_restarted_and_nobody_misses_an_event() {
    restart_under_load(Kind::HaProxy).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_gateways_behind_nginx_are_restarted_and_nobody_misses_an_event() {
    restart_under_load(Kind::Nginx).await;
}

async fn restart_under_load(kind: Kind) {
    let (nats, pages) = (NatsCluster::start(1).await, pages());
    let first = gateway_on(&nats, pages.path());
    let mut gateways = [first, gateway_on(&nats, pages.path())];
    let balancer = Balancer::before(&gateways, kind).await;
    let url = balancer.url();

    let browser = Browser::open(&format!("{url}/source.html")).await;
    browser.new_tab(&format!("{url}/legacy.html")).await;
    let grpcio = GrpcioReader::start(&format!("127.0.0.1:{}", balancer.grpc));
    let publisher = Publisher::start(url.clone());
    let kinds = [("SSE", Transport::Sse), ("long-poll", Transport::LongPoll)];
    let many = kinds.into_iter().flat_map(|kind| [kind; READERS]);
    let readers: Vec<_> = many.map(|(who, via)| (who, read(&url, via))).collect();
    restart_one_after_the_other(&mut gateways).await;

    let made = publisher.end().await;
    let took = made.iter().map(|event| event.acknowledged_after_ms);
    report(kind, "acknowledgement", took.collect());
    let mut all = vec![("Python grpcio", grpcio.arrivals(&made).await)];
    let tabs = arrivals_of_tabs(&browser, made.len()).await;
    all.extend(
        ["EventSource in Chromium", "legacy page in Chromium"]
            .into_iter()
            .zip(tabs),
    );
    for (who, reader) in readers {
        let arrivals = timeout(PATIENCE, reader).await.expect("all events");
        all.push((who, arrivals.expect("a reader")));
    }
    for (who, arrivals) in &all {
        assert_each_once(who, arrivals, made.len());
    }
    for who in [
        "EventSource in Chromium",
        "legacy page in Chromium",
        "Python grpcio",
        "SSE",
        "long-poll",
    ] {
        let of_kind = all.iter().filter(|(kind, _)| *kind == who);
        let late_ms = of_kind.flat_map(|(_, arrivals)| arrivals.iter().map(|(_, late)| *late));
        report(kind, who, late_ms.collect());
    }
}
