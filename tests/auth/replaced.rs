//! A configuration that is replaced while the gateway serves.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use serde_json::json;
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;
use vidette::config::{Config, Overrides};
use vidette::engine::MemoryEngine;
use vidette::server::Gateway;

use crate::common::gateway::PATIENCE;
use crate::common::token::rights;
use crate::ground::{Folder, KEY, auth, bearer, client, hex};
use crate::provider::{Mode, Provider, ProviderKey, set_of};

fn config(text: &str) -> Config {
    let overrides = Overrides {
        listen: vec!["127.0.0.1:0".to_owned()],
        ..Overrides::default()
    };
    Config::parse(text, overrides).expect("a configuration")
}

async fn gateway(text: &str) -> Gateway {
    let engine = Arc::new(MemoryEngine::new(Duration::from_secs(60)));
    let gateway = Gateway::start_on(engine, &config(text)).await;
    gateway.expect("a gateway")
}

async fn poll(url: &str, shown: &str) -> u16 {
    let request = client().get(format!("{url}/v1/poll?wait=0&topic=door.1"));
    let answer = request.header("authorization", shown).send().await;
    answer.expect("an answer").status().as_u16()
}

#[tokio::test]
async fn keys_and_rights_follow_a_new_configuration_and_fetched_keys_are_kept() {
    let folder = Folder::new();
    let key = ProviderKey::new("1");
    let provider = Provider::start(set_of(&[&key])).await;
    let by_provider = format!(
        "[[auth.jwt]]\nalgorithms = [\"EdDSA\"]\njwks_url = \"{}\"\n",
        provider.url()
    );
    let gateway = gateway(&(auth(&folder, "") + &by_provider)).await;
    let (live, url) = (gateway.live_config(), gateway.addresses()[0]);
    let url = format!("http://{url}");
    let running = tokio::spawn(gateway.run(std::future::pending()));
    let _running = AbortOnDropHandle::new(running);

    let token = bearer(&key.signer.token(&rights(&[], &["door.>"])));
    assert_eq!(poll(&url, &token).await, 200);
    assert_eq!(poll(&url, &bearer(KEY)).await, 403);
    let stream = client()
        .get(format!("{url}/v1/sse?topic=door.1"))
        .header("authorization", &token);
    let mut stream = stream.send().await.expect("a stream").bytes_stream();
    stream.next().await.expect("a block").expect("bytes");

    // The same provider, which cannot be reached now; another API key; and who is revoked.
    provider.set(Mode::Broken);
    let digest = hex("another-key");
    let another = format!(
        "[[auth.api_key]]\nname = \"other\"\nsha256 = \"{digest}\"\nsubscribe = [\"door.>\"]\n"
    );
    let next = format!("[auth]\n{by_provider}{another}");
    assert!(live.replace(&config(&next)).is_empty());
    assert_eq!(poll(&url, &token).await, 200, "its key is known");
    assert_eq!(poll(&url, &bearer(KEY)).await, 401);
    assert_eq!(poll(&url, &bearer("another-key")).await, 200);
    assert_eq!(provider.asked(), 1);

    let list = folder.file("revoked.txt", "tests");
    let revoking = format!("[auth]\nrevoked_file = {list:?}\n{by_provider}{another}");
    assert!(live.replace(&config(&revoking)).is_empty());
    assert_eq!(poll(&url, &token).await, 401);
    let rest = async {
        let mut text = String::new();
        while let Some(Ok(block)) = stream.next().await {
            text += &String::from_utf8_lossy(&block);
        }
        text
    };
    let rest = timeout(PATIENCE, rest).await.expect("it ends");
    assert!(rest.contains(&json!("expired").to_string()), "{rest}");

    // Without the section everybody may do everything again.
    assert!(live.replace(&config("")).is_empty());
    assert_eq!(poll(&url, "Bearer whatever").await, 200);
}
