//! Bounds of the limits that hold for each client.

use std::time::Duration;

/// Clients of each kind (addresses, callers, keys) whose publishing is remembered; one that is
/// forgotten may publish a burst again. Each takes about 120 bytes.
pub const QUOTA_BUCKETS: usize = 65_536;
/// The fastest publishing that can be configured as a limit, in events a second.
pub const MAX_PUBLISH_RATE: u32 = 10_000_000;
/// The largest burst that can be configured, in events.
pub const MAX_PUBLISH_BURST: u32 = 10_000_000;
/// A client may publish what it may in this time at once, unless that is configured.
pub const DEFAULT_BURST: Duration = Duration::from_secs(10);
/// The longest that a publish stream is held back for the rate of its client. A batch that would
/// have to wait for longer is refused.
pub const PUBLISH_RATE_WAIT: Duration = Duration::from_secs(10);
