//! What is known of the connection that a request came by.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, OnceLock};

use tokio::task::AbortHandle;

use crate::bus::ReaderConnection;
use crate::quota::ConnectionCount;

/// There is one for each connection; its requests share it.
#[derive(Debug)]
pub(crate) struct ConnectionInfo {
    pub(crate) peer: PeerAddress,
    /// What is sent and received is encrypted between the gateway and its peer.
    pub(crate) is_encrypted: bool,
    /// The subject alternative names of the client's certificate, which has been verified; none
    /// where it has shown no certificate.
    pub(crate) certificate_names: Vec<Box<str>>,
    /// Subscriptions that are open on it.
    pub(crate) subscriptions: ConnectionCount,
    /// Ends it.
    pub(crate) end: ConnectionEnd,
}

/// The task that serves a connection, which an operator may end.
#[derive(Debug, Clone, Default)]
pub(crate) struct ConnectionEnd(Arc<OnceLock<AbortHandle>>);

impl ConnectionEnd {
    /// It is served by this task.
    pub(crate) fn set(&self, task: AbortHandle) {
        let _ = self.0.set(task);
    }
}

impl ReaderConnection for ConnectionInfo {
    fn peer(&self) -> String {
        self.peer.to_string()
    }

    fn end(&self) {
        if let Some(task) = self.end.0.get() {
            task.abort();
        }
    }
}

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
            is_encrypted: false,
            certificate_names: Vec::new(),
            subscriptions: ConnectionCount::default(),
            end: ConnectionEnd::default(),
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
