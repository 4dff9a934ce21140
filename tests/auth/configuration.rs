//! What is refused at start, with exit code 64, and what is warned of.

use jsonwebtoken::Algorithm;

use crate::common::gateway::{Gateway, Setup};
use crate::common::token::Signer;
use crate::ground::{Folder, SECRET, gateway};

fn refused(config: &str) -> String {
    let setup = Setup {
        engine: "memory",
        config: config.to_owned(),
        ..Setup::default()
    };
    let folder = Folder::new();
    let (code, said) = Gateway::fails_to_start(&setup, &folder.path("data"));
    assert_eq!(code, 64, "{said}");
    said
}

fn entry(algorithms: &str, key: &str) -> String {
    format!("[[auth.jwt]]\nalgorithms = {algorithms}\n{key}\n")
}

#[test]
fn keys_that_do_not_fit_are_found_at_start_all_of_them_and_none_is_shown() {
    let folder = Folder::new();
    let short = folder.file("short.key", "too short to be a secret");
    let secret = folder.file("jwt.key", SECRET);
    let rsa = folder.file("rsa.pem", Signer::new(Algorithm::RS256).public_pem);
    let p256 = folder.file("p256.pem", Signer::new(Algorithm::ES256).public_pem);
    let text = folder.file("text.pem", "no key at all");
    let private = folder.file("private.pem", private_key());
    let small = folder.file("small.pem", small_rsa_key());
    let config = [
        "[auth]\nrevoked_file = \"nowhere.txt\"\n".to_owned(),
        entry("[\"HS256\"]", &format!("secret_file = {short:?}")),
        entry("[\"HS256\"]", &format!("public_key_file = {rsa:?}")),
        entry("[\"RS256\"]", &format!("secret_file = {secret:?}")),
        entry("[\"RS256\"]", &format!("public_key_file = {p256:?}")),
        entry("[\"ES384\"]", &format!("public_key_file = {p256:?}")),
        entry("[\"RS256\"]", &format!("public_key_file = {text:?}")),
        entry("[\"RS256\"]", &format!("public_key_file = {private:?}")),
        entry("[\"RS256\"]", &format!("public_key_file = {small:?}")),
        entry(
            "[\"RS256\"]",
            "jwks_url = \"http://user:hunter2@id.test/keys\"",
        ),
        entry(
            "[\"RS256\"]",
            &format!("public_key_file = {rsa:?}\nsecret_file = {secret:?}"),
        ),
    ];
    let said = refused(&config.concat());
    for part in [
        "vidette.toml:2:16: auth.revoked_file: ",
        "short.key has 24 bytes; a secret has at least 32",
        "auth.jwt[1].public_key_file: HS256",
        "auth.jwt[2].secret_file: a secret is for HS256",
        "auth.jwt[3].public_key_file: ",
        "p256.pem has a key for ES256, but algorithms has none of these",
        "auth.jwt[4].public_key_file: ",
        "text.pem has 0 keys",
        "private.pem has a private key",
        "small.pem has an RSA key of 1024 bits",
        "auth.jwt[8].jwks_url has to be https",
        "auth.jwt[9] has to have one of",
    ] {
        assert!(said.contains(part), "{part} is missing in {said}");
    }
    for secret in ["hunter2", SECRET, "too short to be"] {
        assert!(!said.contains(secret), "{secret}: {said}");
    }
}

fn private_key() -> String {
    rcgen::KeyPair::generate().expect("a key").serialize_pem()
}

/// Shorter than anybody should use.
fn small_rsa_key() -> Vec<u8> {
    let openssl = |args: &[&str], input: &[u8]| {
        use std::io::Write as _;
        let mut run = std::process::Command::new("openssl")
            .args(args)
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::null())
            .spawn()
            .expect("openssl");
        let mut stdin = run.stdin.take().expect("a pipe");
        stdin.write_all(input).expect("it reads");
        drop(stdin);
        run.wait_with_output().expect("it ends").stdout
    };
    let key = openssl(&["genrsa", "1024"], b"");
    openssl(&["pkey", "-pubout"], &key)
}

#[test]
fn an_open_gateway_for_others_needs_to_be_asked_for_and_warns() {
    let setup = Setup {
        engine: "memory",
        flags: ["--listen", "0.0.0.0:0"].map(str::to_owned).into(),
        ..Setup::default()
    };
    let (code, said) = Gateway::fails_to_start(&setup, &Folder::new().path("data"));
    assert_eq!(code, 64, "{said}");
    assert!(said.contains("--insecure"), "{said}");

    let open = |config: &str, flags: &[&str], env: &[(&str, &str)]| {
        Gateway::start_with(Setup {
            engine: "memory",
            config: config.to_owned(),
            flags: [&["--listen", "0.0.0.0:0"], flags]
                .concat()
                .iter()
                .map(|flag| (*flag).to_owned())
                .collect(),
            env: env
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect(),
        })
        .log()
    };
    let warning = "everybody who can reach this gateway";
    assert!(open("", &["--insecure"], &[]).contains(warning));
    assert!(open("", &[], &[("VIDETTE_INSECURE", "1")]).contains(warning));
    assert!(!open("[auth]", &[], &[]).contains(warning));

    // On loopback nobody is warned, and everybody may do everything.
    assert!(!gateway("").log().contains(warning));
}
