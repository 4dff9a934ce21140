//! A page in a browser, whichever that is, and how many browsers there are at a time.

use std::fmt::Debug;
use std::future::Future;
use std::time::Duration;

use serde::de::DeserializeOwned;
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::common::gateway::PATIENCE;

/// Browsers at a time.
static TURNS: Semaphore = Semaphore::const_new(2);

pub(super) async fn take_turn() -> SemaphorePermit<'static> {
    TURNS.acquire().await.expect("a turn")
}

/// A page in a browser, whichever that is.
pub(super) trait Page {
    /// Opens an address in it, and waits until it has loaded.
    async fn go(&self, url: &str);

    /// What a script returns.
    async fn ask<T: DeserializeOwned>(&self, script: &str) -> T;

    /// Waits until what is seen is what is expected; panics with what was seen last if it never is.
    async fn until<T: PartialEq + Debug, F: Future<Output = T>>(
        &self,
        expected: T,
        look: impl Fn() -> F,
    ) {
        let mut seen = None;
        let waiting = async {
            loop {
                let now = look().await;
                if now == expected {
                    return;
                }
                seen = Some(now);
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        let in_time = tokio::time::timeout(PATIENCE, waiting).await.is_ok();
        assert!(in_time, "expected {expected:?}, saw {seen:?}");
    }

    /// Waits until a script returns this.
    async fn until_returned<T>(&self, expected: T, script: &str)
    where
        T: DeserializeOwned + PartialEq + Debug,
    {
        self.until(expected, || self.ask::<T>(script)).await;
    }
}
