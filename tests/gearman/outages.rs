//! Nothing is lost and nothing comes twice, whoever goes away and whenever.

use std::time::Duration;

use crate::client::SUBMIT_JOB_BG;
use crate::common::gateway::Gateway;
use crate::job_server::JobServer;
use crate::support::{
    gateway_of, gateway_with, numbers, of_source, record, source, until_done, until_state,
};
use crate::tools::{find, root};
use crate::withholding::Network;

/// The engine forgets an id at once, so what keeps a job from coming twice is the source itself.
const FORGETFUL: &str = "[retention]\ndedupe_window = \"1ms\"\n";

/// A gateway whose answers to ten jobs, some of which have no unique id, do not arrive.
async fn unanswered(server: &JobServer, has_unique: fn(u64) -> bool) -> (Gateway, Network) {
    let network = Network::before(server.address()).await;
    network.withhold();
    for number in 1..=10 {
        let unique = if has_unique(number) {
            format!("rec-{number}")
        } else {
            String::new()
        };
        server
            .client()
            .submit(SUBMIT_JOB_BG, &unique, record(number).as_bytes());
    }
    let gateway = gateway_with(&format!("{}{FORGETFUL}", source(&[network.address()])));
    gateway
        .until("ten answers are on their way", || async {
            network.withheld() == 10
        })
        .await;
    assert_eq!(
        numbers(&gateway).await,
        (1..=10).collect::<Vec<u64>>(),
        "what is answered is in the log"
    );
    (gateway, network)
}

/// Afterwards they have been given again, and answered.
async fn nothing_came_twice(gateway: &Gateway, server: &JobServer) {
    until_done(gateway, server).await;
    server
        .client()
        .submit(SUBMIT_JOB_BG, "rec-11", record(11).as_bytes());
    until_done(gateway, server).await;
    assert_eq!(numbers(gateway).await, (1..=11).collect::<Vec<u64>>());
    assert_eq!(of_source(gateway, "duplicates").await, 10);
}

#[tokio::test]
async fn a_gateway_that_is_killed_between_append_and_answer_doubles_nothing() {
    let server = JobServer::start();
    let (mut gateway, network) = unanswered(&server, |number| number % 3 > 0).await;
    gateway.kill();
    network.let_through();
    gateway.start_again();
    nothing_came_twice(&gateway, &server).await;
}

#[tokio::test]
async fn a_connection_that_breaks_between_append_and_answer_doubles_nothing() {
    let server = JobServer::start();
    let (gateway, network) = unanswered(&server, |number| number % 3 > 0).await;
    network.let_through();
    network.cut();
    nothing_came_twice(&gateway, &server).await;
}

#[tokio::test]
async fn a_job_server_that_is_restarted_with_answers_on_their_way_doubles_nothing() {
    let mut server = JobServer::start();
    // Of jobs without a unique id its queue on disk keeps only the last one.
    let (gateway, network) = unanswered(&server, |_| true).await;
    server.stop();
    network.let_through();
    until_state(&gateway, "down").await;
    server.start_again();
    nothing_came_twice(&gateway, &server).await;
}

#[tokio::test]
async fn a_gateway_serves_while_the_job_server_is_down_and_takes_its_jobs_when_it_is_there() {
    let mut server = JobServer::down();
    let gateway = gateway_of(&[server.address()]);
    until_state(&gateway, "down").await;
    let error = of_source(&gateway, "last_fault").await;
    assert!(
        error["text"]
            .as_str()
            .expect("a text")
            .contains(&server.port()),
        "{error}"
    );
    gateway.publish_numbers("here.too", 3).await;
    assert!(
        reqwest::get(format!("{}/readyz", gateway.url()))
            .await
            .expect("an answer")
            .status()
            .is_success()
    );
    server.start_again();
    assert_eq!(server.gearman(&["-u", "rec-1", &record(1)]).await.ok(), "4");
    until_state(&gateway, "up").await;
    let downs = gateway.log().matches("the source is down").count();
    assert_eq!(downs, 1, "a source that stays down is reported once");
}

#[tokio::test]
async fn a_gateway_that_is_asked_to_end_among_jobs_leaves_each_to_the_next_run_or_to_nobody() {
    let server = JobServer::start();
    let mut gateway = gateway_of(&[server.address()]);
    let script = root().join("tests/gearman/producer.php");
    let mut producer = tokio::process::Command::new(find("php", "bin"));
    producer
        .arg(script)
        .args([&server.port(), "1", "600", "background"])
        .kill_on_drop(true);
    let mut producer = producer.spawn().expect("php");
    for so_many in [100, 300, 500] {
        gateway
            .until("some more have come", || async {
                gateway.get("/v1/bus").await["last"].as_u64() >= Some(so_many)
            })
            .await;
        assert!(gateway.terminate().await.success());
        gateway.start_again();
    }
    let ended = tokio::time::timeout(Duration::from_secs(60), producer.wait())
        .await
        .expect("it ends in time");
    assert!(ended.expect("php").success());
    until_done(&gateway, &server).await;
    let mut seen = numbers(&gateway).await;
    seen.sort_unstable();
    assert_eq!(seen, (1..=600).collect::<Vec<u64>>());
}
