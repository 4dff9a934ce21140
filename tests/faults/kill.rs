//! A gateway that is killed again and again at random moments loses nothing and doubles nothing
//! (contract §2).

use std::time::Duration;

use crate::common::gateway::{Gateway, Setup};
use crate::common::read::{ALL, Seen, SubscribeParams, read_all};
use crate::publisher::{WAYS, Way};
use crate::subscriber::Subscriber;
use crate::whole_log::PublishRecord;
use crate::writer::{Patience, Shared, write};

/// `VIDETTE_SEED` chooses the run, `VIDETTE_KILLS` its length.
fn from_env(name: &str, default: u64) -> u64 {
    std::env::var(name)
        .ok()
        .map_or(default, |text| text.parse().expect("a number"))
}

/// A topic of writers whose id is not sent again.
const GIVES_UP: &str = "kill.lets-go";

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_killed_at_random_moments_loses_and_doubles_nothing() {
    let (seed, rounds) = (
        from_env("VIDETTE_SEED", fastrand::u64(..1_000_000)),
        from_env("VIDETTE_KILLS", 20),
    );
    println!("VIDETTE_SEED={seed} VIDETTE_KILLS={rounds}");
    let mut random = fastrand::Rng::with_seed(seed);
    let config = "[bus]\nheartbeat = \"1s\"".to_owned();
    let mut gateway = Gateway::start_with(Setup {
        config,
        ..Setup::default()
    });
    let (url, epoch) = (gateway.url(), gateway.get("/v1/bus").await["epoch"].clone());

    let shared = Shared::default();
    let mut writers = Vec::new();
    for (n, way) in (0..).zip(WAYS) {
        let name = format!("{way:?}").to_lowercase();
        let writer = write(
            way,
            name,
            url.clone(),
            Patience::SendsAgain,
            shared.clone(),
            seed + n,
        );
        writers.push(tokio::spawn(writer));
    }
    let lets_go = write(
        Way::Events,
        "lets-go".into(),
        url.clone(),
        Patience::GivesUp,
        shared.clone(),
        seed + 9,
    );
    writers.push(tokio::spawn(lets_go));
    let subscribers: Vec<Subscriber> = ALL
        .into_iter()
        .flat_map(|via| {
            [
                Subscriber::start(via, &url, &[]),
                Subscriber::start(via, &url, &["kill.publish", GIVES_UP]),
            ]
        })
        .collect();

    for _ in 0..rounds {
        // Also right at the start, while everybody comes back at once.
        let run_for = if random.u8(..) < 40 {
            0
        } else {
            random.u64(10..350)
        };
        tokio::time::sleep(Duration::from_millis(run_for)).await;
        tokio::task::block_in_place(|| {
            gateway.kill();
            gateway.start_again();
        });
    }
    shared.stop();
    for writer in writers {
        tokio::time::timeout(Duration::from_secs(60), writer)
            .await
            .expect("in time")
            .expect("a writer");
    }

    assert_eq!(
        gateway.get("/v1/bus").await["epoch"],
        epoch,
        "the log is the same one"
    );
    let mut logs = Vec::new();
    for via in ALL {
        logs.push(read_all(via, &gateway, &SubscribeParams::earliest()).await);
    }
    assert!(
        logs[0] == logs[1] && logs[1] == logs[2],
        "the transports send the same log"
    );
    let record = std::mem::take(&mut *shared.record.lock().expect("the record"));
    check(record, &logs[0], &subscribers, rounds).await;
}

async fn check(mut record: PublishRecord, log: &[Seen], subscribers: &[Subscriber], rounds: u64) {
    for subscriber in subscribers {
        let wants =
            |topic: &String| subscriber.topics.is_empty() || subscriber.topics.contains(topic);
        let last = log.iter().rfind(|event| wants(&event.topic));
        subscriber.reaches(last.expect("events").vid).await;

        let received = subscriber.received();
        assert_eq!(received.gaps, [], "nothing is gone");
        assert_eq!(received.epochs.len(), 1);
        assert!(
            received.opened as u64 > rounds / 2,
            "it hardly ever had to resume: {}",
            received.opened
        );
        record.subscriber_saw(&subscriber.topics, &received.events);
    }

    let found = record.compare(log);
    println!(
        "log: {found}; {} acknowledged again as duplicates",
        record.duplicates()
    );
    assert!(found.is_clean(), "{found}");
    assert!(
        record.duplicates() > 0,
        "no publisher ever sent anything twice: the test tests too little"
    );
}
