//! "Live": a publisher of 20 events/s with one SSE reader, on a thread and connections of its own.
//!
//! Each event is published under its own id until it is acknowledged, so the reader has to see
//! each one exactly once and in order. Latency is measured from the moment an event was due, so an
//! event that had to wait for the one before it counts as late.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::common::gateway::PATIENCE;
use crate::common::read::{Data, Seen, Step, SubscribeParams};
use crate::common::secure;
use crate::common::sse::SseReader;
use crate::ground::message;

/// Topic of the live events.
const TOPIC: &str = "live";
/// Time from one event to the next: 20 events a second.
const INTERVAL: Duration = Duration::from_millis(50);
/// Pause before a refused event is sent again, or a lost stream is opened again.
const RETRY: Duration = Duration::from_millis(100);
/// How long the reader may take to see the last event once publishing has ended.
const LAST_EVENT_WAIT: Duration = Duration::from_secs(15);

/// A running publisher and reader.
pub struct Live {
    asked_to_end: Arc<AtomicBool>,
    thread: std::thread::JoinHandle<Outcome>,
}

/// What became of the live events.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Events that were acknowledged.
    pub acknowledged: usize,
    /// Answers to publish requests that were no acknowledgement, by status.
    pub refused: BTreeMap<String, usize>,
    /// How often the reader's stream ended or could not be opened.
    pub cuts: usize,
    /// Numbers of acknowledged events that the reader neither saw nor was notified of.
    pub lost: Vec<u64>,
    /// Events that the reader saw a second time.
    pub repeated: usize,
    /// Events that came after a later one.
    pub reordered: usize,
    /// From due to seen, shortest first.
    pub latencies: Vec<Duration>,
}

impl Outcome {
    /// The latency that `per_mille` of a thousand events did not exceed.
    pub fn latency(&self, per_mille: usize) -> Duration {
        let last = self.latencies.len().saturating_sub(1);
        let at = (self.latencies.len() * per_mille / 1000).min(last);
        self.latencies.get(at).copied().unwrap_or_default()
    }
}

impl Live {
    /// Starts both; returns once the reader's stream is open.
    pub fn start(url: String) -> Self {
        let asked_to_end = Arc::new(AtomicBool::new(false));
        let (opened, is_open) = channel();
        let flag = asked_to_end.clone();
        let thread = std::thread::spawn(move || run(&url, &flag, &opened));
        is_open.recv_timeout(PATIENCE).expect("the live reader");
        Live {
            asked_to_end,
            thread,
        }
    }

    /// Ends the publisher, waits until the reader has seen its last event, and returns how it went.
    ///
    /// # Errors
    /// When the reader was sent what no reader may be sent.
    pub fn end(self) -> Result<Outcome, String> {
        self.asked_to_end.store(true, Ordering::SeqCst);
        self.thread.join().map_err(|panic| message(&*panic))
    }
}

fn run(url: &str, asked_to_end: &AtomicBool, opened: &Sender<()>) -> Outcome {
    // One thread: a client of a gateway that is restarted must not hand requests between threads.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let state = State::new();
    runtime.block_on(async {
        let reading = state.read(url, opened);
        let publishing = state.publish(url, asked_to_end);
        tokio::join!(reading, publishing);
    });
    state.outcome()
}

/// What publisher and reader share.
struct State {
    began: Instant,
    /// Number and vid of each acknowledged event.
    acknowledged: RefCell<Vec<(u64, u64)>>,
    refused: RefCell<BTreeMap<String, usize>>,
    /// Numbers in the order in which they were seen.
    seen: RefCell<Vec<u64>>,
    latencies: RefCell<Vec<Duration>>,
    /// Vids after the first and before the second one were reported as gone.
    gaps: RefCell<Vec<(u64, u64)>>,
    cuts: Cell<usize>,
    is_open: Cell<bool>,
    /// The number of the last event, once publishing has ended.
    last: Cell<Option<u64>>,
}

impl State {
    fn new() -> Self {
        State {
            began: Instant::now(),
            acknowledged: RefCell::default(),
            refused: RefCell::default(),
            seen: RefCell::default(),
            latencies: RefCell::default(),
            gaps: RefCell::default(),
            cuts: Cell::new(0),
            is_open: Cell::new(false),
            last: Cell::new(None),
        }
    }

    async fn publish(&self, url: &str, asked_to_end: &AtomicBool) {
        while !self.is_open.get() {
            sleep(Duration::from_millis(1)).await;
        }
        let client = secure::http1_client(url);
        let mut due = Instant::now();
        let mut number = 0;
        while !asked_to_end.load(Ordering::SeqCst) {
            number += 1;
            due += INTERVAL;
            sleep_until(due).await;
            self.publish_one(&client, url, number, due).await;
        }
        self.last.set(Some(number));
    }

