//! Several gateways on one log of NATS take jobs: one of them at a time, and another one when that
//! is gone.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::client::SUBMIT_JOB_BG;
use crate::common::gateway::{Gateway, Setup};
use crate::common::nats::NatsCluster;
use crate::job_server::JobServer;
use crate::support::{numbers, of_source, record, source, until_done, until_state};

fn gateway_on(nats: &NatsCluster, server: &JobServer) -> Gateway {
    let servers = nats.urls().join(",");
    let flags = [
        "--nats",
        &servers,
        "--stream",
        "doors",
        "--create",
        "--replicas",
        "1",
    ];
    Gateway::start_on_a_port_of_its_own(Setup {
        engine: "jetstream",
        config: source(&[server.address()]),
        flags: flags.map(str::to_owned).to_vec(),
        ..Setup::default()
    })
}

/// A producer that submits one job after the other until it is dropped.
struct Producer {
    submitted: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Producer {
    fn start(server: &JobServer) -> Self {
        let (submitted, stop) = (
            Arc::new(AtomicU64::new(0)),
            Arc::new(AtomicBool::new(false)),
        );
        let (counted, stopped) = (submitted.clone(), stop.clone());
        let mut client = server.client();
        let thread = std::thread::spawn(move || {
            for number in 1.. {
                if stopped.load(Ordering::SeqCst) {
                    return;
                }
                let job = record(number);
                client.submit(SUBMIT_JOB_BG, &format!("rec-{number}"), job.as_bytes());
                counted.store(number, Ordering::SeqCst);
                std::thread::sleep(Duration::from_millis(5));
            }
        });
        Producer {
            submitted,
            stop,
            thread: Some(thread),
        }
    }

    /// The number of its last job.
    fn end(mut self) -> u64 {
        self.stop.store(true, Ordering::SeqCst);
        let thread = self.thread.take().expect("a thread");
        thread.join().expect("it has submitted all it wanted");
        self.submitted.load(Ordering::SeqCst)
    }
}

async fn holds_the_lease(gateway: &Gateway) -> bool {
    gateway.metric("vidette_source_lease").await > 0.0
}

/// Waits until it takes jobs, and some have come since.
async fn until_it_takes_jobs(gateway: &Gateway, what: &str) -> Duration {
    let began = Instant::now();
    gateway
        .until(what, || async {
            of_source(gateway, "state").await == "up" && of_source(gateway, "taken").await != 0
        })
        .await;
    began.elapsed()
}

#[tokio::test]
async fn each_job_is_one_event_while_the_gateway_that_takes_them_changes() {
    let nats = NatsCluster::start(1).await;
    let server = JobServer::start();
    let mut first = gateway_on(&nats, &server);
    until_state(&first, "up").await;
    let mut second = gateway_on(&nats, &server);
    let producer = Producer::start(&server);
    until_it_takes_jobs(&first, "the first one takes jobs").await;
    assert!(holds_the_lease(&first).await);
    assert!(!holds_the_lease(&second).await);
    assert_eq!(of_source(&second, "state").await, "waiting");

    first.kill();
    let after_kill = until_it_takes_jobs(&second, "the second one takes jobs").await;
    first.start_again();

    // Longer than the lease: the first one takes over, and the second one finds out by itself.
    second.signal(Signal::SIGSTOP);
    let after_freeze = until_it_takes_jobs(&first, "the first one takes jobs again").await;
    second.signal(Signal::SIGCONT);
    until_state(&second, "waiting").await;

    // One that is asked to end gives the lease away.
    first.ask_to_end();
    second
        .until("the second one holds the lease", || {
            holds_the_lease(&second)
        })
        .await;
    until_state(&second, "up").await;
    println!("takes jobs again: {after_kill:?} after a kill, {after_freeze:?} after a freeze");

    let submitted = producer.end();
    until_done(&second, &server).await;
    let mut found = numbers(&second).await;
    found.sort_unstable();
    assert_eq!(found, (1..=submitted).collect::<Vec<u64>>());
    second.terminate().await;
}
