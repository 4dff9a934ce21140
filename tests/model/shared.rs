//! Two gateways on one log that others append to as well, while the ways to it misbehave and the
//! log is trimmed and replaced. Whatever happens, each reader sees one log after another: nothing
//! lost, repeated or out of order without a gap that says so.

use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use proptest::sample::select;
use serde_json::json;
use tokio::task::JoinHandle;

use crate::common::in_process::{InProcessGateway, Setup};
use crate::common::read::{ALL, Reader, SubscribeParams};
use crate::common::shared_log::{Confirmation, Link, LinkSettings, SharedLog};
use crate::witness::{LAST_TOPIC, Witness};

const TOPICS: [&str; 5] = ["a", "a.1", "a.2", "b.1", "b.1.x"];
const GATEWAYS: usize = 2;
const SETUP: Setup = Setup {
    heartbeat: Duration::from_millis(50),
    max_age: Duration::from_secs(3600),
    is_secure: false,
};
/// How long all readers may take to come to the end of the log, once nothing happens any more.
const PATIENCE: Duration = Duration::from_secs(40);

/// What happens next.
#[derive(Debug, Clone)]
pub enum Happens {
    /// A publisher sends a batch of these topics to a gateway, again until it is acknowledged.
    Publish(usize, Vec<&'static str>),
    /// Somebody else appends.
    Foreign(Vec<&'static str>),
    /// Vids that hold no event.
    Holes(usize),
    /// Somebody else trims to so many vids.
    Keep(u64),
    /// Another log is there, with events of these topics.
    Replace(Vec<&'static str>),
    /// A gateway's way to the log behaves so from now on.
    Link(usize, LinkSettings),
    /// Nothing comes to a gateway for so many milliseconds.
    Hold(usize, u64),
    /// The end of the log is unknown to a gateway for so many milliseconds.
    Unknown(usize, u64),
    Wait(u64),
}

pub fn scripts() -> impl Strategy<Value = Vec<Happens>> {
    prop::collection::vec(happens(), 5..40)
}

fn happens() -> impl Strategy<Value = Happens> {
    let topics = |most| prop::collection::vec(select(&TOPICS[..]), 1..most);
    let gateway = 0..GATEWAYS;
    prop_oneof![
        40 => (gateway.clone(), topics(6)).prop_map(|(at, topics)| Happens::Publish(at, topics)),
        30 => topics(40).prop_map(Happens::Foreign),
        10 => (1..5_usize).prop_map(Happens::Holes),
        8 => (0..60_u64).prop_map(Happens::Keep),
        5 => topics(20).prop_map(Happens::Replace),
        12 => (gateway.clone(), settings()).prop_map(|(at, link)| Happens::Link(at, link)),
        5 => (gateway.clone(), 1..60_u64).prop_map(|(at, ms)| Happens::Hold(at, ms)),
        3 => (gateway, 1..60_u64).prop_map(|(at, ms)| Happens::Unknown(at, ms)),
        15 => (1..30_u64).prop_map(Happens::Wait),
    ]
}

fn settings() -> impl Strategy<Value = LinkSettings> {
    let millis = |most| (0..most).prop_map(Duration::from_millis);
    let confirmation = prop_oneof![
        3 => Just(Confirmation::AtOnce),
        1 => millis(20_u64).prop_map(Confirmation::After),
        1 => Just(Confirmation::Fails),
    ];
    let delays = (millis(8), millis(4), millis(8));
    let oneins = (select(&[0, 0, 2, 4][..]), select(&[0, 0, 2, 4][..]));
    (delays, 1..50_usize, any::<bool>(), oneins, confirmation).prop_map(
        |((tail, read, answer), tail_events, pages_end_early, (lost, failed), confirmation)| {
            LinkSettings {
                tail_delay: tail,
                tail_events,
                pages_end_early,
                read_delay: read,
                answer_delay: answer,
                lost_answers: lost,
                failed_batches: failed,
                confirmation,
                ..LinkSettings::default()
            }
        },
    )
}

type Done = Result<(), String>;

/// A gateway and its way to the log.
struct OnLog {
    gateway: InProcessGateway,
    link: Link,
}

/// Runs a script; what went wrong.
pub fn run(script: &[Happens]) -> Done {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let done = runtime.block_on(async {
        let mut stage = Stage::set().await;
        stage.play(script).await?;
        stage.finish().await
    });
    runtime.shutdown_timeout(Duration::from_secs(5));
    done
}

struct Stage {
    log: SharedLog,
    gateways: Vec<OnLog>,
    publishers: Vec<JoinHandle<Done>>,
    readers: Vec<JoinHandle<Done>>,
    published: usize,
}

impl Stage {
    async fn set() -> Self {
        let log = SharedLog::default();
        let mut gateways = Vec::new();
        for _ in 0..GATEWAYS {
            let link = log.link();
            let (on, by) = (log.clone(), link.clone());
            let open = Arc::new(move |_: &std::path::Path| on.engine(&by));
            let gateway = InProcessGateway::start(open, SETUP).await;
            gateways.push(OnLog { gateway, link });
        }

        // Each reads on by turns at both gateways, whose tails are never at the same vid.
        let urls: Vec<String> = gateways.iter().map(|on| on.gateway.url()).collect();
        let filters: [&[&str]; 2] = [&[], &["a.*", "b.1"]];
        let readers = ALL
            .into_iter()
            .flat_map(|via| filters.map(|topics| (via, topics)));
        let readers = readers.map(|(via, topics)| {
            let witness = Witness::new(log.clone(), via, topics);
            tokio::spawn(read_on(witness, urls.clone()))
        });
        Stage {
            readers: readers.collect(),
            log,
            gateways,
            publishers: Vec::new(),
            published: 0,
        }
    }

    async fn play(&mut self, script: &[Happens]) -> Done {
        for happens in script {
            match happens {
                Happens::Publish(at, topics) => self.publish(*at, topics),
                Happens::Foreign(topics) => drop(self.log.append_foreign(topics)),
                Happens::Holes(count) => self.log.skip_vids(*count),
                Happens::Keep(vids) => self.log.keep(*vids),
                Happens::Replace(topics) => self.log.replace(topics),
                Happens::Link(at, settings) => self.gateways[*at].link.set(*settings),
                Happens::Hold(at, ms) => {
                    let link = &self.gateways[*at].link;
                    link.change(|link| link.is_held = true);
                    tokio::time::sleep(Duration::from_millis(*ms)).await;
                    link.change(|link| link.is_held = false);
                }
                Happens::Unknown(at, ms) => {
                    let link = &self.gateways[*at].link;
                    link.set_live(false);
                    tokio::time::sleep(Duration::from_millis(*ms)).await;
                    link.set_live(true);
                }
                Happens::Wait(ms) => tokio::time::sleep(Duration::from_millis(*ms)).await,
            }
            self.nobody_has_failed().await?;
        }
        Ok(())
    }

    /// A batch whose answer may be lost: it is sent again with the same ids.
    fn publish(&mut self, at: usize, topics: &[&'static str]) {
        self.published += 1;
        let number = self.published;
        let ids = topics.iter().enumerate();
        let ids = ids
            .map(|(n, topic)| (*topic, format!("{number}-{n}")))
            .collect();
        let url = self.gateways[at].gateway.url();
        let publishing = publish_until_acknowledged(url, ids, self.log.clone());
        self.publishers.push(tokio::spawn(publishing));
    }

    async fn nobody_has_failed(&mut self) -> Done {
        for tasks in [&mut self.publishers, &mut self.readers] {
            while let Some(ended) = tasks.iter().position(JoinHandle::is_finished) {
                tasks.remove(ended).await.map_err(|e| e.to_string())??;
            }
        }
        Ok(())
    }

    /// Nothing happens any more, but for one event at the end, which every reader comes to.
    async fn finish(mut self) -> Done {
        for on in &self.gateways {
            on.link.set(LinkSettings::default());
        }
        for publisher in std::mem::take(&mut self.publishers) {
            publisher.await.map_err(|e| e.to_string())??;
        }
        self.log.append_foreign(&[LAST_TOPIC]);
        let to_the_end = futures_util::future::join_all(std::mem::take(&mut self.readers));
        let ended = tokio::time::timeout(PATIENCE, to_the_end).await;
        let ended = ended.map_err(|_| "a reader never comes to the end of the log")?;
        ended
            .into_iter()
            .try_for_each(|reader| reader.map_err(|e| e.to_string())?)
    }
}

/// An acknowledged event is on the log at that very moment, unless the log has been replaced.
async fn publish_until_acknowledged(
    url: String,
    ids: Vec<(&'static str, String)>,
    log: SharedLog,
) -> Done {
    let event = |(topic, id): &(&str, String)| json!({ "topic": topic, "id": id, "data": 0 });
    let batch: Vec<_> = ids.iter().map(event).collect();
    let client = reqwest::Client::new();
    loop {
        let request = client.post(format!("{url}/v1/events")).json(&batch);
        let response = request.send().await.map_err(|e| e.to_string())?;
        if response.status() == 503 {
            tokio::time::sleep(Duration::from_millis(2)).await;
            continue;
        }
        let answer: serde_json::Value = response.json().await.map_err(|e| e.to_string())?;
        let acknowledged = answer["events"].as_array().ok_or(format!("{answer}"))?;
        for ((_, id), event) in ids.iter().zip(acknowledged) {
            let vid = event["vid"].as_u64().ok_or(format!("{answer}"))?;
            if !log.holds(vid, id) {
                return Err(format!(
                    "{id} is acknowledged as {vid}, and is not on the log"
                ));
            }
        }
        return Ok(());
    }
}

/// Reads to the last event of the script, over as many subscriptions as it takes.
async fn read_on(mut witness: Witness, urls: Vec<String>) -> Done {
    for url in urls.iter().cycle() {
        witness.resumes();
        let after = witness.cursor.clone().unwrap_or("earliest".into());
        let mut params = SubscribeParams::after(after);
        params.topics = witness.topics();
        if let Ok(mut reader) = Reader::open_at(witness.via, url, &params).await {
            let steps = 1 + fastrand::usize(..60); // then it goes to the other gateway
            for _ in 0..steps {
                let Ok(Some(step)) = reader.next().await else {
                    break;
                };
                witness.take(&step)?;
                if witness.has_seen_the_last {
                    return Ok(());
                }
            }
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    Ok(())
}
