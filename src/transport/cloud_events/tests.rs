//! What comes in goes out the same, and what is malformed is refused with its reason.

use std::sync::Arc;
use std::time::Duration;

use axum::http::HeaderMap;
use proptest::prelude::*;
use proptest::test_runner::Config;
use serde_json::{Value, json};

use super::render::cloud_event_json;
use super::*;
use crate::bus::{BusOptions, LogView};
use crate::engine::{MemoryEngine, Retention};
use crate::event::{Event, EventParts};

const MOST: usize = 1000;

fn template(text: &str) -> TopicTemplate {
    TopicTemplate::parse(text).expect("a template")
}

fn structured(event: &Value) -> Result<NewEvent> {
    let json = event.to_string();
    let parsed = structured::parse(json.as_bytes());
    parsed.and_then(|event| event.check(&TopicRule::Fixed("a"), MOST))
}

fn log() -> Arc<LogView> {
    let minute = Duration::from_secs(60);
    let retention = Retention {
        max_age: minute,
        max_events: 1,
        max_bytes: 1,
        dedupe_window: minute,
    };
    let options = BusOptions {
        heartbeat: minute,
        max_subscribers: 1,
        max_event_bytes: 1,
        retention,
    };
    Bus::start(Arc::new(MemoryEngine::new(minute)), options).log()
}

/// What a reader gets of it.
fn rendered(log: &LogView, event: NewEvent) -> Value {
    let event = Event::new(7, 0, event);
    let json = cloud_event_json(log, &event);
    serde_json::from_slice(json).unwrap_or_else(|e| panic!("{e}: {json:?}"))
}

fn minimal() -> Value {
    json!({ "specversion": "1.0", "id": "1", "source": "/doors", "type": "opened" })
}

fn with(more: &Value) -> Value {
    let mut event = minimal();
    for (name, value) in more.as_object().expect("an object") {
        event[name] = value.clone();
    }
    event
}

#[tokio::test]
async fn what_came_as_a_structured_event_leaves_as_it_came() {
    let log = log();
    for more in [
        json!({}),
        json!({ "type": "vidette.gap", "subject": "x", "dataschema": "http://a/b" }),
        json!({ "time": "2018-04-05T17:31:00.5+02:00", "n": -5, "flag": true, "text": "5" }),
        json!({ "data": null }),
        json!({ "data": { "n": [1, "a\nb"] }, "datacontenttype": "application/json" }),
        json!({ "data": "text", "datacontenttype": "text/plain" }),
        json!({ "data": "", "datacontenttype": "text/plain" }),
        json!({ "data": "<a/>", "datacontenttype": "application/xml" }),
        json!({ "datacontenttype": "application/xml" }),
        json!({ "data_base64": "AQI=" }),
        json!({ "data_base64": "" }),
        json!({ "data_base64": "e30=", "datacontenttype": "application/json" }),
        json!({ "data_base64": "YQ==", "datacontenttype": "text/plain" }),
        json!({ "data_base64": "AQI=", "datacontenttype": "image/png" }),
    ] {
        let event = with(&more);
        let taken = structured(&event).unwrap_or_else(|e| panic!("{event}: {e}"));
        assert_eq!(rendered(&log, taken), event);
    }
}

#[tokio::test]
async fn an_event_without_a_content_type_in_headers_is_never_taken_for_json_that_it_is_not() {
    let headers = headers_of(&[
        ("specversion", "1.0"),
        ("id", "1"),
        ("source", "/"),
        ("type", "t"),
    ]);
    let parsed = binary::parse(&headers, b"12 doors").expect("an event");
    let event = parsed
        .check(&TopicRule::Fixed("a"), MOST)
        .expect("an event");
    let shown = rendered(&log(), event);
    assert_eq!(shown["data_base64"], "MTIgZG9vcnM=", "{shown}");
    assert!(shown.get("datacontenttype").is_none(), "{shown}");
}

#[tokio::test]
async fn an_event_of_another_publisher_has_what_every_cloud_event_has() {
    let parts = EventParts {
        topic: "door.1",
        headers: vec![
            ("ce-json-form".into(), "id".into()),
            ("ce-id".into(), "}".into()),
        ],
        data: "hello".into(),
        ..EventParts::default()
    };
    let log = log();
    let shown = rendered(&log, NewEvent::check(parts, MOST).expect("an event"));
    assert_eq!(
        shown,
        json!({
            "specversion": "1.0",
            "type": "vidette.event",
            "id": log.cursor(7).to_string(),
            "source": "urn:vidette",
            "subject": "door.1",
            "time": "1970-01-01T00:00:00.000Z",
            "datacontenttype": "text/plain",
            "data": "hello",
        })
    );
}

