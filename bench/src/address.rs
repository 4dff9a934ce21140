//! Addresses with places to fill in, as `http://127.0.0.1:8080/v1/sse?topic={topic}`.
//!
//! `{topic}` is the whole name, `{k}` its number, `{cursor}` where to read from; all else stays as
//! it is.

use std::net::{SocketAddr, ToSocketAddrs as _};

/// What is filled in.
#[derive(Clone, Copy)]
pub(crate) struct Fill<'a> {
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
    path: String,
}

impl Address {
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let rest = text
            .strip_prefix("http://")
            .ok_or_else(|| format!("{text} is no address as http://HOST:PORT/PATH"))?;
        let (authority, path) = rest
            .find('/')
            .map_or((rest, "/"), |slash| rest.split_at(slash));
        let with_port = if authority.contains(':') {
            authority.to_owned()
        } else {
            format!("{authority}:80")
        };
        let mut found = with_port
            .to_socket_addrs()
            .map_err(|e| format!("{text}: {e}"))?;
        let socket = found
            .next()
            .ok_or_else(|| format!("{text}: this host has no address"))?;
        Ok(Address {
            socket,
            authority: authority.to_owned(),
            path: path.to_owned(),
        })
    }

    /// A path below the address of a gateway; an address that has a path already stays as it is.
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

    pub(crate) fn path(&self, fill: Fill<'_>) -> String {
        let named = if self.path.contains("{topic}") {
            self.path
                .replace("{topic}", &topic_name(fill.run, fill.topic))
        } else {
            self.path.clone()
        };
        named
            .replace("{k}", &fill.topic.to_string())
            .replace("{cursor}", fill.cursor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_filled_in_and_all_else_stays() {
        let address = Address::parse("http://127.0.0.1:80/a/{k}?t={topic}&after={cursor}&x={y}")
            .expect("an address");
        let path = address.path(Fill {
            run: 10,
            topic: 7,
            cursor: "5-abc",
        });
        assert_eq!(path, "/a/7?t=bench.0000000a.7&after=5-abc&x={y}");
    }

    #[test]
    fn the_address_of_a_gateway_gets_its_path_and_another_keeps_its_own() {
        let fill = Fill {
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
        assert!(Address::parse("https://127.0.0.1:1").is_err());
    }
}
