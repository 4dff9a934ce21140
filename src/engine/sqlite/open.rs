//! Opening a data folder, and refusing one that cannot be trusted.
//!
//! Invariants:
//! - nothing in the folder changes before the lock is held and the database has been recognized;
//! - a full disk, and another program that reads or writes, do not keep a log from being opened:
//!   what needs space or the write lock is put off with a warning. Only a log of an older version
//!   and a copy have to be written first;
//! - a new database appears under its name only when it is complete, so an empty or headless file
//!   is always damage.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rusqlite::{Connection, ErrorCode};

use super::checkpoint::{self, Checkpointer};
use super::connect::{connect_reader, connect_writer, set_checkpoint_on_close};
use super::epochs::{self, BranchReason};
use super::errors::is_disk_full;
use super::files::LogFiles;
use super::folder::{DATABASE, lock, make_folder, refuse_leftovers, sync_folder};
use super::health::Health;
use super::high_water::{self, HighWaterMark};
use super::identity::FileIdentity;
use super::recognize::{check, check_version, recognize};
use super::refusal::{OpenCause, OpenResult, full, of_opening, unusable};
use super::resync::resync;
use super::writer_state::WriterState;
use super::{reserve, schema};
use crate::cursor::Epoch;
use crate::engine::OpenError;
use crate::limits;
use crate::lineage::Lineage;

const NEW_DATABASE: &str = "vidette.db.new";

/// What an open data folder gives.
pub(super) struct OpenLog {
    pub(super) lock: File,
    pub(super) lineage: Lineage,
    pub(super) state: WriterState,
    pub(super) writer: Connection,
    pub(super) readers: Vec<Connection>,
    /// A connection that watches over the log.
    pub(super) observer: Connection,
    pub(super) checkpointer: Checkpointer,
    pub(super) health: Arc<Health>,
    pub(super) high_water: Arc<HighWaterMark>,
}

/// A database of today's version whose contents are durable.
struct SoundDatabase {
    path: PathBuf,
    writer: Connection,
    observer: Connection,
    /// Released after the connections are closed.
    lock: File,
}

/// Opens a data folder; makes a new log where there is none.
pub(super) fn open(data_dir: &Path) -> OpenResult<OpenLog> {
    let database = open_database(data_dir)?;
    open_log(data_dir, database).map_err(|e| of_opening(data_dir, e))
}

/// Has the log in a data folder begin a new epoch.
pub(super) fn begin_new_epoch(data_dir: &Path) -> OpenResult<()> {
    // As a start does it, but for the threads: they would have to be waited for.
    let database = open_database(data_dir)?;
    let begun = branch(data_dir, &database, Some(BranchReason::Requested));
    begun.map_err(|e| of_opening(data_dir, e)).map(drop)
}

fn open_database(data_dir: &Path) -> OpenResult<SoundDatabase> {
    // Nothing else is looked at before the lock is held.
    make_folder(data_dir).map_err(|e| unusable(data_dir, "cannot be made", &e))?;
    let lock = lock(data_dir)?;

    // A missing database is a new log, unless something shows that there was one.
    let path = data_dir.join(DATABASE);
    if !path.exists() {
        begin_log(data_dir)?;
    }
    recognize(&path)?;

    // SQLite recovers the write-ahead log here, after a crash.
    let writer = connect_even_if_full(data_dir, &path)?;
    check(&writer, &path)?;
    make_sound(data_dir, path, lock, writer).map_err(|e| of_opening(data_dir, e))
}

fn begin_log(data_dir: &Path) -> OpenResult<()> {
    refuse_leftovers(data_dir)?;
    create(data_dir).map_err(|e| of_opening(data_dir, e))
}

fn make_sound(
    data_dir: &Path,
    path: PathBuf,
    lock: File,
    writer: Connection,
) -> Result<SoundDatabase, OpenCause> {
    // The version may have changed in the write-ahead log only.
    let version = writer.pragma_query_value(None, "user_version", |r| r.get(0))?;
    check_version(&path, version)?;

    // Everything that can be read is made durable before anybody reads it.
    let observer = connect_reader(&path)?;
    resync(&writer, &observer, &path)?;
    set_checkpoint_on_close(&writer, true)?;

    // What an older vidette wrote is brought up to date in one transaction.
    let file = FileIdentity::of(&path)?;
    even_if_full(data_dir, || schema::migrate(&writer, file))?;
    Ok(SoundDatabase {
        path,
        writer,
        observer,
        lock,
    })
}

/// Opens the log in a sound database, for readers and the writer.
fn open_log(data_dir: &Path, database: SoundDatabase) -> Result<OpenLog, OpenCause> {
    // Before there is anybody who could publish.
    let (lineage, state) = branch(data_dir, &database, None)?;
    let SoundDatabase {
        path,
        mut writer,
        observer,
        lock,
    } = database;
    let readers = connect_readers(&path)?;

    // Now that SQLite has made all of its files.
    let health = Arc::new(Health::new(LogFiles::note(data_dir)?));
    let high_water = HighWaterMark::begin(data_dir, lineage.epoch(), state.last);
    prepare_writing(&writer, &health);
    let checkpointer = checkpoint::start(&mut writer, &path, health.clone())?;
    Ok(OpenLog {
        lock,
        lineage,
        state,
        writer,
        readers,
        observer,
        checkpointer,
        health,
        high_water: Arc::new(high_water),
    })
}

