//! What can go wrong between the gateway and a database, and what to do about it.

use std::time::Duration;

use tokio_postgres::error::{DbError, SqlState};

#[derive(Debug, thiserror::Error)]
pub(super) enum PostgresFault {
    #[error("there is no table {0} in the database, or the gateway may not see it. {INIT}")]
    NoOutbox(String),
    #[error("the table {0} lacks columns of an outbox. {INIT}")]
    NotAnOutbox(String),
    #[error("another gateway reads {0}; only one can. It is taken over when that one has gone")]
    Taken(String),
    #[error(
        "the server is a standby, where nothing can be acknowledged; give the address of the primary"
    )]
    Standby,
    #[error("the server did not answer within {0:?}")]
    Silent(Duration),
    #[error("the server has closed the connection")]
    Closed,
    #[error("{}", describe(.0))]
    Server(#[from] tokio_postgres::Error),
}

const INIT: &str = "`vidette source postgres init --print` prints the SQL that makes it";

fn describe(fault: &tokio_postgres::Error) -> String {
    if let Some(db) = fault.as_db_error() {
        return describe_db(db);
    }
    // The outer text names only the kind of fault: "error connecting to server".
    let mut text = fault.to_string();
    let mut source = std::error::Error::source(fault);
    while let Some(inner) = source {
        let inner_text = inner.to_string();
        if !text.contains(&inner_text) {
            text = format!("{text}: {inner_text}");
        }
        source = inner.source();
    }
    text
}

fn describe_db(fault: &DbError) -> String {
    let (code, message) = (fault.code(), fault.message());
    let remedy = if [
        SqlState::UNDEFINED_TABLE,
        SqlState::UNDEFINED_COLUMN,
        SqlState::DATATYPE_MISMATCH,
    ]
    .contains(code)
    {
        INIT
    } else if *code == SqlState::INSUFFICIENT_PRIVILEGE {
        "The gateway needs SELECT, DELETE and UPDATE (outcome) on the outbox: `vidette source postgres init --print --role ROLE` prints the grants"
    } else if *code == SqlState::QUERY_CANCELED || *code == SqlState::LOCK_NOT_AVAILABLE {
        "Something holds the outbox, or the server is overloaded: see pg_stat_activity and pg_locks"
    } else if [
        SqlState::INVALID_PASSWORD,
        SqlState::INVALID_AUTHORIZATION_SPECIFICATION,
    ]
    .contains(code)
    {
        "Look at url and password_file, and at the server's pg_hba.conf"
    } else {
        return format!("{message} ({})", code.code());
    };
    format!("{message} ({}). {remedy}", code.code())
}
