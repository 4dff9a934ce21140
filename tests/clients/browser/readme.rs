//! The page in the README: an EventSource gives up for good on a proxy's 502; the page goes on.

use std::fs;

use tempfile::TempDir;

use super::chromium::Browser;
use super::page::Page as _;
use super::vids;
use crate::common::gateway::{Gateway, Setup};
use crate::network::Network;
use crate::tools::root;

/// The script that the README has for a page.
fn script() -> String {
    let readme = fs::read_to_string(root().join("README.md")).expect("the README");
    let below = readme.split_once("\n```js\n").expect("a script").1;
    below.split_once("\n```\n").expect("its end").0.to_owned()
}

/// A folder with that page. It keeps the vids that it shows; beside them those of an EventSource
/// about which the page does nothing.
fn page() -> TempDir {
    let folder = TempDir::new().expect("a folder");
    let page = format!(
        "<!DOCTYPE html><script>
        const shown = [], seenByPlain = [];
        function show(event) {{ shown.push(event.vid); }}
        const plain = new EventSource('/v1/sse?after=earliest');
        plain.onmessage = (event) => seenByPlain.push(JSON.parse(event.data).vid);
        </script><script>{}</script>",
        script()
    );
    fs::write(folder.path().join("page.html"), page).expect("the page");
    folder
}

#[tokio::test]
async fn the_page_in_the_readme_goes_on_after_a_502_at_which_a_plain_event_source_gives_up() {
    let folder = page();
    let gateway = Gateway::start_with(Setup {
        config: format!("[pages]\ndir = {:?}", folder.path().display().to_string()),
        ..Setup::default()
    });
    let network = Network::before(gateway.address()).await;
    gateway.publish_numbers("door.1", 3).await;
    let browser = Browser::open(&format!("{}/page.html", network.url())).await;
    let shown = || browser.ask::<Vec<u64>>("return shown");
    let seen_by_plain = || browser.ask::<Vec<u64>>("return seenByPlain");
    browser.until(vids(3), shown).await;
    browser.until(vids(3), seen_by_plain).await;

    // A browser reconnects after some seconds; both readers then meet the proxy's answer.
    network.lose_gateway().await;
    let has_given_up = || browser.ask::<bool>("return plain.readyState === EventSource.CLOSED");
    browser.until(true, has_given_up).await;
    gateway.publish_numbers("door.1", 3).await;
    network.mend();
    browser.until(vids(6), shown).await;
    assert_eq!(seen_by_plain().await, vids(3));
}
