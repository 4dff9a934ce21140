//! Web pages: which origins may publish, and which hosts the gateway answers for.
//!
//! Invariants:
//! - origins are compared as RFC 6454 §5 says: scheme and host without regard to case, and with the
//!   scheme's port where none is written;
//! - hosts are compared without their ports: another site can make a name of its own resolve to
//!   this address, but not one of these names; and a forwarded port differs from the configured
//!   one.

use std::net::IpAddr;

use super::section::Section;

/// Web pages of other origins, and of other names for this gateway.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OriginsConfig {
    /// Those that may read with credentials, and publish. Empty: any may read, none may publish.
    pub allow: Vec<Origin>,
    /// Hosts that a gateway on a loopback address answers for, besides its own.
    pub hosts: Hosts,
}

/// Hosts that requests may name.
#[derive(Debug, Clone, PartialEq, Eq)]
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
    pub(super) fn parse(text: &str) -> Option<Self> {
        let parts = OriginParts::parse(text)?;
        Some(Origin {
            // Prepared for the comparison with the hosts of requests.
            host: HostName::of(parts.authority.host),
            text: text.to_owned(),
        })
    }

    /// As it was configured.
    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }

    /// Is this the origin that a page sends?
    pub(crate) fn is(&self, text: &str) -> bool {
        // Most are written the same way, and need not be parsed.
        self.text == text || is_same_origin(&self.text, text)
    }
}

fn is_same_origin(one: &str, other: &str) -> bool {
    let parsed = OriginParts::parse(one).zip(OriginParts::parse(other));
    parsed.is_some_and(|(one, other)| one.is_same(&other))
}

/// Does a page of this origin come from the host that it sends its request to?
pub(crate) fn is_own_page(origin: &str, host: &str, is_encrypted: bool) -> bool {
    let Some((page, authority)) = OriginParts::parse(origin).zip(Authority::parse(host)) else {
        return false;
    };

    // Without encryption here, at most a proxy knows whether the page was fetched over TLS, so the
    // page's scheme is assumed.
    let scheme = if is_encrypted { "https" } else { page.scheme };
    let requested = OriginParts { scheme, authority };
    page.is_same(&requested)
}

/// The parts of an origin, as slices of its text.
struct OriginParts<'t> {
    scheme: &'t str,
    authority: Authority<'t>,
}

impl<'t> OriginParts<'t> {
    fn parse(text: &'t str) -> Option<Self> {
        // An opaque origin, which browsers send as `null`, has no authority.
        let (scheme, authority) = text.split_once("://")?;
        let authority = Authority::parse(authority)?;
        (!scheme.is_empty() && !authority.host.is_empty())
            .then_some(OriginParts { scheme, authority })
    }

    fn is_same(&self, other: &OriginParts<'_>) -> bool {
        self.scheme.eq_ignore_ascii_case(other.scheme)
            && self.port() == other.port()
            && is_same_host(self.host(), other.host())
    }

    fn host(&self) -> &'t str {
        self.authority.host
    }

    fn port(&self) -> Option<u16> {
        self.authority.port.or_else(|| default_port(self.scheme))
    }
}

fn default_port(scheme: &str) -> Option<u16> {
    match scheme {
        scheme if scheme.eq_ignore_ascii_case("http") => Some(80),
        scheme if scheme.eq_ignore_ascii_case("https") => Some(443),
        _ => None,
    }
}

/// A host and a port, as in `Host` and `:authority`: without user information (RFC 3986 §3.2).
pub(crate) struct Authority<'t> {
    /// An address of IPv6 is in its brackets.
    pub(crate) host: &'t str,
    pub(crate) port: Option<u16>,
}

impl<'t> Authority<'t> {
    /// Splits a host from its port; none where the text is not an authority.
    pub(crate) fn parse(text: &'t str) -> Option<Self> {
        // The colons of an IPv6 address are within its brackets.
        let host_end = match text.strip_prefix('[') {
            Some(address) => address.find(']')? + 2,
            None => text.find(':').unwrap_or(text.len()),
        };
        let (host, suffix) = text.split_at(host_end);

        // A colon without a port is allowed, and means the scheme's port.
        let port = match suffix {
            "" | ":" => None,
            suffix => Some(port_of(suffix)?),
        };
        is_host(host).then_some(Authority { host, port })
    }
}

