//! What a client is known by, and what it may take as that.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use smallvec::SmallVec;

use super::refusal::{batch_too_large, publishing_too_fast, too_many_subscriptions};
use super::{Client, EventTokens, TakenTokens};
use crate::caller::{ClientAddress, Identity};
use crate::error::Result;
use crate::quota::{ClientKey, ClientKind, ClientLimits, OpenCount, QuotaRules, Quotas};

/// One of the things that a client is known by.
#[derive(Debug)]
pub(super) enum Scope {
    /// Its address or name.
    Client {
        kind: ClientKind,
        key: ClientKey,
        limits: ClientLimits,
    },
    /// Its connection.
    Connection {
        open: Arc<OpenCount>,
        at_most: NonZeroU32,
    },
}

/// All that a client is known by, as far as it is limited as that.
pub(super) fn of(rules: &QuotaRules, client: Client<'_>) -> SmallVec<[Scope; 3]> {
    let address = client.address.and_then(key_of);
    let address_scope = address.and_then(|key| scope(ClientKind::Address, key, rules.address));
    let name_scope = name_scope(rules, client.identity, address);

    let connection = rules.subscriptions_per_connection.map(|at_most| {
        let open = client.connection.shared();
        Scope::Connection { open, at_most }
    });
    let scopes = [address_scope, name_scope, connection];
    scopes.into_iter().flatten().collect()
}

/// A Unix socket has none: its permissions say who may use it.
fn key_of(address: ClientAddress) -> Option<ClientKey> {
    match address {
        ClientAddress::Ip(address) => Some(ClientKey::Address(address)),
        ClientAddress::Local => None,
    }
}

fn scope(kind: ClientKind, key: ClientKey, limits: ClientLimits) -> Option<Scope> {
    (!limits.is_empty()).then_some(Scope::Client { kind, key, limits })
}

/// By who it is. Who has no name is distinguished by its address: it would have more than somebody
/// who says who it is otherwise.
fn name_scope(
    rules: &QuotaRules,
    identity: &Identity,
    address: Option<ClientKey>,
) -> Option<Scope> {
    let caller = |key| scope(ClientKind::Caller, key, rules.caller);
    let key = |sort, name| scope(ClientKind::Key, ClientKey::of_name(sort, name), rules.key);
    match identity {
        Identity::Gateway => None,
        Identity::Anonymous | Identity::Token(None) => address.and_then(caller),
        Identity::Token(Some(subject)) => caller(ClientKey::of_name("subject", subject)),
        Identity::ApiKey(name) => key("API key", name),
        Identity::Certificate(name) => key("certificate", name),
    }
}

impl Scope {
    /// Counts one subscription more.
    pub(super) fn open(&self, quotas: &Quotas) -> Result<()> {
        let (is_free, at_most) = match self {
            Scope::Connection { open, at_most } => (open.try_open(*at_most), *at_most),
            Scope::Client { kind, key, limits } => {
                let Some(at_most) = limits.subscriptions else {
                    return Ok(());
                };
                (quotas.open(*kind).try_open(*key, at_most), at_most)
            }
        };
        if is_free {
            return Ok(());
        }
        Err(too_many_subscriptions(quotas, self.kind(), at_most))
    }

    /// Counts one less.
    pub(super) fn close(&self, quotas: &Quotas) {
        match self {
            Scope::Connection { open, .. } => open.close(),
            Scope::Client { kind, key, limits } => {
                if limits.subscriptions.is_some() {
                    quotas.open(*kind).close(*key);
                }
            }
        }
    }

    /// Takes the tokens of so many events, if their number is limited.
    pub(super) fn take_events(
        &self,
        quotas: &Quotas,
        events: usize,
        patience: Duration,
        tokens: &mut EventTokens,
    ) -> Result<()> {
        let Scope::Client { kind, key, limits } = self else {
            return Ok(());
        };
        let Some(rate) = limits.publish else {
            return Ok(());
        };

        // More than a burst would never be there.
        let number = u32::try_from(events).ok().and_then(NonZeroU32::new);
        let fitting = number.filter(|number| *number <= rate.burst_events);
        let Some(events) = fitting else {
            return Err(batch_too_large(quotas, *kind, events, rate));
        };

        let bucket = quotas.bucket(*kind, *key);
        let taken = bucket.take(rate, events, quotas.now(), patience);
        let wait = taken.map_err(|wait| publishing_too_fast(quotas, *kind, rate, wait))?;
        let taken = TakenTokens {
            bucket,
            rate,
            events,
        };
        tokens.add(taken, wait);
        Ok(())
    }

    /// None for a connection.
    fn kind(&self) -> Option<ClientKind> {
        match self {
            Scope::Client { kind, .. } => Some(*kind),
            Scope::Connection { .. } => None,
        }
    }
}
