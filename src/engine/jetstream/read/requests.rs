//! Requests for stored messages, a bounded number of them at once.

use std::collections::BTreeSet;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::stream::{self, StreamExt as _};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;

use super::super::api::{Api, ApiError, DirectGet, DirectPage, StoredMessage};
use super::complete::{Range, Replicas};
use super::snapshot::{Snapshots, new_snapshots};
use crate::cursor::Vid;
use crate::limits;

/// How the servers are asked for stored messages.
pub(in crate::engine::jetstream) struct Requests {
    api: Api,
    pages: Arc<Semaphore>,
    /// Lists of subjects, and what is made of them, which takes long: one at a time.
    pub(super) lists: Arc<Semaphore>,
    /// Of large snapshots.
    pub(super) snapshots: Snapshots,
    /// Where messages are known that replicas should not be asked for.
    unreadable: Mutex<BTreeSet<Vid>>,
}

impl Requests {
    pub(in crate::engine::jetstream) fn new(api: Api) -> Self {
        Requests {
            api,
            pages: Arc::new(Semaphore::new(limits::NATS_PAGES_AT_ONCE)),
            lists: Arc::new(Semaphore::new(1)),
            snapshots: new_snapshots(),
            unreadable: Mutex::default(),
        }
    }

    /// Takes note of a message that replicas should not be asked for.
    pub(super) fn note_unreadable(&self, vid: Vid) {
        let mut unreadable = self
            .unreadable
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        // The oldest are trimmed first.
        if unreadable.len() >= limits::NATS_UNREADABLE_MESSAGES {
            unreadable.pop_first();
        }
        unreadable.insert(vid);
    }

    /// May a page of this range have such a message?
    pub(super) fn has_unreadable(&self, range: Range) -> bool {
        let unreadable = self
            .unreadable
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let mut behind = unreadable.range(range.after + 1..);
        let within = range.after.saturating_add(limits::PAGE_EVENTS as u64);
        behind.next().is_some_and(|vid| *vid <= within)
    }

    /// The messages at these places, in their order, up to the one that crosses this number of
    /// bytes; none for each that a replica does not have.
    ///
    /// # Errors
    /// No replica has answered.
    pub(super) async fn at(
        &self,
        vids: Vec<Vid>,
        max_bytes: usize,
    ) -> Result<Vec<(Vid, Option<StoredMessage>)>, ApiError> {
        let api = self.api.clone();
        self.in_turn(async move {
            let ask = |vid| {
                let asked = api.direct_get_one(vid, limits::NATS_READ_WAIT);
                async move { asked.await.map(|message| (vid, message)) }
            };
            let answers = stream::iter(vids).map(ask);
            let mut answers = std::pin::pin!(answers.buffered(limits::NATS_MESSAGES_AT_ONCE));

            let (mut found, mut bytes) = (Vec::new(), 0);
            while let Some(answer) = answers.next().await {
                let (vid, message) = answer?;
                bytes += message.as_ref().map_or(0, |message| message.data.len());
                found.push((vid, message));
                if bytes >= max_bytes {
                    break;
                }
            }
            Ok(found)
        })
        .await
    }

    /// Makes a request when others have had their turn.
    async fn in_turn<T: Send + 'static>(
        &self,
        request: impl Future<Output = Result<T, ApiError>> + Send + 'static,
    ) -> Result<T, ApiError> {
        let pages = self.pages.clone();
        // A task of its own, which goes on while its reader stands still and ends with it.
        let asking = tokio::spawn(async move {
            let turn = timeout(limits::NATS_PAGE_QUEUE, pages.acquire_owned()).await;
            let _turn = turn.map_err(|_| ApiError::Unanswered(limits::NATS_PAGE_QUEUE))?;
            request.await
        });
        let asked = AbortOnDropHandle::new(asking).await;
        asked.unwrap_or_else(|error| Err(ApiError::Broken(error.to_string())))
    }
}

impl Replicas for Requests {
    async fn messages(&self, request: DirectGet) -> Result<DirectPage, ApiError> {
        let api = self.api.clone();
        self.in_turn(async move { api.direct_get(&request, limits::NATS_READ_WAIT).await })
            .await
    }

    async fn leader_next(&self, from: Vid, subjects: &str) -> Result<Option<Vid>, ApiError> {
        let wait = limits::NATS_READ_WAIT;
        self.api.leader_next(from, subjects, wait).await
    }
}
