//! What is asked of the database.
//!
//! Invariants:
//! - no answer is larger than [`limits::SOURCE_BATCH_EVENTS`] rows of bounded texts, and data of
//!   [`limits::SOURCE_BATCH_BYTES`] and one event more;
//! - a row is told from another one by its id *and* its event id: numbers can begin anew, as after
//!   `TRUNCATE … RESTART IDENTITY`, and a new row is never taken for an old one then.

use std::time::Duration;

use crate::limits;

/// Takes what a session needs to be what it expects, whatever the role's own settings are.
pub(super) fn settings(answer_timeout: Duration) -> String {
    let milliseconds = answer_timeout.as_millis().max(1);
    // An acknowledgement that a crash of the database took back would offer its rows again. A
    // server that can look whether its client has gone while a statement waits gives the lock of a
    // killed gateway back at once.
    format!(
        "SET application_name = 'vidette'; SET client_encoding = 'UTF8'; SET synchronous_commit = on;
         SET default_transaction_isolation = 'read committed'; SET default_transaction_read_only = off;
         SET statement_timeout = {milliseconds}; SET lock_timeout = {milliseconds};
         DO $$ BEGIN PERFORM set_config('client_connection_check_interval', '500', false);
         EXCEPTION WHEN OTHERS THEN NULL; END $$"
    )
}

pub(super) const FIND_OUTBOX: &str = "
SELECT pg_is_in_recovery() AS is_standby, found.oid AS oid, (
        SELECT count(*) = 8 FROM pg_attribute WHERE attrelid = found.oid AND NOT attisdropped AND attname
        IN ('id', 'event_id', 'topic', 'type', 'content_type', 'headers', 'data', 'outcome')
    ) AS is_outbox, (
        SELECT format_type(atttypid, NULL) FROM pg_attribute WHERE attrelid = found.oid AND attname = 'data'
    ) AS data_type
FROM (SELECT to_regclass($1)::oid AS oid) AS found";

/// Rows that wait, oldest first: at most $1 of them, no data over $2 bytes, and no more once $3
/// bytes are together.
pub(super) fn waiting(table: &str, data_type: &str) -> String {
    let (length, content) = match data_type {
        "bytea" => ("octet_length(data)", "data"),
        "text" => ("octet_length(data)", "convert_to(data, 'UTF8')"),
        _ => ("octet_length(data::text)", "convert_to(data::text, 'UTF8')"),
    };
    let text = |column: &str| format!("left({column}, {TEXT_CHARS}) AS {column}");
    let (topic, kind, content_type) = (text("topic"), text("type"), text("content_type"));
    format!(
        "SELECT id::bigint AS id, event_id::text AS event_id, {topic}, {kind}, {content_type},
            CASE WHEN octet_length(headers::text) > {HEADERS_BYTES} THEN '' ELSE headers::text END AS headers,
            bytes, CASE WHEN bytes <= $2::int THEN {content} END AS data
        FROM (
            SELECT *, sum(least(bytes, $2::int)) OVER (ORDER BY id) - least(bytes, $2::int) AS bytes_before
            FROM (
                SELECT *, coalesce({length}, 0) AS bytes FROM {table} WHERE outcome IS NULL ORDER BY id LIMIT $1
            ) AS oldest
        ) AS oldest
        WHERE bytes_before < $3 ORDER BY id"
    )
}

/// Characters of a topic, type or content type: one that is longer is refused for its length
/// anyway.
const TEXT_CHARS: usize = 256;

/// Bytes of headers as JSON; longer ones are read as an empty text, which is no JSON.
const HEADERS_BYTES: usize = 32 * 1024;

/// How many rows wait, counted up to $1.
pub(super) fn count(table: &str) -> String {
    format!("SELECT count(*) FROM (SELECT FROM {table} WHERE outcome IS NULL LIMIT $1) AS waiting")
}

/// Writes outcomes $3 to rows of ids $1 and event ids $2.
pub(super) fn mark(table: &str) -> String {
    format!(
        "UPDATE {table} AS t SET outcome = done.outcome
        FROM unnest($1::bigint[], $2::text[], $3::text[]) AS done(id, event_id, outcome)
        WHERE t.id = done.id AND t.event_id = done.event_id::uuid AND t.outcome IS NULL"
    )
}

/// Deletes rows of ids $1 and event ids $2.
pub(super) fn delete(table: &str) -> String {
    format!(
        "DELETE FROM {table} AS t USING unnest($1::bigint[], $2::text[]) AS done(id, event_id)
        WHERE t.id = done.id AND t.event_id = done.event_id::uuid AND t.outcome IS NULL"
    )
}

const _: () =
    assert!(limits::MAX_TOPIC_BYTES < TEXT_CHARS && limits::MAX_CONTENT_TYPE_BYTES < TEXT_CHARS);
