//! Addresses, and who comes to them.
//!
//! Invariants:
//! - an address is of one family, IPv4, or IPv6 without it; only "every address" is of both;
//! - who has come before a listener ends is accepted.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use tokio::net::{TcpListener, TcpSocket, TcpStream, UnixListener, UnixStream};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::connection::ConnectionContext;
use super::gateway::StartError;
use super::io::Io;
use super::unix_socket::{self, SocketFile};
use crate::config::{Config, ListenAddress};
use crate::limits;
use crate::transport::PeerAddress;

/// An address that is bound, with the port that it has got.
pub(super) struct Listener {
    pub(super) address: ListenAddress,
    /// Connections begin with a handshake of TLS.
    pub(super) is_encrypted: bool,
    socket: ListeningSocket,
}

impl Listener {
    /// Its port, where connections to it are encrypted.
    pub(super) fn https_port(&self) -> Option<u16> {
        match self.address {
            ListenAddress::Tcp(address) if self.is_encrypted => Some(address.port()),
            _ => None,
        }
    }
}

enum ListeningSocket {
    Tcp(TcpListener),
    Unix(SocketFile, UnixListener),
}

/// The same once nobody waits for it any more.
enum EndedSocket {
    Tcp(std::net::TcpListener),
    Unix(std::os::unix::net::UnixListener),
}

/// Binds every address, or none.
pub(super) fn bind(config: &Config) -> Result<Vec<Listener>, StartError> {
    let main = config.listen.iter();
    let main = main.map(|address| bind_one(address, config.tls.is_some(), config.unix_mode));
    let plain = config.listen_plain.iter();
    main.chain(plain.map(|address| bind_one(address, false, config.unix_mode)))
        .collect()
}

fn bind_one(
    address: &ListenAddress,
    is_encrypted: bool,
    unix_mode: Option<u32>,
) -> Result<Listener, StartError> {
    let bound = match address {
        ListenAddress::Tcp(address) => bind_tcp(*address, true),
        ListenAddress::Every(port) => bind_every(*port),
        ListenAddress::Unix(path) => {
            let bound = unix_socket::bind(path, unix_mode);
            bound.map(|(file, socket)| (address.clone(), ListeningSocket::Unix(file, socket)))
        }
    };
    let listener = bound.map(|(address, socket)| Listener {
        address,
        is_encrypted,
        socket,
    });
    listener.map_err(|error| StartError::Bind {
        address: address.clone(),
        error,
    })
}

/// Both families on one socket, so that port 0 is the same port for both.
fn bind_every(port: u16) -> io::Result<(ListenAddress, ListeningSocket)> {
    match bind_tcp((Ipv6Addr::UNSPECIFIED, port).into(), false) {
        Err(error) if error.kind() != io::ErrorKind::AddrInUse => {
            // A machine without IPv6, as in some containers.
            bind_tcp((Ipv4Addr::UNSPECIFIED, port).into(), true)
        }
        bound => bound,
    }
}

fn bind_tcp(
    address: SocketAddr,
    is_of_one_family: bool,
) -> io::Result<(ListenAddress, ListeningSocket)> {
    let socket = if address.is_ipv4() {
        TcpSocket::new_v4()
    } else {
        TcpSocket::new_v6()
    }?;
    if address.is_ipv6() {
        // Each family by itself, so that 0.0.0.0 and [::] go together, whatever the system's
        // default.
        socket2::SockRef::from(&socket).set_only_v6(is_of_one_family)?;
    }

    // Or a restart would have to wait for the connections of the last run.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    let socket = socket.listen(limits::ACCEPT_BACKLOG)?;
    Ok((socket.local_addr()?.into(), ListeningSocket::Tcp(socket)))
}

impl ListeningSocket {
    async fn accept(&self) -> io::Result<(Io, PeerAddress)> {
        match self {
            ListeningSocket::Tcp(socket) => {
                let (stream, peer) = socket.accept().await?;
                Ok((Io::Plain(stream), PeerAddress::of(peer)))
            }
            ListeningSocket::Unix(_, socket) => {
                let (stream, _) = socket.accept().await?;
                Ok((Io::Unix(stream), PeerAddress::Local))
            }
        }
    }

