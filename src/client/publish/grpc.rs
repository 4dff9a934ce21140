//! A batch over gRPC, once.

use tonic::transport::Channel;
use tonic::{Code, Status};

use super::PublishReceipt;
use crate::client::error::{ClientError, ClientErrorKind};
use crate::client::grpc::{error_of, text_of, with_token};
use crate::client::http::GatewayHttp;
use crate::client::token::BearerToken;
use crate::event::NewEvent;
use crate::limits;
use crate::proto::event_bus_client::EventBusClient;
use crate::proto::{self, PublishRequest, PublishedEvent};

/// The events as a message of gRPC.
pub(super) fn request_of(events: &[NewEvent]) -> PublishRequest {
    PublishRequest {
        events: events.iter().map(message_of).collect(),
    }
}

fn message_of(event: &NewEvent) -> proto::NewEvent {
    // An empty field of a message is one that is not given.
    let given = |text: &Option<std::sync::Arc<str>>| text.as_deref().unwrap_or_default().to_owned();
    proto::NewEvent {
        topic: event.topic.as_str().to_owned(),
        r#type: given(&event.kind),
        id: given(&event.id),
        content_type: event.content_type.as_str().to_owned(),
        data: event.data.clone(),
        headers: event.headers.iter().cloned().collect(),
    }
}

pub(super) async fn publish_once(
    http: &GatewayHttp,
    channel: Channel,
    request: PublishRequest,
    token: Option<BearerToken>,
) -> Result<Vec<PublishReceipt>, ClientError> {
    // The time limit is for gateways that take the request and then say nothing.
    let mut request = with_token(request, token.as_ref());
    request.set_timeout(http.clock().limit(limits::PUBLISH_ANSWER_TIMEOUT));

    let mut client =
        EventBusClient::new(channel).max_decoding_message_size(limits::READ_ANSWER_BYTES);
    match client.publish(request).await {
        Ok(answer) => Ok(answer
            .into_inner()
            .events
            .into_iter()
            .map(receipt_of)
            .collect()),
        Err(status) if is_answer(&status) => Err(error_of(http, &status)),
        Err(status) => Err(unanswered(&status)),
    }
}

pub(super) fn receipt_of(event: PublishedEvent) -> PublishReceipt {
    PublishReceipt {
        vid: event.vid,
        cursor: event.cursor,
        duplicate: event.duplicate,
    }
}

/// Does the status say for sure that nothing has been published?
pub(super) fn is_answer(status: &Status) -> bool {
    use std::error::Error as _;
    // A status of the gateway has no cause; one of a connection that was never made has sent
    // nothing.
    let was_sent = !is_unsent(status);
    let is_unsure = matches!(
        status.code(),
        Code::DeadlineExceeded | Code::Cancelled | Code::Unknown | Code::Internal
    );
    !was_sent || (status.source().is_none() && !is_unsure)
}

fn is_unsent(status: &Status) -> bool {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(status);
    while let Some(error) = cause {
        if error.is::<tonic::ConnectError>() {
            return true;
        }
        cause = error.source();
    }
    false
}

fn unanswered(status: &Status) -> ClientError {
    let text = format!("no answer to what was published: {}", text_of(status));
    ClientError::new(ClientErrorKind::OutcomeUnknown, text)
}
