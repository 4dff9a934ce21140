//! What the pages must not do.

use super::chromium::Browser;
use super::page::Page as _;
use crate::common::gateway::Gateway;

/// Pages with their titles, and how many events each shows.
const PAGES: [(&str, &str, u64); 9] = [
    ("/", "vidette: one bus, three transports", 5),
    (
        "/clients/longpoll/?start=earliest",
        "Long-poll client: vidette",
        5,
    ),
    (
        "/clients/longpoll/prototype.html",
        "Door records / 门禁记录",
        5,
    ),
    (
        "/clients/eventsource/?start=earliest",
        "EventSource client: vidette",
        5,
    ),
    ("/clients/grpcurl/", "gRPC with grpcurl: vidette", 0),
    ("/clients/", "Clients: vidette", 0),
    ("/docs/", "The book of vidette: vidette", 0),
    ("/docs/contract.md", "The contract: vidette", 0),
    ("/docs/scale.md", "Scale: vidette", 0),
];

#[tokio::test]
async fn no_page_has_an_error_on_its_console_or_asks_anybody_but_its_gateway() {
    let gateway = Gateway::start();
    gateway.publish_numbers("door.1", 5).await;
    let browser = Browser::open("about:blank").await;
    browser.requests().await;
    for (page, title, expected) in PAGES {
        browser.go(&format!("{}{page}", gateway.url())).await;
        assert_eq!(browser.ask::<String>("return document.title").await, title);
        let rows = "return document.querySelectorAll('#rows [data-vid], #log [data-vid], #sse-rows [data-vid]').length";
        browser.until(expected, || browser.ask::<u64>(rows)).await;
        assert_eq!(
            browser.console_errors().await,
            Vec::<String>::new(),
            "{page}"
        );
        let requests = browser.requests().await;
        assert!(
            requests.iter().any(|url| url.ends_with(page)),
            "{requests:?}"
        );
        let strange: Vec<_> = requests
            .iter()
            .filter(|url| !url.starts_with(&gateway.url()) && !url.starts_with("data:"))
            .collect();
        assert!(strange.is_empty(), "{page}: {strange:?}");
    }
}

#[tokio::test]
async fn the_commands_for_grpcurl_carry_the_address_of_this_gateway() {
    let gateway = Gateway::in_memory();
    let browser = Browser::open(&format!("{}/clients/grpcurl/", gateway.url())).await;
    let command = browser.text("#list").await;
    assert_eq!(
        command,
        format!("grpcurl -plaintext {} list", gateway.address())
    );
}

#[tokio::test]
async fn what_publishers_write_is_shown_as_text_and_never_run() {
    let gateway = Gateway::in_memory();
    let markup =
        "<img src=x onerror=\"document.title='run'\"><script>document.title='run'</script>";
    let record = serde_json::json!({ "doorno": markup, "rfsim": markup });
    for data in [serde_json::json!(markup), record] {
        gateway
            .publish(&serde_json::json!({ "topic": "door.<b", "type": "<i>", "data": data }))
            .await;
    }
    let browser = Browser::open("about:blank").await;
    for (page, title, expected) in PAGES {
        if expected == 0 {
            continue;
        }
        let page = if page.contains("eventsource") {
            format!("{page}&types=<i>")
        } else {
            page.to_owned()
        };
        browser.go(&format!("{}{page}", gateway.url())).await;
        let rows = "return document.querySelectorAll('#rows [data-vid], #log [data-vid], #sse-rows [data-vid]').length";
        browser.until(2, || browser.ask::<u64>(rows)).await;
        let strange = "return document.querySelectorAll('[data-vid] img, [data-vid] script, [data-vid] i, [data-vid] b').length";
        assert_eq!(browser.ask::<u64>(strange).await, 0, "{page}");
        assert_eq!(
            browser.ask::<String>("return document.title").await,
            title,
            "{page}"
        );
    }
}
