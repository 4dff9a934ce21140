//! gRPC: `vidette.v1.EventBus`, with health and reflection (contract §5, §7).
//!
//! Invariants:
//! - tonic answers every call but `Subscribe`, of which it reads the request;
//! - requests are paid and timed as they come in, and those that are small by nature have a small
//!   bound;
//! - all of them fail with the same statuses, also on the way: more than the bound is
//!   `RESOURCE_EXHAUSTED`.

mod counted;
mod deadline;
mod encoded;
mod publish;
mod request;
mod steps;
mod subscribe;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request as HttpRequest, State};
use axum::middleware::{map_request_with_state, map_response, map_response_with_state};
use axum::response::Response as HttpResponse;
use http_body_util::BodyExt as _;
use tonic::codec::CompressionEncoding;
use tonic::{Request, Response, Status};
use tonic_health::pb::health_server::{Health, HealthServer};

use super::access::RequestCaller;
use super::counting::count_code_behind;
use super::metered::{GrpcMessages, Metered};
use super::pieces;
use super::state::AppState;
use super::status::{TopicList, list_topics};
use crate::bus::Bus;
use crate::error::Error;
use crate::limits;
use crate::memory::MemoryBudget;
use crate::topic::{Filter, Topic};
use deadline::within_deadline;
pub(crate) use encoded::SmallBuffers;
#[cfg(fuzzing)]
pub(crate) use encoded::encode_event;
#[cfg(fuzzing)]
pub(crate) use publish::batch;
#[cfg(fuzzing)]
pub(crate) use request::subscribe_request;

/// The generated code of the server, but for `Subscribe`, which [`subscribe`] answers, and for the
/// calls of [`publish`], whose requests are counted first.
#[allow(missing_docs, unreachable_pub, dead_code, clippy::pedantic)]
pub(crate) mod proto {
    include!(concat!(env!("OUT_DIR"), "/server/vidette.v1.rs"));
}

/// The messages as a client has them, in which an event is a message like any other.
pub(crate) use crate::proto as client_proto;

pub(super) const DESCRIPTORS: &[u8] =
    include_bytes!(concat!(env!("OUT_DIR"), "/vidette_descriptors.bin"));

/// What health is asked about: the gateway as a whole, and its service.
pub(crate) const HEALTH_SERVICES: [&str; 2] = ["", "vidette.v1.EventBus"];

/// Paths of the calls that publish.
pub(super) const PUBLISHING_CALLS: [&str; 2] = [publish::PATH, publish::STREAM_PATH];

/// The service, health and reflection, also for gRPC-web.
pub(super) fn routes(state: AppState, health: HealthServer<impl Health>) -> Router {
    let memory = state.bus.memory().clone();
    // `Subscribe` pays for its answer itself, page by page.
    let answers_in_whole = small_calls(service(state.clone()), health)
        .merge(publish::routes(state.clone()))
        .layer(map_response_with_state(state.clone(), count_code_behind))
        .layer(map_response_with_state(memory.clone(), pay));

    // The last layer sees a request first: its deadline runs while it is read, too.
    let calls = answers_in_whole
        .merge(subscribe::routes(state))
        .layer(map_request_with_state(memory, meter))
        .layer(map_response(name_too_large))
        .layer(axum::middleware::from_fn(within_deadline));
    // The fallback goes last: the gRPC-web layer would turn it into a 400 for every unknown
    // address.
    calls.layer(tonic_web::GrpcWebLayer::new()).reset_fallback()
}

type Service = proto::event_bus_server::EventBusServer<EventBusService>;

fn service(state: AppState) -> Service {
    // A listing of topics may be longer than a request, and is compressed where that pays.
    Service::new(EventBusService { state })
        .max_decoding_message_size(limits::SMALL_MESSAGE_BYTES)
        .max_encoding_message_size(limits::PAGE_BYTES + limits::MAX_BODY_BYTES)
        .accept_compressed(CompressionEncoding::Gzip)
        .send_compressed(CompressionEncoding::Gzip)
}

/// The calls whose requests are small by nature.
fn small_calls(service: Service, health: HealthServer<impl Health>) -> Router {
    let small = limits::SMALL_MESSAGE_BYTES;
    let (v1, v1alpha) = (reflection().build_v1(), reflection().build_v1alpha());
    let v1 = v1.expect("descriptors of our own");
    let v1alpha = v1alpha.expect("descriptors of our own");
    // An older client asks for the older version of reflection.
    let mut routes = tonic::service::Routes::builder();
    routes
        .add_service(service)
        .add_service(health.max_decoding_message_size(small))
        .add_service(v1.max_decoding_message_size(small))
        .add_service(v1alpha.max_decoding_message_size(small));
    routes.routes().into_axum_router()
}

/// Calls whose requests are streams of messages, with any time between them.
const STREAM_PATHS: [&str; 3] = [
    publish::STREAM_PATH,
    "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
];

