//! Is the write-ahead log whole?
//!
//! Invariants:
//! - what is only seen once while others change the log is no damage: it has to be seen again;
//! - a log that is not whole is not copied into the database.

use std::time::Duration;

use rusqlite::Connection;

use super::connect::set_checkpoint_on_close;
use super::errors;
use super::files::has_frames;
use super::frames::WalFrames;
use super::health::Health;

/// Damage has to be seen so often in a row, a little apart.
const CHECKS_OF_DAMAGE: u32 = 3;
const BETWEEN_CHECKS_OF_DAMAGE: Duration = Duration::from_millis(20);

/// To be called before a connection is closed: the last one copies the write-ahead log and
/// removes it. One that was cut would be zeros over good pages.
pub(super) fn before_closing(health: &Health, connection: &Connection) {
    // The log of other files must not be copied into these, nor a cut one into its database.
    let is_whole = health.check_files().is_ok()
        && WalFrames::of(connection).is_ok_and(|frames| has_its_frames(connection, health, frames));
    if !is_whole {
        let _ = set_checkpoint_on_close(connection, false);
    }
}

/// Are the frames there that SQLite counts? Breaks the log where not.
pub(super) fn has_its_frames(connection: &Connection, health: &Health, frames: WalFrames) -> bool {
    has_its_frames_at(connection, health, frames, 0)
}

/// The same, with one frame more to check (0 for none). The log may be begun anew or cut by
/// SQLite itself meanwhile; its counts change before its bytes do, so they are counted again then.
pub(super) fn has_its_frames_at(
    connection: &Connection,
    health: &Health,
    mut frames: WalFrames,
    also: u32,
) -> bool {
    for _ in 1..CHECKS_OF_DAMAGE {
        if has_frames_now(health, frames, also) {
            return true;
        }
        // Perhaps SQLite was just beginning it anew.
        std::thread::sleep(BETWEEN_CHECKS_OF_DAMAGE);
        let Ok(counted) = WalFrames::of(connection) else {
            return true;
        };
        frames = counted;
    }

    let is_whole = has_frames_now(health, frames, also);
    if !is_whole {
        health.break_with(cut(health));
    }
    is_whole
}

fn has_frames_now(health: &Health, frames: WalFrames, also: u32) -> bool {
    let WalFrames {
        logged, page_bytes, ..
    } = frames;
    // Its begin, its end and where it ended before: a hole begins or ends at one of them.
    let some = [1.min(logged), also.min(logged), logged];
    let some = some.into_iter().filter(|&frame| frame > 0);
    let some: Vec<u64> = some.map(u64::from).collect();
    // What cannot be read is reported by those who need it.
    has_frames(health.files().wal(), &some, page_bytes).unwrap_or(true)
}

fn cut(health: &Health) -> crate::error::Error {
    let wal = health.files().wal().display();
    errors::replaced(&format!("{wal} was cut or written by another program"))
}
