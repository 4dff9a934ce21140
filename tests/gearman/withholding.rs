//! A network between gateway and job server that keeps answers to jobs to itself.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

const WORK_COMPLETE: u32 = 13;

pub(crate) struct Network {
    address: SocketAddr,
    state: Arc<State>,
}

struct State {
    withholds: AtomicBool,
    withheld: AtomicU64,
    cuts: watch::Sender<u64>,
}

impl Network {
    pub(crate) async fn before(job_server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let (withholds, withheld) = (AtomicBool::new(false), AtomicU64::new(0));
        let state = Arc::new(State {
            withholds,
            withheld,
            cuts: watch::Sender::new(0),
        });
        let shared = state.clone();
        tokio::spawn(async move {
            while let Ok((gateway, _)) = listener.accept().await {
                let Ok(server) = TcpStream::connect(job_server).await else {
                    continue;
                };
                tokio::spawn(pass(gateway, server, shared.clone()));
            }
        });
        Network { address, state }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on no answer arrives.
    pub(crate) fn withhold(&self) {
        self.state.withholds.store(true, Ordering::SeqCst);
    }

    /// From now on they arrive; what was kept is lost.
    pub(crate) fn let_through(&self) {
        self.state.withholds.store(false, Ordering::SeqCst);
    }

    /// Breaks all connections.
    pub(crate) fn cut(&self) {
        self.state.cuts.send_modify(|cuts| *cuts += 1);
    }

    pub(crate) fn withheld(&self) -> u64 {
        self.state.withheld.load(Ordering::SeqCst)
    }
}

async fn pass(gateway: TcpStream, server: TcpStream, state: Arc<State>) {
    let ((from_gateway, mut to_gateway), (mut from_server, to_server)) =
        (gateway.into_split(), server.into_split());
    let mut cuts = state.cuts.subscribe();
    tokio::select! {
        () = answers(from_gateway, to_server, &state) => {}
        _ = tokio::io::copy(&mut from_server, &mut to_gateway) => {}
        _ = cuts.changed() => {}
    }
}

/// Packet by packet; ends with the connection. Behind a packet that is kept none passes, as a
/// broken network would have it.
async fn answers(mut gateway: OwnedReadHalf, mut server: OwnedWriteHalf, state: &State) {
    let (mut head, mut is_broken) = ([0; 12], false);
    while gateway.read_exact(&mut head[..1]).await.is_ok() {
        if head[0] != 0 {
            // The text protocol, which asks for the status.
            let _ = server.write_all(&head[..1]).await;
            let _ = tokio::io::copy(&mut gateway, &mut server).await;
            return;
        }
        if gateway.read_exact(&mut head[1..]).await.is_err() {
            return;
        }
        let number =
            |at: usize| u32::from_be_bytes(head[at..at + 4].try_into().expect("four bytes"));
        let mut body = vec![0; number(8) as usize];
        if gateway.read_exact(&mut body).await.is_err() {
            return;
        }
        let is_answer = number(4) == WORK_COMPLETE;
        is_broken |= is_answer && state.withholds.load(Ordering::SeqCst);
        if is_broken {
            state
                .withheld
                .fetch_add(u64::from(is_answer), Ordering::SeqCst);
        } else if server
            .write_all(&[&head[..], &body].concat())
            .await
            .is_err()
        {
            return;
        }
    }
}