fn connect_readers(path: &Path) -> rusqlite::Result<Vec<Connection>> {
    let readers = (0..limits::COLD_READERS).map(|_| connect_reader(path));
    readers.collect()
}

/// The epochs and the state of a log, after it has begun a new epoch where it must.
fn branch(
    data_dir: &Path,
    database: &SoundDatabase,
    requested: Option<BranchReason>,
) -> Result<(Lineage, WriterState), OpenCause> {
    let SoundDatabase { path, writer, .. } = database;
    // Both from the database as it is now; nobody else appends, as the lock is held.
    let state = WriterState::load(writer)?;
    let lineage = epochs::load_lineage(writer)?;
    let found = BranchReason::find(writer, path, &lineage, state.last)?;
    let Some(reason) = requested.or(found) else {
        return Ok((lineage, state));
    };

    let write = || epochs::branch(writer, path, &lineage, state.last, reason);
    Ok((even_if_full(data_dir, write)?, state))
}

/// What makes writing possible or faster, and is done later, or not at all, where it cannot be done
/// now.
fn prepare_writing(writer: &Connection, health: &Health) {
    let Err(error) = lengthen_wal(writer, health) else {
        return;
    };
    match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => {
            tracing::warn!("the disk with the data folder is full: nothing can be published");
            health.note_full(true);
        }
        Some(ErrorCode::DatabaseBusy) => health.note_lock(false),
        _ => tracing::warn!(%error, "the write-ahead log could not be prepared"),
    }
}

fn lengthen_wal(writer: &Connection, health: &Health) -> rusqlite::Result<()> {
    // The start has waited for the write lock already.
    writer.busy_timeout(Duration::ZERO)?;
    if health.files().wal_bytes() < checkpoint::LENGTH_BYTES {
        checkpoint::lengthen(writer)?;
        sync_wal(health);
    }
    Ok(())
}

/// Has the first commit sync its own pages only, not all those that were just written.
fn sync_wal(health: &Health) {
    let synced = File::open(health.files().wal()).and_then(|wal| wal.sync_data());
    // Nothing in it is needed.
    if let Err(error) = synced {
        tracing::warn!(%error, "the write-ahead log could not be synced at the start");
    }
}

/// Makes a complete database under another name, then gives it its own.
fn create(data_dir: &Path) -> Result<(), OpenCause> {
    // What a crash left of an earlier attempt, and of a log that was taken away.
    let new = data_dir.join(NEW_DATABASE);
    match fs::remove_file(&new) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e.into()),
        _ => high_water::remove_all(data_dir),
    }
    write_new(&new)?;

    // The contents have to be durable before the name is, and the name before anybody uses it.
    File::open(&new)?.sync_all()?;
    fs::rename(&new, data_dir.join(DATABASE))?;
    Ok(sync_folder(data_dir)?)
}

fn write_new(path: &Path) -> Result<(), OpenCause> {
    let connection = Connection::open(path)?;
    connection.pragma_update(None, "synchronous", "EXTRA")?;
    create_tables(&connection)?;

    // Its file keeps its identity when it gets its name.
    let epoch = Epoch::random();
    let file = FileIdentity::of(path)?.to_string();
    connection.execute(schema::INSERT_BUS, [epoch.as_str(), &file])?;
    Ok(connection.close().map_err(|(_, e)| e)?)
}

fn create_tables(connection: &Connection) -> rusqlite::Result<()> {
    connection.pragma_update(None, "application_id", schema::APPLICATION_ID)?;
    connection.pragma_update(None, "user_version", schema::VERSION)?;
    let tables = [schema::CREATE, schema::CREATE_EARLIER_EPOCHS].concat();
    connection.execute_batch(&format!("BEGIN; {tables} COMMIT;"))
}

/// Writes what a start has to write. It needs a little of the disk: where that is full, some of the
/// reserve.
fn even_if_full<T>(
    data_dir: &Path,
    write: impl Fn() -> rusqlite::Result<T>,
) -> rusqlite::Result<T> {
    // Where it fails nothing was written, so it can be done again.
    let written = write();
    if written.as_ref().is_err_and(is_disk_full) && reserve::give_up_in(data_dir) {
        return write();
    }
    written
}

/// Opening a log takes a little space. On a full disk the reserve is given up for it.
fn connect_even_if_full(data_dir: &Path, path: &Path) -> OpenResult<Connection> {
    let mut connected = connect_writer(path);
    if let Err(error) = &connected
        && reserve::is_low(data_dir)
        && reserve::give_up_in(data_dir)
    {
        tracing::warn!(%error, "the disk is full; the reserve is given up to open the log");
        connected = connect_writer(path);
    }
    connected.map_err(|error| of_connecting(data_dir, error))
}

fn of_connecting(data_dir: &Path, error: OpenCause) -> OpenError {
    // SQLite does not always say that it is this.
    if reserve::is_low(data_dir) && !error.is_damage() {
        return full(data_dir);
    }
    of_opening(data_dir, error)
}
