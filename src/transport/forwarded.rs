//! What proxies say of whom they speak for: `Forwarded` (RFC 7239) and `X-Forwarded-For`.
//!
//! Invariants:
//! - both are read from the right, where the nearest proxy writes; whatever stands to the left of
//!   the first hop that is not trusted may be an invention of the client, and is not looked at;
//! - a hop that is not an address is none: nobody is taken for somebody by a text that is no
//!   address.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use axum::http::{HeaderMap, HeaderName, HeaderValue, header};

use crate::limits::MAX_FORWARDED_HOPS;

pub(super) const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const HTTPS: &[u8] = b"https";

/// What a proxy says of whom it has a request from. An address that is missing or hidden is none.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct ForwardedHop {
    /// From whom the proxy has the request.
    pub(super) client: Option<IpAddr>,
    /// This one has asked over TLS.
    pub(super) is_over_tls: bool,
}

/// The hops of `X-Forwarded-For`, from the right.
pub(super) fn x_forwarded_for(headers: &HeaderMap) -> impl Iterator<Item = ForwardedHop> {
    let lines = headers.get_all(X_FORWARDED_FOR).iter().rev();
    let hops = lines.flat_map(|line| line.to_str().unwrap_or("unknown").rsplit(','));
    let hops = hops.map(|node| ForwardedHop {
        client: node_address(node),
        is_over_tls: false,
    });
    hops.take(MAX_FORWARDED_HOPS)
}

/// Does a proxy say that its client has asked over TLS? Of several values nobody knows whose each
/// is.
pub(super) fn x_forwarded_proto_is_https(headers: &HeaderMap) -> bool {
    let mut lines = headers.get_all(X_FORWARDED_PROTO).iter();
    let is_https = |line: &HeaderValue| line.as_bytes().trim_ascii().eq_ignore_ascii_case(HTTPS);
    lines.next().is_some_and(is_https) && lines.next().is_none()
}

/// The hops of `Forwarded`, from the right. A line that breaks the grammar is one hop, of whom
/// nothing is known: a quotation mark that a client left open could hide what a proxy has added.
pub(super) fn forwarded(headers: &HeaderMap) -> impl Iterator<Item = ForwardedHop> {
    let lines = headers.get_all(header::FORWARDED).iter().rev();
    let hops =
        lines.flat_map(|line| hops_of(line).unwrap_or_else(|| vec![ForwardedHop::default()]));
    hops.take(MAX_FORWARDED_HOPS)
}

/// The hops of one line, from the right.
fn hops_of(line: &HeaderValue) -> Option<Vec<ForwardedHop>> {
    let line = line.to_str().ok()?;
    let mut hops: Vec<_> = split_unquoted(line, ',')?
        .into_iter()
        .map(hop)
        .collect::<Option<_>>()?;
    hops.reverse();
    Some(hops)
}

fn hop(element: &str) -> Option<ForwardedHop> {
    let mut hop = ForwardedHop::default();
    let mut seen = Vec::new();
    for pair in split_unquoted(element, ';')? {
        let (name, value) = pair.split_once('=')?;
        let name = name.to_ascii_lowercase();
        match &*name {
            "for" => hop.client = node_address(&unquote(value)?),
            "proto" => hop.is_over_tls = unquote(value)?.as_bytes().eq_ignore_ascii_case(HTTPS),
            _ => {} // `by`, `host`, and what is to come
        }

        // Twice would be read differently by different readers.
        if seen.contains(&name) {
            return None;
        }
        seen.push(name);
    }
    Some(hop)
}

/// The parts between separators that are in no quotation marks; empty ones are none. None where
/// marks do not match, or there are too many parts.
fn split_unquoted(text: &str, separator: char) -> Option<Vec<&str>> {
    let (mut is_quoted, mut is_escaped) = (false, false);
    let is_separator = |c: char| {
        let separates = !is_quoted && c == separator;
        is_quoted ^= c == '"' && !is_escaped;
        is_escaped = is_quoted && c == '\\' && !is_escaped;
        separates
    };
    let parts = text.split(is_separator).map(str::trim);
    let parts: Vec<_> = parts
        .filter(|part| !part.is_empty())
        .take(MAX_FORWARDED_HOPS + 1)
        .collect();
    (!is_quoted && parts.len() <= MAX_FORWARDED_HOPS).then_some(parts)
}

