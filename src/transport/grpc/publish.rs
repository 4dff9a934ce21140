//! `Publish` and `PublishStream`: batches of events, answered once they are durable (contract §5).
//!
//! Invariants:
//! - a batch is counted before it is decoded, and paid from the memory budget until it is written;
//! - a stream's batches are queued in the order they come; the first fault is its last answer.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request as HttpRequest, State};
use axum::response::Response as HttpResponse;
use axum::routing::any;
use bytes::Bytes;
use futures_util::StreamExt as _;
use tokio_stream::Stream;
use tonic::codec::{CompressionEncoding, EnabledCompressionEncodings};
use tonic::server::Grpc;
use tonic::{Request, Response, Status, Streaming};
use tower::service_fn;

use super::counted::{PaidRequest, PublishCodec};
use super::{compressed_if_large, is_over_bound, proto, too_large};
use crate::bus::{Bus, PublishStream, Publishing};
use crate::caller::Caller;
use crate::engine::Receipt;
use crate::error::{Error, Result};
use crate::event::{EventParts, NewEvent};
use crate::limits;
use crate::transport::access::RequestCaller;
use crate::transport::state::AppState;

pub(super) const PATH: &str = "/vidette.v1.EventBus/Publish";
pub(super) const STREAM_PATH: &str = "/vidette.v1.EventBus/PublishStream";

/// The two calls.
pub(super) fn routes(state: AppState) -> Router {
    Router::new()
        .route(PATH, any(one))
        .route(STREAM_PATH, any(stream))
        .with_state(state)
}

fn server(bus: &Bus) -> Grpc<PublishCodec> {
    let mut gzip = EnabledCompressionEncodings::default();
    gzip.enable(CompressionEncoding::Gzip);
    Grpc::new(PublishCodec(bus.memory().clone()))
        .apply_compression_config(gzip, gzip)
        .max_decoding_message_size(limits::MAX_BODY_BYTES)
        .max_encoding_message_size(limits::MAX_BODY_BYTES)
}

async fn one(State(state): State<AppState>, request: HttpRequest) -> HttpResponse {
    let mut server = server(&state.bus);
    let call = service_fn(|request| publish(&state, request));
    server.unary(call, request).await.map(axum::body::Body::new)
}

async fn stream(State(state): State<AppState>, request: HttpRequest) -> HttpResponse {
    let mut server = server(&state.bus);
    let call = service_fn(|request: Request<Streaming<PaidRequest>>| {
        let answers = RequestCaller::of(request.extensions()).map(|caller| {
            let answers = publish_all(state.bus.clone(), &caller, request.into_inner());
            let mut response = Response::new(answers);
            response.disable_compression(); // an acknowledgement is smaller as it is
            response
        });
        std::future::ready(answers.map_err(Status::from))
    });
    server
        .streaming(call, request)
        .await
        .map(axum::body::Body::new)
}

async fn publish(
    state: &AppState,
    request: Request<PaidRequest>,
) -> std::result::Result<Response<proto::PublishResponse>, Status> {
    let bus = &state.bus;
    let caller = RequestCaller::of(request.extensions())?;
    // In a function of its own, so that nothing of the request is kept while its batch waits.
    let publishing = queued(bus, &caller, request.into_inner())?;
    let receipts = publishing.done().await?;
    Ok(compressed_if_large(published(bus, &receipts)))
}

fn queued(bus: &Bus, caller: &Caller, request: PaidRequest) -> Result<Publishing> {
    let PaidRequest { message, held } = request;
    let publishing = bus.enqueue(caller, batch(bus, message)?);
    drop(held);
    publishing
}

pub(crate) fn batch(bus: &Bus, request: proto::PublishRequest) -> Result<Vec<NewEvent>> {
    let max_event_bytes = bus.options().max_event_bytes;
    let checked = request
        .events
        .into_iter()
        .enumerate()
        .map(|(index, event)| {
            let parts = EventParts {
                topic: &event.topic,
                kind: Some(&event.r#type),
                id: Some(&event.id),
                content_type: Some(&event.content_type),
                headers: sorted(event.headers),
                // Copied, so that a small event does not keep the whole request in memory.
                data: Bytes::copy_from_slice(&event.data),
            };
            NewEvent::check(parts, max_event_bytes)
                .map_err(|e| e.at(&format!("event {} of the batch", index + 1)))
        });
    checked.collect()
}

fn sorted(headers: std::collections::HashMap<String, String>) -> Vec<(String, String)> {
    let mut headers: Vec<_> = headers.into_iter().collect();
    headers.sort_unstable();
    headers
}

fn published(bus: &Bus, receipts: &[Receipt]) -> proto::PublishResponse {
    let (first_vid, last_vid) = Receipt::range(receipts);
    let event = |r: &Receipt| proto::PublishedEvent {
        vid: r.vid,
        cursor: bus.cursor(r.vid).to_string(),
        duplicate: r.duplicate,
    };
    proto::PublishResponse {
        first_vid,
        last_vid,
        cursor: bus.cursor(last_vid).to_string(),
        events: receipts.iter().map(event).collect(),
    }
}

/// Queues batch after batch in the order they come, and answers each once it is durable.
fn publish_all(
    bus: Bus,
    caller: &Caller,
    requests: Streaming<PaidRequest>,
) -> impl Stream<Item = std::result::Result<proto::PublishResponse, Status>> + use<> {
    let stream = Arc::new(bus.publish_stream(caller));
    let queued = until_closed(bus.clone(), requests).then({
        let bus = bus.clone();
        move |request| enqueue(bus.clone(), stream.clone(), request)
    });
    let answers = queued.map(move |publishing| {
        let bus = bus.clone();
        async move { Ok(published(&bus, &publishing?.done().await?)) }
    });
    // The first fault is the last answer: what was queued behind it is not acknowledged.
    answers.buffered(limits::PUBLISH_STREAM_PIPELINE).scan(
        false,
        |has_failed, answer: std::result::Result<_, Status>| {
            let item = (!*has_failed).then_some(answer);
            *has_failed |= matches!(item, Some(Err(_)));
            std::future::ready(item)
        },
    )
}

/// The requests, until the gateway closes: then what was taken is still acknowledged, and the last
/// word says why.
fn until_closed<T>(
    bus: Bus,
    requests: impl Stream<Item = std::result::Result<T, Status>>,
) -> impl Stream<Item = std::result::Result<T, Status>> {
    let (closing, closed) = (bus.clone(), async move { bus.closed().await });
    let last_word = async move { closing.is_closing().then(|| Err(Error::closing().into())) };
    requests
        .take_until(Box::pin(closed))
        .chain(futures_util::stream::once(last_word).filter_map(std::future::ready))
}

async fn enqueue(
    bus: Bus,
    stream: Arc<PublishStream>,
    request: std::result::Result<PaidRequest, Status>,
) -> std::result::Result<Publishing, Status> {
    let PaidRequest { message, held } = request.map_err(|status| {
        if is_over_bound(&status) {
            too_large(&status)
        } else {
            status
        }
    })?;
    let batch = batch(&bus, message)?;
    drop(held); // the queue pays from here on
    Ok(stream.enqueue_with_backpressure(batch).await?)
}
