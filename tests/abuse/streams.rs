//! Publish streams of large lines beside publishers of single events.

use std::cell::Cell;
use std::convert::Infallible;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use tokio::time::{sleep, timeout};

use crate::common::gateway::PATIENCE;
use crate::common::secure;
use crate::ground::Ground;
use crate::h1;

/// Streams at once.
const STREAMS: usize = 4;
/// Data of one line.
const LINE_BYTES: usize = 1_000_000;
/// Single events that are published meanwhile, at least.
const SINGLES: usize = 21;

pub async fn large_lines(ground: &mut Ground) {
    ground.begin();
    let address = ground.target();
    let (url, lines) = (ground.gateway.url(), ground.count(25, 150));
    let streaming = Rc::new(Cell::new(true));
    let streams = async {
        let sent = join_all((0..STREAMS).map(|_| stream_lines(&url, lines))).await;
        streaming.set(false);
        sent
    };
    let singles = async {
        let mut labels = Vec::new();
        while streaming.get() || labels.len() < SINGLES {
            let request = h1::post_event(address, "single");
            let answer = h1::ask(address, &request, PATIENCE).await;
            labels.push(format!("single {}", answer.label()));
            sleep(Duration::from_millis(100)).await;
        }
        labels
    };
    let (streams, singles) = tokio::join!(streams, singles);
    for label in singles {
        ground.got(label);
    }
    for answers in streams {
        match answers {
            Some(text) => {
                let refused = text.lines().filter(|l| l.contains("\"error\"")).count();
                ground.got_many("line refused", refused);
                ground.got_many("line", text.lines().count() - refused);
            }
            None => ground.got("stream broken"),
        }
    }
    ground.check_got_only(&["single 200", "line"]);
}

/// One stream of so many lines; its answers, unless it broke.
async fn stream_lines(url: &str, lines: usize) -> Option<String> {
    let text = "7".repeat(LINE_BYTES);
    let line = Bytes::from(format!("{{\"topic\":\"large\",\"data\":\"{text}\"}}\n"));
    let chunks = (0..lines).map(move |_| Ok::<_, Infallible>(line.clone()));
    let request = secure::http_client(url)
        .post(format!("{url}/v1/events"))
        .header("content-type", "application/x-ndjson")
        .body(reqwest::Body::wrap_stream(tokio_stream::iter(chunks)));
    let answering = async { request.send().await.ok()?.text().await.ok() };
    timeout(2 * PATIENCE, answering).await.ok().flatten()
}
