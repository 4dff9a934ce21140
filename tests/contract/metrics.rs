//! `/metrics`: names and values, by transport and by reason.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;

use crate::common::gateway::{Gateway, Setup};
use crate::common::read::{ALL, SubscribeParams, Transport};
use crate::support::{gateway, gateways, get, open};

/// The values of metrics, by their names and labels.
type Values = BTreeMap<String, f64>;

#[tokio::test]
async fn metrics_are_open_metrics_and_count() {
    for (engine, gateway) in gateways("") {
        gateway.publish_numbers("door.1", 3).await;
        for _ in 0..2 {
            gateway
                .publish(&json!({ "topic": "door.1", "id": "a", "data": 1 }))
                .await;
        }
        let mut reader = open(Transport::Sse, &gateway, &SubscribeParams::earliest()).await;
        reader.until_caught_up().await;
        get(&gateway, "/v1/poll?after=9-another1&wait=0&topic=nobody").await;

        let values = values(&gateway).await;
        for (name, expected) in [
            ("vidette_events_published_total", 4.0),
            ("vidette_duplicates_total", 1.0),
            ("vidette_deliveries_total{transport=\"sse\"}", 4.0),
            ("vidette_subscriptions_total{transport=\"sse\"}", 1.0),
            ("vidette_subscriptions_total{transport=\"long_poll\"}", 1.0),
            ("vidette_gaps_total{reason=\"reset\"}", 1.0),
            ("vidette_trimmed_events_total", 0.0),
            ("vidette_publishes_refused_total", 0.0),
            ("vidette_commit_failures_total", 0.0),
            ("vidette_first_vid", 1.0),
            ("vidette_last_vid", 4.0),
            ("vidette_retained_events", 4.0),
            ("vidette_subscribers{transport=\"sse\"}", 1.0),
            ("vidette_connections{transport=\"sse\"}", 1.0),
            ("vidette_publish_duration_seconds_count", 3.0),
            ("vidette_publish_batch_events_sum", 5.0),
            ("vidette_lag_vids_bucket{le=\"0.0\"}", 2.0),
            ("vidette_ready", 1.0),
            ("vidette_log_writable", 1.0),
        ] {
            assert_eq!(
                values.get(name),
                Some(&expected),
                "{engine} {name}: {values:?}"
            );
        }
        let info = format!("vidette_engine_info{{engine=\"{engine}\"}}");
        assert!(
            values["vidette_commits_total"] >= 2.0 && values.contains_key(&info),
            "{engine}: {values:?}"
        );
        let syncs = values["vidette_fsync_duration_seconds_count"];
        assert_eq!(syncs >= 2.0, engine == "sqlite", "{syncs} syncs");
        assert!(values["process_open_fds"] >= 3.0 && values["process_cpu_seconds_total"] > 0.0);
    }
}

#[tokio::test]
async fn what_readers_get_and_how_they_end_is_counted_by_transport() {
    let gateway = gateway("memory", "[legacy]\ntopic = \"door.1\"");
    let bytes = |values: &Values, via| values[&format!("vidette_sent_bytes_total{{{via}}}")];
    for via in ALL {
        let label = match via {
            Transport::Sse => "transport=\"sse\"",
            Transport::Grpc => "transport=\"grpc\"",
            Transport::Poll => "transport=\"long_poll\"",
        };
        let before = values(&gateway).await;
        let mut reader = open(via, &gateway, &SubscribeParams::default()).await;
        reader.until_caught_up().await;
        gateway.publish_numbers("door.1", 2).await;
        for _ in 0..2 {
            reader.event().await;
        }
        let after = values(&gateway).await;
        let deliveries = format!("vidette_deliveries_total{{{label}}}");
        assert_eq!(
            (before[&deliveries], after[&deliveries]),
            (0.0, 2.0),
            "{label}"
        );
        assert!(
            bytes(&after, label) > bytes(&before, label) + 50.0,
            "{after:?}"
        );
        let waited = format!("vidette_publish_to_write_seconds_count{{{label}}}");
        assert!(after[&waited] >= 1.0, "{after:?}");

        drop(reader);
        let closed = format!("vidette_closed_total{{{label}");
        let all_closed = async || {
            let subscribers = format!("vidette_subscribers{{{label}}}");
            values(&gateway).await.get(&subscribers) == Some(&0.0)
        };
        gateway
            .until("its subscription is closed", all_closed)
            .await;
        let values = values(&gateway).await;
        let ended: f64 = sum_of(&values, &closed);
        let opened = values.get(&format!("vidette_subscriptions_total{{{label}}}"));
        assert!(ended >= 1.0 && Some(&ended) == opened, "{values:?}");
    }
    let page = get(&gateway, "/backend.php?maxvid=0").await;
    assert_eq!(page.status, 200);
    let values = values(&gateway).await;
    let deliveries = values.get("vidette_deliveries_total{transport=\"legacy\"}");
    assert_eq!(deliveries, Some(&1.0));
    let closed = "vidette_closed_total{transport=\"legacy\",reason=\"done\"}";
    assert_eq!(values.get(closed), Some(&1.0));
}

