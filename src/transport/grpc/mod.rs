//! The gRPC face, `vidette.v1.EventBus`, with health and reflection (contract §5, §7).
//!
//! Invariants:
//! - what subscribers read alike is encoded once, and a stream copies those bytes;
//! - a stream's last word is a status: `UNAVAILABLE` after `Closing`, `OUT_OF_RANGE` with the gap in its details.

mod encoded;

use std::pin::Pin;

use async_stream::stream;
use axum::Router;
use bytes::Bytes;
use futures_util::StreamExt as _;
use jiff::Timestamp;
use tokio_stream::Stream;
use tonic::{Request, Response, Status};
use tonic_health::pb::health_server::{Health, HealthServer};

use super::origin::check_origin;
use super::request::StartTexts;
use super::state::AppState;
use super::status::list_topics;
use crate::bus::{Bus, OnGap, Publishing, Step, SubscribeRequest, Subscription};
use crate::cursor::Gap;
use crate::engine::Receipt;
use crate::error::{Error, Result};
use crate::event::{EventParts, NewEvent};
use crate::limits;
use crate::topic::Filter;
#[cfg(fuzzing)]
pub(crate) use encoded::encode_event;
pub(crate) use encoded::{EncodedResponse, SmallBuffers};

/// The generated code of the server; what it sends to subscribers is [`EncodedResponse`] instead.
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
    let service = proto::event_bus_server::EventBusServer::new(EventBusService { state })
        .max_decoding_message_size(limits::MAX_BODY_BYTES)
        .max_encoding_message_size(limits::PAGE_BYTES + limits::MAX_BODY_BYTES);
    let (v1, v1alpha) = (reflection().build_v1(), reflection().build_v1alpha());
    let mut routes = tonic::service::Routes::builder();
    routes
        .add_service(service)
        .add_service(health)
        .add_service(v1.expect("descriptors of our own"))
        .add_service(v1alpha.expect("descriptors of our own"));
    let calls = routes.routes().into_axum_router().layer(axum::middleware::map_response(name_too_large));
    // The fallback goes last: the gRPC-web layer would turn it into a 400 for every unknown address.
    calls.layer(tonic_web::GrpcWebLayer::new()).reset_fallback()
}