/// The value of a token or of a quoted string (RFC 9110 §5.6.4).
fn unquote(value: &str) -> Option<String> {
    let Some(quoted) = value.strip_prefix('"') else {
        return (!value.contains(['"', ' ', '\\'])).then(|| value.to_owned());
    };
    let mut text = String::new();
    let mut chars = quoted.strip_suffix('"')?.chars();
    while let Some(c) = chars.next() {
        match c {
            '"' => return None,
            '\\' => text.push(chars.next()?),
            c => text.push(c),
        }
    }
    Some(text)
}

/// The address of a hop, with or without a port; none of `unknown`, `_hidden` and what else is no
/// address.
fn node_address(node: &str) -> Option<IpAddr> {
    let node = node.trim();
    if let Some(bracketed) = node.strip_prefix('[') {
        let (address, _port) = bracketed.split_once(']')?;
        return address.parse::<Ipv6Addr>().ok().map(IpAddr::V6);
    }

    // One colon is before a port, several are of IPv6 without its brackets.
    match node.split_once(':') {
        Some((address, port)) if !port.contains(':') => {
            address.parse::<Ipv4Addr>().ok().map(IpAddr::V4)
        }
        _ => node.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: &HeaderName, lines: &[&str]) -> HeaderMap {
        let value = |line: &&str| HeaderValue::from_str(line).expect("a value");
        lines
            .iter()
            .map(|line| (name.clone(), value(line)))
            .collect()
    }

    fn clients(lines: &[&str]) -> Vec<String> {
        let headers = headers(&header::FORWARDED, lines);
        forwarded(&headers).map(|hop| shown(hop.client)).collect()
    }

    fn shown(address: Option<IpAddr>) -> String {
        address.map_or("?".to_owned(), |address| address.to_string())
    }

    #[test]
    fn hops_are_read_from_the_right_over_all_lines() {
        let lines = [
            "192.0.2.1, 192.0.2.2:80",
            "2001:db8::3,[2001:db8::4]",
            "[2001:db8::5]:443",
        ];
        let headers = headers(&X_FORWARDED_FOR, &lines);
        let hops: Vec<_> = x_forwarded_for(&headers)
            .map(|hop| shown(hop.client))
            .collect();
        let expected = [
            "2001:db8::5",
            "2001:db8::4",
            "2001:db8::3",
            "192.0.2.2",
            "192.0.2.1",
        ];
        assert_eq!(hops, expected);
        let lines = [
            "for=192.0.2.1;proto=http, For=\"192.0.2.2:4711\"",
            "proto=https ; for=\"[2001:db8::3]:_x\";by=_us",
        ];
        assert_eq!(clients(&lines), ["2001:db8::3", "192.0.2.2", "192.0.2.1"]);
    }

    #[test]
    fn a_hop_that_is_no_address_is_nobody() {
        for hidden in [
            "unknown",
            "_proxy",
            "192.0.2",
            "a.test",
            "fe80::1%eth0",
            "[::1",
            "-1",
        ] {
            let headers = headers(&X_FORWARDED_FOR, &[hidden]);
            let hops: Vec<_> = x_forwarded_for(&headers).collect();
            assert_eq!(hops, [ForwardedHop::default()], "{hidden}");
        }
        assert_eq!(clients(&["for=unknown", "proto=http"]), ["?", "?"]);
        assert_eq!(clients(&["for=_gazonk, for=192.0.2.1"]), ["192.0.2.1", "?"]);
    }

    #[test]
    fn a_line_that_breaks_the_grammar_says_nothing() {
        for broken in [
            "for=\", for=192.0.2.1",
            "for=\"a, for=\"[2001:db8::1]\"",
            "for=192.0.2.1;for=192.0.2.2",
            "for",
            "for=\"192.0.2.1\" x",
            "for=\"192.0.2.1\\\"",
            &"for=192.0.2.1,".repeat(MAX_FORWARDED_HOPS + 1),
        ] {
            assert_eq!(clients(&[broken]), ["?"], "{broken}");
        }
        assert_eq!(clients(&["x=\"a,b;c\\\",\";for=192.0.2.1"]), ["192.0.2.1"]);
    }

    #[test]
    fn no_more_hops_are_read_than_can_be_meant() {
        let many = vec!["10.0.0.1"; 1000].join(",");
        let headers = headers(&X_FORWARDED_FOR, &[&many, &many]);
        assert_eq!(x_forwarded_for(&headers).count(), MAX_FORWARDED_HOPS);
    }
}