    /// Sends one event until it is acknowledged, or the gateway has refused it for too long.
    async fn publish_one(&self, client: &reqwest::Client, url: &str, number: u64, due: Instant) {
        let due_us = u64::try_from((due - self.began).as_micros()).expect("a short run");
        let event = json!({
            "topic": TOPIC,
            "id": format!("live-{number}"),
            "data": { "number": number, "due_us": due_us },
        });
        let give_up = Instant::now() + 2 * PATIENCE;
        while Instant::now() < give_up {
            match post(client, url, &event).await {
                Ok(vid) => return self.acknowledged.borrow_mut().push((number, vid)),
                Err(why) => *self.refused.borrow_mut().entry(why).or_default() += 1,
            }
            sleep(RETRY).await;
        }
    }

    async fn read(&self, url: &str, opened: &Sender<()>) {
        let mut cursor = "latest".to_owned();
        let mut give_up = None;
        loop {
            let params = SubscribeParams::after(cursor.clone()).topic(TOPIC);
            let stream = timeout(PATIENCE, SseReader::open(url, &params)).await;
            if let Ok(Ok(mut stream)) = stream {
                while let Some(step) = self.next(&mut stream, &mut give_up).await {
                    if matches!(step, Step::CaughtUp(_)) && !self.is_open.replace(true) {
                        let _ = opened.send(());
                    }
                    self.take(step, &mut cursor);
                }
            }
            if self.has_seen_all() || give_up.is_some_and(|at| Instant::now() >= at) {
                return;
            }
            self.cuts.set(self.cuts.get() + 1);
            sleep(RETRY).await;
        }
    }

    /// The next step of the stream; none when it has ended, or there is nothing to wait for.
    async fn next(&self, stream: &mut SseReader, give_up: &mut Option<Instant>) -> Option<Step> {
        loop {
            let is_late = give_up.is_some_and(|at| Instant::now() >= at);
            if self.has_seen_all() || is_late {
                return None;
            }
            if self.last.get().is_some() && give_up.is_none() {
                *give_up = Some(Instant::now() + LAST_EVENT_WAIT);
            }
            match timeout(INTERVAL, stream.next()).await {
                Ok(Ok(step)) => return step,
                Ok(Err(_)) => return None,
                Err(_) => {}
            }
        }
    }

    fn has_seen_all(&self) -> bool {
        let seen = self.seen.borrow().iter().max().copied().unwrap_or(0);
        self.last.get().is_some_and(|last| seen >= last)
    }

    fn take(&self, step: Step, cursor: &mut String) {
        match step {
            Step::Event(seen, at) => {
                self.saw(&seen);
                *cursor = at;
            }
            Step::CaughtUp(at) | Step::Progress(at) => *cursor = at,
            Step::Gap(gap) => {
                let requested = gap.requested.split('-').next().and_then(|v| v.parse().ok());
                self.gaps
                    .borrow_mut()
                    .push((requested.expect("a cursor"), gap.first));
            }
            Step::Hello { .. } | Step::Closing => {}
        }
    }

    fn saw(&self, seen: &Seen) {
        let Data::Json(text) = &seen.data else {
            return;
        };
        let data: Value = serde_json::from_str(text).expect("JSON");
        let number = |field: &str| data[field].as_u64().expect("a number");
        let due = Duration::from_micros(number("due_us"));
        self.latencies
            .borrow_mut()
            .push(self.began.elapsed().saturating_sub(due));
        self.seen.borrow_mut().push(number("number"));
    }

    fn outcome(self) -> Outcome {
        let (seen, gaps) = (self.seen.into_inner(), self.gaps.into_inner());
        let acknowledged = self.acknowledged.into_inner();
        let mut distinct = seen.clone();
        distinct.sort_unstable();
        distinct.dedup();
        let in_gap = |vid: u64| gaps.iter().any(|(after, to)| *after < vid && vid < *to);
        let is_lost =
            |(number, vid): &&(u64, u64)| distinct.binary_search(number).is_err() && !in_gap(*vid);
        let mut latencies = self.latencies.into_inner();
        latencies.sort_unstable();
        Outcome {
            lost: acknowledged.iter().filter(is_lost).map(|a| a.0).collect(),
            acknowledged: acknowledged.len(),
            refused: self.refused.into_inner(),
            cuts: self.cuts.get(),
            repeated: seen.len() - distinct.len(),
            reordered: seen.windows(2).filter(|pair| pair[1] < pair[0]).count(),
            latencies,
        }
    }
}

/// Publishes one event; its vid, or the status or error in a word.
async fn post(client: &reqwest::Client, url: &str, event: &Value) -> Result<u64, String> {
    let request = client.post(format!("{url}/v1/events")).json(event);
    let answer = match timeout(PATIENCE, request.send()).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(_)) => return Err("no connection".to_owned()),
        Err(_) => return Err("no answer".to_owned()),
    };
    if !answer.status().is_success() {
        return Err(answer.status().as_u16().to_string());
    }
    let answer: Value = answer.json().await.map_err(|_| "no answer".to_owned())?;
    answer["vid"].as_u64().ok_or_else(|| "no vid".to_owned())
}
