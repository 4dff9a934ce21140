//! Publishing is atomic and idempotent (contract §2.7); what was sent is what is read.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::case;
use crate::cases::{Case, Cell};
use crate::common::read::Data;
use crate::common::secure;

pub fn cases() -> Vec<Case> {
    vec![
        case!(
            "2.7",
            "batches of many publishers do not mix",
            Nothing,
            batches_do_not_mix
        ),
        case!(
            "2.7",
            "one bad event: nothing of its batch is published",
            Nothing,
            all_or_nothing
        ),
        case!(
            "2.7",
            "a known id gets the vid of the first",
            Nothing,
            known_id
        ),
        case!(
            "2.7",
            "a known id within one batch",
            Nothing,
            known_id_in_batch
        ),
        case!(
            "5",
            "JSON data comes back byte for byte",
            Nothing,
            exact_json
        ),
        case!("5", "types, ids, text and bytes come back", Nothing, fields),
        case!(
            "2.1",
            "many writers: every reader sees one order",
            Nothing,
            one_order
        ),
    ]
}

async fn batches_do_not_mix(cell: Arc<Cell>) {
    let writers: Vec<_> = (0..8)
        .map(|writer| {
            let cell = cell.clone();
            tokio::spawn(async move {
                for _ in 0..5 {
                    let vids = cell.publish(&format!("w{writer}"), 20).await;
                    assert!(
                        vids.windows(2).all(|pair| pair[1] == pair[0] + 1),
                        "{vids:?}"
                    );
                }
            })
        })
        .collect();
    for writer in writers {
        writer.await.expect("a writer");
    }
    let events = cell.open(&cell.ask("earliest")).await.events(800).await;
    for batch in events.chunks(20) {
        assert!(
            batch.iter().all(|e| e.topic == batch[0].topic),
            "another event stands in a batch"
        );
    }
}

async fn all_or_nothing(cell: Arc<Cell>) {
    let good = json!({ "topic": format!("{}.a", cell.topic), "data": 1 });
    let bad = json!({ "topic": "a..b", "data": 1 });
    let (status, problem) = cell.post(&json!([good, good, bad])).await;
    assert_eq!(status, 400);
    assert!(
        problem["detail"]
            .as_str()
            .is_some_and(|d| d.contains("event 3")),
        "{problem}"
    );
    assert!(cell.vids(&cell.ask("earliest")).await.is_empty());
}

async fn known_id(cell: Arc<Cell>) {
    let event = json!({ "topic": format!("{}.a", cell.topic), "data": 1, "id": cell.topic });
    let (_, first) = cell.post(&event).await;
    cell.publish("b", 1).await;
    let (_, again) = cell.post(&event).await;
    assert_eq!(again["vid"], first["vid"]);
    assert_eq!(
        (&first["duplicate"], &again["duplicate"]),
        (&Value::Null, &Value::Bool(true))
    );
    assert_eq!(cell.vids(&cell.ask("earliest")).await.len(), 2);
}

async fn known_id_in_batch(cell: Arc<Cell>) {
    let event =
        |data| json!({ "topic": format!("{}.a", cell.topic), "data": data, "id": cell.topic });
    let (_, answer) = cell.post(&json!([event(1), event(2)])).await;
    assert_eq!(answer["events"][0]["vid"], answer["events"][1]["vid"]);
    assert_eq!(answer["events"][1]["duplicate"], true);
    let events = cell.open(&cell.ask("earliest")).await.events(1).await;
    assert_eq!(events[0].data, Data::Json("1".into()));
}

async fn exact_json(cell: Arc<Cell>) {
    let texts = [
        "12345678901234567890",
        "1.10",
        "1e400",
        "-0",
        "\"\\u0041\\n\u{2028}\u{1F6AA}\"",
        "{ \"b\" : 1,\"a\":[ ] }",
        "null",
        "\"\"",
        "{\"a\":1,\"a\":2}",
        "[\n 1,\n 2\n]",
    ];
    for text in texts {
        let body = format!("{{\"topic\":\"{}.a\",\"data\":{text}}}", cell.topic);
        let request = secure::http_client(cell.url())
            .post(format!("{}/v1/events", cell.url()))
            .body(body);
        assert!(
            request
                .send()
                .await
                .expect("an answer")
                .status()
                .is_success(),
            "{text}"
        );
    }
    let events = cell
        .open(&cell.ask("earliest"))
        .await
        .events(texts.len())
        .await;
    for (event, text) in events.iter().zip(texts) {
        assert_eq!(event.data, Data::Json(text.into()));
    }
}

async fn fields(cell: Arc<Cell>) {
    let topic = |leaf: &str| format!("{}.{leaf}", cell.topic);
    let body = json!([
        { "topic": topic("a"), "type": "opened", "id": format!("{}-1", cell.topic), "data": 1 },
        { "topic": topic("b"), "data": "line\r\none", "content_type": "text/html" },
        { "topic": topic("c"), "data_base64": "AP/+" },
    ]);
    let (status, answer) = cell.post(&body).await;
    assert_eq!(status, 200, "{answer}");
    let events = cell.open(&cell.ask("earliest")).await.events(3).await;
    assert_eq!(
        (events[0].kind.as_str(), events[0].id.as_str()),
        ("opened", format!("{}-1", cell.topic).as_str())
    );
    assert_eq!(events[1].data, Data::Text("line\r\none".into()));
    assert_eq!(events[2].data, Data::Bytes(vec![0, 255, 254]));
}

async fn one_order(cell: Arc<Cell>) {
    let mut readers = Vec::new();
    for _ in 0..3 {
        readers.push(cell.open(&cell.ask("earliest")).await);
    }
    let writers: Vec<_> = (0..4)
        .map(|writer| {
            let cell = cell.clone();
            tokio::spawn(async move {
                for _ in 0..25 {
                    cell.publish(&format!("w{writer}"), 1).await;
                }
            })
        })
        .collect();
    let mut orders = Vec::new();
    for reader in &mut readers {
        orders.push(reader.events(100).await);
    }
    for writer in writers {
        writer.await.expect("a writer");
    }
    assert!(orders[0].is_sorted_by(|a, b| a.vid < b.vid));
    assert!(orders.iter().all(|order| *order == orders[0]));
}
