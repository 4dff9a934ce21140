//! What is done to the stream behind the back of all gateways, by its administrator or by any
//! client of NATS.

use std::time::Duration;

use async_nats::HeaderMap;
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::common::publisher::{Draft, Publisher, Way};
use crate::faults::Fault;
use crate::record::Place;
use crate::stage::{NO_EVENT, Stage};

/// How often a thing is done, so that one of the times meets a reader in a bad moment.
const ROUNDS: u32 = 5;
const BETWEEN: Duration = Duration::from_millis(300);

impl Stage<'_> {
    pub(crate) async fn administer(&mut self, fault: Fault) {
        match fault {
            Fault::MaxBytes => self.limit_bytes().await,
            Fault::PurgeAll => drop(self.stream().purge(&json!({})).await),
            Fault::PurgeTo => {
                let to = self.last().await - 10;
                self.stream().purge(&json!({ "seq": to })).await;
            }
            Fault::PurgeAhead => {
                let to = self.last().await + 1000;
                self.stream().purge(&json!({ "seq": to })).await;
            }
            Fault::DeleteSome => self.delete_some().await,
            Fault::EditMark => {
                let edit = |config: &mut Value| {
                    config["metadata"]["vidette.epoch"] = "edited".into();
                };
                self.stream().update(edit).await;
            }
            Fault::Recreate => self.stream().recreate().await,
            Fault::DeleteConsumers => self.delete_consumers().await,
            Fault::OutsideBatch => self.publish_batches().await,
            Fault::OutsideId => self.publish_ids().await,
            Fault::SpoofedHeaders => self.spoof().await,
            Fault::BadSubjects => self.publish_no_events().await,
            other => unreachable!("{other:?} is not done to the stream"),
        }
    }

    async fn last(&self) -> u64 {
        let info = self.stream().until_info().await;
        info["state"]["last_seq"].as_u64().expect("a number")
    }

    async fn limit_bytes(&self) {
        let info = self.stream().until_info().await;
        let bytes = info["state"]["bytes"].as_u64().expect("a number");
        self.stream()
            .update(|config| config["max_bytes"] = (bytes / 2).into())
            .await;
        sleep(BETWEEN * ROUNDS).await;
    }

    async fn delete_some(&mut self) {
        for _ in 0..ROUNDS {
            let vid = self.last().await;
            self.deleted.insert(vid);
            self.stream().delete_message(vid).await;
            sleep(BETWEEN).await;
        }
    }

    async fn delete_consumers(&self) {
        for _ in 0..ROUNDS {
            for (name, _) in self.stream().consumers().await {
                // It may have gone by itself.
                let _ = self.stream().delete_consumer(&name).await;
            }
            sleep(BETWEEN).await;
        }
    }

    /// Stores a message; the answer of the stream.
    async fn store(&self, topic: &str, headers: HeaderMap, data: String) -> Value {
        let stream = self.stream();
        let subject = format!("{}.{topic}", stream.name);
        let request = async_nats::Request::new()
            .headers(headers)
            .payload(data.into());
        let answer = stream.client().send_request(subject, request).await;
        let answer = answer.expect("an answer of the stream");
        serde_json::from_slice(&answer.payload).unwrap_or_default()
    }

    async fn publish_batches(&self) {
        for round in 0..ROUNDS {
            for number in 1..=4 {
                let mut headers = HeaderMap::new();
                headers.insert("Nats-Batch-Id", format!("outside{round}"));
                headers.insert("Nats-Batch-Sequence", number.to_string());
                if number == 4 {
                    headers.insert("Nats-Batch-Commit", "1");
                }
                let data = format!("\"outside {round} {number}\"");
                if number == 1 || number == 4 {
                    self.store("outside", headers, data).await;
                } else {
                    let subject = format!("{}.outside", self.stream().name);
                    let client = self.stream().client();
                    let sent = client.publish_with_headers(subject, headers, data.into());
                    sent.await.expect("it is sent");
                }
            }
            sleep(BETWEEN).await;
        }
    }

    /// Ids that a gateway has stored, and ids that a gateway is given afterwards.
    async fn publish_ids(&self) {
        for round in 0..ROUNDS {
            let known = self.record.history().acknowledged.last().cloned();
            let known = known.expect("something was acknowledged");
            let mut headers = HeaderMap::new();
            headers.insert("Nats-Msg-Id", known.id.as_str());
            let answer = self.store("outside", headers, NO_EVENT.to_owned()).await;
            assert_eq!(
                (&answer["duplicate"], &answer["seq"]),
                (&true.into(), &known.place.vid.into())
            );

            let id = format!("outside-{round}");
            let mut headers = HeaderMap::new();
            headers.insert("Nats-Msg-Id", id.as_str());
            let answer = self.store("outside", headers, format!("\"{id}\"")).await;
            let mut publisher = Publisher::new(Way::Events, &self.urls()[1]);
            let acks = publisher.publish(&[Draft::new("outside", id)]).await.all();
            assert!(acks[0].duplicate);
            assert_eq!(Some(Place::of(&acks[0].cursor).vid), answer["seq"].as_u64());
            sleep(BETWEEN).await;
        }
    }

    async fn spoof(&self) {
        for round in 0..ROUNDS {
            let mut headers = HeaderMap::new();
            headers.insert("Nats-Sequence", "99");
            headers.insert("Nats-Subject", "evil");
            headers.insert("Nats-Time-Stamp", "2001-01-01T00:00:00Z");
            headers.insert("Nats-Num-Pending", "0");
            headers.insert("Status", "204");
            let data = format!("\"spoofed {round}\"");
            self.store("outside", headers, data).await;
            sleep(BETWEEN).await;
        }
    }

    /// Subjects that are no topics.
    async fn publish_no_events(&self) {
        let long = ["a"; 17].join(".");
        let topics = ["a.*", "a.>", "vidette.own", "a\u{a0}b", long.as_str()];
        for _ in 0..ROUNDS {
            for topic in topics {
                self.store(topic, HeaderMap::new(), NO_EVENT.to_owned())
                    .await;
            }
            sleep(BETWEEN).await;
        }
    }
}
