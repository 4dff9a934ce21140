//! `Subscribe`: events and steps until the stream ends (contract §5, §7).
//!
//! tonic reads the request; the answer's messages are written here, as gRPC frames that all who
//! read the same share (gRPC over HTTP/2, "Length-Prefixed-Message"). tonic would copy each of them
//! into a buffer of the stream's own: a twelfth of the time of a delivery, and 300 bytes a waiting
//! stream. Invariants:
//! - what subscribers read alike is encoded once, and a stream shares those bytes;
//! - a stream's last word is a status: `UNAVAILABLE` after `Closing`, `OUT_OF_RANGE` with the gap
//!   in its details.

use std::convert::Infallible;
use std::task::Poll;

use async_stream::stream;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::Response;
use bytes::Bytes;
use futures_util::{StreamExt as _, poll};
use http_body_util::StreamBody;
use hyper::body::Frame;
use tokio::time::timeout;
use tokio_stream::Stream;
use tonic::codec::{Codec as _, CompressionEncoding};
use tonic::metadata::MetadataValue;
use tonic::{Code, Status, Streaming};

use super::encoded::{SmallBuffers, encode, encoded_batch};
use super::{client_proto, proto};
use crate::bus::{Bus, Closing, ClosingReason, OnGap, Step, SubscribeRequest, Subscription};
use crate::caller::Caller;
use crate::cursor::Gap;
use crate::error::{Error, Result};
use crate::limits;
use crate::topic::Filter;
use crate::transport::peer::Waiter;
use crate::transport::request::StartTexts;
use crate::transport::state::AppState;

pub(super) const PATH: &str = "/vidette.v1.EventBus/Subscribe";

pub(super) async fn subscribe(State(state): State<AppState>, request: Request) -> Response {
    let waiter = Waiter::of(request.extensions()); // over HTTP/1.1, as gRPC-web
    match open(&state.bus, request).await {
        Ok(subscription) => response(subscription, waiter),
        Err(status) => status.into_http(),
    }
}

async fn open(bus: &Bus, request: Request) -> std::result::Result<Subscription, Status> {
    let request = Box::pin(read_in_time(request)).await?;
    let subscription =
        Subscription::open(bus, &Caller::anonymous(), subscribe_request(&request)?).await?;
    subscription.share_connection();
    Ok(subscription)
}

async fn read_in_time(request: Request) -> std::result::Result<proto::SubscribeRequest, Status> {
    timeout(limits::BODY_TIMEOUT, read(request)).await.unwrap_or_else(|_| {
        let seconds = limits::BODY_TIMEOUT.as_secs();
        let detail =
            format!("the request was not complete after {seconds} s; it is one message and the end of the request");
        Err(Error::bad_request(detail).into())
    })
}

/// The one message of a request.
async fn read(request: Request) -> std::result::Result<proto::SubscribeRequest, Status> {
    let encoding = encoding_of(request.headers())?;
    let decoder =
        SmallBuffers::<proto::SubscribeRequest, proto::SubscribeRequest>::default().decoder();
    let mut messages = Streaming::new_request(
        decoder,
        request.into_body(),
        encoding,
        Some(limits::SMALL_MESSAGE_BYTES),
    );
    let message = messages.message().await?;
    messages.trailers().await?; // to the request's end
    message.ok_or_else(|| Error::bad_request("the request has no message").into())
}

/// How the request is compressed: gzip or not at all, here as in the other calls. The answer's
/// messages never are: they are made once for all who read them, and most clients say that they take
/// gzip, so each page would be made twice, the second time at a fraction of the speed.
fn encoding_of(headers: &HeaderMap) -> std::result::Result<Option<CompressionEncoding>, Status> {
    match headers.get("grpc-encoding").map(HeaderValue::as_bytes) {
        None | Some(b"identity") => Ok(None),
        Some(b"gzip") => Ok(Some(CompressionEncoding::Gzip)),
        Some(other) => {
            let encoding = String::from_utf8_lossy(other);
            let mut status = Status::unimplemented(format!(
                "Content is compressed with `{encoding}` which isn't supported"
            ));
            let accepted = MetadataValue::from_static("gzip,identity");
            status
                .metadata_mut()
                .insert("grpc-accept-encoding", accepted);
            Err(status)
        }
    }
}

