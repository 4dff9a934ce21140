//! A gateway with a Gearman source, and what came out of it.

use std::net::SocketAddr;

use serde_json::{Value, json};

use crate::common::gateway::{Gateway, Setup};
use crate::job_server::JobServer;

/// A configuration that takes `getmsg` from these servers.
pub(crate) fn source(servers: &[SocketAddr]) -> String {
    let servers: Vec<String> = servers.iter().map(ToString::to_string).collect();
    format!(
        "[[source.gearman]]\nservers = {servers:?}\nfunction = \"getmsg\"\n\
         topic = \"door.{{doorno}}\"\n"
    )
}

pub(crate) fn gateway_of(servers: &[SocketAddr]) -> Gateway {
    gateway_with(&source(servers))
}

pub(crate) fn gateway_with(config: &str) -> Gateway {
    Gateway::start_on_a_port_of_its_own(Setup {
        config: config.to_owned(),
        ..Setup::default()
    })
}

/// A record as the doors write it.
pub(crate) fn record(number: u64) -> String {
    let record = json!({
        "vid": 900,
        "doorno": number % 5,
        "rfsim": number.to_string(),
        "optime": "2008-05-12 14:28:04",
        "ynopen": 1
    });
    record.to_string()
}

/// All retained events of a topic, by long-poll.
pub(crate) async fn events(gateway: &Gateway, topic: &str) -> Vec<Value> {
    let (mut events, mut after) = (Vec::new(), "earliest".to_owned());
    loop {
        let page = gateway
            .get(&format!("/v1/poll?after={after}&topic={topic}&wait=0"))
            .await;
        events.extend(page["events"].as_array().expect("events").iter().cloned());
        page["cursor"]
            .as_str()
            .expect("a cursor")
            .clone_into(&mut after);
        if page["up_to_date"] == true {
            return events;
        }
    }
}

/// The numbers of the records in the log, in its order.
pub(crate) async fn numbers(gateway: &Gateway) -> Vec<u64> {
    let number = |event: &Value| {
        event["data"]["rfsim"]
            .as_str()
            .and_then(|n| n.parse().ok())
            .expect("a record")
    };
    events(gateway, "door.>").await.iter().map(number).collect()
}

/// A field of the first source in `/v1/bus`.
pub(crate) async fn of_source(gateway: &Gateway, field: &str) -> Value {
    gateway.get("/v1/bus").await["sources"][0][field].clone()
}

pub(crate) async fn until_state(gateway: &Gateway, state: &str) {
    gateway
        .until(state, || async {
            of_source(gateway, "state").await == state
        })
        .await;
}

/// Waits until the job server has no job left.
pub(crate) async fn until_done(gateway: &Gateway, server: &JobServer) {
    gateway
        .until("no job is left", || async { server.jobs() == 0 })
        .await;
}
