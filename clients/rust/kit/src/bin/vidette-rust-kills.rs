//! Kills a real gateway again and again, and checks that nothing was lost, doubled or out of order.
//!
//! `cargo run -p vidette-rust-kit --bin vidette-rust-kills -- target/release/vidette 600`
//!
//! Two publishers send numbered events by a stream, over HTTP and over gRPC. Four readers follow
//! from the start: one on each transport, and one that begins again from its cursor every 500
//! events. The exit status is 1 where a reader has not exactly what was published.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use futures_util::{StreamExt as _, stream};
use tokio::time::{sleep, timeout};
use vidette::client::{
    Client, ClientError, EventParts, NewEvent, PublishLine, PublishReport, ReadItem, ReadOptions,
    Transport,
};

type Failure = Box<dyn std::error::Error + Send + Sync>;

const WIRES: [&str; 2] = ["http", "grpc"];
const LAST: u64 = u64::MAX;
const EVENTS_BEFORE_RESTART: usize = 500;
const TIME_TO_FINISH: Duration = Duration::from_secs(60);
const BETWEEN_EVENTS: Duration = Duration::from_millis(2);

/// What a reader saw: the numbers of each publisher.
type Numbers = BTreeMap<String, Vec<u64>>;

/// A gateway on a free port, with a log that outlives it.
struct Gateway {
    command: Vec<String>,
    process: Child,
    url: String,
    kills: usize,
}

impl Gateway {
    fn start(program: &str, folder: &str) -> Result<Self, Failure> {
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let (address, log) = (format!("127.0.0.1:{port}"), format!("{folder}/log"));
        let command = [program, "serve", "--data-dir", &log, "--listen", &address];
        let command = command.map(str::to_owned).to_vec();
        Ok(Gateway {
            process: spawn(&command)?,
            command,
            url: format!("http://{address}"),
            kills: 0,
        })
    }

    /// SIGKILL: it closes nothing and syncs nothing.
    fn kill(&mut self) -> Result<(), Failure> {
        self.process.kill()?;
        self.process.wait()?;
        self.kills += 1;
        Ok(())
    }
}

fn spawn(command: &[String]) -> Result<Child, Failure> {
    let mut start = Command::new(&command[0]);
    start.args(&command[1..]);
    Ok(start.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?)
}

#[tokio::main]
async fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let program = arguments
        .next()
        .unwrap_or_else(|| "target/release/vidette".to_owned());
    let seconds = arguments.next().and_then(|text| text.parse().ok());

    match check(&program, Duration::from_secs(seconds.unwrap_or(600))).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// Has every reader what was published, once and in order?
async fn check(program: &str, time: Duration) -> Result<bool, Failure> {
    let folder = tempfile::tempdir()?;
    let mut gateway = Gateway::start(program, &folder.path().display().to_string())?;
    let client = Client::new(&gateway.url)?;
    let readers = [
        ("SSE", Transport::Auto, usize::MAX),
        ("long-poll", Transport::LongPoll, usize::MAX),
        ("gRPC", Transport::Grpc, usize::MAX),
        ("begins again", Transport::Auto, EVENTS_BEFORE_RESTART),
    ]
    .map(|(name, via, most)| (name, tokio::spawn(follow(client.clone(), via, most))));
    let over_grpc = client.clone().publish_over_grpc()?;
    let publishers = [client, over_grpc].into_iter().zip(WIRES);
    let publishing: Vec<_> = publishers
        .map(|(client, wire)| tokio::spawn(publish(client, wire, time)))
        .collect();

    while !publishing.iter().all(tokio::task::JoinHandle::is_finished) {
        sleep(Duration::from_millis(fastrand::u64(500..3000))).await;
        gateway.kill()?;
        sleep(Duration::from_millis(fastrand::u64(..500))).await;
        gateway.process = spawn(&gateway.command)?;
    }
    let mut published = Numbers::new();
    for (task, wire) in publishing.into_iter().zip(WIRES) {
        let count = task.await??;
        println!(
            "{} kills, {count} events published over {wire}",
            gateway.kills
        );
        published.insert(format!("kills.{wire}"), (0..count).collect());
    }

    let mut all_well = true;
    for (name, reader) in readers {
        let seen = timeout(TIME_TO_FINISH, reader).await;
        let seen = seen.map_err(|_| format!("{name} has not finished"))???;
        all_well &= report(name, &published, &seen);
    }
    gateway.kill()?;
    Ok(all_well)
}

/// Reads to the last event of each publisher, by a new subscription after so many events.
async fn follow(client: Client, via: Transport, most: usize) -> Result<Numbers, ClientError> {
    let mut seen = Numbers::new();
    let (mut cursor, mut open) = ("earliest".to_owned(), WIRES.len());
    loop {
        let options = ReadOptions::new().topic("kills.*").after(&cursor).via(via);
        let mut reader = client.read(options);
        let mut count = 0;
        while count < most {
            let Some(item) = reader.next().await else {
                return Ok(seen);
            };
            let ReadItem::Event(event) = item? else {
                continue;
            };
            cursor = event.cursor.to_string();
            count += 1;
            match event.json().unwrap_or(LAST) {
                LAST => open -= 1,
                number => seen.entry(event.topic).or_default().push(number),
            }
            if open == 0 {
                return Ok(seen);
            }
        }
    }
}

/// Publishes 0, 1, 2 … until the time is over; gives how many.
async fn publish(client: Client, wire: &'static str, time: Duration) -> Result<u64, Failure> {
    let ends_at = Instant::now() + time;
    let numbers = stream::unfold(Some(0), move |number| async move {
        let number = number?;
        sleep(BETWEEN_EVENTS).await;
        let is_over = Instant::now() >= ends_at;
        let (sent, next) = if is_over {
            (LAST, None)
        } else {
            (number, Some(number + 1))
        };
        let line = event(wire, sent).map(|event| PublishLine::new(sent, &event));
        Some((line, next))
    });
    let mut publisher = client.publisher(numbers.boxed()).wait_at_first();

    let mut count = 0;
    while let Some(report) = publisher.next().await {
        match report? {
            PublishReport::Published { key: LAST, .. } | PublishReport::Interrupted(_) => {}
            PublishReport::Published { .. } => count += 1,
            other => return Err(format!("{other:?}").into()),
        }
    }
    Ok(count)
}

fn event(wire: &str, number: u64) -> std::io::Result<NewEvent> {
    let parts = EventParts {
        topic: &format!("kills.{wire}"),
        data: number.to_string().into(),
        ..EventParts::default()
    };
    NewEvent::check(parts, 1000).map_err(std::io::Error::other)
}

/// One line for a reader.
fn report(name: &str, published: &Numbers, seen: &Numbers) -> bool {
    for (topic, expected) in published {
        let empty = Vec::new();
        let numbers = seen.get(topic).unwrap_or(&empty);
        let mut distinct = numbers.clone();
        distinct.sort_unstable();
        let in_order = distinct == *numbers;
        distinct.dedup();
        let lost = expected.len() - distinct.len();
        let doubled = numbers.len() - distinct.len();
        println!(
            "{name}, {topic}: {} read, {lost} lost, {doubled} doubled, in order: {in_order}",
            numbers.len()
        );
    }
    seen == published
}
