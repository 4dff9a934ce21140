//! `auth.revoked_file`: a name a line; empty lines, and those that begin with `#`, are none.

use std::collections::HashSet;
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use crate::config::section::Section;
use crate::limits;

/// A file that lists who is revoked.
#[derive(Debug, Clone)]
pub struct RevokedFile {
    /// Where it is.
    pub path: PathBuf,
    /// Who was in it when the configuration was read.
    pub ids: HashSet<Box<str>>,
}

/// Reads the setting, and the file.
pub(super) fn revoked(section: &mut Section) -> Option<RevokedFile> {
    let path = section.file_path("revoked_file")?;
    match RevokedFile::read(&path) {
        Ok(ids) => Some(RevokedFile { path, ids }),
        Err(error) => {
            section.error("revoked_file", error);
            None
        }
    }
}

impl RevokedFile {
    /// Who is in the file now.
    ///
    /// # Errors
    /// When it cannot be read, is too long or is no text.
    pub(crate) fn read(path: &Path) -> Result<HashSet<Box<str>>, String> {
        let at = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
        let mut bytes = Vec::new();
        let most = limits::MAX_REVOKED_FILE_BYTES;
        let opened = File::open(path).map_err(|error| at(&error))?;
        // One byte more shows that there is more.
        let read = opened.take(most + 1).read_to_end(&mut bytes);
        read.map_err(|error| at(&error))?;
        if bytes.len() as u64 > most {
            return Err(at(&format!("more than {most} bytes")));
        }
        let text = String::from_utf8(bytes).map_err(|_| at(&"not UTF-8"))?;
        names(&text).map_err(|error| at(&error))
    }
}

fn names(text: &str) -> Result<HashSet<Box<str>>, String> {
    let mut names = HashSet::new();
    for (index, line) in text.lines().enumerate() {
        let name = line.trim();
        if name.is_empty() || name.starts_with('#') {
            continue;
        }
        // No credential has a longer one, so this is another kind of file.
        if name.len() > limits::MAX_CREDENTIAL_ID_BYTES {
            let most = limits::MAX_CREDENTIAL_ID_BYTES;
            return Err(format!("line {} has more than {most} bytes", index + 1));
        }
        names.insert(name.into());
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_a_line_without_the_space_around_it() {
        let found = names("# left the company\nalice\n\n  token-7 \r\nbob").expect("names");
        let expected = ["alice", "token-7", "bob"].map(Into::into);
        assert_eq!(found, expected.into());
        assert!(names(&"x".repeat(513)).is_err());
    }
}
