//! `Publish` and `PublishStream`: batches of events, answered once they are durable (contract §5).
//!
//! Invariants:
//! - a batch is counted before it is decoded, and paid from the memory budget until it is written;
//! - a stream's batches are queued in the order they come; the first error is its last answer.

use std::future::ready;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
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
use super::{compressed_if_large, over_bound_as_too_large, proto};
use crate::bus::{Bus, PublishStream, Publishing, Receipt};
use crate::caller::Caller;
use crate::error::Result;
use crate::event::{EventParts, NewEvent};
use crate::limits;
use crate::transport::access::RequestCaller;
use crate::transport::event_input::of_batch;
use crate::transport::state::AppState;
use crate::transport::trace_parent::{PublishedBy, TracedRequest, TracedStream};
use crate::transport::until_ended::until_ended;

pub(super) const PATH: &str = "/vidette.v1.EventBus/Publish";
pub(super) const STREAM_PATH: &str = "/vidette.v1.EventBus/PublishStream";

/// The two calls.
pub(super) fn routes(state: AppState) -> Router {
    Router::new()
        .route(PATH, any(one))
        .route(STREAM_PATH, any(stream))
        .with_state(state)
}

async fn one(State(state): State<AppState>, request: HttpRequest) -> HttpResponse {
    let call = service_fn(|request| publish(&state, request));
    let mut server = server(&state.bus);
    server.unary(call, request).await.map(Body::new)
}

async fn stream(State(state): State<AppState>, request: HttpRequest) -> HttpResponse {
    let call = service_fn(|request| ready(publish_stream(&state, request)));
    let mut server = server(&state.bus);
    server.streaming(call, request).await.map(Body::new)
}

fn server(bus: &Bus) -> Grpc<PublishCodec> {
    let mut gzip = EnabledCompressionEncodings::default();
    gzip.enable(CompressionEncoding::Gzip);
    Grpc::new(PublishCodec(bus.memory().clone()))
        .apply_compression_config(gzip, gzip)
        .max_decoding_message_size(limits::MAX_BODY_BYTES)
        .max_encoding_message_size(limits::MAX_BODY_BYTES)
}

async fn publish(
    state: &AppState,
    request: Request<PaidRequest>,
) -> std::result::Result<Response<proto::PublishResponse>, Status> {
    let bus = &state.bus;
    let caller = RequestCaller::of(request.extensions())?;
    // In a function of its own, so that nothing of the request is kept while its batch waits.
    let (metadata, _, message) = request.into_parts();
    let headers = metadata.into_headers();
    let mut trace = TracedRequest::begin(&state.traces, &headers, PublishedBy::Grpc);
    drop(headers);
    let receipts = match queued(bus, &caller, message, &mut trace) {
        Ok(publishing) => publishing.done().await,
        Err(error) => Err(error),
    };
    let receipts = trace.end_with(receipts)?;
    Ok(compressed_if_large(published(bus, &receipts)))
}

fn queued(
    bus: &Bus,
    caller: &Caller,
    request: PaidRequest,
    trace: &mut TracedRequest,
) -> Result<Publishing> {
    let PaidRequest { message, held } = request;
    let batch = batch(bus, message)?;
    let publishing = bus.enqueue(caller, trace.batch(batch));
    // The queue pays from here on.
    drop(held);
    publishing
}

pub(crate) fn batch(bus: &Bus, request: proto::PublishRequest) -> Result<Vec<NewEvent>> {
    let max_event_bytes = bus.options().max_event_bytes;
    let events = request.events.into_iter().enumerate();
    let checked =
        |(index, event)| checked(event, max_event_bytes).map_err(|error| of_batch(error, index));
    events.map(checked).collect()
}

