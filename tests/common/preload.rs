//! Layers in C between a gateway and its system, loaded with `LD_PRELOAD`.

use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

/// Compiles a source of this repository; the library lies in the folder.
pub fn compile(source: &str) -> (TempDir, PathBuf) {
    let folder = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join(source);
    let library = folder
        .path()
        .join(source.file_name().expect("a name"))
        .with_extension("so");
    let mut cc = Command::new("cc");
    cc.args([
        "-shared", "-fPIC", "-O1", "-Wall", "-Wextra", "-Werror", "-pthread", "-o",
    ])
    .arg(&library)
    .arg(source);
    let done = cc
        .args(["-ldl"])
        .output()
        .expect("a C compiler, `cc`, is needed for these tests");
    assert!(
        done.status.success(),
        "{}",
        String::from_utf8_lossy(&done.stderr)
    );
    (folder, library)
}
