//! The same on three servers, which are killed and frozen while events are published.

use std::sync::Mutex;

use tokio::task::JoinHandle;
use tokio::time::sleep;

use super::*;
use crate::common::nats::NatsServer;

/// An event comes by the tail at most so long after its publisher had the answer: 2 s by the
/// design, and as much again for a busy machine.
const MOST_BEHIND: Duration = Duration::from_secs(4);
/// The gateway is behind at most so long after a majority has stopped.
const RED_WITHIN: Duration = Duration::from_secs(18);

/// Publishes an event every 20 ms, each until it is stored.
struct Publisher {
    /// The vids of the events, and when the answer came.
    stored: Arc<Mutex<Vec<(Vid, Instant)>>>,
    task: JoinHandle<()>,
}

impl Publisher {
    async fn start(server: &str) -> Self {
        let client = async_nats::ConnectOptions::new()
            .connection_timeout(Duration::from_secs(1))
            .ping_interval(Duration::from_secs(2))
            .connect(server)
            .await
            .expect("a connection");
        let context = jetstream::new(client);
        let stored = Arc::new(Mutex::new(Vec::new()));
        let answers = stored.clone();
        let task = tokio::spawn(async move {
            // Not those of another publisher, as the stream remembers them.
            let start = fastrand::u64(..);
            for number in 0_u64.. {
                let id = format!("{start}.{number}");
                let vid = publish_until_stored(&context, &id).await;
                answers.lock().expect("answers").push((vid, Instant::now()));
                sleep(Duration::from_millis(20)).await;
            }
        });
        Publisher { stored, task }
    }

    fn count(&self) -> usize {
        self.stored.lock().expect("answers").len()
    }

    /// What has been stored; nothing is published any more.
    async fn end(self) -> Vec<(Vid, Instant)> {
        self.task.abort();
        let _ = self.task.await;
        self.stored.lock().expect("answers").clone()
    }
}

async fn publish_until_stored(context: &Context, id: &str) -> Vid {
    loop {
        let mut headers = async_nats::HeaderMap::new();
        headers.insert("Nats-Msg-Id", id);
        let sent = context.publish_with_headers("doors.door.1", headers, "{}".into());
        let stored = timeout(Duration::from_secs(1), sent.await.expect("it is sent"));
        match stored.await {
            Ok(Ok(stored)) => return stored.sequence,
            _ => sleep(Duration::from_millis(50)).await,
        }
    }
}

impl Followed {
    /// Follows until so many events have been stored since the call.
    async fn until_stored(&mut self, publisher: &Publisher, count: usize) {
        let wanted = publisher.count() + count;
        let following = async {
            while publisher.count() < wanted {
                tokio::select! {
                    _ = self.step() => {}
                    () = sleep(Duration::from_millis(20)) => {}
                }
            }
        };
        timeout(2 * PATIENCE, following)
            .await
            .expect("events are stored");
    }

    /// Deletes the consumer again and again, until the next one is on that server.
    async fn until_consumer_is_on(&mut self, plain: &Plain, server: &str) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let list = plain.ask("CONSUMER.LIST.doors", "").await;
            let consumers = list["consumers"].as_array().expect("consumers");
            let is_there = |it: &serde_json::Value| it["cluster"]["leader"] == server;
            if !consumers.is_empty() && consumers.iter().all(is_there) {
                return;
            }
            assert!(Instant::now() < deadline, "no consumer is on {server}");
            for consumer in consumers.iter().filter(|it| !is_there(it)) {
                let name = consumer["name"].as_str().expect("a name");
                plain
                    .ask(&format!("CONSUMER.DELETE.doors.{name}"), "")
                    .await;
            }
            self.follow_for(Duration::from_millis(300)).await;
        }
    }

    /// Everything that was stored has come, once and in time.
    async fn check(&mut self, stored: &[(Vid, Instant)]) {
        let latest = self.report(stored).await;
        assert!(
            latest < MOST_BEHIND,
            "an event came {latest:?} after its answer"
        );
    }

    /// Everything that was stored has come once; the most that one came after its answer.
    async fn report(&mut self, stored: &[(Vid, Instant)]) -> Duration {
        let last = stored.last().expect("something was stored").0;
        self.until(last).await;
        let mut latest = Duration::ZERO;
        for (vid, stored_at) in stored {
            let found = self.events.binary_search_by_key(vid, |(vid, _)| *vid);
            let index = found.unwrap_or_else(|_| panic!("vid {vid} has not come"));
            latest = latest.max(self.came_at[index].saturating_duration_since(*stored_at));
        }
        eprintln!("{} events, at most {latest:?} behind", stored.len());
        latest
    }
}

