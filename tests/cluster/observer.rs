//! Watches gateways and the stream from outside while things fail.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::{sleep, timeout};

use crate::common::nats_stream::NatsStream;
use crate::record::{Health, Record};

/// A gateway that is not in touch with the log says so; one that could only not store what was
/// published last gives another advice.
const BEHIND: &str = "try again shortly or elsewhere, with the same cursor";
/// Between two looks.
const EVERY: Duration = Duration::from_millis(100);
/// The longest that a gateway or a server has to answer.
const ANSWER: Duration = Duration::from_millis(500);

/// Notes whether a gateway is ready, and whether one that is not answers polls.
pub(crate) async fn watch_gateway(gateway: usize, url: String, record: Arc<Record>) {
    let client = reqwest::Client::new();
    let mut before = Health::Green;
    loop {
        let health = health(&client, &url).await;
        let at = record.now();
        let of_gateway = |health| {
            let mut history = record.history();
            history
                .health
                .entry(gateway)
                .or_default()
                .push((at, health));
        };
        of_gateway(health);
        if (before, health) == (Health::Red, Health::Red) {
            let poll = format!("{url}/v1/poll?after=earliest&wait=0");
            let served = client.get(poll).timeout(ANSWER).send().await;
            let is_served = served.is_ok_and(|answer| answer.status().is_success());
            // It may have become ready meanwhile.
            if is_served && self::health(&client, &url).await == Health::Red {
                record.history().served_while_red += 1;
            }
        }
        before = health;
        sleep(EVERY).await;
    }
}

async fn health(client: &reqwest::Client, url: &str) -> Health {
    let ready = client.get(format!("{url}/readyz")).timeout(ANSWER);
    match ready.send().await {
        Ok(answer) if answer.status().is_success() => Health::Green,
        Ok(answer) => match answer.text().await {
            Ok(text) if text.contains(BEHIND) => Health::Red,
            Ok(_) => Health::NotWritable,
            Err(_) => Health::Unreachable,
        },
        Err(_) => Health::Unreachable,
    }
}

/// Notes who leads the stream; each server is asked.
pub(crate) async fn watch_leader(streams: Vec<NatsStream>, record: Arc<Record>) {
    loop {
        let asked = streams
            .iter()
            .map(|stream| timeout(ANSWER, stream.leader()));
        let leaders = join_all(asked).await;
        let leader = leaders.into_iter().filter_map(Result::ok).flatten().next();
        let at = record.now();
        record.history().leaders.push((at, leader));
        sleep(EVERY).await;
    }
}
