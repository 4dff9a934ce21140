//! What can go wrong between the gateway and a database, and what to do about it.

use std::time::Duration;

use tokio_postgres::error::{DbError, SqlState};

#[derive(Debug, thiserror::Error)]
pub(super) enum PostgresError {
    #[error("there is no table {0} in the database, or the gateway may not see it. {INIT}")]
    NoOutbox(String),
    #[error("the table {0} lacks columns of an outbox. {INIT}")]
    NotAnOutbox(String),
    #[error(
        "another gateway reads {0}, and only one can; this one takes over when the other one ends"
    )]
    Taken(String),
    #[error(
        "the server is a standby, where nothing can be acknowledged; use the address of the primary"
    )]
    Standby,
    #[error("the server did not answer within {0:?}")]
    Silent(Duration),
    #[error("the server closed the connection")]
    Closed,
    #[error("{}", describe(.0))]
    Server(#[from] tokio_postgres::Error),
}

const INIT: &str = "`vidette source postgres init --print` prints the SQL that makes it";
const GRANTS: &str = "The gateway needs SELECT, DELETE and UPDATE (outcome) on the outbox: \
    `vidette source postgres init --print --role ROLE` prints the grants";
const OVERLOADED: &str = "Something holds the outbox, or the server is overloaded: \
    see pg_stat_activity and pg_locks";
const LOGIN: &str = "Check url and password_file, and the server's pg_hba.conf";

/// What to do about an error of the server, by its code.
const REMEDIES: [(SqlState, &str); 8] = [
    (SqlState::UNDEFINED_TABLE, INIT),
    (SqlState::UNDEFINED_COLUMN, INIT),
    (SqlState::DATATYPE_MISMATCH, INIT),
    (SqlState::INSUFFICIENT_PRIVILEGE, GRANTS),
    (SqlState::QUERY_CANCELED, OVERLOADED),
    (SqlState::LOCK_NOT_AVAILABLE, OVERLOADED),
    (SqlState::INVALID_PASSWORD, LOGIN),
    (SqlState::INVALID_AUTHORIZATION_SPECIFICATION, LOGIN),
];

fn describe(error: &tokio_postgres::Error) -> String {
    match error.as_db_error() {
        // The server itself answered, with a code to look up.
        Some(error) => describe_db(error),
        None => with_sources(error),
    }
}

/// The text of an error and of those that caused it: the outermost one names only the kind of
/// error, such as "error connecting to server".
fn with_sources(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        // Some errors repeat the text of their cause.
        let inner_text = inner.to_string();
        if !text.contains(&inner_text) {
            text = format!("{text}: {inner_text}");
        }
        source = inner.source();
    }
    text
}

fn describe_db(error: &DbError) -> String {
    // Messages are in the server's language; the code is the same in all of them.
    let text = format!("{} ({})", error.message(), error.code().code());
    match remedy(error.code()) {
        Some(remedy) => format!("{text}. {remedy}"),
        None => text,
    }
}

fn remedy(code: &SqlState) -> Option<&'static str> {
    let found = REMEDIES.iter().find(|(known, _)| known == code);
    found.map(|(_, remedy)| *remedy)
}
