//! A client that leaves while it waits costs nothing afterwards and loses nothing (contract §2.5,
//! §6).

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use crate::common::gateway::Gateway;
use crate::common::read::{ALL, Reader, SubscribeParams, Transport};
use crate::support::{
    assert_no_panic, connect, gateways, get, open, publish_one, until_subscribers_are,
};

/// Clients of each transport that leave together.
const CLIENTS: usize = 200;
/// Clients that connect at the same moment.
const TOGETHER: usize = 50;
/// Rounds until the allocator has what it wants.
const FIRST_ROUNDS: usize = 6;
/// Rounds in which nothing may grow any more.
const MORE_ROUNDS: usize = 16;
/// Rounds of which the highest or the lowest memory counts: what an allocator holds goes up and
/// down by some megabytes from one round to the next.
const SAMPLED_ROUNDS: usize = 3;
/// How far memory may grow all the same. A leak of one kilobyte for each of the 14,400 clients that
/// come in between would show.
const MEMORY_SLACK_KIB: u64 = 8_000;

/// A waiting client that is no more than its connection, so that the test is not measured, too.
async fn wait_raw(gateway: &Gateway, path: &str) -> TcpStream {
    let mut stream = connect(gateway).await;
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
    stream
        .write_all(request.as_bytes())
        .await
        .expect("it is taken");
    stream
}

/// So many clients of each transport come, wait, and leave.
async fn come_and_leave(gateway: &Gateway, cursor: &str) {
    for path in [
        "/v1/poll?wait=100&after=",
        "/v1/sse?wait=100&after=",
        "/backend.php?maxvid=",
    ] {
        let path = format!("{path}{cursor}");
        let waiting = come(gateway, || wait_raw(gateway, &path)).await;
        drop(waiting);
        assert_gone_within_a_second(gateway, &path).await;
    }
    let params = SubscribeParams::after(cursor);
    let readers = come(gateway, || open(Transport::Grpc, gateway, &params)).await;
    drop(readers);
    assert_gone_within_a_second(gateway, "gRPC").await;
}

/// All clients, in groups: a listener's queue is not what is tested here.
async fn come<T, F: Future<Output = T>>(gateway: &Gateway, client: impl Fn() -> F) -> Vec<T> {
    let mut waiting = Vec::new();
    while waiting.len() < CLIENTS {
        waiting.extend(join_all((0..TOGETHER).map(|_| client())).await);
        until_subscribers_are(gateway, waiting.len() as u64).await;
    }
    waiting
}

async fn assert_gone_within_a_second(gateway: &Gateway, what: &str) {
    let left = Instant::now();
    until_subscribers_are(gateway, 0).await;
    // The one that asks is there itself.
    let are_closed = || async { gateway.metric("vidette_connections").await <= 1.0 };
    gateway
        .until(&format!("the connections of {what} are gone"), are_closed)
        .await;
    let took = left.elapsed();
    assert!(
        took < Duration::from_secs(1),
        "{what}: it took {took:?} to forget {CLIENTS} clients"
    );
}

fn open_files(gateway: &Gateway) -> usize {
    std::fs::read_dir(format!("/proc/{}/fd", gateway.pid()))
        .expect("open files")
        .count()
}

fn memory_kib(gateway: &Gateway) -> u64 {
    let status =
        std::fs::read_to_string(format!("/proc/{}/status", gateway.pid())).expect("a status");
    let line = status
        .lines()
        .find(|line| line.starts_with("VmRSS:"))
        .expect("the resident set");
    line.split_whitespace()
        .nth(1)
        .and_then(|kib| kib.parse().ok())
        .expect("a number")
}

async fn sampled_memory_kib(gateway: &Gateway, cursor: &str) -> Vec<u64> {
    let mut samples = Vec::new();
    for _ in 0..SAMPLED_ROUNDS {
        come_and_leave(gateway, cursor).await;
        samples.push(memory_kib(gateway));
    }
    samples
}

#[tokio::test]
async fn clients_that_leave_while_they_wait_leave_nothing_behind() {
    for (engine, gateway) in gateways("") {
        let cursor = gateway.publish_numbers("door.1", 3).await;
        let files = open_files(&gateway);
        for _ in 0..FIRST_ROUNDS {
            come_and_leave(&gateway, &cursor).await;
        }
        let memory = sampled_memory_kib(&gateway, &cursor).await;
        let memory = memory.into_iter().max().expect("rounds");
        for _ in 0..MORE_ROUNDS {
            come_and_leave(&gateway, &cursor).await;
        }
        let later = sampled_memory_kib(&gateway, &cursor).await;
        let later = later.into_iter().min().expect("rounds");
        let grown = later.saturating_sub(memory);
        assert!(
            grown <= MEMORY_SLACK_KIB,
            "{engine}: {grown} KiB more than the {memory} KiB after {FIRST_ROUNDS} rounds"
        );
        let are_closed = || async { open_files(&gateway) <= files };
        gateway
            .until(
                &format!("{engine}: open files are {files} again"),
                are_closed,
            )
            .await;
        assert_no_panic(&gateway, "clients that left");
    }
}

