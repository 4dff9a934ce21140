//! Opening a data folder, and refusing one that cannot be trusted.
//!
//! Invariants:
//! - nothing in the folder changes before the lock is held and the database has been recognised;
//! - a full disk, and another program that reads or writes, do not keep a log from being opened:
//!   what needs space or the write lock is put off with a warning;
//! - a new database appears under its name only when it is complete, so an empty or headless file
//!   is always damage.

use std::fs::{self, File};
use std::io::Read as _;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags};

use super::checkpoint::{self, Copier};
use super::files::Files;
use super::folder::{DATABASE, lock, make_folder, refuse_leftovers};
use super::health::Health;
use super::refusal::{OpenFault, OpenResult, damaged, full, is_disk_full, of_opening, unusable};
use super::settle::settle;
use super::state::State;
use super::{from_sql, reserve, schema, to_sql};
use crate::cursor::Epoch;
use crate::engine::Moment;
use crate::engine::OpenError;
use crate::limits;

const NEW_DATABASE: &str = "vidette.db.new";

/// What an open data folder gives.
pub(super) struct Opened {
    pub(super) lock: File,
    pub(super) epoch: Epoch,
    pub(super) writer: Connection,
    pub(super) readers: Vec<Connection>,
    /// For looking after the log.
    pub(super) looker: Connection,
    pub(super) copier: Copier,
    pub(super) health: Arc<Health>,
    pub(super) state: State,
}

pub(super) fn open(data_dir: &Path) -> OpenResult<Opened> {
    make_folder(data_dir).map_err(|e| unusable(data_dir, "cannot be made", &e))?;
    let lock = lock(data_dir)?;
    let path = data_dir.join(DATABASE);
    if !path.exists() {
        refuse_leftovers(data_dir)?;
        create(data_dir).map_err(|e| of_opening(data_dir, e))?;
    }
    recognise(&path)?;
    let writer = connect_even_if_full(data_dir, &path)?;
    check(&writer, &path)?;
    open_recognised(data_dir, &path, lock, writer).map_err(|e| of_opening(data_dir, e))
}

/// Opens a database that has been recognised and checked.
fn open_recognised(
    data_dir: &Path,
    path: &Path,
    lock: File,
    mut writer: Connection,
) -> Result<Opened, OpenFault> {
    check_version(path, version_of(&writer)?)?;
    let looker = connect_reader(path)?;
    settle(&writer, &looker, path)?;
    writer.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, false)?;
    take_over(&writer, data_dir)?;
    let (epoch, state) = load(&writer)?;
    let readers = (0..limits::COLD_READERS)
        .map(|_| connect_reader(path))
        .collect::<rusqlite::Result<_>>()?;
    let health = Arc::new(Health::new(Files::note(data_dir)?));
    prepare_writing(&writer, &health);
    let copier = checkpoint::start(&mut writer, path, health.clone())?;
    Ok(Opened {
        lock,
        epoch,
        writer,
        readers,
        looker,
        copier,
        health,
        state,
    })
}

/// What makes writing possible or faster, and is done later, or not at all, where it cannot be done
/// now.
fn prepare_writing(writer: &Connection, health: &Health) {
    let is_short = health.files().wal_bytes() < checkpoint::LENGTH_BYTES;
    let prepare = || {
        writer.busy_timeout(Duration::ZERO)?; // the start has waited for the lock already
        if is_short {
            checkpoint::lengthen(writer)?;
        }
        Ok(())
    };
    match prepare() {
        Ok(()) => {}
        Err(error) if is_disk_full(&error) => {
            tracing::warn!(
                "the disk with the data folder is full: nothing can be published until there is space"
            );
            health.note_full(true);
        }
        Err(error) if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy) => {
            health.note_lock(false);
        }
        Err(error) => tracing::warn!(%error, "the write-ahead log could not be prepared"),
    }
}

