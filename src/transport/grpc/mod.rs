//! The gRPC face, `vidette.v1.EventBus`, with health and reflection (contract §5, §7).
//!
//! Invariants:
//! - tonic answers every call but `Subscribe`, of which it reads the request;
//! - all of them fail with the same statuses, also on the way: more than the bound is
//!   `RESOURCE_EXHAUSTED`.

mod deadline;
mod encoded;
mod subscribe;

use std::pin::Pin;

use axum::Router;
use axum::routing::any;
use bytes::Bytes;
use futures_util::StreamExt as _;
use tokio_stream::Stream;
use tonic::codec::CompressionEncoding;
use tonic::{Request, Response, Status};
use tonic_health::pb::health_server::{Health, HealthServer};

use super::origin::check_origin;
use super::state::AppState;
use super::status::list_topics;
use crate::bus::{Bus, Publishing};
use crate::engine::Receipt;
use crate::error::{Error, Result};
use crate::event::{EventParts, NewEvent};
use crate::limits;
use crate::topic::Filter;
use deadline::within_deadline;
pub(crate) use encoded::SmallBuffers;
#[cfg(fuzzing)]
pub(crate) use encoded::encode_event;
#[cfg(fuzzing)]
pub(crate) use subscribe::subscribe_request;

/// The generated code of the server, but for `Subscribe`, which [`subscribe`] answers.
#[allow(missing_docs, unreachable_pub, dead_code, clippy::pedantic)]
pub(crate) mod proto {
    include!(concat!(env!("OUT_DIR"), "/server/vidette.v1.rs"));
}

/// The generated code of a client, in which an event is a message like any other.
#[allow(missing_docs, unreachable_pub, clippy::pedantic)]
pub mod client_proto {
    include!(concat!(env!("OUT_DIR"), "/client/vidette.v1.rs"));
}

const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/vidette_descriptors.bin"));

/// What health is asked about: the gateway as a whole, and its service.
pub(crate) const HEALTH_SERVICES: [&str; 2] = ["", "vidette.v1.EventBus"];

/// The service, health and reflection, also for gRPC-web.
pub(super) fn routes(state: AppState, health: HealthServer<impl Health>) -> Router {
    let service = proto::event_bus_server::EventBusServer::new(EventBusService {
        state: state.clone(),
    })
    .max_decoding_message_size(limits::MAX_BODY_BYTES)
    .max_encoding_message_size(limits::PAGE_BYTES + limits::MAX_BODY_BYTES)
    .accept_compressed(CompressionEncoding::Gzip)
    .send_compressed(CompressionEncoding::Gzip);
    let (v1, v1alpha) = (reflection().build_v1(), reflection().build_v1alpha());
    let mut routes = tonic::service::Routes::builder();
    routes
        .add_service(service)
        .add_service(health)
        .add_service(v1.expect("descriptors of our own"))
        .add_service(v1alpha.expect("descriptors of our own"));
    let subscribe = Router::new()
        .route(subscribe::PATH, any(subscribe::subscribe))
        .with_state(state);
    let calls = routes
        .routes()
        .into_axum_router()
        .merge(subscribe)
        .layer(axum::middleware::map_response(name_too_large))
        .layer(axum::middleware::from_fn(within_deadline));
    // The fallback goes last: the gRPC-web layer would turn it into a 400 for every unknown
    // address.
    calls.layer(tonic_web::GrpcWebLayer::new()).reset_fallback()
}

/// tonic calls a request over its bound `OUT_OF_RANGE`, which is a gap here; too much is
/// `RESOURCE_EXHAUSTED`.
async fn name_too_large(response: axum::response::Response) -> axum::response::Response {
    match Status::from_header_map(response.headers()) {
        Some(status) if is_over_bound(&status) => too_large().into_http(),
        _ => response,
    }
}

fn is_over_bound(status: &Status) -> bool {
    status.code() == tonic::Code::OutOfRange && status.details().is_empty() // a gap has details
}

fn too_large() -> Status {
    Error::too_large(format!(
        "the request has more than {} bytes; send less at once",
        limits::MAX_BODY_BYTES
    ))
    .into()
}

