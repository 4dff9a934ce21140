//! Rows of transactions that commit in another order than they began.

use tokio_postgres::Client;

use crate::outbox::{
    database, events, gateway, number, until_all_done, until_events, words, write,
};

/// What many pollers do: everything after the highest number seen.
async fn naive_poll(client: &Client, last: &mut i64) -> Vec<String> {
    let rows = client
        .query(
            "SELECT id, data FROM vidette_outbox WHERE id > $1 ORDER BY id",
            &[last],
        )
        .await;
    let rows = rows.expect("rows");
    *last = rows.last().map_or(*last, |row| row.get(0));
    rows.iter().map(|row| row.get(1)).collect()
}

#[tokio::test]
async fn a_row_that_is_committed_late_is_not_skipped_although_a_poller_by_number_skips_it() {
    let database = database().await;
    let (slow, quick, poller) = (
        database.client().await,
        database.client().await,
        database.client().await,
    );
    let gateway = gateway(&database, "");
    let mut last = 0;

    slow.batch_execute("BEGIN; INSERT INTO vidette_outbox (topic, data) VALUES ('a', 'slow')")
        .await
        .expect("a row");
    write(&quick, "a", "quick").await;
    assert_eq!(words(&until_events(&gateway, 1).await), ["quick"]);
    assert_eq!(naive_poll(&poller, &mut last).await, ["quick"]);

    slow.batch_execute("COMMIT").await.expect("a commit");
    assert_eq!(words(&until_events(&gateway, 2).await), ["quick", "slow"]);
    assert_eq!(
        naive_poll(&poller, &mut last).await,
        [""; 0],
        "the poller has passed it over for ever"
    );
    assert_eq!(
        number(&poller, "SELECT count(*) FROM vidette_outbox").await,
        2
    );
}

#[tokio::test]
async fn what_a_transaction_has_seen_comes_before_what_it_writes_then() {
    let database = database().await;
    let (first, second) = (database.client().await, database.client().await);
    // The second transaction has the lower number, and writes only after it has waited for the
    // first one.
    second
        .batch_execute("BEGIN; INSERT INTO vidette_outbox (topic, data) VALUES ('a', 'before')")
        .await
        .expect("a row");
    write(&first, "a", "opened").await;
    second
        .batch_execute("INSERT INTO vidette_outbox (topic, data) VALUES ('a', 'closed'); COMMIT")
        .await
        .expect("a row");
    let gateway = gateway(&database, "");
    assert_eq!(
        words(&until_events(&gateway, 3).await),
        ["before", "opened", "closed"]
    );
}

#[tokio::test]
async fn a_transaction_that_does_not_end_holds_nothing_back() {
    let database = database().await;
    let (client, long) = (database.client().await, database.client().await);
    client
        .batch_execute("CREATE TABLE other (n int)")
        .await
        .expect("a table");
    long.batch_execute(
        "BEGIN ISOLATION LEVEL SERIALIZABLE; INSERT INTO other VALUES (1);
        SELECT * FROM vidette_outbox",
    )
    .await
    .expect("a transaction");
    let gateway = gateway(&database, "");
    write(&client, "a", "on time").await;
    until_events(&gateway, 1).await;
    until_all_done(&client).await;
    long.batch_execute("ROLLBACK").await.expect("its end");
}

#[tokio::test]
async fn what_is_rolled_back_never_was() {
    let database = database().await;
    let client = database.client().await;
    let gateway = gateway(&database, "");
    let script = "BEGIN; INSERT INTO vidette_outbox (topic, data) VALUES ('a', 'undone'); ROLLBACK;
        BEGIN; INSERT INTO vidette_outbox (topic, data) VALUES ('a', 'kept'); SAVEPOINT s;
        INSERT INTO vidette_outbox (topic, data) VALUES ('a', 'undone too'); ROLLBACK TO s; COMMIT";
    client.batch_execute(script).await.expect("transactions");
    until_events(&gateway, 1).await;
    until_all_done(&client).await;
    assert_eq!(words(&events(&gateway).await), ["kept"]);
}
