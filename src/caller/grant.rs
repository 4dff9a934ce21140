//! What a caller is granted of a filter that it wants to read.
//!
//! Invariant: filters and rights are compared as sets of topics, so nobody reads a topic that its
//! rights do not take in, and nobody is refused one that they do.

use super::{Caller, Permission};
use crate::error::{Error, Result};
use crate::topic::Filter;

/// A filter as a caller may read it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GrantedFilter {
    /// What is served.
    pub filter: Filter,
    /// Is that less than was asked for?
    pub is_cut: bool,
}

impl Caller {
    /// What it may read of this filter: all of it, or what its rights leave.
    ///
    /// # Errors
    /// Unauthenticated when its credential has ended; forbidden when it may read no topic of the
    /// filter; a bad request when it takes too many topics to say which ones it may read.
    pub fn grant_read(&self, filter: &Filter) -> Result<GrantedFilter> {
        self.check_credential()?;
        let allowed = match &self.may_read {
            Permission::Everything => return Ok(whole(filter)),
            Permission::Topics(allowed) => allowed,
            Permission::Nothing => return Err(self.may_read_none_of(filter)),
        };
        // Most ask for what they may have.
        if allowed.first_uncovered(filter).is_none() {
            return Ok(whole(filter));
        }
        let overlap = allowed.overlap(filter)?;
        overlap
            .map(cut)
            .ok_or_else(|| self.may_read_none_of(filter))
    }

    fn may_read_none_of(&self, filter: &Filter) -> Error {
        // One of them will do: a filter may have a hundred.
        self.refused("subscribe to the topic", filter.patterns()[0].as_str())
    }
}

fn whole(filter: &Filter) -> GrantedFilter {
    GrantedFilter {
        filter: filter.clone(),
        is_cut: false,
    }
}

fn cut(filter: Filter) -> GrantedFilter {
    GrantedFilter {
        filter,
        is_cut: true,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::caller::{Credential, Revocations};
    use crate::error::ErrorKind;

    fn filter(topics: &[&str]) -> Filter {
        Filter::parse(topics.iter().copied()).expect("a filter")
    }

    fn reader(topics: &[&str]) -> Caller {
        Caller::unnamed(Permission::Topics(filter(topics)), Permission::Nothing)
    }

    #[test]
    fn a_filter_within_the_rights_is_served_as_it_is() {
        let caller = reader(&["door.*", "lift.>"]);
        for topic in [
            "door.3",
            "door.*",
            "lift.1",
            "lift.1.up",
            "lift.*.up",
            "lift.>",
        ] {
            let granted = caller.grant_read(&filter(&[topic])).expect(topic);
            assert_eq!(granted, whole(&filter(&[topic])), "{topic}");
        }
        let together = reader(&["door.*", "door.*.>"]).grant_read(&filter(&["door.>"]));
        assert!(!together.expect("covered by both").is_cut);
    }

    #[test]
    fn a_filter_that_only_overlaps_is_cut_down() {
        let caller = reader(&["door.*", "lift.>"]);
        for (asked, served) in [
            (&[">"][..], &["door.*", "lift.>"][..]),
            (&["door.>"], &["door.*"]),
            (&["*.3"], &["door.3", "lift.3"]),
            (&["door.3", "stairs"], &["door.3"]),
        ] {
            let granted = caller.grant_read(&filter(asked)).expect("some of it");
            assert_eq!(granted, cut(filter(served)), "{asked:?}");
        }
    }

    #[test]
    fn a_filter_that_does_not_overlap_is_refused() {
        let caller = reader(&["door.*", "lift.>"]);
        for topic in ["door", "door.3.opened", "lift", "*", "vidette.x"] {
            let refused = caller.grant_read(&filter(&[topic])).expect_err(topic);
            assert!(refused.to_string().contains(topic), "{refused}");
        }
        let nobody = Caller::unnamed(Permission::Nothing, Permission::Everything);
        assert!(nobody.grant_read(&Filter::all()).is_err());
    }

    #[test]
    fn everything_takes_in_the_gateways_own_topics_and_a_wildcard_does_not() {
        let own = filter(&["vidette.sources.a"]);
        assert!(Caller::anonymous().grant_read(&own).is_ok());
        assert!(reader(&[">"]).grant_read(&own).is_err());
        assert!(reader(&["vidette.>"]).grant_read(&own).is_ok());
        assert!(reader(&["vidette.>"]).grant_read(&Filter::all()).is_err());
        assert!(
            !reader(&[">"])
                .grant_read(&Filter::all())
                .expect("all")
                .is_cut
        );
    }

    #[test]
    fn nothing_is_granted_on_a_credential_that_has_ended() {
        let expired = Credential {
            expires_ms: Some(1),
            ids: Vec::new(),
            revocations: Revocations::default(),
        };
        let caller = Caller {
            credential: Some(Arc::new(expired)),
            ..Caller::anonymous()
        };
        let refused = caller.grant_read(&Filter::all()).expect_err("expired");
        assert_eq!(refused.kind(), ErrorKind::Unauthenticated);
    }
}
