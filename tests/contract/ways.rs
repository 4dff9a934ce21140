//! Every way of publishing, behind one function.

use futures_util::{StreamExt as _, stream};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;
use vidette::proto::{NewEvent, PublishRequest, PublishResponse};

use super::samples::Sample;
use super::support::Answer;
use crate::common::gateway::Gateway;
use crate::common::grpc;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    Object,
    Array,
    Lines,
    Topic,
    Grpc,
    GrpcStream,
}

pub const WAYS: [Way; 6] = [
    Way::Object,
    Way::Array,
    Way::Lines,
    Way::Topic,
    Way::Grpc,
    Way::GrpcStream,
];

/// Requests on their way at once, where each event is a request.
const AT_ONCE: usize = 16;
/// Events in each request of a gRPC stream.
const IN_ONE_REQUEST: usize = 10;

/// Publishes events; gives the vid of each, in their order.
pub async fn publish(
    way: Way,
    gateway: &Gateway,
    client: &reqwest::Client,
    events: &[Sample],
) -> Vec<u64> {
    let url = gateway.url();
    match way {
        Way::Object => one_by_one(events, |event| object_request(client, &url, event)).await,
        Way::Topic => one_by_one(events, |event| topic_request(client, &url, event)).await,
        Way::Array => as_array(client, &url, events).await,
        Way::Lines => as_lines(client, &url, events).await,
        Way::Grpc => {
            let answer = grpc::client(&url)
                .await
                .publish(request_of(events))
                .await
                .expect("an answer");
            vids(&answer.into_inner())
        }
        Way::GrpcStream => {
            let requests: Vec<_> = events.chunks(IN_ONE_REQUEST).map(request_of).collect();
            let answers = grpc::client(&url)
                .await
                .publish_stream(stream::iter(requests))
                .await
                .expect("a stream");
            let answers = answers
                .into_inner()
                .map(|answer| vids(&answer.expect("an answer")));
            answers.collect::<Vec<_>>().await.concat()
        }
    }
}

fn object_request(client: &reqwest::Client, url: &str, event: &Sample) -> reqwest::RequestBuilder {
    client
        .post(format!("{url}/v1/events"))
        .header("content-type", "application/json")
        .body(event.object())
}

fn topic_request(client: &reqwest::Client, url: &str, event: &Sample) -> reqwest::RequestBuilder {
    let topic = utf8_percent_encode(&event.topic, NON_ALPHANUMERIC);
    let request = client
        .post(format!("{url}/v1/topics/{topic}"))
        .header("content-type", event.content_type);
    let request = if event.kind.is_empty() {
        request
    } else {
        request.query(&[("type", &event.kind)])
    };
    let request = if event.id.is_empty() {
        request
    } else {
        request.query(&[("id", &event.id)])
    };
    request.body(event.bytes())
}

/// A request for each event, some of them at once; the answers say which vid is whose.
async fn one_by_one(
    events: &[Sample],
    request: impl Fn(&Sample) -> reqwest::RequestBuilder,
) -> Vec<u64> {
    let answers = events.iter().map(|event| {
        let request = request(event);
        async move {
            let answer = Answer::of(request.send().await.expect("an answer")).await;
            assert_eq!(answer.status, 200, "{answer:?}");
            vid(&answer.json())
        }
    });
    stream::iter(answers).buffered(AT_ONCE).collect().await
}

async fn as_array(client: &reqwest::Client, url: &str, events: &[Sample]) -> Vec<u64> {
    let objects: Vec<_> = events.iter().map(Sample::object).collect();
    let request = client
        .post(format!("{url}/v1/events"))
        .header("content-type", "application/json");
    let request = request.body(format!("[{}]", objects.join(",\n")));
    let answer = Answer::of(request.send().await.expect("an answer")).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()["events"]
        .as_array()
        .expect("one entry an event")
        .iter()
        .map(vid)
        .collect()
}

/// A line has no line feed in it: in JSON one can only stand between tokens, where a space means
/// the same, but then the bytes are others. Events with one are published as an array in their
/// place.
async fn as_lines(client: &reqwest::Client, url: &str, events: &[Sample]) -> Vec<u64> {
    let mut vids = Vec::new();
    for run in events.chunk_by(|a, b| has_line_feed(a) == has_line_feed(b)) {
        if has_line_feed(&run[0]) {
            vids.extend(as_array(client, url, run).await);
            continue;
        }
        let lines: String = run.iter().map(|event| event.object() + "\n").collect();
        let request = client
            .post(format!("{url}/v1/events"))
            .header("content-type", "application/x-ndjson");
        let answer = Answer::of(request.body(lines).send().await.expect("an answer")).await;
        vids.extend(answer.lines().iter().map(vid));
    }
    vids
}

fn has_line_feed(event: &Sample) -> bool {
    event.object().contains('\n')
}

fn request_of(events: &[Sample]) -> PublishRequest {
    let event = |event: &Sample| NewEvent {
        topic: event.topic.clone(),
        r#type: event.kind.clone(),
        id: event.id.clone(),
        content_type: event.content_type.to_owned(),
        data: event.bytes().into(),
        ..NewEvent::default()
    };
    PublishRequest {
        events: events.iter().map(event).collect(),
    }
}

fn vid(answer: &Value) -> u64 {
    assert_eq!(
        answer["duplicate"],
        Value::Null,
        "no two events have one id: {answer}"
    );
    answer["vid"].as_u64().unwrap_or_else(|| panic!("{answer}"))
}

fn vids(answer: &PublishResponse) -> Vec<u64> {
    assert_eq!(
        answer.first_vid,
        answer.events.first().expect("an event").vid
    );
    assert_eq!(answer.last_vid, answer.events.last().expect("an event").vid);
    answer.events.iter().map(|event| event.vid).collect()
}
