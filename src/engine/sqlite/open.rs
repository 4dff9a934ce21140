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
use super::files::LogFiles;
use super::folder::{DATABASE, lock, make_folder, refuse_leftovers, sync_folder};
use super::health::Health;
use super::high_water::{self, HighWaterMark};
use super::identity::FileIdentity;
use super::recognize::{check, check_version, recognize};
use super::refusal::{OpenCause, OpenResult, full, is_disk_full, of_opening, unusable};
use super::resync::resync;
use super::writer_state::WriterState;
use super::{reserve, schema};
use crate::cursor::Epoch;
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
    let database = open_database(data_dir)?;
    let begun = branch(data_dir, &database, Some(BranchReason::Requested));
    begun.map_err(|e| of_opening(data_dir, e)).map(drop)
}

fn open_database(data_dir: &Path) -> OpenResult<SoundDatabase> {
    make_folder(data_dir).map_err(|e| unusable(data_dir, "cannot be made", &e))?;
    let lock = lock(data_dir)?;
    let path = data_dir.join(DATABASE);
    if !path.exists() {
        refuse_leftovers(data_dir)?;
        create(data_dir).map_err(|e| of_opening(data_dir, e))?;
    }
    recognize(&path)?;

    let writer = connect_even_if_full(data_dir, &path)?;
    check(&writer, &path)?;
    make_sound(data_dir, path, lock, writer).map_err(|e| of_opening(data_dir, e))
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
    let observer = connect_reader(&path)?;
    resync(&writer, &observer, &path)?;
    set_checkpoint_on_close(&writer, true)?;

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
    let (lineage, state) = branch(data_dir, &database, None)?;
    let SoundDatabase {
        path,
        mut writer,
        observer,
        lock,
    } = database;
    let readers = (0..limits::COLD_READERS)
        .map(|_| connect_reader(&path))
        .collect::<rusqlite::Result<_>>()?;

    // Now that all files are there.
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

/// The epochs and the state of a log, after it has begun a new epoch where it must.
fn branch(
    data_dir: &Path,
    database: &SoundDatabase,
    requested: Option<BranchReason>,
) -> Result<(Lineage, WriterState), OpenCause> {
    let SoundDatabase { path, writer, .. } = database;
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
    if is_disk_full(&error) {
        tracing::warn!(
            "the disk with the data folder is full: nothing can be published until there is space"
        );
        health.note_full(true);
    } else if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy) {
        health.note_lock(false);
    } else {
        tracing::warn!(%error, "the write-ahead log could not be prepared");
    }
}

fn lengthen_wal(writer: &Connection, health: &Health) -> rusqlite::Result<()> {
    writer.busy_timeout(Duration::ZERO)?; // the start has waited for the lock already
    if health.files().wal_bytes() < checkpoint::LENGTH_BYTES {
        checkpoint::lengthen(writer)?;
    }
    Ok(())
}

/// Makes a complete database under another name, then gives it its own.
fn create(data_dir: &Path) -> Result<(), OpenCause> {
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
    connection.pragma_update(None, "application_id", schema::APPLICATION_ID)?;
    connection.pragma_update(None, "user_version", schema::VERSION)?;
    connection.pragma_update(None, "synchronous", "EXTRA")?;

    let tables = [schema::CREATE, schema::CREATE_EARLIER_EPOCHS].concat();
    connection.execute_batch(&format!("BEGIN; {tables} COMMIT;"))?;
    let epoch = Epoch::random();
    let file = FileIdentity::of(path)?.to_string();
    connection.execute(schema::INSERT_BUS, [epoch.as_str(), &file])?;
    Ok(connection.close().map_err(|(_, e)| e)?)
}

/// Writes what a start has to write. It needs a little of the disk: where that is full, some of the
/// reserve.
fn even_if_full<T>(
    data_dir: &Path,
    write: impl Fn() -> rusqlite::Result<T>,
) -> rusqlite::Result<T> {
    let written = write();
    if written.as_ref().is_err_and(is_disk_full) && reserve::give_up_in(data_dir) {
        return write();
    }
    written
}

/// Opening a log takes a little space. On a full disk the reserve is given up for it.
fn connect_even_if_full(data_dir: &Path, path: &Path) -> OpenResult<Connection> {
    let connected = match connect_writer(path) {
        Err(error) if reserve::is_low(data_dir) && reserve::give_up_in(data_dir) => {
            tracing::warn!(
                %error,
                "the disk with the data folder is full; the reserve is given up to open the log"
            );
            connect_writer(path)
        }
        connected => connected,
    };
    connected.map_err(|error| of_connecting(data_dir, error))
}

fn of_connecting(data_dir: &Path, error: OpenCause) -> super::OpenError {
    // SQLite does not always say that it is this.
    if reserve::is_low(data_dir) && !error.is_damage() {
        return full(data_dir);
    }
    of_opening(data_dir, error)
}
