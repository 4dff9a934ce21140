//! `vidette token`.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use serde_json::Value;
use tempfile::TempDir;

use super::{vidette, vidette_with_input};
use crate::common::gateway::{Gateway, Setup};

struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        Folder(TempDir::new().expect("a folder"))
    }

    fn path(&self, name: &str) -> String {
        self.0.path().join(name).display().to_string()
    }

    async fn secret(&self) -> String {
        let path = self.path("jwt.key");
        vidette(&["token", "secret", &path]).await.ok();
        path
    }
}

fn mode(path: &str) -> u32 {
    let metadata = std::fs::metadata(path).expect("a file");
    metadata.permissions().mode() & 0o777
}

fn text(path: &str) -> String {
    std::fs::read_to_string(path).expect("a file")
}

/// A gateway with these sections of `[auth]`.
fn gateway(auth: &str) -> Gateway {
    Gateway::start_with(Setup {
        engine: "memory",
        config: format!("[auth]\n{auth}"),
        ..Setup::default()
    })
}

async fn may_publish(gateway: &Gateway, credential: &str, topic: &str) -> u16 {
    let url = format!("{}/v1/topics/{topic}", gateway.url());
    let request = reqwest::Client::new().post(url).bearer_auth(credential);
    let answer = request.body("1").send().await.expect("an answer");
    answer.status().as_u16()
}

#[tokio::test]
async fn what_is_secret_is_random_for_its_owner_alone_and_not_written_over() {
    let folder = Folder::new();
    let first = folder.secret().await;
    let second = folder.path("second.key");
    vidette(&["token", "secret", &second]).await.ok();
    assert!(mode(&first) == 0o600 && text(&first).trim().len() == 64);
    assert_ne!(text(&first), text(&second));

    let before = text(&first);
    let output = vidette(&["token", "secret", &first]).await;
    assert!(output.code() == 64 && output.stderr.contains("is there already"));
    assert_eq!(text(&first), before);

    let (private, public) = (folder.path("private.pem"), folder.path("public.pem"));
    vidette(&["token", "pair", &private, &public]).await.ok();
    assert_eq!((mode(&private), mode(&public)), (0o600, 0o644));
    let third = folder.path("third.pem");
    assert_eq!(
        vidette(&["token", "pair", &private, &third]).await.code(),
        64
    );
    assert!(!Path::new(&third).exists());
}

#[tokio::test]
async fn a_token_has_the_claims_that_were_asked_for_and_is_shown_in_words() {
    let folder = Folder::new();
    let secret = folder.secret().await;
    let args = [
        "token",
        "new",
        "--secret-file",
        &secret,
        "--subscribe",
        "door.>",
        "--subscribe",
        "lift",
        "--publish",
        "door.3",
        "--subject",
        "alice",
        "--id",
        "one",
        "--issuer",
        "tests",
        "--audience",
        "vidette",
        "--expires-in",
        "15m",
        "--key-id",
        "k",
    ];
    let token = vidette(&args).await.ok();
    assert_eq!(token.lines().count(), 1, "{token}");
    let shown = vidette_with_input(&["token", "show"], &token).await.ok();
    let (header, rest) = shown.split_once('\n').expect("a header");
    let (claims, words) = rest.split_once("\n}\n").expect("claims");
    let header: Value = serde_json::from_str(header).expect("JSON");
    let claims: Value = serde_json::from_str(&format!("{claims}}}")).expect("JSON");
    assert_eq!(
        (&header["alg"], &header["kid"]),
        (&"HS256".into(), &"k".into())
    );
    for (claim, value) in [
        ("sub", "alice"),
        ("jti", "one"),
        ("iss", "tests"),
        ("aud", "vidette"),
    ] {
        assert_eq!(claims[claim], value);
    }
    assert_eq!(claims["vidette"]["publish"], serde_json::json!(["door.3"]));
    assert_eq!(
        claims["vidette"]["subscribe"],
        serde_json::json!(["door.>", "lift"])
    );
    let lifetime = |claim: &str| claims[claim].as_i64().expect("a time");
    assert_eq!(lifetime("exp") - lifetime("iat"), 900);
    assert!(
        words.contains("Expires in") && words.contains("not checked"),
        "{words}"
    );
}

