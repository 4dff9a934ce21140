//! `[jetstream]`: the stream of NATS that is the log of several gateways.
//!
//! Invariants:
//! - no password, token or seed is shown by an error or by `Debug`;
//! - addresses that the engine gets have no credentials in them.

mod addresses;
mod credentials;
#[cfg(test)]
mod tests;

use std::fmt;
use std::time::Duration;

use super::Overrides;
use super::section::Section;
use crate::engine::{JetStreamOptions, NatsTls};
use crate::limits;
use crate::tls::{self, ClientTlsFiles};

const DEFAULT_REPLICAS: usize = 3;
const DEFAULT_STALE_AFTER: Duration = Duration::from_secs(15);

const NO_SERVERS: &str = "is missing: the address of one server at least, such as \
    nats://127.0.0.1:4222 (or give --nats)";
const NO_STREAM: &str = "is missing: the name of the stream (or give --stream)";
const NOT_A_STREAM: &str = "has to be the name of a stream: at most 255 bytes, without spaces and \
    none of . * > / \\";
const NOT_A_PREFIX: &str = "has to be what subjects begin with: tokens with dots between them, at \
    most 128 bytes, without spaces, * and >; it is given without its last dot";

/// What flags say of the stream; they take precedence over the file.
#[derive(Clone, Default)]
pub struct JetStreamOverrides {
    /// Addresses of servers; they may have credentials in them.
    pub servers: Vec<String>,
    /// The name of the stream.
    pub stream: Option<String>,
    /// Creates the stream where there is none.
    pub create: bool,
    /// How many servers keep a stream that is created.
    pub replicas: Option<usize>,
    /// Addresses at which servers can be monitored.
    pub monitors: Vec<String>,
}

impl JetStreamOverrides {
    /// The name of one that is given.
    pub(super) fn first_flag(&self) -> Option<&'static str> {
        let flags = [
            ("--nats", !self.servers.is_empty()),
            ("--stream", self.stream.is_some()),
            ("--create", self.create),
            ("--replicas", self.replicas.is_some()),
            ("--nats-monitor", !self.monitors.is_empty()),
        ];
        let mut given = flags.into_iter().filter(|(_, is_given)| *is_given);
        given.next().map(|(flag, _)| flag)
    }
}

impl fmt::Debug for JetStreamOverrides {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JetStreamOverrides")
            .field("stream", &self.stream)
            .finish_non_exhaustive()
    }
}

/// Reads the section. What has to be there is demanded only where the log is on a stream.
pub(super) fn jetstream(
    section: &mut Section,
    flags: &Overrides,
    is_used: bool,
) -> JetStreamOptions {
    let servers = addresses::servers(section, flags);
    let stream = stream(section, flags);
    if is_used {
        section.require("servers", !servers.urls.is_empty(), NO_SERVERS);
        section.require("stream", !stream.is_empty(), NO_STREAM);
    }
    JetStreamOptions {
        servers: servers.urls,
        stream,
        prefix: prefix(section),
        create: create(section, &flags.jetstream),
        replicas: replicas(section, flags.jetstream.replicas),
        first_vid: None,
        credentials: credentials::credentials(section, servers.credentials),
        tls: tls_of(section.section("tls")),
        stale_after: stale_after(section),
        monitors: addresses::monitors(section, flags),
    }
}

fn create(section: &mut Section, flags: &JetStreamOverrides) -> bool {
    let configured = section.value("create", false);
    if flags.create {
        section.replaced("create", "--create", &true);
    }
    configured || flags.create
}

fn stream(section: &mut Section, flags: &Overrides) -> String {
    let configured = section.text("stream");
    let flag = flags.jetstream.stream.as_ref();
    if let Some(stream) = flag {
        section.replaced("stream", flags.name_of("--stream"), stream);
    }
    let stream = flag.cloned().unwrap_or(configured);
    let is_name = stream.len() <= 255 && !stream.contains(is_unfit_for_stream);
    section.require("stream", is_name, NOT_A_STREAM);
    stream
}

/// Servers keep a stream in a folder of its name, and have it as one token in subjects.
fn is_unfit_for_stream(c: char) -> bool {
    c.is_whitespace() || c.is_control() || ".*>/\\".contains(c)
}

fn prefix(section: &mut Section) -> Option<String> {
    let prefix = Some(section.text("prefix")).filter(|prefix| !prefix.is_empty())?;
    let is_unfit = |c: char| c.is_whitespace() || c.is_control() || c == '*' || c == '>';
    let is_token = |token: &str| !token.is_empty() && !token.contains(is_unfit);
    let is_prefix = prefix.len() <= 128 && prefix.split('.').all(is_token);
    section.require("prefix", is_prefix, NOT_A_PREFIX);
    Some(prefix)
}

fn replicas(section: &mut Section, flag: Option<usize>) -> usize {
    let configured = section.value("replicas", DEFAULT_REPLICAS);
    if let Some(replicas) = flag {
        section.replaced("replicas", "--replicas", &replicas);
    }
    let replicas = flag.unwrap_or(configured);
    let rule = "has to be from 1 to 5: 3, or 1 for tests";
    section.require("replicas", (1..=5).contains(&replicas), rule);
    replicas
}

fn stale_after(section: &mut Section) -> Duration {
    let (least, most) = (limits::NATS_STALE_AFTER_MIN, limits::NATS_STALE_AFTER_MAX);
    let stale_after = section.duration("stale_after", DEFAULT_STALE_AFTER);
    let (least_s, most_s) = (least.as_secs(), most.as_secs());
    let rule = format!("has to be from {least_s}s to {most_s}s");
    section.require("stale_after", (least..=most).contains(&stale_after), rule);
    stale_after
}

fn tls_of(section: &mut Section) -> NatsTls {
    let required = section.value("required", false);
    let files = ClientTlsFiles {
        ca: section.file_path("ca"),
        certificate: section.file_path("certificate"),
        key: section.file_path("key"),
    };
    for error in tls::check_client_files(&files) {
        section.error(error.setting, error.text);
    }
    NatsTls {
        required,
        ca: files.ca,
        client: files.certificate.zip(files.key),
    }
}
