//! How the gateway learns of new rows.

use crate::outbox::{database, gateway, number, until_all_done, until_events, until_state, write};

/// Rows waited for, one after the other.
const ROWS: u64 = 20;

#[tokio::test]
async fn a_commit_wakes_the_gateway_long_before_it_would_look() {
    let database = database().await;
    let client = database.client().await;
    // Only a notification can bring a row before the test gives up.
    let gateway = gateway(&database, "poll_interval = \"1h\"");
    until_state(&gateway, "up").await;
    for n in 1..=ROWS {
        write(&client, "a", &n.to_string()).await;
        until_events(&gateway, n).await;
    }
    client
        .batch_execute(
            "BEGIN; INSERT INTO vidette_outbox (topic, data)
            SELECT 'a', 'x' FROM generate_series(1, 5000); COMMIT",
        )
        .await
        .expect("rows");
    until_events(&gateway, ROWS + 5000).await;
    until_all_done(&client).await;
}

#[tokio::test]
async fn polling_alone_is_enough() {
    let database = database().await;
    let client = database.client().await;
    client
        .batch_execute("DROP TRIGGER vidette_outbox_notify ON vidette_outbox")
        .await
        .expect("no trigger");
    let gateway = gateway(&database, "poll_interval = \"20ms\"");
    until_state(&gateway, "up").await;
    for n in 1..=ROWS {
        write(&client, "a", &n.to_string()).await;
        until_events(&gateway, n).await;
    }
    until_all_done(&client).await;
}

#[tokio::test]
async fn an_old_outbox_is_read_by_its_index_of_waiting_rows() {
    let database = database().await;
    let client = database.client().await;
    let done = "INSERT INTO vidette_outbox (topic, data, outcome)
        SELECT 'a', 'x', '1-x' FROM generate_series(1, 50000)";
    client.batch_execute(done).await.expect("rows");
    client
        .batch_execute("VACUUM ANALYZE vidette_outbox")
        .await
        .expect("statistics");
    let gateway = gateway(&database, "");
    until_state(&gateway, "up").await;
    write(&client, "a", "new").await;
    until_events(&gateway, 1).await;
    until_all_done(&client).await;
    let plan = client.query(
        "EXPLAIN SELECT * FROM vidette_outbox WHERE outcome IS NULL ORDER BY id LIMIT 1000",
        &[],
    );
    let plan: Vec<String> = plan
        .await
        .expect("a plan")
        .iter()
        .map(|row| row.get(0))
        .collect();
    assert!(
        plan.iter()
            .any(|line| line.contains("vidette_outbox_waiting")),
        "{plan:?}"
    );
    assert_eq!(
        number(
            &client,
            "SELECT count(*) FROM vidette_outbox WHERE outcome IS NOT NULL"
        )
        .await,
        50_001
    );
}
