//! What is known of the connection that a request came by.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU8, Ordering};

use axum::http::Uri;
use tokio::task::AbortHandle;

use super::connection_log::ConnectionLog;
use super::peer::Peer;
use crate::bus::ReaderConnection;
use crate::metrics::{ConnectionUse, EndReason, Transport};
use crate::quota::ConnectionCount;

/// There is one for each connection; its requests share it.
#[derive(Debug)]
pub(crate) struct ConnectionInfo {
    pub(crate) peer: PeerAddress,
    /// Its other side, once a request that may wait for events has come by HTTP/1.
    pub(crate) watched_peer: OnceLock<Peer>,
    /// What is sent and received is encrypted between the gateway and its peer.
    pub(crate) is_encrypted: bool,
    /// The subject alternative names of the client's certificate, which has been verified; none
    /// where it has shown no certificate.
    pub(crate) certificate_names: Vec<Box<str>>,
    /// Subscriptions that are open on it.
    pub(crate) subscriptions: ConnectionCount,
    /// What it was last used for.
    pub(crate) used_for: ConnectionUse,
    /// None where connections are not logged.
    pub(crate) log: Option<Box<ConnectionLog>>,
    /// What of it was given up because its peer takes nothing.
    pub(crate) stalled: AtomicU8,
    /// The task that serves it, which an operator may end.
    pub(crate) task: Option<AbortHandle>,
}

const NOTHING: u8 = 0;
/// One of its streams, which is looked at once.
const A_STREAM: u8 = 1;
const ALL: u8 = 2;

/// Where a connection comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum PeerAddress {
    /// An address and a port.
    Ip(SocketAddr),
    /// This machine, by a Unix socket.
    Local,
}

impl ConnectionInfo {
    /// Of a connection that is not encrypted.
    pub(crate) fn plain(peer: PeerAddress) -> Self {
        ConnectionInfo {
            peer,
            watched_peer: OnceLock::new(),
            is_encrypted: false,
            certificate_names: Vec::new(),
            subscriptions: ConnectionCount::default(),
            used_for: ConnectionUse::default(),
            log: None,
            stalled: NOTHING.into(),
            task: None,
        }
    }

    /// Its other side, whose end is noted there from now on.
    pub(crate) fn watch_peer(&self) -> &Peer {
        self.watched_peer.get_or_init(Peer::default)
    }

    /// A request has come.
    pub(super) fn note_request(&self, transport: Transport, uri: &Uri) {
        self.used_for.note(transport);
        if let Some(log) = &self.log {
            log.note_request(transport, uri);
        }
    }

    /// It is given up for this error: perhaps because its peer takes nothing.
    pub(crate) fn note_failed_write(&self, error: &io::Error) {
        if error.kind() == io::ErrorKind::TimedOut {
            self.stalled.store(ALL, Ordering::Relaxed);
        }
    }

    /// The same of one stream of it, which is dropped next.
    pub(crate) fn note_stalled_stream(&self) {
        let _ = self.replace_stalled(NOTHING, A_STREAM);
    }

    fn replace_stalled(&self, before: u8, after: u8) -> bool {
        let relaxed = Ordering::Relaxed;
        self.stalled
            .compare_exchange(before, after, relaxed, relaxed)
            .is_ok()
    }
}

impl ReaderConnection for ConnectionInfo {
    fn peer(&self) -> String {
        self.peer.to_string()
    }

    fn end(&self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }

    fn has_stalled(&self) -> bool {
        let stalled = self.stalled.load(Ordering::Relaxed);
        stalled == ALL || (stalled == A_STREAM && self.replace_stalled(A_STREAM, NOTHING))
    }

    fn note_sent(&self, events: usize, bytes: usize) {
        if let Some(log) = &self.log {
            log.note_sent(events, bytes);
        }
    }

    fn note_ended(&self, reason: EndReason) {
        if let Some(log) = &self.log {
            log.note_ended(reason);
        }
    }
}

impl PeerAddress {
    /// Of a socket: one of IPv4 that has come by IPv6 is one of IPv4.
    pub(crate) fn of(address: SocketAddr) -> Self {
        let canonical = SocketAddr::new(address.ip().to_canonical(), address.port());
        PeerAddress::Ip(canonical)
    }

    /// The address without its port, and IPv4 as itself.
    pub(crate) fn ip(self) -> Option<IpAddr> {
        match self {
            PeerAddress::Ip(address) => Some(address.ip().to_canonical()),
            PeerAddress::Local => None,
        }
    }
}

impl fmt::Display for PeerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PeerAddress::Ip(address) => address.fmt(f),
            PeerAddress::Local => f.write_str("a Unix socket"),
        }
    }
}
