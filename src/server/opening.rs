//! From an accepted socket to a stream that requests can be read from.
//!
//! Invariant: what comes before the first request is bounded in bytes and in time.

use std::io;
use std::sync::Arc;

use super::connection::ConnectionContext;
use super::io::Io;
use crate::transport::{ConnectionInfo, PeerAddress};

/// A connection that requests can be read from.
pub(super) struct OpenedConnection {
    pub(super) io: Io,
    pub(super) info: Arc<ConnectionInfo>,
}

/// Prepares a connection that has been accepted.
///
/// # Errors
/// When it ends, or its peer does not keep to what has to come first.
#[expect(clippy::unused_async, reason = "a handshake is waited for here")]
pub(super) async fn open(
    io: Io,
    peer: PeerAddress,
    context: &ConnectionContext,
) -> io::Result<OpenedConnection> {
    io.configure(context.routes.limits(|limits| limits.write_timeout));
    Ok(OpenedConnection {
        io,
        info: Arc::new(ConnectionInfo::plain(peer)),
    })
}