#[tokio::test]
async fn requests_are_counted_by_status_and_calls_by_code() {
    let gateway = gateway("memory", "");
    get(&gateway, "/v1/poll?after=nonsense").await;
    get(&gateway, "/v1/sse?topic=..").await;
    get(&gateway, "/nothing").await;
    get(&gateway, "/backend.php?maxvid=x").await;
    let mut client = crate::common::grpc::client(&gateway.url()).await;
    let empty = vidette::proto::PublishRequest::default();
    client.publish(empty).await.expect_err("an empty batch");
    let asked = vidette::proto::GetBusRequest {};
    client.get_bus(asked).await.expect("the state of the bus");
    let wrong = vidette::proto::SubscribeRequest {
        after: "nonsense".to_owned(),
        ..Default::default()
    };
    client.subscribe(wrong).await.expect_err("no cursor");
    let right = vidette::proto::SubscribeRequest::default();
    drop(client.subscribe(right).await.expect("a stream"));

    let count = async |transport: &str, status: &str| {
        let labels = format!("transport=\"{transport}\",status=\"{status}\"");
        let name = format!("vidette_requests_total{{{labels}}}");
        values(&gateway).await.get(&name).copied()
    };
    for (transport, status, expected) in [
        ("long_poll", "400", 1.0),
        ("sse", "400", 1.0),
        ("legacy", "400", 1.0),
        ("http", "404", 1.0),
        ("grpc", "INVALID_ARGUMENT", 2.0),
        ("grpc", "OK", 1.0),
    ] {
        let counted = count(transport, status).await;
        assert_eq!(counted, Some(expected), "{transport} {status}");
    }
    let is_cancelled = async || count("grpc", "CANCELLED").await == Some(1.0);
    gateway.until("the stream is given up", is_cancelled).await;
}

/// The rows of the page, but for those that only a gateway with sources has.
fn rows_of_the_page() -> BTreeSet<String> {
    let page = include_str!("../../docs/metrics.md");
    let rows = page.lines().filter(|line| {
        let is_name = |begin: &str| line.starts_with(&format!("| `{begin}"));
        (is_name("vidette_") || is_name("process_")) && !is_name("vidette_source_")
    });
    let named = |row: &str| {
        let cells: Vec<_> = row
            .split('|')
            .map(|cell| cell.trim().replace('`', ""))
            .collect();
        format!("{} [{}]", cells[1], cells[2])
    };
    rows.map(named).collect()
}

/// The same, of a gateway.
fn rows_of(values: &Values) -> BTreeSet<String> {
    let names = values
        .keys()
        .map(|line| line.split('{').next().unwrap_or(line));
    let histograms: BTreeSet<_> = names
        .filter_map(|name| name.strip_suffix("_bucket"))
        .collect();
    let row = |line: &String| {
        let (name, labels) = line
            .trim_end_matches('}')
            .split_once('{')
            .unwrap_or((line, ""));
        let family = name.rsplit_once('_').map_or(name, |(family, _)| family);
        let shown = histograms.get(family).copied().unwrap_or(name);
        let labels = labels
            .split(',')
            .filter_map(|label| label.split('=').next());
        let labels: Vec<_> = labels
            .filter(|label| !label.is_empty() && *label != "le")
            .collect();
        format!("{shown} [{}]", labels.join(", "))
    };
    values.keys().map(row).collect()
}

#[tokio::test]
async fn the_page_has_a_row_for_each_metric_with_its_labels() {
    let gateway = gateway("memory", "");
    let (of_page, of_gateway) = (rows_of_the_page(), rows_of(&values(&gateway).await));
    let missing: Vec<_> = of_gateway.difference(&of_page).collect();
    let untrue: Vec<_> = of_page.difference(&of_gateway).collect();
    assert!(
        missing.is_empty() && untrue.is_empty(),
        "not in docs/metrics.md: {missing:?}; not true: {untrue:?}"
    );
    assert!(of_page.len() > 30, "{of_page:?}");
}

