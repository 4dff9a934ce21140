//! A network between one client and a gateway (history §1.2): it can be cut, fall silent, and hold
//! everything up for a while.
//!
//! Its buffers are small, so that a gateway notices soon that nothing is being read.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;

const BUFFER_BYTES: u32 = 16 * 1024;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Condition {
    Up,
    /// Connections are reset, and so are new ones.
    Down,
    /// What the gateway sends on the connections that stand is swallowed, also later.
    Silent,
    /// Nothing is taken from the gateway until it is up again.
    Stalled,
}

pub(crate) struct Network {
    address: SocketAddr,
    condition: watch::Sender<Condition>,
}

impl Network {
    pub(crate) async fn before(gateway: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let (condition, watched) = watch::channel(Condition::Up);
        tokio::spawn(async move {
            let mut gone = watched.clone();
            loop {
                tokio::select! {
                    accepted = listener.accept() => match accepted {
                        Ok((client, _)) => drop(tokio::spawn(connect(client, gateway, watched.clone()))),
                        Err(_) => return,
                    },
                    changed = gone.changed() => if changed.is_err() { return },
                }
            }
        });
        Network { address, condition }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Resets all connections that stand.
    pub(crate) async fn cut(&self) {
        self.condition.send_replace(Condition::Down);
        tokio::time::sleep(Duration::from_millis(5)).await;
        self.mend();
    }

    pub(crate) fn silence(&self) {
        self.condition.send_replace(Condition::Silent);
    }

    pub(crate) fn stall(&self) {
        self.condition.send_replace(Condition::Stalled);
    }

    pub(crate) fn mend(&self) {
        self.condition.send_replace(Condition::Up);
    }
}

async fn connect(
    mut client: TcpStream,
    gateway: SocketAddr,
    condition: watch::Receiver<Condition>,
) {
    let mut down = condition.clone();
    let _ = socket2::SockRef::from(&client).set_send_buffer_size(BUFFER_BYTES as usize);
    let is_cut = tokio::select! {
        () = carry(&mut client, gateway, condition) => false,
        _ = down.wait_for(|now| *now == Condition::Down) => true,
    };
    if is_cut {
        // Closing now resets the connection instead of ending it.
        let _ = socket2::SockRef::from(&client).set_linger(Some(Duration::ZERO));
    }
}

async fn carry(
    client: &mut TcpStream,
    gateway: SocketAddr,
    mut condition: watch::Receiver<Condition>,
) {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket
        .set_recv_buffer_size(BUFFER_BYTES)
        .expect("a small buffer");
    let Ok(mut server) = socket.connect(gateway).await else {
        return;
    };
    let (mut from_client, mut to_client) = client.split();
    let (mut from_server, mut to_server) = server.split();
    let back = async {
        let mut chunk = [0; 4096];
        let mut is_silent = false;
        while condition
            .wait_for(|now| *now != Condition::Stalled)
            .await
            .is_ok()
        {
            let Ok(count @ 1..) = from_server.read(&mut chunk).await else {
                break;
            };
            is_silent |= *condition.borrow() == Condition::Silent;
            if !is_silent && to_client.write_all(&chunk[..count]).await.is_err() {
                return;
            }
        }
        if is_silent {
            std::future::pending::<()>().await; // the end does not come through either
        }
    };
    tokio::select! { _ = copy(&mut from_client, &mut to_server) => {}, () = back => {} }
}
