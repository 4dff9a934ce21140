//! Encryption of connections: `[tls]`.

use std::path::PathBuf;
use std::sync::Arc;

use super::section::Section;
use crate::tls::{self, ServerTls, TlsFiles};

/// Certificates, read when the configuration is.
#[derive(Debug, Clone)]
pub struct TlsConfig {
    pub(crate) server: Arc<ServerTls>,
    /// Requests to `listen_plain` are sent to the encrypted address, but for addresses that can be
    /// reached from this machine alone.
    pub redirect: bool,
    /// The port that clients reach it by, where it is another one than the gateway's.
    pub redirect_port: Option<u16>,
}

/// Reads the section; none where it is missing, or has an error.
pub(super) fn tls(root: &mut Section) -> Option<TlsConfig> {
    let is_there = root.has("tls");
    let section = root.section("tls");
    let certificate = section.file_path("certificate");
    let key = section.file_path("key");
    let client_ca = section.file_path("client_ca");
    let redirect = section.value("redirect", false);
    let redirect_port = section.value("redirect_port", None);
    if !is_there {
        return None;
    }

    // Both, or none.
    let certificate = required(section, "certificate", certificate);
    let key = required(section, "key", key);
    let files = TlsFiles {
        certificate: certificate?,
        key: key?,
        client_ca,
    };
    let server = load(section, &files)?.into();
    Some(TlsConfig {
        server,
        redirect,
        redirect_port,
    })
}

fn required(section: &Section, setting: &str, path: Option<PathBuf>) -> Option<PathBuf> {
    if path.is_none() {
        section.error(setting, "is missing: [tls] needs a certificate and its key");
    }
    path
}

fn load(section: &Section, files: &TlsFiles) -> Option<ServerTls> {
    let loaded = tls::load(files);
    loaded
        .map_err(|errors| {
            for error in errors {
                section.error(error.setting, error.text);
            }
        })
        .ok()
}