/// Makes a complete database under another name, then gives it its own.
fn create(data_dir: &Path) -> Result<(), OpenFault> {
    let new = data_dir.join(NEW_DATABASE);
    match fs::remove_file(&new) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(e.into()),
        _ => {}
    }
    let connection = Connection::open(&new)?;
    connection.pragma_update(None, "application_id", schema::APPLICATION_ID)?;
    connection.pragma_update(None, "user_version", schema::VERSION)?;
    connection.pragma_update(None, "synchronous", "EXTRA")?;
    connection.execute_batch(&format!("BEGIN; {} COMMIT;", schema::CREATE))?;
    connection.execute(schema::INSERT_BUS, [Epoch::random().as_str()])?;
    connection.close().map_err(|(_, e)| e)?;
    File::open(&new)?.sync_all()?;
    fs::rename(&new, data_dir.join(DATABASE))?;
    File::open(data_dir)?.sync_all()?; // the new name has to survive a power cut, too
    Ok(())
}

/// Looks at the file before SQLite does, which would take an empty one for a new database.
fn recognise(path: &Path) -> OpenResult<()> {
    let mut head = Vec::new();
    let read = File::open(path).and_then(|file| file.take(72).read_to_end(&mut head));
    read.map_err(|e| OpenError::new(format!("{} cannot be read: {e}", path.display())))?;
    if head.len() < 72 || !head.starts_with(b"SQLite format 3\0") {
        return Err(damaged(path, "it is not a SQLite database"));
    }
    let number = |at: usize| {
        i64::from(u32::from_be_bytes([
            head[at],
            head[at + 1],
            head[at + 2],
            head[at + 3],
        ]))
    };
    let (application, version) = (number(68), number(60));
    if application != schema::APPLICATION_ID {
        return Err(OpenError::new(format!(
            "{} is a database of another program. Choose another --data-dir",
            path.display()
        )));
    }
    check_version(path, version)
}

fn check_version(path: &Path, version: i64) -> OpenResult<()> {
    if (schema::OLDEST_VERSION..=schema::VERSION).contains(&version) {
        return Ok(());
    }
    Err(OpenError::new(format!(
        "{} has schema version {version}, this vidette knows {}. Use the vidette that wrote it, or a newer one",
        path.display(),
        schema::VERSION
    )))
}

/// Taking over an older log needs a little of the disk: where it is full, that of the reserve. It is
/// the one step of a start that has to write: what an older log lacks is read from then on.
fn take_over(writer: &Connection, data_dir: &Path) -> rusqlite::Result<()> {
    let done = schema::take_over(writer);
    if done.as_ref().is_err_and(is_disk_full) && reserve::give_up_in(data_dir) {
        return schema::take_over(writer);
    }
    done
}

/// The version as it is with what stands in the write-ahead log only.
fn version_of(connection: &Connection) -> rusqlite::Result<i64> {
    connection.pragma_query_value(None, "user_version", |r| r.get(0))
}

/// Opening a log takes a little space. On a full disk the reserve is given up for it.
fn connect_even_if_full(data_dir: &Path, path: &Path) -> OpenResult<Connection> {
    let connected = match connect_writer(path) {
        Err(error) if reserve::is_low(data_dir) && reserve::give_up_in(data_dir) => {
            tracing::warn!(%error, "the disk with the data folder is full; the reserve is given up to open the log");
            connect_writer(path)
        }
        connected => connected,
    };
    connected.map_err(|error| {
        // SQLite does not always say that it is this.
        if reserve::is_low(data_dir) && !error.is_damage() {
            full(data_dir)
        } else {
            of_opening(data_dir, error)
        }
    })
}

fn connect_writer(path: &Path) -> Result<Connection, OpenFault> {
    let connection = Connection::open_with_flags(
        path,
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )?;
    connection.busy_timeout(limits::START_LOCK_WAIT)?; // somebody may look with sqlite3
    // A database that is refused keeps its write-ahead log; closing would copy it in and delete it.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    let mode: String =
        connection.pragma_update_and_check(None, "journal_mode", "WAL", |r| r.get(0))?;
    if mode != "wal" {
        let error = format!("its journal mode is {mode} and cannot be changed to WAL");
        return Err(std::io::Error::other(error).into());
    }
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "wal_autocheckpoint", 0)?; // it is copied by the copier
    connection.pragma_update(None, "foreign_keys", false)?; // on by default in this build of SQLite
    connection.pragma_update(
        None,
        "journal_size_limit",
        limits::WAL_KEPT_BYTES.cast_signed(),
    )?;
    connection.set_prepared_statement_cache_capacity(32);
    Ok(connection)
}

