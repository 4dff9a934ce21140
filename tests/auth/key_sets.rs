//! Keys of an identity provider that change, and providers that are down, slow or wrong.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::common::gateway::Gateway;
use crate::common::token::rights;
use crate::ground::{bearer, client, gateway, get, poll, publish, url};
use crate::provider::{Mode, Provider, ProviderKey, set_of};

fn by_key_set(provider: &Provider) -> Gateway {
    gateway(&format!(
        "[auth]\n[[auth.jwt]]\nalgorithms = [\"EdDSA\"]\njwks_url = \"{}\"",
        provider.url()
    ))
}

fn token(key: &ProviderKey) -> String {
    bearer(&key.signer.token(&rights(&["door.>"], &["door.>"])))
}

#[tokio::test]
async fn a_token_that_comes_before_the_first_keys_waits_for_them() {
    let key = ProviderKey::new("1");
    let provider = Provider::start(set_of(&[&key])).await;
    let gateway = by_key_set(&provider);
    assert_eq!(poll(&gateway, "door.1", &token(&key)).await, 200);
    assert_eq!(
        poll(&gateway, "door.1", &token(&ProviderKey::new("1"))).await,
        401
    );
}

/// Publishers and pollers go on while the provider has one key after the other.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_is_refused_while_keys_change_under_load() {
    const ROTATIONS: usize = 4;
    let mut keys = vec![ProviderKey::new("0")];
    let provider = Provider::start(set_of(&[&keys[0]])).await;
    let gateway = Arc::new(by_key_set(&provider));
    let newest = Arc::new(std::sync::Mutex::new(token(&keys[0])));
    let (done, refused) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let is_over = Arc::new(AtomicBool::new(false));

    let mut clients = JoinSet::new();
    for number in 0..16 {
        let (gateway, newest) = (gateway.clone(), newest.clone());
        let (done, refused, is_over) = (done.clone(), refused.clone(), is_over.clone());
        clients.spawn(async move {
            while !is_over.load(Ordering::SeqCst) {
                let shown = newest.lock().expect("a token").clone();
                let status = if number % 2 == 0 {
                    publish(&gateway, "door.1", &shown).await.status
                } else {
                    poll(&gateway, "door.1", &shown).await
                };
                done.fetch_add(1, Ordering::SeqCst);
                if status != 200 {
                    refused.fetch_add(1, Ordering::SeqCst);
                }
            }
        });
    }
    for rotation in 1..=ROTATIONS {
        // As providers do: the next key is there before its first token, the last one a while
        // longer. Nobody waits until the gateway has seen it.
        let next = ProviderKey::new(&rotation.to_string());
        provider.set(Mode::Keys(set_of(&[&keys[rotation - 1], &next])));
        *newest.lock().expect("a token") = token(&next);
        keys.push(next);
        let so_far = done.load(Ordering::SeqCst);
        let enough = || async { done.load(Ordering::SeqCst) > so_far + 100 };
        gateway.until("requests go on", enough).await;
    }
    is_over.store(true, Ordering::SeqCst);
    while clients.join_next().await.is_some() {}

    assert_eq!(refused.load(Ordering::SeqCst), 0, "of {done:?}");
    assert!(
        provider.asked() <= 2 * ROTATIONS + 2,
        "asked {} times",
        provider.asked()
    );
}

#[tokio::test]
async fn a_key_that_its_provider_has_withdrawn_is_good_no_longer() {
    let (old, new) = (ProviderKey::new("old"), ProviderKey::new("new"));
    let provider = Provider::start(set_of(&[&old])).await;
    let gateway = by_key_set(&provider);
    assert_eq!(poll(&gateway, "door.1", &token(&old)).await, 200);

    provider.set(Mode::Keys(set_of(&[&new])));
    assert_eq!(
        poll(&gateway, "door.1", &token(&new)).await,
        200,
        "it is fetched at once"
    );
    assert_eq!(
        poll(&gateway, "door.1", &token(&old)).await,
        401,
        "what was remembered is not"
    );
}

#[tokio::test]
async fn tokens_without_a_key_id_follow_their_key_as_well() {
    let (old, new) = (ProviderKey::without_id(), ProviderKey::without_id());
    let provider = Provider::start(set_of(&[&old])).await;
    let gateway = by_key_set(&provider);
    assert_eq!(poll(&gateway, "door.1", &token(&old)).await, 200);
    provider.set(Mode::Keys(set_of(&[&new])));
    assert_eq!(poll(&gateway, "door.1", &token(&new)).await, 200);
}

