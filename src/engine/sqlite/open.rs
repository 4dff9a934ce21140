//! Opening a data folder, and refusing one that cannot be trusted.
//!
//! Invariants:
//! - nothing in the folder changes before the lock is held and the database has been recognised;
//! - a new database appears under its name only when it is complete, so an empty or headless file
//!   is always damage.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{Read as _, Write as _};
use std::path::Path;
use std::time::{Duration, Instant};

use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags};

use super::reserve::Reserve;
use super::state::State;
use super::{checkpoint, from_sql, schema, to_sql};
use crate::cursor::Epoch;
use crate::engine::Moment;
use crate::limits;

const DATABASE: &str = "vidette.db";
const NEW_DATABASE: &str = "vidette.db.new";
const LOCK: &str = "vidette.lock";

/// Why a data folder cannot be used, and what to do.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct OpenError(String);

impl OpenError {
    pub(super) fn new(text: impl Into<String>) -> Self {
        OpenError(text.into())
    }
}

type OpenResult<T> = Result<T, OpenError>;

/// What an open data folder gives.
pub(super) struct Opened {
    pub(super) lock: File,
    pub(super) epoch: Epoch,
    pub(super) writer: Connection,
    pub(super) readers: Vec<Connection>,
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
    let mut writer = connect_writer(&path).map_err(|e| of_opening(data_dir, e))?;
    check(&writer, &path)?;
    check_version(
        &path,
        version_of(&writer).map_err(|e| of_opening(data_dir, e))?,
    )?;
    settle(&writer, &path).map_err(|e| of_opening(data_dir, e))?;
    take_over(&writer, data_dir).map_err(|e| of_opening(data_dir, e))?;
    let (epoch, state) = load(&writer).map_err(|e| of_opening(data_dir, e))?;
    let readers = (0..limits::COLD_READERS)
        .map(|_| connect_reader(&path))
        .collect::<rusqlite::Result<_>>();
    let readers = readers.map_err(|e| of_opening(data_dir, e))?;
    checkpoint::lengthen(&writer).map_err(|e| of_opening(data_dir, e))?;
    checkpoint::start(&mut writer, &path)?;
    Ok(Opened {
        lock,
        epoch,
        writer,
        readers,
        state,
    })
}

/// Makes a folder and those above it, and syncs each name: a power cut must not take the folder
/// with its events.
fn make_folder(folder: &Path) -> std::io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    let parent = folder
        .parent()
        .filter(|p| !p.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    make_folder(parent)?;
    fs::create_dir(folder)?;
    File::open(parent)?.sync_all()
}

fn lock(data_dir: &Path) -> OpenResult<File> {
    let path = data_dir.join(LOCK);
    let opened = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path);
    let mut file = opened.map_err(|e| unusable(data_dir, "cannot be written", &e))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut holder = String::new();
            let _ = file.read_to_string(&mut holder);
            let holder = holder.trim();
            let by = if holder.is_empty() {
                "another process".to_owned()
            } else {
                format!("another process ({holder})")
            };
            return Err(OpenError(format!(
                "the data folder {} is held by {by}. One gateway at a time may use it: stop the other one, or give this one its own --data-dir",
                data_dir.display()
            )));
        }
        Err(TryLockError::Error(e)) => return Err(unusable(data_dir, "cannot be locked", &e)),
    }
    // Only to help a person; the lock is what counts, so a full disk is no reason to stop here.
    let _ = file
        .set_len(0)
        .and_then(|()| writeln!(file, "pid {}", std::process::id()));
    Ok(file)
}