pub(crate) fn subscribe_request(request: &proto::SubscribeRequest) -> Result<SubscribeRequest> {
    let on_gap = match proto::OnGap::try_from(request.on_gap) {
        Ok(proto::OnGap::Unspecified | proto::OnGap::Continue) => OnGap::Continue,
        Ok(proto::OnGap::Fail) => OnGap::Fail,
        Err(_) => {
            return Err(Error::bad_request(format!(
                "on_gap = {} is no value of OnGap",
                request.on_gap
            )));
        }
    };
    if request.limit > limits::MAX_LIMIT {
        return Err(Error::bad_request(format!(
            "limit is more than {}",
            limits::MAX_LIMIT
        )));
    }
    let start = StartTexts {
        after: Some(&*request.after).filter(|t| !t.is_empty()),
        since: Some(&*request.since).filter(|t| !t.is_empty()),
        snapshot: request.snapshot,
    };
    Ok(SubscribeRequest {
        filter: Filter::parse(request.topic.iter().map(String::as_str))?,
        start: start.parse()?,
        on_gap,
        limit: Some(request.limit).filter(|limit| *limit > 0),
    })
}

fn response(subscription: Subscription, waiter: Waiter) -> Response {
    let frames = answers(subscription, waiter).map(|answer| {
        Ok::<_, Infallible>(match answer {
            Ok(message) => Frame::data(message),
            Err(last_word) => Frame::trailers(trailers(&last_word)),
        })
    });
    let mut response = Response::new(Body::new(StreamBody::new(frames)));
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/grpc"),
    );
    response
}

pub(super) fn trailers(last_word: &Status) -> HeaderMap {
    let mut trailers = HeaderMap::new();
    if let Err(fault) = last_word.add_header(&mut trailers) {
        tracing::error!(%fault, "a status does not fit into trailers");
    }
    trailers
}

type Answer = std::result::Result<Bytes, Status>;

/// Messages, and the status at the end.
fn answers(mut subscription: Subscription, waiter: Waiter) -> impl Stream<Item = Answer> {
    stream! {
        let mut closing = None;
        let greeting = subscription.next().await;
        let greeting = answer(&subscription, greeting, &mut closing);
        let mut greeting = Some(greeting);
        let step = {
            // Kept when it has to wait: a read that has begun is not begun again. Boxed to keep the
            // stream small while it waits later.
            let mut next = Box::pin(subscription.next());
            match poll!(&mut next) {
                Poll::Ready(step) => step,
                Poll::Pending => {
                    if let Some(greeting) = greeting.take() {
                        yield greeting;
                    }
                    next.await
                }
            }
        };
        let answered = answer(&subscription, step, &mut closing);
        let mut second = match greeting {
            Some(greeting) => {
                let (first, second) = together(greeting, Some(answered));
                yield first;
                second
            }
            None => Some(answered),
        };
        loop {
            let answer = match second.take() {
                Some(answer) => answer,
                None => {
                    let step = waiter.next(&mut subscription).await;
                    answer(&subscription, step, &mut closing)
                }
            };
            let is_last = answer.is_err();
            yield answer;
            if is_last {
                break;
            }
        }
    }
}

/// The greeting and a short message that is there already, in one piece: a connection has a place
/// for each piece that a thousand streams begin with at once, and keeps it.
fn together(greeting: Answer, next: Option<Answer>) -> (Answer, Option<Answer>) {
    match (greeting, next) {
        (Ok(greeting), Some(Ok(next))) if next.len() <= limits::TOGETHER_BYTES => {
            (Ok([greeting, next].concat().into()), None)
        }
        apart => apart,
    }
}