#[tokio::test]
async fn who_comes_back_has_lost_nothing() {
    for (engine, gateway) in gateways("") {
        let cursor = gateway.publish_numbers("door.1", 3).await;
        for via in ALL {
            // It leaves in its wait, and events come while it is away and while it is coming back.
            let before = gateway.get("/v1/bus").await["last"]
                .as_u64()
                .expect("a vid");
            let leaver = leave_waiting(&gateway, via).await;
            let first = publish_one(&gateway, "door.1", 1).await;
            let params = SubscribeParams::after(leaver);
            let (mut reader, second) = tokio::join!(
                open(via, &gateway, &params),
                publish_one(&gateway, "door.1", 2)
            );
            assert_eq!(first, before + 1);
            assert_eq!(reader.event().await.0.vid, first, "{engine} {via:?}");
            assert_eq!(reader.event().await.0.vid, second, "{engine} {via:?}");
        }
        let path = format!(
            "/backend.php?maxvid={}",
            cursor.split('-').next().expect("a vid")
        );
        let at_first = get(&gateway, &path).await.json();
        for _ in 0..10 {
            drop(wait_raw(&gateway, &path).await);
        }
        assert_eq!(
            get(&gateway, &path).await.json(),
            at_first,
            "{engine}: the legacy page has moved no cursor"
        );
    }
}

/// Waits at the live end, leaves, and gives the cursor it had.
async fn leave_waiting(gateway: &Gateway, via: Transport) -> String {
    let cursor = if via == Transport::Poll {
        let cursor = gateway.get("/v1/bus").await["cursor"]
            .as_str()
            .expect("a cursor")
            .to_owned();
        let waiting = wait_raw(gateway, &format!("/v1/poll?after={cursor}&wait=100")).await;
        until_subscribers_are(gateway, 1).await;
        drop(waiting);
        cursor
    } else {
        open(via, gateway, &SubscribeParams::default())
            .await
            .until_caught_up()
            .await
            .1
    };
    until_subscribers_are(gateway, 0).await;
    cursor
}

#[tokio::test]
async fn clients_that_leave_in_the_middle_of_their_events_resume_behind_the_last_one() {
    for (engine, gateway) in gateways("") {
        gateway.publish_numbers("door.1", 3000).await;
        let leavers = (0..30u64).map(|n| {
            let gateway = &gateway;
            async move {
                let (mut expected, mut cursor) = (1, "earliest".to_owned());
                for via in ALL
                    .into_iter()
                    .cycle()
                    .skip(usize::try_from(n % 3).expect("small"))
                    .take(4)
                {
                    let mut reader: Reader =
                        open(via, gateway, &SubscribeParams::after(cursor)).await;
                    let mut position = String::new();
                    for _ in 0..100 + n * 13 {
                        let (seen, at) = reader.event().await;
                        assert_eq!(seen.vid, expected, "{via:?}");
                        (expected, position) = (expected + 1, at);
                    }
                    cursor = position;
                }
            }
        });
        join_all(leavers).await;
        until_subscribers_are(&gateway, 0).await;
        assert_no_panic(&gateway, engine);
    }
}

/// Connections that hang up while the log is read for them.
const HANG_UPS: usize = 1500;
/// Those that do so at the same time.
const HANGING_UP: usize = 4;
/// Events of the log that is read from disk.
const COLD_EVENTS: u64 = 6000;

/// Asks for the whole log, again and again, and never waits for it.
async fn hang_up(gateway: &Gateway) {
    for turn in 0..HANG_UPS / HANGING_UP {
        let path = match turn % 3 {
            0 => "/v1/sse?after=earliest&topic=door.1",
            1 => "/v1/poll?after=earliest&topic=door.1",
            _ => "/v1/poll?snapshot=true",
        };
        drop(wait_raw(gateway, path).await);
    }
}

/// Reads the whole log, which is on disk only.
async fn read_whole(gateway: &Gateway, via: Transport) {
    let mut reader = open(
        via,
        gateway,
        &SubscribeParams::after("earliest").topic("door.1"),
    )
    .await;
    for vid in 1..=COLD_EVENTS {
        assert_eq!(reader.event().await.0.vid, vid, "{via:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_hang_up_while_the_log_is_read_for_them_break_nobody() {
    let mut gateway = crate::support::gateway("sqlite", "");
    gateway.publish_numbers("door.1", COLD_EVENTS).await;
    gateway.terminate().await;
    gateway.start_again(); // nothing is in memory
    let hanging_up = join_all((0..HANGING_UP).map(|_| hang_up(&gateway)));
    let reading = join_all(ALL.map(|via| {
        let gateway = &gateway;
        async move {
            for _ in 0..4 {
                read_whole(gateway, via).await;
            }
        }
    }));
    tokio::join!(hanging_up, reading);
    until_subscribers_are(&gateway, 0).await;
    assert_no_panic(&gateway, "clients that hang up");
}