    fn end(self) -> io::Result<EndedSocket> {
        Ok(match self {
            ListeningSocket::Tcp(socket) => EndedSocket::Tcp(socket.into_std()?),
            ListeningSocket::Unix(file, socket) => {
                drop(file);
                EndedSocket::Unix(socket.into_std()?)
            }
        })
    }
}

impl EndedSocket {
    /// One that has come already; an error when there is none.
    fn accept(&self) -> io::Result<(Io, PeerAddress)> {
        match self {
            EndedSocket::Tcp(socket) => {
                let (stream, peer) = socket.accept()?;
                stream.set_nonblocking(true)?;
                let stream = TcpStream::from_std(stream)?;
                Ok((Io::Plain(stream), PeerAddress::of(peer)))
            }
            EndedSocket::Unix(socket) => {
                let (stream, _) = socket.accept()?;
                stream.set_nonblocking(true)?;
                Ok((Io::Unix(UnixStream::from_std(stream)?), PeerAddress::Local))
            }
        }
    }
}

/// Accepts connections until `stop`, and then those that had come before.
pub(super) async fn accept(
    listener: Listener,
    context: Arc<ConnectionContext>,
    stop: CancellationToken,
) {
    let mut failures = AcceptFailures::default();
    loop {
        // The end comes first, so that a flood of connections cannot put it off.
        let accepted = tokio::select! {
            biased;
            () = stop.cancelled() => break,
            accepted = listener.socket.accept() => accepted,
        };
        match accepted {
            Ok((io, peer)) => context.begin(io, peer),
            Err(error) if OF_ONE_CONNECTION.contains(&error.kind()) => {}
            Err(error) => {
                failures.warn(&error);
                // Out of file descriptors, for one: waiting lets some be given back.
                tokio::time::sleep(limits::ACCEPT_PAUSE).await;
            }
        }
    }
    accept_remaining(listener.socket, &context);
}

/// Those that have come and are not accepted yet: the listener's end would reset them. The socket
/// itself is asked, as the runtime would report them only later.
fn accept_remaining(socket: ListeningSocket, context: &Arc<ConnectionContext>) {
    let Ok(socket) = socket.end() else {
        return;
    };
    // No more than the kernel has kept, however fast others come.
    for _ in 0..limits::ACCEPT_BACKLOG {
        let Ok((io, peer)) = socket.accept() else {
            return;
        };
        context.begin(io, peer);
    }
}

/// Errors of a connection that was gone before it was accepted, which are none of the listener's.
const OF_ONE_CONNECTION: [io::ErrorKind; 3] = [
    io::ErrorKind::ConnectionAborted,
    io::ErrorKind::ConnectionReset,
    io::ErrorKind::Interrupted,
];

/// What keeps a listener from accepting, logged no more often than it helps.
#[derive(Default)]
struct AcceptFailures {
    warned_at: Option<Instant>,
    unlogged: u64,
}

impl AcceptFailures {
    fn warn(&mut self, error: &io::Error) {
        if let Some(unlogged) = self.count() {
            tracing::warn!(
                %error,
                failures_since_the_last_warning = unlogged,
                "a connection could not be accepted"
            );
        }
    }

    /// Counts a failure; gives how many were not logged before this one, if it is to be logged.
    fn count(&mut self) -> Option<u64> {
        // A listener that fails again and again would fill the log.
        let is_recent = |at: Instant| at.elapsed() < limits::ACCEPT_WARNING_INTERVAL;
        if self.warned_at.is_some_and(is_recent) {
            self.unlogged += 1;
            return None;
        }
        self.warned_at = Some(Instant::now());
        Some(std::mem::take(&mut self.unlogged))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn failures_are_logged_once_in_a_while_with_how_many_there_were() {
        let mut failures = AcceptFailures::default();
        assert_eq!(failures.count(), Some(0));
        for _ in 0..5 {
            assert_eq!(failures.count(), None);
        }
        tokio::time::advance(limits::ACCEPT_WARNING_INTERVAL).await;
        assert_eq!(failures.count(), Some(5));
        assert_eq!(failures.count(), None);
    }
}
