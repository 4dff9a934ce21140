//! Who makes a request, and what that caller may do.
//!
//! Invariants:
//! - each call of the bus that reads or publishes takes a [`Caller`], so that nobody can forget to
//!   ask for one;
//! - what a caller asks for is granted as it is, cut down or refused, never widened.

mod address;
mod allowance;
mod credential;
mod grant;
mod rights;

use std::fmt;
use std::sync::Arc;

use crate::cursor::shorten;
use crate::error::{Error, ErrorKind, Result};
use crate::topic::{Filter, Topic};

pub use address::ClientAddress;
pub use allowance::Allowance;
pub(crate) use allowance::{Client, EventTokens, SubscriptionPermit};
pub(crate) use credential::wall_clock_s;
pub use credential::{Credential, Revocations};
pub use grant::GrantedFilter;
pub use rights::Rights;

/// Whoever makes a request. A clone is a few pointers.
#[derive(Debug, Clone)]
pub struct Caller {
    /// Who it is.
    pub identity: Identity,
    /// What it may subscribe to.
    pub may_read: Permission,
    /// What it may publish to.
    pub may_publish: Permission,
    /// What it is known by, where that can end while it is served.
    pub credential: Option<Arc<Credential>>,
    /// Whoever is refused something has not said who it is, and could.
    pub credentials_would_help: bool,
    /// It publishes nothing with this request, whatever its rights are.
    pub is_read_only: bool,
    /// What it may take, of subscriptions and of the rate of publishing.
    pub allowance: Allowance,
}

/// The gateway's own topic that stands for its inside: reading it gives the metrics (contract §8).
pub(crate) const ADMIN: &str = "vidette.admin";

/// Who a caller is. What it may do is said apart from this.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Identity {
    /// The gateway itself.
    Gateway,
    /// Somebody who has not said who it is.
    Anonymous,
    /// The subject of a token; none where the token names none.
    Token(Option<Arc<str>>),
    /// The name of an API key.
    ApiKey(Arc<str>),
    /// A subject alternative name of a client certificate.
    Certificate(Arc<str>),
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Identity::Gateway => f.write_str("the gateway"),
            Identity::Anonymous => f.write_str("anonymous"),
            Identity::Token(None) => f.write_str("a token without a subject"),
            Identity::Token(Some(subject)) => write!(f, "subject {:?}", shorten(subject)),
            Identity::ApiKey(name) => write!(f, "API key {:?}", shorten(name)),
            Identity::Certificate(name) => write!(f, "certificate {:?}", shorten(name)),
        }
    }
}

/// The topics that a right covers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Permission {
    /// Every topic.
    Everything,
    /// The topics that match.
    Topics(Filter),
    /// No topic.
    Nothing,
}

impl Caller {
    /// The gateway itself: its sources, its demo, its own notes.
    pub const fn gateway() -> Self {
        Caller {
            identity: Identity::Gateway,
            may_read: Permission::Everything,
            may_publish: Permission::Everything,
            credential: None,
            credentials_would_help: false,
            is_read_only: false,
            allowance: Allowance::UNLIMITED,
        }
    }

    /// Somebody who has not said who it is, where nobody has to: it may do everything.
    pub const fn anonymous() -> Self {
        Self::unnamed(Permission::Everything, Permission::Everything)
    }

    /// Somebody who has not said who it is, with these rights.
    pub const fn unnamed(may_read: Permission, may_publish: Permission) -> Self {
        Caller {
            identity: Identity::Anonymous,
            may_read,
            may_publish,
            credential: None,
            credentials_would_help: false,
            is_read_only: false,
            allowance: Allowance::UNLIMITED,
        }
    }

    /// Is what it is known by still good?
    ///
    /// # Errors
    /// Unauthenticated, when that has ended.
    pub fn check_credential(&self) -> Result<()> {
        let credential = self.credential.as_ref();
        credential.map_or(Ok(()), |credential| credential.check())
    }

    /// May it do anything at all?
    ///
    /// # Errors
    /// Forbidden where it may neither subscribe nor publish.
    pub fn check_any_right(&self) -> Result<()> {
        match (&self.may_read, &self.may_publish) {
            (Permission::Nothing, Permission::Nothing) => Err(self.refused("ask about", "the bus")),
            _ => Ok(()),
        }
    }

    /// May it publish anything, or does nobody know who it is?
    ///
    /// # Errors
    /// Unauthenticated where nobody may publish who has not said who it is.
    pub fn check_is_no_stranger(&self) -> Result<()> {
        if self.credentials_would_help && self.may_publish == Permission::Nothing {
            return Err(self.refused("publish to", ">"));
        }
        Ok(())
    }

    /// May it see how the gateway is doing?
    ///
    /// # Errors
    /// Forbidden where it may not subscribe to the gateway's own topic for that.
    pub fn check_admin(&self) -> Result<()> {
        if self.may_read.takes_in(&Topic::trusted(ADMIN)) {
            return Ok(());
        }
        Err(self.refused("subscribe to the topic", ADMIN))
    }

    /// May it change anything there?
    ///
    /// # Errors
    /// Forbidden where it may not publish to the gateway's own topic for that.
    pub fn check_administers(&self) -> Result<()> {
        self.check_publish(&Topic::trusted(ADMIN))
    }

    /// May it publish to this topic?
    ///
    /// # Errors
    /// Forbidden, with the topic.
    pub fn check_publish(&self, topic: &Topic) -> Result<()> {
        if !self.is_read_only && self.may_publish.takes_in(topic) {
            return Ok(());
        }
        Err(self.refused("publish to the topic", topic.as_str()))
    }

    /// Why it may not do something: who has not said who it is may only have forgotten to.
    fn refused(&self, action: &str, topic: &str) -> Error {
        let topic = shorten(topic);
        if self.credentials_would_help {
            let detail = format!(
                "nobody may {action} {topic:?} without credentials; \
                 send a token or an API key that covers it, as Authorization: Bearer …"
            );
            return Error::new(ErrorKind::Unauthenticated, detail);
        }
        let detail =
            format!("this caller may not {action} {topic:?}; ask for credentials that cover it");
        Error::new(ErrorKind::Forbidden, detail)
    }
}

impl Permission {
    /// Is this one of its topics? Matched as a subscription would be, so that a right and a filter
    /// mean the same.
    fn takes_in(&self, topic: &Topic) -> bool {
        match self {
            Permission::Everything => true,
            Permission::Topics(filter) => filter.matches(topic),
            Permission::Nothing => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_the_right_nothing_is_published() {
        let topic = Topic::trusted("door.3");
        let filter = Filter::parse(["door.*"]).expect("a filter");
        let publisher = Caller::unnamed(Permission::Nothing, Permission::Topics(filter));
        assert!(publisher.check_publish(&topic).is_ok());
        let refused = publisher.check_publish(&Topic::trusted("lift.1"));
        assert_eq!(refused.expect_err("refused").kind(), ErrorKind::Forbidden);
        let reader = Caller::unnamed(Permission::Everything, Permission::Nothing);
        assert!(reader.check_publish(&topic).is_err());
    }
}
