//! A page as users have them: written for PHP, in GB2312, with prototype.js, and not changed for
//! vidette.

use serde_json::json;
use tempfile::TempDir;

use super::chromium::Browser;
use super::page::Page as _;
use super::vids;
use crate::common::gateway::{Gateway, Setup};

/// 门禁记录, "door records", as GB2312 has it.
const TITLE: &[u8] = b"\xc3\xc5\xbd\xfb\xbc\xc7\xc2\xbc";

const HEAD: &str = r#"<html>
<head>
<meta http-equiv="Content-Type" content="text/html; charset=gb2312">
<title>"#;

const BODY: &str = r#"</title>
<script type="text/javascript" src="prototype.js"></script>
</head>
<body>
<div id="content"></div>
<script type="text/javascript">
var Comet = Class.create();
Comet.prototype = {
  maxvid: 0,
  url: './backend.php',
  noerror: true,
  initialize: function() { },
  connect: function() {
    this.ajax = new Ajax.Request(this.url, {
      method: 'get',
      parameters: { 'maxvid': this.maxvid },
      onSuccess: function(transport) {
        var response = eval('(' + transport.responseText + ')');
        this.comet.maxvid = response['vid'];
        this.comet.handleResponse(response);
        this.comet.noerror = true;
      },
      onComplete: function(transport) {
        if (!this.comet.noerror)
          setTimeout(function() { comet.connect() }, 5000);
        else
          this.comet.connect();
        this.comet.noerror = false;
      }
    });
    this.ajax.comet = this;
  },
  handleResponse: function(r) {
    $('content').innerHTML += '<div data-vid="' + r['vid'] + '">' + r['vid'] + ',' + r['doorno'] + ',' + r['rfsim'] + ','
      + r['optime'] + ',' + r['ynopen'] + '</div>';
  }
};
var comet = new Comet();
comet.connect();
</script>
<h1>"#;

/// A folder with that page and prototype.js.
fn pages() -> TempDir {
    let folder = TempDir::new().expect("a folder");
    let page = [
        HEAD.as_bytes(),
        TITLE,
        BODY.as_bytes(),
        TITLE,
        b"</h1></body></html>",
    ]
    .concat();
    assert!(
        std::str::from_utf8(&page).is_err(),
        "the page is GB2312 and no UTF-8"
    );
    std::fs::write(folder.path().join("door.html"), page).expect("a page");
    let library = std::fs::read("/usr/share/javascript/prototype/prototype.js")
        .expect("prototype.js is missing; run scripts/setup-tests.sh");
    std::fs::write(folder.path().join("prototype.js"), library).expect("a script");
    folder
}

fn serve(pages: &TempDir) -> Gateway {
    let flags = vec!["--pages-dir".to_owned(), pages.path().display().to_string()];
    Gateway::start_with(Setup {
        flags,
        ..Setup::default()
    })
}

async fn publish_record(gateway: &Gateway, door: u64) {
    let record = json!({ "vid": 7, "doorno": door, "rfsim": "张三", "optime": "2008-05-12 14:28:04", "ynopen": "开门" });
    gateway
        .publish(&json!({ "topic": "door.1", "data": record }))
        .await;
}

#[tokio::test]
async fn an_unchanged_gb2312_page_shows_every_record_across_a_crash() {
    let pages = pages();
    let mut gateway = serve(&pages);
    let browser = Browser::open(&format!("{}/door.html", gateway.url())).await;
    assert_eq!(
        browser.ask::<String>("return document.characterSet").await,
        "GBK"
    );
    assert_eq!(
        browser.ask::<String>("return document.title").await,
        "门禁记录"
    );
    assert_eq!(browser.text("h1").await, "门禁记录");
    for door in 1..=10 {
        publish_record(&gateway, door).await;
    }
    browser.until_vids("#content", &vids(10)).await;

    gateway.kill();
    // The page shows nothing of a failure, but knows of it.
    browser
        .until(false, || {
            browser.ask::<bool>("return comet.ajax.transport.readyState < 4")
        })
        .await;
    gateway.start_again();
    for door in 11..=20 {
        publish_record(&gateway, door).await;
    }
    browser.until_vids("#content", &vids(20)).await;
    let lines: Vec<String> =
        browser.ask("return [].map.call(document.querySelectorAll('#content div'), line => line.textContent)").await;
    for (line, number) in lines.iter().zip(1u64..) {
        assert_eq!(
            *line,
            format!("{number},{number},张三,2008-05-12 14:28:04,开门")
        );
    }
}

#[tokio::test]
async fn five_open_pages_each_show_all_fifty_records() {
    let pages = pages();
    let gateway = serve(&pages);
    let page = format!("{}/door.html", gateway.url());
    let browser = Browser::open(&page).await;
    for _ in 1..5 {
        browser.new_tab(&page).await;
    }
    for door in 1..=50 {
        publish_record(&gateway, door).await;
    }
    let seen = browser
        .in_each_tab(|| async { browser.until_vids("#content", &vids(50)).await })
        .await;
    assert_eq!(seen.len(), 5);
}

#[tokio::test]
async fn pages_that_leave_while_they_wait_lose_nothing_for_the_others() {
    let pages = pages();
    let gateway = serve(&pages);
    let page = format!("{}/door.html", gateway.url());
    let browser = Browser::open(&page).await;
    for round in 1..=5 {
        // Another one comes, waits, and leaves; then a record is published.
        let leaving = reqwest::get(format!(
            "{}/backend.php?maxvid={}",
            gateway.url(),
            round - 1
        ));
        let left = tokio::time::timeout(std::time::Duration::from_millis(50), leaving).await;
        assert!(left.is_err(), "it was still waiting");
        publish_record(&gateway, round).await;
        browser.until_vids("#content", &vids(round)).await;
    }
}
