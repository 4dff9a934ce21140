//! The layer between a gateway and its disk's syncs (`sync_shim.c`), from the test's side.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use tempfile::TempDir;

use crate::common::gateway::{Gateway, PATIENCE, Setup};
use crate::common::preload;

/// Controls the syncs of one data folder.
pub(crate) struct Shim {
    folder: TempDir,
}

/// The compiled layer.
fn library() -> &'static Path {
    static LIBRARY: OnceLock<(TempDir, PathBuf)> = OnceLock::new();
    let (_, library) = LIBRARY.get_or_init(|| preload::compile("tests/faults/sync_shim.c"));
    library
}

impl Shim {
    pub(crate) fn new() -> Self {
        let folder = TempDir::new().expect("a folder");
        for name in ["control", "control/shadow", "control/dirty"] {
            std::fs::create_dir(folder.path().join(name)).expect("a folder");
        }
        Shim { folder }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().canonicalize().expect("a path")
    }

    pub(crate) fn data_dir(&self) -> PathBuf {
        self.path().join("data")
    }

    /// The data folder as a power cut would leave it.
    pub(crate) fn shadow(&self) -> PathBuf {
        self.control("shadow")
    }

    /// Leaves in the data folder what a power cut does, in the same files. Whoever wrote them has
    /// been killed. What was never synced is gone, but for the notes beside the database: they are
    /// left as they are, which is the worst that a disk may do with them.
    pub(crate) fn cut_power(&self) {
        let (shadow, data_dir) = (self.shadow(), self.data_dir());
        for entry in std::fs::read_dir(&data_dir).expect("a folder") {
            let entry = entry.expect("a file");
            let name = entry.file_name();
            let is_note = name.to_string_lossy().starts_with("vidette.newest-");
            if !is_note && !shadow.join(&name).exists() {
                std::fs::remove_file(entry.path()).expect("it was never synced");
            }
        }
        for entry in std::fs::read_dir(&shadow).expect("a folder") {
            let entry = entry.expect("a file");
            let kept = std::fs::read(entry.path()).expect("what was synced");
            std::fs::write(data_dir.join(entry.file_name()), kept).expect("it is written back");
        }
    }

    fn control(&self, name: &str) -> PathBuf {
        self.path().join("control").join(name)
    }

    /// A gateway whose syncs go through this.
    pub(crate) fn start(&self) -> Gateway {
        self.start_with(String::new())
    }

    pub(crate) fn start_with(&self, config: String) -> Gateway {
        let text = |path: &Path| path.to_str().expect("UTF-8").to_owned();
        let env = vec![
            ("LD_PRELOAD".to_owned(), text(library())),
            ("SYNC_SHIM_FOLDER".to_owned(), text(&self.data_dir())),
            ("SYNC_SHIM_CONTROL".to_owned(), text(&self.control(""))),
        ];
        Gateway::start_at(
            Setup {
                config,
                env,
                ..Setup::default()
            },
            &self.data_dir(),
        )
    }

    /// Switches `hold`, `fail` or `lie` on, for files whose names end so.
    pub(crate) fn on(&self, name: &str, names_end: &str) {
        // Whole at once: an empty file would be for all names.
        std::fs::write(self.control("next"), names_end).expect("a file");
        std::fs::rename(self.control("next"), self.control(name)).expect("a file");
    }

    pub(crate) fn off(&self, name: &str) {
        std::fs::remove_file(self.control(name)).expect("it was on");
    }

    /// Waits until a sync is being held.
    pub(crate) async fn holds_a_sync(&self) {
        self.appears("held").await;
    }

    pub(crate) async fn has_failed_a_sync(&self) {
        self.appears("failed").await;
    }

    async fn appears(&self, name: &str) {
        let path = self.control(name);
        let waiting = async {
            while !path.exists() {
                tokio::time::sleep(std::time::Duration::from_millis(2)).await;
            }
        };
        assert!(
            tokio::time::timeout(PATIENCE, waiting).await.is_ok(),
            "no sync was there to be {name}"
        );
    }

    /// The paths of all syncs that were done, in order.
    pub(crate) fn syncs(&self) -> Vec<PathBuf> {
        let text = std::fs::read_to_string(self.control("syncs")).unwrap_or_default();
        text.lines().map(PathBuf::from).collect()
    }

    /// Syncs of the write-ahead log.
    pub(crate) fn log_syncs(&self) -> usize {
        self.syncs()
            .iter()
            .filter(|path| path.ends_with("vidette.db-wal"))
            .count()
    }
}
