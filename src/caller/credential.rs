//! What a caller has proved who it is with, for as long as that is good.
//!
//! Invariant: whoever is served over time asks [`Credential::check`] again, so that nobody is
//! served past the end of a token or past its revocation.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwap;

use crate::error::{Error, ErrorKind, Result};

/// A credential that can end while its caller is served.
#[derive(Debug, Clone)]
pub struct Credential {
    /// When it ends, in milliseconds since 1970; none means never.
    pub expires_ms: Option<i64>,
    /// The names by which it can be revoked: a token's `jti` and `sub`, a key's name.
    pub ids: Vec<Box<str>>,
    /// Who is revoked now.
    pub revocations: Revocations,
}

impl Credential {
    /// Is it still good?
    ///
    /// # Errors
    /// Unauthenticated, when it has expired or was revoked.
    pub fn check(&self) -> Result<()> {
        if self.expires_ms.is_some_and(|end_ms| end_ms <= now_ms()) {
            return Err(ended("the token has expired; ask for a new one"));
        }
        if self.revocations.contain_any(&self.ids) {
            return Err(ended("the credentials were revoked"));
        }
        Ok(())
    }

    /// The second of the wall clock by which it has expired; the last one where it does not.
    pub(crate) fn expires_s(&self) -> u32 {
        let end_ms = self.expires_ms.unwrap_or(i64::MAX).max(0).unsigned_abs();
        u32::try_from(end_ms.div_ceil(1000)).unwrap_or(u32::MAX)
    }

    /// How long it is good from now on, unless it is revoked; none means without an end.
    pub fn time_left(&self) -> Option<Duration> {
        let left_ms = self.expires_ms?.saturating_sub(now_ms());
        Some(Duration::from_millis(u64::try_from(left_ms).unwrap_or(0)))
    }
}

fn ended(detail: &str) -> Error {
    Error::new(ErrorKind::Unauthenticated, detail)
}

/// Token times are of the wall clock (RFC 7519 §2, `NumericDate`).
fn now_ms() -> i64 {
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH);
    let ms = since_1970.unwrap_or_default().as_millis();
    i64::try_from(ms).unwrap_or(i64::MAX)
}

/// Full seconds of the wall clock since 1970.
pub(crate) fn wall_clock_s() -> u32 {
    u32::try_from(now_ms() / 1000).unwrap_or(0)
}

/// Names of revoked credentials, which can be replaced while the gateway runs. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct Revocations(Arc<Revoked>);

#[derive(Debug, Default)]
struct Revoked {
    /// Is anything revoked? As a rule nothing is, and each delivery asks.
    any: AtomicBool,
    ids: ArcSwap<HashSet<Box<str>>>,
}

impl Revocations {
    /// From now on these are revoked, and no others.
    pub fn replace(&self, ids: HashSet<Box<str>>) {
        let any = !ids.is_empty();
        self.0.ids.store(Arc::new(ids));
        self.0.any.store(any, Ordering::Release);
    }

    /// From now on this one is revoked as well.
    pub(crate) fn add(&self, id: &str) {
        let mut ids = HashSet::clone(&self.0.ids.load());
        ids.insert(id.into());
        self.replace(ids);
    }

    fn contain_any(&self, ids: &[Box<str>]) -> bool {
        if !self.0.any.load(Ordering::Acquire) {
            return false;
        }
        let revoked = self.0.ids.load();
        ids.iter().any(|id| revoked.contains(id))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn credential(expires_ms: Option<i64>, revocations: &Revocations) -> Credential {
        Credential {
            expires_ms,
            ids: vec!["token-7".into(), "alice".into()],
            revocations: revocations.clone(),
        }
    }

    #[test]
    fn a_credential_is_good_until_it_expires_or_one_of_its_names_is_revoked() {
        let revocations = Revocations::default();
        let (endless, past) = (
            credential(None, &revocations),
            credential(Some(1), &revocations),
        );
        let future = credential(Some(i64::MAX), &revocations);
        assert!(endless.check().is_ok() && future.check().is_ok());
        let expired = past.check().expect_err("expired");
        assert_eq!(expired.kind(), ErrorKind::Unauthenticated);
        assert_eq!(
            (endless.time_left(), past.time_left()),
            (None, Some(Duration::ZERO))
        );

        revocations.replace(["alice".into()].into());
        assert!(endless.check().is_err() && future.check().is_err());
        revocations.replace(["bob".into()].into());
        assert!(endless.check().is_ok());
    }
}
