//! What a credential costs a request: `cargo bench --bench tokens`.
//!
//! A gateway in memory and its client on one thread, so that the time of a request is its CPU time.
//! Requests of one connection, all the same but for what they show: nothing, an API key, a token
//! that was shown before, and tokens of each algorithm that were not. Kinds in turn, round by
//! round; what is shown is the median of the rounds, and what it is more than without a credential.
//! Bounded in counts; loopback only.

use std::fmt::Write as _;
use std::future::pending;
use std::path::Path;
use std::time::Instant;

use jsonwebtoken::Algorithm;
use serde_json::json;
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use vidette::config::{Config, Overrides};
use vidette::server::Gateway;

#[allow(dead_code, unreachable_pub)] // the tests use all of it
#[path = "../tests/common/token.rs"]
mod token;

use token::{Signer, rights};

const ROUNDS: usize = 7;
const REQUESTS: usize = 400;
const KEY: &str = "an-API-key-that-is-long-enough-to-be-one";
const SECRET: &str = "a secret that is long enough to be one, 0123456789";
/// Answered at once: it is before the only event.
const PATH: &str = "/v1/poll?topic=door.3&after=earliest";

/// A kind of credential, and a header for each request.
struct Kind {
    name: String,
    headers: Vec<String>,
    /// Microseconds a request, of each round.
    rounds: Vec<f64>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let folder = TempDir::new().expect("a folder");
    let (settings, mut kinds) = kinds(folder.path());
    let address = gateway(&settings).await;
    let mut connection = TcpStream::connect(&address).await.expect("a connection");
    publish(&mut connection).await;
    for round in 0..ROUNDS {
        for kind in &mut kinds {
            let of_round = &kind.headers[round * REQUESTS..][..REQUESTS];
            let begun = Instant::now();
            for header in of_round {
                ask(&mut connection, header).await;
            }
            let took = begun.elapsed().as_secs_f64() * 1e6;
            #[expect(clippy::cast_precision_loss, reason = "a mean")]
            kind.rounds.push(took / REQUESTS as f64);
        }
    }
    print(&mut kinds);
}

/// The settings of a gateway that knows all of them, and the kinds.
fn kinds(folder: &Path) -> (String, Vec<Kind>) {
    let digest = Sha256::digest(KEY);
    let digest = digest.iter().fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    });
    let mut settings = format!(
        "[auth]\nanonymous = {{ subscribe = [\"door.>\"], publish = [\"door.>\"] }}\n\
         [[auth.api_key]]\nname = \"bench\"\nsha256 = \"{digest}\"\nsubscribe = [\"door.>\"]\n"
    );
    let all = ROUNDS * REQUESTS;
    let key = format!("Authorization: Bearer {KEY}\r\n");
    let mut kinds = vec![
        Kind::new("nothing", vec![String::new(); all]),
        Kind::new("an API key", vec![key; all]),
    ];
    for (algorithm, name) in ALGORITHMS {
        let signer = signer(algorithm, folder, &mut settings);
        let header = |number: usize| {
            let mut claims = rights(&[], &["door.>"]);
            claims["jti"] = json!(number.to_string());
            format!("Authorization: Bearer {}\r\n", signer.token(&claims))
        };
        if algorithm == Algorithm::ES256 {
            let known = "a token that was shown before";
            kinds.push(Kind::new(known, vec![header(all); all]));
        }
        let name = format!("a new token, {name}");
        kinds.push(Kind::new(&name, (0..all).map(header).collect()));
    }
    (settings, kinds)
}

const ALGORITHMS: [(Algorithm, &str); 5] = [
    (Algorithm::HS256, "HS256"),
    (Algorithm::ES256, "ES256"),
    (Algorithm::ES384, "ES384"),
    (Algorithm::RS256, "RS256, 2048 bits"),
    (Algorithm::EdDSA, "EdDSA, Ed25519"),
];

/// A signer whose tokens the settings accept.
fn signer(algorithm: Algorithm, folder: &Path, settings: &mut String) -> Signer {
    let (signer, key, text) = if algorithm == Algorithm::HS256 {
        let signer = Signer::of_secret(SECRET);
        (signer, "secret_file", SECRET.to_owned())
    } else {
        let signer = Signer::new(algorithm);
        let public = signer.public_pem.clone();
        (signer, "public_key_file", public)
    };
    let file = folder.join(format!("{algorithm:?}"));
    std::fs::write(&file, text).expect("a file");
    let file = file.display();
    let entry = format!("[[auth.jwt]]\nalgorithms = [\"{algorithm:?}\"]\n{key} = \"{file}\"\n");
    settings.push_str(&entry);
    signer
}

impl Kind {
    fn new(name: &str, headers: Vec<String>) -> Self {
        Kind {
            name: name.to_owned(),
            headers,
            rounds: Vec::new(),
        }
    }

    fn median(&mut self) -> f64 {
        self.rounds.sort_by(f64::total_cmp);
        self.rounds[ROUNDS / 2]
    }
}

async fn gateway(settings: &str) -> String {
    let overrides = Overrides {
        listen: vec!["127.0.0.1:0".to_owned()],
        engine: Some("memory".to_owned()),
        ..Overrides::default()
    };
    let config = Config::parse(settings, overrides).expect("a configuration");
    let gateway = Gateway::start(&config).await.expect("a gateway");
    let address = gateway.addresses()[0].to_string();
    tokio::spawn(gateway.run(pending()));
    address
}

async fn publish(connection: &mut TcpStream) {
    let request =
        "POST /v1/topics/door.3 HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\n\r\n7";
    exchange(connection, request).await;
}

async fn ask(connection: &mut TcpStream, header: &str) {
    let request = format!("GET {PATH} HTTP/1.1\r\nHost: localhost\r\n{header}\r\n");
    exchange(connection, &request).await;
}

/// A request and its answer, which comes in one piece.
async fn exchange(connection: &mut TcpStream, request: &str) {
    let mut answer = [0; 4096];
    let sent = connection.write_all(request.as_bytes()).await;
    sent.expect("a request");
    let count = connection.read(&mut answer).await.expect("an answer");
    let answer = String::from_utf8_lossy(&answer[..count]);
    assert!(answer.starts_with("HTTP/1.1 2"), "{answer}");
    assert!(answer.ends_with('}'), "{answer}");
}

fn print(kinds: &mut [Kind]) {
    let without = kinds[0].median();
    println!("| a request shows | µs | more than without |\n|---|--:|--:|");
    for kind in kinds {
        let took = kind.median();
        println!("| {} | {took:.1} | {:.1} |", kind.name, took - without);
    }
}