/// Requests are paid and timed on their way to whoever reads them.
async fn meter(State(memory): State<MemoryBudget>, request: HttpRequest) -> HttpRequest {
    // A stream may rest between its messages; a single request has to end in time.
    let is_stream = STREAM_PATHS.contains(&request.uri().path());
    let metered = if is_stream {
        Metered::<GrpcMessages>::stream
    } else {
        Metered::single
    };
    request.map(|body| Body::new(metered(&memory, body).map_err(Status::from)))
}

/// Answers are paid until their connections have taken them.
async fn pay(State(memory): State<MemoryBudget>, response: HttpResponse) -> HttpResponse {
    pieces::paid(&memory, response)
}

/// tonic calls a request over its bound `OUT_OF_RANGE`, which is a gap here; too much is
/// `RESOURCE_EXHAUSTED`.
async fn name_too_large(response: HttpResponse) -> HttpResponse {
    let status = Status::from_header_map(response.headers());
    match status.filter(is_over_bound) {
        Some(status) => too_large(&status).into_http(),
        None => response,
    }
}

fn over_bound_as_too_large(status: Status) -> Status {
    if is_over_bound(&status) {
        too_large(&status)
    } else {
        status
    }
}

fn is_over_bound(status: &Status) -> bool {
    // A gap has the same code, but it has details.
    status.code() == tonic::Code::OutOfRange && status.details().is_empty()
}

fn too_large(status: &Status) -> Status {
    // tonic's text ends with the bound of the call.
    let most = status.message().rsplit("limit is: ").next();
    let most = most.unwrap_or_default();
    let detail = format!("the request has more than {most}; send less at once");
    Error::too_large(detail).into()
}

fn reflection() -> tonic_reflection::server::Builder<'static> {
    // Those of a status's details are among them, so that a client can show them.
    let descriptors = [
        DESCRIPTORS,
        tonic_health::pb::FILE_DESCRIPTOR_SET,
        tonic_types::pb::FILE_DESCRIPTOR_SET,
        tonic_reflection::pb::v1::FILE_DESCRIPTOR_SET,
        tonic_reflection::pb::v1alpha::FILE_DESCRIPTOR_SET,
    ];
    let builder = tonic_reflection::server::Builder::configure();
    descriptors.into_iter().fold(builder, |builder, set| {
        builder.register_encoded_file_descriptor_set(set)
    })
}

struct EventBusService {
    state: AppState,
}

#[tonic::async_trait]
impl proto::event_bus_server::EventBus for EventBusService {
    async fn get_bus(
        &self,
        request: Request<proto::GetBusRequest>,
    ) -> std::result::Result<Response<proto::GetBusResponse>, Status> {
        // The state of the log is for everybody who may do anything with it.
        RequestCaller::of(request.extensions())?.check_any_right()?;
        let answer = log_state(&self.state.bus);
        Ok(compressed_if_large(answer))
    }

    async fn list_topics(
        &self,
        request: Request<proto::ListTopicsRequest>,
    ) -> std::result::Result<Response<proto::ListTopicsResponse>, Status> {
        let caller = RequestCaller::of(request.extensions())?;
        let request = request.into_inner();
        let filter = Filter::parse(request.topic.iter().map(String::as_str))?;
        let (bus, token) = (&self.state.bus, Some(&*request.page_token));
        let list = list_topics(bus, &caller, filter, request.limit, token).await?;
        Ok(compressed_if_large(list.into()))
    }
}

fn log_state(bus: &Bus) -> proto::GetBusResponse {
    // Of one moment: a reader may resume from this cursor.
    let (log, bounds) = bus.log_and_bounds();
    let sizes = bus.sizes();
    proto::GetBusResponse {
        epoch: log.epoch().to_string(),
        first: bounds.first,
        last: bounds.last,
        events: sizes.events,
        bytes: sizes.bytes,
        subscribers: bus.subscribers() as u64,
        engine: bus.engine_kind().into(),
        cursor: log.cursor(bounds.last).to_string(),
    }
}

impl From<TopicList> for proto::ListTopicsResponse {
    fn from(list: TopicList) -> Self {
        let token = list.next_page_token.map(|topic| topic.to_string());
        let topics = list.topics.into_iter().map(proto::Topic::from);
        proto::ListTopicsResponse {
            topics: topics.collect(),
            next_page_token: token.unwrap_or_default(),
        }
    }
}

impl From<(Topic, u64)> for proto::Topic {
    fn from((topic, vid): (Topic, u64)) -> Self {
        let topic = topic.to_string();
        proto::Topic { topic, vid }
    }
}

/// Most clients say that they take gzip, and it costs more than a short message takes on the wire.
fn compressed_if_large<M: prost::Message>(message: M) -> Response<M> {
    let length = message.encoded_len();
    let mut response = Response::new(message);
    if length < limits::COMPRESSED_FROM_BYTES {
        response.disable_compression();
    }
    response
}