#[tokio::test]
async fn made_up_key_ids_do_not_have_the_provider_asked_each_time() {
    let key = ProviderKey::new("1");
    let provider = Provider::start(set_of(&[&key])).await;
    let gateway = Arc::new(by_key_set(&provider));
    assert_eq!(poll(&gateway, "door.1", &token(&key)).await, 200);
    let (asked, begun) = (provider.asked(), Instant::now());

    let mut strangers = JoinSet::new();
    for number in 0..50 {
        let gateway = gateway.clone();
        let made_up = token(&ProviderKey::new(&format!("made up {number}")));
        strangers.spawn(async move { poll(&gateway, "door.1", &made_up).await });
    }
    while let Some(status) = strangers.join_next().await {
        assert_eq!(status.expect("no panic"), 401);
    }
    // Once every two seconds, however many they are.
    let allowed = 2 + begun.elapsed().as_secs() / 2;
    let asked = provider.asked() - asked;
    assert!(
        asked as u64 <= allowed,
        "asked {asked} times in {:?}",
        begun.elapsed()
    );
    assert_eq!(poll(&gateway, "door.1", &token(&key)).await, 200);
}

#[tokio::test]
async fn what_was_fetched_stays_good_while_the_provider_is_in_trouble() {
    let elsewhere = "http://id.example/keys".to_owned();
    let troubles = [
        (Mode::Broken, "502 Bad Gateway"),
        (Mode::Huge, "more than 262144 bytes"),
        (
            Mode::Keys(json!({"keys": []})),
            "without a key that can be used",
        ),
        (Mode::Keys(json!("no key set")), "not a key set"),
        (Mode::Redirect(elsewhere), "redirect"),
        (Mode::Silent, "timed out"),
    ];
    join_all(troubles.map(|(mode, reported)| in_trouble(mode, reported))).await;
}

async fn in_trouble(mode: Mode, reported: &str) {
    let (key, next) = (ProviderKey::new("1"), ProviderKey::new("2"));
    let provider = Provider::start(set_of(&[&key])).await;
    let gateway = by_key_set(&provider);
    let (of_key, of_next) = (token(&key), token(&next));
    assert_eq!(poll(&gateway, "door.1", &of_key).await, 200);

    // Coming back helps with that, so it is no 401; and nobody else is held up by it.
    provider.set(mode);
    let known = async {
        while poll(&gateway, "door.1", &of_key).await == 200 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let answer = tokio::select! {
        answer = get(&gateway, "/v1/poll?wait=0&topic=door.1", &of_next) => answer,
        () = known => panic!("a token whose key is known was refused"),
    };
    assert_eq!(answer.status, 503, "{answer:?}");
    assert_eq!(
        answer.json()["type"],
        "urn:vidette:problem:keys-unavailable"
    );
    assert_eq!(answer.header("retry-after"), "3");
    let is_reported = || async { gateway.log().contains(reported) };
    gateway.until(reported, is_reported).await;

    provider.set(Mode::Keys(set_of(&[&key, &next])));
    let is_back = || async { poll(&gateway, "door.1", &of_next).await == 200 };
    gateway.until("the next key is known", is_back).await;
}

/// An `EventSource` gives up for good on any status but 200.
#[tokio::test]
async fn a_stream_whose_key_cannot_be_fetched_is_one_that_ends() {
    let key = ProviderKey::new("1");
    let provider = Provider::start(set_of(&[&key])).await;
    provider.set(Mode::Broken);
    let gateway = by_key_set(&provider);
    let answer = get(&gateway, "/v1/sse?topic=door.1", &token(&key)).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert!(answer.text.contains("retry: "), "{answer:?}");
    assert!(answer.text.contains("event: vidette.closing"), "{answer:?}");
    assert_eq!(answer.header("content-type"), "text/event-stream");

    // Nobody is asked for credentials to see how the gateway is.
    let health = client().get(url(&gateway, "/readyz"));
    let health = health.header("authorization", token(&key)).send().await;
    assert_eq!(health.expect("an answer").status(), 200);
}
