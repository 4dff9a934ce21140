//! Stored messages, from any replica: `DIRECT.GET`.
//!
//! Invariants:
//! - a page has each message that its replica has sent, in the order of the stream: one that was
//!   lost on the way makes it an error, as each names the one before it;
//! - what a publisher has put into a message ends no page: the end has no place in the stream.

use std::time::Duration;

use async_nats::header::HeaderMap;
use async_nats::{Message, Request, StatusCode};
use bytes::Bytes;
use futures_util::StreamExt as _;
use serde::Serialize;
use tokio::time::timeout;

use super::{Api, ApiError, broken, last, millis_of, not_answered};
use crate::cursor::Vid;

/// More subjects match than are looked up at once.
pub(in crate::engine::jetstream) const TOO_MANY_SUBJECTS: u64 = 413;

/// The status at the end of a page.
const END_OF_BATCH: u16 = 204;

/// What to read by `DIRECT.GET`.
#[derive(Debug, Clone, Default, Serialize)]
pub(in crate::engine::jetstream) struct DirectGet {
    /// From this vid on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::engine::jetstream) seq: Option<Vid>,
    /// Messages of these subjects.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::engine::jetstream) next_by_subj: Option<String>,
    /// The newest message of each of these subjects instead.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(in crate::engine::jetstream) multi_last: Vec<String>,
    /// At most so many.
    pub(in crate::engine::jetstream) batch: usize,
    /// It ends with the message that crosses this; 0 is no bound.
    pub(in crate::engine::jetstream) max_bytes: usize,
}

/// What a replica has answered. It may not have everything that the leader has.
#[derive(Debug, Default)]
pub(in crate::engine::jetstream) struct DirectPage {
    /// In the order of the log.
    pub(in crate::engine::jetstream) messages: Vec<StoredMessage>,
    /// How many more that replica knows of.
    pub(in crate::engine::jetstream) pending: u64,
    /// Of the newest messages of subjects: as of this vid, which is the replica's last one. None
    /// where no subject matches.
    pub(in crate::engine::jetstream) as_of: Option<Vid>,
}

/// A message as a server has stored it.
#[derive(Debug, Clone)]
pub(in crate::engine::jetstream) struct StoredMessage {
    /// Its place in the stream.
    pub(in crate::engine::jetstream) vid: Vid,
    /// When the leader took it, in milliseconds since 1970.
    pub(in crate::engine::jetstream) time_ms: i64,
    /// With the prefix of the stream.
    pub(in crate::engine::jetstream) subject: String,
    /// Those of the publisher, and those that the server has added.
    pub(in crate::engine::jetstream) headers: HeaderMap,
    /// The data.
    pub(in crate::engine::jetstream) data: Bytes,
}

impl Api {
    /// Stored messages, from any replica.
    ///
    /// # Errors
    /// No replica has answered to the end, or it has refused the request.
    pub(in crate::engine::jetstream) async fn direct_get(
        &self,
        request: &DirectGet,
        wait: Duration,
    ) -> Result<DirectPage, ApiError> {
        let body = serde_json::to_vec(request).map_err(|error| broken(&error))?;
        let inbox = self.client.new_inbox();
        // Unsubscribed when it is dropped.
        let subscribed = self.client.subscribe(inbox.clone()).await;
        let mut answers = subscribed.map_err(|error| broken(&error))?;
        let subject = self.direct_subject();
        let asked = self.client.publish_with_reply(subject, inbox, body.into());
        asked.await.map_err(|error| broken(&error))?;

        let mut page = DirectPage::default();
        loop {
            // Between two messages, so that a large page has the time that it needs.
            let answer = timeout(wait, answers.next()).await;
            let answer = answer.map_err(|_| ApiError::Unanswered(wait))?;
            let answer = answer.ok_or_else(|| ApiError::Broken("the connection closed".into()))?;
            if page.add(answer)? == PagePart::End {
                return Ok(page);
            }
        }
    }

    /// The message at this place, from any replica; none where that one does not have it.
    ///
    /// # Errors
    /// No replica has answered.
    pub(in crate::engine::jetstream) async fn direct_get_one(
        &self,
        vid: Vid,
        wait: Duration,
    ) -> Result<Option<StoredMessage>, ApiError> {
        let body = serde_json::json!({ "seq": vid }).to_string();
        let request = Request::new().payload(body.into()).timeout(Some(wait));
        let answer = self.client.send_request(self.direct_subject(), request);
        let answer = answer.await.map_err(|error| not_answered(&error, wait))?;
        match Answer::of(answer)? {
            Answer::Message(message, _) => Ok(Some(message)),
            Answer::Status(StatusCode::NOT_FOUND, _) => Ok(None),
            Answer::Status(status, answer) => Err(refused(status, answer)),
        }
    }

