//! One connection to the database: the outbox found and locked, its trigger listened to, its
//! statements prepared.
//!
//! Invariants:
//! - a session that exists holds the lock of its outbox, so nobody else reads it;
//! - nothing here waits longer than `answer_timeout`: the server ends a statement that takes
//!   longer, and a server that says nothing at all is given up.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use tokio::sync::Notify;
use tokio_postgres::tls::NoTlsStream;
use tokio_postgres::{AsyncMessage, Client, Connection, NoTls, Row, Socket, Statement};
use tokio_util::task::AbortOnDropHandle;

use super::fault::PostgresFault;
use super::rows::Key;
use super::schema::channel;
use super::sql;
use crate::config::PostgresConfig;
use crate::limits;

/// The first half of the advisory lock's key, the letters "vdtt"; the second one is the table's.
const LOCK_CLASS: i32 = 0x7664_7474;

type Answer<T> = Result<T, PostgresFault>;

pub(super) struct Session {
    client: Client,
    answer_timeout: Duration,
    /// Told of new rows, and of the end of the connection.
    news: Arc<Notify>,
    _connection: AbortOnDropHandle<()>,
    waiting: Statement,
    count: Statement,
    mark: Statement,
    delete: Statement,
}

/// What became of rows, column by column.
#[derive(Default)]
pub(super) struct Done {
    ids: Vec<i64>,
    event_ids: Vec<String>,
    outcomes: Vec<String>,
}

impl Done {
    pub(super) fn push(&mut self, key: Key, outcome: String) {
        self.ids.push(key.id);
        self.event_ids.push(key.event_id);
        self.outcomes.push(outcome);
    }
}

impl Session {
    pub(super) async fn open(options: &PostgresConfig) -> Answer<Self> {
        within(options.answer_timeout, async {
            let (client, connection) = options.server.connect(NoTls).await?;
            let news = Arc::new(Notify::new());
            let connection = AbortOnDropHandle::new(tokio::spawn(carry(connection, news.clone())));
            Self::prepare(options, client, news, connection).await
        })
        .await
    }

    async fn prepare(
        options: &PostgresConfig,
        client: Client,
        news: Arc<Notify>,
        connection: AbortOnDropHandle<()>,
    ) -> Answer<Self> {
        client
            .batch_execute(&sql::settings(options.answer_timeout))
            .await?;
        let (oid, data_type) = find_outbox(&client, options).await?;
        lock(&client, oid, options).await?;
        // Listening comes before the first look, so that no row falls between them.
        client
            .batch_execute(&format!("LISTEN {}", channel(oid)))
            .await?;
        let table = options.table.to_string();
        Ok(Session {
            waiting: client.prepare(&sql::waiting(&table, &data_type)).await?,
            count: client.prepare(&sql::count(&table)).await?,
            mark: client.prepare(&sql::mark(&table)).await?,
            delete: client.prepare(&sql::delete(&table)).await?,
            _connection: connection,
            answer_timeout: options.answer_timeout,
            client,
            news,
        })
    }

    /// The oldest rows that wait, as [`sql::waiting`] has them.
    pub(super) async fn waiting(&self, max_event_bytes: usize) -> Answer<Vec<Row>> {
        let events = i64::try_from(limits::SOURCE_BATCH_EVENTS).unwrap_or(i64::MAX);
        let each = i32::try_from(max_event_bytes).unwrap_or(i32::MAX);
        let bytes = i64::try_from(limits::SOURCE_BATCH_BYTES).unwrap_or(i64::MAX);
        within(self.answer_timeout, async {
            Ok(self
                .client
                .query(&self.waiting, &[&events, &each, &bytes])
                .await?)
        })
        .await
    }

    /// How many rows wait; no more than [`limits::DATABASE_LAG_ROWS`] are counted.
    pub(super) async fn count_waiting(&self) -> Answer<u64> {
        let most = limits::DATABASE_LAG_ROWS;
        let row = within(self.answer_timeout, async {
            Ok(self.client.query_one(&self.count, &[&most]).await?)
        })
        .await?;
        Ok(u64::try_from(row.get::<_, i64>(0)).unwrap_or_default())
    }

    /// Writes their outcomes to rows, which then do not wait any more.
    pub(super) async fn mark(&self, done: &Done) -> Answer<()> {
        self.finish(&self.mark, &[&done.ids, &done.event_ids, &done.outcomes])
            .await
    }

    /// Deletes rows.
    pub(super) async fn delete(&self, done: &Done) -> Answer<()> {
        self.finish(&self.delete, &[&done.ids, &done.event_ids])
            .await
    }

    async fn finish(
        &self,
        statement: &Statement,
        columns: &[&(dyn tokio_postgres::types::ToSql + Sync)],
    ) -> Answer<()> {
        within(self.answer_timeout, async {
            Ok(self.client.execute(statement, columns).await?)
        })
        .await?;
        Ok(())
    }

    /// Waits until there may be new rows, at most so long.
    pub(super) async fn news(&self, at_most: Duration) -> Answer<()> {
        let _ = tokio::time::timeout(at_most, self.news.notified()).await;
        if self.client.is_closed() {
            Err(PostgresFault::Closed)
        } else {
            Ok(())
        }
    }
}

/// Drives a connection until it ends.
async fn carry(mut connection: Connection<Socket, NoTlsStream>, news: Arc<Notify>) {
    let mut messages = stream::poll_fn(|cx| connection.poll_message(cx));
    while let Some(Ok(message)) = messages.next().await {
        if matches!(message, AsyncMessage::Notification(_)) {
            news.notify_one();
        }
    }
    drop(messages);
    drop(connection); // only now the client knows that it is closed
    news.notify_one();
}

async fn within<T>(at_most: Duration, answer: impl Future<Output = Answer<T>>) -> Answer<T> {
    tokio::time::timeout(at_most, answer)
        .await
        .unwrap_or(Err(PostgresFault::Silent(at_most)))
}

/// The outbox's oid and the type of its data.
async fn find_outbox(client: &Client, options: &PostgresConfig) -> Answer<(u32, String)> {
    let table = options.table.to_string();
    let row = client.query_one(sql::FIND_OUTBOX, &[&table]).await?;
    if row.get("is_standby") {
        return Err(PostgresFault::Standby);
    }
    let Some(oid) = row.get::<_, Option<u32>>("oid") else {
        return Err(PostgresFault::NoOutbox(table));
    };
    if !row.get::<_, bool>("is_outbox") {
        return Err(PostgresFault::NotAnOutbox(table));
    }
    Ok((oid, row.get("data_type")))
}

/// Takes the outbox for this session. Only one gateway can read it: which rows are done is kept
/// once a row.
async fn lock(client: &Client, oid: u32, options: &PostgresConfig) -> Answer<()> {
    let key = oid.cast_signed();
    let row = client
        .query_one("SELECT pg_try_advisory_lock($1, $2)", &[&LOCK_CLASS, &key])
        .await?;
    if row.get(0) {
        Ok(())
    } else {
        Err(PostgresFault::Taken(options.table.to_string()))
    }
}