/// What the servers say of themselves.
impl Plain {
    async fn leader(&self) -> String {
        let asking = async {
            loop {
                let info = self.ask("STREAM.INFO.doors", "").await;
                if let Some(leader) = info["cluster"]["leader"].as_str() {
                    return leader.to_owned();
                }
                sleep(Duration::from_millis(50)).await;
            }
        };
        timeout(PATIENCE, asking).await.expect("a leader")
    }

    async fn move_leader(&self, to: &str) {
        let body = serde_json::json!({ "placement": { "preferred": to } }).to_string();
        let moving = async {
            while self.leader().await != to {
                self.ask("STREAM.LEADER.STEPDOWN.doors", &body).await;
                sleep(Duration::from_millis(100)).await;
            }
        };
        timeout(PATIENCE, moving)
            .await
            .expect("the leader has moved");
    }
}

async fn meta_leader(nats: &NatsCluster) -> String {
    let asking = async {
        loop {
            for server in nats.servers.iter().filter(|server| server.is_running()) {
                let url = format!("{}/jsz", server.monitor_url());
                let Ok(answer) = reqwest::get(url).await else {
                    continue;
                };
                let answer: serde_json::Value = answer.json().await.expect("JSON");
                if let Some(leader) = answer["meta_cluster"]["leader"].as_str() {
                    return leader.to_owned();
                }
            }
            sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(PATIENCE, asking).await.expect("a meta leader")
}

fn url(nats: &mut NatsCluster, name: &str) -> String {
    nats.server(name).url()
}

#[tokio::test]
async fn three_servers_are_killed_and_frozen_and_no_event_is_missed() {
    let mut nats = NatsCluster::start(3).await;
    drop(Followed::open(nats.options("doors")).await);
    the_leader_steps_down_again_and_again(&nats).await;
    the_meta_leader_is_killed_while_the_leader_of_the_stream_lives(&mut nats).await;
    the_server_of_the_connection_is_frozen(&mut nats).await;
}

async fn the_leader_steps_down_again_and_again(nats: &NatsCluster) {
    let plain = Plain::of(nats).await;
    let mut followed = Followed::live(nats.options("doors")).await;
    let publisher = Publisher::start(&nats.servers[0].url()).await;
    for _ in 0..4 {
        followed.until_stored(&publisher, 10).await;
        plain.ask("STREAM.LEADER.STEPDOWN.doors", "").await;
    }
    followed.until_stored(&publisher, 10).await;
    followed.check(&publisher.end().await).await;
    assert!(followed.is_live);
}

async fn the_meta_leader_is_killed_while_the_leader_of_the_stream_lives(nats: &mut NatsCluster) {
    let plain = Plain::of(nats).await;
    let meta_leader = meta_leader(nats).await;
    let names: Vec<_> = nats.servers.iter().map(|s| s.name().to_owned()).collect();
    let other = names.into_iter().find(|name| *name != meta_leader);
    let leader = other.expect("another server");
    plain.move_leader(&leader).await;

    let mut options = nats.options("doors");
    options.servers = vec![url(nats, &meta_leader)];
    let mut followed = Followed::live(options).await;
    followed.until_consumer_is_on(&plain, &meta_leader).await;
    let publisher = Publisher::start(&url(nats, &leader)).await;
    followed.until_stored(&publisher, 20).await;
    nats.server(&meta_leader).kill();
    followed.until_stored(&publisher, 200).await;
    followed.check(&publisher.end().await).await;
    assert!(followed.is_live);
    nats.server(&meta_leader).start();
    nats.until_ready().await;
}

async fn the_server_of_the_connection_is_frozen(nats: &mut NatsCluster) {
    let plain = Plain::of(nats).await;
    let leader = plain.leader().await;
    let names: Vec<_> = nats.servers.iter().map(|s| s.name().to_owned()).collect();
    let frozen = names.into_iter().find(|name| *name != leader);
    let frozen = frozen.expect("a follower");

    let mut options = nats.options("doors");
    options.servers = vec![url(nats, &frozen)];
    let mut followed = Followed::live(options).await;
    let publisher = Publisher::start(&url(nats, &leader)).await;
    followed.until_stored(&publisher, 20).await;
    nats.server(&frozen).freeze();
    let since = Instant::now();
    followed.follow_for(Duration::from_secs(10)).await;
    nats.server(&frozen).thaw();
    let last = followed.came_at.last().expect("events");
    assert!(
        last.duration_since(since) > Duration::from_secs(8),
        "it goes on without that server"
    );
    followed.until_stored(&publisher, 20).await;
    followed.report(&publisher.end().await).await;
}

#[tokio::test]
async fn every_server_is_killed_and_frozen_in_turn_and_no_event_is_missed() {
    if !runs_long_tests() {
        return;
    }
    let mut nats = NatsCluster::start(3).await;
    drop(Followed::open(nats.options("doors")).await);
    for fault in [Fault::Kill, Fault::Freeze] {
        for hits_leader in [true, false] {
            the_server_of_the_connection_is_hit(&mut nats, fault, hits_leader).await;
        }
    }
    for _ in 0..3 {
        all_servers_are_killed(&mut nats).await;
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    Kill,
    Freeze,
}

async fn the_server_of_the_connection_is_hit(
    nats: &mut NatsCluster,
    fault: Fault,
    hits_leader: bool,
) {
    let plain = Plain::of(nats).await;
    let leader = plain.leader().await;
    let (hit, other) = two_servers(nats, &leader, hits_leader);
    let mut options = nats.options("doors");
    options.servers = vec![url(nats, &hit)];
    let mut followed = Followed::live(options).await;
    let lineage = followed.engine.state().lineage.clone();
    let publisher = Publisher::start(&url(nats, &other)).await;
    followed.until_stored(&publisher, 20).await;

    match fault {
        Fault::Kill => nats.server(&hit).kill(),
        Fault::Freeze => nats.server(&hit).freeze(),
    }
    followed.until_stored(&publisher, 20).await;
    followed.follow_for(Duration::from_secs(8)).await;
    match fault {
        Fault::Kill => nats.server(&hit).start(),
        Fault::Freeze => nats.server(&hit).thaw(),
    }
    nats.until_ready().await;
    followed.until_stored(&publisher, 20).await;
    eprint!("{fault:?}, leader: {hits_leader}: ");
    followed.report(&publisher.end().await).await;
    assert_eq!(
        followed.engine.state().lineage,
        lineage,
        "it is the same log"
    );
    assert!(followed.is_live);
}

/// A server to be hit, which leads or not, and another one.
fn two_servers(nats: &NatsCluster, leader: &str, hits_leader: bool) -> (String, String) {
    let names = nats.servers.iter().map(|server| server.name().to_owned());
    let (mut leaders, mut others): (Vec<_>, Vec<_>) = names.partition(|name| name == leader);
    let follower = others.pop().expect("a follower");
    if hits_leader {
        (leaders.pop().expect("a leader"), follower)
    } else {
        (follower, others.pop().expect("another follower"))
    }
}

async fn all_servers_are_killed(nats: &mut NatsCluster) {
    let mut followed = Followed::live(nats.options("doors")).await;
    let lineage = followed.engine.state().lineage.clone();
    let publisher = Publisher::start(&nats.servers[0].url()).await;
    followed.until_stored(&publisher, 20).await;
    nats.servers.iter_mut().for_each(NatsServer::kill);
    followed.follow_for(Duration::from_secs(2)).await;
    nats.servers.iter_mut().for_each(NatsServer::start);
    followed.until_stored(&publisher, 20).await;
    eprint!("all killed: ");
    followed.check(&publisher.end().await).await;
    assert_eq!(
        followed.engine.state().lineage,
        lineage,
        "it is the same log"
    );
    nats.until_ready().await;
}

/// They take minutes.
fn runs_long_tests() -> bool {
    let is_wanted = std::env::var("VIDETTE_CLUSTER").as_deref() == Ok("long");
    if !is_wanted {
        eprintln!("skipped; VIDETTE_CLUSTER=long runs it");
    }
    is_wanted
}

#[tokio::test]
async fn a_gateway_is_behind_while_a_majority_is_frozen_and_shows_nothing_that_is_not_there_later()
{
    if !runs_long_tests() {
        return;
    }
    let mut nats = NatsCluster::start(3).await;
    drop(Followed::open(nats.options("doors")).await);
    for is_connected_to_leader in [true, false] {
        a_majority_is_frozen(&mut nats, is_connected_to_leader).await;
    }
}

/// A leader shows a server that was dead when it was elected as if it had just heard of it.
#[tokio::test]
async fn a_gateway_is_behind_when_a_majority_is_lost_one_after_the_other() {
    if !runs_long_tests() {
        return;
    }
    let mut nats = NatsCluster::start(3).await;
    let plain = Plain::of(&nats).await;
    let mut followed = Followed::live(nats.options("doors")).await;
    let first = plain.leader().await;
    nats.server(&first).kill();
    followed.until(until_published(&plain).await).await;
    followed.follow_for(Duration::from_secs(4)).await;
    assert!(followed.is_live);

    let second = plain.leader().await;
    let names = nats.servers.iter().map(|server| server.name().to_owned());
    let third = names
        .into_iter()
        .find(|name| *name != first && *name != second);
    nats.server(&third.expect("a third server")).freeze();
    let since = Instant::now();
    followed.until_live(false).await;
    let red = since.elapsed();
    eprintln!("red after {red:?}");
    assert!(red < RED_WITHIN);
}

async fn a_majority_is_frozen(nats: &mut NatsCluster, is_connected_to_leader: bool) {
    let plain = Plain::of(nats).await;
    let leader = plain.leader().await;
    let names: Vec<_> = nats.servers.iter().map(|s| s.name().to_owned()).collect();
    let followers: Vec<_> = names.iter().filter(|name| **name != leader).collect();
    // One stays, and it is that of the connection.
    let (stays, frozen) = if is_connected_to_leader {
        (leader.clone(), [followers[0], followers[1]])
    } else {
        (followers[0].clone(), [&leader, followers[1]])
    };
    let mut options = nats.options("doors");
    options.servers = vec![url(nats, &stays)];
    let mut followed = Followed::live(options).await;
    let publisher = Publisher::start(&url(nats, &stays)).await;
    followed.until_stored(&publisher, 20).await;

    for name in frozen {
        nats.server(name).freeze();
    }
    let since = Instant::now();
    followed.until_live(false).await;
    let red = since.elapsed();
    followed
        .follow_for(Duration::from_secs(25).saturating_sub(red))
        .await;
    assert!(!followed.is_live, "nobody leads");

    for name in frozen {
        nats.server(name).thaw();
    }
    followed.until_stored(&publisher, 1).await;
    let back = Instant::now();
    followed.until_live(true).await;
    let green = back.elapsed();
    eprintln!("red after {red:?}, green {green:?} after the first answer to a publisher");
    assert!(red < RED_WITHIN && green < Duration::from_secs(3));

    // What is there now is what was shown, and nothing else.
    let stored = publisher.end().await;
    followed.until(stored.last().expect("stored").0).await;
    let stream = plain.stream().await;
    let (first, last) = (followed.events[0].0, followed.through);
    assert_eq!(followed.vids(), (first..=last).collect::<Vec<_>>());
    for (vid, _) in stored {
        assert!(
            stream.get_raw_message(vid).await.is_ok(),
            "vid {vid} is not there"
        );
    }
}
