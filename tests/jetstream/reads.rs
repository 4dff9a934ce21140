//! Reading the stream: complete pages, whatever others have stored and whichever replica answers.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_nats::jetstream::Context;
use async_nats::{Client, HeaderMap};
use futures_util::StreamExt as _;
use futures_util::stream;
use proptest::prelude::*;
use vidette::engine::{Engine as _, JetStreamEngine, Page, PageBudget, ReadRequest};
use vidette::error::ErrorKind;
use vidette::event::Event;
use vidette::topic::{Filter, Topic};

use crate::common::nats::{NatsCluster, requirements};

const MANY: PageBudget = PageBudget {
    events: 1000,
    bytes: 512 * 1024,
    scan: 8192,
};

/// An engine, and a plain client that stores messages as others do.
struct Log {
    nats: NatsCluster,
    client: Client,
    context: Context,
    engine: Arc<JetStreamEngine>,
}

impl Log {
    async fn start(servers: usize) -> Self {
        let nats = NatsCluster::start(servers).await;
        let engine = JetStreamEngine::open(nats.options("doors"), requirements()).await;
        let client = nats.client().await;
        Log {
            context: async_nats::jetstream::new(client.clone()),
            engine: Arc::new(engine.expect("an engine")),
            client,
            nats,
        }
    }

    /// Stores a message, and returns its vid.
    async fn store(&self, topic: &str, data: &str) -> u64 {
        self.store_with(topic, HeaderMap::new(), data).await
    }

    async fn store_with(&self, topic: &str, headers: HeaderMap, data: &str) -> u64 {
        let (subject, data) = (format!("doors.{topic}"), data.to_owned().into());
        let asked = self.context.publish_with_headers(subject, headers, data);
        let ack = asked.await.expect("it is sent").await;
        ack.expect("it is stored").sequence
    }

    /// Stores one message for each topic, in any order.
    async fn store_many(&self, topics: impl Iterator<Item = String>) {
        let storing = topics.map(async |topic| self.store(&topic, "x").await);
        let storing: Vec<_> = storing.collect();
        stream::iter(storing)
            .buffer_unordered(256)
            .for_each(async |_| {})
            .await;
    }

    async fn read(&self, after: u64, through: u64, topics: &[&str], budget: PageBudget) -> Page {
        let request = request(after, through, topics, budget);
        self.engine.read(request).await.expect("a page")
    }

    /// Reads page by page to the end, as a subscriber does.
    async fn read_all(&self, through: u64, topics: &[&str], budget: PageBudget) -> Vec<u64> {
        let (mut after, mut seen) = (0, Vec::new());
        while after < through {
            let page = self.read(after, through, topics, budget).await;
            assert!(page.through > after && page.through <= through, "{page:?}");
            seen.extend(vids(&page));
            after = page.through;
        }
        seen
    }

    async fn newest(&self, through: u64, topics: &[&str], events: usize) -> Vec<(String, u64)> {
        let (mut after, mut found) = (0, Vec::new());
        while after < through {
            let request = request(after, through, topics, PageBudget { events, ..MANY });
            let page = self.engine.read_newest(request).await.expect("a page");
            assert!(page.through > after && page.events.len() <= events);
            found.extend(page.events.iter().map(named));
            after = page.through;
        }
        found
    }

    async fn topics(&self, topics: &[&str], limit: usize) -> Vec<(String, u64)> {
        let (mut all, mut after): (Vec<(String, u64)>, Option<Topic>) = (Vec::new(), None);
        loop {
            let listed = self.engine.topics(filter(topics), after, limit).await;
            let listed = listed.expect("topics");
            assert!(listed.len() <= limit);
            after = listed.last().map(|(topic, _)| topic.clone());
            if after.is_none() {
                return all;
            }
            all.extend(listed.iter().map(|(t, vid)| (t.as_str().to_owned(), *vid)));
        }
    }
}

fn filter(topics: &[&str]) -> Filter {
    Filter::parse(topics.iter().copied()).expect("a filter")
}

fn request(after: u64, through: u64, topics: &[&str], budget: PageBudget) -> ReadRequest {
    ReadRequest {
        after,
        through,
        filter: filter(topics),
        budget,
    }
}

fn vids(page: &Page) -> Vec<u64> {
    page.events.iter().map(|event| event.vid).collect()
}

fn named(event: &Arc<Event>) -> (String, u64) {
    (event.sent.topic.as_str().to_owned(), event.vid)
}

#[tokio::test]
async fn pages_have_what_a_plain_list_has() {
    let log = Log::start(1).await;
    let topics = [
        "a",
        "a.1",
        "a.2",
        "b.1",
        "b.1.x",
        "c",
        "vidette.x",
        "*",
        "a.>",
    ];
    let mut list = BTreeMap::new();
    for n in 0..200 {
        let topic = topics[n * n % 7 + n % 3];
        list.insert(log.store(topic, &"x".repeat(n)).await, topic);
    }
    // Holes, also at both ends.
    let stream = log.context.get_stream("doors").await.expect("a stream");
    for hole in [1, 2, 17, 18, 19, 60, 199, 200] {
        // Only an administrator can, who first has to allow it.
        let _ = stream.delete_message(hole).await;
    }
    let many: Vec<_> = (0..12).map(|n| format!("{n}.*")).collect();
    let mut many: Vec<_> = many.iter().map(String::as_str).collect();
    many.extend(["a.*", "*.1"]);
    let filters: [&[&str]; 9] = [
        &[],
        &["a"],
        &["a.*"],
        &["b.>", "c"],
        &["*.1", "a.*", "a.1"],
        &["none", "no.>"],
        &["a", "a.1", "a.2", "b.1", "c", "d", "e"],
        &["vidette.>", "c"],
        &many,
    ];
    for topics in filters {
        for budget in [
            MANY,
            PageBudget { events: 3, ..MANY },
            PageBudget { bytes: 500, ..MANY },
            PageBudget { scan: 1, ..MANY },
        ] {
            let is_there = |topic: &str| {
                Topic::for_publisher(topic).is_ok_and(|topic| filter(topics).matches(&topic))
            };
            let expected = list.iter().filter(|(_, topic)| is_there(topic));
            let expected: Vec<u64> = expected.map(|(vid, _)| *vid).collect();
            assert_eq!(
                log.read_all(200, topics, budget).await,
                expected,
                "{topics:?} {budget:?}"
            );
        }
    }
}
