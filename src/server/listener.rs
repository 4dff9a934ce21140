//! Addresses, and who comes to them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket};
use tokio_util::sync::CancellationToken;

use super::connection::Connections;
use super::gateway::StartError;
use crate::config::Config;
use crate::limits;

pub(super) fn bind(config: &Config) -> Result<Vec<TcpListener>, StartError> {
    let mut listeners = Vec::new();
    for &address in &config.listen {
        listeners.push(listen(address).map_err(|fault| StartError::Bind { address, fault })?);
    }
    Ok(listeners)
}

fn listen(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = if address.is_ipv4() {
        TcpSocket::new_v4()
    } else {
        TcpSocket::new_v6()
    }?;
    socket.set_reuseaddr(true)?; // or a restart would have to wait for the connections of the last run
    socket.bind(address)?;
    socket.listen(limits::ACCEPT_BACKLOG)
}

pub(super) async fn accept(
    listener: TcpListener,
    connections: Arc<Connections>,
    stop: CancellationToken,
) {
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stop.cancelled() => return,
        };
        match accepted {
            Ok((stream, _)) => {
                let served = connections.clone().serve(stream);
                connections.tracker.spawn(served);
            }
            Err(fault) => {
                // Out of file descriptors, for one: waiting lets some be given back.
                tracing::warn!(%fault, "a connection could not be accepted");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}