#[test]
fn the_id_is_made_of_source_and_id() {
    let id = |more: Value| structured(&with(&more)).expect("an event").id;
    assert_eq!(id(json!({})), id(json!({ "type": "closed", "data": 1 })));
    assert_ne!(id(json!({})), id(json!({ "id": "2" })));
    let moved = json!({ "id": "s1", "source": "/door" });
    assert_ne!(id(json!({})), id(moved), "the texts together are the same");
}

#[test]
fn a_topic_is_made_of_attributes_or_refused_with_its_template() {
    let topic = |text: &str, more: Value| {
        let (template, event) = (template(text), with(&more).to_string());
        let parsed = structured::parse(event.as_bytes()).expect("an event");
        let checked = parsed.check(&TopicRule::Template(&template), MOST);
        checked
            .map(|event| event.topic.to_string())
            .map_err(|error| error.to_string())
    };
    assert_eq!(topic("{type}", json!({})).as_deref(), Ok("opened"));
    let of_two = topic("cloud.{subject}.{n}", json!({ "subject": "3", "n": 5 }));
    assert_eq!(of_two.as_deref(), Ok("cloud.3.5"));
    for (text, more, why) in [
        ("{subject}", json!({}), "the attribute subject is missing"),
        ("{type}", json!({ "type": "a b" }), "has white space"),
        ("{type}", json!({ "type": "a.*" }), "has a wildcard"),
        (
            "{type}",
            json!({ "type": "vidette.x" }),
            "belong to the gateway",
        ),
        (
            "a.{type}{type}",
            json!({ "type": "x".repeat(200) }),
            "is longer than 255",
        ),
        (
            "{type}",
            json!({ "type": "x".repeat(256) }),
            "is longer than the 255",
        ),
    ] {
        let error = topic(text, more).expect_err(text);
        assert!(
            error.starts_with(&format!("the template {text:?} makes no topic")),
            "{error}"
        );
        assert!(error.contains(why), "{error}");
    }
}

#[test]
fn what_is_no_cloud_event_is_refused_with_its_reason() {
    for (more, why) in [
        (json!({ "specversion": null }), "specversion is missing"),
        (json!({ "specversion": "0.3" }), "specversion is \"0.3\""),
        (json!({ "specversion": "1." }), "specversion is \"1.\""),
        (json!({ "id": "" }), "id is missing or empty"),
        (json!({ "id": 5 }), "id is no string"),
        (json!({ "subject": false }), "subject is no string"),
        (json!({ "source": null }), "source is missing"),
        (json!({ "type": null }), "type is missing"),
        (json!({ "time": "yesterday" }), "no RFC 3339 time"),
        (
            json!({ "time": "2018-04-05 17:31:00Z" }),
            "no RFC 3339 time",
        ),
        (json!({ "Subject": "x" }), "no name of an attribute"),
        (json!({ "ext-a": "x" }), "no name of an attribute"),
        (
            json!({ "ext": { "a": 1 } }),
            "no string, boolean or integer",
        ),
        (json!({ "ext": 1.5 }), "no string, boolean or integer"),
        (
            json!({ "ext": 2_147_483_648_u32 }),
            "no string, boolean or integer",
        ),
        (json!({ "ext": "a\u{7}" }), "control character"),
        (json!({ "ext": "\u{ffff}" }), "control character"),
        (
            json!({ "data": 1, "data_base64": "AQ==" }),
            "both data and data_base64",
        ),
        (json!({ "data_base64": "?" }), "data_base64"),
        (json!({ "data_base64": 1 }), "data_base64"),
        (
            json!({ "data": 1, "datacontenttype": "text/plain" }),
            "has to be a JSON string",
        ),
        (
            json!({ "data": "ü", "datacontenttype": "text/plain; charset=latin1" }),
            "give data_base64",
        ),
    ] {
        let event = with(&more);
        let error = structured(&event)
            .expect_err(&event.to_string())
            .to_string();
        assert!(error.contains(why), "{event}: {error}");
    }
}

#[test]
fn what_is_no_object_of_attributes_is_refused() {
    for json in [
        "",
        "1",
        "[]",
        "{",
        "{}x",
        "{\"id\":\"1\",\"id\":\"2\"}",
        "{\"id\":\"\\ud800\"}",
    ] {
        assert!(structured::parse(json.as_bytes()).is_err(), "{json}");
    }
    let many: Value = (0..40)
        .map(|n| (format!("a{n}"), json!(1)))
        .collect::<serde_json::Map<_, _>>()
        .into();
    let error = structured(&with(&many)).expect_err("too many").to_string();
    assert!(error.contains("more than 32"), "{error}");
}

