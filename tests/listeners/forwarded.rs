//! `Forwarded` and `X-Forwarded-For`: believed where a trusted proxy says so, and nowhere else.

use crate::served::Served;
use crate::wire::Wire;

/// One event stream for each client.
const ONE_EACH: &str = "listen = \"0\"\n[limits.address]\nsubscriptions = 1\n";

/// Opens an event stream on a connection of its own; tells whether it was let.
async fn stream(gateway: &Served, from: &str, headers: &str) -> (bool, Wire) {
    let mut wire = Wire::connect(from, gateway.port()).await;
    let said = wire.ask("/v1/sse", headers, "data: {").await;
    (said.contains("event: vidette.hello"), wire)
}

/// Opens one after the other, which all go on: whether each was let.
async fn streams(gateway: &Served, from: &str, headers: &[&str]) -> Vec<bool> {
    let mut open = Vec::new();
    for headers in headers {
        open.push(stream(gateway, from, headers).await);
    }
    open.into_iter().map(|(is_let, _)| is_let).collect()
}

const CLAIMS: [&str; 4] = [
    "",
    "X-Forwarded-For: 192.0.2.1\r\n",
    "Forwarded: for=192.0.2.2\r\n",
    "X-Forwarded-For: unix\r\nX-Real-IP: 192.0.2.3\r\n",
];

#[tokio::test]
async fn who_is_no_trusted_proxy_is_itself_whatever_it_claims() {
    for trusted in ["", "[proxy]\ntrusted = [\"127.0.0.1\", \"unix\"]"] {
        let gateway = Served::start(&format!("{ONE_EACH}{trusted}"), &[]).await;
        let let_in = streams(&gateway, "127.0.0.2", &CLAIMS).await;
        assert_eq!(let_in, [true, false, false, false], "{trusted}");
    }
}

#[tokio::test]
async fn clients_of_a_trusted_proxy_are_told_apart() {
    let config = format!("{ONE_EACH}[proxy]\ntrusted = [\"127.0.0.2\", \"10.0.0.0/8\"]");
    let gateway = Served::start(&config, &[]).await;
    let headers = [
        "X-Forwarded-For: 192.0.2.1\r\n",
        "X-Forwarded-For: 192.0.2.2\r\n",
        // What the client has put to the left changes nothing, nor do more lines.
        "X-Forwarded-For: 198.51.100.9, 192.0.2.2\r\n",
        "X-Forwarded-For: 198.51.100.9\r\nX-Forwarded-For: 192.0.2.1, 10.1.1.1\r\n",
        "Forwarded: for=\"192.0.2.3:4711\";proto=https\r\n",
        "Forwarded: for=192.0.2.3\r\n",
        // One household of IPv6.
        "Forwarded: for=\"[2001:db8::1]\"\r\n",
        "X-Forwarded-For: 2001:db8::ffff\r\n",
        "X-Forwarded-For: 2001:db8:0:1::1\r\n",
    ];
    let let_in = streams(&gateway, "127.0.0.2", &headers).await;
    let expected = [true, true, false, false, true, false, true, false, true];
    assert_eq!(let_in, expected);
}

#[tokio::test]
async fn who_hides_or_contradicts_counts_as_the_proxy() {
    let config = format!("{ONE_EACH}[proxy]\ntrusted = \"127.0.0.2\"");
    let gateway = Served::start(&config, &[]).await;
    let headers = [
        "X-Forwarded-For: unknown\r\n",
        "",
        "X-Forwarded-For: 192.0.2.1, _hidden\r\n",
        "Forwarded: for=192.0.2.1\r\nX-Forwarded-For: 192.0.2.2\r\n",
        "Forwarded: for=\", for=192.0.2.3\r\n",
    ];
    let let_in = streams(&gateway, "127.0.0.2", &headers).await;
    assert_eq!(let_in, [true, false, false, false, false]);
}

/// A page that was fetched without TLS may have been written by anybody on the way.
#[tokio::test]
async fn behind_tls_only_a_page_of_https_is_the_gateways_own() {
    let config = "listen = \"0\"\n[proxy]\ntrusted = \"127.0.0.2\"";
    let gateway = Served::start(config, &[]).await;
    let publish = async |scheme: &str, headers: &str| {
        let mut wire = Wire::connect("127.0.0.2", gateway.port()).await;
        let body = r#"{"topic":"a","data":1}"#;
        let length = body.len();
        let request = format!(
            "POST /v1/events HTTP/1.1\r\nHost: localhost\r\nOrigin: {scheme}://localhost\r\n\
             {headers}Content-Length: {length}\r\n\r\n{body}"
        );
        wire.send(request.as_bytes()).await.expect("sent");
        let answer = wire.read_to("\r\n\r\n").await;
        answer.split(' ').nth(1).unwrap_or_default().to_owned()
    };
    for says_tls in [
        "X-Forwarded-Proto: https\r\n",
        "Forwarded: for=192.0.2.1;proto=https\r\n",
    ] {
        assert_eq!(publish("https", says_tls).await, "200");
        assert_eq!(publish("http", says_tls).await, "403");
    }
    assert_eq!(publish("https", "").await, "200");
    assert_eq!(publish("http", "").await, "200");
}
