//! Addresses of NATS servers, and the credentials that may stand in them.
//!
//! Invariant: no address is quoted in an error, as it may have a password in it.

use async_nats::ServerAddr;
use percent_encoding::percent_decode_str;

use super::super::Overrides;
use super::super::section::Section;
use crate::engine::NatsCredentials;
use crate::limits;

const NOT_A_SERVER: &str = "has to be an address such as nats://127.0.0.1:4222 or \
    tls://nats.example:4222; of a password in it, special characters are percent-encoded";
const OTHER_CREDENTIALS: &str = "has addresses with different credentials; one kind is for all";
const NOT_A_MONITOR: &str = "has to have addresses such as http://127.0.0.1:8222, without a path, \
    a user or a password";

/// Servers of one cluster.
#[derive(Default)]
pub(super) struct Servers {
    /// Without credentials.
    pub(super) urls: Vec<String>,
    /// Those that stand in the addresses.
    pub(super) credentials: NatsCredentials,
}

/// Reads `servers`; a flag takes its place.
pub(super) fn servers(section: &mut Section, flags: &Overrides) -> Servers {
    let name = flags.name_of("--nats");
    let texts = texts(section, "servers", &flags.jetstream.servers, name);
    let mut servers = Servers::default();
    for (index, text) in texts.iter().enumerate() {
        let Some((url, credentials)) = parse(text) else {
            let rule = format!("address {} of {} {NOT_A_SERVER}", index + 1, texts.len());
            section.error("servers", rule);
            continue;
        };
        let is_same = servers.credentials == credentials;
        if index > 0 && !is_same {
            section.require("servers", false, OTHER_CREDENTIALS);
        }
        servers.credentials = credentials;
        servers.urls.push(url);
    }
    servers
}

/// Reads `monitors`; a flag takes its place.
pub(super) fn monitors(section: &mut Section, flags: &Overrides) -> Vec<String> {
    let given = &flags.jetstream.monitors;
    let texts = texts(section, "monitors", given, "--nats-monitor");
    let are_monitors = texts.iter().all(|text| is_monitor(text));
    section.require("monitors", are_monitors, NOT_A_MONITOR);
    let without_slash = |text: &String| text.trim_end_matches('/').to_owned();
    texts.iter().map(without_slash).collect()
}

fn texts(section: &mut Section, key: &str, flag: &[String], flag_name: &str) -> Vec<String> {
    let configured = section.list(key, Vec::new());
    let texts = if flag.is_empty() {
        configured
    } else {
        section.replaced(key, flag_name, &flag);
        flag.to_vec()
    };
    let most = limits::MAX_NATS_SERVERS;
    section.require(
        key,
        texts.len() <= most,
        format!("has more than {most} addresses"),
    );
    texts
}

/// The address of a server without its credentials, and these.
fn parse(text: &str) -> Option<(String, NatsCredentials)> {
    let address: ServerAddr = text.parse().ok()?;
    let is_known = matches!(address.scheme(), "nats" | "tls") && !address.host().is_empty();
    let url = address.clone().into_inner();
    let has_no_more =
        matches!(url.path(), "" | "/") && url.query().is_none() && url.fragment().is_none();
    if !is_known || !has_no_more {
        return None;
    }

    let user = url.username();
    let credentials = match (user, url.password()) {
        ("", None) => NatsCredentials::None,
        // A user alone is a token, as other clients of NATS have it.
        (token, None) => NatsCredentials::Token(decoded(token)?),
        (name, Some(password)) => NatsCredentials::User {
            name: decoded(name)?,
            password: decoded(password)?,
        },
    };
    let (scheme, host, port) = (address.scheme(), address.host(), address.port());
    let host = if host.contains(':') {
        format!("[{host}]")
    } else {
        host.to_owned()
    };
    Some((format!("{scheme}://{host}:{port}"), credentials))
}

fn decoded(text: &str) -> Option<String> {
    let decoded = percent_decode_str(text).decode_utf8();
    decoded.ok().map(Into::into)
}

fn is_monitor(text: &str) -> bool {
    let Ok(url) = reqwest::Url::parse(text) else {
        return false;
    };
    let is_http = matches!(url.scheme(), "http" | "https") && url.has_host();
    let has_user = !url.username().is_empty() || url.password().is_some();
    let has_more = url.path() != "/" || url.query().is_some() || url.fragment().is_some();
    is_http && !has_user && !has_more
}
