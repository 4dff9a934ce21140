//! When readers are notified, and how the load of the machine is measured for that.

use std::ops::RangeInclusive;
use std::time::Duration;

/// While the cores are short, the readers of one filter are notified of events at most this often
/// for each of them, …
pub const ROUND_SPACING_PER_READER: Duration = Duration::from_micros(28);
/// … at most this often however few they are, …
pub const MIN_ROUND_SPACING: Duration = Duration::from_millis(1);
/// … and never later than this after the previous notification.
pub const MAX_ROUND_SPACING: Duration = Duration::from_millis(100);
/// Up to the first of these loads of the machine, a round follows as soon as the writes of the
/// last one are out; from the second on it waits as long as it may, in between for a part of that.
pub const HELD_BACK_BUSY_PERMILLE: RangeInclusive<u32> = 500..=750;
/// Both loads are higher by this where so few commits come in the time of the longest spacing that
/// a round gathers none by waiting …
pub const HELD_BACK_LATER_PERMILLE: u32 = 150;
/// … up to the first of these numbers, in thousandths; from the second on they are not higher.
pub const GATHERED_COMMITS_PERMILLE: RangeInclusive<u32> = 1_500..=2_000;
/// Whatever the load, a round waits for so many commits in the time of the longest spacing as it
/// does for a load, in thousandths …
pub const HELD_BACK_COMMITS_PERMILLE: RangeInclusive<u32> = 8_000..=24_000;
/// … where so many of them come while a round is written, in thousandths: not at all up to the
/// first of these numbers, and from the second on as far as it says.
pub const COMMITS_WHILE_WRITTEN_PERMILLE: RangeInclusive<u32> = 1_000..=2_000;
/// One reader in so many may still be writing when the next round begins.
pub const STRAGGLERS_ONE_IN: usize = 16;
/// How often the load of the machine is measured while readers are notified …
pub const LOAD_MEASURED_EVERY: Duration = Duration::from_millis(50);
/// … over which time its mean is taken …
pub const LOAD_MEAN_OVER: Duration = Duration::from_millis(100);
/// … and how long after the last round the measuring ends.
pub const LOAD_IS_QUIET_AFTER: Duration = Duration::from_millis(500);
/// Up to this many readers are woken by the sequencer itself.
pub const FEW_READERS: usize = 16;
