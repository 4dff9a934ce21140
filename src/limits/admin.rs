//! Bounds of what operators see and do.

use std::time::Duration;

/// Readers that an operator is shown, the slowest first.
pub const MAX_LISTED_READERS: usize = 1000;
/// Topics of a reader's filter that an operator is shown.
pub const MAX_SHOWN_TOPICS: usize = 8;
/// A reader that was cut has so long for its last word; then its connection ends.
pub const CUT_PATIENCE: Duration = Duration::from_secs(2);

/// Blocks of the index that one step of a removal looks through, each of 4,096 vids.
pub const REMOVAL_STEP_BLOCKS: u32 = 16;

/// Names that an operator may revoke until the restart, where no file takes them.
pub const MAX_REVOKED_UNTIL_RESTART: usize = 10_000;

/// The body of an action, in bytes.
pub const MAX_ADMIN_BODY_BYTES: usize = 4 * 1024;
/// Streams of the admin page that are open at once.
pub const MAX_ADMIN_WATCHERS: usize = 64;
/// How often the counters are looked at while somebody watches.
pub const ADMIN_SAMPLE_EVERY: Duration = Duration::from_secs(1);
/// Nobody has looked for so long: the counters are not looked at any more.
pub const ADMIN_IDLE: Duration = Duration::from_secs(30);
/// Samples that are kept: those of the last two minutes.
pub const ADMIN_SAMPLES: usize = 121;
