//! Publish streams leave capacity for single requests, and for one another.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use vidette::caller::Caller;

use futures_util::stream;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use vidette::bus::{Bus, PublishStream, Publishing};
use vidette::config::{Config, Overrides};
use vidette::error::ErrorKind;
use vidette::event::{EventParts, NewEvent};
use vidette::limits;
use vidette::server::Gateway;

use super::bus_on;
use super::gate::GateEngine;

/// Long enough for anything that can happen to have happened, on paused time.
const A_WHILE: Duration = Duration::from_secs(5);
const MEGABYTE: usize = 1_000_000;

fn event_of(bytes: usize) -> NewEvent {
    let parts = EventParts {
        topic: "door.1",
        data: vec![b'x'; bytes].into(),
        ..EventParts::default()
    };
    NewEvent::check(parts, bytes).expect("an event")
}

/// Publishes batches on a stream until it is held back; gives what was taken.
async fn until_held_back(stream: &PublishStream, batch: &[NewEvent]) -> Vec<Publishing> {
    let mut taken = Vec::new();
    loop {
        let enqueued = timeout(A_WHILE, stream.enqueue_with_backpressure(batch.to_vec())).await;
        let Ok(publishing) = enqueued else {
            return taken;
        };
        taken.push(publishing.expect("it is taken"));
    }
}

/// Publishes single requests until one is refused; gives what was taken.
fn until_refused(bus: &Bus, event: &NewEvent) -> Vec<Publishing> {
    let mut taken = Vec::new();
    loop {
        match bus.enqueue(&Caller::gateway(), vec![event.clone()]) {
            Ok(publishing) => taken.push(publishing),
            Err(refused) => {
                assert_eq!(refused.kind(), ErrorKind::Busy);
                return taken;
            }
        }
    }
}

async fn all_done(engine: &GateEngine, taken: Vec<Publishing>) {
    engine.open(taken.len());
    for publishing in taken {
        publishing
            .done()
            .await
            .expect("what was taken is published");
    }
}

/// What streams do not hold while as many as like to wait for more.
#[tokio::test(start_paused = true)]
async fn single_requests_have_half_of_the_queue_beside_any_number_of_streams() {
    let shares = [
        (
            MEGABYTE,
            limits::PUBLISH_STREAM_BYTES,
            limits::PUBLISH_STREAMS_BYTES,
        ),
        (
            1,
            limits::PUBLISH_STREAM_PIPELINE,
            limits::PUBLISH_STREAMS_REQUESTS,
        ),
    ];
    for (size, of_one, of_all) in shares {
        let engine = Arc::new(GateEngine::new());
        let bus = bus_on(engine.clone());
        let event = event_of(size);
        let unit = if size == 1 { 1 } else { event.size_bytes() };
        let mut taken = Vec::new();
        let streams: Vec<PublishStream> = (0..12)
            .map(|_| bus.publish_stream(&Caller::gateway()))
            .collect();
        for stream in &streams {
            let of_stream = until_held_back(stream, std::slice::from_ref(&event)).await;
            assert!(
                of_stream.len() * unit <= of_one,
                "{} of one",
                of_stream.len()
            );
            taken.extend(of_stream);
        }
        assert!(taken.len() * unit <= of_all, "{} of all", taken.len());
        assert!(
            (taken.len() + 1) * unit > of_all - of_one,
            "{} of all",
            taken.len()
        );
        let waiting: Vec<_> = streams
            .into_iter()
            .map(|s| wait_to_publish(s, &event))
            .collect();
        tokio::time::sleep(A_WHILE).await;

        let single = until_refused(&bus, &event);
        assert!(
            (single.len() + 1) * unit > of_all,
            "{} single ones",
            single.len()
        );
        let (count, waiting_count) = (taken.len() + single.len(), waiting.len());
        taken.extend(single);
        engine.open(waiting_count);
        all_done(&engine, taken).await;
        for waited in waiting {
            let publishing = waited.await.expect("the task");
            publishing.done().await.expect("its turn comes");
        }
        assert_eq!(bus.bounds().last, (count + waiting_count) as u64);
    }
}

fn wait_to_publish(stream: PublishStream, event: &NewEvent) -> JoinHandle<Publishing> {
    let batch = vec![event.clone()];
    tokio::spawn(async move {
        let taken = stream.enqueue_with_backpressure(batch).await;
        taken.expect("it is taken in the end")
    })
}

