//! What of a row becomes what of an event, and what becomes of the row.

use serde_json::json;

use crate::common::read::Data;
use crate::database::Database;
use crate::outbox::{
    database, dead_letters, events, gateway, gateway_with, init, number, state, until_all_done,
    until_events, write,
};

#[tokio::test]
async fn a_row_becomes_an_event_with_all_it_has() {
    let database = database().await;
    let client = database.client().await;
    client
        .batch_execute(
            r#"INSERT INTO vidette_outbox (event_id, topic, type, content_type, headers, data)
            VALUES
            ('6f1e2f56-0f5b-4d6c-9f0e-6d1f0e2b3c4d', 'door.3', 'opened', 'application/json',
                '{"from": "gate"}', '{"n": 1.50}'),
            (gen_random_uuid(), 'door.4', NULL, NULL, NULL, 'plain words')"#,
        )
        .await
        .expect("rows");
    let gateway = gateway(&database, "");
    until_events(&gateway, 2).await;
    let events = gateway.get("/v1/poll?after=earliest&wait=0").await["events"].clone();
    assert_eq!(events[0]["id"], "6f1e2f56-0f5b-4d6c-9f0e-6d1f0e2b3c4d");
    assert_eq!(
        (&events[0]["topic"], &events[0]["type"]),
        (&json!("door.3"), &json!("opened"))
    );
    assert_eq!(
        (&events[0]["headers"], &events[0]["data"]),
        (&json!({ "from": "gate" }), &json!({ "n": 1.50 }))
    );
    assert_eq!(
        (&events[1]["topic"], &events[1]["data"]),
        (&json!("door.4"), &json!("plain words"))
    );
    assert_eq!(events[1].get("type"), None);

    until_all_done(&client).await;
    let rows = client
        .query("SELECT outcome FROM vidette_outbox ORDER BY id", &[])
        .await
        .expect("rows");
    let epoch = gateway.get("/v1/bus").await["epoch"]
        .as_str()
        .expect("an epoch")
        .to_owned();
    let outcomes: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    assert_eq!(
        outcomes,
        [format!("1-{epoch}"), format!("2-{epoch}")],
        "the row says where its event is"
    );
}

#[tokio::test]
async fn data_can_be_text_json_jsonb_or_bytes() {
    for (kind, value, expected) in [
        ("text", "'{\"a\":  1}'", Data::Json("{\"a\":  1}".into())),
        ("json", "'{\"a\":  1}'", Data::Json("{\"a\":  1}".into())),
        ("jsonb", "'{\"a\":  1}'", Data::Json("{\"a\": 1}".into())),
        ("bytea", "'\\x00ff'", Data::Bytes(vec![0, 255])),
    ] {
        let database = Database::start().await;
        database.psql(&init(&["--data", kind]));
        database.psql(&format!(
            "INSERT INTO vidette_outbox (topic, data) VALUES ('a', {value});"
        ));
        let events = until_events(&gateway(&database, ""), 1).await;
        assert_eq!(events[0].data, expected, "{kind}");
    }
}

#[tokio::test]
async fn rows_are_deleted_where_that_is_configured() {
    let database = database().await;
    let client = database.client().await;
    let gateway = gateway(&database, "delete_after_publish = true");
    for n in 0..5 {
        write(&client, "a", &n.to_string()).await;
    }
    write(&client, "a..b", "refused").await;
    until_events(&gateway, 6).await;
    until_all_done(&client).await;
    let left = client
        .query_one("SELECT data FROM vidette_outbox", &[])
        .await
        .expect("one row")
        .get::<_, String>(0);
    assert_eq!(left, "refused", "what did not become an event stays");
    assert_eq!(events(&gateway).await.len(), 5);
}

