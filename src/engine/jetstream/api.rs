//! Requests to JetStream: of its JSON API, and for stored messages (ADR-31, ADR-37 of NATS).
//!
//! Invariants:
//! - each request has a time-out, as NATS drops what nobody is there to answer;
//! - of a stored message nothing is believed but what the server itself adds: its headers come
//!   last, behind those of the same names that a publisher may have sent.

use std::sync::Arc;
use std::time::Duration;

use async_nats::header::HeaderMap;
use async_nats::jetstream::response::Response;
use async_nats::jetstream::stream::Info;
use async_nats::{Client, Message, Request, RequestErrorKind, StatusCode};
use bytes::Bytes;
use futures_util::StreamExt as _;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::time::timeout;

use crate::cursor::Vid;

/// The code by which JetStream says that there is no such stream.
pub(super) const NO_STREAM: u64 = 10059;
/// The code by which JetStream says that there is no such message.
pub(super) const NO_MESSAGE: u64 = 10037;

/// The status at the end of a page.
const END_OF_BATCH: u16 = 204;

/// A way to one stream.
#[derive(Clone)]
pub(super) struct Api {
    client: Client,
    stream: Arc<str>,
}

/// Why a request brought nothing.
#[derive(Debug, Clone, thiserror::Error)]
pub(super) enum ApiError {
    /// Nobody has answered in time.
    #[error("no answer within {0:?}")]
    Unanswered(Duration),
    /// Nobody is there who could answer.
    #[error("no server answers for the stream now")]
    NoResponders,
    /// JetStream has refused it.
    #[error("{description} ({code})")]
    Refused {
        /// The code of JetStream, as 10059.
        code: u64,
        /// Its text.
        description: String,
    },
    /// The connection or the answer is broken.
    #[error("{0}")]
    Broken(String),
}

impl ApiError {
    /// Has JetStream refused it with this code?
    pub(super) fn is(&self, wanted: u64) -> bool {
        matches!(self, ApiError::Refused { code, .. } if *code == wanted)
    }
}

/// What to read by `DIRECT.GET`.
#[derive(Debug, Clone, Default, Serialize)]
pub(super) struct DirectGet {
    /// From this vid on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) seq: Option<Vid>,
    /// Messages of these subjects.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) next_by_subj: Option<String>,
    /// The newest message of each of these subjects instead …
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) multi_last: Vec<String>,
    /// … as of this vid.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) up_to_seq: Option<Vid>,
    /// At most so many.
    pub(super) batch: usize,
    /// It ends with the message that crosses this.
    pub(super) max_bytes: usize,
}

/// What a replica has answered. It may not have everything that the leader has.
#[derive(Debug, Default)]
pub(super) struct DirectPage {
    /// In the order of the log.
    pub(super) messages: Vec<StoredMessage>,
    /// How many more that replica knows of.
    pub(super) pending: u64,
}

/// A message as a server has stored it.
#[derive(Debug, Clone)]
pub(super) struct StoredMessage {
    /// Its place in the stream.
    pub(super) vid: Vid,
    /// When the leader took it, in milliseconds since 1970.
    pub(super) time_ms: i64,
    /// With the prefix of the stream.
    pub(super) subject: String,
    /// Those of the publisher, and those that the server has added.
    pub(super) headers: HeaderMap,
    /// The data.
    pub(super) data: Bytes,
}

impl Api {
    pub(super) fn new(client: Client, stream: &str) -> Self {
        Api {
            client,
            stream: stream.into(),
        }
    }

    /// The connection.
    pub(super) fn client(&self) -> &Client {
        &self.client
    }

    /// The name of the stream.
    pub(super) fn stream(&self) -> &str {
        &self.stream
    }

    /// What the stream says of itself.
    pub(super) async fn stream_info(&self, wait: Duration) -> Result<Info, ApiError> {
        let subject = format!("STREAM.INFO.{}", self.stream);
        self.call(&subject, &serde_json::json!({}), wait).await
    }

    /// A request to the JSON API; the subject is that behind `$JS.API.`.
    pub(super) async fn call<T: DeserializeOwned>(
        &self,
        subject: &str,
        body: &(impl Serialize + ?Sized),
        wait: Duration,
    ) -> Result<T, ApiError> {
        let body = serde_json::to_vec(body).map_err(|error| broken(&error))?;
        let request = Request::new().payload(body.into()).timeout(Some(wait));
        self.request(format!("$JS.API.{subject}"), request, wait)
            .await
    }

