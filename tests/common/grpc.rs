//! gRPC server streaming, by the generated client.

use std::collections::VecDeque;

use tonic::service::interceptor::InterceptedService;
use tonic::transport::Channel;
use tonic::{Code, Status, Streaming};
use vidette::proto::event_bus_client::EventBusClient;
use vidette::proto::subscribe_response::Message;
use vidette::proto::{self, OnGap, SubscribeRequest, SubscribeResponse};

use super::read::{Data, Gap, Refused, Seen, Step, SubscribeParams};
use super::secure::{self, Credentials};

pub struct GrpcReader {
    responses: Streaming<SubscribeResponse>,
    ready: VecDeque<Step>,
}

/// The generated client, with what a gateway asks for.
pub type GrpcClient = EventBusClient<InterceptedService<Channel, Credentials>>;

/// A client that is connected.
pub async fn connect(url: &str) -> Result<GrpcClient, tonic::transport::Error> {
    let channel = secure::endpoint(url).connect().await?;
    let credentials = Credentials::for_gateway(url);
    Ok(EventBusClient::with_interceptor(channel, credentials))
}

/// A client for other calls.
pub async fn client(url: &str) -> GrpcClient {
    let client = connect(url).await.expect("a connection");
    client
        .max_decoding_message_size(64 << 20)
        .max_encoding_message_size(64 << 20)
}

impl GrpcReader {
    pub async fn open(url: &str, params: &SubscribeParams) -> Result<Self, Refused> {
        let mut client = connect(url)
            .await
            .map_err(|e| Refused::Unavailable(e.to_string()))?;
        let request = SubscribeRequest {
            topic: params.topics.clone(),
            after: params.after.clone().unwrap_or_default(),
            since: params.since.clone().unwrap_or_default(),
            snapshot: params.snapshot,
            on_gap: if params.fail_on_gap {
                OnGap::Fail
            } else {
                OnGap::Unspecified
            }
            .into(),
            limit: params.limit.unwrap_or(0),
        };
        // The default bound of a client, 4 MiB, has to be enough.
        let responses = client
            .subscribe(request)
            .await
            .map_err(|s| refused(&s))?
            .into_inner();
        Ok(GrpcReader {
            responses,
            ready: VecDeque::new(),
        })
    }

    pub async fn next(&mut self) -> Result<Option<Step>, Refused> {
        loop {
            if let Some(step) = self.ready.pop_front() {
                return Ok(Some(step));
            }
            match self.responses.message().await {
                Ok(Some(response)) => self.ready.extend(steps(response)),
                Ok(None) => return Ok(None),
                Err(status) => return Err(refused(&status)),
            }
        }
    }
}

fn steps(response: SubscribeResponse) -> Vec<Step> {
    match response.message.expect("one of the messages") {
        Message::Hello(hello) => vec![Step::Hello {
            epoch: hello.epoch,
            first: hello.first,
            last: hello.last,
        }],
        Message::Events(batch) => {
            let epoch = batch
                .cursor
                .split_once('-')
                .expect("a full cursor")
                .1
                .to_owned();
            batch
                .events
                .into_iter()
                .map(|event| Step::Event(seen(&event), format!("{}-{epoch}", event.vid)))
                .collect()
        }
        Message::CaughtUp(caught_up) => vec![Step::CaughtUp(caught_up.cursor)],
        Message::Progress(progress) => vec![Step::Progress(progress.cursor)],
        Message::Gap(reported) => vec![Step::Gap(gap(reported))],
        Message::Closing(_) => vec![Step::Closing],
    }
}

fn gap(gap: proto::Gap) -> Gap {
    Gap {
        reason: gap.reason,
        requested: gap.requested,
        first: gap.first,
        last: gap.last,
        epoch: gap.epoch,
    }
}

fn seen(event: &proto::Event) -> Seen {
    let time = event.time.expect("a time");
    let text = || String::from_utf8(event.data.to_vec()).expect("UTF-8");
    let data = match event.content_type.as_str() {
        t if t.contains("json") => Data::Json(text()),
        t if t.starts_with("text/") => Data::Text(text()),
        _ => Data::Bytes(event.data.to_vec()),
    };
    Seen {
        vid: event.vid,
        topic: event.topic.clone(),
        time_ms: time.seconds * 1000 + i64::from(time.nanos / 1_000_000),
        kind: event.r#type.clone(),
        id: event.id.clone(),
        data,
    }
}

fn refused(status: &Status) -> Refused {
    let detail = status.message().to_owned();
    match status.code() {
        Code::InvalidArgument => Refused::BadRequest(detail),
        Code::OutOfRange => Refused::Gap(gap_of(status)),
        Code::ResourceExhausted => Refused::TooMuch(detail),
        Code::Unavailable => Refused::Unavailable(detail),
        // What a client makes of a connection that broke.
        Code::Unknown | Code::Internal | Code::Cancelled => {
            Refused::Unavailable(format!("{status:?}"))
        }
        _ => Refused::Other(format!("{status:?}")),
    }
}

/// The gap in a status's details.
fn gap_of(status: &Status) -> Gap {
    use prost::Message as _;
    let details = tonic_types::pb::Status::decode(status.details()).expect("google.rpc.Status");
    let any = details.details.first().expect("a detail");
    assert_eq!(any.type_url, "type.googleapis.com/vidette.v1.Gap");
    gap(proto::Gap::decode(any.value.as_slice()).expect("a gap"))
}
