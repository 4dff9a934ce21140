//! Addresses with values to fill in, such as `http://127.0.0.1:8080/v1/sse?topic={topic}`; with
//! `https://` what is sent there is encrypted; with `nats://` it is the protocol of NATS.
//!
//! `{topic}` is a topic's whole name, `{k}` its number, and `{cursor}` where to read from;
//! everything else stays as it is.

use std::net::{SocketAddr, ToSocketAddrs as _};

use rustls::pki_types::ServerName;

/// The values to fill in.
#[derive(Clone, Copy)]
pub(crate) struct AddressValues<'a> {
    pub(crate) run: u32,
    pub(crate) topic: usize,
    pub(crate) cursor: &'a str,
}

/// The name of a run's k-th topic.
pub(crate) fn topic_name(run: u32, topic: usize) -> String {
    format!("bench.{run:08x}.{topic}")
}

#[derive(Debug, Clone)]
pub(crate) struct Address {
    pub(crate) socket: SocketAddr,
    pub(crate) authority: String,
    /// Whose certificate a server has to have there; none where nothing is encrypted.
    pub(crate) server_name: Option<ServerName<'static>>,
    pub(crate) is_nats: bool,
    path: String,
}

impl Address {
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let (rest, port) = without_scheme(text)
            .ok_or_else(|| format!("{text} is not an address http://HOST:PORT/PATH"))?;

        // Without a path it is the server's root, for which `or_path` has a path of the gateway.
        let path_start = rest.find('/');
        let (authority, path) = path_start.map_or((rest, "/"), |start| rest.split_at(start));
        let wrong = |error: String| format!("{text}: {error}");
        let is_encrypted = port == HTTPS_PORT;
        let name = is_encrypted.then(|| server_name(authority));
        Ok(Address {
            socket: resolve(authority, port).map_err(wrong)?,
            authority: authority.to_owned(),
            server_name: name.transpose().map_err(wrong)?,
            is_nats: port == NATS_PORT,
            path: path.to_owned(),
        })
    }

    /// A path of the gateway. An address that has a path already keeps it.
    pub(crate) fn or_path(mut self, path: &str) -> Self {
        if self.path == "/" {
            path.clone_into(&mut self.path);
        }
        self
    }

    /// Another path on the same server.
    pub(crate) fn at(&self, path: &str) -> Self {
        Address {
            path: path.to_owned(),
            ..self.clone()
        }
    }

    /// The path with its values.
    pub(crate) fn path(&self, values: AddressValues<'_>) -> String {
        // Other braces stay, because another server's address may have them.
        let topic = topic_name(values.run, values.topic);
        let path = self.path.replace("{topic}", &topic);
        let path = path.replace("{k}", &values.topic.to_string());
        path.replace("{cursor}", values.cursor)
    }
}

const HTTP_PORT: u16 = 80;
const HTTPS_PORT: u16 = 443;
const NATS_PORT: u16 = 4222;

/// What follows the scheme, and the port that it has where none is given.
fn without_scheme(text: &str) -> Option<(&str, u16)> {
    let schemes = [
        ("http://", HTTP_PORT),
        ("https://", HTTPS_PORT),
        ("nats://", NATS_PORT),
    ];
    let mut schemes = schemes.into_iter();
    schemes.find_map(|(scheme, port)| Some((text.strip_prefix(scheme)?, port)))
}

fn server_name(authority: &str) -> Result<ServerName<'static>, String> {
    // An address of IPv6 stands in brackets, which its name does not have.
    let host = host_and_port(authority).0;
    let host = host.trim_start_matches('[').trim_end_matches(']');
    ServerName::try_from(host.to_owned()).map_err(|error| error.to_string())
}

fn host_and_port(authority: &str) -> (&str, Option<&str>) {
    // A colon within brackets belongs to the host.
    match authority.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, Some(port)),
        _ => (authority, None),
    }
}

fn resolve(authority: &str, default_port: u16) -> Result<SocketAddr, String> {
    let with_port = match host_and_port(authority) {
        (_, Some(_)) => authority.to_owned(),
        (host, None) => format!("{host}:{default_port}"),
    };

    // Resolved once, so that a name server's time is not measured.
    let mut found = with_port
        .to_socket_addrs()
        .map_err(|error| error.to_string())?;
    found
        .next()
        .ok_or_else(|| "the host has no address".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_filled_in_and_all_else_stays() {
        let address = Address::parse("http://127.0.0.1:80/a/{k}?t={topic}&after={cursor}&x={y}")
            .expect("an address");
        let path = address.path(AddressValues {
            run: 10,
            topic: 7,
            cursor: "5-abc",
        });
        assert_eq!(path, "/a/7?t=bench.0000000a.7&after=5-abc&x={y}");
    }

    #[test]
    fn the_address_of_a_gateway_gets_its_path_and_another_keeps_its_own() {
        let fill = AddressValues {
            run: 0,
            topic: 0,
            cursor: "",
        };
        for (text, path) in [
            ("http://127.0.0.1:1", "/v1/sse"),
            ("http://127.0.0.1:1/", "/v1/sse"),
            ("http://127.0.0.1:1/sub", "/sub"),
        ] {
            assert_eq!(
                Address::parse(text)
                    .expect("an address")
                    .or_path("/v1/sse")
                    .path(fill),
                path
            );
        }
        assert!(Address::parse("127.0.0.1:1").is_err());
        assert!(Address::parse("ftp://127.0.0.1:1").is_err());
    }

    #[test]
    fn an_encrypted_address_names_whose_certificate_is_expected() {
        for (text, name, port) in [
            ("https://127.0.0.1:7/x", Some("127.0.0.1"), 7),
            ("https://127.0.0.1", Some("127.0.0.1"), 443),
            ("https://[::1]:7", Some("::1"), 7),
            ("https://[::1]", Some("::1"), 443),
            ("https://localhost:7", Some("localhost"), 7),
            ("http://127.0.0.1", None, 80),
        ] {
            let address = Address::parse(text).expect("an address");
            let found = address.server_name.map(|name| name.to_str().into_owned());
            assert_eq!(
                (found.as_deref(), address.socket.port()),
                (name, port),
                "{text}"
            );
        }
    }
}
