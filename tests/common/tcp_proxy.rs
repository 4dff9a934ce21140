//! A bad network between a client and a server on loopback, which changes while it is used.
//!
//! Invariants, as of TCP itself: bytes are neither lost nor changed nor reordered within a
//! connection; a connection that does not get through keeps them, and either goes on later or ends.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::task::AbortOnDropHandle;

/// Pieces of a direction that are under way at once.
const UNDER_WAY: usize = 1024;
/// A piece in bytes.
const PIECE: usize = 64 << 10;

/// What the network does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Network {
    Passes,
    /// Nothing gets through, either way, and nobody is told.
    Drops,
    /// Each byte takes so long.
    Delays(Duration),
    /// What the client sends arrives, and nothing comes back.
    IsHalfOpen,
    /// All connections are reset, and there are no new ones.
    Refuses,
}

impl Network {
    fn delay(self) -> Duration {
        if let Network::Delays(delay) = self {
            delay
        } else {
            Duration::ZERO
        }
    }

    fn holds(self, direction: Direction) -> bool {
        match self {
            Network::Drops => true,
            Network::IsHalfOpen => direction == Direction::ToClient,
            _ => false,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Direction {
    ToServer,
    ToClient,
}

/// The way to one server.
pub struct TcpProxy {
    address: SocketAddr,
    network: watch::Sender<Network>,
    connections: Arc<AtomicUsize>,
    _serving: AbortOnDropHandle<()>,
}

impl TcpProxy {
    pub async fn start(server: SocketAddr) -> Self {
        let listener = bind_anew(SocketAddr::from(([127, 0, 0, 1], 0))).await;
        let address = listener.local_addr().expect("an address");
        let network = watch::Sender::new(Network::Passes);
        let connections = Arc::new(AtomicUsize::new(0));
        let serving = serve(listener, server, network.subscribe(), connections.clone());
        TcpProxy {
            address,
            network,
            connections,
            _serving: AbortOnDropHandle::new(tokio::spawn(serving)),
        }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on the network behaves so.
    pub fn set(&self, network: Network) {
        self.network.send_replace(network);
    }

    /// How many connections go through it.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

async fn bind_anew(address: SocketAddr) -> TcpListener {
    loop {
        match TcpListener::bind(address).await {
            Ok(listener) => return listener,
            Err(_) => sleep(Duration::from_millis(5)).await,
        }
    }
}

async fn serve(
    mut listener: TcpListener,
    server: SocketAddr,
    network: watch::Receiver<Network>,
    connections: Arc<AtomicUsize>,
) {
    let address = listener.local_addr().expect("an address");
    let mut open = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let Ok((client, _)) = accepted else { continue };
                let network = network.clone();
                open.spawn(pass_on(client, server, network, connections.clone()));
                continue;
            }
            _ = open.join_next(), if !open.is_empty() => continue,
            () = until(network.clone(), |network| network == Network::Refuses) => {}
        }
        drop(listener);
        open.shutdown().await;
        until(network.clone(), |network| network != Network::Refuses).await;
        listener = bind_anew(address).await;
    }
}

/// Waits until the network is so; for ever, where nobody changes it any more.
async fn until(mut network: watch::Receiver<Network>, is_so: impl Fn(Network) -> bool) {
    if network.wait_for(|network| is_so(*network)).await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// Counts a connection for as long as it lives.
struct Counted(Arc<AtomicUsize>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

async fn pass_on(
    client: TcpStream,
    server: SocketAddr,
    network: watch::Receiver<Network>,
    connections: Arc<AtomicUsize>,
) {
    connections.fetch_add(1, Ordering::SeqCst);
    let _counted = Counted(connections);
    // A black hole accepts nothing; here the handshake is done, and no byte follows it.
    until(network.clone(), |network| {
        !network.holds(Direction::ToServer)
    })
    .await;
    let Ok(server) = TcpStream::connect(server).await else {
        return;
    };
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let (client_reads, client_writes) = client.into_split();
    let (server_reads, server_writes) = server.into_split();
    tokio::select! {
        () = pump(client_reads, server_writes, Direction::ToServer, network.clone()) => {}
        () = pump(server_reads, client_writes, Direction::ToClient, network) => {}
    }
}

/// Passes on what one side sends, until either side has gone.
async fn pump(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    direction: Direction,
    network: watch::Receiver<Network>,
) {
    let (sender, mut pieces) = mpsc::channel::<(Instant, Vec<u8>)>(UNDER_WAY);
    let delays = network.clone();
    let reading = async move {
        loop {
            let mut piece = Vec::with_capacity(PIECE);
            match from.read_buf(&mut piece).await {
                Ok(0) | Err(_) => return,
                Ok(_) => {}
            }
            let due = Instant::now() + delays.borrow().delay();
            if sender.send((due, piece)).await.is_err() {
                return;
            }
        }
    };
    let writing = async move {
        while let Some((due, piece)) = pieces.recv().await {
            sleep_until(due).await;
            until(network.clone(), |network| !network.holds(direction)).await;
            if to.write_all(&piece).await.is_err() {
                return;
            }
        }
    };
    tokio::join!(reading, writing);
}

#[cfg(test)]
mod tests {
    use tokio::time::timeout;

    use super::*;

    /// A server that sends back what it gets.
    async fn echo() -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        tokio::spawn(async move {
            while let Ok((mut socket, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let (mut reads, mut writes) = socket.split();
                    let _ = tokio::io::copy(&mut reads, &mut writes).await;
                });
            }
        });
        address
    }

    async fn comes_back(socket: &mut TcpStream, byte: u8) -> bool {
        let mut back = [0];
        let answered = async {
            socket.write_all(&[byte]).await?;
            socket.read_exact(&mut back).await
        };
        let answered = timeout(Duration::from_millis(200), answered).await;
        answered.is_ok_and(|answered| answered.is_ok()) && back == [byte]
    }

    #[tokio::test]
    async fn what_was_held_comes_once_the_network_has_healed() {
        for broken in [Network::Drops, Network::IsHalfOpen] {
            let proxy = TcpProxy::start(echo().await).await;
            let mut socket = TcpStream::connect(proxy.address()).await.expect("a way");
            assert!(comes_back(&mut socket, 1).await);
            proxy.set(broken);
            assert!(!comes_back(&mut socket, 2).await, "{broken:?}");
            proxy.set(Network::Passes);
            let mut held = [0];
            socket.read_exact(&mut held).await.expect("the held byte");
            assert_eq!(held, [2]);
        }
    }

    #[tokio::test]
    async fn a_network_that_refuses_ends_connections_and_takes_none() {
        let proxy = TcpProxy::start(echo().await).await;
        let mut socket = TcpStream::connect(proxy.address()).await.expect("a way");
        assert!(comes_back(&mut socket, 1).await);
        proxy.set(Network::Refuses);
        assert!(matches!(socket.read(&mut [0]).await, Ok(0) | Err(_)));
        let refused = async {
            while TcpStream::connect(proxy.address()).await.is_ok() {
                sleep(Duration::from_millis(1)).await;
            }
        };
        let refused = timeout(Duration::from_secs(5), refused).await;
        assert!(refused.is_ok() && proxy.connections() == 0);
        proxy.set(Network::Passes);
        let again = async {
            loop {
                if let Ok(socket) = TcpStream::connect(proxy.address()).await {
                    return socket;
                }
            }
        };
        let mut socket = timeout(Duration::from_secs(5), again).await.expect("a way");
        assert!(comes_back(&mut socket, 3).await);
    }
}
