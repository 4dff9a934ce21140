//! How the command line names a log: a folder, or a stream of NATS.

use std::path::PathBuf;
use std::str::FromStr;

/// A log.
#[derive(Clone)]
pub(super) enum LogAddress {
    /// The data folder of a gateway.
    Folder(PathBuf),
    /// A stream; its addresses may have credentials in them.
    Stream {
        servers: Vec<String>,
        stream: String,
    },
}

const NO_STREAM: &str = "it has to end with the name of the stream, as in \
                         nats://127.0.0.1:4222/doors or nats://a:4222,b:4222/doors";

impl FromStr for LogAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let Some((scheme, rest)) = text.split_once("://") else {
            return Ok(LogAddress::Folder(text.into()));
        };
        if !matches!(scheme, "nats" | "tls") {
            return Err("it has to be a folder, or an address as nats:// or tls://".into());
        }
        let (servers, stream) = rest.rsplit_once('/').ok_or(NO_STREAM)?;
        if servers.is_empty() || stream.is_empty() {
            return Err(NO_STREAM.into());
        }
        let with_scheme = |server: &str| {
            if server.contains("://") {
                server.to_owned()
            } else {
                format!("{scheme}://{server}")
            }
        };
        Ok(LogAddress::Stream {
            servers: servers.split(',').map(with_scheme).collect(),
            stream: stream.to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_is_a_folder_or_a_stream_of_some_servers() {
        let stream = |text: &str| match text.parse() {
            Ok(LogAddress::Stream { servers, stream }) => Some((servers.join(" "), stream)),
            _ => None,
        };
        let found = |servers: &str, name: &str| Some((servers.to_owned(), name.to_owned()));
        let one = stream("nats://a:4222/doors");
        assert_eq!(one, found("nats://a:4222", "doors"));
        let some = stream("tls://a,nats://u:p@b:1/doors");
        assert_eq!(some, found("tls://a nats://u:p@b:1", "doors"));
        for folder in ["./data", "/var/lib/vidette", "nats"] {
            assert!(matches!(folder.parse(), Ok(LogAddress::Folder(_))));
        }
        for wrong in ["nats://a:4222", "nats:///doors", "nats://a/", "http://a/b"] {
            assert!(wrong.parse::<LogAddress>().is_err(), "{wrong}");
        }
    }
}