#[tokio::test]
async fn a_gateway_takes_the_tokens_of_every_kind_of_key() {
    let folder = Folder::new();
    for (algorithm, name) in [("es256", "ES256"), ("es384", "ES384"), ("eddsa", "EdDSA")] {
        let file = |kind: &str| folder.path(&format!("{algorithm}-{kind}.pem"));
        let (private, public) = (file("private"), file("public"));
        let pair = ["token", "pair", &private, &public, "--algorithm", algorithm];
        vidette(&pair).await.ok();
        let gateway = gateway(&format!(
            "[[auth.jwt]]\nalgorithms = [\"{name}\"]\npublic_key_file = \"{public}\""
        ));
        let new = [
            "token",
            "new",
            "--private-key-file",
            &private,
            "--publish",
            "door.>",
        ];
        let token = vidette(&new).await.ok();
        let statuses = [
            may_publish(&gateway, token.trim(), "door.1").await,
            may_publish(&gateway, token.trim(), "gate.1").await,
        ];
        assert_eq!(statuses, [200, 403], "{name}");
    }
}

#[tokio::test]
async fn an_api_key_comes_with_the_section_that_lets_it_in() {
    let folder = Folder::new();
    let file = folder.path("doors.key");
    let args = [
        "token",
        "key",
        "--name",
        "do\"ors",
        "--publish",
        "door.>",
        "--key-file",
        &file,
    ];
    let section = vidette(&args).await.ok();
    let key = text(&file);
    assert!(mode(&file) == 0o600 && !section.contains(key.trim()));
    let hash = vidette_with_input(&["token", "hash"], &key).await.ok();
    assert!(section.contains(hash.trim()), "{hash} {section}");
    assert_eq!(vidette(&["token", "hash", &file]).await.ok(), hash);

    let gateway = gateway(&section);
    assert_eq!(may_publish(&gateway, key.trim(), "door.1").await, 200);
    assert_eq!(may_publish(&gateway, key.trim(), "gate.1").await, 403);
    assert_eq!(may_publish(&gateway, "other", "door.1").await, 401);
}

#[tokio::test]
async fn what_a_gateway_would_refuse_is_not_made() {
    let folder = Folder::new();
    let (secret, short) = (folder.secret().await, folder.path("short"));
    std::fs::write(&short, "x".repeat(31)).expect("a file");
    let many = vec!["--subscribe=a"; 101];
    let long = "x".repeat(513);
    let new = ["token", "new", "--secret-file", &secret];
    let cases: [(&[&str], &str); 9] = [
        (&[], "give at least one"),
        (&["--subscribe", "a..b"], "a..b"),
        (&many, "101 filters"),
        (&["--subscribe", "a", "--expires-in", "0s"], "from 1s"),
        (
            &["--subscribe", "a", "--expires-in", "11years"],
            "to 10years",
        ),
        (&["--subscribe", "a", "--subject", &long], "512 bytes"),
        (&["--subscribe", "a", "--algorithm", "ES256"], "HS256"),
        (&["--subscribe", "a", "--algorithm", "none"], "algorithm"),
        (
            &["--subscribe", "a", "--private-key-file", &short],
            "cannot be used",
        ),
    ];
    for (more, text) in cases {
        let output = vidette(&[&new[..], more].concat()).await;
        let is_refused = output.code() == 64 && output.stdout.is_empty();
        assert!(
            is_refused && output.stderr.contains(text),
            "{more:?} {output:?}"
        );
    }
    for words in [
        vec!["token", "new", "--secret-file", &short, "--subscribe", "a"],
        vec![
            "token",
            "new",
            "--private-key-file",
            &secret,
            "--subscribe",
            "a",
        ],
        vec![
            "token",
            "new",
            "--secret-file",
            "/nowhere",
            "--subscribe",
            "a",
        ],
        vec!["token", "key", "--name", "", "--publish", "a"],
        vec!["token", "key", "--name", "x"],
        vec!["token", "show", &short],
    ] {
        let output = vidette(&words).await;
        assert!(
            output.code() == 64 && output.stdout.is_empty(),
            "{words:?} {output:?}"
        );
    }
}
