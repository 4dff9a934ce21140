//! Where raw bytes are sent: to a gateway as it is, or inside of TLS and with a token.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, LazyLock};
use std::task::{Context, Poll};

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::secure::{self, AUTHORITY};

const HTTP1: &str = "http/1.1";
const HTTP2: &str = "h2";

static CONFIGS: LazyLock<[Arc<ClientConfig>; 2]> =
    LazyLock::new(|| [HTTP1, HTTP2].map(|protocol| AUTHORITY.client(&[protocol])));

/// The address of a gateway.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    pub address: SocketAddr,
    /// It encrypts, and asks who calls.
    pub is_secure: bool,
}

/// A connection to it.
pub enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl From<SocketAddr> for Target {
    fn from(address: SocketAddr) -> Self {
        Target {
            address,
            is_secure: false,
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.address.fmt(f)
    }
}

impl Target {
    /// A connection for HTTP/1.1.
    pub async fn connect(self) -> io::Result<Stream> {
        let socket = TcpStream::connect(self.address).await?;
        self.begin(socket).await
    }

    /// A connection for HTTP/2.
    pub async fn connect_for_http2(self) -> io::Result<Stream> {
        let socket = TcpStream::connect(self.address).await?;
        self.shake_hands(socket, &CONFIGS[1]).await
    }

    /// HTTP/1.1 on a socket of the attacker's own making.
    pub async fn begin(self, socket: TcpStream) -> io::Result<Stream> {
        self.shake_hands(socket, &CONFIGS[0]).await
    }

    async fn shake_hands(
        self,
        socket: TcpStream,
        config: &Arc<ClientConfig>,
    ) -> io::Result<Stream> {
        if !self.is_secure {
            return Ok(Stream::Plain(socket));
        }
        let connector = TlsConnector::from(config.clone());
        let name = ServerName::from(self.address.ip());
        let stream = connector.connect(name, socket).await?;
        Ok(Stream::Tls(Box::new(stream)))
    }

    pub fn scheme(self) -> &'static str {
        if self.is_secure { "https" } else { "http" }
    }

    /// The line of a request's head that shows a token with all rights; empty where nobody asks.
    pub fn authorization(self) -> String {
        if self.is_secure {
            format!("Authorization: Bearer {}\r\n", secure::token())
        } else {
            String::new()
        }
    }
}

impl Stream {
    /// The socket below.
    pub fn socket(&self) -> &TcpStream {
        match self {
            Stream::Plain(socket) => socket,
            Stream::Tls(stream) => stream.get_ref().0,
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Plain(stream) => Pin::new(stream).poll_read(context, out),
            Stream::Tls(stream) => Pin::new(stream).poll_read(context, out),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Stream::Plain(stream) => Pin::new(stream).poll_write(context, bytes),
            Stream::Tls(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Plain(stream) => Pin::new(stream).poll_flush(context),
            Stream::Tls(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Plain(stream) => Pin::new(stream).poll_shutdown(context),
            Stream::Tls(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}
