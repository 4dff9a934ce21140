//! The clock of a gateway, which can be set back and forward (`clock_shim.c`).

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use tempfile::TempDir;

use crate::common::preload;

pub(crate) struct Clock {
    folder: TempDir,
    offset_ms: i64,
    passed_ms: i64,
}

fn library() -> &'static Path {
    static LIBRARY: OnceLock<(TempDir, PathBuf)> = OnceLock::new();
    &LIBRARY
        .get_or_init(|| preload::compile("tests/history/clock_shim.c"))
        .1
}

impl Clock {
    pub(crate) fn new() -> Self {
        let clock = Clock {
            folder: TempDir::new().expect("a folder"),
            offset_ms: 0,
            passed_ms: 0,
        };
        clock.write();
        clock
    }

    /// What puts a process under this clock.
    pub(crate) fn env(&self) -> Vec<(String, String)> {
        let text = |path: &Path| path.to_str().expect("UTF-8").to_owned();
        vec![
            ("LD_PRELOAD".to_owned(), text(library())),
            ("CLOCK_SHIM_FILE".to_owned(), text(&self.file("offset_ms"))),
            (
                "CLOCK_PASSED_FILE".to_owned(),
                text(&self.file("passed_ms")),
            ),
        ]
    }

    /// Sets it forward, or back.
    pub(crate) fn jump(&mut self, by_ms: i64) {
        self.set(self.offset_ms + by_ms);
    }

    /// Sets it to be wrong by so much.
    pub(crate) fn set(&mut self, offset_ms: i64) {
        self.offset_ms = offset_ms;
        self.write();
    }

    /// By how much it is wrong.
    pub(crate) fn offset_ms(&self) -> i64 {
        self.offset_ms
    }

    /// Has so much time pass, whatever the time of day is.
    pub(crate) fn pass(&mut self, ms: i64) {
        self.passed_ms += ms;
        self.write();
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self) {
        // Whole at once: nobody reads half a number.
        let next = self.file("next");
        for (name, ms) in [("offset_ms", self.offset_ms), ("passed_ms", self.passed_ms)] {
            std::fs::write(&next, ms.to_string()).expect("a file");
            std::fs::rename(&next, self.file(name)).expect("a file");
        }
    }
}
