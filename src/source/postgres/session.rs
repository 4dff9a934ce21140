//! One connection to the database: it finds and locks the outbox, listens to its trigger, and
//! prepares its statements.
//!
//! Invariants:
//! - a session holds the lock of its outbox, so no other gateway reads it;
//! - nothing here waits longer than `answer_timeout`: the server ends a statement that takes
//!   longer, and a server that does not answer at all is given up.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use tokio::sync::Notify;
use tokio_postgres::tls::NoTlsStream;
use tokio_postgres::types::ToSql;
use tokio_postgres::{AsyncMessage, Client, Connection, NoTls, Row, Socket, Statement};
use tokio_util::task::AbortOnDropHandle;

use super::error::PostgresError;
use super::rows::FinishedRows;
use super::schema::channel;
use super::sql;
use crate::config::PostgresConfig;
use crate::limits;

/// The first half of the advisory lock's key, the letters "vdtt"; the second one is the table's
/// oid.
const LOCK_CLASS: i32 = 0x7664_7474;

const LOCK: &str = "SELECT pg_try_advisory_lock($1, $2)";

type PostgresResult<T> = Result<T, PostgresError>;

pub(super) struct PostgresSession {
    client: Client,
    answer_timeout: Duration,
    /// Notified of new rows, and of the end of the connection.
    changed: Arc<Notify>,
    _connection: AbortOnDropHandle<()>,
    statements: OutboxStatements,
}

/// What is asked about one outbox, again and again.
struct OutboxStatements {
    waiting: Statement,
    count: Statement,
    mark: Statement,
    delete: Statement,
}

impl OutboxStatements {
    async fn prepare(client: &Client, table: &str, data_type: &str) -> PostgresResult<Self> {
        Ok(OutboxStatements {
            // Prepared once, because the plans are needed again for every batch.
            waiting: client.prepare(&sql::waiting(table, data_type)).await?,
            count: client.prepare(&sql::count(table)).await?,
            mark: client.prepare(&sql::mark(table)).await?,
            delete: client.prepare(&sql::delete(table)).await?,
        })
    }
}

impl PostgresSession {
    pub(super) async fn open(config: &PostgresConfig) -> PostgresResult<Self> {
        // Connecting, finding the outbox and preparing share one timeout, so that a server which
        // answers each step slowly does not hold the source for long.
        let opening = async {
            let (client, connection) = config.server.connect(NoTls).await?;
            let changed = Arc::new(Notify::new());
            let connection = tokio::spawn(run_connection(connection, changed.clone()));
            Ok(PostgresSession {
                _connection: AbortOnDropHandle::new(connection),
                statements: set_up(&client, config).await?,
                answer_timeout: config.answer_timeout,
                client,
                changed,
            })
        };
        within(config.answer_timeout, opening).await
    }

    /// The oldest rows that wait; see [`sql::waiting`].
    pub(super) async fn waiting(&self, max_event_bytes: usize) -> PostgresResult<Vec<Row>> {
        // Bounds on rows, on each event and on all together keep every answer small.
        let each = i32::try_from(max_event_bytes).unwrap_or(i32::MAX);
        let rows = bigint(limits::SOURCE_BATCH_EVENTS);
        let bytes = bigint(limits::SOURCE_BATCH_BYTES);
        let bounds: [&(dyn ToSql + Sync); 3] = [&rows, &each, &bytes];
        self.answer(self.client.query(&self.statements.waiting, &bounds))
            .await
    }

    /// How many rows wait; at most [`limits::DATABASE_LAG_ROWS`] are counted.
    pub(super) async fn count_waiting(&self) -> PostgresResult<u64> {
        let bounds: [&(dyn ToSql + Sync); 1] = [&limits::DATABASE_LAG_ROWS];

        // Beyond the bound the number says enough, and counting on would load the database.
        let counting = self.client.query_one(&self.statements.count, &bounds);
        let row = self.answer(counting).await?;
        Ok(u64::try_from(row.get::<_, i64>(0)).unwrap_or_default())
    }

    /// Writes their outcomes to rows, which no longer wait then.
    pub(super) async fn mark(&self, rows: &FinishedRows) -> PostgresResult<()> {
        let columns: [&(dyn ToSql + Sync); 3] = [&rows.ids, &rows.event_ids, &rows.outcomes];
        self.execute(&self.statements.mark, &columns).await
    }

