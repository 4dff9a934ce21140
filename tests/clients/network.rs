//! A network between a client and a gateway that can break.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Condition {
    Up,
    /// Connections are reset, and so are new ones.
    Down,
    /// Connections are reset, and requests on new ones are answered with 502, as by a proxy whose
    /// gateway is away.
    BadGateway,
    /// Nothing comes through any more on the connections that stand, as behind a router that has
    /// forgotten them.
    Silent,
}

pub(crate) struct Network {
    address: SocketAddr,
    condition: watch::Sender<Condition>,
    sent: Arc<Mutex<Vec<u8>>>,
    count: Arc<AtomicUsize>,
}

const BAD_GATEWAY: &str = concat!(
    "HTTP/1.1 502 Bad Gateway\r\ncontent-type: text/html\r\ncontent-length: 15\r\n",
    "connection: close\r\n\r\n<h1>Away.</h1>\r\n"
);

impl Network {
    /// A network before this address.
    pub(crate) async fn before(gateway: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let (condition, watched) = watch::channel(Condition::Up);
        let sent = Arc::new(Mutex::new(Vec::new()));
        let heard = sent.clone();
        let count = Arc::new(AtomicUsize::new(0));
        let counted = count.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                counted.fetch_add(1, Ordering::Relaxed);
                tokio::spawn(connect(client, gateway, watched.clone(), heard.clone()));
            }
        });
        Network {
            address,
            condition,
            sent,
            count,
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Resets all connections, and waits until they are gone.
    pub(crate) async fn cut(&self) {
        self.reset(Condition::Down).await;
    }

    /// Resets all connections, and answers later requests as a proxy does whose gateway is away.
    pub(crate) async fn lose_gateway(&self) {
        self.reset(Condition::BadGateway).await;
    }

    async fn reset(&self, condition: Condition) {
        self.condition.send_replace(condition);
        // One watches for new connections; each connection has its own.
        while self.condition.receiver_count() > 1 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// Lets the connections that stand fall silent; those made after [`Network::mend`] are good.
    pub(crate) fn silence(&self) {
        self.condition.send_replace(Condition::Silent);
    }

    pub(crate) fn mend(&self) {
        self.condition.send_replace(Condition::Up);
    }

    /// How many connections have been made.
    pub(crate) fn connections(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// All that clients have sent.
    pub(crate) fn sent(&self) -> String {
        String::from_utf8_lossy(&self.sent.lock().expect("bytes")).into_owned()
    }
}

async fn connect(
    mut client: TcpStream,
    gateway: SocketAddr,
    condition: watch::Receiver<Condition>,
    heard: Arc<Mutex<Vec<u8>>>,
) {
    if *condition.borrow() == Condition::BadGateway {
        return answer_bad_gateway(client).await;
    }
    let mut down = condition.clone();
    let carried = async {
        let Ok(mut server) = TcpStream::connect(gateway).await else {
            return;
        };
        let (mut from_client, mut to_client) = client.split();
        let (mut from_server, mut to_server) = server.split();
        let up = async {
            let mut chunk = [0; 4096];
            while let Ok(count @ 1..) = from_client.read(&mut chunk).await {
                heard
                    .lock()
                    .expect("bytes")
                    .extend_from_slice(&chunk[..count]);
                if to_server.write_all(&chunk[..count]).await.is_err() {
                    return;
                }
            }
        };
        let back = async {
            let mut chunk = [0; 4096];
            while let Ok(count @ 1..) = from_server.read(&mut chunk).await {
                if *condition.borrow() == Condition::Silent {
                    std::future::pending::<()>().await;
                }
                if to_client.write_all(&chunk[..count]).await.is_err() {
                    return;
                }
            }
        };
        tokio::select! { () = up => {}, () = back => {} }
    };
    tokio::select! {
        () = carried => {}
        _ = down.wait_for(|now| matches!(now, Condition::Down | Condition::BadGateway)) => {}
    }
    // Closing now resets the connection instead of ending it.
    let _ = socket2::SockRef::from(&client).set_linger(Some(Duration::ZERO));
}

/// Reads a request to the end of its head, and answers it.
async fn answer_bad_gateway(mut client: TcpStream) {
    let (mut head, mut chunk) = (Vec::new(), [0; 4096]);
    while !head.ends_with(b"\r\n\r\n") {
        match client.read(&mut chunk).await {
            Ok(count @ 1..) => head.extend_from_slice(&chunk[..count]),
            _ => return,
        }
    }
    let _ = client.write_all(BAD_GATEWAY.as_bytes()).await;
}