fn answer(
    subscription: &Subscription,
    next: Result<Option<Step>>,
    closing: &mut Option<ClosingReason>,
) -> Answer {
    match next {
        Ok(Some(step)) => {
            if let Step::Closing(Closing { reason, .. }) = step {
                *closing = Some(reason);
            }
            Ok(message(subscription, step))
        }
        Ok(None) => Err(closing.map_or(Status::new(Code::Ok, ""), |why| why.error().into())),
        Err(fault) => Err(fault.into()),
    }
}

fn message(subscription: &Subscription, step: Step) -> Bytes {
    use client_proto::subscribe_response::Message;
    let cursor = |vid| subscription.log().cursor(vid).to_string();
    encode(match step {
        Step::Events(batch, position) => {
            let message = encoded_batch(&batch, || cursor(position));
            return subscription.memory().share(message);
        }
        Step::Hello {
            epoch,
            first,
            last,
            heartbeat,
        } => {
            let heartbeat_ms = u32::try_from(heartbeat.as_millis()).unwrap_or(u32::MAX);
            Message::Hello(client_proto::Hello {
                epoch: epoch.to_string(),
                first,
                last,
                heartbeat_ms,
            })
        }
        Step::CaughtUp(vid) => Message::CaughtUp(client_proto::CaughtUp {
            cursor: cursor(vid),
        }),
        Step::Progress(vid) => Message::Progress(client_proto::Progress {
            cursor: cursor(vid),
        }),
        Step::Gap(gap) => Message::Gap(gap.into()),
        Step::Closing(Closing { reason, retry_ms }) => Message::Closing(client_proto::Closing {
            reason: reason.as_str().into(),
            retry_ms,
        }),
    })
}

impl From<Gap> for client_proto::Gap {
    fn from(gap: Gap) -> Self {
        client_proto::Gap {
            reason: gap.reason.as_str().into(),
            requested: gap.requested,
            first: gap.first,
            last: gap.last,
            epoch: gap.epoch.to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn piece(length: usize) -> Bytes {
        vec![b'x'; length].into()
    }

    #[test]
    fn the_greeting_goes_out_with_a_short_message_and_hides_nothing_else() {
        let lengths = |answer: Answer| {
            answer
                .map(|message| message.len())
                .map_err(|status| status.code())
        };
        for (next, expected) in [
            (None, (Ok(7), None)),
            (
                Some(Ok(piece(limits::TOGETHER_BYTES))),
                (Ok(7 + limits::TOGETHER_BYTES), None),
            ),
            (
                Some(Ok(piece(limits::TOGETHER_BYTES + 1))),
                (Ok(7), Some(Ok(limits::TOGETHER_BYTES + 1))),
            ),
            (
                Some(Err(Status::unavailable(""))),
                (Ok(7), Some(Err(Code::Unavailable))),
            ),
        ] {
            let (first, second) = together(Ok(piece(7)), next);
            assert_eq!((lengths(first), second.map(lengths)), expected);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_that_does_not_end_is_given_up() {
        let body = Body::from_stream(futures_util::stream::pending::<std::io::Result<Bytes>>());
        let status = read_in_time(Request::new(body))
            .await
            .expect_err("no request");
        assert_eq!(status.code(), Code::InvalidArgument);
    }

    #[test]
    fn requests_may_be_compressed_as_in_other_calls() {
        let mut headers = HeaderMap::new();
        assert_eq!(encoding_of(&headers).expect("none"), None);
        headers.insert("grpc-encoding", HeaderValue::from_static("identity"));
        assert_eq!(encoding_of(&headers).expect("none"), None);
        headers.insert("grpc-encoding", HeaderValue::from_static("gzip"));
        assert_eq!(
            encoding_of(&headers).expect("gzip"),
            Some(CompressionEncoding::Gzip)
        );
        headers.insert("grpc-encoding", HeaderValue::from_static("deflate"));
        let refusal = encoding_of(&headers).expect_err("a refusal");
        assert_eq!(refusal.code(), Code::Unimplemented);
        assert!(refusal.metadata().contains_key("grpc-accept-encoding"));
    }
}
