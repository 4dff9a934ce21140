//! No secret is in a log, a metric, an error or the state of the gateway, whatever is asked.

use std::fmt::Write as _;

use jsonwebtoken::Algorithm;
use vidette::config::{Config, Overrides};

use crate::common::gateway::{Gateway, Setup};
use crate::common::grpc;
use crate::common::token::{Signer, in_seconds, rights};
use crate::ground::{
    Answer, Folder, KEY, SECRET, auth, bearer, call, client, get, hex, publish, publish_by_grpc,
    signer, subscribe_by_grpc, url,
};

#[tokio::test]
async fn no_secret_is_ever_shown() {
    let folder = Folder::new();
    let config = auth(
        &folder,
        "query_parameter = \"access_token\"\ncookie = \"session\"",
    );
    let gateway = Gateway::start_with(Setup {
        engine: "memory",
        config: config.clone(),
        flags: ["--log", "trace"].map(str::to_owned).into(),
        ..Setup::default()
    });
    let mut expired = rights(&[], &["door.>"]);
    expired["exp"] = in_seconds(-5).into();
    let tokens = [
        signer().token(&rights(&["door.>"], &["door.>"])),
        signer().token(&expired),
        Signer::new(Algorithm::ES256).token(&rights(&[], &["door.>"])),
        KEY.to_owned(),
        "hunter2".repeat(20),
        "hunter2".repeat(2000),
    ];
    let mut answers = String::new();
    for token in &tokens {
        answers += &ask_everywhere(&gateway, token).await;
    }
    let admin = bearer(&signer().token(&rights(&[], &["vidette.admin"])));
    answers += &get(&gateway, "/metrics", &admin).await.text;
    answers += &get(&gateway, "/v1/bus", &admin).await.text;

    let parsed = Config::parse(&config, Overrides::default()).expect("a configuration");
    write!(answers, "{parsed:?}").expect("memory");
    let log = gateway.log();
    assert!(log.contains("TRACE"), "nothing was traced");
    for secret in tokens.iter().map(String::as_str).chain([SECRET, &hex(KEY)]) {
        // Its end is enough to recognize it: a log may cut it or break it.
        let part = &secret[secret.len() - secret.len().min(16)..];
        assert!(!answers.contains(part), "{part} is in {answers}");
        assert!(!log.contains(part), "{part} is in the log");
    }
    let digest = format!("{:?}", sha2_of(KEY));
    assert!(!answers.contains(&digest), "the digest of a key is shown");
}

fn sha2_of(key: &str) -> [u8; 32] {
    use sha2::Digest as _;
    sha2::Sha256::digest(key).into()
}

/// Every way to show a credential, on every transport and both drivers; all that was answered.
async fn ask_everywhere(gateway: &Gateway, token: &str) -> String {
    let shown = bearer(token);
    let mut answers = String::new();
    let mut add = |answer: Answer| write!(answers, "{answer:?}").expect("memory");
    for target in [
        "/v1/poll?wait=0",
        "/v1/sse?wait=0",
        "/v1/bus",
        "/metrics",
        "/nothing",
        "/v1/topics",
    ] {
        add(get(gateway, target, &shown).await);
        add(get(gateway, target, token).await); // without its scheme
        let http = client();
        let cookie = http
            .get(url(gateway, target))
            .header("cookie", format!("session={token}"));
        add(Answer::of(cookie).await);
        let in_query = http
            .get(url(gateway, target))
            .query(&[("access_token", token)]);
        add(Answer::of(in_query).await);
        // With a body's length the other driver has it.
        let by_hyper = http.get(url(gateway, target)).header("content-length", "0");
        add(Answer::of(by_hyper.header("authorization", &shown)).await);
    }
    add(publish(gateway, "door.1", &shown).await);
    let codes = [
        publish_by_grpc(gateway, "door.1", &shown).await,
        subscribe_by_grpc(gateway, "door.1", &shown).await,
    ];
    let mut client = grpc::client(&gateway.url()).await;
    let status = client
        .get_bus(call(vidette::proto::GetBusRequest::default(), &shown))
        .await;
    format!("{answers}{codes:?}{status:?}")
}
