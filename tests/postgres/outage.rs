//! A row becomes one event although its acknowledgement was lost, however long ago that was.

use tokio_postgres::Client;

use crate::clock::Clock;
use crate::common::gateway::{Gateway, Setup};
use crate::database::Database;
use crate::outbox::{
    database, dead_letters, events, gateway_with, source, until_all_done, until_events,
    until_state, waiting, words, write,
};

/// With this no id is known for long: what keeps a row from becoming two events is not the dedupe
/// window.
const NO_DEDUPE: &str = "[retention]\ndedupe_window = \"1ms\"";

/// Acknowledgements wait while somebody holds this lock.
async fn make_marks_wait_for_a_lock(client: &Client) {
    let gate = "CREATE FUNCTION gate() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN PERFORM pg_advisory_xact_lock_shared(42); RETURN NULL; END $$;
        CREATE TRIGGER gate BEFORE UPDATE ON vidette_outbox
            FOR EACH STATEMENT EXECUTE FUNCTION gate()";
    client.batch_execute(gate).await.expect("a gate");
}

/// Holds all acknowledgements up until the connection is dropped.
async fn hold_marks(database: &Database) -> Client {
    let holder = database.client().await;
    holder
        .batch_execute("SELECT pg_advisory_lock(42)")
        .await
        .expect("a lock");
    holder
}

#[tokio::test]
async fn a_gateway_killed_between_the_event_and_its_mark_does_not_publish_it_again() {
    let database = database().await;
    let client = database.client().await;
    make_marks_wait_for_a_lock(&client).await;
    let mut gateway = gateway_with(&database, "", NO_DEDUPE);
    for round in 1..=3 {
        until_state(&gateway, "up").await;
        let holder = hold_marks(&database).await;
        write(&client, "a", "x").await;
        gateway
            .until("the event", || async {
                events(&gateway).await.len() == round
            })
            .await;
        write(&client, "a..b", "refused").await;
        gateway.kill();
        gateway.start_again();
        gateway
            .until("the dead letter", || async {
                dead_letters(&gateway).await.len() == round
            })
            .await;
        assert_eq!(waiting(&client).await, 2);
        gateway.kill();
        drop(holder);
        gateway.start_again();
        until_all_done(&client).await;
        assert_eq!(events(&gateway).await.len(), round);
        assert_eq!(dead_letters(&gateway).await.len(), round);
    }
}

#[tokio::test]
async fn a_database_that_crashes_before_the_mark_is_read_on_without_doubling() {
    let mut database = database().await;
    let client = database.client().await;
    make_marks_wait_for_a_lock(&client).await;
    let gateway = gateway_with(&database, "", NO_DEDUPE);
    until_state(&gateway, "up").await;
    let _holder = hold_marks(&database).await;
    write(&client, "a", "1").await;
    until_events(&gateway, 1).await;
    database.crash();
    until_state(&gateway, "down").await;
    database.start_again().await;
    let client = database.client().await;
    write(&client, "a", "2").await;
    until_all_done(&client).await;
    assert_eq!(words(&events(&gateway).await), ["1", "2"]);
}

#[tokio::test]
async fn a_mark_lost_hours_ago_is_not_forgotten_by_a_gateway_that_is_killed_meanwhile() {
    let mut database = database().await;
    let client = database.client().await;
    make_marks_wait_for_a_lock(&client).await;
    let mut clock = Clock::new();
    let config = format!("{NO_DEDUPE}\n{}", source(&database, ""));
    let setup = Setup {
        config,
        env: clock.env(),
        ..Setup::default()
    };
    let mut gateway = Gateway::start_on_a_port_of_its_own(setup);
    until_state(&gateway, "up").await;
    let holder = hold_marks(&database).await;
    write(&client, "a", "1").await;
    until_events(&gateway, 1).await;
    database.crash();
    until_state(&gateway, "down").await;
    drop(holder);

    // Hours later the log has gone on without the database, and the gateway is killed; and so once
    // more.
    for _ in 0..2 {
        clock.jump(5 * 60 * 60 * 1000);
        gateway.publish_numbers("other", 100).await;
        gateway.kill();
        gateway.start_again();
        until_state(&gateway, "down").await;
    }
    database.start_again().await;
    until_all_done(&database.client().await).await;
    let log = events(&gateway).await;
    assert_eq!(log.iter().filter(|event| event.topic == "a").count(), 1);
}

#[tokio::test]
async fn gateway_and_database_fail_together_and_the_gateway_again_hours_later() {
    let mut database = database().await;
    let client = database.client().await;
    make_marks_wait_for_a_lock(&client).await;
    let mut clock = Clock::new();
    let config = format!("{NO_DEDUPE}\n{}", source(&database, ""));
    let setup = Setup {
        config,
        env: clock.env(),
        ..Setup::default()
    };
    let mut gateway = Gateway::start_on_a_port_of_its_own(setup);
    until_state(&gateway, "up").await;
    let holder = hold_marks(&database).await;
    write(&client, "a", "1").await;
    until_events(&gateway, 1).await;
    gateway.kill();
    database.crash();
    drop(holder);
    gateway.start_again();
    until_state(&gateway, "down").await;
    clock.jump(5 * 60 * 60 * 1000);
    gateway.publish_numbers("other", 100).await;
    gateway.kill();
    gateway.start_again();
    database.start_again().await;
    until_all_done(&database.client().await).await;
    let log = events(&gateway).await;
    assert_eq!(log.iter().filter(|event| event.topic == "a").count(), 1);
}
