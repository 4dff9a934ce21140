//! Connections that nothing happens on, and what the gateway reports about them.

use std::time::{Duration, Instant};

use crate::common::gateway::{Gateway, Setup};
use crate::h2_frames;
use crate::raw::{DRIVERS, Raw};
use crate::support::{connect, gateway};

fn get(header: &str) -> String {
    format!("GET /v1/poll?wait=0 HTTP/1.1\r\nHost: localhost\r\n{header}\r\n")
}

#[tokio::test]
async fn answers_say_how_long_their_connection_is_kept() {
    let as_it_is = gateway("memory", "");
    let longer = gateway("memory", "[limits]\nkeep_alive_timeout = \"10m\"");
    for (driver, header) in DRIVERS {
        for (gateway, hint) in [(&as_it_is, "timeout=75"), (&longer, "timeout=600")] {
            let mut raw = Raw::connect(gateway).await;
            for _ in 0..2 {
                raw.send(get(header)).await;
                let answer = raw.answer().await.expect("an answer");
                assert_eq!(answer.header("keep-alive"), Some(hint), "{driver}");
            }
            raw.send(get(&format!("{header}Connection: close\r\n")))
                .await;
            let answer = raw.answer().await.expect("an answer");
            assert_eq!(answer.header("keep-alive"), None, "{driver}");
            assert!(raw.is_ended().await, "{driver}");
        }
    }
    // It is a matter of HTTP/1.1 alone.
    let client = reqwest::Client::builder().http2_prior_knowledge().build();
    let url = format!("{}/v1/poll?wait=0", as_it_is.url());
    let answer = client.expect("a client").get(url).send().await;
    let answer = answer.expect("an answer");
    assert_eq!(answer.headers().get("keep-alive"), None);
}

/// Longer than a head may take, and no shorter than was said.
#[tokio::test]
async fn an_idle_connection_is_kept_and_then_closed() {
    let gateway = gateway("memory", "[limits]\nkeep_alive_timeout = \"12s\"");
    let kept = DRIVERS.map(|(driver, header)| {
        let gateway = &gateway;
        async move {
            let mut raw = Raw::connect(gateway).await;
            raw.send(get(header)).await;
            raw.answer().await.expect("an answer");
            let since = Instant::now();
            assert!(raw.is_ended().await, "{driver}");
            assert!(since.elapsed() >= Duration::from_secs(12), "{driver}");
        }
    });
    let [direct, by_hyper] = kept;
    let over_http2 = async {
        let mut stream = connect(&gateway).await;
        let request = h2_frames::get("/v1/poll?wait=0", "localhost");
        assert_eq!(
            h2_frames::ask(&mut stream, &request).await,
            h2_frames::First::Headers
        );
        let since = Instant::now();
        // PINGs that nobody answers end a connection after 30 s; before that it is asked to go.
        assert_eq!(h2_frames::until_goaway(&mut stream).await, Some(0));
        assert!(since.elapsed() >= Duration::from_secs(12));
    };
    tokio::join!(direct, by_hyper, over_http2);
}

#[tokio::test]
async fn ipv4_and_ipv6_go_together_on_one_port() {
    let gateway = Gateway::start_on_a_port_of_its_own(Setup {
        engine: "memory",
        ..Setup::default()
    });
    let port = gateway.address().port();
    drop(gateway);
    let gateway = Gateway::start_with(Setup {
        engine: "memory",
        flags: [
            "--insecure",
            "--listen",
            &format!("0.0.0.0:{port}"),
            "--listen",
            &format!("[::]:{port}"),
        ]
        .map(str::to_owned)
        .into(),
        ..Setup::default()
    });
    let log = gateway.log();
    for host in ["127.0.0.1", "[::1]"] {
        let answer = reqwest::get(format!("http://{host}:{port}/healthz")).await;
        assert_eq!(answer.expect("an answer").status(), 200, "{host}: {log}");
    }
}

/// Connections for which there are no open files left are tried again and again.
#[tokio::test]
async fn a_listener_in_trouble_says_so_once() {
    let gateway = gateway("memory", "");
    let files = std::process::Command::new("prlimit")
        .args(["--nofile=40:40", "--pid", &gateway.pid().to_string()])
        .status();
    assert!(files.expect("prlimit").success());
    let mut waiting = Vec::new();
    for _ in 0..60 {
        waiting.push(connect(&gateway).await);
    }
    let times = || gateway.log().matches("could not be accepted").count();
    let is_reported = || async { times() > 0 };
    gateway.until("it is reported", is_reported).await;
    tokio::time::sleep(Duration::from_secs(1)).await; // it is tried ten times in this
    assert_eq!(times(), 1, "{}", gateway.log());
    drop(waiting);
    let answers = || async {
        reqwest::get(format!("{}/healthz", gateway.url()))
            .await
            .is_ok()
    };
    gateway.until("it accepts again", answers).await;
}
