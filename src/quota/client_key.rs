//! By what a client is found again.

use std::net::IpAddr;

use sha2::{Digest as _, Sha256};

/// An address or a name. Names are kept as a digest, so that a long one takes no more memory than a
/// short one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum ClientKey {
    V4([u8; 4]),
    /// The first 64 bits, which a network of one household or machine has to itself (RFC 6177).
    V6([u8; 8]),
    Name([u8; 16]),
}

impl ClientKey {
    pub(crate) fn of_address(address: IpAddr) -> Self {
        // An IPv4 address in IPv6 is the same client.
        match address.to_canonical() {
            IpAddr::V4(address) => ClientKey::V4(address.octets()),
            IpAddr::V6(address) => {
                let [a, b, c, d, ..] = address.segments();
                let prefix = [a, b, c, d].map(u16::to_be_bytes);
                ClientKey::V6(prefix.as_flattened().try_into().expect("eight bytes"))
            }
        }
    }

    /// Of a name among names of this sort.
    pub(crate) fn of_name(sort: &str, name: &str) -> Self {
        let hasher = Sha256::new().chain_update(sort).chain_update([0]);
        let digest = hasher.chain_update(name).finalize();
        let half = digest.first_chunk().expect("32 bytes");
        ClientKey::Name(*half)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(address: &str) -> ClientKey {
        ClientKey::of_address(address.parse().expect("an address"))
    }

    #[test]
    fn an_ipv6_client_is_its_network_of_64_bits_and_an_ipv4_client_its_address() {
        assert_eq!(key("2001:db8:1:2::7"), key("2001:db8:1:2:ffff::1"));
        assert_ne!(key("2001:db8:1:2::7"), key("2001:db8:1:3::7"));
        assert_eq!(key("192.0.2.7"), key("::ffff:192.0.2.7"));
        assert_ne!(key("192.0.2.7"), key("192.0.2.8"));
    }

    #[test]
    fn names_of_different_sorts_are_different_clients() {
        let names = [
            ("key", "a"),
            ("certificate", "a"),
            ("key", "b"),
            ("ke", "ya"),
        ];
        let keys = names.map(|(sort, name)| ClientKey::of_name(sort, name));
        for (index, key) in keys.iter().enumerate() {
            assert!(!keys[..index].contains(key), "{:?}", names[index]);
        }
        assert_eq!(keys[0], ClientKey::of_name("key", "a"));
    }
}
