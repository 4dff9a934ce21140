//! A publisher whose connection breaks, and which sends again under the same ids until it is
//! acknowledged.

use std::sync::Arc;
use std::time::Duration;

use crate::common::publisher::{Draft, Publisher, Way};
use crate::network::Network;
use crate::shared::Shared;

/// How long a publisher waits for an answer.
const ANSWER: Duration = Duration::from_secs(4);

pub(crate) const TOPICS: [&str; 5] = [
    "history.a",
    "history.b",
    "history.c",
    "history.d",
    "history.rare",
];

struct Writer {
    way: Way,
    network: Network,
    publisher: Publisher,
    random: fastrand::Rng,
    shared: Arc<Shared>,
}

/// Publishes until it is stopped; returns when everything is acknowledged.
pub(crate) async fn write(name: String, way: Way, shared: Arc<Shared>, seed: u64) {
    let network = Network::before(shared.gateway).await;
    let publisher = Publisher::new(way, &network.url());
    let mut writer = Writer {
        way,
        network,
        publisher,
        random: fastrand::Rng::with_seed(seed),
        shared: shared.clone(),
    };
    let mut serial = 0_u64;
    while !shared.is_stopped() {
        let drafts: Vec<Draft> = (0..writer.random.usize(1..=6))
            .map(|_| {
                serial += 1;
                writer.draft(format!("{name}-{serial}"))
            })
            .collect();
        shared.history().sending(shared.now(), &drafts);
        writer.publish(&drafts).await;
        // Now and then what is acknowledged is sent again, as a publisher does that never got the
        // answer.
        if writer.random.u8(..) < 25 {
            writer.publish(&drafts).await;
        }
        tokio::time::sleep(Duration::from_millis(writer.random.u64(..150))).await;
    }
}

impl Writer {
    fn draft(&mut self, id: String) -> Draft {
        let topic = TOPICS[if self.random.u8(..) < 3 {
            4
        } else {
            self.random.usize(..4)
        }];
        let bytes = if self.random.u8(..) < 30 {
            20_000
        } else {
            self.random.usize(..300)
        };
        // The data names its id, so that no two events look alike.
        Draft {
            data: format!("[\"{id}\",\"{}\"]", "x".repeat(bytes)),
            ..Draft::new(topic, id)
        }
    }

    async fn publish(&mut self, mut drafts: &[Draft]) {
        let is_batch = matches!(self.way, Way::Events | Way::Publish);
        while !drafts.is_empty() {
            let (error, after) = (
                self.random.u8(..),
                Duration::from_micros(self.random.u64(..6000)),
            );
            let breaking = async {
                tokio::time::sleep(after).await;
                match error {
                    0..=4 => self.network.cut().await,
                    5 => self.network.silence(),
                    _ => return,
                }
                let mut history = self.shared.history();
                if error == 5 {
                    history.done.silences += 1;
                } else {
                    history.done.cuts += 1;
                }
            };
            let publishing = tokio::time::timeout(ANSWER, self.publisher.publish(drafts));
            let (outcome, ()) = tokio::join!(publishing, breaking);
            let Ok(outcome) = outcome else {
                self.network.mend();
                self.publisher = Publisher::new(self.way, &self.network.url());
                continue;
            };
            let now = self.shared.now();
            self.shared.history().acknowledged(
                now,
                drafts,
                &outcome.acks,
                is_batch && outcome.error.is_none(),
            );
            drafts = &drafts[outcome.acks.len()..];
            if outcome.error.is_some() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
        self.network.mend();
    }
}
