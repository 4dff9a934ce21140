//! A stream that is copied into another log.

use std::future::Future;

use async_trait::async_trait;
use tokio::time::{Instant, sleep};

use super::JetStreamEngine;
use crate::cursor::Vid;
use crate::engine::import::{CopyError, CopySource};
use crate::engine::{Engine, LogState, Page, PageBudget, ReadRequest};
use crate::error::{Error, ErrorKind};
use crate::limits;
use crate::topic::Filter;

#[async_trait]
impl CopySource for JetStreamEngine {
    async fn state(&self) -> Result<LogState, CopyError> {
        // Asks the leader, whose answer is then in the state.
        let last = patiently(|| self.confirmed_last()).await?;
        let mut state = LogState::clone(&Engine::state(self));
        state.bounds.last = last;
        Ok(state)
    }

    async fn read(&self, after: Vid, through: Vid) -> Result<Page, CopyError> {
        let page = patiently(|| async {
            let page = Engine::read(self, request(after, through)).await?;
            // A page that does not go on is asked for again, as one that failed.
            if page.through > after {
                Ok(page)
            } else {
                Err(Error::behind())
            }
        });
        page.await
    }
}

fn request(after: Vid, through: Vid) -> ReadRequest {
    ReadRequest {
        after,
        through,
        filter: Filter::everything(),
        budget: PageBudget::of_events(limits::PAGE_EVENTS),
    }
}

/// Asks again while the servers cannot say it, for a while.
async fn patiently<T, F>(ask: impl Fn() -> F) -> Result<T, CopyError>
where
    F: Future<Output = Result<T, Error>>,
{
    let deadline = Instant::now() + limits::COPY_PATIENCE;
    loop {
        match ask().await {
            Err(error) if error.kind() == ErrorKind::Behind && Instant::now() < deadline => {
                sleep(limits::COPY_RETRY_WAIT).await;
            }
            answer => return Ok(answer?),
        }
    }
}
