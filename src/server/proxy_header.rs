//! The header of the PROXY protocol, which a proxy sends before anything of its client.
//!
//! Invariants:
//! - it is read from trusted proxies alone, and has to come from each of them where it is switched
//!   on: what a client sends first is never taken for it;
//! - no byte behind it is read; it is bounded in bytes and in time.

use std::io;
use std::net::{IpAddr, SocketAddr};

use ppp::{v1, v2};
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::time::timeout;

use crate::limits;
use crate::transport::PeerAddress;

/// Bytes of version 2 before what its length counts.
const FIXED_BYTES: usize = 16;
/// How version 1, a line of text, begins.
const TEXT_PREFIX: &[u8] = b"PROXY ";

/// Why there is no header.
#[derive(Debug, thiserror::Error)]
pub(super) enum HeaderError {
    /// The connection has ended first, as that of a health check which only connects.
    #[error("it ended before its header of the PROXY protocol")]
    Ended(#[from] io::Error),
    #[error("no header of the PROXY protocol came in time")]
    Late,
    #[error("a trusted proxy sent no valid header of the PROXY protocol (proxy.protocol): {0}")]
    Invalid(String),
}

/// Reads the header, and gives the peer that it names; the proxy itself where it names none.
pub(super) async fn peer_behind<R>(
    stream: &mut R,
    proxy: PeerAddress,
) -> Result<PeerAddress, HeaderError>
where
    R: AsyncRead + Unpin,
{
    let reading = timeout(limits::PROXY_HEADER_TIMEOUT, read(stream));
    let client = reading.await.map_err(|_| HeaderError::Late)??;
    Ok(client.map_or(proxy, PeerAddress::of))
}

async fn read<R>(stream: &mut R) -> Result<Option<SocketAddr>, HeaderError>
where
    R: AsyncRead + Unpin,
{
    // No header is shorter.
    let mut header = vec![0; v2::PROTOCOL_PREFIX.len()];
    stream.read_exact(&mut header).await?;
    if header == v2::PROTOCOL_PREFIX {
        read_binary(stream, &mut header).await?;
        client_of_binary(&header)
    } else if header.starts_with(TEXT_PREFIX) {
        read_line(stream, &mut header).await?;
        client_of_text(&header)
    } else {
        Err(HeaderError::Invalid("it begins with other bytes".into()))
    }
}

async fn read_binary<R>(stream: &mut R, header: &mut Vec<u8>) -> Result<(), HeaderError>
where
    R: AsyncRead + Unpin,
{
    read_to(stream, header, FIXED_BYTES).await?;
    let length = u16::from_be_bytes([header[FIXED_BYTES - 2], header[FIXED_BYTES - 1]]);

    // The addresses and what a proxy adds to them take some hundred bytes.
    let bytes = FIXED_BYTES + usize::from(length);
    if bytes > limits::MAX_PROXY_HEADER_BYTES {
        let most = limits::MAX_PROXY_HEADER_BYTES;
        let text = format!("it has {bytes} bytes; at most {most} are allowed");
        return Err(HeaderError::Invalid(text));
    }
    read_to(stream, header, bytes).await
}

async fn read_to<R>(stream: &mut R, header: &mut Vec<u8>, bytes: usize) -> Result<(), HeaderError>
where
    R: AsyncRead + Unpin,
{
    let read = header.len();
    header.resize(bytes, 0);
    stream.read_exact(&mut header[read..]).await?;
    Ok(())
}

/// Reads byte by byte, because only its end says how long a line is, and what follows is another's.
async fn read_line<R>(stream: &mut R, header: &mut Vec<u8>) -> Result<(), HeaderError>
where
    R: AsyncRead + Unpin,
{
    while !header.ends_with(b"\n") {
        if header.len() == limits::MAX_PROXY_LINE_BYTES {
            return Err(HeaderError::Invalid("its line does not end".into()));
        }
        header.push(stream.read_u8().await?);
    }
    Ok(())
}

fn client_of_binary(header: &[u8]) -> Result<Option<SocketAddr>, HeaderError> {
    let header = v2::Header::try_from(header).map_err(|error| invalid(&error))?;
    match (header.command, header.protocol) {
        // The proxy speaks for itself, as in a health check.
        (v2::Command::Local, _) => return Ok(None),
        (v2::Command::Proxy, v2::Protocol::Datagram) => {
            return Err(HeaderError::Invalid("it is of datagrams".into()));
        }
        (v2::Command::Proxy, _) => {}
    }
    Ok(match header.addresses {
        v2::Addresses::IPv4(address) => client(address.source_address, address.source_port),
        v2::Addresses::IPv6(address) => client(address.source_address, address.source_port),
        // Whom the proxy knows no address of.
        v2::Addresses::Unix(_) | v2::Addresses::Unspecified => None,
    })
}

fn client_of_text(header: &[u8]) -> Result<Option<SocketAddr>, HeaderError> {
    let header = v1::Header::try_from(header).map_err(|error| invalid(&error))?;
    Ok(match header.addresses {
        v1::Addresses::Tcp4(address) => client(address.source_address, address.source_port),
        v1::Addresses::Tcp6(address) => client(address.source_address, address.source_port),
        v1::Addresses::Unknown => None,
    })
}

#[expect(clippy::unnecessary_wraps, reason = "beside addresses that are none")]
fn client(address: impl Into<IpAddr>, port: u16) -> Option<SocketAddr> {
    Some(SocketAddr::new(address.into(), port))
}

fn invalid(error: &impl ToString) -> HeaderError {
    HeaderError::Invalid(error.to_string())
}

#[cfg(test)]
#[path = "proxy_header_tests.rs"]
mod tests;
