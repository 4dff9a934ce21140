//! Addresses, and who comes to them.
//!
//! Invariants:
//! - an address is of one family: IPv4, or IPv6 without it;
//! - who has come before a listener ends is accepted.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::connection::ConnectionContext;
use super::gateway::StartError;
use super::io::Io;
use crate::config::Config;
use crate::limits;

/// Binds every address, or none.
pub(super) fn bind(config: &Config) -> Result<Vec<TcpListener>, StartError> {
    let addresses = config.listen.iter().copied();
    addresses.map(bind_one).collect()
}

fn bind_one(address: SocketAddr) -> Result<TcpListener, StartError> {
    listen(address).map_err(|error| StartError::Bind { address, error })
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() {
        TcpSocket::new_v4()
    } else {
        TcpSocket::new_v6()
    }?;
    if address.is_ipv6() {
        // Each family by itself, so that 0.0.0.0 and [::] go together, whatever the system's
        // default.
        socket2::SockRef::from(&socket).set_only_v6(true)?;
    }

    // Or a restart would have to wait for the connections of the last run.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(limits::ACCEPT_BACKLOG)
}

/// Accepts connections until `stop`, and then those that had come before.
pub(super) async fn accept(
    listener: TcpListener,
    context: Arc<ConnectionContext>,
    stop: CancellationToken,
) {
    let mut failures = AcceptFailures::default();
    loop {
        // The end comes first, so that a flood of connections cannot put it off.
        let accepted = tokio::select! {
            biased;
            () = stop.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => context.begin(Io::Plain(stream), peer),
            Err(error) if OF_ONE_CONNECTION.contains(&error.kind()) => {}
            Err(error) => {
                failures.warn(&error);
                // Out of file descriptors, for one: waiting lets some be given back.
                tokio::time::sleep(limits::ACCEPT_PAUSE).await;
            }
        }
    }
    accept_remaining(listener, &context);
}

/// Those that have come and are not accepted yet: the listener's end would reset them. The socket
/// itself is asked, as the runtime would report them only later.
fn accept_remaining(listener: TcpListener, context: &Arc<ConnectionContext>) {
    let Ok(listener) = listener.into_std() else {
        return;
    };
    // No more than the kernel has kept, however fast others come.
    for _ in 0..limits::ACCEPT_BACKLOG {
        let Ok((stream, peer)) = listener.accept() else {
            return;
        };
        if let Ok(stream) = into_tokio(stream) {
            context.begin(Io::Plain(stream), peer);
        }
    }
}

fn into_tokio(stream: std::net::TcpStream) -> io::Result<TcpStream> {
    stream.set_nonblocking(true)?;
    TcpStream::from_std(stream)
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
