//! The engine on NATS JetStream for suites that run on every engine: one server for the whole test
//! program, with a stream for each log.
//!
//! On a stream retention is the servers' part. The suites trim by calling the engine, so here that
//! call purges the stream, as its servers would in their own time.

use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, OnceLock, mpsc};
use std::time::Duration;

use async_nats::Client;
use async_trait::async_trait;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio::sync::OnceCell;
use tokio::time::sleep;
use vidette::engine::{
    Engine, JetStreamEngine, JetStreamOptions, NatsCredentials, NatsTls, Retention, TrimStep,
};
use vidette::error::Result;

use super::in_process::OpenEngine;
use super::nats::{free_ports, program, requirements};
use super::nats_stream::NatsStream;
use super::wrapping_engine::{Hooks, WrappingEngine};

/// Connections to NATS live here: a test's own runtime may end before the log is closed.
static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("nats")
        .enable_all()
        .build();
    runtime.expect("a runtime")
});
static SERVER: OnceCell<Server> = OnceCell::const_new();
static STREAMS: AtomicU64 = AtomicU64::new(0);

/// The one server. It is never dropped, and ends with this process all the same.
struct Server {
    url: String,
    client: Client,
    _process: Child,
}

impl Server {
    async fn start() -> Self {
        let folder = TempDir::with_prefix("vidette-nats-")
            .expect("a folder")
            .keep();
        let port = free_ports(1)[0];
        let config = folder.join("server.conf");
        let text = format!(
            "listen: 127.0.0.1:{port}\nmax_payload: 4194304\njetstream {{ store_dir: \"{}\" }}\n",
            folder.display()
        );
        std::fs::write(&config, text).expect("a file");
        // The shell waits for the end of its input, which is the end of this process.
        let script = "\"$1\" --config \"$2\" & read _; kill -9 $!; wait; rm -rf \"$3\"";
        let process = Command::new("sh")
            .args(["-c", script, "sh"])
            .args([program(), config, folder])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("nats-server, which scripts/setup-tests.sh installs");
        let url = format!("nats://127.0.0.1:{port}");
        let client = loop {
            match async_nats::connect(&url).await {
                Ok(client) => break client,
                Err(_) => sleep(Duration::from_millis(10)).await,
            }
        };
        Server {
            url,
            client,
            _process: process,
        }
    }
}

/// A stream that is deleted when nobody opens it any more.
struct OwnStream {
    name: String,
    /// Once it was opened.
    stream: OnceLock<NatsStream>,
}

impl Drop for OwnStream {
    fn drop(&mut self) {
        let Some(stream) = self.stream.take() else {
            return;
        };
        RUNTIME.spawn(async move {
            let subject = format!("STREAM.DELETE.{}", stream.name);
            let _ = stream.try_api(&subject, &Value::Null).await;
        });
    }
}

/// Opens a stream of its own, again at each call.
pub fn opener() -> OpenEngine {
    let own = Arc::new(OwnStream {
        name: format!("log{}", STREAMS.fetch_add(1, Ordering::SeqCst)),
        stream: OnceLock::new(),
    });
    Arc::new(move |_| {
        let (own, (sender, opened)) = (own.clone(), mpsc::channel());
        RUNTIME.spawn(async move {
            let _ = sender.send(open(&own).await);
        });
        opened.recv().expect("an open stream")
    })
}

async fn open(own: &OwnStream) -> Arc<dyn Engine> {
    let server = SERVER.get_or_init(Server::start).await;
    let options = JetStreamOptions {
        servers: vec![server.url.clone()],
        stream: own.name.clone(),
        prefix: None,
        create: true,
        replicas: 1,
        first_vid: None,
        credentials: NatsCredentials::None,
        tls: NatsTls::default(),
        stale_after: Duration::from_secs(15),
        monitors: Vec::new(),
    };
    let engine = JetStreamEngine::open(options, requirements()).await;
    let engine = Arc::new(engine.expect("an engine"));
    let stream = NatsStream::new(server.client.clone(), &own.name);
    let stream = own.stream.get_or_init(|| stream).clone();
    Arc::new(WrappingEngine::around(engine, Purging(stream)))
}

/// Trims by purging.
struct Purging(NatsStream);

#[async_trait]
impl Hooks for Purging {
    fn kind(&self) -> &'static str {
        "jetstream"
    }

    async fn trim(&self, inner: &dyn Engine, retention: Retention, _: i64) -> Result<TrimStep> {
        let mut purged = 0;
        let info = self.0.until_info().await;
        if info["state"]["messages"].as_u64() > Some(retention.max_events) {
            purged += self.purge(&by_count(retention.max_events)).await;
        }
        purged += self.purge_older(retention.max_age).await;
        // The engine asks the stream what it is, so that it knows of it as well.
        if purged > 0 {
            inner.confirmed_last().await?;
        }
        Ok(TrimStep {
            trimmed: u32::try_from(purged).expect("a few"),
            more: false,
        })
    }
}

/// Keeping none is purging all.
fn by_count(keep: u64) -> Value {
    if keep == 0 {
        json!({})
    } else {
        json!({ "keep": keep })
    }
}

impl Purging {
    async fn purge(&self, filter: &Value) -> u64 {
        self.0.purge(filter).await["purged"]
            .as_u64()
            .expect("a number")
    }

    async fn purge_older(&self, max_age: Duration) -> u64 {
        let Ok(since) = jiff::Timestamp::now().checked_sub(max_age) else {
            return 0;
        };
        let end = self.0.until_info().await["state"]["last_seq"]
            .as_u64()
            .expect("a vid")
            + 1;
        let subject = format!("STREAM.MSG.GET.{}", self.0.name);
        let body = json!({ "start_time": since.to_string(), "next_by_subj": ">" });
        match self.0.try_api(&subject, &body).await {
            Ok(found) => {
                let seq = &found["message"]["seq"];
                self.purge(&json!({ "seq": seq })).await
            }
            // What has come since is younger.
            Err(error) if error.contains("10037") => self.purge(&json!({ "seq": end })).await,
            Err(error) => panic!("{error}"),
        }
    }
}
