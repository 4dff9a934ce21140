//! Where a request comes from, as limits count it.
//!
//! Invariant: whoever has an address has as many as it likes of the same network of IPv6, so they
//! are one here.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

/// Bits of an address of IPv6 that name a network; the others are its owner's to choose.
const NETWORK_BITS: u32 = 64;

/// Where a request comes from: the address of its client, also behind proxies that are trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ClientAddress {
    /// An address of IPv4, or the first one of a network of IPv6.
    Ip(IpAddr),
    /// This machine, by a Unix socket.
    Local,
}

impl ClientAddress {
    /// Of an address, or of a Unix socket where there is none.
    pub fn of(address: Option<IpAddr>) -> Self {
        // One of IPv4 that is mapped into IPv6 is the one of IPv4.
        match address.map(|address| address.to_canonical()) {
            Some(IpAddr::V6(address)) => ClientAddress::Ip(network_of(address).into()),
            Some(address) => ClientAddress::Ip(address),
            None => ClientAddress::Local,
        }
    }
}

fn network_of(address: Ipv6Addr) -> Ipv6Addr {
    let mask = u128::MAX << (Ipv6Addr::BITS - NETWORK_BITS);
    Ipv6Addr::from_bits(address.to_bits() & mask)
}

impl fmt::Display for ClientAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ClientAddress::Ip(IpAddr::V4(address)) => address.fmt(f),
            ClientAddress::Ip(IpAddr::V6(network)) => write!(f, "{network}/{NETWORK_BITS}"),
            ClientAddress::Local => f.write_str("a Unix socket"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> ClientAddress {
        ClientAddress::of(Some(text.parse().expect("an address")))
    }

    #[test]
    fn addresses_of_one_network_of_ipv6_are_one_and_those_of_ipv4_are_not() {
        assert_eq!(address("2001:db8:1:2::3"), address("2001:db8:1:2:ffff::4"));
        assert_ne!(address("2001:db8:1:2::3"), address("2001:db8:1:3::3"));
        assert_ne!(address("192.0.2.1"), address("192.0.2.2"));
        assert_eq!(address("::ffff:192.0.2.1"), address("192.0.2.1"));
    }

    #[test]
    fn an_address_is_written_as_it_is_counted() {
        assert_eq!(address("2001:db8:1:2::3").to_string(), "2001:db8:1:2::/64");
        assert_eq!(address("192.0.2.1").to_string(), "192.0.2.1");
        assert_eq!(ClientAddress::of(None).to_string(), "a Unix socket");
    }
}
