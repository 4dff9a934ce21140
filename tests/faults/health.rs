//! How a gateway feels: `/readyz`, and gRPC health by the names that the contract has.

use tonic::transport::Channel;
use tonic::{Request, Streaming};
use tonic_health::pb::health_client::HealthClient;
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};

use crate::common::gateway::{Gateway, PATIENCE};

/// The status of a `GET`.
pub(crate) async fn status(gateway: &Gateway, path: &str) -> u16 {
    reqwest::get(format!("{}{path}", gateway.url()))
        .await
        .expect("an answer")
        .status()
        .as_u16()
}

/// The value of a line of `/metrics` that is a whole number.
pub(crate) async fn gauge(gateway: &Gateway, name: &str) -> u64 {
    let value = gateway.metric(name).await;
    value.to_string().parse().expect("a whole number")
}

fn asking(service: &str) -> Request<HealthCheckRequest> {
    Request::new(HealthCheckRequest {
        service: service.to_owned(),
    })
}

async fn client(gateway: &Gateway) -> HealthClient<Channel> {
    let channel = Channel::from_shared(gateway.url()).expect("an address");
    HealthClient::new(channel.connect().await.expect("a connection"))
}

/// What gRPC health says of a service.
pub(crate) async fn health_of(gateway: &Gateway, service: &str) -> &'static str {
    let answer = client(gateway).await.check(asking(service)).await;
    answer
        .expect("an answer")
        .into_inner()
        .status()
        .as_str_name()
}

/// What gRPC health says of a service from now on.
pub(crate) struct Watched(Streaming<HealthCheckResponse>);

pub(crate) async fn watch(gateway: &Gateway, service: &str) -> Watched {
    let answer = client(gateway).await.watch(asking(service)).await;
    Watched(answer.expect("a stream").into_inner())
}

impl Watched {
    /// The next change; the first is how it is now.
    pub(crate) async fn next(&mut self) -> &'static str {
        let next = tokio::time::timeout(PATIENCE, self.0.message()).await;
        let change = next.expect("a change in time").expect("no error");
        change.expect("the stream goes on").status().as_str_name()
    }
}
