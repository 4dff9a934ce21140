//! Reading by long-poll.

use async_stream::stream;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{Break, Item, Items, Position, gap_text, refused};

#[derive(Deserialize)]
struct Answer<'a> {
    epoch: String,
    cursor: String,
    #[serde(borrow)]
    events: Vec<&'a RawValue>,
    gap: Option<Gap>,
}

#[derive(Deserialize)]
struct Gap {
    reason: String,
    requested: String,
    first: u64,
    last: u64,
}

#[derive(Deserialize)]
struct Vid {
    vid: u64,
}

pub(super) fn read(url: String, mut position: Position) -> Items {
    Box::pin(stream! {
        let client = reqwest::Client::new();
        loop {
            match poll(&client, &url, &position).await {
                Ok(items) => {
                    for item in items {
                        if let Item::Position(cursor) = &item {
                            position.resume_after(cursor.clone());
                        }
                        yield Ok(item);
                    }
                }
                Err(why) => {
                    yield Err(why);
                    return;
                }
            }
        }
    })
}

async fn poll(
    client: &reqwest::Client,
    url: &str,
    position: &Position,
) -> Result<Vec<Item>, Break> {
    let response = client
        .get(format!("{url}/v1/poll"))
        .query(&position.query())
        .send()
        .await;
    let response = response.map_err(|e| Break::retry(format!("no gateway at {url}: {e}")))?;
    if !response.status().is_success() {
        return Err(refused(response).await);
    }
    let body = response
        .bytes()
        .await
        .map_err(|e| Break::retry(format!("the answer broke off: {e}")))?;
    items(&body).map_err(|e| Break::retry(format!("the answer cannot be read: {e}")))
}

fn items(body: &[u8]) -> serde_json::Result<Vec<Item>> {
    let answer: Answer<'_> = serde_json::from_slice(body)?;
    let mut items: Vec<Item> = answer
        .gap
        .iter()
        .map(|g| Item::Gap(gap_text(&g.reason, &g.requested, g.first, g.last)))
        .collect();
    for event in answer.events {
        let Vid { vid } = serde_json::from_str(event.get())?;
        items.push(Item::Event {
            json: event.get().as_bytes().into(),
            cursor: format!("{vid}-{}", answer.epoch),
        });
    }
    items.push(Item::Position(answer.cursor));
    Ok(items)
}