fn checked(event: proto::NewEvent, max_event_bytes: usize) -> Result<NewEvent> {
    // A map has no order, and readers are to get the same bytes each time.
    let mut headers: Vec<_> = event.headers.into_iter().collect();
    headers.sort_unstable();
    let parts = EventParts {
        topic: &event.topic,
        kind: Some(&event.r#type),
        id: Some(&event.id),
        content_type: Some(&event.content_type),
        headers,
        // Copied, so that a small event does not keep the whole request in memory.
        data: Bytes::copy_from_slice(&event.data),
    };
    NewEvent::check(parts, max_event_bytes)
}

fn published(bus: &Bus, receipts: &[Receipt]) -> proto::PublishResponse {
    let (first_vid, last_vid) = Receipt::range(receipts);
    let events = receipts.iter().map(|receipt| published_event(bus, receipt));
    proto::PublishResponse {
        first_vid,
        last_vid,
        cursor: bus.cursor(last_vid).to_string(),
        events: events.collect(),
    }
}

fn published_event(bus: &Bus, receipt: &Receipt) -> proto::PublishedEvent {
    proto::PublishedEvent {
        vid: receipt.vid,
        cursor: bus.cursor(receipt.vid).to_string(),
        duplicate: receipt.duplicate,
    }
}

type PublishAnswer = std::result::Result<proto::PublishResponse, Status>;

fn publish_stream(
    state: &AppState,
    request: Request<Streaming<PaidRequest>>,
) -> std::result::Result<Response<impl Stream<Item = PublishAnswer> + use<>>, Status> {
    let caller = RequestCaller::of(request.extensions())?;
    let (metadata, _, requests) = request.into_parts();
    let headers = metadata.into_headers();
    let traces = TracedStream::new(&state.traces, &headers, PublishedBy::GrpcStream);
    let answers = publish_all(state.bus.clone(), &caller, requests, traces);
    let mut response = Response::new(answers);
    // An acknowledgement is smaller as it is.
    response.disable_compression();
    Ok(response)
}

/// Queues batch after batch in the order they come, and answers each once it is durable. When the
/// gateway closes, or the publisher's credentials end, what was taken is still acknowledged, and
/// the last answer says so.
fn publish_all(
    bus: Bus,
    caller: &Caller,
    requests: Streaming<PaidRequest>,
    traces: TracedStream,
) -> impl Stream<Item = PublishAnswer> + use<> {
    // One after the other, so that vids follow the order of the batches.
    let stream = Arc::new(bus.publish_stream(caller));
    let requests = until_ended(requests, stream.ended(), |why| Some(Err(why.into())));
    let queued = requests.then({
        let bus = bus.clone();
        move |request| enqueue(bus.clone(), stream.clone(), request, traces.clone())
    });

    // Only the waiting overlaps.
    let answers = queued.map(move |queued| acknowledged(bus.clone(), queued));
    until_failed(answers.buffered(limits::PUBLISH_STREAM_PIPELINE))
}

async fn enqueue(
    bus: Bus,
    stream: Arc<PublishStream>,
    request: std::result::Result<PaidRequest, Status>,
    traces: TracedStream,
) -> std::result::Result<(Publishing, TracedRequest), Status> {
    let PaidRequest { message, held } = request.map_err(over_bound_as_too_large)?;
    let batch = batch(&bus, message)?;
    drop(held);
    // Waits while the queue has no space, and so does the client.
    let mut trace = traces.begin(&batch);
    match stream.enqueue_with_backpressure(trace.batch(batch)).await {
        Ok(publishing) => Ok((publishing, trace)),
        Err(error) => Ok(trace.end(Err(error))?),
    }
}

async fn acknowledged(
    bus: Bus,
    queued: std::result::Result<(Publishing, TracedRequest), Status>,
) -> PublishAnswer {
    let (publishing, trace) = queued?;
    let receipts = trace.end_with(publishing.done().await)?;
    Ok(published(&bus, &receipts))
}

/// The first error is the last answer: what was queued behind it is not acknowledged.
fn until_failed(answers: impl Stream<Item = PublishAnswer>) -> impl Stream<Item = PublishAnswer> {
    answers.scan(false, |has_failed, answer| {
        let is_after_error = std::mem::replace(has_failed, answer.is_err());
        ready((!is_after_error).then_some(answer))
    })
}
