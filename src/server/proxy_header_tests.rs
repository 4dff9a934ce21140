//! Headers of the PROXY protocol, as proxies and others send them.

use std::time::Duration;

use tokio::io::AsyncWriteExt as _;

use super::*;

const PROXY: ([u8; 4], u16) = ([10, 0, 0, 1], 7);
const REQUEST: &[u8] = b"GET / HTTP/1.1\r\n\r\n";

/// A header of version 2: the byte of the command, that of the family, the addresses, and what is
/// behind them.
fn binary(command: u8, family: u8, addresses: &[u8], more: &[u8]) -> Vec<u8> {
    let length = u16::try_from(addresses.len() + more.len()).expect("a length");
    let length = length.to_be_bytes();
    [
        v2::PROTOCOL_PREFIX,
        &[command, family],
        &length,
        addresses,
        more,
    ]
    .concat()
}

const IPV4: [u8; 12] = [192, 0, 2, 1, 10, 0, 0, 9, 0x12, 0x34, 0, 80];

fn ipv6(source: [u8; 16]) -> Vec<u8> {
    [&source[..], &[0; 16], &[0x12, 0x34, 0, 80]].concat()
}

/// Sends bytes and then a request: whom the header names, and what is left to be read.
async fn read_from(header: &[u8]) -> Result<String, String> {
    let sent = [header, REQUEST].concat();
    let mut stream = &sent[..];
    let peer = peer_behind(&mut stream, PeerAddress::Ip(PROXY.into())).await;
    let peer = peer.map_err(|error| error.to_string())?;
    assert_eq!(stream, REQUEST, "the request is left as it is");
    Ok(peer.to_string())
}

async fn client_of(header: &[u8]) -> String {
    read_from(header).await.expect("a header")
}

#[tokio::test]
async fn the_header_names_the_client_and_the_request_behind_it_is_left_alone() {
    let client = "192.0.2.1:4660";
    assert_eq!(client_of(&binary(0x21, 0x11, &IPV4, &[])).await, client);
    let identity = [&[5, 0, 3][..], b"abc"].concat();
    assert_eq!(
        client_of(&binary(0x21, 0x11, &IPV4, &identity)).await,
        client
    );
    let most = vec![0; limits::MAX_PROXY_HEADER_BYTES - FIXED_BYTES - IPV4.len()];
    assert_eq!(client_of(&binary(0x21, 0x11, &IPV4, &most)).await, client);

    let address = ipv6([0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 3]);
    assert_eq!(
        client_of(&binary(0x21, 0x21, &address, &[])).await,
        "[2001:db8::3]:4660"
    );
    let mapped = ipv6([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255, 192, 0, 2, 1]);
    assert_eq!(client_of(&binary(0x21, 0x21, &mapped, &[])).await, client);

    let line = b"PROXY TCP4 192.0.2.1 10.0.0.9 4660 80\r\n";
    assert_eq!(client_of(line).await, client);
    let line = b"PROXY TCP6 2001:db8::3 ::1 4660 80\r\n";
    assert_eq!(client_of(line).await, "[2001:db8::3]:4660");
}

#[tokio::test]
async fn a_proxy_that_speaks_for_itself_or_for_nobody_it_knows_is_the_peer() {
    let proxy = "10.0.0.1:7";
    assert_eq!(client_of(&binary(0x20, 0x00, &[], &[])).await, proxy);
    assert_eq!(client_of(&binary(0x20, 0x11, &IPV4, &[])).await, proxy);
    assert_eq!(client_of(&binary(0x21, 0x00, &[], &[])).await, proxy);
    assert_eq!(
        client_of(&binary(0x21, 0x31, &[b'x'; 216], &[])).await,
        proxy
    );
    assert_eq!(client_of(b"PROXY UNKNOWN\r\n").await, proxy);
    assert_eq!(
        client_of(b"PROXY UNKNOWN ffff:: ffff:: 1 2\r\n").await,
        proxy
    );
}

#[tokio::test]
async fn anything_else_is_refused() {
    let too_long = vec![0; limits::MAX_PROXY_HEADER_BYTES - FIXED_BYTES - IPV4.len() + 1];
    let endless = [b"PROXY TCP4 ".as_slice(), &[b'1'; 100]].concat();
    for (header, why) in [
        (vec![], "other bytes"),
        (b"\r\n\r\n\0\r\nQUIT?more".to_vec(), "other bytes"),
        (binary(0x11, 0x11, &IPV4, &[]), "version"),
        (binary(0x22, 0x11, &IPV4, &[]), "command"),
        (binary(0x21, 0x41, &IPV4, &[]), "address family"),
        (binary(0x21, 0x13, &IPV4, &[]), "protocol"),
        (binary(0x21, 0x12, &IPV4, &[]), "datagrams"),
        (binary(0x21, 0x11, &IPV4[..8], &[]), "length"),
        (binary(0x21, 0x11, &IPV4, &too_long), "4097 bytes"),
        (binary(0x21, 0x11, &IPV4, &vec![0; 65_000]), "at most 4096"),
        (
            b"PROXY TCP4 192.0.2.1 10.0.0.9 99999 80\r\n".to_vec(),
            "port",
        ),
        (b"PROXY TCP4 192.0.2.1\r\n".to_vec(), ""),
        (b"PROXY TCP5 192.0.2.1 10.0.0.9 1 80\r\n".to_vec(), ""),
        (b"PROXY TCP4 192.0.2.1 10.0.0.9 1 80\n".to_vec(), ""),
        (endless, "does not end"),
    ] {
        let error = read_from(&header).await.expect_err("an error");
        assert!(error.contains("(proxy.protocol)"), "{error}");
        assert!(error.to_lowercase().contains(why), "{why}: {error}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_header_that_does_not_come_is_waited_for_only_so_long() {
    let (mut near, mut far) = tokio::io::duplex(1000);
    let header = binary(0x21, 0x11, &IPV4, &[]);
    let begun = tokio::time::Instant::now();
    let dripping = tokio::spawn(async move {
        for byte in header {
            tokio::time::sleep(Duration::from_secs(1)).await;
            if far.write_all(&[byte]).await.is_err() {
                return;
            }
        }
    });
    let error = peer_behind(&mut near, PeerAddress::Local).await;
    assert!(matches!(error, Err(HeaderError::Late)), "{error:?}");
    assert_eq!(begun.elapsed(), limits::PROXY_HEADER_TIMEOUT);
    drop(near);
    dripping.await.expect("it ends");
}

#[tokio::test]
async fn a_health_check_that_only_connects_has_sent_nothing_wrong() {
    let error = peer_behind(&mut &b""[..], PeerAddress::Local).await;
    assert!(matches!(error, Err(HeaderError::Ended(_))), "{error:?}");
}
