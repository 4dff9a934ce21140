//! A database that is down, silent, forbidden or not prepared.

use nix::sys::signal::Signal;

use crate::common::gateway::{Gateway, Setup};
use crate::database::Database;
use crate::outbox::{
    database, events, gateway, init, number, source, state, until_all_done, until_events,
    until_state, write,
};

/// A metric of the source.
async fn metric(gateway: &Gateway, name: &str) -> String {
    gateway
        .metric(&format!("{name}{{source=\"doors\",kind=\"postgres\"}}"))
        .await
        .to_string()
}

/// Waits until the source is down for this reason.
async fn until_down(gateway: &Gateway, reason: &str) {
    let is_reported = || async {
        let state = state(gateway).await;
        state["state"] == "down"
            && state["last_fault"]["text"]
                .as_str()
                .is_some_and(|text| text.contains(reason))
    };
    gateway.until(reason, is_reported).await;
}

#[tokio::test]
async fn a_database_that_is_down_at_start_stops_nothing_and_is_read_once_it_is_there() {
    let mut database = database().await;
    database.stop();
    let gateway = gateway(&database, "");
    until_down(&gateway, "error connecting").await;
    assert_eq!(metric(&gateway, "vidette_source_up").await, "0");
    gateway.publish_numbers("other", 3).await;

    database.start_again().await;
    write(&database.client().await, "a", "1").await;
    until_events(&gateway, 4).await;
    assert_eq!(state(&gateway).await["state"], "up");
    assert_eq!(metric(&gateway, "vidette_source_up").await, "1");
    assert_eq!(
        metric(&gateway, "vidette_source_published_total").await,
        "1"
    );
    let log = gateway.log();
    assert_eq!(
        log.matches("the source is down").count(),
        1,
        "a change is logged once: {log}"
    );
}

#[tokio::test]
async fn an_outbox_that_is_missing_is_reported_with_what_to_do() {
    let database = Database::start().await;
    let gateway = gateway(&database, "");
    until_down(&gateway, "vidette source postgres init --print").await;
    database.psql("CREATE TABLE vidette_outbox (id int);");
    until_down(&gateway, "lacks columns").await;
    database.psql("DROP TABLE vidette_outbox;");
    database.psql(&init(&[]));
    write(&database.client().await, "a", "1").await;
    until_events(&gateway, 1).await;
}

/// Not by the count of the log's events: the notes of the broken connection are in it, too.
async fn until_rows_are_read(gateway: &Gateway, count: usize) {
    gateway
        .until("every row is an event", || async {
            events(gateway).await.len() == count
        })
        .await;
}

#[tokio::test]
async fn an_outbox_that_is_dropped_and_made_anew_is_read_again_from_its_first_row() {
    let database = database().await;
    let client = database.client().await;
    let gateway = gateway(&database, "poll_interval = \"20ms\"");
    write(&client, "a", "old").await;
    until_events(&gateway, 1).await;
    until_all_done(&client).await;
    client
        .batch_execute("DROP TABLE vidette_outbox")
        .await
        .expect("no table");
    until_down(&gateway, "vidette source postgres init --print").await;
    database.psql(&init(&[]));
    write(&client, "a", "new").await;
    // The number of the row is the same, the row is not.
    until_rows_are_read(&gateway, 2).await;
    client
        .batch_execute("TRUNCATE vidette_outbox RESTART IDENTITY")
        .await
        .expect("an empty table");
    write(&client, "a", "newer").await;
    until_rows_are_read(&gateway, 3).await;
    until_all_done(&client).await;
}

#[tokio::test]
async fn missing_rights_are_reported_with_the_grants() {
    let database = database().await;
    database.psql("CREATE ROLE gate LOGIN; GRANT SELECT ON vidette_outbox TO gate;");
    let config = source(&database, "").replace("postgres@", "gate@");
    let gateway = Gateway::start_with(Setup {
        config,
        ..Setup::default()
    });
    write(&database.client().await, "a", "1").await;
    until_down(&gateway, "--role ROLE").await;
    database.psql(&init(&["--role", "gate"]));
    until_all_done(&database.client().await).await;
    assert_eq!(
        events(&gateway).await.len(),
        1,
        "published once, although it could not be marked for a while"
    );
}

#[tokio::test]
async fn a_second_gateway_waits_until_the_first_has_gone() {
    let database = database().await;
    let client = database.client().await;
    let mut first = gateway(&database, "");
    until_state(&first, "up").await;
    let second = gateway(&database, "");
    until_down(&second, "another gateway reads").await;
    write(&client, "a", "1").await;
    until_events(&first, 1).await;
    until_all_done(&client).await;
    first.kill();
    write(&client, "a", "2").await;
    assert_eq!(
        until_events(&second, 1).await.len(),
        1,
        "only what the first one has not read"
    );
}

#[tokio::test]
async fn a_server_that_falls_silent_is_given_up_and_read_on_when_it_speaks_again() {
    let database = database().await;
    let client = database.client().await;
    let gateway = gateway(
        &database,
        "answer_timeout = \"300ms\"\npoll_interval = \"50ms\"",
    );
    until_state(&gateway, "up").await;
    let backend = "SELECT pid FROM pg_stat_activity WHERE application_name = 'vidette'";
    let pid: i32 = client
        .query_one(backend, &[])
        .await
        .expect("the gateway's connection")
        .get(0);
    let pid = nix::unistd::Pid::from_raw(pid);
    // The server's end of the connection stands still; the connection stays open, as behind a
    // router that has forgotten it.
    nix::sys::signal::kill(pid, Signal::SIGSTOP).expect("the backend stops");
    until_down(&gateway, "did not answer").await;
    write(&client, "a", "1").await;
    assert_eq!(state(&gateway).await["published"], 0);
    nix::sys::signal::kill(pid, Signal::SIGCONT).expect("the backend goes on");
    until_events(&gateway, 1).await;
    until_all_done(&client).await;

    database.signal(Signal::SIGSTOP);
    nix::sys::signal::kill(pid, Signal::SIGKILL).ok();
    database.signal(Signal::SIGCONT);
    write_after_crash(&database).await;
    until_events(&gateway, 2).await;
}

/// The server begins anew when one of its processes was killed.
async fn write_after_crash(database: &Database) {
    for _ in 0..1000 {
        if let Ok(client) = database.try_client().await {
            let sql = "INSERT INTO vidette_outbox (topic, data) VALUES ('a', '2')";
            if client.execute(sql, &[]).await.is_ok() {
                return;
            }
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    panic!("the server does not come back");
}

#[tokio::test]
async fn a_standby_is_reported_apart_from_a_primary() {
    let mut database = database().await;
    database.stop();
    database.make_standby();
    database.start_again().await;
    let gateway = gateway(&database, "");
    until_down(&gateway, "address of the primary").await;
    let client = database.client().await;
    client
        .batch_execute("SELECT pg_promote()")
        .await
        .expect("a primary");
    until_state(&gateway, "up").await;
    assert_eq!(
        number(&client, "SELECT count(*) FROM vidette_outbox").await,
        0
    );
}
