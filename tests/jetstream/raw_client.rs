//! A client of NATS that sends what the library would not.

use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufStream};
use tokio::net::TcpStream;

use crate::common::nats::NatsCluster;

/// A client that sends what others could not.
pub(crate) struct RawClient(BufStream<TcpStream>);

impl RawClient {
    pub(crate) async fn connect(nats: &NatsCluster) -> Self {
        let address = ("127.0.0.1", nats.servers[0].port());
        let socket = TcpStream::connect(address).await.expect("a connection");
        let mut client = RawClient(BufStream::new(socket));
        let options = "CONNECT {\"verbose\":false,\"headers\":true}\r\nPING\r\n";
        client
            .0
            .write_all(options.as_bytes())
            .await
            .expect("it is sent");
        client.until_pong().await;
        client
    }

    pub(crate) async fn publish(&mut self, subject: &str, headers: &[u8], data: &str) {
        let (length, total) = (headers.len(), headers.len() + data.len());
        let line = format!("HPUB {subject} {length} {total}\r\n");
        let message = [line.as_bytes(), headers, data.as_bytes(), b"\r\nPING\r\n"].concat();
        self.0.write_all(&message).await.expect("it is sent");
        self.until_pong().await;
    }

    async fn until_pong(&mut self) {
        self.0.flush().await.expect("it is sent");
        let mut line = String::new();
        while line.trim() != "PONG" {
            line.clear();
            self.0.read_line(&mut line).await.expect("a line");
            assert!(!line.starts_with("-ERR"), "{line}");
        }
    }
}
