//! Where time comes from.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use super::millis;

/// Where time comes from.
pub trait TimeSource: Send + Sync + 'static {
    /// Milliseconds since 1970, as far as the machine knows.
    fn wall_ms(&self) -> i64;

    /// Milliseconds since some moment in the past. Goes on while the machine is suspended, and
    /// never jumps.
    fn elapsed_ms(&self) -> i64;
}

/// The clocks of the machine: `CLOCK_REALTIME` and, where there is one, `CLOCK_BOOTTIME`.
pub struct MachineTime;

impl TimeSource for MachineTime {
    fn wall_ms(&self) -> i64 {
        let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH);

        // A clock before 1970 was never set; a negative time would help nobody.
        millis(since_1970.unwrap_or_default())
    }

    #[cfg(any(target_os = "linux", target_os = "android"))]
    fn elapsed_ms(&self) -> i64 {
        use nix::time::{ClockId, clock_gettime};
        let since_boot = clock_gettime(ClockId::CLOCK_BOOTTIME);
        millis(since_boot.expect("Linux has this clock").into())
    }

    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    fn elapsed_ms(&self) -> i64 {
        use std::sync::LazyLock;
        use std::time::Instant;
        // The start of the machine is not known here; any fixed moment will do.
        static FIRST_LOOK: LazyLock<Instant> = LazyLock::new(Instant::now);
        millis(FIRST_LOOK.elapsed())
    }
}

/// A machine whose clocks are set by hand, for tests. A clone has the same clocks.
#[derive(Debug, Clone, Default)]
pub struct SettableTime(Arc<HandClocks>);

#[derive(Debug, Default)]
struct HandClocks {
    wall_ms: AtomicI64,
    elapsed_ms: AtomicI64,
}

impl SettableTime {
    /// A machine that has just been started, at this time.
    pub fn new(wall_ms: i64) -> Self {
        let machine = SettableTime::default();
        machine.jump(wall_ms);
        machine
    }

    /// Sets the wall clock ahead, or back.
    pub fn jump(&self, by_ms: i64) {
        self.0.wall_ms.fetch_add(by_ms, Ordering::SeqCst);
    }

    /// Time passes.
    pub fn pass(&self, ms: i64) {
        // Both clocks move on, unlike when the wall clock is set.
        self.jump(ms);
        self.0.elapsed_ms.fetch_add(ms, Ordering::SeqCst);
    }
}

impl TimeSource for SettableTime {
    fn wall_ms(&self) -> i64 {
        self.0.wall_ms.load(Ordering::SeqCst)
    }

    fn elapsed_ms(&self) -> i64 {
        self.0.elapsed_ms.load(Ordering::SeqCst)
    }
}
