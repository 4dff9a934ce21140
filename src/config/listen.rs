//! Addresses to listen on.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

use super::section::Section;

const UNIX: &str = "unix:";

/// An address to listen on: `127.0.0.1:8080`, or `unix:/run/vidette.sock`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ListenAddress {
    /// An IP address and a port.
    Tcp(SocketAddr),
    /// A Unix socket, at this path.
    Unix(PathBuf),
}

impl ListenAddress {
    /// Can it be reached from this machine alone?
    pub(crate) fn is_local(&self) -> bool {
        match self {
            ListenAddress::Tcp(address) => address.ip().to_canonical().is_loopback(),
            ListenAddress::Unix(_) => true,
        }
    }
}

impl FromStr for ListenAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(path) = text.strip_prefix(UNIX) {
            return Ok(ListenAddress::Unix(path.into()));
        }
        // A host name is no address: what it resolves to may change.
        let address = text.parse().map(ListenAddress::Tcp);
        address.map_err(|_| format!("{text:?} is not an address such as 127.0.0.1:8080"))
    }
}

impl From<SocketAddr> for ListenAddress {
    fn from(address: SocketAddr) -> Self {
        ListenAddress::Tcp(address)
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ListenAddress::Tcp(address) => address.fmt(f),
            ListenAddress::Unix(path) => write!(f, "{UNIX}{}", path.display()),
        }
    }
}

/// Reads a list of addresses. Flags replace it, but it is checked all the same.
pub(super) fn addresses(
    section: &mut Section,
    key: &str,
    default: &[&str],
    flags: Vec<ListenAddress>,
) -> Vec<ListenAddress> {
    let default = default.iter().map(|text| (*text).to_owned()).collect();
    let texts = section.list(key, default);
    let parsed = texts.iter().filter_map(|text| {
        let address = text.parse();
        address
            .map_err(|error: String| section.error(key, error))
            .ok()
    });
    let addresses = parsed.collect();
    if flags.is_empty() { addresses } else { flags }
}
