//! `[proxy]`: which proxies are believed when they say whom they speak for.
//!
//! Invariant: what the configuration does not name is not believed.

use std::net::IpAddr;

use ipnet::IpNet;

use super::section::Section;
use crate::limits;

/// What stands for every peer that comes by a Unix socket.
const UNIX: &str = "unix";

/// The proxies before the gateway.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProxyConfig {
    /// Those that are believed.
    pub trusted: TrustedProxies,
    /// Each of their connections begins with a header of the PROXY protocol.
    pub protocol: bool,
}

/// Proxies that say truly whom they speak for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TrustedProxies {
    networks: Vec<IpNet>,
    /// Whoever may open a Unix socket of the gateway.
    unix: bool,
}

impl ProxyConfig {
    /// Does a connection of this peer begin with a header of the PROXY protocol?
    pub(crate) fn expects_header(&self, peer: Option<IpAddr>) -> bool {
        self.protocol && self.trusted.contain(peer)
    }
}

impl TrustedProxies {
    /// Is this one of them? A peer without an address comes by a Unix socket.
    pub(crate) fn contain(&self, peer: Option<IpAddr>) -> bool {
        match peer {
            Some(address) => self.networks.iter().any(|known| known.contains(&address)),
            None => self.unix,
        }
    }

    fn are_none(&self) -> bool {
        self.networks.is_empty() && !self.unix
    }
}

/// Reads the section `[proxy]`.
pub(super) fn proxy(section: &mut Section) -> ProxyConfig {
    let config = ProxyConfig {
        trusted: trusted(section),
        protocol: section.value("protocol", false),
    };
    let is_of_somebody = !config.protocol || !config.trusted.are_none();
    section.require("protocol", is_of_somebody, PROTOCOL_OF_NOBODY);
    config
}

const PROTOCOL_OF_NOBODY: &str =
    "= true is for the proxies of proxy.trusted, which names none: name them there";

fn trusted(section: &mut Section) -> TrustedProxies {
    let texts = section.list("trusted", Vec::new());

    // Each request of a proxy is compared with all of them.
    let most = limits::MAX_TRUSTED_PROXIES;
    let rule = format!("has {} entries; at most {most} are allowed", texts.len());
    section.require("trusted", texts.len() <= most, rule);

    let (unix, networks): (Vec<&String>, Vec<_>) = texts.iter().partition(|text| *text == UNIX);
    TrustedProxies {
        networks: networks
            .into_iter()
            .filter_map(|text| network(section, text))
            .collect(),
        unix: !unix.is_empty(),
    }
}

fn network(section: &Section, text: &str) -> Option<IpNet> {
    let network = parse_network(text);
    let wrong = match network {
        // Then anybody could say to be anybody.
        Some(network) if network.prefix_len() == 0 => Some("is everybody; name the proxies alone"),
        Some(_) => None,
        None => Some(NOT_A_NETWORK),
    };
    if let Some(wrong) = wrong {
        section.error("trusted", format!("{text:?} {wrong}"));
    }
    network
}

const NOT_A_NETWORK: &str =
    "is neither an address such as 10.0.0.2, nor a network such as 10.0.0.0/8, nor unix";

/// An address is a network of one.
fn parse_network(text: &str) -> Option<IpNet> {
    let of_one = |address: IpAddr| IpNet::from(address.to_canonical());
    text.parse().ok().or_else(|| text.parse().ok().map(of_one))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Overrides};

    fn read(text: &str) -> Result<ProxyConfig, String> {
        let text = format!("[proxy]\n{text}");
        Config::parse(&text, Overrides::default())
            .map(|config| config.proxy)
            .map_err(|errors| errors.to_string())
    }

    fn trust(trusted: &str, peer: Option<&str>) -> bool {
        let config = read(&format!("trusted = {trusted}")).expect("a configuration");
        let peer = peer.map(|address| address.parse().expect("an address"));
        config.trusted.contain(peer)
    }

    #[test]
    fn whoever_is_named_is_trusted_and_nobody_else() {
        let trusted = r#"["10.0.0.0/8", "192.0.2.7", "2001:db8::/32"]"#;
        for peer in ["10.255.0.1", "192.0.2.7", "2001:db8:9::1"] {
            assert!(trust(trusted, Some(peer)), "{peer}");
        }
        for peer in ["11.0.0.1", "192.0.2.8", "2001:db9::1", "::1", "127.0.0.1"] {
            assert!(!trust(trusted, Some(peer)), "{peer}");
        }
        assert!(!trust(trusted, None));
        assert!(trust(r#""unix""#, None));
        assert!(!trust(r#""unix""#, Some("127.0.0.1")));
        assert!(trust(r#""::ffff:192.0.2.7""#, Some("192.0.2.7")));
        assert!(!trust("[]", Some("127.0.0.1")));
    }

    #[test]
    fn what_is_no_network_or_everybody_is_refused() {
        for wrong in [
            "nginx",
            "10.0.0.0/33",
            "10.0.0.2:80",
            "",
            "0.0.0.0/0",
            "::/0",
        ] {
            let errors = read(&format!("trusted = [\"10.0.0.1\", {wrong:?}]")).expect_err(wrong);
            assert!(errors.contains(&format!("{wrong:?} is")), "{errors}");
        }
        let many = vec!["10.0.0.1"; limits::MAX_TRUSTED_PROXIES + 1];
        let errors = read(&format!("trusted = {many:?}")).expect_err("too many");
        assert!(errors.contains("at most 256"), "{errors}");
    }

    #[test]
    fn the_proxy_protocol_is_spoken_by_somebody() {
        let errors = read("protocol = true").expect_err("nobody");
        assert!(errors.contains("names none"), "{errors}");
        assert!(
            read("protocol = true\ntrusted = \"unix\"")
                .expect("read")
                .protocol
        );
    }
}
