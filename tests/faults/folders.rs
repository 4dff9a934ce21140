//! Data folders in all states, and small disks.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::common::gateway::{Gateway, Setup};

/// A small disk of its own; it is unmounted when this is dropped.
pub(crate) struct Disk {
    folder: TempDir,
}

impl Disk {
    /// None where the person who runs the tests has said that nothing can be mounted.
    pub(crate) fn of(size: &str) -> Option<Self> {
        if std::env::var_os("VIDETTE_TESTS_CANNOT_MOUNT").is_some() {
            eprintln!(
                "NOT TESTED: VIDETTE_TESTS_CANNOT_MOUNT is set, so nothing here is known about full or read-only disks"
            );
            return None;
        }
        let folder = TempDir::new().expect("a folder");
        let disk = Disk { folder };
        disk.mount(&format!("size={size}"));
        Some(disk)
    }

    fn mount(&self, options: &str) {
        let mut mount = Command::new("mount");
        mount
            .args(["-t", "tmpfs", "-o", options, "tmpfs"])
            .arg(self.folder.path());
        let done = mount.output().expect("`mount` is needed for these tests");
        assert!(
            done.status.success(),
            "this test needs to mount a tmpfs and may not: {}. Run it as root, or set VIDETTE_TESTS_CANNOT_MOUNT=1 to go without it",
            String::from_utf8_lossy(&done.stderr)
        );
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn make_read_only(&self) {
        self.mount("remount,ro");
    }

    pub(crate) fn grow_to(&self, size: &str) {
        self.mount(&format!("remount,size={size}"));
    }

    /// Takes all space but so many bytes.
    pub(crate) fn fill_but(&self, bytes: usize) {
        use std::io::Write as _;
        let spare = self.path().join("spare");
        fs::write(&spare, vec![0; bytes]).expect("so much space at least");
        let mut filler = fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.filler())
            .expect("a file");
        while filler.write(&[0; 4096]).is_ok_and(|written| written > 0) {}
        fs::remove_file(spare).expect("a file");
    }

    /// Takes what has become free since.
    pub(crate) fn fill_more(&self) {
        use std::io::Write as _;
        let mut filler = fs::OpenOptions::new()
            .append(true)
            .open(self.filler())
            .expect("a file");
        while filler.write(&[0; 4096]).is_ok_and(|written| written > 0) {}
    }

    pub(crate) fn make_room(&self) {
        fs::remove_file(self.filler()).expect("a file");
    }

    fn filler(&self) -> PathBuf {
        self.path().join("filler")
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Whoever still has a file open there ends soon; the mount goes with the last of them.
        let _ = Command::new("umount")
            .arg("-l")
            .arg(self.folder.path())
            .output();
    }
}

/// Every file in a folder, but for the lock, whose text is only to help a person, the newest vid,
/// whose file has another name at each start, and two that hold nothing of their own: the shared
/// memory of the write-ahead log, and an empty write-ahead log.
pub(crate) fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(folder)
        .expect("a folder")
        .map(|e| e.expect("an entry"));
    let named = entries.map(|e| (e.file_name().into_string().expect("UTF-8"), e.path()));
    let is_kept = |name: &str| {
        !["vidette.lock", "vidette.db-shm"].contains(&name) && !name.starts_with("vidette.newest-")
    };
    let kept = named.filter(|(name, _)| is_kept(name));
    let read = kept.map(|(name, path)| (name, fs::read(path).expect("a file")));
    read.filter(|(name, bytes)| name != "vidette.db-wal" || !bytes.is_empty())
        .collect()
}

/// What differs, in few words.
pub(crate) fn difference(
    before: &BTreeMap<String, Vec<u8>>,
    after: &BTreeMap<String, Vec<u8>>,
) -> Vec<String> {
    let names = before
        .keys()
        .chain(after.keys().filter(|name| !before.contains_key(*name)));
    let changes = names.filter_map(|name| match (before.get(name), after.get(name)) {
        (Some(old), Some(new)) if old == new => None,
        (Some(old), Some(new)) => Some(format!(
            "{name} was changed ({} bytes, then {})",
            old.len(),
            new.len()
        )),
        (Some(old), None) => Some(format!("{name} is gone ({} bytes)", old.len())),
        (None, new) => Some(format!("{name} is new ({} bytes)", new.map_or(0, Vec::len))),
    });
    changes.collect()
}

/// How many events [`make_log`] puts into a log.
pub(crate) const EVENTS: u64 = 600;

async fn publish_log(data_dir: &Path) -> Gateway {
    let gateway = Gateway::start_at(Setup::default(), data_dir);
    for _ in 0..3 {
        gateway.publish_numbers("door.1", EVENTS / 3).await;
    }
    gateway
}

/// A log of a gateway that was ended, all of it in the database file.
pub(crate) async fn make_log(data_dir: &Path) {
    let mut gateway = publish_log(data_dir).await;
    assert!(gateway.terminate().await.success(), "{}", gateway.log());
    let connection = rusqlite::Connection::open(data_dir.join("vidette.db")).expect("the database");
    let checkpoint = "PRAGMA wal_checkpoint(TRUNCATE)";
    connection
        .query_row(checkpoint, [], |_| Ok(()))
        .expect("everything goes into the database");
    connection.close().expect("it closes");
    assert_eq!(
        files(data_dir).keys().collect::<Vec<_>>(),
        ["vidette.db", "vidette.reserve"]
    );
}

/// A log of a gateway that was killed: a part of it is in the write-ahead log, all of it with a
/// checkpoint before.
pub(crate) async fn make_killed_log(data_dir: &Path) {
    make_log(data_dir).await;
    let mut gateway = publish_log(data_dir).await;
    gateway.kill();
    let wal = fs::metadata(data_dir.join("vidette.db-wal"))
        .expect("a write-ahead log")
        .len();
    assert!(wal > 10_000, "{wal}");
}

/// The answer of the `sqlite3` program.
pub(crate) fn sqlite3(database: &Path, sql: &str) -> String {
    let done = Command::new("sqlite3")
        .arg(database)
        .arg(sql)
        .output()
        .expect("`sqlite3` is needed for these tests");
    assert!(
        done.status.success(),
        "{sql}: {}",
        String::from_utf8_lossy(&done.stderr)
    );
    String::from_utf8(done.stdout)
        .expect("UTF-8")
        .trim()
        .to_owned()
}
