//! From an accepted socket to a stream that requests can be read from.
//!
//! Invariant: what comes before the first request is bounded in bytes and in time.

use std::io;
use std::sync::Arc;

use tokio::time::timeout;

use super::connection::ConnectionContext;
use super::handshake;
use super::io::Io;
use super::lean::last_moment;
use crate::limits;
use crate::quota::ConnectionCount;
use crate::tls::ServerTls;
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
pub(super) async fn open(
    io: Io,
    peer: PeerAddress,
    context: &ConnectionContext,
) -> io::Result<OpenedConnection> {
    io.configure(context.routes.limits(|limits| limits.write_timeout));
    match &context.tls {
        Some(tls) => encrypt(io, peer, &tls.current(), context).await,
        None => Ok(OpenedConnection {
            io,
            info: Arc::new(ConnectionInfo::plain(peer)),
        }),
    }
}

/// Waits for the handshake, no longer than for a request.
async fn encrypt(
    io: Io,
    peer: PeerAddress,
    tls: &ServerTls,
    context: &ConnectionContext,
) -> io::Result<OpenedConnection> {
    let accepting = timeout(limits::TLS_HANDSHAKE_TIMEOUT, handshake::accept(io, tls));
    let stream = tokio::select! {
        biased; // what has come is answered, also while the gateway drains
        stream = accepting => stream??,
        () = last_moment(&context.draining, false) => return Err(io::ErrorKind::TimedOut.into()),
    };

    // Whom the certificate names is known from here on.
    let names = tls.identify(stream.get_ref().1);
    let info = ConnectionInfo {
        peer,
        is_encrypted: true,
        certificate_names: names.map_err(io::Error::other)?,
        subscriptions: ConnectionCount::default(),
    };
    Ok(OpenedConnection {
        io: Io::Tls(stream),
        info: Arc::new(info),
    })
}
