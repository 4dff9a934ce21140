//! The clients that people use: curl, grpcurl, Python's grpcio, Chromium.

use serde_json::{Value, json};

use crate::chromium::Browser;
use crate::page::Page as _;
use crate::support::TlsGateway;
use crate::tools::{Running, find, root, run};

async fn curl(gateway: &TlsGateway, args: &[&str]) -> String {
    let ca = gateway.ca();
    let args = [&["-sS", "--fail", "--cacert", &ca], args].concat();
    run(find("curl", "bin"), &args).await.ok()
}

#[tokio::test]
async fn curl_publishes_polls_and_streams_over_http_1_and_2() {
    let gateway = TlsGateway::start();
    let (topic, poll) = (
        gateway.url("/v1/topics/door.1"),
        gateway.url("/v1/poll?after=0&wait=0"),
    );
    for (version, name) in [("--http1.1", "1.1"), ("--http2", "2")] {
        let used = ["-w", "%{http_version}", "-o", "/dev/null"];
        let used = curl(&gateway, &[&[version, &poll], &used[..]].concat()).await;
        assert_eq!(used, name);
        let receipt = curl(&gateway, &[version, "-d", "{\"n\":1}", &topic]).await;
        let receipt: Value = serde_json::from_str(&receipt).expect("JSON");
        let vid = receipt["vid"].as_u64().expect("a vid");
        let polled = curl(&gateway, &[version, &poll]).await;
        assert!(polled.contains(&format!("\"vid\":{vid},")), "{polled}");

        let (ca, url) = (gateway.ca(), gateway.url("/v1/sse?topic=door.*"));
        let mut stream = Running::start(
            find("curl", "bin"),
            &["-sSN", "--cacert", &ca, version, &url],
        );
        stream.line_with("vidette.caught_up").await;
        gateway.publish("door.2", 1).await;
        let line = stream.line_with("door.2").await;
        assert!(line.contains(&format!("\"vid\":{}", vid + 1)), "{line}");
    }
}

#[tokio::test]
async fn tls_1_2_and_1_3_are_spoken_and_nothing_older() {
    let gateway = TlsGateway::start();
    let (ca, url) = (gateway.ca(), gateway.url("/healthz"));
    for version in ["1.2", "1.3"] {
        let range = [
            format!("--tlsv{version}"),
            "--tls-max".into(),
            version.into(),
        ];
        let args: Vec<&str> = range.iter().map(String::as_str).chain([&url[..]]).collect();
        assert_eq!(curl(&gateway, &args).await, "ok\n");
    }
    let address = gateway.gateway.address().to_string();
    let refused = run(
        find("openssl", "bin"),
        &[
            "s_client",
            "-connect",
            &address,
            "-CAfile",
            &ca,
            "-tls1_1",
            "-cipher",
            "ALL@SECLEVEL=0",
        ],
    )
    .await;
    assert!(!refused.status.success(), "{refused:?}");
    assert!(refused.stderr.contains("alert"), "{refused:?}");
}

#[tokio::test]
async fn grpcurl_lists_publishes_and_subscribes() {
    let gateway = TlsGateway::start();
    let (ca, address) = (gateway.ca(), gateway.gateway.address().to_string());
    let call = async |args: &[&str]| {
        let args = [&["-cacert", &ca], args].concat();
        run(find("grpcurl", "bin"), &args).await.ok()
    };
    let services = call(&[&address, "list"]).await;
    assert!(services.contains("vidette.v1.EventBus"), "{services}");
    let event = json!({"events": [{"topic": "door.1", "data": "e30="}]}).to_string();
    call(&["-d", &event, &address, "vidette.v1.EventBus/Publish"]).await;
    let ask = json!({"after": "0", "limit": 1}).to_string();
    let read = call(&["-d", &ask, &address, "vidette.v1.EventBus/Subscribe"]).await;
    assert!(read.contains("door.1"), "{read}");
}

#[tokio::test]
async fn python_calls_and_streams() {
    let gateway = TlsGateway::start();
    gateway.publish("door.1", 3).await;
    let script = root().join("tests/tls/secure.py").display().to_string();
    let (ca, address) = (gateway.ca(), gateway.gateway.address().to_string());
    let python = root().join(".tools/venv/bin/python");
    assert!(
        python.is_file(),
        "grpcio is missing; run scripts/setup-tests.sh"
    );
    let said = run(python, &[&script, &address, &ca]).await.ok();
    assert_eq!(said, "last 3\nvids 1 2 3\n");
}

/// A page that the gateway serves itself reads and publishes, over one connection of HTTP/2.
#[tokio::test]
async fn a_page_in_chromium_reads_and_publishes() {
    let gateway = TlsGateway::start();
    gateway.publish("door.1", 40).await;
    let port = gateway.gateway.address().port();
    let page = format!("https://localhost:{port}/clients/eventsource/?start=earliest");
    let browser = Browser::open(&page).await;
    let vids: Vec<u64> = (1..=40).collect();
    browser.until_vids("#rows", &vids).await;
    browser.until_state("#state", "live").await;

    let script = "const posted = await fetch('/v1/topics/door.1', {method: 'POST', body: '{}'}); \
                  return posted.status";
    assert_eq!(browser.ask::<u16>(script).await, 200);
    let vids: Vec<u64> = (1..=41).collect();
    browser.until_vids("#rows", &vids).await;
    let protocols = "return performance.getEntriesByType('resource').map(e => e.nextHopProtocol)";
    let protocols: Vec<String> = browser.ask(protocols).await;
    assert!(protocols.contains(&"h2".to_owned()), "{protocols:?}");
}
