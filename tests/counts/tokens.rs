//! What tokens cost: a request that shows one, and events for those who have.

use serde_json::json;
use tempfile::TempDir;
use tokio::net::TcpStream;

use super::{ask_with, deliver, gateway_with, read_event};

#[allow(dead_code, unreachable_pub)] // the tests of tokens use all of it
#[path = "../common/token.rs"]
mod token;

use token::{Signer, rights};

/// As many as the longest run shows, made in every run so that making them is not counted.
const TOKENS: u64 = 100;
/// Answered at once, with an event that it ends with.
const PATH: &str = "/v1/poll?topic=house.%3E&after=earliest";

/// The files of a gateway that accepts tokens of one signer, and its settings.
struct Issuer {
    signer: Signer,
    _folder: TempDir,
    settings: String,
}

impl Issuer {
    fn new() -> Self {
        let (signer, folder) = (
            Signer::new(jsonwebtoken::Algorithm::ES256),
            TempDir::new().expect("a folder"),
        );
        let file = folder.path().join("issuer.pem");
        std::fs::write(&file, &signer.public_pem).expect("a file");
        let file = file.display();
        let settings =
            format!("[[auth.jwt]]\nalgorithms = [\"ES256\"]\npublic_key_file = \"{file}\"\n");
        Issuer {
            signer,
            _folder: folder,
            settings,
        }
    }

    /// A header with a token of this number.
    fn header(&self, number: u64) -> String {
        let mut claims = rights(&[], &["house.>"]);
        claims["jti"] = json!(format!("{number:06}"));
        let token = self.signer.token(&claims);
        format!("Authorization: Bearer {token}\r\n")
    }
}

/// Events for readers that have shown a token each.
pub(super) async fn known(units: u64) {
    let issuer = Issuer::new();
    let (bus, address) = gateway_with(&issuer.settings).await;
    let headers: Vec<String> = (0..20).map(|number| issuer.header(number)).collect();
    deliver(units, &bus, &address, &headers).await;
}

/// Requests, each with a token that nobody has shown before.
pub(super) async fn new(units: u64) {
    show(units, |number| number).await;
}

/// Requests with the same token.
pub(super) async fn again(units: u64) {
    show(units, |_| 0).await;
}

async fn show(units: u64, shown: impl Fn(u64) -> u64) {
    let issuer = Issuer::new();
    let (bus, address) = gateway_with(&issuer.settings).await;
    let headers: Vec<String> = (0..TOKENS).map(|number| issuer.header(number)).collect();
    super::publish(&bus, "house.7.door.3").await;
    let (mut buffer, mut connection) = (
        vec![0; 65_536],
        TcpStream::connect(&address).await.expect("a connection"),
    );
    for unit in 0..units {
        let at = usize::try_from(shown(unit % TOKENS)).expect("few");
        ask_with(&mut connection, PATH, &headers[at]).await;
        read_event(&mut connection, &mut buffer, b"}").await;
    }
}