/// A batch larger than a stream's part, from several at once, beside a stream of small ones.
#[tokio::test(start_paused = true)]
async fn large_batches_of_many_streams_come_in_turn() {
    let engine = Arc::new(GateEngine::new());
    let bus = bus_on(engine.clone());
    let largest = vec![event_of(MEGABYTE); 2 * limits::PUBLISH_STREAM_BYTES / MEGABYTE];
    let large: Vec<_> = (0..8)
        .map(|_| {
            let (stream, batch) = (bus.publish_stream(&Caller::gateway()), largest.clone());
            tokio::spawn(async move {
                for _ in 0..3 {
                    let taken = stream.enqueue_with_backpressure(batch.clone()).await;
                    taken.expect("it is taken").done().await.expect("receipts");
                }
            })
        })
        .collect();
    let small = bus.publish_stream(&Caller::gateway());
    let small = tokio::spawn(async move {
        let taken = small.enqueue_with_backpressure(vec![event_of(1)]).await;
        taken.expect("it is taken").done().await.expect("a receipt")
    });
    tokio::time::sleep(A_WHILE).await; // until all of them wait
    engine.open(1000);
    let vid = small.await.expect("the task")[0].vid;
    assert!(
        vid <= 9 * largest.len() as u64,
        "it waited for {vid} events"
    );
    for large in large {
        timeout(A_WHILE, large)
            .await
            .expect("no stream waits for ever")
            .expect("the task");
    }
}

/// A gateway of its own on this engine.
async fn gateway_on(engine: Arc<GateEngine>) -> SocketAddr {
    let overrides = Overrides {
        listen: vec!["127.0.0.1:0".to_owned()],
        ..Overrides::default()
    };
    let config = Config::parse("", overrides).expect("a configuration");
    let gateway = Gateway::start_on(engine, &config).await.expect("a gateway");
    let address = gateway.addresses()[0];
    tokio::spawn(gateway.run(std::future::pending()));
    address
}

/// A stream of so many lines of a megabyte over HTTP; the text of its answer.
fn publish_lines(url: String, lines: usize, sent: Arc<AtomicUsize>) -> JoinHandle<String> {
    let line = format!(
        "{{\"topic\":\"door.1\",\"data\":\"{}\"}}\n",
        "x".repeat(MEGABYTE)
    );
    let body = stream::iter((0..lines).map(move |_| {
        sent.fetch_add(1, Ordering::SeqCst);
        Ok::<_, std::io::Error>(line.clone())
    }));
    tokio::spawn(async move {
        let request = reqwest::Client::new().post(url);
        let request = request.header("content-type", "application/x-ndjson");
        let answer = request.body(reqwest::Body::wrap_stream(body)).send().await;
        answer.expect("an answer").text().await.expect("lines")
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_of_large_lines_over_http_have_no_single_post_refused() {
    const STREAMS: usize = 4;
    const LINES: usize = 24;
    let engine = Arc::new(GateEngine::new());
    let url = format!("http://{}/v1/events", gateway_on(engine.clone()).await);
    let sent = Arc::new(AtomicUsize::new(0));
    let streams: Vec<_> = (0..STREAMS)
        .map(|_| publish_lines(url.clone(), LINES, sent.clone()))
        .collect();
    // Until they are held back: on a busy machine a pause says little, so several are looked for.
    let (mut before, mut pauses) = (0, 0);
    while pauses < 4 {
        tokio::time::sleep(Duration::from_millis(250)).await;
        let now = sent.load(Ordering::SeqCst);
        pauses = if now == before && now > 0 {
            pauses + 1
        } else {
            0
        };
        before = now;
    }

    let single: Vec<_> = (0..21)
        .map(|_| {
            let request = reqwest::Client::new().post(&url);
            let request = request.header("content-type", "application/json");
            tokio::spawn(request.body(r#"{"topic":"door.2","data":1}"#).send())
        })
        .collect();
    let opened = engine.clone();
    let slowly = tokio::spawn(async move {
        loop {
            tokio::time::sleep(Duration::from_millis(100)).await;
            opened.open(1);
        }
    });
    for answer in single {
        let answer = answer.await.expect("the task").expect("an answer");
        assert_eq!(answer.status(), 200);
    }
    for stream in streams {
        let answers = stream.await.expect("the task");
        assert_eq!(
            answers.lines().filter(|l| l.contains("\"vid\"")).count(),
            LINES,
            "{answers}"
        );
    }
    slowly.abort();
}
