//! What watches a gateway: a real Prometheus scrapes one, and every query of the dashboard and
//! every alert finds what it asks for.

use std::collections::BTreeSet;
use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::common::gateway::{Gateway, Setup};
use crate::common::read::{ALL, Reader, SubscribeParams};

/// Metrics that only a gateway with sources has.
const OF_SOURCES: &str = "vidette_source_";

fn deploy(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("deploy")
        .join(file)
}

fn text(file: &str) -> String {
    fs::read_to_string(deploy(file)).expect(file)
}

/// The names and expressions of all alerts.
fn alerts() -> Vec<(String, String)> {
    let text = text("prometheus/alerts.yml");
    let rules = text.split("      - alert: ").skip(1);
    rules
        .map(|rule| {
            let mut lines = rule.lines();
            let name = lines.next().expect("a name").to_owned();
            let expression = lines.nth(1).expect("an expression").trim().to_owned();
            (name, expression)
        })
        .collect()
}

/// The expressions of the dashboard, as Grafana would fill them in.
fn queries() -> Vec<String> {
    let dashboard: Value = serde_json::from_str(&text("grafana/vidette.json")).expect("JSON");
    let panels = dashboard["panels"].as_array().expect("panels");
    let targets = panels
        .iter()
        .filter_map(|panel| panel["targets"].as_array());
    let expressions = targets.flatten().map(|target| {
        let expression = target["expr"].as_str().expect("an expression");
        let filled = expression
            .replace("$job", "vidette")
            .replace("$instance", ".*");
        filled.replace("$__rate_interval", "10s")
    });
    expressions.collect()
}

#[test]
fn the_dashboard_has_a_place_of_its_own_for_each_panel() {
    let dashboard: Value = serde_json::from_str(&text("grafana/vidette.json")).expect("JSON");
    let (mut ids, mut taken) = (BTreeSet::new(), BTreeSet::new());
    for panel in dashboard["panels"].as_array().expect("panels") {
        assert!(ids.insert(panel["id"].as_u64().expect("an id")), "{panel}");
        let [x, y, w, h] = ["x", "y", "w", "h"].map(|side| {
            let side = panel["gridPos"][side].as_u64();
            side.expect("a place in the grid")
        });
        assert!(x + w <= 24, "{panel}");
        let mut cells = (x..x + w).flat_map(|column| (y..y + h).map(move |row| (column, row)));
        let is_free = cells.all(|cell| taken.insert(cell));
        assert!(is_free, "{panel}");
        let Some(targets) = panel["targets"].as_array() else {
            assert_eq!(panel["type"], "row");
            continue;
        };
        let names: BTreeSet<_> = targets.iter().map(|one| one["refId"].as_str()).collect();
        assert!(
            names.len() == targets.len() && !names.contains(&None),
            "{panel}"
        );
        assert_eq!(panel["datasource"]["uid"], "${datasource}", "{panel}");
    }
}

/// The metrics that an expression reads.
fn metrics_of(expression: &str) -> BTreeSet<String> {
    let is_of_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let words = expression.split(|c| !is_of_name(c));
    words
        .filter(|word| word.starts_with("vidette_") || word.starts_with("process_"))
        .map(str::to_owned)
        .collect()
}

#[test]
fn each_alert_fires_when_it_has_to_and_not_when_all_is_well() {
    let tests = text("prometheus/alerts_test.yml");
    let page = fs::read_to_string(deploy("../docs/metrics.md")).expect("the page");
    for (name, _) in alerts() {
        let fires = format!("alertname=\"{name}\"");
        assert!(tests.contains(&fires), "{name} has no test");
        assert!(page.contains(&format!("| `{name}` |")), "{name} has no row");
    }
    for (asked, file) in [("check", "prometheus.yml"), ("test", "alerts_test.yml")] {
        let what = if asked == "check" { "config" } else { "rules" };
        let output = Command::new("promtool")
            .args([asked, what, file])
            .current_dir(deploy("prometheus"))
            .output()
            .expect("promtool (scripts/setup-tests.sh)");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{said}");
    }
}

