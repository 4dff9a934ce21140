//! Reading by gRPC.

use std::time::Duration;

use async_stream::stream;
use tonic::transport::Endpoint;
use tonic::{Code, Status};

use super::{Break, Item, Items, Position, gap_text};
use crate::event::{ContentType, Event, NewEvent};
use crate::topic::Topic;
use crate::transport::event_json;
use crate::transport::grpc::client_proto as proto;
use proto::event_bus_client::EventBusClient;
use proto::subscribe_response::Message;

pub(super) fn read(url: String, position: Position) -> Items {
    Box::pin(stream! {
        let mut responses = match subscribe(&url, position).await {
            Ok(responses) => responses,
            Err(why) => {
                yield Err(why);
                return;
            }
        };
        loop {
            match responses.message().await {
                Ok(Some(response)) => {
                    for item in response.message.into_iter().flat_map(items) {
                        yield Ok(item);
                    }
                }
                Ok(None) => return,
                Err(status) => {
                    yield Err(break_of(&status));
                    return;
                }
            }
        }
    })
}

async fn subscribe(
    url: &str,
    position: Position,
) -> Result<tonic::Streaming<proto::SubscribeResponse>, Break> {
    let endpoint = Endpoint::from_shared(url.to_owned())
        .map_err(|e| Break::Final(format!("{url} is not an address: {e}")))?;
    let channel = endpoint
        .connect()
        .await
        .map_err(|e| Break::retry(format!("no gateway at {url}: {e}")))?;
    let request = proto::SubscribeRequest {
        topic: position.topics,
        after: position.after.unwrap_or_default(),
        since: position.since.unwrap_or_default(),
        snapshot: position.snapshot,
        ..proto::SubscribeRequest::default()
    };
    let mut client = EventBusClient::new(channel).max_decoding_message_size(usize::MAX);
    Ok(client
        .subscribe(request)
        .await
        .map_err(|status| break_of(&status))?
        .into_inner())
}

fn break_of(status: &Status) -> Break {
    let text = format!("{:?}: {}", status.code(), status.message());
    match status.code() {
        Code::InvalidArgument
        | Code::PermissionDenied
        | Code::Unauthenticated
        | Code::Unimplemented
        | Code::OutOfRange => Break::Final(text),
        _ => Break::retry(text),
    }
}

fn items(message: Message) -> Vec<Item> {
    match message {
        Message::Hello(hello) => vec![Item::Hello {
            heartbeat: Duration::from_millis(hello.heartbeat_ms.into()),
        }],
        Message::Events(batch) => {
            let epoch = batch
                .cursor
                .split_once('-')
                .map_or("", |(_, epoch)| epoch)
                .to_owned();
            let mut items: Vec<Item> = batch
                .events
                .into_iter()
                .map(|event| event_item(event, &epoch))
                .collect();
            items.push(Item::Position(batch.cursor));
            items
        }
        Message::CaughtUp(proto::CaughtUp { cursor })
        | Message::Progress(proto::Progress { cursor }) => {
            vec![Item::Position(cursor)]
        }
        Message::Gap(gap) => vec![Item::Gap(gap_text(
            &gap.reason,
            &gap.requested,
            gap.first,
            gap.last,
        ))],
        Message::Closing(closing) => vec![Item::Closing {
            reason: closing.reason,
            pause: Duration::from_millis(closing.retry_ms.into()),
        }],
    }
}

/// The same JSON object that the gateway would have made of the event.
fn event_item(event: proto::Event, epoch: &str) -> Item {
    let time_ms = event
        .time
        .map_or(0, |t| t.seconds * 1000 + i64::from(t.nanos / 1_000_000));
    let given = |text: String| (!text.is_empty()).then(|| text.into());
    let mut headers: Vec<_> = event.headers.into_iter().collect();
    headers.sort_unstable();
    let sent = NewEvent {
        topic: Topic::trusted(&event.topic),
        kind: given(event.r#type),
        id: given(event.id),
        content_type: ContentType::trusted(&event.content_type),
        headers,
        data: event.data,
    };
    let json = event_json(&Event::new(event.vid, time_ms, sent)).to_vec();
    Item::Event {
        json: json.into(),
        cursor: format!("{}-{epoch}", event.vid),
    }
}
