//! Gateways that encrypt.

use std::path::Path;

use tempfile::TempDir;

use crate::common::gateway::{Gateway, Setup};
use crate::common::tls::{Authority, LOCAL_NAMES};

/// A gateway whose certificate an authority of the test's own has issued.
pub struct TlsGateway {
    pub gateway: Gateway,
    pub authority: Authority,
    /// With `cert.pem`, `key.pem`, and `ca.pem` of the authority.
    pub folder: TempDir,
}

impl TlsGateway {
    pub fn start() -> Self {
        Self::start_with("", "")
    }

    /// With more lines in `[tls]`, and others before all sections.
    pub fn start_with(tls: &str, before: &str) -> Self {
        let (authority, folder) = (Authority::new("tests"), TempDir::new().expect("a folder"));
        authority.issue(&LOCAL_NAMES).write(folder.path());
        std::fs::write(folder.path().join("ca.pem"), authority.pem()).expect("it is written");
        let gateway = Gateway::start_with(Setup {
            engine: "memory",
            config: format!("{before}\n{}\n{tls}", section(folder.path())),
            ..Setup::default()
        });
        TlsGateway {
            gateway,
            authority,
            folder,
        }
    }

    /// A client of HTTP that trusts its authority.
    pub fn client(&self) -> reqwest::Client {
        let client = self.authority.http_client().build();
        client.expect("a client")
    }

    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.gateway.url())
    }

    /// The path of its authority's certificate.
    pub fn ca(&self) -> String {
        self.folder.path().join("ca.pem").display().to_string()
    }
}

/// `[tls]` with the files of a folder.
pub fn section(folder: &Path) -> String {
    let folder = folder.display();
    format!("[tls]\ncertificate = \"{folder}/cert.pem\"\nkey = \"{folder}/key.pem\"")
}
