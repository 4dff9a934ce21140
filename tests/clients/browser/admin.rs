//! The admin page.

use serde_json::json;

use super::chromium::Browser;
use super::page::Page as _;
use crate::common::gateway::{Gateway, Setup};

/// Waits until the page says this of the last action.
async fn until_it_says(browser: &Browser, text: &str) {
    browser
        .until(true, || async {
            browser.text("#answer").await.contains(text)
        })
        .await;
}

async fn confirm(browser: &Browser) {
    browser.click("#confirm-yes").await;
}

#[tokio::test]
async fn an_operator_sees_the_gateway_live_and_each_action_asks_first() {
    let gateway = Gateway::start();
    gateway.publish_numbers("door.1", 4).await;
    let mut reader = reqwest::get(format!("{}/v1/sse?topic=door.*", gateway.url()))
        .await
        .expect("a stream");
    let browser = Browser::open(&format!("{}/admin", gateway.url())).await;
    browser.until_state("#state", "live").await;
    browser
        .until("4".to_owned(), || browser.text("#events"))
        .await;
    let readers =
        || browser.ask::<u64>("return document.querySelectorAll('#connections tbody tr').length");
    browser.until(1, readers).await;

    // Whoever says no has changed nothing.
    browser.type_into("#delete-vid", "2").await;
    browser.click("#delete-form button").await;
    assert!(
        browser
            .text("#confirm-says")
            .await
            .contains("deleted for good")
    );
    browser.click("#confirm-no").await;
    browser.click("#delete-form button").await;
    confirm(&browser).await;
    until_it_says(&browser, "event 2 of door.1 is gone").await;
    browser.click("#delete-form button").await;
    confirm(&browser).await;
    until_it_says(&browser, "Not found: there is no event 2").await;

    browser.click("#read-only").await;
    confirm(&browser).await;
    until_it_says(&browser, "nothing is published").await;
    browser
        .until(true, || async {
            browser.text("#notice").await.starts_with("Read-only")
        })
        .await;
    browser.click("#read-only").await;
    confirm(&browser).await;
    until_it_says(&browser, "publishing is on again").await;

    browser.click("#connections tbody tr button").await;
    confirm(&browser).await;
    until_it_says(&browser, "is being ended").await;
    let mut seen = String::new();
    while let Some(piece) = reader.chunk().await.expect("a piece") {
        seen += &String::from_utf8_lossy(&piece);
    }
    assert!(seen.contains("vidette.closing"), "{seen}");

    browser
        .click("#topics tbody tr[data-topic='door.1'] button")
        .await;
    confirm(&browser).await;
    until_it_says(&browser, "3 events of door.1").await;
    let answer = gateway.get("/v1/poll?after=earliest&wait=0").await;
    assert_eq!(answer["events"], json!([]));
    browser.type_into("#revoke-name", "alice").await;
    browser.click("#revoke-form button").await;
    confirm(&browser).await;
    until_it_says(&browser, "Not supported here").await;
    let errors = browser.console_errors().await;
    let unexpected = errors
        .iter()
        .filter(|error| !error.contains("status of 404") && !error.contains("status of 501"));
    assert_eq!(unexpected.count(), 0, "{errors:?}");
}

#[tokio::test]
async fn who_may_only_look_signs_in_and_can_change_nothing() {
    let key = "the-key-of-somebody-who-looks";
    let digest = "a".repeat(64);
    let gateway = Gateway::start_with(Setup {
        engine: "memory",
        config: format!(
            "[auth]\n[[auth.api_key]]\nname = \"looks\"\nsubscribe = [\"vidette.admin\"]\n\
             publish = []\nsha256 = \"{}\"\n[[auth.api_key]]\nname = \"none\"\nsha256 = \"{digest}\"\n\
             publish = []\nsubscribe = []\n",
            sha256_hex(key)
        ),
        ..Setup::default()
    });
    let browser = Browser::open(&format!("{}/admin", gateway.url())).await;
    browser.until_state("#state", "stopped").await;
    assert!(
        browser
            .text("#sign-in-why")
            .await
            .contains("without credentials")
    );
    browser.type_into("#token", "a wrong key").await;
    browser.click("#sign-in-form button").await;
    browser
        .until(true, || async {
            browser.text("#sign-in-why").await.contains("not accepted")
        })
        .await;
    browser.type_into("#token", key).await;
    browser.click("#sign-in-form button").await;
    browser.until_state("#state", "live").await;
    let is_disabled =
        "return [].every.call(document.querySelectorAll('#actions button'), b => b.disabled)";
    assert!(browser.ask::<bool>(is_disabled).await);
    assert!(browser.text("#may-not").await.contains("change nothing"));
}

fn sha256_hex(text: &str) -> String {
    use sha2::{Digest as _, Sha256};

    let digest = Sha256::digest(text);
    let hex = |hex: String, byte: &u8| hex + &format!("{byte:02x}");
    digest.iter().fold(String::new(), hex)
}
