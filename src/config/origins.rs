//! Web pages: which origins may publish, and which hosts the gateway answers for.
//!
//! Invariants:
//! - origins are compared as RFC 6454 §5 says: scheme and host without regard to case, and the port
//!   of the scheme where none is written;
//! - hosts are compared without their ports: a name is what a page of another site can make resolve
//!   to this address, and a port-forward has another one.

use std::net::IpAddr;

use super::faults::{ConfigFaults, Section};

/// Web pages of other origins, and of other names for this gateway.
#[derive(Debug, Clone, Default)]
pub struct OriginsConfig {
    /// Those that may read with credentials, and publish. Empty: any may read, none may publish.
    pub allow: Vec<Origin>,
    /// Hosts that a gateway on a loopback address answers for, beside its own.
    pub hosts: Hosts,
}

/// Hosts that requests may name.
#[derive(Debug, Clone)]
pub enum Hosts {
    /// Every one (`*`).
    Any,
    /// The loopback names, and these.
    Listed(Vec<HostName>),
}

impl Default for Hosts {
    fn default() -> Self {
        Hosts::Listed(Vec::new())
    }
}

/// A host as it is compared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HostName {
    /// A name, in lower case and without the dot at its end.
    Name(String),
    /// An address; one of IPv4 that is mapped into IPv6 is the one of IPv4.
    Address(IpAddr),
}

/// An origin: scheme, host and port (RFC 6454 §4).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// As it was configured, for the answers.
    text: String,
    host: HostName,
}

impl Origin {
    /// Reads `https://www.example.org` or `http://localhost:3000`.
    fn parse(text: &str) -> Option<Self> {
        let parts = OriginParts::parse(text)?;
        Some(Origin {
            host: HostName::of(parts.authority.host),
            text: text.to_owned(),
        })
    }

    /// Is what a page says of its origin this one?
    pub(crate) fn is(&self, text: &str) -> bool {
        // What is written alike is alike; the rest is parsed.
        self.text == text
            || OriginParts::parse(&self.text)
                .zip(OriginParts::parse(text))
                .is_some_and(|(own, other)| own.is_same(&other))
    }
}

/// Does a page of this origin come from the host that it asks?
pub(crate) fn is_own_page(origin: &str, host: &str) -> bool {
    let Some((page, asked)) = OriginParts::parse(origin).zip(Authority::parse(host)) else {
        return false;
    };
    // Whether the page was fetched over TLS is known to a proxy at most: its own scheme is taken.
    let asked = OriginParts {
        scheme: page.scheme,
        authority: asked,
    };
    page.is_same(&asked)
}

/// An origin, taken apart without a copy.
struct OriginParts<'t> {
    scheme: &'t str,
    authority: Authority<'t>,
}

impl<'t> OriginParts<'t> {
    fn parse(text: &'t str) -> Option<Self> {
        let (scheme, authority) = text.split_once("://")?;
        let authority = Authority::parse(authority)?;
        (!scheme.is_empty() && !authority.host.is_empty())
            .then_some(OriginParts { scheme, authority })
    }

    fn is_same(&self, other: &OriginParts<'_>) -> bool {
        self.scheme.eq_ignore_ascii_case(other.scheme)
            && self.port() == other.port()
            && is_same_host(self.authority.host, other.authority.host)
    }

    fn port(&self) -> Option<u16> {
        let of_scheme = || match self.scheme {
            scheme if scheme.eq_ignore_ascii_case("http") => Some(80),
            scheme if scheme.eq_ignore_ascii_case("https") => Some(443),
            _ => None,
        };
        self.authority.port.or_else(of_scheme)
    }
}

/// A host and a port, as in `Host` and `:authority`: without user information (RFC 3986 §3.2).
pub(crate) struct Authority<'t> {
    /// An address of IPv6 is in its brackets.
    pub(crate) host: &'t str,
    pub(crate) port: Option<u16>,
}

impl<'t> Authority<'t> {
    /// Takes an authority apart; none when it is not one.
    pub(crate) fn parse(text: &'t str) -> Option<Self> {
        let host_end = match text.strip_prefix('[') {
            Some(address) => address.find(']')? + 2,
            None => text.find(':').unwrap_or(text.len()),
        };
        let (host, port) = text.split_at(host_end);
        let port = match port.strip_prefix(':') {
            None => port.is_empty().then_some(None)?,
            Some("") => None,
            Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
                Some(digits.parse().ok()?)
            }
            Some(_) => return None,
        };
        let is_host = if host.starts_with('[') {
            address_of(host).is_some()
        } else {
            host.bytes().all(is_name_byte)
        };
        is_host.then_some(Authority { host, port })
    }
}

/// What a registered name may hold (RFC 3986 §3.2.2).
fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~%!$&'()*+,;=".contains(&byte)
}

fn address_of(host: &str) -> Option<IpAddr> {
    let address = match host.strip_prefix('[') {
        Some(bracketed) => bracketed.strip_suffix(']')?.parse().map(IpAddr::V6),
        None => host.parse().map(IpAddr::V4),
    };
    address.ok().map(|address| address.to_canonical())
}

