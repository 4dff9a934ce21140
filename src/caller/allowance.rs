//! How much a caller may take, as the client that it is.
//!
//! Invariants:
//! - what was taken is given back when whoever took it lets go: a subscription when it ends, the
//!   tokens of events when they are not published after all;
//! - all is taken or nothing: who is refused by one limit has taken nothing of another;
//! - a caller without limits costs a null pointer.

mod refusal;
mod scope;
#[cfg(test)]
mod tests;

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use smallvec::SmallVec;

use super::{ClientAddress, Identity};
use crate::error::Result;
use crate::quota::{Bucket, ConnectionCount, PublishRate, QuotaRules, Quotas};
use scope::Scope;

/// What a caller may take. A clone is a pointer to the same.
#[derive(Debug, Clone, Default)]
pub struct Allowance(Option<Arc<Limited>>);

/// What is known of the client that makes a request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Client<'c> {
    /// Where it comes from, if that is known.
    pub(crate) address: Option<ClientAddress>,
    pub(crate) identity: &'c Identity,
    pub(crate) connection: &'c ConnectionCount,
}

/// A caller that is limited, in each of these.
#[derive(Debug)]
struct Limited {
    quotas: Quotas,
    scopes: SmallVec<[Scope; 3]>,
}

impl Allowance {
    /// For somebody whom nothing limits.
    pub const UNLIMITED: Allowance = Allowance(None);

    /// By these rules.
    pub(crate) fn new(quotas: &Quotas, rules: &QuotaRules, client: Client<'_>) -> Self {
        let scopes = scope::of(rules, client);
        if scopes.is_empty() {
            return Allowance::UNLIMITED;
        }
        let quotas = quotas.clone();
        Allowance(Some(Arc::new(Limited { quotas, scopes })))
    }

    /// Does nothing limit it?
    pub(crate) fn is_unlimited(&self) -> bool {
        self.0.is_none()
    }

    /// Takes a subscription, for as long as what comes back lives.
    ///
    /// # Errors
    /// Busy.
    pub(crate) fn take_subscription(&self) -> Result<SubscriptionPermit> {
        if let Some(limited) = &self.0 {
            limited.open()?;
        }
        Ok(SubscriptionPermit(self.0.clone()))
    }

    /// Takes the tokens of a batch, which may be published once they are due, within `patience`.
    ///
    /// # Errors
    /// Too large for a batch that is larger than a burst; busy.
    pub(crate) fn take_events(&self, events: usize, patience: Duration) -> Result<EventTokens> {
        // What has been taken is given back with the tokens.
        let mut tokens = EventTokens::default();
        if let Some(limited) = &self.0 {
            for scope in &limited.scopes {
                scope.take_events(&limited.quotas, events, patience, &mut tokens)?;
            }
        }
        Ok(tokens)
    }
}

impl Limited {
    /// Counts a subscription in each of its scopes, or in none.
    fn open(&self) -> Result<()> {
        for (index, scope) in self.scopes.iter().enumerate() {
            if let Err(refused) = scope.open(&self.quotas) {
                self.close(&self.scopes[..index]);
                return Err(refused);
            }
        }
        Ok(())
    }

    fn close(&self, scopes: &[Scope]) {
        for scope in scopes {
            scope.close(&self.quotas);
        }
    }
}

/// An open subscription's place in the counts of its client.
#[derive(Debug)]
pub(crate) struct SubscriptionPermit(Option<Arc<Limited>>);

impl Drop for SubscriptionPermit {
    fn drop(&mut self) {
        if let Some(limited) = &self.0 {
            limited.close(&limited.scopes);
        }
    }
}

/// The tokens of a batch. They are given back, unless they are spent.
#[derive(Debug, Default)]
pub(crate) struct EventTokens {
    taken: SmallVec<[TakenTokens; 2]>,
    wait: Duration,
}

#[derive(Debug)]
struct TakenTokens {
    bucket: Arc<Bucket>,
    rate: PublishRate,
    events: NonZeroU32,
}

impl EventTokens {
    /// After how long the batch may be published.
    pub(crate) fn wait(&self) -> Duration {
        self.wait
    }

    /// The batch is published.
    pub(crate) fn spend(mut self) {
        self.taken.clear();
    }

    fn add(&mut self, tokens: TakenTokens, wait: Duration) {
        self.taken.push(tokens);
        // Due when the last of them are.
        self.wait = self.wait.max(wait);
    }
}

impl Drop for EventTokens {
    fn drop(&mut self) {
        for tokens in &self.taken {
            tokens.bucket.give_back(tokens.rate, tokens.events);
        }
    }
}
