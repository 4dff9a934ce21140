//! Blocks that bring only an id (contract §2.4): they move an EventSource's last event id and fire
//! nothing.

use std::sync::Arc;

use super::chromium::Browser;
use super::page::Page as _;
use crate::common::gateway::{Gateway, Setup};
use crate::network::Network;

const LISTEN: &str = "
    window.fired = [];
    window.source = new EventSource('/v1/sse?topic=gate.*&after=latest');
    const names = ['message', 'vidette.hello', 'vidette.gap', 'vidette.caught_up', 'vidette.closing'];
    for (const name of names) source.addEventListener(name, event => fired.push(name + ' ' + event.lastEventId));
    return null;";

/// The last id that the browser has sent when it came back.
fn last_event_id(network: &Network) -> Option<u64> {
    let sent = network.sent().to_ascii_lowercase();
    let (_, rest) = sent.rsplit_once("last-event-id: ")?;
    rest.split(['-', '\r']).next()?.parse().ok()
}

#[tokio::test]
async fn a_filtered_eventsource_without_a_match_comes_back_after_retention_without_a_gap() {
    // A browser comes back after 3 s, with a cursor that is up to a heartbeat old: retention has to
    // last longer.
    let config = "[bus]\nheartbeat = \"1s\"\n[retention]\nmax_age = \"8s\"".to_owned();
    let gateway = Gateway::start_with(Setup {
        config,
        ..Setup::default()
    });
    let network = Arc::new(Network::before(gateway.address()).await);
    let begun = gateway.publish_numbers("door.1", 5).await;
    let browser = Browser::open(&format!("{}/clients/grpcurl/", network.url())).await;
    browser.ask::<()>(LISTEN).await;
    let fired = || browser.ask::<Vec<String>>("return fired");
    browser
        .until(
            vec![
                "vidette.hello ".to_owned(),
                format!("vidette.caught_up {begun}"),
            ],
            fired,
        )
        .await;

    // Nothing of this matches, and the first of it goes while the page is connected.
    gateway.publish_numbers("door.1", 5).await;
    gateway
        .until("the cursor of the beginning is too old", || async {
            gateway.publish_numbers("door.1", 1).await;
            gateway.get("/v1/bus").await["first"].as_u64() > Some(6)
        })
        .await;
    let stale = gateway.get(&format!("/v1/poll?after={begun}&wait=0")).await;
    assert_eq!(stale["gap"]["reason"], "expired");
    let fired_meanwhile = fired().await;
    assert_eq!(fired_meanwhile.len(), 2, "{fired_meanwhile:?}");

    network.cut().await;
    network.mend();
    browser
        .until(true, || async { last_event_id(&network).is_some() })
        .await;
    let resumed_after = last_event_id(&network).expect("an id");
    assert!(
        resumed_after > 5,
        "it comes back after {resumed_after}, which only progress can have brought"
    );
    gateway
        .publish(&serde_json::json!({ "topic": "gate.1", "data": 1 }))
        .await;
    let has_message = || async { fired().await.iter().any(|name| name.starts_with("message")) };
    browser.until(true, has_message).await;
    let all = fired().await;
    assert!(
        !all.iter().any(|name| name.starts_with("vidette.gap")),
        "{all:?}"
    );
}
