//! Three servers of NATS, two gateways as processes with a network of their own each, and a stream.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;
use std::time::Duration;

use async_nats::ConnectOptions;
use nix::sys::signal::Signal;
use serde_json::json;
use tokio::time::{sleep, timeout};

use crate::checker::Stream;
use crate::common::gateway::{Gateway, Setup};
use crate::common::nats::NatsCluster;
use crate::common::nats_stream::{NatsStream, Stored};
use crate::common::tcp_proxy::{Network, TcpProxy};
use crate::record::Record;

pub(crate) const SERVERS: usize = 3;
pub(crate) const GATEWAYS: usize = 2;
/// What is published behind the back of all gateways, and is no event.
pub(crate) const NO_EVENT: &str = "\"no event\"";

/// Servers reserve what a stream may hold; a disk that is nearly full has room for this.
const CONFIG: &str = "[bus]\nheartbeat = \"1s\"\n[retention]\nmax_bytes = 268435456\n";

/// How the stream is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Made {
    /// By the first gateway.
    ByGateway,
    /// By an administrator, who may delete messages.
    ByAdministrator,
}

/// One run's surroundings.
pub(crate) struct Stage<'n> {
    pub(crate) nats: &'n mut NatsCluster,
    /// The stream as each server shows it.
    pub(crate) streams: Vec<NatsStream>,
    pub(crate) gateways: Vec<Gateway>,
    /// By gateway and server.
    networks: Vec<Vec<TcpProxy>>,
    /// Servers that do not run now.
    pub(crate) down: BTreeSet<String>,
    /// Vids that were deleted one by one.
    pub(crate) deleted: HashSet<u64>,
    pub(crate) record: Arc<Record>,
}

impl<'n> Stage<'n> {
    pub(crate) async fn set(nats: &'n mut NatsCluster, stream: &str, made: Made) -> Self {
        let mut streams = Vec::new();
        for server in &nats.servers {
            let client = ConnectOptions::new()
                .connection_timeout(Duration::from_secs(1))
                .ping_interval(Duration::from_secs(1))
                .retry_on_initial_connect()
                .connect(server.url())
                .await;
            streams.push(NatsStream::new(client.expect("a client"), stream));
        }
        if made == Made::ByAdministrator {
            create(&streams[0]).await;
        }
        let mut stage = Stage {
            nats,
            streams,
            gateways: Vec::new(),
            networks: Vec::new(),
            down: BTreeSet::new(),
            deleted: HashSet::new(),
            record: Record::new(),
        };
        for _ in 0..GATEWAYS {
            stage.add_gateway(stream).await;
        }
        stage.until_healthy().await;
        stage
    }

    async fn add_gateway(&mut self, stream: &str) {
        let mut networks = Vec::new();
        for server in &self.nats.servers {
            let address = ([127, 0, 0, 1], server.port()).into();
            networks.push(TcpProxy::start(address).await);
        }
        let urls = networks
            .iter()
            .map(|network| format!("nats://{}", network.address()));
        let urls: Vec<_> = urls.collect();
        let flags = ["--nats", &urls.join(","), "--stream", stream, "--create"];
        let setup = Setup {
            engine: "jetstream",
            config: CONFIG.into(),
            flags: flags.map(str::to_owned).into(),
            ..Setup::default()
        };
        // It waits for its start, and the proxies have to go on meanwhile.
        let starting = tokio::task::spawn_blocking(|| Gateway::start_on_a_port_of_its_own(setup));
        self.gateways.push(starting.await.expect("a gateway"));
        self.networks.push(networks);
    }

    /// Starts a gateway again that was killed.
    pub(crate) async fn start_gateway_again(&mut self, index: usize) {
        let mut gateway = self.gateways.remove(index);
        let starting = tokio::task::spawn_blocking(move || {
            gateway.start_again();
            gateway
        });
        self.gateways
            .insert(index, starting.await.expect("a gateway"));
    }

    pub(crate) fn urls(&self) -> Vec<String> {
        self.gateways.iter().map(Gateway::url).collect()
    }

    /// The stream, by a server that runs.
    pub(crate) fn stream(&self) -> &NatsStream {
        let servers = self.nats.servers.iter().zip(&self.streams);
        let mut running = servers.filter(|(server, _)| !self.down.contains(server.name()));
        let (_, stream) = running.next().expect("a server that runs");
        stream
    }

    pub(crate) async fn leader(&self) -> String {
        self.stream().until_leader().await
    }

