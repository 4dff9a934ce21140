//! What all writers and readers of a run share.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use crate::record::{History, Micros, Rules, Start};

pub(crate) struct Shared {
    pub(crate) gateway: SocketAddr,
    began: Instant,
    history: Mutex<History>,
    stop: AtomicBool,
    /// Where the log has ended; 0 before.
    end: AtomicU64,
}

impl Shared {
    pub(crate) fn new(gateway: SocketAddr, rules: Rules) -> Arc<Self> {
        let since_1970 = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .expect("after 1970");
        let began_ms = i64::try_from(since_1970.as_millis()).expect("a time");
        let history = History {
            rules,
            began_ms,
            starts: vec![Start {
                at: 0,
                offset_ms: Some(0),
            }],
            ..History::default()
        };
        Arc::new(Shared {
            gateway,
            began: Instant::now(),
            history: Mutex::new(history),
            stop: AtomicBool::new(false),
            end: AtomicU64::new(0),
        })
    }

    pub(crate) fn now(&self) -> Micros {
        self.began
            .elapsed()
            .as_micros()
            .try_into()
            .expect("a short run")
    }

    pub(crate) fn history(&self) -> MutexGuard<'_, History> {
        self.history.lock().expect("the history")
    }

    /// Writers end.
    pub(crate) fn stop(&self) {
        self.stop.store(true, Ordering::SeqCst);
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::SeqCst)
    }

    /// Readers end when they have come to this vid.
    pub(crate) fn end_at(&self, vid: u64) {
        self.end.store(vid, Ordering::SeqCst);
    }

    pub(crate) fn end(&self) -> Option<u64> {
        Some(self.end.load(Ordering::SeqCst)).filter(|end| *end > 0)
    }
}