    fn direct_subject(&self) -> String {
        format!("$JS.API.DIRECT.GET.{}", self.stream)
    }
}

#[derive(PartialEq, Eq)]
enum PagePart {
    Message,
    End,
}

/// What a server has sent: a stored message, or something of its own.
enum Answer {
    /// With the vid of the message before it on the page.
    Message(StoredMessage, Option<Vid>),
    Status(StatusCode, Message),
}

impl Answer {
    fn of(answer: Message) -> Result<Self, ApiError> {
        let is_stored = |headers: &HeaderMap| headers.get("Nats-Sequence").is_some();
        match answer.status {
            // A publisher can store a message that has a status, and only those that are stored
            // have a place in the stream.
            Some(status) if !answer.headers.as_ref().is_some_and(is_stored) => {
                Ok(Answer::Status(status, answer))
            }
            _ => {
                let message = StoredMessage::of_direct_get(answer)?;
                let before = number(&message.headers, "Nats-Last-Sequence");
                Ok(Answer::Message(message, before))
            }
        }
    }
}

impl DirectPage {
    fn add(&mut self, answer: Message) -> Result<PagePart, ApiError> {
        match Answer::of(answer)? {
            Answer::Message(message, before) => {
                self.check_is_next(before)?;
                self.messages.push(message);
                Ok(PagePart::Message)
            }
            Answer::Status(status, end) if status.as_u16() == END_OF_BATCH => {
                let headers = end.headers.unwrap_or_default();
                self.check_is_next(number(&headers, "Nats-Last-Sequence"))?;
                let pending = number(&headers, "Nats-Num-Pending");
                self.pending = pending.ok_or_else(too_old)?;
                self.as_of = number(&headers, "Nats-UpTo-Sequence");
                Ok(PagePart::End)
            }
            // Nothing matches on that replica.
            Answer::Status(StatusCode::NOT_FOUND, _) if self.messages.is_empty() => {
                Ok(PagePart::End)
            }
            Answer::Status(StatusCode::NO_RESPONDERS, _) => Err(ApiError::NoResponders),
            Answer::Status(status, answer) => Err(refused(status, answer)),
        }
    }

    /// What comes next names the message before it.
    fn check_is_next(&self, before: Option<Vid>) -> Result<(), ApiError> {
        let before = before.ok_or_else(too_old)?;
        let newest = self.messages.last().map_or(0, |message| message.vid);
        if newest == before {
            return Ok(());
        }
        Err(ApiError::Broken(format!(
            "messages between {newest} and {before} were lost on the way"
        )))
    }
}

fn refused(status: StatusCode, answer: Message) -> ApiError {
    ApiError::Refused {
        code: status.as_u16().into(),
        description: answer.description.unwrap_or_default(),
    }
}

/// What a page is checked by comes with 2.11.
fn too_old() -> ApiError {
    ApiError::Broken("the server is older than 2.11".into())
}

impl StoredMessage {
    /// One at this place of which nothing can be read; it is no event.
    pub(in crate::engine::jetstream) fn unreadable(vid: Vid) -> Self {
        StoredMessage {
            vid,
            time_ms: 0,
            subject: String::new(),
            headers: HeaderMap::new(),
            data: Bytes::new(),
        }
    }

    fn of_direct_get(answer: Message) -> Result<Self, ApiError> {
        let headers = answer.headers.unwrap_or_default();
        let missing = |name: &str| ApiError::Broken(format!("a stored message without {name}"));
        let vid = number(&headers, "Nats-Sequence");
        let time = last(&headers, "Nats-Time-Stamp").and_then(millis_of);
        let subject = last(&headers, "Nats-Subject").map(str::to_owned);
        Ok(StoredMessage {
            vid: vid.ok_or_else(|| missing("Nats-Sequence"))?,
            time_ms: time.ok_or_else(|| missing("Nats-Time-Stamp"))?,
            subject: subject.ok_or_else(|| missing("Nats-Subject"))?,
            headers,
            data: answer.payload,
        })
    }
}

fn number(headers: &HeaderMap, name: &str) -> Option<u64> {
    last(headers, name)?.parse().ok()
}
