//! From an accepted socket to a stream that requests can be read from.
//!
//! Invariant: what comes before the first request is bounded in bytes and in time.

use std::io;
use std::sync::Arc;

use tokio::task::AbortHandle;
use tokio::time::timeout;

use super::connection::ConnectionContext;
use super::handshake::{self, TlsIo};
use super::io::Io;
use super::lean::last_moment;
use crate::limits;
use crate::metrics::ConnectionUse;
use crate::tls::ServerTls;
use crate::transport::{ConnectionInfo, ConnectionLog, PeerAddress};

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
    task: Option<AbortHandle>,
    context: &ConnectionContext,
) -> io::Result<OpenedConnection> {
    let write_timeout = context.routes.limits(|limits| limits.write_timeout);
    io.configure(write_timeout);
    let info = ConnectionInfo {
        used_for: ConnectionUse::new(context.admission.open.clone()),
        log: ConnectionLog::begin(peer),
        task,
        ..ConnectionInfo::plain(peer)
    };
    match &context.tls {
        Some(tls) => {
            let tls = tls.current();
            let accepting = handshake::accept(io, &tls, write_timeout);
            let stream = in_time(accepting, context).await?;
            encrypted(stream, info, &tls)
        }
        None => Ok(OpenedConnection {
            io,
            info: Arc::new(info),
        }),
    }
}

/// Waits for a handshake, no longer than for a request.
async fn in_time(
    accepting: impl Future<Output = io::Result<TlsIo>>,
    context: &ConnectionContext,
) -> io::Result<TlsIo> {
    let accepting = timeout(limits::TLS_HANDSHAKE_TIMEOUT, accepting);
    tokio::select! {
        biased; // what has come is answered, also while the gateway drains
        stream = accepting => stream?,
        () = last_moment(&context.draining, false) => Err(io::ErrorKind::TimedOut.into()),
    }
}

/// A connection whose handshake is done.
fn encrypted(stream: TlsIo, info: ConnectionInfo, tls: &ServerTls) -> io::Result<OpenedConnection> {
    // Whom the certificate names is known from here on.
    let names = tls.identify(stream.get_ref().1);
    let info = ConnectionInfo {
        is_encrypted: true,
        certificate_names: names.map_err(io::Error::other)?,
        ..info
    };
    Ok(OpenedConnection {
        io: Io::Tls(stream),
        info: Arc::new(info),
    })
}