/// tonic calls a request over its bound `OUT_OF_RANGE`, which is a gap here; too much is `RESOURCE_EXHAUSTED`.
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
    Error::too_large(format!("the request has more than {} bytes; send less at once", limits::MAX_BODY_BYTES)).into()
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
        Ok(Response::new(published(bus, &receipts)))
    }

    type PublishStreamStream = BoxStream<proto::PublishResponse>;

    async fn publish_stream(
        &self,
        request: Request<tonic::Streaming<proto::PublishRequest>>,
    ) -> std::result::Result<Response<Self::PublishStreamStream>, Status> {
        self.check_origin(&request)?;
        let answers = publish_all(self.state.bus.clone(), request.into_inner());
        Ok(Response::new(Box::pin(answers)))
    }

    type SubscribeStream = BoxStream<EncodedResponse>;

    async fn subscribe(
        &self,
        request: Request<proto::SubscribeRequest>,
    ) -> std::result::Result<Response<Self::SubscribeStream>, Status> {
        let bus = self.state.bus.clone();
        let subscription = Subscription::open(&bus, subscribe_request(&request.into_inner())?).await?;
        subscription.share_connection();
        Ok(Response::new(Box::pin(responses(bus, subscription))))
    }

    async fn get_bus(
        &self,
        _: Request<proto::GetBusRequest>,
    ) -> std::result::Result<Response<proto::GetBusResponse>, Status> {
        let bus = &self.state.bus;
        let gauges = bus.gauges();
        Ok(Response::new(proto::GetBusResponse {
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
        let page = list_topics(&self.state.bus, filter, request.limit, Some(&request.page_token)).await?;
        Ok(Response::new(proto::ListTopicsResponse {
            topics: page
                .topics
                .into_iter()
                .map(|(topic, vid)| proto::Topic { topic: topic.to_string(), vid })
                .collect(),
            next_page_token: page.next_page_token.map(|t| t.to_string()).unwrap_or_default(),
        }))
    }
}

impl EventBusService {
    fn check_origin<T>(&self, request: &Request<T>) -> Result<()> {
        check_origin(&request.metadata().clone().into_headers(), &self.state.config.origins)
    }
}

pub(crate) fn batch(bus: &Bus, request: proto::PublishRequest) -> Result<Vec<NewEvent>> {
    let max_event_bytes = bus.options().max_event_bytes;
    let checked = request.events.into_iter().enumerate().map(|(index, event)| {
        let parts = EventParts {
            topic: &event.topic,
            kind: Some(&event.r#type),
            id: Some(&event.id),
            content_type: Some(&event.content_type),
            headers: sorted(event.headers),
            // Copied, so that a small event does not keep the whole request in memory.
            data: Bytes::copy_from_slice(&event.data),
        };
        NewEvent::check(parts, max_event_bytes).map_err(|e| e.at(&format!("event {} of the batch", index + 1)))
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

/// The requests, until the gateway closes: then what was taken is still acknowledged, and the last word says why.
fn until_closed<T>(
    bus: Bus,
    requests: impl Stream<Item = std::result::Result<T, Status>>,
) -> impl Stream<Item = std::result::Result<T, Status>> {
    let (closing, closed) = (bus.clone(), async move { bus.closed().await });
    let last_word = async move { closing.is_closing().then(|| Err(Error::closing().into())) };
    requests.take_until(Box::pin(closed)).chain(futures_util::stream::once(last_word).filter_map(std::future::ready))
}

async fn enqueue(
    bus: Bus,
    request: std::result::Result<proto::PublishRequest, Status>,
) -> std::result::Result<Publishing, Status> {
    let request = request.map_err(|status| if is_over_bound(&status) { too_large() } else { status })?;
    let batch = batch(&bus, request)?;
    Ok(bus.enqueue_when_there_is_room(batch).await?)
}

pub(crate) fn subscribe_request(request: &proto::SubscribeRequest) -> Result<SubscribeRequest> {
    let on_gap = match proto::OnGap::try_from(request.on_gap) {
        Ok(proto::OnGap::Unspecified | proto::OnGap::Continue) => OnGap::Continue,
        Ok(proto::OnGap::Fail) => OnGap::Fail,
        Err(_) => return Err(Error::bad_request(format!("on_gap = {} is no value of OnGap", request.on_gap))),
    };
    if request.limit > limits::MAX_LIMIT {
        return Err(Error::bad_request(format!("limit is more than {}", limits::MAX_LIMIT)));
    }
    let start = StartTexts {
        after: Some(&*request.after).filter(|t| !t.is_empty()),
        since: Some(&*request.since).filter(|t| !t.is_empty()),
        snapshot: request.snapshot,
    };
    Ok(SubscribeRequest {
        filter: Filter::parse(request.topic.iter().map(String::as_str))?,
        start: start.parse(Timestamp::now())?,
        on_gap,
        limit: Some(request.limit).filter(|limit| *limit > 0),
    })
}

fn responses(
    bus: Bus,
    mut subscription: Subscription,
) -> impl Stream<Item = std::result::Result<EncodedResponse, Status>> {
    stream! {
        let mut is_closing = false;
        while let Some(answer) = answer(&bus, subscription.next().await, &mut is_closing) {
            let is_last = answer.is_err();
            yield answer;
            if is_last {
                break;
            }
        }
    }
}

fn answer(
    bus: &Bus,
    next: Result<Option<Step>>,
    is_closing: &mut bool,
) -> Option<std::result::Result<EncodedResponse, Status>> {
    match next {
        Ok(Some(step)) => {
            *is_closing = matches!(step, Step::Closing { .. });
            Some(Ok(message(bus, step)))
        }
        Ok(None) => is_closing.then(|| Err(Error::closing().into())),
        Err(fault) => Some(Err(fault.into())),
    }
}

fn message(bus: &Bus, step: Step) -> EncodedResponse {
    use client_proto::subscribe_response::Message;
    let cursor = |vid| bus.cursor(vid).to_string();
    EncodedResponse::of(match step {
        Step::Events(batch, position) => return EncodedResponse::of_batch(&batch, || cursor(position)),
        Step::Hello { epoch, first, last, heartbeat } => {
            let heartbeat_ms = u32::try_from(heartbeat.as_millis()).unwrap_or(u32::MAX);
            Message::Hello(client_proto::Hello { epoch: epoch.to_string(), first, last, heartbeat_ms })
        }
        Step::CaughtUp(vid) => Message::CaughtUp(client_proto::CaughtUp { cursor: cursor(vid) }),
        Step::Progress(vid) => Message::Progress(client_proto::Progress { cursor: cursor(vid) }),
        Step::Gap(gap) => Message::Gap(gap.into()),
        Step::Closing { retry_ms } => Message::Closing(client_proto::Closing { reason: "shutdown".into(), retry_ms }),
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