/// A connection that only copies the write-ahead log into the database.
pub(super) fn connect_copier(path: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open_with_flags(
        path,
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    Ok(connection)
}

fn connect_reader(path: &Path) -> rusqlite::Result<Connection> {
    // Not read-only: a reader of a write-ahead log takes part in its shared memory.
    let connection = Connection::open_with_flags(
        path,
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )?;
    connection.busy_timeout(Duration::from_secs(5))?;
    connection.pragma_update(None, "query_only", true)?;
    Ok(connection)
}

/// Has SQLite check the whole database, where that takes no more than moments.
fn check(connection: &Connection, path: &Path) -> OpenResult<()> {
    let bytes = fs::metadata(path).map_or(0, |m| m.len());
    if bytes > limits::FULL_CHECK_BYTES {
        tracing::info!(path = %path.display(), bytes, "the database is large, so it is not checked whole; `sqlite3 FILE 'PRAGMA quick_check'` does");
        return Ok(());
    }
    let begun = Instant::now();
    let verdict: rusqlite::Result<String> =
        connection.query_row("PRAGMA quick_check(1)", [], |r| r.get(0));
    match verdict {
        Ok(verdict) if verdict == "ok" => {
            tracing::debug!(
                elapsed_ms = begun.elapsed().as_millis(),
                "the database has been checked"
            );
            Ok(())
        }
        Ok(verdict) => Err(damaged(path, &verdict)),
        // What SQLite could not do now says nothing of the database.
        Err(error) if is_passing(&error) => {
            tracing::warn!(%error, "the database could not be checked");
            Ok(())
        }
        Err(error) => Err(damaged(path, &error.to_string())),
    }
}

fn is_passing(error: &rusqlite::Error) -> bool {
    let code = error.sqlite_error_code();
    is_disk_full(error)
        || matches!(
            code,
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked | ErrorCode::OutOfMemory)
        )
}

/// The row of `bus`, and what the log has behind it.
fn load(connection: &Connection) -> rusqlite::Result<(Epoch, State)> {
    let (epoch, mut state) = load_indexed(connection)?;
    let behind =
        "SELECT count(*), ifnull(sum(bytes), 0), max(vid), max(time_ms), max(time_ms - skew_ms)
         FROM events WHERE vid > ?1";
    connection.query_row(behind, [to_sql(state.indexed)], |r| {
        state.events += from_sql(r.get(0)?);
        state.bytes += from_sql(r.get(1)?);
        if let (Some(last), Some(time_ms)) = (r.get(2)?, r.get::<_, Option<i64>>(3)?) {
            state.last = from_sql(last);
            state.last_time_ms = state.last_time_ms.max(time_ms);
            state.noted = state.noted.max(Moment {
                time_ms,
                counted_ms: r.get(4)?,
            });
        }
        Ok((epoch, state))
    })
}

fn load_indexed(connection: &Connection) -> rusqlite::Result<(Epoch, State)> {
    let ids: i64 = connection.query_row("SELECT count(*) FROM dedupe", [], |r| r.get(0))?;
    connection.query_row(
        "SELECT epoch, first_vid, last_vid, last_time_ms, events, bytes, noted_time_ms, noted_counted_ms
         FROM bus",
        [],
        |r| {
            let epoch: String = r.get(0)?;
            let epoch = epoch.parse().map_err(|e| {
                rusqlite::Error::FromSqlConversionFailure(
                    0,
                    rusqlite::types::Type::Text,
                    Box::new(e),
                )
            })?;
            let number = |column| r.get::<_, i64>(column).map(from_sql);
            let state = State {
                first: number(1)?,
                last: number(2)?,
                last_time_ms: r.get(3)?,
                noted: Moment {
                    time_ms: r.get(6)?,
                    counted_ms: r.get(7)?,
                },
                events: number(4)?,
                bytes: number(5)?,
                ids: from_sql(ids),
                indexed: number(2)?,
                indexed_bytes: number(5)?,
            };
            Ok((epoch, state))
        },
    )
}
