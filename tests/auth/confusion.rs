//! Tokens that somebody has made up, and tokens that are meant for others (RFC 8725).

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Value, json};

use crate::common::gateway::Gateway;
use crate::common::token::{Signer, in_seconds, rights};
use crate::ground::{Answer, Folder, SECRET, bearer, client, gateway, get, hex, signer, url};

const POLL: &str = "/v1/poll?topic=door.1&wait=0";

fn part(value: &Value) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(value.to_string())
}

/// A gateway that takes tokens by a secret and by an RSA key, from one issuer for one audience.
fn strict(folder: &Folder, public_pem: &str) -> Gateway {
    let secret = folder.file("jwt.key", SECRET);
    let public = folder.file("public.pem", public_pem);
    let claims = "issuer = \"https://id.test\"\naudience = \"vidette\"\n";
    gateway(&format!(
        "[auth]\n[[auth.jwt]]\nalgorithms = [\"HS256\"]\nsecret_file = {secret:?}\n{claims}\
         [[auth.jwt]]\nalgorithms = [\"RS256\"]\npublic_key_file = {public:?}\n{claims}"
    ))
}

fn good() -> Value {
    let mut claims = rights(&[], &["door.>"]);
    claims["iss"] = json!("https://id.test");
    claims["aud"] = json!("vidette");
    claims
}

fn with(name: &str, value: Value) -> Value {
    let mut claims = good();
    claims[name] = value;
    claims
}

fn without(name: &str) -> Value {
    let mut claims = good();
    claims.as_object_mut().expect("claims").remove(name);
    claims
}

/// The problem that a token is refused with.
async fn refusal(gateway: &Gateway, token: &str, what: &str) -> String {
    let answer = get(gateway, POLL, &bearer(token)).await;
    assert_eq!(answer.status, 401, "{what}: {answer:?}");
    assert!(!answer.text.contains(token), "{what}: {answer:?}");
    answer.json()["detail"].as_str().expect("a text").to_owned()
}

#[tokio::test]
async fn claims_have_to_be_those_that_were_configured() {
    let folder = Folder::new();
    let rsa = Signer::new(Algorithm::RS256);
    let gateway = strict(&folder, &rsa.public_pem);
    for claims in [
        good(),
        with("aud", json!(["others", "vidette"])),
        with("nbf", json!(in_seconds(20))), // within the leeway
        with("exp", json!(4_000_000_000.5)),
        without("exp"),
        without("sub"),
    ] {
        for signer in [&signer(), &rsa] {
            let token = bearer(&signer.token(&claims));
            assert_eq!(get(&gateway, POLL, &token).await.status, 200, "{claims}");
        }
    }
    for (claims, part) in [
        (with("aud", json!("others")), "aud"),
        (with("aud", json!([])), "aud"),
        (with("aud", json!(7)), "aud"),
        (without("aud"), "aud"),
        (with("iss", json!("https://evil.test")), "iss"),
        (with("iss", json!("https://id.test/")), "iss"),
        (without("iss"), "iss"),
        (with("exp", json!(in_seconds(-1))), "expired"),
        (with("exp", json!(0)), "expired"),
        (with("exp", json!("tomorrow")), "exp"),
        (with("exp", Value::Null), "exp"),
        (with("nbf", json!(in_seconds(120))), "nbf"),
        (with("nbf", json!("now")), "nbf"),
        (with("jti", json!(7)), "jti"),
        (with("sub", json!(7)), "sub"),
        (with("sub", json!(["tests"])), "sub"),
        (with("vidette", json!("all")), "vidette"),
        (
            with("vidette", json!({"subscribe": ["door.>", "a..b"]})),
            "subscribe: [1]",
        ),
        (
            with("vidette", json!({"subscribe": vec!["a"; 1000]})),
            "1000 filters",
        ),
    ] {
        let detail = refusal(&gateway, &signer().token(&claims), &claims.to_string()).await;
        assert!(detail.contains(part), "{claims}: {detail}");
    }
}

#[tokio::test]
async fn a_token_without_rights_is_known_and_may_nothing() {
    let folder = Folder::new();
    let rsa = Signer::new(Algorithm::RS256);
    let gateway = strict(&folder, &rsa.public_pem);
    for claims in [
        without("vidette"),
        with("vidette", json!({"subscribe": []})),
    ] {
        let token = bearer(&signer().token(&claims));
        assert_eq!(get(&gateway, POLL, &token).await.status, 403, "{claims}");
        assert_eq!(
            get(&gateway, "/v1/bus", &token).await.status,
            403,
            "{claims}"
        );
    }
}