/// The port of `:8080`. A sign, which numbers may have otherwise, is not allowed.
fn port_of(suffix: &str) -> Option<u16> {
    let digits = suffix.strip_prefix(':')?;
    digits.parse().ok().filter(|_| is_number(digits))
}

fn is_number(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit())
}

fn is_host(text: &str) -> bool {
    if text.starts_with('[') {
        address_of(text).is_some()
    } else {
        text.bytes().all(is_name_byte)
    }
}

/// Can this byte be part of a registered name (RFC 3986 §3.2.2)?
fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~%!$&'()*+,;=".contains(&byte)
}

fn address_of(host: &str) -> Option<IpAddr> {
    let address = match host.strip_prefix('[') {
        Some(bracketed) => bracketed.strip_suffix(']')?.parse().map(IpAddr::V6),
        None => host.parse().map(IpAddr::V4),
    };

    // An address of IPv4 that is mapped into IPv6 is the same host.
    address.ok().map(|address| address.to_canonical())
}

/// `example.org.`, with the root's dot, is the same name as `example.org`.
fn without_root(name: &str) -> &str {
    name.strip_suffix('.').unwrap_or(name)
}

fn is_same_host(one: &str, other: &str) -> bool {
    // An address may be written in several ways, a name in upper and lower case.
    match (address_of(one), address_of(other)) {
        (None, None) => without_root(one).eq_ignore_ascii_case(without_root(other)),
        (one, other) => one == other,
    }
}

impl HostName {
    /// Is it this host? `address` is the host's address, where it is written as one.
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

        // Parsed once for all comparisons.
        let address = address_of(host);
        is_loopback(host, address) || listed.iter().any(|own| own.is(host, address))
    }
}

fn is_loopback(host: &str, address: Option<IpAddr>) -> bool {
    match address {
        Some(address) => address.is_loopback(),
        None => without_root(host).eq_ignore_ascii_case("localhost"),
    }
}

/// Reads the section `[origins]`.
pub(super) fn origins(section: &mut Section) -> OriginsConfig {
    let texts = section.list("allow", Vec::new());
    let origins = texts.iter().filter_map(|text| origin(section, text));
    let allow: Vec<Origin> = origins.collect();
    OriginsConfig {
        hosts: hosts(section, &allow),
        allow,
    }
}

fn origin(section: &Section, text: &str) -> Option<Origin> {
    let origin = Origin::parse(text);
    if origin.is_none() {
        section.error("allow", not_an_origin(text));
    }
    origin
}

/// A host whose pages may publish may also be named by requests.
fn hosts(section: &mut Section, allow: &[Origin]) -> Hosts {
    let texts = section.list("hosts", Vec::new());
    let (any, names): (Vec<&String>, Vec<_>) = texts.iter().partition(|text| *text == "*");

    // All are checked, even where a `*` makes them superfluous.
    let mut listed: Vec<_> = allow.iter().map(|origin| origin.host.clone()).collect();
    listed.extend(names.iter().filter_map(|text| host_name(section, text)));
    if any.is_empty() {
        Hosts::Listed(listed)
    } else {
        Hosts::Any
    }
}

fn host_name(section: &Section, text: &str) -> Option<HostName> {
    let host = Authority::parse(text).map(|authority| authority.host);
    let host = host.filter(|host| !host.is_empty());
    if host.is_none() {
        section.error("hosts", not_a_host(text));
    }
    host.map(HostName::of)
}

fn not_an_origin(text: &str) -> String {
    format!("{text:?} is not an origin such as https://www.example.org")
}

fn not_a_host(text: &str) -> String {
    format!("{text:?} is neither a host such as push.example.org nor *")
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
            let is_said_to_be = is_own_page(origin, host, false);
            assert_eq!(is_said_to_be, is_own, "{origin} {host}");
        }
    }

    #[test]
    fn where_connections_are_encrypted_only_an_encrypted_page_is_its_own() {
        for (origin, host, is_own) in [
            ("https://gateway.test", "gateway.test", true),
            ("https://gateway.test:8443", "gateway.test:8443", true),
            ("http://gateway.test", "gateway.test", false),
            ("http://gateway.test:8443", "gateway.test:8443", false),
        ] {
            let is_said_to_be = is_own_page(origin, host, true);
            assert_eq!(is_said_to_be, is_own, "{origin} {host}");
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
