//! A stream of lines over gRPC, each as a message of its own.
//!
//! Invariant: one reply for each line that was sent, in order, as over HTTP. A status that refuses
//! a line is its reply; the stream has then ended, and what was sent behind it is sent again.

use std::borrow::Cow;
use std::collections::BTreeMap;

use async_stream::stream;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream::BoxStream;
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use tonic::{Code, Status, Streaming};

use super::grpc::{is_answer, receipt_of};
use super::request::LineReply;
use crate::client::error::{ClientError, ClientErrorKind};
use crate::client::grpc::{error_of, text_of, with_token};
use crate::client::http::GatewayHttp;
use crate::client::token::BearerToken;
use crate::event::{ContentType, DataForm};
use crate::proto::event_bus_client::EventBusClient;
use crate::proto::{NewEvent, PublishRequest, PublishResponse};

/// Sends the lines, and gives what comes back.
pub(super) fn replies(
    http: GatewayHttp,
    channel: Channel,
    lines: mpsc::Receiver<Bytes>,
) -> BoxStream<'static, LineReply> {
    stream! {
        let (mut answers, token) = match begin(&http, channel, lines).await {
            Ok(begun) => begun,
            Err(error) => {
                yield LineReply::Failed(error);
                return;
            }
        };
        yield LineReply::Connected(token);

        loop {
            match answers.message().await {
                Ok(Some(answer)) => yield LineReply::Answer(answer_line(answer)),
                Ok(None) => return,
                Err(status) => {
                    yield reply_of(&http, &status);
                    return;
                }
            }
        }
    }
    .boxed()
}

async fn begin(
    http: &GatewayHttp,
    channel: Channel,
    lines: mpsc::Receiver<Bytes>,
) -> Result<(Streaming<PublishResponse>, Option<BearerToken>), ClientError> {
    let token = http.token().await?;
    let requests = ReceiverStream::new(lines).map(|line| request_of(&line));
    let request = with_token(requests, token.as_ref());
    match EventBusClient::new(channel).publish_stream(request).await {
        Ok(answers) => Ok((answers.into_inner(), token)),
        Err(status) => {
            // The lines have gone with this request, so a fresh token is for the next one.
            let error = error_of(http, &status);
            http.refused(token.as_ref(), error.clone())?;
            Err(error)
        }
    }
}

/// The fields of a line, which are those of `POST /v1/events`.
#[derive(Deserialize)]
struct LineFields<'a> {
    #[serde(borrow)]
    topic: Cow<'a, str>,
    #[serde(default)]
    r#type: Option<String>,
    #[serde(default)]
    id: Option<String>,
    #[serde(default)]
    content_type: Option<String>,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    #[serde(borrow, default, deserialize_with = "crate::client::event::present")]
    data: Option<&'a RawValue>,
    #[serde(default)]
    data_base64: Option<String>,
}

/// A line as a message. What is no event becomes one without events, which the gateway refuses.
fn request_of(line: &[u8]) -> PublishRequest {
    let fields = serde_json::from_slice::<LineFields<'_>>(line).ok();
    let event = fields.and_then(message_of);
    PublishRequest {
        events: event.into_iter().collect(),
    }
}

fn message_of(fields: LineFields<'_>) -> Option<NewEvent> {
    let given = fields.content_type.filter(|text| !text.is_empty());
    let (data, content_type) = match (fields.data, fields.data_base64) {
        (Some(json), None) => {
            let content_type = given.unwrap_or_else(|| "application/json".to_owned());
            (data_of_json(json, &content_type)?, content_type)
        }
        (None, Some(base64)) => {
            let content_type = given.unwrap_or_else(|| "application/octet-stream".to_owned());
            (STANDARD.decode(base64).ok()?.into(), content_type)
        }
        _ => return None,
    };
    Some(NewEvent {
        topic: fields.topic.into_owned(),
        r#type: fields.r#type.unwrap_or_default(),
        id: fields.id.unwrap_or_default(),
        content_type,
        data,
        headers: fields.headers.into_iter().collect(),
    })
}

fn data_of_json(json: &RawValue, content_type: &str) -> Option<Bytes> {
    match ContentType::trusted(content_type).form() {
        // Copied as it is written, so that numbers keep their digits.
        DataForm::Json => Some(Bytes::copy_from_slice(json.get().as_bytes())),
        DataForm::Text => serde_json::from_str::<String>(json.get())
            .ok()
            .map(Bytes::from),
        DataForm::Binary => None,
    }
}

/// The answer to a line as NDJSON would have it.
fn answer_line(answer: PublishResponse) -> String {
    let receipt = answer.events.into_iter().next().map(receipt_of);
    receipt.map_or_else(String::new, |receipt| {
        let (vid, cursor) = (receipt.vid, receipt.cursor);
        json!({"vid": vid, "cursor": cursor, "duplicate": receipt.duplicate}).to_string()
    })
}

/// What a status means that ends the stream.
fn reply_of(http: &GatewayHttp, status: &Status) -> LineReply {
    let error = error_of(http, status);
    let refuses_the_line = is_answer(status) && error.kind() == ClientErrorKind::Refused;
    let has_expired = status.code() == Code::Unauthenticated;
    if refuses_the_line || has_expired {
        // The first line without an answer is the one that is meant.
        let number = if has_expired { 401 } else { 400 };
        let problem = json!({"status": number, "detail": text_of(status)});
        return LineReply::Answer(json!({ "error": problem }).to_string());
    }
    LineReply::Failed(error)
}
