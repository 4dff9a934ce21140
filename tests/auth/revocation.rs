//! Revocation of whoever is being served, and of whoever comes again.

use std::time::Duration;

use futures_util::StreamExt as _;
use serde_json::json;
use tokio::time::{Instant, timeout};

use crate::common::gateway::{Gateway, PATIENCE};
use crate::common::token::{in_seconds, rights};
use crate::ground::{Folder, KEY, auth, bearer, client, gateway, get, hex, poll, signer, url};

/// What the contract allows, and time for a machine that is busy.
const SOON: Duration = Duration::from_secs(3 + 10);

fn with_list(folder: &Folder) -> Gateway {
    let list = folder.file("revoked.txt", "# nobody yet\n");
    let reader = hex("a-key-that-reads");
    gateway(&format!(
        "{}[[auth.api_key]]\nname = \"reader\"\nsha256 = \"{reader}\"\nsubscribe = [\"door.>\"]\n",
        auth(folder, &format!("revoked_file = {list:?}"))
    ))
}

fn token(id: &str, subject: &str) -> String {
    let claims = json!({
        "jti": id, "sub": subject, "exp": in_seconds(3600), "vidette": {"subscribe": ["door.>"]}
    });
    bearer(&signer().token(&claims))
}

#[tokio::test]
async fn by_its_id_its_subject_or_its_name_whoever_is_served_ends_soon() {
    for (revoked, shown) in [
        ("token-7", token("token-7", "alice")),
        ("bob", token("token-8", "bob")),
        ("reader", bearer("a-key-that-reads")),
    ] {
        let folder = Folder::new();
        let gateway = with_list(&folder);
        let stream = client()
            .get(url(&gateway, "/v1/sse?topic=door.1"))
            .header("authorization", &shown);
        let mut stream = stream.send().await.expect("a stream").bytes_stream();
        let hello = stream.next().await.expect("a block").expect("bytes");
        assert!(hello.starts_with(b"event: vidette.hello"), "{hello:?}");

        // A poll waits, and goes on to wait until somebody is revoked.
        let waiting = get(&gateway, "/v1/poll?topic=door.1&wait=60", &shown);
        let other = token("token-9", "carol");
        let unharmed = get(&gateway, "/v1/poll?topic=door.1&wait=60", &other);
        let ended = async {
            let mut text = String::new();
            while let Some(Ok(block)) = stream.next().await {
                text += &String::from_utf8_lossy(&block);
            }
            text
        };
        let revoke = async {
            let all_wait =
                || async { get(&gateway, "/v1/bus", &other).await.json()["subscribers"] == 3 };
            gateway.until("all wait", all_wait).await;
            folder.file("revoked.txt", format!("# gone\n{revoked}\n"));
            Instant::now()
        };
        let all = async { tokio::join!(waiting, ended, revoke) };
        let (polled, streamed, since) = tokio::select! {
            all = timeout(PATIENCE, all) => all.expect("both end"),
            answer = unharmed => panic!("another one has ended: {answer:?}"),
        };
        assert!(since.elapsed() < SOON, "only after {:?}", since.elapsed());
        assert_eq!(polled.status, 200, "{polled:?}");
        assert_eq!(polled.json()["events"], json!([]));
        assert!(streamed.contains("\"reason\":\"expired\""), "{streamed}");
        assert_eq!(poll(&gateway, "door.1", &shown).await, 401);
        assert_eq!(poll(&gateway, "door.1", &other).await, 200);
    }
}

#[tokio::test]
async fn a_list_that_is_broken_or_gone_frees_nobody() {
    let folder = Folder::new();
    let gateway = with_list(&folder);
    let shown = token("token-7", "alice");
    assert_eq!(poll(&gateway, "door.1", &shown).await, 200);
    folder.file("revoked.txt", "token-7");
    let is_revoked = || async { poll(&gateway, "door.1", &shown).await == 401 };
    gateway.until("it is revoked", is_revoked).await;

    let logged = |part: &'static str| {
        let gateway = &gateway;
        move || async move { gateway.log().contains(part) }
    };
    folder.file("revoked.txt", [0xff, 0xfe]);
    gateway.until("it is logged", logged("not UTF-8")).await;
    assert!(is_revoked().await, "by the last list");
    std::fs::remove_file(folder.path("revoked.txt")).expect("a file");
    gateway.until("it is logged", logged("No such file")).await;
    assert!(is_revoked().await, "by the last list");

    // Replaced as editors do, and shorter than before.
    let next = folder.file("next.txt", "token-1");
    std::fs::rename(next, folder.path("revoked.txt")).expect("renamed");
    let is_free = || async { poll(&gateway, "door.1", &shown).await == 200 };
    gateway.until("it is free", is_free).await;
    assert!(!gateway.log().contains(&shown));
}

#[tokio::test]
async fn an_api_key_is_revoked_by_its_name() {
    let folder = Folder::new();
    let gateway = with_list(&folder);
    let publish = || async {
        crate::ground::publish(&gateway, "door.1", &bearer(KEY))
            .await
            .status
    };
    assert_eq!(publish().await, 200);
    folder.file("revoked.txt", "doors\n");
    let is_revoked = || async { publish().await == 401 };
    gateway.until("it is revoked", is_revoked).await;
}

#[tokio::test]
async fn a_token_ends_its_streams_when_it_expires() {
    let folder = Folder::new();
    let gateway = with_list(&folder);
    let mut claims = rights(&[], &["door.>"]);
    claims["exp"] = json!(in_seconds(3));
    let shown = bearer(&signer().token(&claims));
    let stream = get(&gateway, "/v1/sse?topic=door.1", &shown);
    let stream = timeout(SOON, stream).await.expect("it ends");
    assert_eq!(stream.status, 200);
    assert!(stream.text.contains("\"reason\":\"expired\""), "{stream:?}");
    assert_eq!(poll(&gateway, "door.1", &shown).await, 401);
}
