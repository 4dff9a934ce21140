//! A gateway with `[auth]`, the files that this names, and requests that show something.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::LazyLock;

use reqwest::header::HeaderMap;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;
use tonic::metadata::MetadataValue;
use tonic::{Code, Request};
use vidette::proto::{NewEvent, PublishRequest, SubscribeRequest};

use crate::common::gateway::{Gateway, Setup};
use crate::common::grpc;
use crate::common::token::Signer;

/// What tokens are signed with.
pub const SECRET: &str = "a secret that is long enough to be one, 0123456789";
/// An API key.
pub const KEY: &str = "key-of-the-doors/+=";

/// Files of a configuration.
pub struct Folder(TempDir);

impl Folder {
    pub fn new() -> Self {
        Folder(TempDir::new().expect("a folder"))
    }

    /// Writes a file, and gives its path.
    pub fn file(&self, name: &str, text: impl AsRef<[u8]>) -> String {
        let path = self.path(name);
        std::fs::write(&path, text).expect("a file");
        path.to_str().expect("UTF-8").to_owned()
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }
}

/// `[auth]` with tokens by [`SECRET`] and the API key [`KEY`], which may publish to `door.>`.
pub fn auth(folder: &Folder, more: &str) -> String {
    let secret = folder.file("jwt.key", format!("{SECRET}\n"));
    let digest = hex(KEY);
    format!(
        "[auth]\nanonymous = {{ subscribe = [\"public.>\"] }}\n{more}\n\
         [[auth.jwt]]\nalgorithms = [\"HS256\"]\nsecret_file = {secret:?}\n\
         [[auth.api_key]]\nname = \"doors\"\nsha256 = \"{digest}\"\npublish = [\"door.>\"]\n"
    )
}

/// The SHA-256 of a key, as the configuration has it.
pub fn hex(key: &str) -> String {
    let digest = Sha256::digest(key);
    digest.iter().fold(String::new(), |mut hex, byte| {
        write!(hex, "{byte:02x}").expect("memory");
        hex
    })
}

pub fn gateway(config: &str) -> Gateway {
    Gateway::start_with(Setup {
        engine: "memory",
        config: config.to_owned(),
        ..Setup::default()
    })
}

/// Signs with [`SECRET`].
pub fn signer() -> Signer {
    Signer::of_secret(SECRET)
}

/// An answer of any status.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub text: String,
}

impl Answer {
    pub async fn of(request: reqwest::RequestBuilder) -> Self {
        let answer = request.send().await.expect("an answer");
        Answer {
            status: answer.status().as_u16(),
            headers: answer.headers().clone(),
            text: answer.text().await.expect("a body"),
        }
    }

    pub fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name).map(|value| value.to_str());
        value.map_or("", |value| value.expect("ASCII"))
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|e| panic!("{e}: {self:?}"))
    }
}

/// Starts each request on a connection of its own, as the tests have runtimes of their own. Made
/// once: it reads all root certificates of the machine.
pub fn client() -> &'static reqwest::Client {
    static CLIENT: LazyLock<reqwest::Client> = LazyLock::new(|| {
        let client = reqwest::Client::builder().pool_max_idle_per_host(0);
        client.build().expect("a client")
    });
    &CLIENT
}

/// A GET that shows this as `Authorization`; nothing where it is empty.
pub async fn get(gateway: &Gateway, target: &str, authorization: &str) -> Answer {
    Answer::of(shown(client().get(url(gateway, target)), authorization)).await
}

/// Publishes an event, likewise.
pub async fn publish(gateway: &Gateway, topic: &str, authorization: &str) -> Answer {
    let event = json!({ "topic": topic, "data": 1 });
    let post = client().post(url(gateway, "/v1/events"));
    Answer::of(shown(post.json(&event), authorization)).await
}

pub fn shown(request: reqwest::RequestBuilder, authorization: &str) -> reqwest::RequestBuilder {
    match authorization {
        "" => request,
        shown => request.header("authorization", shown),
    }
}

pub fn url(gateway: &Gateway, target: &str) -> String {
    format!("{}{target}", gateway.url())
}

pub fn bearer(token: &str) -> String {
    format!("Bearer {token}")
}

/// The status of a poll that does not wait.
pub async fn poll(gateway: &Gateway, topic: &str, authorization: &str) -> u16 {
    let target = format!("/v1/poll?wait=0&topic={topic}");
    get(gateway, &target, authorization).await.status
}

/// A request of gRPC that shows this.
pub fn call<T>(message: T, authorization: &str) -> Request<T> {
    let mut request = Request::new(message);
    if !authorization.is_empty() {
        let shown = MetadataValue::try_from(authorization).expect("ASCII");
        request.metadata_mut().insert("authorization", shown);
    }
    request
}

/// How a call to publish an event ends.
pub async fn publish_by_grpc(gateway: &Gateway, topic: &str, authorization: &str) -> Code {
    let event = NewEvent {
        topic: topic.to_owned(),
        ..NewEvent::default()
    };
    let batch = PublishRequest {
        events: vec![event],
    };
    let mut client = grpc::client(&gateway.url()).await;
    let answer = client.publish(call(batch, authorization)).await;
    answer.map_or_else(|status| status.code(), |_| Code::Ok)
}

/// How a call to subscribe begins.
pub async fn subscribe_by_grpc(gateway: &Gateway, topic: &str, authorization: &str) -> Code {
    let request = SubscribeRequest {
        topic: vec![topic.to_owned()],
        ..SubscribeRequest::default()
    };
    let mut client = grpc::client(&gateway.url()).await;
    let answer = client.subscribe(call(request, authorization)).await;
    answer.map_or_else(|status| status.code(), |_| Code::Ok)
}
