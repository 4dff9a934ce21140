//! What becomes of a job.

use serde_json::json;

use crate::client::{SUBMIT_JOB, SUBMIT_JOB_BG};
use crate::job_server::JobServer;
use crate::support::{
    events, gateway_of, gateway_with, numbers, of_source, record, source, until_done, until_state,
};
use crate::tools::{find, root, run};

const WORK_COMPLETE: u32 = 13;
const WORK_FAIL: u32 = 14;
const WORK_EXCEPTION: u32 = 25;

#[tokio::test]
async fn a_foreground_job_is_answered_with_its_vid_and_its_event_is_the_workload() {
    let server = JobServer::start();
    let gateway = gateway_of(&[server.address()]);
    assert_eq!(server.gearman(&["-u", "rec-1", &record(1)]).await.ok(), "1");
    assert_eq!(server.gearman(&["-u", "rec-2", &record(2)]).await.ok(), "2");
    let seen = events(&gateway, "door.>").await;
    assert_eq!(
        (&seen[0]["topic"], &seen[0]["id"]),
        (&json!("door.1"), &json!("rec-1"))
    );
    assert_eq!(seen[1]["data"].to_string(), record(2));
}

#[tokio::test]
async fn jobs_of_a_php_producer_become_events_in_the_order_they_were_queued() {
    let server = JobServer::start();
    let script = root().join("tests/gearman/producer.php");
    let script = script.to_str().expect("a path");
    run(
        find("php", "bin"),
        &[script, &server.port(), "1", "200", "background"],
    )
    .await
    .ok();
    let gateway = gateway_of(&[server.address()]);
    until_done(&gateway, &server).await;
    assert_eq!(numbers(&gateway).await, (1..=200).collect::<Vec<u64>>());
    let answers = run(
        find("php", "bin"),
        &[script, &server.port(), "201", "203", "foreground"],
    )
    .await
    .ok();
    assert_eq!(
        answers, "201\n202\n203\n",
        "each foreground job is answered with its vid"
    );
}

#[tokio::test]
async fn a_job_with_a_unique_id_that_was_there_before_makes_no_second_event() {
    let server = JobServer::start();
    let gateway = gateway_of(&[server.address()]);
    for _ in 0..2 {
        assert_eq!(server.gearman(&["-u", "rec-1", &record(1)]).await.ok(), "1");
    }
    assert_eq!(numbers(&gateway).await, [1]);
    assert_eq!(of_source(&gateway, "duplicates").await, 1);
}

#[tokio::test]
async fn a_unique_id_that_is_used_for_another_record_loses_neither() {
    let server = JobServer::start();
    let gateway = gateway_of(&[server.address()]);
    for (number, vid) in [(1, "1"), (2, "2"), (1, "1"), (2, "2")] {
        assert_eq!(
            server.gearman(&["-u", "door", &record(number)]).await.ok(),
            vid
        );
    }
    assert_eq!(numbers(&gateway).await, [1, 2]);
}

#[tokio::test]
async fn jobs_without_a_unique_id_are_all_kept_even_if_a_restarted_server_counts_from_one_again() {
    let mut server = JobServer::start();
    let gateway = gateway_of(&[server.address()]);
    let mut handles = Vec::new();
    for round in [[1, 1], [2, 3]] {
        for number in round {
            handles.push(
                server
                    .client()
                    .submit(SUBMIT_JOB_BG, "", record(number).as_bytes()),
            );
        }
        until_done(&gateway, &server).await;
        server.stop();
        server.start_again();
        until_state(&gateway, "up").await;
    }
    assert_eq!(
        handles[0], handles[2],
        "a restarted job server counts its handles from one"
    );
    assert_eq!(numbers(&gateway).await, [1, 1, 2, 3]);
}

#[tokio::test]
async fn a_job_that_cannot_be_an_event_is_answered_with_the_reason_and_kept_as_a_dead_letter() {
    let server = JobServer::start();
    let limit = "[limits]\nmax_event_bytes = 1000\n";
    let gateway = gateway_with(&format!("{}{limit}", source(&[server.address()])));
    let large = format!(r#"{{"doorno":1,"x":"{}"}}"#, "x".repeat(100_000));
    let deep = format!(
        "{{\"doorno\":1,\"x\":{}{}}}",
        "[".repeat(128),
        "]".repeat(128)
    );
    let cases: [(&str, &str); 7] = [
        ("not JSON", "not a JSON object"),
        (r#"{"door":1}"#, "no field"),
        (r#"{"doorno":"a b"}"#, "white space"),
        (r#"{"doorno":[1]}"#, "neither a text nor a number"),
        (&large, "at most 1000 are allowed"),
        (
            r#"{"doorno":1,"x":"\ud800"}"#,
            "unpaired surrogate at byte 17",
        ),
        (&deep, "deeper than 128 levels"),
    ];
    let mut client = server.client();
    client.submit(SUBMIT_JOB, "unasked", b"not JSON");
    assert_eq!(
        client.answer().0,
        WORK_FAIL,
        "a client that does not ask for exceptions is notified of a failure"
    );
    client.wants_exceptions();
    for (index, (workload, reason)) in cases.iter().enumerate() {
        client.submit(SUBMIT_JOB, &format!("bad-{index}"), workload.as_bytes());
        let (answer, body) = client.answer();
        let body = String::from_utf8(body).expect("text");
        assert!(
            answer == WORK_EXCEPTION && body.contains(reason),
            "{workload}: {answer} {body}"
        );
    }
    client.submit(SUBMIT_JOB, "good", record(1).as_bytes());
    assert_eq!(
        client.answer().0,
        WORK_COMPLETE,
        "a bad job holds up no good one"
    );

    let dead = events(&gateway, "vidette.dead.gearman").await;
    for (letter, (workload, reason)) in dead[1..].iter().zip(cases) {
        assert!(
            letter["headers"]["reason"]
                .as_str()
                .expect("a reason")
                .contains(reason),
            "{letter}"
        );
        let kept = letter["data"]
            .as_str()
            .map_or_else(|| letter["data"].to_string(), str::to_owned);
        assert!(workload.starts_with(&kept) && !kept.is_empty(), "{letter}");
    }
    assert_eq!(dead.len(), 8);
    assert_eq!(
        numbers(&gateway).await,
        [1],
        "a filter that does not name them takes in no dead letter"
    );
    let name = format!(
        "vidette_source_refused_total{{source=\"getmsg@{}\",kind=\"gearman\"}}",
        server.address()
    );
    assert!((gateway.metric(&name).await - 8.0).abs() < 0.1);
    assert_eq!(server.jobs(), 0);
}

#[tokio::test]
async fn jobs_come_from_several_servers() {
    let (one, mut other) = (JobServer::start(), JobServer::start());
    let gateway = gateway_of(&[one.address(), other.address()]);
    for number in 1..=10 {
        let server = if number % 2 == 0 { &one } else { &other };
        assert_eq!(
            server
                .gearman(&["-u", &number.to_string(), &record(number)])
                .await
                .ok(),
            number.to_string()
        );
    }
    other.stop();
    assert_eq!(
        one.gearman(&["-u", "11", &record(11)]).await.ok(),
        "11",
        "one that is down holds up no other"
    );
    assert_eq!(numbers(&gateway).await, (1..=11).collect::<Vec<u64>>());
}
