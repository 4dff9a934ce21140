//! `vidette source postgres init --print`, and tables that somebody writes already.

use std::process::Command;

use serde_json::json;

use crate::database::Database;
use crate::outbox::{database, events, gateway, init, number, until_all_done, until_events, write};

#[tokio::test]
async fn what_is_printed_can_be_applied_again_and_changes_nothing() {
    let database = database().await;
    let client = database.client().await;
    database.psql("CREATE TABLE \"Door Log\" (doorno int, note text); CREATE ROLE gate LOGIN;");
    let args = [
        "--table",
        "Door Log",
        "--topic",
        "door.{doorno}",
        "--type",
        "it's {note}",
        "--role",
        "gate",
    ];
    database.psql(&init(&args));
    write(&client, "a", "kept").await;
    database.psql(&init(&args));
    database.psql("INSERT INTO \"Door Log\" VALUES (3, 'open');");
    assert_eq!(
        number(&client, "SELECT count(*) FROM vidette_outbox").await,
        2,
        "one trigger, one row"
    );
    let events = until_events(&gateway(&database, ""), 2).await;
    assert_eq!(
        (events[1].topic.as_str(), events[1].kind.as_str()),
        ("door.3", "it's open")
    );
}

#[tokio::test]
async fn each_new_row_of_a_table_that_somebody_writes_already_becomes_an_event() {
    let database = database().await;
    let client = database.client().await;
    database.psql(
        "CREATE TABLE door_log (id serial PRIMARY KEY, doorno text, rfsim text, ynopen boolean);
        CREATE ROLE writer LOGIN; GRANT INSERT ON door_log TO writer;
        GRANT USAGE ON SEQUENCE door_log_id_seq TO writer;
        INSERT INTO door_log (doorno) VALUES ('from before');",
    );
    database.psql(&init(&[
        "--table",
        "door_log",
        "--topic",
        "door.{doorno}",
        "--type",
        "opened",
    ]));
    let gateway = gateway(&database, "");
    // The writer knows neither the outbox nor the gateway, and may touch neither.
    let rows = "SET ROLE writer; INSERT INTO door_log (doorno, rfsim, ynopen) VALUES
        ('3', '0004839201', true), ('hall 7.1', 'x', false), (NULL, 'x', false), ('', 'x', false);";
    database.psql(rows);
    until_events(&gateway, 4).await;
    let found = gateway.get("/v1/poll?after=earliest&wait=0").await["events"].clone();
    assert_eq!(
        (&found[0]["topic"], &found[0]["type"]),
        (&json!("door.3"), &json!("opened"))
    );
    assert_eq!(
        found[0]["data"],
        json!({ "id": 2, "doorno": "3", "rfsim": "0004839201", "ynopen": true })
    );
    let topics: Vec<_> = events(&gateway)
        .await
        .into_iter()
        .map(|event| event.topic)
        .collect();
    assert_eq!(
        topics,
        ["door.3", "door.hall_7_1", "door._", "door._"],
        "a value is one token, whatever is in it"
    );
    until_all_done(&client).await;

    database.psql("BEGIN; INSERT INTO door_log (doorno) VALUES ('9'); ROLLBACK;");
    database.psql("INSERT INTO door_log (doorno) VALUES ('10');");
    assert_eq!(
        until_events(&gateway, 5).await[4].topic,
        "door.10",
        "and what is rolled back is no event"
    );
}

#[tokio::test]
async fn rows_of_a_table_become_events_whatever_the_outbox_holds_data_as() {
    for kind in ["json", "jsonb", "bytea"] {
        let database = Database::start().await;
        database.psql("CREATE TABLE door_log (doorno int);");
        database.psql(&init(&[
            "--table", "door_log", "--topic", "door", "--data", kind,
        ]));
        database.psql("INSERT INTO door_log VALUES (7);");
        let gateway = gateway(&database, "");
        until_events(&gateway, 1).await;
        let event = gateway.get("/v1/poll?after=earliest&wait=0").await["events"][0].clone();
        assert_eq!(event["data"], json!({ "doorno": 7 }), "{kind}");
    }
}

#[tokio::test]
async fn the_gateway_needs_no_more_than_the_printed_grants() {
    let database = Database::start().await;
    database.psql("CREATE SCHEMA door; CREATE ROLE gate LOGIN;");
    database.psql(&init(&["--outbox", "door.outbox", "--role", "gate"]));
    database.psql("INSERT INTO door.outbox (topic, data) VALUES ('a', '1'), ('a..b', '2');");
    let url = database.url().replace("postgres@", "gate@");
    for delete in [false, true] {
        let config = format!(
            "[[source.postgres]]\nurl = \"{url}\"\ntable = \"door.outbox\"\n\
             delete_after_publish = {delete}"
        );
        let setup = crate::common::gateway::Setup {
            config,
            ..Default::default()
        };
        let gateway = crate::common::gateway::Gateway::start_with(setup);
        until_events(&gateway, 2).await;
        let client = database.client().await;
        let waiting = async || {
            number(
                &client,
                "SELECT count(*) FROM door.outbox WHERE outcome IS NULL",
            )
            .await
        };
        gateway
            .until("nothing waits", async || waiting().await == 0)
            .await;
        database.psql("UPDATE door.outbox SET outcome = NULL, event_id = gen_random_uuid();");
    }
}

#[test]
fn wrong_flags_are_reported() {
    let cases: [&[&str]; 6] = [
        &[],
        &["--print", "--table", "door_log"],
        &["--print", "--topic", "door"],
        &["--print", "--outbox", "a.b.c"],
        &["--print", "--table", "a", "--topic", "door.{doorno"],
        &["--print", "--data", "xml"],
    ];
    for args in cases {
        let mut command = Command::new(env!("CARGO_BIN_EXE_vidette"));
        let output = command
            .args(["source", "postgres", "init"])
            .args(args)
            .output()
            .expect("vidette");
        assert_eq!(output.status.code(), Some(64), "{args:?} {output:?}");
        assert!(
            output.stdout.is_empty() && !output.stderr.is_empty(),
            "{args:?} {output:?}"
        );
    }
}
