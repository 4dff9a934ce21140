//! Which file a log is in.
//!
//! A copy of a file has another inode or another time of birth, on whichever device it lies. A file
//! that is renamed, or whose folder is moved within its file system, stays the same. Where a file
//! system gives other numbers at each mount, a file looks like a copy of itself: that costs a new
//! epoch and loses nothing.

use std::fmt::{self, Display};
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::str::FromStr;
use std::time::UNIX_EPOCH;

/// A file, whatever its name; written as `DEVICE:INODE:BORN_NS`.
#[derive(Debug, Clone, Copy)]
pub(super) struct FileIdentity {
    device: u64,
    inode: u64,
    /// When it was made, in nanoseconds since 1970. Inodes are used again for new files. None where
    /// the file system does not say it.
    born_ns: Option<u128>,
}

impl FileIdentity {
    pub(super) fn of(path: &Path) -> io::Result<Self> {
        fs::metadata(path).map(|metadata| Self::from(&metadata))
    }

    /// Are these the same file, as far as both say?
    pub(super) fn is_same_file(&self, other: &Self) -> bool {
        // A kernel that says the time of birth may follow one that did not.
        let is_born_alike = match (self.born_ns, other.born_ns) {
            (Some(one), Some(other)) => one == other,
            (None, _) | (_, None) => true,
        };
        (self.device, self.inode) == (other.device, other.inode) && is_born_alike
    }
}

impl From<&Metadata> for FileIdentity {
    fn from(metadata: &Metadata) -> Self {
        // Not every file system keeps it.
        let born = metadata.created().ok();
        let since_1970 = born.and_then(|born| born.duration_since(UNIX_EPOCH).ok());
        FileIdentity {
            device: metadata.dev(),
            inode: metadata.ino(),
            born_ns: since_1970.map(|duration| duration.as_nanos()),
        }
    }
}

impl Display for FileIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:", self.device, self.inode)?;
        match self.born_ns {
            Some(born_ns) => write!(f, "{born_ns}"),
            None => f.write_str("-"),
        }
    }
}

/// It is not of this form; a newer vidette may write another one.
#[derive(Debug)]
pub(super) struct UnknownForm;

impl FromStr for FileIdentity {
    type Err = UnknownForm;

    fn from_str(text: &str) -> Result<Self, UnknownForm> {
        // DEVICE:INODE:BORN_NS, the last of which may be `-`.
        let mut parts = text.splitn(3, ':');
        let mut part = || parts.next().ok_or(UnknownForm);
        Ok(FileIdentity {
            device: part()?.parse().map_err(|_| UnknownForm)?,
            inode: part()?.parse().map_err(|_| UnknownForm)?,
            born_ns: part()?.parse().ok(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(text: &str) -> FileIdentity {
        text.parse().expect("an identity")
    }

    #[test]
    fn a_file_stays_the_same_when_it_is_moved_and_its_copy_is_another() {
        let folder = tempfile::TempDir::new().expect("a folder");
        let path = |name: &str| folder.path().join(name);
        fs::write(path("one"), "log").expect("a file");
        let one = FileIdentity::of(&path("one")).expect("it is there");
        assert!(one.is_same_file(&identity(&one.to_string())));

        fs::copy(path("one"), path("copy")).expect("a copy");
        let copy = FileIdentity::of(&path("copy")).expect("it is there");
        assert!(!one.is_same_file(&copy));

        fs::rename(path("one"), path("moved")).expect("it is moved");
        let moved = FileIdentity::of(&path("moved")).expect("it is there");
        assert!(one.is_same_file(&moved));
    }

    #[test]
    fn an_inode_that_is_used_again_is_another_file() {
        assert!(!identity("1:2:3").is_same_file(&identity("1:2:4")));
        assert!(!identity("1:2:3").is_same_file(&identity("9:2:3")));
        assert!(identity("1:2:3").is_same_file(&identity("1:2:-")));
        assert!("12".parse::<FileIdentity>().is_err());
    }
}