/// `example.org.` is `example.org` from the root on.
fn without_root(name: &str) -> &str {
    name.strip_suffix('.').unwrap_or(name)
}

fn is_same_host(one: &str, other: &str) -> bool {
    match (address_of(one), address_of(other)) {
        (None, None) => without_root(one).eq_ignore_ascii_case(without_root(other)),
        (one, other) => one == other,
    }
}

impl HostName {
    /// Is it this host, whose address it is when it is one?
    fn is(&self, host: &str, address: Option<IpAddr>) -> bool {
        match (self, address) {
            (HostName::Address(own), Some(address)) => *own == address,
            (HostName::Name(own), None) => own.eq_ignore_ascii_case(without_root(host)),
            _ => false,
        }
    }

    fn of(host: &str) -> Self {
        address_of(host).map_or_else(
            || HostName::Name(without_root(host).to_ascii_lowercase()),
            HostName::Address,
        )
    }
}

impl Hosts {
    /// May a request name this host? The loopback names always may.
    pub(crate) fn contain(&self, host: &str) -> bool {
        let Hosts::Listed(listed) = self else {
            return true;
        };
        let address = address_of(host);
        let is_loopback = address.map_or_else(
            || without_root(host).eq_ignore_ascii_case("localhost"),
            |address| address.is_loopback(),
        );
        is_loopback || listed.iter().any(|own| own.is(host, address))
    }
}

/// Reads the section `[origins]`.
pub(super) fn origins(section: &mut Section, faults: &mut ConfigFaults) -> OriginsConfig {
    let mut allow = Vec::new();
    for text in section.list("allow", Vec::new(), faults) {
        match Origin::parse(&text) {
            Some(origin) => allow.push(origin),
            None => faults.push(format!(
                "origins.allow: {text:?} is not an origin as https://www.example.org"
            )),
        }
    }
    let hosts = hosts(section, &allow, faults);
    OriginsConfig { allow, hosts }
}

/// Pages that may publish are pages of hosts that may be named.
fn hosts(section: &mut Section, allow: &[Origin], faults: &mut ConfigFaults) -> Hosts {
    let texts = section.list("hosts", Vec::new(), faults);
    let mut listed: Vec<_> = allow.iter().map(|origin| origin.host.clone()).collect();
    for text in texts.iter().filter(|text| *text != "*") {
        match Authority::parse(text).filter(|authority| !authority.host.is_empty()) {
            Some(authority) => listed.push(HostName::of(authority.host)),
            None => faults.push(format!(
                "origins.hosts: {text:?} is neither a host as push.example.org nor *"
            )),
        }
    }
    if texts.iter().any(|text| text == "*") {
        Hosts::Any
    } else {
        Hosts::Listed(listed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_are_compared_as_rfc_6454_says() {
        let own = |text: &str| Origin::parse(text).expect("an origin");
        for (one, other, are_same) in [
            ("https://a.test", "https://a.test", true),
            ("https://a.test", "HTTPS://A.Test:443", true),
            ("http://a.test:80", "http://a.test", true),
            ("http://a.test:443", "https://a.test", false),
            ("https://a.test", "http://a.test", false),
            ("https://a.test", "https://a.test:8443", false),
            ("https://a.test", "https://a.test.b.test", false),
            ("http://[::1]:3000", "http://[0::1]:3000", true),
            ("app://a", "app://A", true),
            ("app://a", "app://a:80", false),
            ("https://a.test", "null", false),
            ("https://a.test", "https://x@a.test", false),
        ] {
            assert_eq!(own(one).is(other), are_same, "{one} {other}");
        }
    }

    #[test]
    fn a_page_is_the_gateways_own_when_it_comes_from_the_host_that_it_asks() {
        for (origin, host, is_own) in [
            ("http://gateway.test", "gateway.test", true),
            ("http://Gateway.Test", "gateway.test:80", true),
            ("https://gateway.test", "gateway.test", true),
            ("https://gateway.test:443", "GATEWAY.test", true),
            ("http://gateway.test:8080", "gateway.test:8080", true),
            ("http://gateway.test:8080", "gateway.test", false),
            ("http://gateway.test", "gateway.test:443", false),
            ("http://other.test", "gateway.test", false),
            ("null", "null", false),
            ("http://", "", false),
        ] {
            assert_eq!(is_own_page(origin, host), is_own, "{origin} {host}");
        }
    }

    #[test]
    fn an_authority_is_a_host_and_perhaps_a_port() {
        for (text, expected) in [
            ("a.test", Some(("a.test", None))),
            ("a.test:", Some(("a.test", None))),
            ("a.test:65535", Some(("a.test", Some(65535)))),
            ("[::1]:1", Some(("[::1]", Some(1)))),
            ("", Some(("", None))),
            ("a.test:65536", None),
            ("a.test:+1", None),
            ("a b", None),
            ("x@a", None),
            ("a/b", None),
            ("[::1", None),
            ("[a]", None),
            ("[::1]1", None),
            ("::1", None),
        ] {
            let read = Authority::parse(text).map(|a| (a.host, a.port));
            assert_eq!(read, expected, "{text:?}");
        }
    }
}