#[tokio::test]
async fn made_up_tokens_are_refused() {
    let folder = Folder::new();
    let rsa = Signer::new(Algorithm::RS256);
    let gateway = strict(&folder, &rsa.public_pem);
    let of_header = |header: Value| format!("{}.{}", part(&header), part(&good()));
    let signed_by_public_key = |algorithm| {
        let key = EncodingKey::from_secret(rsa.public_pem.as_bytes()).expect("a key");
        encode(&Header::new(algorithm), &good(), &key).expect("a token")
    };
    let honest = signer().token(&good());
    let signature = honest.rsplit('.').next().expect("a signature");
    let of_others = Signer::of_secret("another secret, as long as the one that is right");

    for (what, token) in [
        (
            "none, not signed",
            format!("{}.", of_header(json!({"alg": "none"}))),
        ),
        (
            "None",
            format!("{}.{signature}", of_header(json!({"alg": "None"}))),
        ),
        (
            "no algorithm",
            format!("{}.{signature}", of_header(json!({"typ": "JWT"}))),
        ),
        (
            "an RSA key as a secret",
            signed_by_public_key(Algorithm::HS256),
        ),
        (
            "the same, another length",
            signed_by_public_key(Algorithm::HS384),
        ),
        ("of another secret", of_others.token(&good())),
        (
            "of another RSA key",
            Signer::new(Algorithm::RS256).token(&good()),
        ),
        (
            "an algorithm that is not configured",
            Signer::new(Algorithm::ES256).token(&good()),
        ),
        (
            "another algorithm of the key",
            Signer::of_secret_with(Algorithm::HS512, SECRET).token(&good()),
        ),
        (
            "a signature of other claims",
            format!(
                "{}.{signature}",
                of_header(json!({
                    "alg": "HS256", "typ": "JWT", "x": 1
                }))
            ),
        ),
        (
            "no signature",
            honest.rsplit_once('.').expect("dots").0.to_owned() + ".",
        ),
        ("half a signature", honest[..honest.len() - 10].to_owned()),
        (
            "an extension that has to be known",
            format!(
                "{}.{signature}",
                of_header(json!({
                    "alg": "HS256", "crit": ["b64"], "b64": false
                }))
            ),
        ),
        ("garbage", "garbage".to_owned()),
        ("three times garbage", "a.b.c".to_owned()),
        ("five parts", "a.b.c.d.e".to_owned()),
        ("dots", "...".to_owned()),
        ("what is no base64", "é.ü.ß".escape_unicode().to_string()),
    ] {
        refusal(&gateway, &token, what).await;
    }
}

#[tokio::test]
async fn a_token_brings_no_key_of_its_own_and_names_no_file() {
    let folder = Folder::new();
    let rsa = Signer::new(Algorithm::RS256);
    let gateway = strict(&folder, &rsa.public_pem);
    let own = "a secret that the token brings with it, 0123456789";
    let own_key = EncodingKey::from_secret(own.as_bytes()).expect("a key");
    let jwk = json!({"kty": "oct", "k": BASE64_URL_SAFE_NO_PAD.encode(own)});
    for (name, value) in [
        ("jwk", jwk),
        ("jku", json!("http://127.0.0.1:1/keys")),
        ("x5u", json!("http://127.0.0.1:1/cert")),
        ("kid", json!("/dev/null")),
        ("kid", json!("../../../../dev/null")),
        ("kid", json!("' UNION SELECT 'key")),
        ("kid", json!("x".repeat(5000))),
    ] {
        let mut header = json!({"alg": "HS256", "typ": "JWT"});
        header[name] = value;
        let message = format!("{}.{}", part(&header), part(&good()));
        let signed = jsonwebtoken::crypto::sign(message.as_bytes(), &own_key, Algorithm::HS256);
        let token = format!("{message}.{}", signed.expect("a signature"));
        refusal(&gateway, &token, &header.to_string()).await;
    }

    // A name that no key has says nothing where keys have no names.
    let named = signer().with_key_id("../../jwt.key").token(&good());
    assert_eq!(get(&gateway, POLL, &bearer(&named)).await.status, 200);
}

#[tokio::test]
async fn what_is_too_long_or_there_twice_is_refused() {
    let folder = Folder::new();
    let gateway = gateway(&crate::ground::auth(&folder, ""));
    let mut long = rights(&[], &["door.>"]);
    long["padding"] = json!("x".repeat(8 * 1024));
    let detail = refusal(&gateway, &signer().token(&long), "a long token").await;
    assert!(detail.contains("8192 bytes"), "{detail}");

    let token = bearer(&signer().token(&rights(&[], &["door.>"])));
    let twice = client()
        .get(url(&gateway, POLL))
        .header("authorization", &token)
        .header("authorization", &token);
    assert_eq!(Answer::of(twice).await.status, 400);
    for wrong in [
        "Basic dXNlcjpwYXNz",
        "Bearer",
        &token.replace("Bearer ", ""),
        "Bearer a b",
    ] {
        assert_eq!(get(&gateway, POLL, wrong).await.status, 401, "{wrong}");
    }
    let lower = token.replace("Bearer", "bearer");
    assert_eq!(get(&gateway, POLL, &lower).await.status, 200);
}

#[tokio::test]
async fn the_digest_of_a_key_is_no_key() {
    let folder = Folder::new();
    let gateway = gateway(&crate::ground::auth(&folder, ""));
    refusal(&gateway, &hex(crate::ground::KEY), "a digest").await;
}