    /// Any request that JetStream answers.
    pub(super) async fn request<T: DeserializeOwned>(
        &self,
        subject: String,
        request: Request,
        wait: Duration,
    ) -> Result<T, ApiError> {
        let answer = self.client.send_request(subject, request).await;
        let answer = answer.map_err(|error| not_answered(&error, wait))?;
        match serde_json::from_slice(&answer.payload).map_err(|error| broken(&error))? {
            Response::Ok(value) => Ok(value),
            Response::Err { error } => Err(ApiError::Refused {
                code: error.error_code().0,
                description: error.to_string(),
            }),
        }
    }

    /// Stored messages, from any replica.
    ///
    /// # Errors
    /// No replica has answered to the end, or it has refused the request.
    pub(super) async fn direct_get(
        &self,
        request: &DirectGet,
        wait: Duration,
    ) -> Result<DirectPage, ApiError> {
        let body = serde_json::to_vec(request).map_err(|error| broken(&error))?;
        let inbox = self.client.new_inbox();
        let subscribed = self.client.subscribe(inbox.clone()).await;
        let mut answers = subscribed.map_err(|error| broken(&error))?;
        let subject = format!("$JS.API.DIRECT.GET.{}", self.stream);
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

    /// The vid of the first message from a vid on whose subject matches, as the leader knows it.
    ///
    /// # Errors
    /// The leader has not answered.
    pub(super) async fn leader_next(
        &self,
        from: Vid,
        subjects: &str,
        wait: Duration,
    ) -> Result<Option<Vid>, ApiError> {
        let body = serde_json::json!({ "seq": from, "next_by_subj": subjects });
        self.leader_get(&body, wait).await
    }

    /// The same, from a time on.
    pub(super) async fn leader_next_since(
        &self,
        time: &str,
        subjects: &str,
        wait: Duration,
    ) -> Result<Option<Vid>, ApiError> {
        let body = serde_json::json!({ "start_time": time, "next_by_subj": subjects });
        self.leader_get(&body, wait).await
    }

    async fn leader_get(
        &self,
        body: &serde_json::Value,
        wait: Duration,
    ) -> Result<Option<Vid>, ApiError> {
        let subject = format!("STREAM.MSG.GET.{}", self.stream);
        match self.call::<LeaderMessage>(&subject, body, wait).await {
            Ok(found) => Ok(Some(found.message.seq)),
            Err(error) if error.is(NO_MESSAGE) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

#[derive(Deserialize)]
struct LeaderMessage {
    message: LeaderMessageBody,
}

#[derive(Deserialize)]
struct LeaderMessageBody {
    seq: Vid,
}

#[derive(PartialEq, Eq)]
enum PagePart {
    Message,
    End,
}

impl DirectPage {
    fn add(&mut self, answer: Message) -> Result<PagePart, ApiError> {
        match answer.status {
            None => {
                self.messages.push(StoredMessage::of_direct_get(answer)?);
                return Ok(PagePart::Message);
            }
            // The end of the page.
            Some(status) if status.as_u16() == END_OF_BATCH => self.pending = pending_of(&answer)?,
            // Nothing matches on that replica.
            Some(StatusCode::NOT_FOUND) => {}
            Some(StatusCode::NO_RESPONDERS) => return Err(ApiError::NoResponders),
            Some(status) => {
                let description = answer.description.unwrap_or_default();
                return Err(ApiError::Refused {
                    code: status.as_u16().into(),
                    description,
                });
            }
        }
        Ok(PagePart::End)
    }
}

/// The server's answer to a page names how much is left; one that does not is too old.
fn pending_of(answer: &Message) -> Result<u64, ApiError> {
    let pending = answer
        .headers
        .as_ref()
        .and_then(|headers| last(headers, "Nats-Num-Pending"));
    let pending = pending.and_then(|text| text.parse().ok());
    pending.ok_or_else(|| ApiError::Broken("the server is older than 2.11".into()))
}

impl StoredMessage {
    fn of_direct_get(answer: Message) -> Result<Self, ApiError> {
        let headers = answer.headers.unwrap_or_default();
        let missing = |name: &str| ApiError::Broken(format!("a stored message without {name}"));
        let vid = last(&headers, "Nats-Sequence").and_then(|text| text.parse().ok());
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

/// The last value of a header: what a server adds comes behind what a publisher has sent.
pub(super) fn last<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    headers.get_last(name).map(async_nats::HeaderValue::as_str)
}

fn millis_of(rfc3339: &str) -> Option<i64> {
    let time: jiff::Timestamp = rfc3339.parse().ok()?;
    Some(time.as_millisecond())
}

fn not_answered(error: &async_nats::RequestError, wait: Duration) -> ApiError {
    match error.kind() {
        RequestErrorKind::TimedOut => ApiError::Unanswered(wait),
        RequestErrorKind::NoResponders => ApiError::NoResponders,
        _ => broken(error),
    }
}

fn broken(error: &impl std::fmt::Display) -> ApiError {
    ApiError::Broken(error.to_string())
}
