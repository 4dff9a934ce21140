//! The statements that the gateway sends to the database.
//!
//! Invariants:
//! - no answer is larger than [`limits::SOURCE_BATCH_EVENTS`] rows of bounded texts, and data of
//!   [`limits::SOURCE_BATCH_BYTES`] plus one event;
//! - a row is identified by its id *and* its event id: numbers can start again, as after
//!   `TRUNCATE … RESTART IDENTITY`, and a new row must not be taken for an old one then.

use std::time::Duration;

use crate::limits;

/// Sets what a session relies on, whatever the role's own settings are.
///
/// Commits are synchronous, because a crash of the database must not take an acknowledgement back.
/// A server that can check during a statement whether its client has gone releases the lock of a
/// killed gateway at once.
pub(super) fn settings(answer_timeout: Duration) -> String {
    // To the server a timeout of zero means none at all.
    let milliseconds = answer_timeout.as_millis().max(1);
    format!(
        "{FIXED_SETTINGS}
         SET statement_timeout = {milliseconds}; SET lock_timeout = {milliseconds};"
    )
}

const FIXED_SETTINGS: &str = "
    SET application_name = 'vidette'; SET client_encoding = 'UTF8'; SET synchronous_commit = on;
    SET default_transaction_isolation = 'read committed';
    SET default_transaction_read_only = off;
    DO $$ BEGIN PERFORM set_config('client_connection_check_interval', '500', false);
    EXCEPTION WHEN OTHERS THEN NULL; END $$;";

pub(super) const FIND_OUTBOX: &str = "
    SELECT pg_is_in_recovery() AS is_standby, found.oid AS oid,
        (
            SELECT count(*) = 8 FROM pg_attribute
            WHERE attrelid = found.oid AND NOT attisdropped AND attname IN
                ('id', 'event_id', 'topic', 'type', 'content_type', 'headers', 'data', 'outcome')
        ) AS is_outbox,
        (
            SELECT format_type(atttypid, NULL) FROM pg_attribute
            WHERE attrelid = found.oid AND attname = 'data'
        ) AS data_type
    FROM (SELECT to_regclass($1)::oid AS oid) AS found";

/// Rows that wait, oldest first: at most $1 of them, no data over $2 bytes, and no further row once
/// $3 bytes have been reached.
pub(super) fn waiting(table: &str, data_type: &str) -> String {
    // The data is compared and sent as bytes, whatever the type of its column.
    let (length, content) = match data_type {
        "bytea" => ("octet_length(data)", "data"),
        "text" => ("octet_length(data)", "convert_to(data, 'UTF8')"),
        _ => ("octet_length(data::text)", "convert_to(data::text, 'UTF8')"),
    };
    let columns = waiting_columns();
    let oldest = oldest_rows(table, length);
    format!(
        "SELECT {columns},
            bytes, CASE WHEN bytes <= $2::int THEN {content} END AS data
        FROM ({oldest}) AS oldest WHERE bytes_before < $3 ORDER BY id"
    )
}

/// All columns but the data, of bounded length.
fn waiting_columns() -> String {
    // Headers are not cut, because a part of an object is not JSON; a bound keeps them out instead.
    let text = |column: &str| format!("left({column}, {TEXT_CHARS}) AS {column}");
    let (topic, kind, content_type) = (text("topic"), text("type"), text("content_type"));
    format!(
        "id::bigint AS id, event_id::text AS event_id, {topic}, {kind}, {content_type},
            CASE WHEN octet_length(headers::text) > {HEADERS_BYTES} THEN ''
                 ELSE headers::text END AS headers"
    )
}

/// The first $1 rows, each with the bytes of those before it.
fn oldest_rows(table: &str, length: &str) -> String {
    format!(
        "SELECT *, sum(least(bytes, $2::int)) OVER (ORDER BY id)
                - least(bytes, $2::int) AS bytes_before
        FROM (
            SELECT *, coalesce({length}, 0) AS bytes FROM {table}
            WHERE outcome IS NULL ORDER BY id LIMIT $1
        ) AS oldest"
    )
}

/// Characters of a topic, type or content type: a longer one is refused for its length anyway.
const TEXT_CHARS: usize = 256;

/// Bytes of headers as JSON; longer ones are read as an empty text, which is not JSON.
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
        WHERE {STILL_WAITS}"
    )
}

/// Deletes rows of ids $1 and event ids $2.
pub(super) fn delete(table: &str) -> String {
    format!(
        "DELETE FROM {table} AS t USING unnest($1::bigint[], $2::text[]) AS done(id, event_id)
        WHERE {STILL_WAITS}"
    )
}

const STILL_WAITS: &str =
    "t.id = done.id AND t.event_id = done.event_id::uuid AND t.outcome IS NULL";

const _: () =
    assert!(limits::MAX_TOPIC_BYTES < TEXT_CHARS && limits::MAX_CONTENT_TYPE_BYTES < TEXT_CHARS);
