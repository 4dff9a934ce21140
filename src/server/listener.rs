//! Addresses, and who comes to them.
//!
//! Invariants:
//! - an address is of one family: IPv4, or IPv6 without it;
//! - who has come before a listener ends is accepted.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::connection::ConnectionContext;
use super::gateway::StartError;
use super::io::Io;
use crate::config::Config;
use crate::limits;

pub(super) fn bind(config: &Config) -> Result<Vec<TcpListener>, StartError> {
    let mut listeners = Vec::new();
    for &address in &config.listen {
        listeners.push(listen(address).map_err(|fault| StartError::Bind { address, fault })?);
    }
    Ok(listeners)
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() {
        TcpSocket::new_v4()
    } else {
        TcpSocket::new_v6()
    }?;
    if address.is_ipv6() {
        // Each family by itself, so that 0.0.0.0 and [::] go together, whatever the system's default.
        socket2::SockRef::from(&socket).set_only_v6(true)?;
    }
    socket.set_reuseaddr(true)?; // or a restart would have to wait for the connections of the last run
    socket.bind(address)?;
    socket.listen(limits::ACCEPT_BACKLOG)
}

/// Accepts connections until `stop`, and then those that had come before.
pub(super) async fn accept(
    listener: TcpListener,
    context: Arc<ConnectionContext>,
    stop: CancellationToken,
) {
    let mut trouble = Trouble::default();
    loop {
        let accepted = tokio::select! {
            biased;
            () = stop.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => context.begin(Io::Plain(stream), peer),
            Err(fault) if is_of_one_connection(&fault) => {}
            Err(fault) => {
                trouble.warn(&fault);
                // Out of file descriptors, for one: waiting lets some be given back.
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
    accept_the_last(listener, &context);
}

/// Those that have come and are not accepted yet: the listener's end would reset them. It is asked
/// itself, as the runtime would tell of them only later.
fn accept_the_last(listener: TcpListener, context: &Arc<ConnectionContext>) {
    let Ok(listener) = listener.into_std() else {
        return;
    };
    for _ in 0..limits::ACCEPT_BACKLOG {
        let Ok((stream, peer)) = listener.accept() else {
            return;
        };
        let stream = stream
            .set_nonblocking(true)
            .and_then(|()| TcpStream::from_std(stream));
        if let Ok(stream) = stream {
            context.begin(Io::Plain(stream), peer);
        }
    }
}

/// A connection that was gone before it was accepted is no trouble of the listener.
fn is_of_one_connection(fault: &io::Error) -> bool {
    matches!(
        fault.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::Interrupted
    )
}

/// What keeps a listener from accepting, said no more often than it helps.
#[derive(Default)]
struct Trouble {
    warned_at: Option<Instant>,
    unsaid: u64,
}

impl Trouble {
    fn warn(&mut self, fault: &io::Error) {
        if let Some(unsaid) = self.count() {
            tracing::warn!(%fault, failures_since_the_last_warning = unsaid, "a connection could not be accepted");
        }
    }

    /// Counts a failure; gives how many went unsaid before this one, if it is to be said.
    fn count(&mut self) -> Option<u64> {
        let is_recent = |at: Instant| at.elapsed() < limits::ACCEPT_WARNING_INTERVAL;
        if self.warned_at.is_some_and(is_recent) {
            self.unsaid += 1;
            return None;
        }
        self.warned_at = Some(Instant::now());
        Some(std::mem::take(&mut self.unsaid))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn trouble_is_said_once_in_a_while_with_how_often_it_came() {
        let mut trouble = Trouble::default();
        assert_eq!(trouble.count(), Some(0));
        for _ in 0..5 {
            assert_eq!(trouble.count(), None);
        }
        tokio::time::advance(limits::ACCEPT_WARNING_INTERVAL).await;
        assert_eq!(trouble.count(), Some(5));
        assert_eq!(trouble.count(), None);
    }
}
