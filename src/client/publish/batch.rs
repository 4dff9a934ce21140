//! One atomic batch, sent again until it is answered.
//!
//! Invariant: all tries carry the same ids, so that together they publish the batch once.

use std::error::Error;
use std::time::Duration;

use bytes::Bytes;
use serde::Deserialize;
use tokio::time::sleep;

#[cfg(feature = "client-grpc")]
use super::grpc;
use super::ids::give_id;
use super::line::object_of;
use super::outage::Outage;
use super::{PublishReceipt, PublishWire};
use crate::client::error::{ClientError, ClientErrorKind};
use crate::client::http::{GatewayHttp, body_up_to, innermost, refusal};
use crate::client::tls;
use crate::client::token::BearerToken;
use crate::event::NewEvent;
use crate::limits;

/// The answer to a batch, or to an event alone.
#[derive(Deserialize)]
#[serde(untagged)]
enum PublishAnswer {
    Batch { events: Vec<PublishReceipt> },
    One(PublishReceipt),
}

pub(in crate::client) async fn publish_batch(
    http: &GatewayHttp,
    wire: &PublishWire,
    retry_for: Duration,
    mut events: Vec<NewEvent>,
) -> Result<Vec<PublishReceipt>, ClientError> {
    // What is sent once only needs no id of its own.
    if !retry_for.is_zero() {
        events.iter_mut().for_each(give_id);
    }

    // The same events go out each time.
    let batch = Batch::new(wire, &events);
    let mut outage = Outage::new(retry_for, http.clock().clone());
    let mut may_be_published = false;
    loop {
        let attempt = http.with_fresh_token(|token| batch.publish_once(http, token));
        let error = match attempt.await {
            Ok((receipts, _)) => return Ok(receipts),
            Err(error) => error,
        };

        // Nobody knows what became of a try that was not answered, whatever the next one says.
        may_be_published |= error.kind() == ClientErrorKind::OutcomeUnknown;
        if !is_worth_another_try(&error) {
            return Err(error);
        }
        // The time is over, or would be before the next try.
        let Some(wait) = outage.wait(&error, fastrand::f64()) else {
            return Err(final_error(error, may_be_published));
        };
        sleep(http.clock().begin_wait(wait)).await;
    }
}

/// A batch in the form in which it is sent.
enum Batch {
    Http(Bytes),
    #[cfg(feature = "client-grpc")]
    Grpc(tonic::transport::Channel, crate::proto::PublishRequest),
}

impl Batch {
    fn new(wire: &PublishWire, events: &[NewEvent]) -> Self {
        match wire {
            PublishWire::Http => Batch::Http(batch_body(events)),
            #[cfg(feature = "client-grpc")]
            PublishWire::Grpc(channel) => Batch::Grpc(channel.clone(), grpc::request_of(events)),
        }
    }

    async fn publish_once(
        &self,
        http: &GatewayHttp,
        token: Option<BearerToken>,
    ) -> Result<Vec<PublishReceipt>, ClientError> {
        match self {
            Batch::Http(body) => publish_once(http, body, token).await,
            #[cfg(feature = "client-grpc")]
            Batch::Grpc(channel, request) => {
                grpc::publish_once(http, channel.clone(), request.clone(), token).await
            }
        }
    }
}

fn batch_body(events: &[NewEvent]) -> Bytes {
    // An event alone is no batch.
    if let [event] = events {
        return object_of(event).into();
    }
    let objects: Vec<String> = events.iter().map(object_of).collect();
    format!("[{}]", objects.join(",")).into()
}

/// All tries carry the same ids, so also a try that was not answered may be repeated.
fn is_worth_another_try(error: &ClientError) -> bool {
    error.is_passing() || error.kind() == ClientErrorKind::OutcomeUnknown
}

fn final_error(error: ClientError, may_be_published: bool) -> ClientError {
    if !may_be_published {
        return error;
    }
    let text = format!("{error}; it may have been published, so look before it is sent again");
    ClientError::new(ClientErrorKind::OutcomeUnknown, text)
}

async fn publish_once(
    http: &GatewayHttp,
    body: &Bytes,
    token: Option<BearerToken>,
) -> Result<Vec<PublishReceipt>, ClientError> {
    // The time limit is for gateways that take the request and then say nothing.
    let request = http
        .post("/v1/events", token.as_ref())
        .header("content-type", "application/json")
        .timeout(http.clock().limit(limits::PUBLISH_ANSWER_TIMEOUT))
        .body(body.clone());
    let response = request.send().await.map_err(|error| {
        // Without a connection nothing can have been published.
        if error.is_connect() || tls::is_shut_out(&error) {
            http.no_answer(&error)
        } else {
            unanswered(&error)
        }
    })?;

    // A refusal says for sure that nothing is published.
    if !response.status().is_success() {
        return Err(refusal(response, passes).await);
    }
    // From here on the batch is published, whatever becomes of the answer.
    let answer = body_up_to(limits::READ_ANSWER_BYTES, response).await;
    let answer = answer.map_err(|error| unanswered(&error))?;
    match serde_json::from_slice(&answer).map_err(|e| unanswered(&e))? {
        PublishAnswer::Batch { events } => Ok(events),
        PublishAnswer::One(receipt) => Ok(vec![receipt]),
    }
}

/// The request has been sent, at least in part, and nothing says what became of it.
pub(super) fn unanswered(error: &(dyn Error + 'static)) -> ClientError {
    let text = format!("no answer to what was published: {}", innermost(error));
    ClientError::new(ClientErrorKind::OutcomeUnknown, text)
}

/// Which statuses of a request to publish are worth another try.
pub(super) fn passes(status: u16) -> bool {
    matches!(status, 429 | 502..=504 | 507)
}
