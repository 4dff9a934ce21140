//! Reading by Server-Sent Events.

use std::time::Duration;

use async_stream::stream;
use futures_util::StreamExt as _;
use serde_json::Value;
use sse_stream::{Sse, SseStream};

use super::{Break, Item, Items, Position, gap_text, refused};

pub(super) fn read(url: String, position: Position) -> Items {
    Box::pin(stream! {
        let request = reqwest::Client::new().get(format!("{url}/v1/sse")).query(&position.query());
        let response = match request.send().await {
            Ok(response) if response.status().is_success() => response,
            Ok(response) => {
                yield Err(refused(response).await);
                return;
            }
            Err(fault) => {
                yield Err(Break::retry(format!("no gateway at {url}: {fault}")));
                return;
            }
        };
        let mut blocks = SseStream::from_bytes_stream(response.bytes_stream());
        while let Some(block) = blocks.next().await {
            match block {
                Ok(block) => {
                    for item in items(block) {
                        yield Ok(item);
                    }
                }
                Err(fault) => {
                    yield Err(Break::retry(format!("the stream broke: {fault}")));
                    return;
                }
            }
        }
    })
}

fn closing(data: &str) -> Item {
    let closing: Value = serde_json::from_str(data).unwrap_or_default();
    let pause_ms = closing["retry_ms"].as_u64().unwrap_or(0);
    Item::Closing {
        reason: closing["reason"].as_str().unwrap_or_default().to_owned(),
        pause: Duration::from_millis(pause_ms.min(u32::MAX.into())),
    }
}

fn items(block: Sse) -> Vec<Item> {
    let data = block.data.unwrap_or_default();
    match block
        .event
        .as_deref()
        .and_then(|name| name.strip_prefix("vidette."))
    {
        Some("gap") => {
            let gap: Value = serde_json::from_str(&data).unwrap_or_default();
            let text = |name: &str| gap[name].as_str().unwrap_or_default().to_owned();
            vec![Item::Gap(gap_text(
                &text("reason"),
                &text("requested"),
                gap["first"].as_u64().unwrap_or(0),
                gap["last"].as_u64().unwrap_or(0),
            ))]
        }
        Some("hello") => {
            let hello: Value = serde_json::from_str(&data).unwrap_or_default();
            let heartbeat = hello["heartbeat_ms"].as_u64().map(Duration::from_millis);
            heartbeat
                .map(|heartbeat| Item::Hello { heartbeat })
                .into_iter()
                .collect()
        }
        Some("closing") => vec![closing(&data)],
        Some(_) => block.id.map(Item::Position).into_iter().collect(),
        None => match block.id {
            Some(cursor) if data.is_empty() => vec![Item::Position(cursor)],
            Some(cursor) => vec![Item::Event {
                json: data.into_bytes().into(),
                cursor,
            }],
            None => Vec::new(),
        },
    }
}
