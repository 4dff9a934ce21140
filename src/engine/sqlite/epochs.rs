//! Whether a log goes on in its epoch, or is a copy and begins a new one.
//!
//! Invariants:
//! - a new epoch is durable before anything is published under it, in one transaction with the
//!   identity of the file that it is good for;
//! - a log that goes on where it was is not written.

use std::path::Path;

use rusqlite::{Connection, Row, Transaction, TransactionBehavior, params};

use super::errors::of_text;
use super::identity::FileIdentity;
use super::{from_sql, high_water, to_sql};
use crate::cursor::{Epoch, Vid};
use crate::limits;
use crate::lineage::{EarlierEpoch, Lineage};

const SELECT_EARLIER: &str = "SELECT epoch, good_through FROM earlier_epochs ORDER BY place";
const INSERT_EARLIER: &str = "INSERT INTO earlier_epochs (epoch, good_through) VALUES (?1, ?2)";

/// Why a log begins a new epoch.
#[derive(Debug, Clone, Copy)]
pub(super) enum BranchReason {
    /// The database is in another file than the one it was written in.
    OtherFile,
    /// The folder has seen vids that the database does not have.
    WentBack,
    /// An operator knows that it is a copy.
    Requested,
}

impl BranchReason {
    /// Why this log has to begin a new epoch; none when it goes on where it was.
    pub(super) fn find(
        connection: &Connection,
        database: &Path,
        lineage: &Lineage,
        last: Vid,
    ) -> rusqlite::Result<Option<Self>> {
        // A copy has another file, whatever is in it.
        if !is_in_its_file(connection, database)? {
            return Ok(Some(BranchReason::OtherFile));
        }
        // A backup that was copied over the database has the same file, and fewer events.
        let data_dir = database.parent().unwrap_or(Path::new("."));
        let went_back = high_water::is_ahead_of(data_dir, lineage, last);
        Ok(went_back.then_some(BranchReason::WentBack))
    }

    fn explained(self) -> &'static str {
        match self {
            BranchReason::OtherFile => {
                "the database is a copy, as it is not in the file it was written in"
            }
            BranchReason::WentBack => {
                "the database went back to an earlier state, as its folder has seen newer vids"
            }
            BranchReason::Requested => "a new epoch was requested",
        }
    }
}

/// Is the database in the file that it was written in?
fn is_in_its_file(connection: &Connection, database: &Path) -> rusqlite::Result<bool> {
    let recorded: Option<String> =
        connection.query_row("SELECT file FROM bus", [], |r| r.get(0))?;
    // What is recorded in another form is not known to be this file.
    let recorded: Option<FileIdentity> = recorded.and_then(|text| text.parse().ok());
    // A file that cannot be looked at is refused when it is opened, not here.
    let Ok(now) = FileIdentity::of(database) else {
        return Ok(true);
    };
    Ok(recorded.is_some_and(|recorded| recorded.is_same_file(&now)))
}

/// The epochs that the database has had.
pub(super) fn load_lineage(connection: &Connection) -> rusqlite::Result<Lineage> {
    let epoch = connection.query_row("SELECT epoch FROM bus", [], |r| read_epoch(r, 0))?;
    let mut statement = connection.prepare(SELECT_EARLIER)?;
    let earlier = statement.query_map([], read_earlier)?;
    let earlier = earlier.collect::<rusqlite::Result<_>>()?;
    Ok(Lineage::with_earlier(epoch, earlier))
}

fn read_earlier(row: &Row<'_>) -> rusqlite::Result<EarlierEpoch> {
    Ok(EarlierEpoch {
        epoch: read_epoch(row, 0)?,
        good_through: from_sql(row.get(1)?),
    })
}

fn read_epoch(row: &Row<'_>, column: usize) -> rusqlite::Result<Epoch> {
    let text: String = row.get(column)?;
    text.parse().map_err(|e| of_text(column, e))
}

/// Has the log go on from its last vid under a new epoch.
pub(super) fn branch(
    connection: &Connection,
    database: &Path,
    lineage: &Lineage,
    last: Vid,
    reason: BranchReason,
) -> rusqlite::Result<Lineage> {
    let branched = lineage.branch(last, Epoch::random());
    let file = FileIdentity::of(database).ok();
    save(connection, &branched, file)?;

    tracing::warn!(
        epoch = %branched.epoch(),
        earlier_epoch = %lineage.epoch(),
        good_through = last,
        "{}: a new epoch begins; cursors of the earlier one are served up to its last vid",
        reason.explained()
    );
    Ok(branched)
}

/// Writes all epochs and the file that they are good for, durably.
fn save(
    connection: &Connection,
    lineage: &Lineage,
    file: Option<FileIdentity>,
) -> rusqlite::Result<()> {
    connection.busy_timeout(limits::START_LOCK_WAIT)?;
    let transaction = Transaction::new_unchecked(connection, TransactionBehavior::Immediate)?;
    save_current(&transaction, lineage, file)?;
    save_earlier(&transaction, lineage)?;
    transaction.commit()
}

fn save_current(
    connection: &Connection,
    lineage: &Lineage,
    file: Option<FileIdentity>,
) -> rusqlite::Result<()> {
    let file = file.map(|file| file.to_string());
    let current = params![lineage.epoch().as_str(), file];
    let update = "UPDATE bus SET epoch = ?1, file = ?2";
    connection.execute(update, current).map(drop)
}

pub(super) fn save_earlier(connection: &Connection, lineage: &Lineage) -> rusqlite::Result<()> {
    // There are few, and some may have been forgotten.
    connection.execute("DELETE FROM earlier_epochs", [])?;
    for earlier in lineage.earlier() {
        let row = params![earlier.epoch.as_str(), to_sql(earlier.good_through)];
        connection.execute(INSERT_EARLIER, row)?;
    }
    Ok(())
}
