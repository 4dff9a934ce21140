//! `vidette publish --ndjson` through nginx as it comes: it keeps a request until that has ended.

use std::path::Path;

use tempfile::TempDir;

use super::VIDETTE;
use super::resume::{data, each_once, lines};
use crate::common::gateway::{Gateway, Setup};
use crate::tools::{Running, find, run};

/// An nginx before a gateway; it is killed when this is dropped.
struct Nginx {
    _process: Running,
    _folder: TempDir,
    url: String,
}

impl Nginx {
    /// On a port below those that outgoing connections take.
    async fn before(gateway: &Gateway) -> Self {
        Self::with(gateway, "").await
    }

    /// With these settings more.
    async fn with(gateway: &Gateway, settings: &str) -> Self {
        let folder = TempDir::new().expect("a folder");
        let mut ports = (0..1000).map(|_| fastrand::u16(16_000..30_000));
        let port = ports
            .find(|port| std::net::TcpListener::bind(("127.0.0.1", *port)).is_ok())
            .expect("a free port");
        let target = format!("{};{settings}", gateway.url());
        let config = config(folder.path(), port, &target);
        let file = folder.path().join("nginx.conf");
        std::fs::write(&file, config).expect("a configuration");
        let folder_name = folder.path().to_str().expect("UTF-8");
        let file = file.to_str().expect("UTF-8");
        let args = ["-p", folder_name, "-c", file, "-e", "stderr"];
        let process = Running::start(find("nginx", "bin"), &args);
        let url = format!("http://127.0.0.1:{port}");
        gateway
            .until("nginx is there", || async {
                reqwest::get(format!("{url}/healthz"))
                    .await
                    .is_ok_and(|answer| answer.status() == 200)
            })
            .await;
        Nginx {
            _process: process,
            _folder: folder,
            url,
        }
    }
}

/// Everything that concerns requests and answers is as nginx has it by default.
fn config(folder: &Path, port: u16, target: &str) -> String {
    let temp = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|name| format!("{name}_temp_path {}/{name};", folder.display()))
        .join("\n");
    format!(
        "daemon off; master_process off; pid {0}/nginx.pid;\nevents {{}}\nhttp {{ access_log off;\n{temp}\n\
         server {{ listen 127.0.0.1:{port}; location / {{ proxy_pass {target} }} }} }}\n",
        folder.display()
    )
}

fn gateway() -> Gateway {
    Gateway::start_on_a_port_of_its_own(Setup::default())
}

async fn until_last(gateway: &Gateway, vid: u64) {
    gateway
        .until("the lines are events", || async {
            gateway.get("/v1/bus").await["last"] == vid
        })
        .await;
}

#[tokio::test]
async fn lines_are_published_through_a_proxy_that_keeps_requests_while_the_input_goes_on() {
    for ids in [&[][..], &["--id-prefix", "run"]] {
        let gateway = gateway();
        let nginx = Nginx::before(&gateway).await;
        let args = [&["publish", "--ndjson", "--url", &nginx.url], ids].concat();
        let mut stream = Running::start(VIDETTE, &args);
        for (from, to) in [(1, 1), (2, 3), (4, 2000), (2001, 2001)] {
            stream.say(&lines(from..=to)).await;
            until_last(&gateway, to).await;
        }
        let output = stream.end().await;
        assert_eq!(output.stderr, "", "{ids:?}");
        assert!(output.ok().starts_with("2001 events published"), "{ids:?}");
        assert_eq!(data(&gateway).await, each_once(1..=2001), "{ids:?}");
    }
}

#[tokio::test]
async fn more_than_a_proxy_takes_at_once_is_published_through_it_in_parts() {
    let gateway = gateway();
    let nginx = Nginx::before(&gateway).await;
    let args = ["publish", "--ndjson", "--url", &nginx.url];
    let mut stream = Running::start(VIDETTE, &args);
    let large = "x".repeat(100_000);
    for number in 1..=50 {
        let line = format!("{{\"topic\":\"a\",\"data\":{{\"n\":{number},\"x\":\"{large}\"}}}}\n");
        stream.say(&line).await;
    }
    let output = stream.end().await;
    assert_eq!(output.code(), 0, "{output:?}");
    assert_eq!(gateway.get("/v1/bus").await["last"], 50);
}

#[tokio::test]
async fn a_gateway_that_comes_back_behind_a_proxy_gets_every_line_once() {
    let mut gateway = gateway();
    let nginx = Nginx::before(&gateway).await;
    let url = &nginx.url;
    let args = ["publish", "--ndjson", "--id-prefix", "run", "--url", url];
    let mut stream = Running::start(VIDETTE, &args);
    stream.say(&lines(1..=100)).await;
    until_last(&gateway, 100).await;
    gateway.kill();
    stream.say(&lines(101..=200)).await;
    gateway.start_again();
    until_last(&gateway, 200).await;
    let output = stream.end().await;
    assert_eq!(output.code(), 0, "{output:?}");
    assert_eq!(data(&gateway).await, each_once(1..=200));
}

/// A line that may have been published is neither sent again nor forgotten.
#[tokio::test]
async fn lines_without_ids_whose_answers_a_proxy_has_lost_are_told() {
    let mut gateway = gateway();
    let nginx = Nginx::before(&gateway).await;
    let args = ["publish", "--ndjson", "--url", &nginx.url];
    let mut stream = Running::start(VIDETTE, &args);
    stream.say(&lines(1..=2)).await;
    until_last(&gateway, 2).await;
    gateway.kill();
    stream.say(&lines(3..=3)).await;
    let output = stream.ended().await;
    assert_eq!(output.code(), 1, "{output:?}");
    assert!(output.stderr.contains("have no id"), "{output:?}");
    assert!(output.stderr.contains("--from-line 3"), "{output:?}");
    gateway.start_again();
    assert_eq!(data(&gateway).await, each_once(1..=2));
}

#[tokio::test]
async fn the_doctor_finds_a_proxy_that_collects_events() {
    let gateway = gateway();
    // The gateway asks it not to, for event streams.
    let nginx = Nginx::with(&gateway, "proxy_ignore_headers X-Accel-Buffering;").await;
    let folder = TempDir::new().expect("a folder");
    let config = folder.path().join("vidette.toml");
    std::fs::write(&config, "listen = \"127.0.0.1:0\"\n").expect("a file");
    let config = config.display().to_string();
    let look = async |url: &str| run(VIDETTE, &["doctor", "--config", &config, "--url", url]).await;

    let alone = look(&gateway.url()).await;
    assert_eq!(alone.code(), 0, "{alone:?}");
    for reader in ["a reader of SSE", "a reader of gRPC", "a poll"] {
        let passed = format!("{reader} had the event");
        assert!(alone.stdout.contains(&passed), "{passed}: {alone:?}");
    }
    let behind = look(&nginx.url).await;
    assert_eq!(behind.code(), 1, "{behind:?}");
    assert!(behind.stdout.contains("a poll had the event"), "{behind:?}");
    for part in [
        "a reader of SSE: nothing came",
        "proxy_buffering off",
        "--without-grpc",
    ] {
        assert!(behind.stdout.contains(part), "{part}: {behind:?}");
    }
    assert!(behind.stderr.contains("2 problems"), "{behind:?}");
}
