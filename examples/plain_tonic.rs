//! A simple server for comparison, written in an afternoon: tonic and one
//! `tokio::sync::broadcast` channel for each topic.
//!
//! It speaks `vidette.v1.EventBus/Subscribe` with the messages of the gateway, so the same client
//! reads both; `POST /pub/TOPIC` publishes its body. No resuming, nothing retained: a reader that
//! falls behind its channel loses events and is not notified. Prints the address on which it
//! listens.

use std::collections::HashMap;
use std::error::Error;
use std::future::{Ready, ready};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::routing::post;
use futures_util::{Stream, StreamExt as _};
use tokio::sync::broadcast;
use tokio_stream::wrappers::BroadcastStream;
use tonic::server::{Grpc, ServerStreamingService};
use tonic::service::Routes;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status};
use tonic_prost::ProstCodec;
use vidette::proto::subscribe_response::Message;
use vidette::proto::{Event, EventBatch, SubscribeRequest, SubscribeResponse};

/// Events a channel keeps for readers that are late.
const CAPACITY: usize = 1024;
/// As many streams for each connection as the gateway allows, so that both can have the same load.
const STREAMS: u32 = 1024;

#[derive(Clone, Default)]
struct Topics {
    channels: Arc<Mutex<HashMap<String, broadcast::Sender<SubscribeResponse>>>>,
    last: Arc<AtomicU64>,
}

impl Topics {
    fn channel(&self, topic: String) -> broadcast::Sender<SubscribeResponse> {
        let mut channels = self.channels.lock().unwrap_or_else(PoisonError::into_inner);
        channels
            .entry(topic)
            .or_insert_with(|| broadcast::Sender::new(CAPACITY))
            .clone()
    }
}

async fn publish(
    State(topics): State<Topics>,
    Path(topic): Path<String>,
    data: String,
) -> &'static str {
    let vid = topics.last.fetch_add(1, Ordering::Relaxed) + 1;
    let (time, content_type) = (Some(SystemTime::now().into()), "text/plain".to_owned());
    let event = Event {
        vid,
        topic: topic.clone(),
        time,
        content_type,
        data: data.into(),
        ..Event::default()
    };
    let batch = EventBatch {
        events: vec![event],
        cursor: vid.to_string(),
    };
    let _ = topics.channel(topic).send(SubscribeResponse {
        message: Some(Message::Events(batch)),
    });
    "published"
}

/// The method, as tonic's generated code has it.
struct Subscribe(Topics);

impl ServerStreamingService<SubscribeRequest> for Subscribe {
    type Response = SubscribeResponse;
    type ResponseStream = Pin<Box<dyn Stream<Item = Result<SubscribeResponse, Status>> + Send>>;
    type Future = Ready<Result<Response<Self::ResponseStream>, Status>>;

    fn call(&mut self, request: Request<SubscribeRequest>) -> Self::Future {
        let topic = request.into_inner().topic.pop().unwrap_or_default();
        let events = BroadcastStream::new(self.0.channel(topic).subscribe());
        ready(Ok(Response::new(
            events
                .filter_map(async |event| Some(Ok(event.ok()?)))
                .boxed(),
        )))
    }
}

async fn subscribe(
    State(topics): State<Topics>,
    request: http::Request<Body>,
) -> http::Response<tonic::body::Body> {
    Grpc::new(ProstCodec::default())
        .server_streaming(Subscribe(topics), request)
        .await
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let router = Router::new()
        .route("/vidette.v1.EventBus/Subscribe", post(subscribe))
        .route("/pub/{topic}", post(publish))
        .with_state(Topics::default());
    let incoming = TcpIncoming::bind("127.0.0.1:0".parse()?)?.with_nodelay(Some(true));
    println!("listening on http://{}", incoming.local_addr()?);
    let mut server = Server::builder()
        .accept_http1(true)
        .max_concurrent_streams(STREAMS); // HTTP/1 for those who publish
    server
        .add_routes(Routes::from(router))
        .serve_with_incoming(incoming)
        .await?;
    Ok(())
}
