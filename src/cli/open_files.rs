//! How many files the gateway may have open: each connection is one.
//!
//! Invariant: where the system would refuse connections before the configuration does, whoever
//! starts the gateway is told so.

use std::fs;

use rlimit::Resource;

use crate::limits;

/// Where Linux lists what a process has open.
const OPEN_NOW: &str = "/proc/self/fd";
/// What it is taken to have open where that is not known.
const UNKNOWN_OPEN: usize = 32;

/// The limit of the process.
pub(super) struct OpenFiles {
    limit: u64,
}

impl OpenFiles {
    /// Raises the limit as far as the system lets it.
    pub(super) fn raise_limit() -> Self {
        // One that cannot be raised stays as it was.
        let raised = rlimit::increase_nofile_limit(u64::MAX);
        let limit = raised.or_else(|_| Resource::NOFILE.get_soft());
        OpenFiles {
            limit: limit.unwrap_or(u64::MAX),
        }
    }

    /// To be asked when the gateway has its log and its addresses open.
    pub(super) fn warn_where_too_few(&self, max_connections: usize) {
        if let Some(warning) = self.shortage(max_connections) {
            tracing::warn!("{warning}");
        }
    }

    /// What is missing, and what to do about it.
    pub(super) fn shortage(&self, max_connections: usize) -> Option<String> {
        self.warning(max_connections, own_files())
    }

    fn warning(&self, max_connections: usize, own: usize) -> Option<String> {
        let needed = max_connections.saturating_add(own);
        if needed as u64 <= self.limit {
            return None;
        }
        let (limit, fit) = (self.limit, self.limit.saturating_sub(own as u64));
        Some(format!(
            "this process may have {limit} files open, which is too few for \
             limits.max_connections = {max_connections}: with {own} for the gateway itself it \
             needs {needed}. Raise the limit (LimitNOFILE= in systemd, ulimit -n in a shell, \
             --ulimit nofile= in Docker), or set limits.max_connections to {fit} or less; else \
             connections wait, or come to nothing, when files have run out"
        ))
    }
}

/// What the gateway needs besides connections that it serves: its log and its listeners, which are
/// open by now, connections that it refuses, and a reserve for what comes later.
fn own_files() -> usize {
    let open = fs::read_dir(OPEN_NOW).map_or(UNKNOWN_OPEN, Iterator::count);
    open + limits::REFUSALS + limits::RESERVED_FILES
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_has_too_few_files_is_told_how_many_there_have_to_be() {
        let files = OpenFiles { limit: 20_000 };
        assert_eq!(files.warning(18_000, 2000), None);
        let warning = files.warning(100_000, 1200).expect("a warning");
        for part in [
            "20000 files",
            "= 100000",
            "needs 101200",
            "to 18800 or less",
        ] {
            assert!(warning.contains(part), "{part}: {warning}");
        }
        assert!(OpenFiles { limit: 10 }.warning(1, 1200).is_some());
        let unlimited = OpenFiles { limit: u64::MAX };
        assert_eq!(unlimited.warning(usize::MAX, 1200), None);
    }

    #[test]
    fn what_is_open_now_is_counted() {
        let files = (0..50).map(|_| fs::File::open("/dev/null").expect("a file"));
        let files: Vec<_> = files.collect();
        let others = limits::REFUSALS + limits::RESERVED_FILES;
        assert!(own_files() >= files.len() + others);
    }
}
