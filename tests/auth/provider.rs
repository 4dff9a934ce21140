//! An identity provider of the test's own: a key set over HTTP, which changes when the test says.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Redirect, Response};
use axum::routing::get;
use jsonwebtoken::Algorithm;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::watch;
use x509_parser::pem::Pem;
use x509_parser::prelude::FromDer as _;
use x509_parser::x509::SubjectPublicKeyInfo;

use crate::common::token::Signer;

/// How the provider answers.
#[derive(Clone)]
pub enum Mode {
    Keys(Value),
    /// Nothing, ever.
    Silent,
    Broken,
    /// More than anybody needs.
    Huge,
    Redirect(String),
}

#[derive(Clone)]
pub struct Provider {
    mode: Arc<watch::Sender<Mode>>,
    asked: Arc<AtomicUsize>,
    address: SocketAddr,
}

impl Provider {
    pub async fn start(keys: Value) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let provider = Provider {
            mode: Arc::new(watch::Sender::new(Mode::Keys(keys))),
            asked: Arc::default(),
            address: listener.local_addr().expect("an address"),
        };
        let routes = Router::new()
            .route("/keys", get(answer))
            .with_state(provider.clone());
        tokio::spawn(async move { axum::serve(listener, routes).await });
        provider
    }

    pub fn url(&self) -> String {
        format!("http://{}/keys", self.address)
    }

    pub fn set(&self, mode: Mode) {
        self.mode.send_replace(mode);
    }

    /// How often it has been asked.
    pub fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

async fn answer(State(provider): State<Provider>) -> Response {
    provider.asked.fetch_add(1, Ordering::SeqCst);
    let mode = provider.mode.borrow().clone();
    match mode {
        Mode::Keys(keys) => {
            let headers = [(header::CACHE_CONTROL, "max-age=3600")];
            (headers, keys.to_string()).into_response()
        }
        Mode::Silent => std::future::pending().await,
        Mode::Broken => StatusCode::BAD_GATEWAY.into_response(),
        Mode::Huge => vec![b' '; 8 << 20].into_response(),
        Mode::Redirect(to) => Redirect::temporary(&to).into_response(),
    }
}

/// A key of Ed25519 that the provider signs with.
pub struct ProviderKey {
    pub signer: Signer,
    pub jwk: Value,
}

impl ProviderKey {
    pub fn new(id: &str) -> Self {
        let signer = Signer::new(Algorithm::EdDSA).with_key_id(id);
        let jwk = jwk(&signer, id);
        ProviderKey { signer, jwk }
    }

    /// Its tokens do not say which key has signed them.
    pub fn without_id() -> Self {
        let signer = Signer::new(Algorithm::EdDSA);
        let mut jwk = jwk(&signer, "");
        jwk.as_object_mut().expect("a key").remove("kid");
        ProviderKey { signer, jwk }
    }
}

fn jwk(signer: &Signer, id: &str) -> Value {
    use base64::Engine as _;
    let pem = Pem::iter_from_buffer(signer.public_pem.as_bytes()).next();
    let pem = pem.expect("a key").expect("PEM");
    let (_, info) = SubjectPublicKeyInfo::from_der(&pem.contents).expect("a public key");
    let x = base64::prelude::BASE64_URL_SAFE_NO_PAD.encode(&info.subject_public_key.data);
    json!({"kty": "OKP", "crv": "Ed25519", "use": "sig", "alg": "EdDSA", "kid": id, "x": x})
}

pub fn set_of(keys: &[&ProviderKey]) -> Value {
    let keys: Vec<_> = keys.iter().map(|key| key.jwk.clone()).collect();
    json!({ "keys": keys })
}
