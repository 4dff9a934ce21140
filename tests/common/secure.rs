//! Gateways that encrypt and ask who calls, and the clients of the tests for them.
//!
//! Whoever is given an address `https://` trusts one authority and shows one token, the same in all
//! of a test program: so a test that is written for a plain gateway runs over TLS as it is.

use std::path::Path;
use std::sync::{LazyLock, OnceLock};

use serde_json::json;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::transport::{ClientTlsConfig, Endpoint};
use tonic::{Request, Status};

use super::tls::{self, Authority, LOCAL_NAMES};
use super::token::{Signer, rights};

/// What signs the tokens that gateways with [`settings`] accept.
pub const SECRET: &str = "only these tests know this long secret";
/// The audience that such a token has to name.
pub const AUDIENCE: &str = "vidette-tests";

/// Who issues the certificates of such gateways.
pub static AUTHORITY: LazyLock<Authority> = LazyLock::new(|| Authority::new("vidette tests"));

static SHOWN: OnceLock<Shown> = OnceLock::new();

/// What the clients of this program trust and show.
struct Shown {
    ca_pem: String,
    token: String,
}

/// Has them trust and show something else, before the first of them is made.
pub fn show(ca_pem: String, token: String) {
    assert!(
        SHOWN.set(Shown { ca_pem, token }).is_ok(),
        "it is the first"
    );
}

fn shown() -> &'static Shown {
    SHOWN.get_or_init(|| Shown {
        ca_pem: AUTHORITY.pem(),
        token: token_for(&[">"], &[">", "vidette.>"]),
    })
}

/// The token that may do everything.
pub fn token() -> &'static str {
    &shown().token
}

/// A token with these rights.
pub fn token_for(publish: &[&str], subscribe: &[&str]) -> String {
    let mut claims = rights(publish, subscribe);
    claims["aud"] = json!(AUDIENCE);
    Signer::of_secret(SECRET).token(&claims)
}

/// Settings of a gateway that encrypts and asks who calls. Their files are put into the folder.
pub fn settings(folder: &Path) -> String {
    AUTHORITY.issue(&LOCAL_NAMES).write(folder);
    let secret = tls::put(&folder.join("jwt.key"), SECRET);
    let (secret, folder) = (secret.display(), folder.display());
    format!(
        "[tls]\ncertificate = \"{folder}/cert.pem\"\nkey = \"{folder}/key.pem\"\n\
         [[auth.jwt]]\nalgorithms = [\"HS256\"]\nsecret_file = \"{secret}\"\n\
         audience = \"{AUDIENCE}\"\n"
    )
}

fn is_secure(url: &str) -> bool {
    url.starts_with("https://")
}

/// A client of HTTP for a gateway at this address.
pub fn http_client(url: &str) -> reqwest::Client {
    http_client_builder(url).build().expect("a client")
}

/// A client of HTTP/1.1 for it, which a gateway serves by another driver than HTTP/2.
pub fn http1_client(url: &str) -> reqwest::Client {
    let builder = http_client_builder(url).http1_only();
    builder.build().expect("a client")
}

fn http_client_builder(url: &str) -> reqwest::ClientBuilder {
    if !is_secure(url) {
        // Reading the system's authorities for each client takes longer than most tests.
        return reqwest::Client::builder().tls_certs_only([]);
    }
    let root = reqwest::Certificate::from_pem(shown().ca_pem.as_bytes());
    let value = format!("Bearer {}", token());
    let value = http::HeaderValue::try_from(value).expect("a header");
    reqwest::Client::builder()
        .tls_certs_only([root.expect("a certificate")])
        .default_headers([(http::header::AUTHORIZATION, value)].into_iter().collect())
}

/// An endpoint of gRPC at this address.
pub fn endpoint(url: &str) -> Endpoint {
    let endpoint = Endpoint::from_shared(url.to_owned()).expect("an address");
    if !is_secure(url) {
        return endpoint;
    }
    let root = tonic::transport::Certificate::from_pem(&shown().ca_pem);
    let tls = ClientTlsConfig::new().ca_certificate(root);
    endpoint.tls_config(tls).expect("a certificate")
}

/// Shows the token in each call to a gateway that asks for one.
#[derive(Debug, Clone)]
pub struct Credentials(Option<MetadataValue<Ascii>>);

impl Credentials {
    pub fn for_gateway(url: &str) -> Self {
        let value = is_secure(url).then(|| format!("Bearer {}", token()));
        Credentials(value.map(|value| value.parse().expect("metadata")))
    }
}

impl Interceptor for Credentials {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(value) = &self.0 {
            request
                .metadata_mut()
                .insert("authorization", value.clone());
        }
        Ok(request)
    }
}
