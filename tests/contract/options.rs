//! What an address takes (RFC 9110 §9.3.7).

use std::collections::BTreeSet;

use crate::raw;
use crate::support::gateway;

fn methods(allow: &str) -> BTreeSet<&str> {
    allow.split(',').map(str::trim).collect()
}

#[tokio::test]
async fn every_address_says_what_it_takes() {
    let gateway = gateway("memory", "");
    let client = reqwest::Client::builder().http2_prior_knowledge().build();
    let client = client.expect("a client");
    for (target, expected) in [
        ("*", "GET, HEAD, POST, OPTIONS"),
        ("/", "GET, HEAD, OPTIONS"),
        ("/v1/poll?topic=>&after=x", "GET, HEAD, OPTIONS"),
        ("/v1/sse", "GET, HEAD, OPTIONS"),
        ("/v1/events", "POST, OPTIONS"),
        ("/v1/topics/door.1", "POST, OPTIONS"),
        ("/v1/topics", "GET, HEAD, OPTIONS"),
        ("/v1/bus", "GET, HEAD, OPTIONS"),
        ("/backend.php?maxvid=0", "GET, HEAD, OPTIONS"),
        ("/healthz", "GET, HEAD, OPTIONS"),
        ("/metrics", "GET, HEAD, OPTIONS"),
        ("/vidette.v1.EventBus/Publish", "POST, OPTIONS"),
        ("/vidette.v1.EventBus/Subscribe", "POST, OPTIONS"),
        ("/nothing/at/all", "GET, HEAD, POST, OPTIONS"),
    ] {
        // A page that asks so has been allowed to before; it is no preflight.
        for origin in ["", "Origin: https://elsewhere.test\r\n"] {
            let request = format!("OPTIONS {target} HTTP/1.1\r\nHost: localhost\r\n{origin}\r\n");
            let answer = raw::ask(&gateway, request).await.expect("an answer");
            assert_eq!(answer.status, 204, "{target}: {answer:?}");
            let allow = answer.header("allow").unwrap_or_default();
            assert_eq!(methods(allow), methods(expected), "{target}");
        }
        if target != "*" {
            let url = format!("{}{}", gateway.url(), target.replace('>', "%3E"));
            let answer = client.request(reqwest::Method::OPTIONS, url).send().await;
            let answer = answer.expect("an answer");
            assert_eq!(answer.status(), 204, "{target} over HTTP/2");
            let allow = answer.headers()["allow"].to_str().expect("text");
            assert_eq!(methods(allow), methods(expected), "{target} over HTTP/2");
        }
    }
}
