//! The disk of the log: what kind it is, how much space it has, how long a sync takes.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::finding::Finding;

/// Syncs that are measured; the middle one counts.
const SYNCS: usize = 11;
/// As much as a commit of few events writes, in bytes.
const SYNC_BYTES: usize = 4096;
/// A commit takes about one sync, and so does an event of a lone publisher.
const SLOW_SYNC: Duration = Duration::from_millis(20);

pub(super) fn look(data_dir: &Path, max_bytes: u64) -> Vec<Finding> {
    let Some(folder) = existing(data_dir) else {
        return vec![Finding::problem(
            "disk",
            format!("{} has no folder above it", data_dir.display()),
            "set data_dir to a folder that can be made",
        )];
    };
    let findings = [
        Some(sync(&folder)),
        kind(&folder).ok(),
        space(&folder, data_dir, max_bytes).ok(),
    ];
    findings.into_iter().flatten().collect()
}

/// The folder, or the nearest one above it: a gateway makes the rest.
fn existing(data_dir: &Path) -> Option<PathBuf> {
    let absolute = std::path::absolute(data_dir).ok()?;
    absolute
        .ancestors()
        .find(|folder| folder.is_dir())
        .map(Path::to_owned)
}

fn sync(folder: &Path) -> Finding {
    match median_sync(folder) {
        Ok(took) if took <= SLOW_SYNC => Finding::good("disk", format!("a sync takes {took:.1?}")),
        Ok(took) => Finding::warning(
            "disk",
            format!("a sync takes {took:.1?}, and so does each commit"),
            "keep the log on an SSD with a write cache that survives the loss of power; many \
             publishers share a commit",
        ),
        Err(error) => Finding::problem(
            "disk",
            format!("{}: {error}", folder.display()),
            "give the user of the gateway the right to write there; run this as that user",
        ),
    }
}

fn median_sync(folder: &Path) -> io::Result<Duration> {
    let path = folder.join(format!(".vidette-doctor-{}", std::process::id()));
    let mut file = File::options().write(true).create_new(true).open(&path)?;
    let mut sync = || {
        let begun = Instant::now();
        file.write_all(&[0; SYNC_BYTES])?;
        file.sync_data()?;
        Ok(begun.elapsed())
    };
    let measured: io::Result<Vec<Duration>> = (0..SYNCS).map(|_| sync()).collect();
    fs::remove_file(&path)?;
    let mut measured = measured?;
    measured.sort_unstable();
    Ok(measured[SYNCS / 2])
}

/// What statfs(2) says of file systems on which a log is not as safe as on a disk.
fn kind(folder: &Path) -> io::Result<Finding> {
    let magic = rustix::fs::statfs(folder)?.f_type;
    let (name, why) = match magic {
        0x6969 => (
            "NFS",
            "locks and syncs of SQLite do not hold on it: use a local disk",
        ),
        0x517B | 0xFF53_4D42 | 0xFE53_4D42 => {
            ("SMB", "locks of SQLite do not hold on it: use a local disk")
        }
        0x794C_7630 => (
            "overlay",
            "the log goes with the container: mount a volume at data_dir",
        ),
        0x0102_1994 => ("tmpfs", "the log is gone at a restart: use a disk"),
        0x6573_5546 => ("FUSE", "make sure that a sync reaches the disk behind it"),
        0x0102_1997 => ("9p", "use a disk of the machine itself"),
        _ => return Ok(Finding::good("disk", "its file system is a local one")),
    };
    let text = format!("{} is on {name}", folder.display());
    Ok(Finding::warning("disk", text, why))
}

fn space(folder: &Path, data_dir: &Path, max_bytes: u64) -> io::Result<Finding> {
    let stat = rustix::fs::statvfs(folder)?;
    let free = stat.f_bavail.saturating_mul(stat.f_frsize);
    let log = fs::metadata(data_dir.join("vidette.db")).map_or(0, |file| file.len());
    // Beside events there are indexes, and the write-ahead log.
    let needed = max_bytes.saturating_add(max_bytes / 4);
    let to_come = needed.saturating_sub(log);
    let mib = |bytes: u64| bytes / 1024 / 1024;
    if free >= to_come {
        let text = format!("{} MiB are free, enough for retention.max_bytes", mib(free));
        return Ok(Finding::good("disk", text));
    }
    Ok(Finding::warning(
        "disk",
        format!(
            "{} MiB are free, and a log of retention.max_bytes may take {} MiB more",
            mib(free),
            mib(to_come)
        ),
        "free some space, or lower retention.max_bytes: publishing is refused on a full disk",
    ))
}

#[cfg(test)]
mod tests {
    use super::super::finding::Level;
    use super::*;

    #[test]
    fn a_disk_is_looked_at_where_the_folder_is_to_be_made_and_nothing_is_left_there() {
        let folder = tempfile::TempDir::new().expect("a folder");
        let findings = look(&folder.path().join("not/yet"), 1);
        assert_eq!(findings.len(), 3);
        assert!(
            findings
                .iter()
                .all(|finding| finding.level != Level::Problem)
        );
        assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 0);
        let space = space(folder.path(), folder.path(), u64::MAX).expect("a finding");
        assert_eq!(space.level, Level::Warning);
    }

    #[test]
    fn memory_that_looks_like_a_disk_is_found() {
        let Ok(finding) = kind(Path::new("/dev/shm")) else {
            return;
        };
        assert_eq!(finding.level, Level::Warning);
    }
}