#[tokio::test]
async fn a_row_that_cannot_be_an_event_is_a_dead_letter_and_holds_up_nothing() {
    let database = database().await;
    let client = database.client().await;
    let rows = "INSERT INTO vidette_outbox (topic, type, content_type, headers, data) VALUES
        ('a..b', NULL, NULL, NULL, 'bad topic'),
        ('vidette.x', NULL, NULL, NULL, 'the gateway''s topic'),
        ('a', 'error', NULL, NULL, 'bad type'),
        ('a', NULL, 'application/json', NULL, 'no JSON'),
        ('a', NULL, NULL, '{\"n\": 1}', 'bad headers'),
        ('a', NULL, NULL, NULL, repeat('x', 2000)),
        (repeat('t', 100000), NULL, NULL, NULL, 'long topic'),
        ('a', NULL, NULL, NULL, '\"\\ud800\"'),
        ('a', NULL, NULL, NULL, repeat('[', 129) || repeat(']', 129)),
        ('a', NULL, NULL, NULL, 'good')";
    client.batch_execute(rows).await.expect("rows");
    let gateway = gateway_with(&database, "", "[limits]\nmax_event_bytes = 1000");
    until_events(&gateway, 10).await;
    until_all_done(&client).await;
    assert_eq!(events(&gateway).await.len(), 1);

    let dead = dead_letters(&gateway).await;
    assert_eq!(dead.len(), 9, "{dead:?}");
    assert_eq!(dead[0]["data"], "bad topic");
    assert_eq!(
        (&dead[0]["headers"]["row"], &dead[0]["headers"]["source"]),
        (&json!("1"), &json!("doors"))
    );
    assert!(
        dead[0]["headers"]["reason"]
            .as_str()
            .expect("a reason")
            .contains("a..b"),
        "{dead:?}"
    );
    assert!(
        dead[5]["headers"]["reason"]
            .as_str()
            .expect("a reason")
            .contains("2000 bytes"),
        "{dead:?}"
    );
    gateway
        .until("nothing waits", || async {
            state(&gateway).await["lag"] == 0
        })
        .await;
    let state = state(&gateway).await;
    assert_eq!(
        (&state["published"], &state["refused"]),
        (&json!(1), &json!(9)),
        "{state}"
    );
    let refused = "SELECT count(*) FROM vidette_outbox WHERE outcome LIKE 'refused: %'";
    assert_eq!(number(&client, refused).await, 9, "each row says why");
}

#[tokio::test]
async fn an_outbox_that_somebody_has_made_looser_breaks_nothing() {
    let database = database().await;
    let client = database.client().await;
    let looser = "ALTER TABLE vidette_outbox ALTER topic DROP NOT NULL, ALTER data DROP NOT NULL,
        ALTER id TYPE int, ALTER topic TYPE varchar(100), ADD note text;
        INSERT INTO vidette_outbox (topic, data) VALUES (NULL, '1'), ('a', NULL), ('a', '2')";
    client.batch_execute(looser).await.expect("a table");
    let gateway = gateway(&database, "");
    until_events(&gateway, 3).await;
    until_all_done(&client).await;
    let reasons: Vec<_> = dead_letters(&gateway)
        .await
        .iter()
        .map(|letter| letter["headers"]["reason"].clone())
        .collect();
    assert!(
        reasons[1].as_str().expect("a reason").contains("NULL"),
        "{reasons:?}"
    );
    assert_eq!(events(&gateway).await.len(), 1);
}

#[tokio::test]
async fn a_backlog_is_read_in_bounded_batches() {
    let database = database().await;
    let client = database.client().await;
    let rows = "INSERT INTO vidette_outbox (topic, data)
        SELECT 'a', repeat('x', 200000) FROM generate_series(1, 100)";
    client.batch_execute(rows).await.expect("rows");
    client
        .batch_execute(
            "INSERT INTO vidette_outbox (topic, data)
            SELECT 'a', n::text FROM generate_series(1, 2500) AS n",
        )
        .await
        .expect("rows");
    let gateway = gateway(&database, "");
    let events = until_events(&gateway, 2600).await;
    let numbers: Vec<_> = events[100..]
        .iter()
        .map(|event| event.data.clone())
        .collect();
    let expected: Vec<_> = (1..=2500).map(|n: u32| Data::Json(n.to_string())).collect();
    assert!(numbers == expected, "in their order");
    until_all_done(&client).await;
    gateway
        .until("nothing waits", || async {
            state(&gateway).await["lag"] == 0
        })
        .await;
}
