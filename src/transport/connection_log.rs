//! One line of the log for each connection, once it has ended.
//!
//! Invariant: a connection has one only while such lines are wanted, so that nobody pays for it
//! otherwise.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use axum::http::Uri;
use tracing::Level;

use super::connection_info::PeerAddress;
use super::counting::what_is_asked;
use crate::metrics::{EndReason, Transport};

/// What is logged of a connection when it has ended.
#[derive(Debug)]
pub(crate) struct ConnectionLog {
    peer: PeerAddress,
    opened: Instant,
    requests: AtomicU64,
    events: AtomicU64,
    bytes: AtomicU64,
    /// Of its last request.
    transport: AtomicU8,
    asked: Mutex<String>,
    /// How its last subscription has ended, where one has.
    ended: Mutex<Option<EndReason>>,
}

impl ConnectionLog {
    /// None where it would not be logged.
    pub(crate) fn begin(peer: PeerAddress) -> Option<Box<Self>> {
        tracing::enabled!(Level::DEBUG).then(|| {
            Box::new(ConnectionLog {
                peer,
                opened: Instant::now(),
                requests: AtomicU64::new(0),
                events: AtomicU64::new(0),
                bytes: AtomicU64::new(0),
                transport: AtomicU8::new(Transport::Http as u8),
                asked: Mutex::default(),
                ended: Mutex::default(),
            })
        })
    }

    pub(super) fn note_request(&self, transport: Transport, uri: &Uri) {
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.transport.store(transport as u8, Ordering::Relaxed);
        *self.asked.lock().unwrap_or_else(PoisonError::into_inner) = what_is_asked(uri);
    }

    pub(super) fn note_sent(&self, events: usize, bytes: usize) {
        self.events.fetch_add(events as u64, Ordering::Relaxed);
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(super) fn note_ended(&self, reason: EndReason) {
        let mut ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        *ended = Some(reason);
    }
}

impl Drop for ConnectionLog {
    fn drop(&mut self) {
        let asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        let ended = *self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        let transport = Transport::of_number(self.transport.load(Ordering::Relaxed));
        tracing::debug!(
            peer = %self.peer,
            transport = transport.as_str(),
            asked = &**asked,
            requests = self.requests.load(Ordering::Relaxed),
            events = self.events.load(Ordering::Relaxed),
            bytes = self.bytes.load(Ordering::Relaxed),
            open_ms = self.opened.elapsed().as_millis(),
            ended = ended.map_or("none", EndReason::as_str),
            "a connection is over"
        );
    }
}
