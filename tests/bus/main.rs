//! The bus by itself: which subscribers are notified, and when. On paused time where time matters.

#[allow(unreachable_pub)]
#[path = "../common/wrapping_engine.rs"]
mod wrapping_engine;

mod credentials;
mod gate;
mod publishing;
mod retention;
mod scripted;
mod shared_log;
mod standing_still;
mod streams;
mod subscriptions;
mod time;
mod waking;

use std::sync::Arc;
use std::time::Duration;
use vidette::caller::Caller;

use vidette::bus::{Bus, BusOptions, OnGap, Step, SubscribeRequest, Subscription};
use vidette::cursor::Start;
use vidette::engine::{Engine, MemoryEngine, Retention};
use vidette::event::{EventParts, NewEvent};
use vidette::topic::Filter;

const HEARTBEAT: Duration = Duration::from_secs(15);

fn options() -> BusOptions {
    BusOptions {
        heartbeat: HEARTBEAT,
        max_subscribers: 1000,
        max_event_bytes: 1024 * 1024,
        retention: keep(u64::MAX),
    }
}

fn keep(max_events: u64) -> Retention {
    let hour = Duration::from_secs(3600);
    Retention {
        max_age: hour,
        max_events,
        max_bytes: u64::MAX,
        dedupe_window: hour,
    }
}

fn memory() -> Arc<MemoryEngine> {
    Arc::new(MemoryEngine::new(Duration::from_secs(120)))
}

fn bus() -> Bus {
    Bus::start(memory(), options())
}

fn bus_on(engine: Arc<dyn Engine>) -> Bus {
    Bus::start(engine, options())
}

fn event(topic: &str) -> NewEvent {
    NewEvent::check(
        EventParts {
            topic,
            data: "{}".into(),
            ..EventParts::default()
        },
        1024,
    )
    .expect("an event")
}

async fn publish(bus: &Bus, topic: &str) -> u64 {
    bus.publish(&Caller::gateway(), vec![event(topic)])
        .await
        .expect("a receipt")[0]
        .vid
}

fn ask(topic: &str, start: Start) -> SubscribeRequest {
    SubscribeRequest {
        filter: Filter::parse([topic]).expect("a filter"),
        start,
        on_gap: OnGap::Continue,
        limit: None,
    }
}

/// Opens a subscription and reads its hello.
async fn subscribe(bus: &Bus, topic: &str, start: Start) -> Subscription {
    let mut subscription = Subscription::open(bus, &Caller::gateway(), ask(topic, start))
        .await
        .expect("a subscription");
    assert!(matches!(step(&mut subscription).await, Step::Hello { .. }));
    subscription
}

async fn step(subscription: &mut Subscription) -> Step {
    subscription
        .next()
        .await
        .expect("no error")
        .expect("a step")
}

/// The vids of the next step, which has to be events.
async fn vids(subscription: &mut Subscription) -> Vec<u64> {
    match step(subscription).await {
        Step::Events(events, _) => events.iter().map(|e| e.vid).collect(),
        other => panic!("not events: {other:?}"),
    }
}