    /// The server that a gateway is connected to.
    pub(crate) async fn connection_of(&self, gateway: usize) -> String {
        let connected = async {
            loop {
                let mut networks = self.networks[gateway].iter();
                if let Some(index) = networks.position(|network| network.connections() > 0) {
                    return self.nats.servers[index].name().to_owned();
                }
                sleep(Duration::from_millis(5)).await;
            }
        };
        let connected = timeout(Duration::from_secs(30), connected).await;
        connected.expect("a connection")
    }

    /// A server that has the consumer of some gateway.
    pub(crate) async fn consumers_node(&self) -> String {
        let consumers = self.stream().consumers().await;
        let mut nodes = consumers.into_iter().filter_map(|(_, node)| node);
        let node = nodes.next();
        // Where no gateway has one, it reads by other means, and any server will do.
        match node {
            Some(node) => node,
            None => self.connection_of(1).await,
        }
    }

    pub(crate) fn set_network(&self, gateway: usize, network: Network) {
        self.networks[gateway]
            .iter()
            .for_each(|proxy| proxy.set(network));
    }

    pub(crate) fn kill(&mut self, server: &str) {
        self.down.insert(server.to_owned());
        self.nats.server(server).kill();
    }

    pub(crate) fn freeze(&mut self, server: &str) {
        self.down.insert(server.to_owned());
        self.nats.server(server).freeze();
    }

    /// Starts again what was killed, and thaws what was frozen.
    pub(crate) fn bring_back(&mut self, server: &str) {
        let back = self.nats.server(server);
        if back.is_running() {
            back.thaw();
        } else {
            back.start();
        }
        self.down.remove(server);
    }

    pub(crate) fn signal_gateway(&self, gateway: usize, signal: Signal) {
        self.gateways[gateway].signal(signal);
    }

    /// Waits until all servers have the whole stream, and all gateways are ready.
    pub(crate) async fn until_healthy(&self) {
        self.nats.until_ready().await;
        self.stream().until_whole(SERVERS).await;
        for url in self.urls() {
            let ready = async {
                while !is_ready(&url).await {
                    sleep(Duration::from_millis(20)).await;
                }
            };
            let ready = timeout(Duration::from_secs(40), ready).await;
            ready.unwrap_or_else(|_| panic!("{url} is never ready again"));
        }
    }

    /// The stream in the end, which nobody writes to any more.
    pub(crate) async fn scan(&self) -> Stream {
        let info = self.stream().until_info().await;
        let first = info["state"]["first_seq"].as_u64().expect("a number");
        let stored = self.stream().all().await;
        let prefix = format!("{}.", self.stream().name);
        let mut stream = Stream {
            epoch: epoch(&self.urls()[0]).await,
            first,
            holes: self.deleted.clone(),
            ..Stream::default()
        };
        for (vid, Stored { subject, id, data }) in stored {
            assert!(subject.starts_with(&prefix), "{subject}");
            let text = String::from_utf8(data).expect("text");
            if text == NO_EVENT {
                stream.holes.insert(vid);
            } else {
                stream
                    .events
                    .insert(vid, if id.is_empty() { text } else { id });
            }
        }
        stream
    }
}

async fn is_ready(url: &str) -> bool {
    let answer = reqwest::Client::new()
        .get(format!("{url}/readyz"))
        .timeout(Duration::from_secs(1))
        .send()
        .await;
    answer.is_ok_and(|answer| answer.status().is_success())
}

async fn epoch(url: &str) -> String {
    let answer = reqwest::get(format!("{url}/v1/bus")).await;
    let bus: serde_json::Value = answer.expect("an answer").json().await.expect("JSON");
    bus["epoch"].as_str().expect("an epoch").to_owned()
}

/// As an administrator makes it who wants to be able to delete messages.
async fn create(stream: &NatsStream) {
    let name = &stream.name;
    let config = json!({
        "name": name, "subjects": [format!("{name}.>")], "retention": "limits", "discard": "old",
        "storage": "file", "num_replicas": SERVERS, "max_age": 3_600_000_000_000_u64,
        "duplicate_window": 120_000_000_000_u64, "allow_direct": true, "allow_atomic": true,
        "max_msgs": -1, "max_bytes": -1, "max_msgs_per_subject": -1, "max_msg_size": -1,
        "max_consumers": -1,
    });
    stream.api(&format!("STREAM.CREATE.{name}"), &config).await;
}
