//! Connections that are open from each address.
//!
//! Invariants:
//! - an address is known only while it has a connection open, so there are no more of them than
//!   connections;
//! - each connection is counted, whatever the limit is, so that a new limit knows of it.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::caller::ClientAddress;

/// How many each address has. Clones share the counts.
#[derive(Clone, Default)]
pub(super) struct AddressCounts(Arc<Mutex<HashMap<ClientAddress, usize>>>);

/// A connection's place in the count of its address.
pub(super) struct AddressPlace {
    counts: AddressCounts,
    address: ClientAddress,
}

impl AddressCounts {
    /// Counts one more, unless the address has so many.
    pub(super) fn take(&self, address: ClientAddress, at_most: usize) -> Option<AddressPlace> {
        let mut counts = self.lock();
        let open = counts.get(&address).copied().unwrap_or_default();
        if open >= at_most {
            return None;
        }
        counts.insert(address, open + 1);
        Some(AddressPlace {
            counts: self.clone(),
            address,
        })
    }

    fn give_back(&self, address: ClientAddress) {
        // The last one takes the entry with it.
        if let Entry::Occupied(mut open) = self.lock().entry(address) {
            match open.get() {
                0 | 1 => drop(open.remove()),
                _ => *open.get_mut() -= 1,
            }
        }
    }

    /// Held for one look-up.
    fn lock(&self) -> MutexGuard<'_, HashMap<ClientAddress, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for AddressPlace {
    fn drop(&mut self) {
        self.counts.give_back(self.address);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> ClientAddress {
        ClientAddress::of(Some(text.parse().expect("an address")))
    }

    #[test]
    fn an_address_has_so_many_places_and_others_have_theirs() {
        let counts = AddressCounts::default();
        let first = counts.take(address("192.0.2.1"), 2);
        let second = counts.take(address("192.0.2.1"), 2);
        assert!(first.is_some() && second.is_some());
        assert!(counts.take(address("192.0.2.1"), 2).is_none());
        assert!(counts.take(address("192.0.2.2"), 2).is_some());

        drop(first);
        assert!(counts.take(address("192.0.2.1"), 2).is_some());
        assert!(counts.take(address("192.0.2.1"), 1).is_none());
    }

    #[test]
    fn the_addresses_of_one_network_of_ipv6_share_their_places() {
        let counts = AddressCounts::default();
        let _first = counts.take(address("2001:db8::1"), 1).expect("a place");
        assert!(counts.take(address("2001:db8::2"), 1).is_none());
        assert!(counts.take(address("2001:db8:0:1::1"), 1).is_some());
    }

    #[test]
    fn an_address_without_connections_is_not_remembered() {
        let counts = AddressCounts::default();
        let places: Vec<_> = (0..100)
            .filter_map(|_| counts.take(address("192.0.2.1"), usize::MAX))
            .collect();
        assert!(counts.take(address("192.0.2.2"), 0).is_none());
        assert_eq!((counts.lock().len(), places.len()), (1, 100));
        drop(places);
        assert!(counts.lock().is_empty());
    }
}
