//! Where a request comes from, also behind proxies.
//!
//! Invariant: a peer that is not a trusted proxy is taken for itself, whatever it says; behind
//! trusted ones the client is the nearest hop that is none of them.

use std::net::IpAddr;

use axum::http::{HeaderMap, header};

use super::connection_info::{ConnectionInfo, PeerAddress};
use super::forwarded::{
    ForwardedHop, X_FORWARDED_FOR, forwarded, x_forwarded_for, x_forwarded_proto_is_https,
};
use crate::caller::ClientAddress;
use crate::config::TrustedProxies;

/// What is known of a request's client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct KnownClient {
    /// None comes by a Unix socket.
    address: Option<IpAddr>,
    /// It has asked over TLS, as far as is known.
    pub(super) is_over_tls: bool,
}

impl KnownClient {
    /// Where a request with these headers comes from.
    pub(super) fn of(
        headers: &HeaderMap,
        connection: &ConnectionInfo,
        trusted: &TrustedProxies,
    ) -> Self {
        let client = client_of(headers, connection.peer, trusted);
        KnownClient {
            is_over_tls: client.is_over_tls || connection.is_encrypted,
            ..client
        }
    }

    /// The same as limits count it.
    pub(super) fn address(&self) -> ClientAddress {
        ClientAddress::of(self.address)
    }
}

fn client_of(headers: &HeaderMap, peer: PeerAddress, trusted: &TrustedProxies) -> KnownClient {
    let address = peer.ip();
    if trusted.contain(address) {
        behind_proxies(headers, address, trusted)
    } else {
        KnownClient {
            address,
            is_over_tls: false,
        }
    }
}

/// A proxy sets one of the two headers, and may pass the other on as the client sent it. Where they
/// name two, nobody knows which of them is true: the request counts as the proxy's own.
fn behind_proxies(
    headers: &HeaderMap,
    proxy: Option<IpAddr>,
    trusted: &TrustedProxies,
) -> KnownClient {
    let of_forwarded = headers
        .contains_key(header::FORWARDED)
        .then(|| follow(forwarded(headers), proxy, trusted));
    let of_other = headers
        .contains_key(X_FORWARDED_FOR)
        .then(|| follow(x_forwarded_for(headers), proxy, trusted));

    // It only makes the rule for pages stricter, so whoever says so is believed.
    let says_tls = of_forwarded.as_ref().is_some_and(|hop| hop.is_over_tls);
    let address = match (of_forwarded, of_other) {
        (Some(one), Some(other)) if one.address != other.address => proxy,
        (Some(client), _) | (None, Some(client)) => client.address,
        (None, None) => proxy,
    };
    KnownClient {
        address,
        is_over_tls: says_tls || x_forwarded_proto_is_https(headers),
    }
}

