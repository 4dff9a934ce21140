//! Requests to JetStream: of its JSON API, and for stored messages (ADR-31, ADR-37 of NATS).
//!
//! Invariants:
//! - each request has a time-out, as NATS drops what nobody is there to answer;
//! - of a stored message nothing is believed but what the server itself adds: its headers come
//!   last, behind those of the same names that a publisher may have sent.

mod direct;
mod leader;
mod subjects;

use std::sync::Arc;
use std::time::Duration;

use async_nats::header::HeaderMap;
use async_nats::jetstream::response::Response;
use async_nats::jetstream::stream::Info;
use async_nats::{Client, Request, RequestErrorKind};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::cursor::Vid;

pub(super) use direct::{DirectGet, DirectPage, StoredMessage, TOO_MANY_SUBJECTS};
pub(super) use leader::LeaderMessage;

/// The code by which JetStream says that there is no such stream.
pub(super) const NO_STREAM: u64 = 10059;
/// The code by which JetStream says that there is no such message.
pub(super) const NO_MESSAGE: u64 = 10037;

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
        match self.call::<LeaderPlace>(&subject, body, wait).await {
            Ok(found) => Ok(Some(found.message.seq)),
            Err(error) if error.is(NO_MESSAGE) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

#[derive(Deserialize)]
struct LeaderPlace {
    message: LeaderPlaceBody,
}

#[derive(Deserialize)]
struct LeaderPlaceBody {
    seq: Vid,
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
