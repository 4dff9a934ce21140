//! `Subscribe`: events and steps until the stream ends (contract §5, §7).
//!
//! tonic reads the request; the answer's messages are written here, as gRPC frames that all who
//! read the same share (gRPC over HTTP/2, "Length-Prefixed-Message"). tonic would copy each of them
//! into a buffer of the stream's own: a twelfth of the time of a delivery, and 300 bytes a waiting
//! stream. Invariants:
//! - what subscribers read alike is encoded once, and a stream shares those bytes;
//! - a stream ends with a status: `UNAVAILABLE` after `Closing`, `OUT_OF_RANGE` with the gap in its
//!   details.

use std::convert::Infallible;
use std::task::Poll;

use async_stream::stream;
use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, header};
use axum::response::Response;
use axum::routing::any;
use bytes::Bytes;
use futures_util::{StreamExt as _, poll};
use http_body_util::StreamBody;
use hyper::body::Frame;
use tokio_stream::Stream;
use tonic::{Code, Status};

use super::request::{read_in_time, subscribe_request};
use super::steps::message;
use crate::bus::{Bus, Closing, ClosingReason, Step};
use crate::error::Result;
use crate::limits;
use crate::metrics::Transport;
use crate::transport::access::RequestCaller;
use crate::transport::headers::set;
use crate::transport::peer::PeerWatch;
use crate::transport::reader::Reader;
use crate::transport::state::AppState;

/// The one call.
pub(super) fn routes(state: AppState) -> Router {
    let path = "/vidette.v1.EventBus/Subscribe";
    Router::new().route(path, any(subscribe)).with_state(state)
}

async fn subscribe(State(state): State<AppState>, request: Request) -> Response {
    // Over HTTP/1.1, as gRPC-web comes, the connection's end shows that the reader has left.
    let peer = PeerWatch::of(request.extensions());
    match open(&state.bus, peer, request).await {
        Ok(reader) => response(reader),
        Err(status) => status.into_http(),
    }
}

async fn open(bus: &Bus, peer: PeerWatch, request: Request) -> std::result::Result<Reader, Status> {
    let caller = RequestCaller::of(request.extensions())?;
    // Boxed to keep the future of an open stream small: the request is read once.
    let request = Box::pin(read_in_time(request)).await?;
    let request = subscribe_request(&request)?;
    let reader = Reader::open(bus, &caller, request, (Transport::Grpc, peer)).await?;
    reader.subscription.share_connection();
    Ok(reader)
}

fn response(reader: Reader) -> Response {
    let frames = messages(reader).map(frame);
    let mut response = Response::new(Body::new(StreamBody::new(frames)));
    set(
        response.headers_mut(),
        header::CONTENT_TYPE,
        "application/grpc",
    );
    response
}

#[expect(
    clippy::unnecessary_wraps,
    reason = "a body's frames may fail, though these do not"
)]
fn frame(message: MessageOrEnd) -> std::result::Result<Frame<Bytes>, Infallible> {
    Ok(match message {
        Ok(message) => Frame::data(message),
        Err(end) => Frame::trailers(trailers(&end)),
    })
}

pub(super) fn trailers(status: &Status) -> HeaderMap {
    let mut trailers = HeaderMap::new();
    // tonic percent-encodes the message, so that any text fits into a header.
    if let Err(error) = status.add_header(&mut trailers) {
        tracing::error!(%error, "a status does not fit into trailers");
    }
    trailers
}

/// A framed message, or the status with which the stream ends.
type MessageOrEnd = std::result::Result<Bytes, Status>;

fn messages(mut reader: Reader) -> impl Stream<Item = MessageOrEnd> {
    stream! {
        let mut closing = None;
        // The greeting is always ready.
        let greeting = reader.next().await;
        let mut greeting = Some(encoded(&reader, greeting, &mut closing));
        let step = {
            // Kept when it has to wait: a read that has begun is not begun again. Boxed to keep the
            // idle future small: it is needed only here.
            let mut next = Box::pin(reader.next());
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
        // A greeting that has not gone out yet takes a short message with it.
        let message = encoded(&reader, step, &mut closing);
        let mut second = match greeting {
            Some(greeting) => {
                let (first, second) = together(greeting, Some(message));
                yield first;
                second
            }
            None => Some(message),
        };
        loop {
            let message = if let Some(message) = second.take() {
                message
            } else {
                let step = reader.next().await;
                encoded(&reader, step, &mut closing)
            };
            let is_last = message.is_err();
            if let Err(status) = &message {
                reader.count_code(status.code() as usize);
            }
            yield message;
            if is_last {
                break;
            }
        }
    }
}

/// The greeting and a short message that is ready already, in one piece: a connection has a buffer
/// for each piece that a thousand streams begin with at once, and keeps it.
fn together(
    greeting: MessageOrEnd,
    next: Option<MessageOrEnd>,
) -> (MessageOrEnd, Option<MessageOrEnd>) {
    match (greeting, next) {
        (Ok(greeting), Some(Ok(next))) if next.len() <= limits::TOGETHER_BYTES => {
            (Ok([greeting, next].concat().into()), None)
        }
        apart => apart,
    }
}

fn encoded(
    reader: &Reader,
    next: Result<Option<Step>>,
    closing: &mut Option<ClosingReason>,
) -> MessageOrEnd {
    match next {
        Ok(Some(step)) => {
            if let Step::Closing(Closing { reason, .. }) = step {
                *closing = Some(reason);
            }
            Ok(message(reader, step))
        }
        // The status says the same as the message before it.
        Ok(None) => Err(closing.map_or(Status::new(Code::Ok, ""), |why| why.error().into())),
        Err(error) => Err(error.into()),
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
        let lengths = |answer: MessageOrEnd| {
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
}
