//! Connections of one address.

use crate::served::{Served, until};
use crate::tools::{find, run};
use crate::wire::{Wire, refused};

const TWO_EACH: &str = "listen = [\"0\", \"unix:v.sock\"]\n\
    [limits]\nmax_connections_per_address = 2\n";

/// Connections from an address that are served one after the other, and go on.
async fn served(from: &str, port: u16, count: usize) -> Vec<Wire> {
    let mut open = Vec::new();
    for _ in 0..count {
        let mut wire = Wire::connect(from, port).await;
        assert!(wire.is_served().await, "{from}");
        open.push(wire);
    }
    open
}

#[tokio::test]
async fn an_address_that_has_enough_is_refused_and_others_are_not() {
    let gateway = Served::start(TWO_EACH, &[]).await;
    let port = gateway.port();
    let mut of_2 = served("127.0.0.2", port, 2).await;
    let _of_3 = served("127.0.0.3", port, 2).await;
    for _ in 0..3 {
        let answer = Wire::connect("127.0.0.2", port).await.read_to_end().await;
        assert!(answer.starts_with("HTTP/1.1 429"), "{answer}");
        assert!(answer.to_lowercase().contains("retry-after: 1"), "{answer}");
        assert!(
            answer.contains("limits.max_connections_per_address"),
            "{answer}"
        );
    }
    assert_eq!(refused(port, "address_connections").await, 3);

    // A place that is given back is for the next one.
    of_2.pop();
    let next_is_served = async || Wire::connect("127.0.0.2", port).await.is_served().await;
    until("a place is free", next_is_served).await;
    assert!(of_2[0].is_served().await);
}

#[tokio::test]
async fn unix_sockets_and_trusted_proxies_have_as_many_as_they_like() {
    let config = format!("{TWO_EACH}[proxy]\ntrusted = \"127.0.0.2\"");
    let gateway = Served::start(&config, &[]).await;
    let _many = served("127.0.0.2", gateway.port(), 9).await;
    let socket = gateway.path("v.sock").display().to_string();
    let urls = ["http://localhost/v1/poll?wait=0"; 9];
    let parallel = [
        "-sS",
        "-Z",
        "--parallel-immediate",
        "--unix-socket",
        &socket,
        "-f",
    ];
    let said = run(find("curl", "bin"), &[&parallel[..], &urls].concat()).await;
    assert!(said.status.success(), "{said:?}");
}

#[tokio::test]
async fn connections_that_ask_for_nothing_count() {
    let gateway = Served::start(TWO_EACH, &[]).await;
    let port = gateway.port();
    let mut silent = Vec::new();
    for _ in 0..3 {
        silent.push(Wire::connect("127.0.0.2", port).await);
    }
    let one_is_refused = async || refused(port, "address_connections").await == 1;
    until("one of three is refused", one_is_refused).await;
}
