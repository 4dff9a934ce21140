//! Which address a client is.

use crate::clients::{Who, curl, gateway, status};
use crate::common::gateway::Gateway;

/// The status of a poll that does not wait, passed on by a proxy for this client.
async fn poll_for(gateway: &Gateway, client: &str) -> u16 {
    let header = format!("x-forwarded-for: {client}");
    let call = curl(gateway, &Who::at("127.0.0.1"), "/v1/poll?wait=0");
    status(&call.with(&["-H", &header]).run().await)
}

#[tokio::test]
async fn behind_a_trusted_proxy_each_client_has_its_limit_and_ipv6_counts_by_network() {
    let gateway = gateway(
        "proxy",
        "trusted = [\"127.0.0.1\"]\n[limits.address]\nsubscriptions = 1",
    );
    let header = ["-H", "x-forwarded-for: 2001:db8:1:2::7"];
    let stream = curl(&gateway, &Who::at("127.0.0.1"), "/v1/sse").with(&header);
    let mut stream = stream.start();
    stream.line_with("vidette.hello").await;

    assert_eq!(poll_for(&gateway, "2001:db8:1:2::7").await, 429);
    assert_eq!(poll_for(&gateway, "2001:db8:1:2:ffff::8").await, 429);
    assert_eq!(poll_for(&gateway, "2001:db8:1:3::7").await, 200);
    assert_eq!(poll_for(&gateway, "192.0.2.1").await, 200);
}

#[tokio::test]
async fn who_is_no_trusted_proxy_cannot_choose_which_client_it_is() {
    let gateway = gateway("limits.address", "subscriptions = 1");
    let mut stream = curl(&gateway, &Who::at("127.0.0.1"), "/v1/sse").start();
    stream.line_with("vidette.hello").await;
    assert_eq!(poll_for(&gateway, "192.0.2.1").await, 429);
    assert_eq!(poll_for(&gateway, "192.0.2.2").await, 429);
}