    /// Deletes rows.
    pub(super) async fn delete(&self, rows: &FinishedRows) -> PostgresResult<()> {
        let columns: [&(dyn ToSql + Sync); 2] = [&rows.ids, &rows.event_ids];
        self.execute(&self.statements.delete, &columns).await
    }

    async fn execute(
        &self,
        statement: &Statement,
        columns: &[&(dyn ToSql + Sync)],
    ) -> PostgresResult<()> {
        self.answer(self.client.execute(statement, columns)).await?;
        Ok(())
    }

    async fn answer<T>(
        &self,
        answer: impl Future<Output = Result<T, tokio_postgres::Error>>,
    ) -> PostgresResult<T> {
        within(self.answer_timeout, async { Ok(answer.await?) }).await
    }

    /// Waits until there may be new rows, at most so long.
    pub(super) async fn notified(&self, at_most: Duration) -> PostgresResult<()> {
        // Running out of time is no error: rows are then looked for without a notification.
        let _ = tokio::time::timeout(at_most, self.changed.notified()).await;
        self.check_open()
    }

    fn check_open(&self) -> PostgresResult<()> {
        if self.client.is_closed() {
            Err(PostgresError::Closed)
        } else {
            Ok(())
        }
    }
}

/// A number as PostgreSQL has it.
fn bigint(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// Drives a connection until it ends.
async fn run_connection(mut connection: Connection<Socket, NoTlsStream>, changed: Arc<Notify>) {
    let mut messages = stream::poll_fn(|cx| connection.poll_message(cx));
    while let Some(Ok(message)) = messages.next().await {
        // Notices of the server, such as warnings, concern nobody here.
        if matches!(message, AsyncMessage::Notification(_)) {
            changed.notify_one();
        }
    }

    // The client sees that it is closed only after the connection is dropped, so that comes first.
    drop(messages);
    drop(connection);
    changed.notify_one();
}

async fn within<T>(
    at_most: Duration,
    answer: impl Future<Output = PostgresResult<T>>,
) -> PostgresResult<T> {
    tokio::time::timeout(at_most, answer)
        .await
        .unwrap_or(Err(PostgresError::Silent(at_most)))
}

async fn set_up(client: &Client, config: &PostgresConfig) -> PostgresResult<OutboxStatements> {
    // The settings bound every statement after them.
    let settings = sql::settings(config.answer_timeout);
    client.batch_execute(&settings).await?;
    let (oid, data_type) = find_outbox(client, config).await?;
    lock(client, oid, config).await?;

    // Listening comes before the first read, so that no row falls between them.
    let listen = format!("LISTEN {}", channel(oid));
    client.batch_execute(&listen).await?;
    OutboxStatements::prepare(client, &config.table.to_string(), &data_type).await
}

/// The outbox's oid and the type of its data.
async fn find_outbox(client: &Client, config: &PostgresConfig) -> PostgresResult<(u32, String)> {
    let table = config.table.to_string();
    let row = client.query_one(sql::FIND_OUTBOX, &[&table]).await?;

    // Each of these would fail later, too, with an error that says less.
    if row.get("is_standby") {
        return Err(PostgresError::Standby);
    }
    let Some(oid) = row.get::<_, Option<u32>>("oid") else {
        return Err(PostgresError::NoOutbox(table));
    };
    if !row.get::<_, bool>("is_outbox") {
        return Err(PostgresError::NotAnOutbox(table));
    }
    Ok((oid, row.get("data_type")))
}

/// Takes the outbox for this session. Only one gateway can read it, because a row keeps a single
/// outcome.
async fn lock(client: &Client, oid: u32, config: &PostgresConfig) -> PostgresResult<()> {
    // The lock's key is a signed number, an oid is not; any one-to-one mapping will do.
    let key = oid.cast_signed();

    // The lock is not waited for: the state of the source says who has it.
    let row = client.query_one(LOCK, &[&LOCK_CLASS, &key]).await?;
    if row.get(0) {
        Ok(())
    } else {
        Err(PostgresError::Taken(config.table.to_string()))
    }
}
