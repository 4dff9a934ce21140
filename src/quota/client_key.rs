//! By what a client is found again.

use std::net::IpAddr;

use sha2::{Digest as _, Sha256};

/// An address or a name. Names are kept as a digest, so that a long one takes no more memory than a
/// short one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum ClientKey {
    Address(IpAddr),
    Name([u8; 16]),
}

impl ClientKey {
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
