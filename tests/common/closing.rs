//! When the files of a log in this process are closed.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Waits until nothing below this folder is open in this process any more.
pub async fn all_closed(folder: &Path) {
    let folder = folder.canonicalize().unwrap_or(folder.to_owned());
    let open = || {
        let descriptors = fs::read_dir("/proc/self/fd").expect("a list");
        let paths: Vec<PathBuf> = descriptors
            .filter_map(|fd| fs::read_link(fd.ok()?.path()).ok())
            .collect();
        paths.iter().any(|path| path.starts_with(&folder))
    };
    let closed = async {
        while open() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let in_time = tokio::time::timeout(Duration::from_secs(20), closed).await;
    assert!(in_time.is_ok(), "it is never closed");
}