#[tokio::test]
async fn a_trace_is_kept_with_the_event_and_handed_on() {
    const TRACE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let gateway = gateway("memory", "");
    let http = reqwest::Client::new();
    let own = json!({ "topic": "door.1", "data": 1, "headers": { "traceparent": "its own" } });
    for (path, body, trace) in [
        ("/v1/topics/door.1", "1".to_owned(), TRACE),
        (
            "/v1/events",
            json!({ "topic": "door.1", "data": 1 }).to_string(),
            TRACE,
        ),
        (
            "/v1/events",
            json!([{ "topic": "door.1", "data": 1 }]).to_string(),
            TRACE,
        ),
        ("/v1/events", own.to_string(), TRACE),
        ("/v1/topics/door.1", "1".to_owned(), "nonsense"),
    ] {
        let request = http.post(format!("{}{path}", gateway.url())).body(body);
        let request = request.header("content-type", "application/json");
        let answer = request.header("traceparent", trace).send().await;
        assert_eq!(answer.expect("an answer").status(), 200, "{path}");
    }
    let event = vidette::proto::NewEvent {
        topic: "door.1".to_owned(),
        data: "1".into(),
        ..Default::default()
    };
    let mut request = tonic::Request::new(vidette::proto::PublishRequest {
        events: vec![event],
    });
    let trace = TRACE.parse().expect("metadata");
    request.metadata_mut().insert("traceparent", trace);
    let mut client = crate::common::grpc::client(&gateway.url()).await;
    client.publish(request).await.expect("a receipt");

    let events = gateway.get("/v1/poll?after=0&wait=0").await;
    let events = events["events"].as_array().cloned().expect("events");
    let traces = events
        .iter()
        .map(|event| event["headers"]["traceparent"].as_str());
    let (kept, own) = (Some(TRACE), Some("its own"));
    assert_eq!(
        traces.collect::<Vec<_>>(),
        [kept, kept, kept, own, None, kept]
    );
}

#[tokio::test]
async fn requests_and_connections_are_lines_of_the_log_at_debug_without_secrets() {
    let gateway = Gateway::start_with(Setup {
        engine: "memory",
        flags: ["--log", "debug"].map(str::to_owned).into(),
        ..Setup::default()
    });
    gateway.publish_numbers("door.1", 2).await;
    let path = "/v1/poll?after=0&topic=door.1&access_token=hunter2&wait=0";
    get(&gateway, path).await;
    let mut reader = open(Transport::Sse, &gateway, &SubscribeParams::earliest()).await;
    reader.until_caught_up().await;
    drop(reader);
    let is_logged = async || {
        let log = gateway.log();
        log.contains("transport=\"sse\"") && log.contains("a connection is over")
    };
    gateway.until("the connection is logged", is_logged).await;
    let log = gateway.log();
    let line = |words: &[&str]| {
        let has_all = |line: &&str| words.iter().all(|word| line.contains(word));
        assert!(log.lines().any(|l| has_all(&l)), "{words:?} in {log}");
    };
    line(&[
        "a request is answered",
        "asked=\"/v1/poll?after=0&topic=door.1&wait=0\"",
        "status=400",
    ]);
    line(&[
        "a request is answered",
        "method=POST",
        "/v1/events",
        "status=200",
        "took_us=",
    ]);
    line(&[
        "a connection is over",
        "transport=\"sse\"",
        "events=2",
        "ended=\"left\"",
        "peer=127.0.0.1",
    ]);
    line(&["version=\"", "engine=\"memory\""]);
    assert!(!log.contains("hunter2") && !log.contains("\"n\":"), "{log}");
}

async fn values(gateway: &Gateway) -> Values {
    let answer = get(gateway, "/metrics").await;
    let content_type = answer.header("content-type");
    let is_open_metrics = |t: &str| t.starts_with("application/openmetrics-text");
    assert!(
        content_type.is_some_and(is_open_metrics),
        "{content_type:?}"
    );
    parse_open_metrics(&answer.text)
}

fn sum_of(values: &Values, begin: &str) -> f64 {
    let wanted = values.iter().filter(|(name, _)| name.starts_with(begin));
    wanted.map(|(_, value)| value).sum()
}

/// The values of metrics, by their names and labels. Each is announced by a type and a help text,
/// and the text ends with its mark.
fn parse_open_metrics(text: &str) -> Values {
    let body = text
        .strip_suffix("# EOF\n")
        .unwrap_or_else(|| panic!("no end: {text}"));
    let mut announced: BTreeMap<&str, &str> = BTreeMap::new();
    let mut values = BTreeMap::new();
    for line in body.lines() {
        let words: Vec<_> = line.splitn(4, ' ').collect();
        match words[..] {
            ["#", "HELP", _, help] => assert!(help.len() > 1 && help.ends_with('.'), "{line}"),
            ["#", "TYPE", name, kind] => {
                assert_eq!(announced.insert(name, kind), None, "{line} comes twice");
            }
            [name, value] => {
                let family = family_of(name, &announced);
                assert!(family.is_some(), "{line} comes without its type");
                let value = value.parse().expect("a number");
                let before = values.insert(name.to_owned(), value);
                assert_eq!(before, None, "{line} comes twice");
            }
            _ => panic!("{line} is not OpenMetrics"),
        }
    }
    values
}

/// The name under which a line was announced.
fn family_of<'a>(line: &str, announced: &BTreeMap<&'a str, &str>) -> Option<&'a str> {
    let name = line.split('{').next().unwrap_or_default();
    let endings = |kind: &str| match kind {
        "counter" => &["_total"][..],
        "histogram" => &["_bucket", "_sum", "_count"][..],
        _ => &[""][..],
    };
    let is_of = |(family, kind): &(&&str, &&str)| {
        let ending = name.strip_prefix(**family);
        ending.is_some_and(|ending| endings(kind).contains(&ending))
    };
    announced.iter().find(is_of).map(|(family, _)| *family)
}