/// Goes from hop to hop while they are trusted. Behind a hop that is hidden nothing is known.
fn follow(
    hops: impl Iterator<Item = ForwardedHop>,
    proxy: Option<IpAddr>,
    trusted: &TrustedProxies,
) -> KnownClient {
    let mut client = KnownClient {
        address: proxy,
        is_over_tls: false,
    };
    for hop in hops {
        client.is_over_tls = hop.is_over_tls;
        let Some(address) = hop.client.map(|address| address.to_canonical()) else {
            break;
        };
        client.address = Some(address);
        if !trusted.contain(client.address) {
            break;
        }
    }
    client
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use axum::http::{HeaderName, HeaderValue};

    use super::*;
    use crate::config::{Config, Overrides};

    const PROXY: &str = "10.0.0.1";

    /// Whom a request is taken to come from.
    fn known(peer: &str, lines: &[(&'static str, &str)]) -> KnownClient {
        let text = "[proxy]\ntrusted = [\"10.0.0.0/8\", \"unix\"]";
        let config = Config::parse(text, Overrides::default()).expect("a configuration");
        let peer = match peer {
            "unix" => PeerAddress::Local,
            peer => PeerAddress::Ip(SocketAddr::new(peer.parse().expect("an address"), 7)),
        };
        let headers = lines.iter().map(|(name, value)| {
            let value = HeaderValue::from_str(value).expect("a value");
            (HeaderName::from_static(name), value)
        });
        client_of(&headers.collect(), peer, &config.proxy.trusted)
    }

    /// The same as limits count it.
    fn client(peer: &str, lines: &[(&'static str, &str)]) -> String {
        known(peer, lines).address().to_string()
    }

    fn x(value: &str) -> [(&'static str, &str); 1] {
        [("x-forwarded-for", value)]
    }

    #[test]
    fn the_client_is_the_nearest_hop_that_is_not_trusted() {
        for (value, expected) in [
            ("192.0.2.1", "192.0.2.1"),
            ("198.51.100.9, 192.0.2.1", "192.0.2.1"),
            ("198.51.100.9, 192.0.2.1, 10.1.1.1, 10.0.0.2", "192.0.2.1"),
            ("::ffff:10.0.0.9, 2001:db8:1:2::3", "2001:db8:1:2::/64"),
            ("10.0.0.7", "10.0.0.7"),
            ("192.0.2.1, ::ffff:10.0.0.9", "192.0.2.1"),
        ] {
            assert_eq!(client(PROXY, &x(value)), expected, "{value}");
            assert_eq!(client("unix", &x(value)), expected, "{value}");
        }
        let forwarded = [
            ("forwarded", "for=198.51.100.9"),
            ("forwarded", "for=192.0.2.1"),
        ];
        assert_eq!(client(PROXY, &forwarded), "192.0.2.1");
    }

    #[test]
    fn whoever_is_not_trusted_is_taken_for_itself() {
        for peer in ["192.0.2.77", "127.0.0.1"] {
            assert_eq!(client(peer, &x("198.51.100.9")), peer);
            assert_eq!(client(peer, &[("forwarded", "for=198.51.100.9")]), peer);
        }
        let mapped = client("::ffff:192.0.2.77", &x("198.51.100.9"));
        assert_eq!(mapped, "192.0.2.77");
    }

    #[test]
    fn a_client_that_is_not_named_counts_as_the_last_proxy_that_is_known() {
        assert_eq!(client(PROXY, &[]), PROXY);
        assert_eq!(client("unix", &[]), "a Unix socket");
        assert_eq!(client(PROXY, &x("192.0.2.1, unknown")), PROXY);
        assert_eq!(
            client(PROXY, &x("192.0.2.1, unknown, 10.0.0.2")),
            "10.0.0.2"
        );
        assert_eq!(client(PROXY, &[("forwarded", "for=\"_hidden\"")]), PROXY);
    }

    #[test]
    fn two_headers_have_to_name_the_same_client() {
        let both = |one, other| [("forwarded", one), ("x-forwarded-for", other)];
        assert_eq!(
            client(PROXY, &both("for=192.0.2.1", "192.0.2.1")),
            "192.0.2.1"
        );
        let hops = both("for=192.0.2.1", "192.0.2.1, 10.0.0.2");
        assert_eq!(client(PROXY, &hops), "192.0.2.1");
        assert_eq!(client(PROXY, &both("for=198.51.100.9", "192.0.2.1")), PROXY);
        assert_eq!(client(PROXY, &both("for=\"", "192.0.2.1")), PROXY);
    }

    #[test]
    fn only_a_trusted_proxy_says_that_its_client_has_come_over_tls() {
        let says_tls = |peer, lines: &[(&'static str, &str)]| known(peer, lines).is_over_tls;
        let x = [("x-forwarded-proto", "HTTPS")];
        assert!(says_tls(PROXY, &x));
        assert!(says_tls("unix", &x));
        assert!(!says_tls("192.0.2.77", &x));
        assert!(!says_tls(PROXY, &[("x-forwarded-proto", "http")]));
        assert!(!says_tls(PROXY, &[("x-forwarded-proto", "https, http")]));
        assert!(!says_tls(PROXY, &[]));

        // Of the hop that the client has asked, not of one between proxies.
        for (forwarded, expected) in [
            ("for=192.0.2.1;proto=https", true),
            ("for=192.0.2.1;proto=https, for=10.0.0.2;proto=http", true),
            ("for=192.0.2.1;proto=http, for=10.0.0.2;proto=https", false),
            (
                "for=198.51.100.9;proto=https, for=192.0.2.1;proto=http",
                false,
            ),
            ("for=_hidden;proto=https", true),
            ("for=192.0.2.1", false),
        ] {
            let lines = [("forwarded", forwarded)];
            assert_eq!(says_tls(PROXY, &lines), expected, "{forwarded}");
            assert!(!says_tls("192.0.2.77", &lines));
        }
    }
}