#[tokio::test]
async fn a_real_prometheus_finds_what_the_dashboard_and_the_alerts_ask_for() {
    let gateway = Gateway::start_with(Setup {
        engine: "sqlite",
        config: "[legacy]\ntopic = \"door.1\"".to_owned(),
        ..Setup::default()
    });
    let prometheus = Prometheus::start(&gateway);

    // Something of everything: each transport, a gap, a page from memory.
    let mut readers = Vec::new();
    for via in ALL {
        let opened = Reader::open(via, &gateway, &SubscribeParams::default()).await;
        let mut reader = opened.expect("a subscription");
        reader.until_caught_up().await;
        readers.push(reader);
    }
    let is_scraped = async || prometheus.finds("vidette_last_vid >= 0").await;
    gateway.until("it is scraped", is_scraped).await;
    gateway.publish_numbers("door.1", 3).await;
    for reader in &mut readers {
        reader.event().await;
    }
    for path in ["/v1/poll?after=9-another1&wait=0", "/backend.php?maxvid=0"] {
        let answer = reqwest::get(format!("{}{path}", gateway.url())).await;
        assert_eq!(answer.expect("an answer").status(), 200, "{path}");
    }
    // Both of a rate's samples.
    let has_rates = async || prometheus.finds("rate(vidette_last_vid[10s]) > 0").await;
    gateway.until("there is a rate", has_rates).await;

    let of_alerts = alerts().into_iter().map(|(_, expression)| expression);
    let read_by_alerts = of_alerts.flat_map(|expression| metrics_of(&expression));
    let queries = queries();
    assert!(queries.len() > 30, "{} queries", queries.len());
    for query in queries.into_iter().chain(read_by_alerts) {
        let found = prometheus.finds(&query).await;
        assert_eq!(found, !query.contains(OF_SOURCES), "{query}");
    }
    for (name, expression) in alerts() {
        // Asked as they stand: nothing of it fires here.
        assert!(!prometheus.finds(&expression).await, "{name}");
    }
    let rules = prometheus.ask("/api/v1/rules", &[]).await;
    let rules = rules["data"]["groups"][0]["rules"].as_array().cloned();
    let rules = rules.expect("rules");
    assert_eq!(rules.len(), alerts().len());
    for rule in rules {
        assert_eq!(rule["health"], json!("ok"), "{rule}");
    }
}

/// A Prometheus that scrapes one gateway; ended when it is dropped.
struct Prometheus {
    process: Child,
    url: String,
    _folder: TempDir,
}

impl Prometheus {
    fn start(gateway: &Gateway) -> Self {
        let folder = TempDir::new().expect("a folder");
        let target = gateway.url().replace("http://", "");
        let sample = text("prometheus/prometheus.yml");
        // The sample, but for the address, and asked more often.
        let config = sample
            .replace("127.0.0.1:8080", &target)
            .replace(
                "alerts.yml",
                &deploy("prometheus/alerts.yml").display().to_string(),
            )
            .replace("interval: 15s", "interval: 200ms")
            .replace("global:", "global:\n  scrape_timeout: 200ms");
        let path = folder.path().join("prometheus.yml");
        fs::write(&path, config).expect("a configuration");

        let free = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = free.local_addr().expect("an address").to_string();
        drop(free);
        let process = Command::new("prometheus")
            .arg(format!("--config.file={}", path.display()))
            .arg(format!(
                "--storage.tsdb.path={}",
                folder.path().join("data").display()
            ))
            .arg(format!("--web.listen-address={address}"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("prometheus (scripts/setup-tests.sh)");
        Prometheus {
            process,
            url: format!("http://{address}"),
            _folder: folder,
        }
    }

    async fn ask(&self, path: &str, query: &[(&str, &str)]) -> Value {
        let request = reqwest::Client::new().get(format!("{}{path}", self.url));
        match request.query(query).send().await {
            Ok(answer) => answer.json().await.unwrap_or_default(),
            // It is not up yet.
            Err(_) => Value::Null,
        }
    }

    /// Has a query a result?
    async fn finds(&self, query: &str) -> bool {
        let answer = self.ask("/api/v1/query", &[("query", query)]).await;
        assert_ne!(answer["status"], json!("error"), "{query}: {answer}");
        let result = answer["data"]["result"].as_array();
        result.is_some_and(|result| !result.is_empty())
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