/// A write-ahead log without its database means that the database has been lost.
fn refuse_leftovers(data_dir: &Path) -> OpenResult<()> {
    let wal = data_dir.join(format!("{DATABASE}-wal"));
    if wal.exists() {
        return Err(OpenError(format!(
            "{} is there but its database {DATABASE} is not. Nothing was changed. Restore the whole data folder from a copy, or move it away to begin a new log",
            wal.display()
        )));
    }
    Ok(())
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
    read.map_err(|e| OpenError(format!("{} cannot be read: {e}", path.display())))?;
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
        return Err(OpenError(format!(
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
    Err(OpenError(format!(
        "{} has schema version {version}, this vidette knows {}. Use the vidette that wrote it, or a newer one",
        path.display(),
        schema::VERSION
    )))
}

/// Taking over an older log needs a little of the disk: where it is full, that of the reserve.
fn take_over(writer: &Connection, data_dir: &Path) -> rusqlite::Result<()> {
    let done = schema::take_over(writer);
    let is_full = |e: &rusqlite::Error| e.sqlite_error_code() == Some(ErrorCode::DiskFull);
    if done.as_ref().is_err_and(is_full) && Reserve::held(data_dir).give_up() {
        return schema::take_over(writer);
    }
    done
}

/// The version as it is with what stands in the write-ahead log only.
fn version_of(connection: &Connection) -> rusqlite::Result<i64> {
    connection.pragma_query_value(None, "user_version", |r| r.get(0))
}

fn connect_writer(path: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open_with_flags(
        path,
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )?;
    connection.busy_timeout(Duration::from_secs(5))?; // somebody may look with sqlite3
    // A database that is refused keeps its write-ahead log; closing would copy it in and delete it.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "wal_autocheckpoint", 0)?; // it is copied by the copier
    connection.pragma_update(None, "foreign_keys", false)?; // on by default in this build of SQLite
    connection.set_prepared_statement_cache_capacity(32);
    Ok(connection)
}

/// Makes durable what SQLite has just recovered. A commit whose sync was cut off or failed may have
/// come back from the page cache; copying it into the database, which is synced then, makes it as
/// durable as it is about to be visible. A mere sync of the write-ahead log would not do: after a
/// failed one the kernel takes its pages for clean.
fn settle(connection: &Connection, path: &Path) -> Result<(), OpenFault> {
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, false)?;
    let is_busy: rusqlite::Result<i64> =
        connection.query_row("PRAGMA wal_checkpoint(FULL)", [], |r| r.get(0));
    match is_busy.map_err(OpenFault::from) {
        Ok(0) => Ok(()),
        Ok(_) => {
            let fault = format!(
                "another program reads {}; the write-ahead log could not be settled",
                path.display()
            );
            Err(std::io::Error::other(fault).into())
        }
        // No room to copy it: synced where it is, it is as durable as before, and readers can be
        // served.
        Err(fault) if fault.is_full_disk() => {
            tracing::warn!(
                "the disk with the data folder is full: nothing can be published until there is room"
            );
            Ok(File::open(path.with_extension("db-wal"))?.sync_all()?)
        }
        Err(fault) => Err(fault),
    }
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
        Err(e) => Err(damaged(path, &e.to_string())),
    }
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

fn unusable(data_dir: &Path, what: &str, fault: &std::io::Error) -> OpenError {
    OpenError(format!(
        "the data folder {} {what}: {fault}. Check its path, its permissions and the room on its disk, or choose another --data-dir",
        data_dir.display()
    ))
}

fn damaged(path: &Path, what: &str) -> OpenError {
    OpenError(format!(
        "{} is damaged: {what}. Nothing was changed. Restore the data folder from a copy, try `sqlite3 FILE .recover`, or move it away to begin a new log",
        path.display()
    ))
}

fn of_opening(data_dir: &Path, fault: impl Into<OpenFault>) -> OpenError {
    let fault = fault.into();
    let folder = data_dir.display();
    if fault.is_full_disk() {
        return OpenError(format!(
            "the disk with the data folder {folder} is full. Nothing was lost; make room, then start again"
        ));
    }
    match fault.sqlite_code() {
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
            damaged(&data_dir.join(DATABASE), &fault.to_string())
        }
        Some(ErrorCode::DatabaseBusy) => OpenError(format!(
            "the database in {folder} is in use by another program: {fault}"
        )),
        _ => OpenError(format!(
            "the data folder {folder} cannot be used: {fault}. Check its permissions and the room on its disk"
        )),
    }
}

/// What can go wrong on the way, by where it comes from.
#[derive(Debug, thiserror::Error)]
enum OpenFault {
    #[error("{0}")]
    Io(#[from] std::io::Error),
    #[error("{0}")]
    Sqlite(#[from] rusqlite::Error),
}

impl OpenFault {
    fn sqlite_code(&self) -> Option<ErrorCode> {
        match self {
            OpenFault::Sqlite(fault) => fault.sqlite_error_code(),
            OpenFault::Io(_) => None,
        }
    }

    fn is_full_disk(&self) -> bool {
        matches!(self, OpenFault::Io(e) if e.kind() == std::io::ErrorKind::StorageFull)
            || self.sqlite_code() == Some(ErrorCode::DiskFull)
    }
}