fn reflection() -> tonic_reflection::server::Builder<'static> {
    tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(DESCRIPTORS)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_types::pb::FILE_DESCRIPTOR_SET) // for the details of a status
        .register_encoded_file_descriptor_set(tonic_reflection::pb::v1::FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_reflection::pb::v1alpha::FILE_DESCRIPTOR_SET)
}

struct EventBusService {
    state: AppState,
}

type BoxStream<T> = Pin<Box<dyn Stream<Item = std::result::Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl proto::event_bus_server::EventBus for EventBusService {
    async fn publish(
        &self,
        request: Request<proto::PublishRequest>,
    ) -> std::result::Result<Response<proto::PublishResponse>, Status> {
        self.check_origin(&request)?;
        let bus = &self.state.bus;
        let receipts = bus.publish(batch(bus, request.into_inner())?).await?;
        Ok(compressed_if_large(published(bus, &receipts)))
    }

    type PublishStreamStream = BoxStream<proto::PublishResponse>;

    async fn publish_stream(
        &self,
        request: Request<tonic::Streaming<proto::PublishRequest>>,
    ) -> std::result::Result<Response<Self::PublishStreamStream>, Status> {
        self.check_origin(&request)?;
        let answers = publish_all(self.state.bus.clone(), request.into_inner());
        let mut response: Response<Self::PublishStreamStream> = Response::new(Box::pin(answers));
        response.disable_compression(); // an acknowledgement is smaller as it is
        Ok(response)
    }

    async fn get_bus(
        &self,
        _: Request<proto::GetBusRequest>,
    ) -> std::result::Result<Response<proto::GetBusResponse>, Status> {
        let bus = &self.state.bus;
        let gauges = bus.gauges();
        Ok(compressed_if_large(proto::GetBusResponse {
            epoch: bus.engine().epoch().to_string(),
            first: gauges.first,
            last: gauges.last,
            events: gauges.events,
            bytes: gauges.bytes,
            subscribers: gauges.subscribers,
            engine: bus.engine().kind().into(),
            cursor: bus.cursor(gauges.last).to_string(),
        }))
    }

    async fn list_topics(
        &self,
        request: Request<proto::ListTopicsRequest>,
    ) -> std::result::Result<Response<proto::ListTopicsResponse>, Status> {
        let request = request.into_inner();
        let filter = Filter::parse(request.topic.iter().map(String::as_str))?;
        let page = list_topics(
            &self.state.bus,
            filter,
            request.limit,
            Some(&request.page_token),
        )
        .await?;
        Ok(compressed_if_large(proto::ListTopicsResponse {
            topics: page
                .topics
                .into_iter()
                .map(|(topic, vid)| proto::Topic {
                    topic: topic.to_string(),
                    vid,
                })
                .collect(),
            next_page_token: page
                .next_page_token
                .map(|t| t.to_string())
                .unwrap_or_default(),
        }))
    }
}

/// Most clients say that they take gzip, and it costs more than a short message takes on the wire.
fn compressed_if_large<M: prost::Message>(message: M) -> Response<M> {
    let is_small = message.encoded_len() < limits::COMPRESSED_FROM_BYTES;
    let mut response = Response::new(message);
    if is_small {
        response.disable_compression();
    }
    response
}

impl EventBusService {
    fn check_origin<T>(&self, request: &Request<T>) -> Result<()> {
        check_origin(
            &request.metadata().clone().into_headers(),
            &self.state.config.origins,
        )
    }
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
    requests: tonic::Streaming<proto::PublishRequest>,
) -> impl Stream<Item = std::result::Result<proto::PublishResponse, Status>> {
    let queued = until_closed(bus.clone(), requests).then({
        let bus = bus.clone();
        move |request| enqueue(bus.clone(), request)
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
    request: std::result::Result<proto::PublishRequest, Status>,
) -> std::result::Result<Publishing, Status> {
    let request = request.map_err(|status| {
        if is_over_bound(&status) {
            too_large()
        } else {
            status
        }
    })?;
    let batch = batch(&bus, request)?;
    Ok(bus.enqueue_when_there_is_room(batch).await?)
}
