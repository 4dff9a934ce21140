//! The keys of an identity provider, which are fetched in the background (RFC 7517).
//!
//! Invariants:
//! - a token whose key is not known waits for a fetch that began after it came, so that no token
//!   is refused because keys have changed; such fetches have a bounded rate, whoever asks;
//! - what was fetched stays good while the provider cannot be reached;
//! - the keys' number, their bytes and every wait are bounded.

use std::sync::{Arc, Weak};
use std::time::Duration;

use arc_swap::ArcSwap;
use reqwest::{Client, Url};
use tokio::sync::{Notify, Semaphore, watch};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::key_set_fetch::{Fetched, client, fetch};
use crate::config::VerificationKey;
use crate::limits;

/// Keys at an address. They are fetched for as long as this lives.
pub(super) struct KeySet {
    known: ArcSwap<KnownKeys>,
    fetches: watch::Sender<Fetches>,
    asked: Arc<Notify>,
    /// Whoever waits has shown a key id that anybody can make up.
    waiters: Semaphore,
}

/// The keys as they were fetched last.
#[derive(Default)]
pub(super) struct KnownKeys {
    pub(super) keys: Vec<VerificationKey>,
    /// What distinguishes them from others.
    fingerprint: [u8; 32],
    /// Rises when they change.
    pub(super) generation: u64,
}

/// Fetches are numbered from 1.
#[derive(Clone, Copy, Default)]
struct Fetches {
    begun: u64,
    ended: u64,
    has_failed: bool,
}

/// What waiting for keys came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Awaited {
    /// The key is there, or all that the provider has now.
    Fetched,
    /// The provider could not be reached.
    Failed,
}

impl KeySet {
    /// Begins to fetch.
    pub(super) fn start(url: &Url) -> Arc<Self> {
        let asked = Arc::new(Notify::new());
        let set = Arc::new(KeySet {
            known: ArcSwap::default(),
            fetches: watch::Sender::new(Fetches::default()),
            asked: asked.clone(),
            waiters: Semaphore::new(limits::KEY_SET_WAITERS),
        });
        let fetcher = Fetcher {
            set: Arc::downgrade(&set),
            client: client(url),
            url: url.clone(),
            asked,
            failures: 0,
        };
        tokio::spawn(fetcher.run());
        set
    }

    pub(super) fn known(&self) -> Arc<KnownKeys> {
        self.known.load_full()
    }

    /// Waits until there is a key that is looked for, or all that there are have been fetched.
    pub(super) async fn wait_for(&self, is_there: impl Fn(&[VerificationKey]) -> bool) -> Awaited {
        let Ok(_waiter) = self.waiters.try_acquire() else {
            return Awaited::Failed;
        };
        // One that is under way may have been answered before the key was there.
        let mut progress = self.fetches.subscribe();
        let begun = progress.borrow_and_update().begun;
        self.asked.notify_one();

        let found = async {
            while !is_there(&self.known.load().keys) {
                let now = *progress.borrow_and_update();
                if now.ended > begun {
                    return if now.has_failed {
                        Awaited::Failed
                    } else {
                        Awaited::Fetched
                    };
                }
                if progress.changed().await.is_err() {
                    return Awaited::Failed;
                }
            }
            Awaited::Fetched
        };
        let awaited = timeout(limits::KEY_SET_WAIT, found).await;
        awaited.unwrap_or(Awaited::Failed)
    }

    fn take(&self, fetched: Fetched) {
        let before = self.known.load();
        if before.fingerprint == fetched.fingerprint {
            return;
        }
        tracing::info!(
            keys = fetched.keys.len(),
            "the keys of an identity provider have changed"
        );
        self.known.store(Arc::new(KnownKeys {
            keys: fetched.keys,
            fingerprint: fetched.fingerprint,
            generation: before.generation + 1,
        }));
    }
}

impl Drop for KeySet {
    fn drop(&mut self) {
        self.asked.notify_one(); // the fetcher looks whether it is there
    }
}

/// The task that fetches.
struct Fetcher {
    set: Weak<KeySet>,
    client: Client,
    url: Url,
    asked: Arc<Notify>,
    /// Since the last success.
    failures: u32,
}

impl Fetcher {
    async fn run(mut self) {
        loop {
            let begun = Instant::now();
            let Some(good_for) = self.fetch().await else {
                return; // nobody has the keys any more
            };
            self.rest(begun, good_for).await;
        }
    }

    /// Fetches once; gives after how long to do so again.
    async fn fetch(&mut self) -> Option<Duration> {
        self.set
            .upgrade()?
            .fetches
            .send_modify(|fetches| fetches.begun += 1);
        // Not held meanwhile, so that it can end.
        let fetched = fetch(&self.client, &self.url).await;
        let set = self.set.upgrade()?;

        let has_failed = fetched.is_err();
        let again_after = match fetched {
            Ok(fetched) => {
                self.failures = 0;
                let good_for = fetched.good_for;
                set.take(fetched);
                good_for
            }
            Err(error) => self.back_off(&error),
        };
        set.fetches.send_modify(|fetches| {
            fetches.ended = fetches.begun;
            fetches.has_failed = has_failed;
        });
        Some(again_after)
    }

    fn back_off(&mut self, error: &str) -> Duration {
        let host = self.url.host_str().unwrap_or_default();
        tracing::warn!(
            host,
            error,
            "the keys of an identity provider cannot be fetched"
        );
        let longer = 1 << self.failures.min(16);
        self.failures += 1;
        (limits::KEY_SET_BACKOFF_MIN * longer).min(limits::KEY_SET_BACKOFF_MAX)
    }

    /// Waits until the keys are old, or somebody asks for one that is not there.
    async fn rest(&self, begun: Instant, at_most: Duration) {
        let asked_after = match self.failures {
            0 => limits::KEY_SET_INTERVAL,
            _ => at_most.clamp(limits::KEY_SET_INTERVAL, limits::KEY_SET_BACKOFF_ASKED),
        };
        let asked = async {
            self.asked.notified().await;
            if self.set.strong_count() > 0 {
                sleep_until(begun + asked_after).await;
            }
        };
        tokio::select! {
            () = sleep(at_most) => {}
            () = asked => {}
        }
    }
}
