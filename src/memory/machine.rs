//! How much memory this machine, or the control group that the process runs in, has.
//!
//! Invariant: what cannot be read counts as no limit, so that a start never depends on it.

use std::fs;
use std::path::{Path, PathBuf};

/// The bytes that this process may use: those of the machine, or fewer where a control group
/// (version 1 or 2) allows fewer. None where nothing is known.
pub(super) fn usable_bytes(root: &Path) -> Option<u64> {
    // Without control groups the file is not there, and the machine's own memory counts.
    let groups = fs::read_to_string(root.join("proc/self/cgroup")).unwrap_or_default();
    let of_groups = groups.lines().filter_map(|line| of_group(root, line)).min();
    of_machine(root).into_iter().chain(of_groups).min()
}

/// `MemTotal:  24684032 kB` of `/proc/meminfo`.
fn of_machine(root: &Path) -> Option<u64> {
    let text = fs::read_to_string(root.join("proc/meminfo")).ok()?;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;

    // What the kernel writes as kB are 1024 bytes.
    kib.checked_mul(1024)
}

/// The limit of a line of `/proc/self/cgroup`: `0::/system.slice/a.service` in version 2,
/// `4:memory:/docker/1f2e` in version 1.
fn of_group(root: &Path, line: &str) -> Option<u64> {
    let mut parts = line.splitn(3, ':').skip(1);
    let (controllers, path) = (parts.next()?, parts.next()?);
    // Version 2 has one hierarchy for all controllers, so it names none.
    if controllers.is_empty() {
        return smallest_above(&root.join("sys/fs/cgroup"), path, "memory.max");
    }
    if controllers.split(',').any(|name| name == "memory") {
        let mount = root.join("sys/fs/cgroup/memory");
        return smallest_above(&mount, path, "memory.limit_in_bytes");
    }

    // A hierarchy of version 1 for something else than memory bounds none.
    None
}

/// A group is bound by its own limit and by those of all groups around it. In a container the path
/// may be that of the host, which is not there: then the mount itself is the group.
fn smallest_above(mount: &Path, path: &str, file: &str) -> Option<u64> {
    let mut group: PathBuf = mount.join(path.trim_start_matches('/'));
    let mut smallest = None;
    while group.starts_with(mount) {
        smallest = smallest
            .into_iter()
            .chain(limit_in(&group.join(file)))
            .min();
        // To the group around it.
        if !group.pop() {
            break;
        }
    }
    smallest
}

/// A limit in bytes; `max` is no number, and no limit.
fn limit_in(file: &Path) -> Option<u64> {
    let text = fs::read_to_string(file).ok()?;
    text.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    /// A machine with these files below its root.
    fn machine(files: &[(&str, &str)]) -> TempDir {
        let root = TempDir::new().expect("a folder");
        for (path, text) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().expect("a parent")).expect("folders");
            fs::write(path, text).expect("a file");
        }
        root
    }

    #[test]
    fn the_smallest_limit_counts() {
        let total = ("proc/meminfo", "MemFree: 1 kB\nMemTotal:       4000 kB\n");
        let version_2 = ("proc/self/cgroup", "0::/outer/inner\n");
        let version_1 = ("proc/self/cgroup", "5:cpu:/x\n4:memory,other:/docker/1f\n");
        let outer = ("sys/fs/cgroup/outer/memory.max", "2000000\n");
        let inner = ("sys/fs/cgroup/outer/inner/memory.max", "max\n");
        let of_container = ("sys/fs/cgroup/memory/memory.limit_in_bytes", "3000000\n");
        for (files, expected) in [
            (vec![], None),
            (vec![total], Some(4_096_000)),
            (vec![total, version_2, inner], Some(4_096_000)),
            (vec![total, version_2, inner, outer], Some(2_000_000)),
            (vec![total, version_1, of_container], Some(3_000_000)),
        ] {
            let root = machine(&files);
            assert_eq!(usable_bytes(root.path()), expected, "{files:?}");
        }
    }

    #[test]
    fn this_machine_has_some() {
        assert!(usable_bytes(Path::new("/")).is_some_and(|bytes| bytes > 1024 * 1024));
    }
}