#[test]
fn the_mode_of_a_request_is_that_of_its_content_type_or_its_headers() {
    let mode = |content_type: &str, attributes: &[(&str, &str)]| {
        let mut headers = headers_of(attributes);
        let content_type = HeaderValue::try_from(content_type).expect("a header");
        headers.insert(header::CONTENT_TYPE, content_type);
        ContentMode::of(&headers).map_err(|error| error.kind())
    };
    let structured = "Application/CloudEvents+JSON; charset=UTF-8";
    assert_eq!(mode(structured, &[]), Ok(Some(ContentMode::Structured)));
    assert_eq!(mode(BATCH, &[]), Ok(Some(ContentMode::Batch)));
    assert_eq!(mode("application/json", &[]), Ok(None));
    assert_eq!(mode("application/json", &[("id", "1")]), Ok(None));
    let versioned = mode("text/plain", &[("specversion", "1.0")]);
    assert_eq!(versioned, Ok(Some(ContentMode::Binary)));
    for other in ["application/cloudevents", "application/cloudevents+xml"] {
        let refused = mode(other, &[("specversion", "1.0")]);
        assert_eq!(refused, Err(ErrorKind::UnsupportedMediaType), "{other}");
    }
}

fn headers_of(attributes: &[(&str, &str)]) -> HeaderMap {
    let header = |(name, value): &(&str, &str)| {
        let name = HeaderName::try_from(format!("ce-{name}")).ok()?;
        Some((name, HeaderValue::from_bytes(value.as_bytes()).ok()?))
    };
    attributes.iter().filter_map(header).collect()
}

/// Texts near what a CloudEvent is.
fn near_json() -> impl Strategy<Value = String> {
    let name = prop_oneof![
        "id|source|type|specversion|time|data|data_base64|datacontenttype|subject",
        "[a-z0-9A-Z_-]{0,3}",
    ];
    let value = prop_oneof![
        "\"(1\\.0|a|/|text/plain|application/json|AQI=|\\\\u00e9|\\PC{0,4})\"",
        "null|true|-?[0-9]{1,11}|1\\.5|\\[1\\]|\\{\\}|\"|x",
    ];
    let member = (name, value).prop_map(|(name, value)| format!("\"{name}\":{value}"));
    prop::collection::vec(member, 0..8).prop_map(|members| {
        let of_all = "\"specversion\":\"1.0\",\"id\":\"1\",\"source\":\"/\",\"type\":\"t\"";
        format!(
            "{{{}}}",
            [&[of_all.to_owned()], &members[..]].concat().join(",")
        )
    })
}

proptest! {
    #![proptest_config(Config { failure_persistence: None, ..Config::default() })]

    #[test]
    fn whatever_comes_is_refused_or_leaves_as_one_cloud_event(json in near_json(), cut in any::<u8>()) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        let _guard = runtime.enter();
        let log = log();
        let cut = json.floor_char_boundary(json.len() - usize::from(cut) % (json.len() + 1) / 8);
        for text in [&json[..], &json[..cut]] {
            let parsed = structured::parse(text.as_bytes());
            if let Ok(event) = parsed.and_then(|event| event.check(&TopicRule::Fixed("a"), MOST)) {
                let shown = rendered(&log, event).to_string();
                let again = structured::parse(shown.as_bytes());
                let again = again.and_then(|event| event.check(&TopicRule::Fixed("a"), MOST));
                let again = again.unwrap_or_else(|e| panic!("{text} left as {shown}: {e}"));
                prop_assert_eq!(rendered(&log, again).to_string(), shown);
            }
        }
    }

    #[test]
    fn whatever_stands_in_headers_is_refused_or_leaves_as_one_cloud_event(
        attributes in prop::collection::vec(("[a-z0-9_-]{1,5}", "\\PC{0,6}|(%[0-9a-fC]{2}|\"|\\\\){0,4}"), 0..4),
        data in any::<Vec<u8>>(),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        let _guard = runtime.enter();
        let given = attributes.iter().map(|(name, value)| (&**name, &**value));
        let all = [("specversion", "1.0"), ("id", "1"), ("source", "/"), ("type", "t")];
        let headers = headers_of(&all.into_iter().chain(given).collect::<Vec<_>>());
        let parsed = binary::parse(&headers, &data);
        if let Ok(event) = parsed.and_then(|event| event.check(&TopicRule::Fixed("a"), MOST)) {
            let shown = rendered(&log(), event).to_string();
            prop_assert!(structured::parse(shown.as_bytes()).is_ok(), "{}", shown);
        }
    }
}
