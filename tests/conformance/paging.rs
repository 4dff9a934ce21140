//! Pages, limits and waits (contract §4, §5).

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::case;
use crate::cases::{Case, Cell};
use crate::common::read::{Data, Refused, SubscribeParams, Transport};
use crate::common::secure;

pub fn cases() -> Vec<Case> {
    vec![
        case!(
            "5",
            "a batch larger than a page comes whole and in order",
            Nothing,
            batch_larger_than_page
        ),
        case!(
            "5",
            "an event larger than a page comes whole",
            Nothing,
            event_larger_than_page
        ),
        case!(
            "5",
            "many large events come whole",
            Nothing,
            many_large_events
        ),
        case!(
            "5",
            "limit=1, again and again, brings each event once",
            Nothing,
            limit_of_one
        ),
        case!("5", "a limit out of bounds is refused", Nothing, bad_limits),
        case!(
            "5",
            "wait=0 answers at once; a wait over 120 s is refused",
            Nothing,
            waits
        ),
        case!(
            "2.5",
            "a reader far behind comes back to live",
            OwnLog,
            far_behind
        ),
        case!(
            "4",
            "caught_up is sent once, not after every live event",
            Nothing,
            caught_up_once
        ),
    ]
}

async fn batch_larger_than_page(cell: Arc<Cell>) {
    let published = cell.publish("a", 10_000).await;
    assert_eq!(cell.vids(&cell.ask("earliest")).await, published);
}

async fn event_larger_than_page(cell: Arc<Cell>) {
    let text = "x".repeat(1024 * 1024 - 2);
    let (status, answer) = cell
        .post(&json!({ "topic": format!("{}.a", cell.topic), "data": text }))
        .await;
    assert_eq!(status, 200, "{answer}");
    let (seen, _) = cell.open(&cell.ask("earliest")).await.event().await;
    assert_eq!(seen.data, Data::Json(format!("\"{text}\"")));
}

async fn many_large_events(cell: Arc<Cell>) {
    let event =
        |n: usize| json!({ "topic": format!("{}.a", cell.topic), "data": "x".repeat(200_000 + n) });
    for batch in 0..4 {
        let (status, answer) = cell
            .post(&(0..10).map(|n| event(batch * 10 + n)).collect())
            .await;
        assert_eq!(status, 200, "{answer}");
    }
    let seen = cell.open(&cell.ask("earliest")).await.events(40).await;
    for (n, event) in seen.iter().enumerate() {
        assert!(
            matches!(&event.data, Data::Json(text) if text.len() == 200_002 + n),
            "event {n}"
        );
    }
}

async fn limit_of_one(cell: Arc<Cell>) {
    let published = cell.publish("a", 20).await;
    let mut params = SubscribeParams {
        limit: Some(1),
        ..cell.ask("earliest")
    };
    let mut seen = Vec::new();
    for _ in 0..20 {
        let (event, cursor) = cell.open(&params).await.event().await;
        seen.push(event.vid);
        params.after = Some(cursor);
    }
    assert_eq!(seen, published);
    if cell.via != Transport::Poll {
        let mut reader = cell
            .open(&SubscribeParams {
                limit: Some(3),
                ..cell.ask("earliest")
            })
            .await;
        reader.events(3).await;
        assert_eq!(reader.next().await, Ok(None), "a stream ends at its limit");
    }
}

async fn bad_limits(cell: Arc<Cell>) {
    let params = SubscribeParams {
        limit: Some(1_000_001),
        ..cell.ask("earliest")
    };
    assert!(matches!(
        cell.try_open(&params).await.map(|_| ()),
        Err(Refused::BadRequest(_))
    ));
}

async fn waits(cell: Arc<Cell>) {
    let path = match cell.via {
        Transport::Poll => "/v1/poll",
        Transport::Sse => "/v1/sse",
        Transport::Grpc => return, // a call there ends by its deadline
    };
    let begun = Instant::now();
    let (status, _) = cell
        .get(&format!("{path}?wait=0&topic={}", cell.all_topics()))
        .await;
    assert_eq!(status, 200);
    assert!(begun.elapsed() < Duration::from_secs(10), "wait=0 waited");
    let (status, _) = cell.get(&format!("{path}?wait=121")).await;
    assert_eq!(status, 400);
}

impl Cell {
    async fn get(&self, path: &str) -> (u16, Value) {
        let response = secure::http_client(self.url())
            .get(format!("{}{path}", self.url()))
            .send()
            .await
            .expect("an answer");
        (
            response.status().as_u16(),
            response.text().await.expect("a whole answer").into(),
        )
    }
}

async fn far_behind(cell: Arc<Cell>) {
    let mut published = Vec::new();
    for _ in 0..4 {
        published.extend(cell.publish("a", 10_000).await);
    }
    let mut reader = cell.open(&cell.ask("earliest")).await;
    let seen: Vec<u64> = reader.events(40_000).await.iter().map(|e| e.vid).collect();
    assert_eq!(seen, published);
    reader.until_caught_up().await;
    let live = cell.publish("a", 1).await;
    assert_eq!(reader.event().await.0.vid, live[0]);
}

async fn caught_up_once(cell: Arc<Cell>) {
    use crate::common::read::Step;
    let mut reader = cell.open(&cell.ask("latest")).await;
    reader.until_caught_up().await;
    for _ in 0..5 {
        let vid = cell.publish("a", 1).await[0];
        loop {
            match reader.next().await.expect("no error").expect("no end") {
                Step::Event(event, _) => {
                    assert_eq!(event.vid, vid);
                    break;
                }
                Step::Progress(_) => {}
                other => panic!("{other:?}"),
            }
        }
    }
}
