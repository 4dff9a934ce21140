//! A server that is connected and has stopped: it is left for another one.
//!
//! Invariant: a connection is given up by force at most so often, as the next one may lead to the
//! same server again, and needs time to show that it works.

use std::sync::atomic::Ordering;

use async_nats::Client;
use async_nats::connection::State;
use tokio::time::{Instant, timeout};

use crate::limits;

/// Watches what comes from the server of the connection.
#[derive(Debug)]
pub(super) struct FrozenServer {
    received_bytes: u64,
    heard_at: Instant,
    forced_at: Option<Instant>,
}

impl FrozenServer {
    pub(super) fn new(now: Instant) -> Self {
        FrozenServer {
            received_bytes: 0,
            heard_at: now,
            forced_at: None,
        }
    }

    /// Leaves the server where nothing has come from it for too long. A healthy one answers at
    /// least whether it lives.
    pub(super) async fn check(&mut self, client: &Client, now: Instant) {
        let is_connected = client.connection_state() == State::Connected;
        let received_bytes = client.statistics().in_bytes.load(Ordering::Relaxed);
        if self.is_frozen(is_connected, received_bytes, now) {
            tracing::warn!("the NATS server has stopped answering; another one is tried");
            // Bounded: what is sent to a frozen server piles up before this.
            let _ = timeout(limits::NATS_CONNECT_TIMEOUT, client.force_reconnect()).await;
        }
    }

    fn is_frozen(&mut self, is_connected: bool, received_bytes: u64, now: Instant) -> bool {
        if !is_connected || received_bytes != self.received_bytes {
            self.received_bytes = received_bytes;
            self.heard_at = now;
            return false;
        }
        let may_force = |forced_at| now >= forced_at + limits::NATS_FORCED_RECONNECT_INTERVAL;
        let is_frozen = now >= self.heard_at + limits::NATS_SERVER_SILENCE
            && self.forced_at.is_none_or(may_force);
        if is_frozen {
            self.forced_at = Some(now);
        }
        is_frozen
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_silent_server_is_left_once_in_a_while() {
        let start = Instant::now();
        let mut frozen = FrozenServer::new(start);
        let mut at = |millis, is_connected, bytes| {
            frozen.is_frozen(is_connected, bytes, start + Duration::from_millis(millis))
        };
        assert!(!at(1000, true, 10), "something has come");
        assert!(!at(2100, true, 10));
        assert!(at(2200, true, 10), "nothing for too long");
        assert!(!at(4000, true, 10), "the next connection has its time");
        assert!(!at(10_100, true, 10));
        assert!(at(10_200, true, 10), "it has led to a silent server again");
        assert!(!at(30_000, false, 10), "there is none to leave");
        assert!(!at(31_000, true, 10));
    }
}
