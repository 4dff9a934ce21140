//! What the fuzz targets of `fuzz/` check: input in, the property that broke out.
//!
//! Invariants:
//! - built only with `--cfg fuzzing`, which cargo-fuzz sets;
//! - what is right is said by [`oracle`], which shares no code with what it checks.

mod oracle;

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::body::Body;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http_body_util::BodyExt as _;
use prost::Message as _;
use serde_json::value::RawValue;
use tokio::runtime::Runtime;

use crate::bus::{Bus, BusOptions};
use crate::cursor::{Cursor, Epoch, Start};
use crate::engine::{MemoryEngine, Retention};
use crate::event::{DataForm, Event, EventParts, NewEvent};
use crate::limits;
use crate::topic::{Filter, Pattern, Topic};
use crate::transport::grpc::{self, client_proto, proto};
use crate::transport::request::{HttpSubscribe, Params, SUBSCRIBE_PARAMS};
use crate::transport::sse::{Format, event_block, position_block};
use crate::transport::{event_json, legacy, ndjson, publish as publishing};

/// Nothing, or the property that broke.
pub type Checked = Result<(), String>;

/// A JSON object's fields as they were written.
type Fields = BTreeMap<String, Box<RawValue>>;

const MAX_EVENT_BYTES: usize = 2048;
const VID: u64 = 1042;

macro_rules! hold {
    ($holds:expr, $($broken:tt)+) => {
        if !$holds {
            return Err(format!($($broken)+));
        }
    };
}

mod server;
pub use server::head;
/// An empty bus in memory. Its tasks run only while the runtime does.
fn bus() -> (Runtime, Bus) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .expect("a runtime");
    let minute = Duration::from_secs(60);
    let retention = Retention {
        max_age: minute,
        max_events: 1000,
        max_bytes: 1 << 20,
        dedupe_window: minute,
    };
    let options = BusOptions {
        heartbeat: minute,
        max_subscribers: 1,
        max_event_bytes: MAX_EVENT_BYTES,
        retention,
    };
    let bus = {
        let _guard = runtime.enter();
        Bus::start(Arc::new(MemoryEngine::new(minute)), options)
    };
    (runtime, bus)
}

/// A bus for what asks it only for its epoch and options.
fn idle_bus() -> &'static Bus {
    static BUS: OnceLock<(Runtime, Bus)> = OnceLock::new();
    &BUS.get_or_init(bus).1
}

/// What is read is written back the same, and read exactly when contract §3 allows it.
pub fn cursor(text: &str) -> Checked {
    let (read, expected) = (text.parse::<Cursor>(), oracle::cursor(text));
    let Ok(read) = read else {
        hold!(expected.is_none(), "the cursor {text:?} was refused");
        return Ok(());
    };
    hold!(
        Some((read.vid, read.epoch.as_ref().map(Epoch::as_str))) == expected,
        "{text:?} was read as {read:?}"
    );
    hold!(
        read.to_string()
            .parse::<Cursor>()
            .is_ok_and(|again| again == read),
        "{read:?} does not read back"
    );
    Ok(())
}

/// A topic is taken exactly when contract §1 allows it, and kept as it is; as a filter it then
/// takes in itself.
pub fn topic(text: &str) -> Checked {
    let expected =
        oracle::topic(text) && !text.contains(['*', '>']) && !text.starts_with("vidette.");
    let Ok(topic) = Topic::for_publisher(text) else {
        hold!(!expected, "the topic {text:?} was refused");
        return Ok(());
    };
    hold!(expected, "the topic {text:?} was taken");
    hold!(
        topic.as_str() == text && Filter::all().matches(&topic),
        "{text:?} became {topic:?}"
    );
    hold!(
        Pattern::parse(text).is_ok_and(|p| p.exact() == Some(text) && p.matches(text)),
        "{text:?} is not itself"
    );
    Ok(())
}

/// The first line is a topic, each further one a pattern.
pub fn filter(text: &str) -> Checked {
    let mut lines = text.split('\n');
    let topic = lines
        .next()
        .filter(|t| oracle::topic(t) && !t.contains(['*', '>']))
        .unwrap_or("door.3.opened");
    let patterns: Vec<&str> = lines.collect();
    for text in &patterns {
        let Ok(pattern) = Pattern::parse(text) else {
            hold!(!oracle::pattern(text), "the pattern {text:?} was refused");
            continue;
        };
        hold!(oracle::pattern(text), "the pattern {text:?} was taken");
        let matches = pattern.matches(topic);
        hold!(
            matches == oracle::matches(text, topic),
            "{text:?} matches {topic:?}: {matches}"
        );
        let prefix = pattern.literal_prefix();
        hold!(
            text.starts_with(prefix),
            "{prefix:?} is no prefix of {text:?}"
        );
        hold!(
            !matches || topic.starts_with(prefix),
            "{text:?} matches {topic:?}, which does not begin with {prefix:?}"
        );
    }
    let Ok(filter) = Filter::parse(patterns.iter().copied()) else {
        return Ok(());
    };
    let expected = if patterns.is_empty() {
        !topic.starts_with("vidette.")
    } else {
        patterns.iter().any(|p| oracle::matches(p, topic))
    };
    hold!(
        filter.matches(&Topic::trusted(topic)) == expected,
        "{patterns:?} on {topic:?} is not {expected}"
    );
    Ok(())
}

fn fields(json: &[u8]) -> Result<Fields, String> {
    serde_json::from_slice(json)
        .map_err(|e| format!("{:?} is no JSON object: {e}", String::from_utf8_lossy(json)))
}

fn raw(value: &impl serde::Serialize) -> Box<RawValue> {
    serde_json::value::to_raw_value(value).expect("text is JSON")
}

/// What readers get, published again, is the same event. The content type is added where its form
/// stands for it.
fn reads_back(event: &NewEvent) -> Checked {
    let mut object = fields(event_json(&Event::new(VID, 0, event.clone())))?;
    hold!(
        object
            .remove("vid")
            .is_some_and(|v| v.get() == VID.to_string()),
        "no vid in {object:?}"
    );
    hold!(object.remove("time").is_some(), "no time in {object:?}");
    object.insert("content_type".into(), raw(&event.content_type.as_str()));
    let json = serde_json::to_vec(&object).expect("an object");
    let again = publishing::parse_event(&json, MAX_EVENT_BYTES)
        .map_err(|e| format!("{event:?} was refused: {e}"))?;
    let mut expected = event.clone();
    if event.content_type.form() == DataForm::Json {
        expected.data = event.data.slice_ref(event.data.trim_ascii());
    }
    hold!(again == expected, "{expected:?} came back as {again:?}");
    Ok(())
}

/// A publish body, as one object, as a batch and as NDJSON.
pub fn publish(body: &[u8]) -> Checked {
    if let Ok(event) = publishing::parse_event(body, MAX_EVENT_BYTES) {
        let written = fields(body)?;
        if let (DataForm::Json, Some(data)) = (event.content_type.form(), written.get("data")) {
            hold!(event.data == data.get(), "{data} became {:?}", event.data);
        }
        reads_back(&event)?;
    }
    let (runtime, bus) = bus();
    runtime.block_on(async {
        publish_batch(&bus, body).await?;
        publish_lines(bus, body).await
    })
}

async fn publish_batch(bus: &Bus, body: &[u8]) -> Checked {
    let elements: Vec<Box<RawValue>> = serde_json::from_slice(body).unwrap_or_default();
    let is_event =
        |e: &RawValue| publishing::parse_event(e.get().as_bytes(), MAX_EVENT_BYTES).is_ok();
    let expected = !elements.is_empty() && elements.iter().all(|e| is_event(e));
    let Ok(answer) = publishing::publish_batch(bus, body, MAX_EVENT_BYTES).await else {
        hold!(!expected, "the batch was refused");
        return Ok(());
    };
    hold!(expected, "the batch was taken");
    let answer = answer
        .into_body()
        .collect()
        .await
        .map_err(|e| e.to_string())?
        .to_bytes();
    let events: Vec<Fields> =
        serde_json::from_str(fields(&answer)?["events"].get()).map_err(|e| e.to_string())?;
    hold!(
        events.len() == elements.len(),
        "{} events were answered with {}",
        elements.len(),
        events.len()
    );
    Ok(())
}

/// The number of each line that has to be answered, and whether its event is taken.
fn lines_oracle(body: &[u8]) -> Vec<(usize, bool)> {
    let mut answers = Vec::new();
    for (index, line) in body.split(|b| *b == b'\n').enumerate() {
        match std::str::from_utf8(line) {
            Ok(text) if text.trim().is_empty() => {}
            Ok(text) => answers.push((
                index + 1,
                publishing::parse_event(text.as_bytes(), MAX_EVENT_BYTES).is_ok(),
            )),
            Err(_) => {
                answers.push((index + 1, false));
                break; // what is no text ends the stream
            }
        }
    }
    answers
}

async fn publish_lines(bus: Bus, body: &[u8]) -> Checked {
    let answer = ndjson::publish(bus, Body::from(body.to_vec()))
        .into_body()
        .collect()
        .await;
    let answer = answer.map_err(|e| e.to_string())?.to_bytes();
    let answers = answer
        .split_inclusive(|b| *b == b'\n')
        .map(fields)
        .collect::<Result<Vec<_>, _>>()?;
    let expected = lines_oracle(body);
    hold!(
        answers.len() == expected.len(),
        "{} answers where {expected:?} were due",
        answers.len()
    );
    for (answer, (number, is_taken)) in answers.iter().zip(expected) {
        let is_numbered = is_taken
            || answer
                .get("line")
                .is_some_and(|n| n.get() == number.to_string());
        hold!(
            answer.contains_key("vid") == is_taken && is_numbered,
            "line {number} was answered {answer:?}"
        );
    }
    Ok(())
}

/// A query string, and on a second line the `Last-Event-ID`.
pub fn query(text: &str) -> Checked {
    let (query, last_event_id) = text
        .split_once('\n')
        .map_or((text, None), |(query, id)| (query, Some(id)));
    let (Ok(mut params), Some(pairs)) = (Params::parse(Some(query), &[]), oracle::pairs(query))
    else {
        hold!(
            Params::parse(Some(query), &[]).is_err() && oracle::pairs(query).is_none(),
            "the query {query:?}"
        );
        return Ok(());
    };
    let all = |name: &str| {
        pairs
            .iter()
            .filter(|(n, _)| n == name)
            .map(|(_, v)| v.clone())
            .collect::<Vec<_>>()
    };
    let one = |name: &str| all(name).pop().filter(|v| !v.is_empty());
    let Ok(request) = HttpSubscribe::take(&mut params, last_event_id) else {
        return Ok(());
    };
    let known: Vec<&str> = SUBSCRIBE_PARAMS.split(", ").chain(["_"]).collect();
    let is_known = pairs.iter().all(|(name, _)| known.contains(&name.as_str()));
    hold!(
        params.finish("").is_ok() == is_known,
        "unknown parameters in {pairs:?}"
    );
    for name in known.iter().filter(|name| !matches!(**name, "topic" | "_")) {
        hold!(
            all(name).len() <= 1,
            "{name} was taken more than once from {pairs:?}"
        );
    }
    let (after, since, snapshot) = (one("after"), one("since"), one("snapshot"));
    start_fits(
        &request.subscribe.start,
        last_event_id.or(after.as_deref()),
        since.as_deref(),
    )?;
    let given = [
        after.is_some(),
        since.is_some(),
        snapshot.is_some_and(|s| s == "true" || s == "1"),
    ];
    hold!(
        given.iter().filter(|g| **g).count() <= 1,
        "more than one start was taken from {pairs:?}"
    );
    let limit = one("limit")
        .map(|text| text.parse::<u64>().map_err(|e| e.to_string()))
        .transpose()?;
    hold!(
        request.subscribe.limit.map(u64::from) == limit,
        "the limit of {pairs:?}"
    );
    hold!(
        limit.is_none_or(|l| (1..=u64::from(limits::MAX_LIMIT)).contains(&l)),
        "limit {limit:?} was taken"
    );
    hold!(
        request.wait.is_none_or(|wait| wait.as_secs_f64() <= 120.0),
        "wait {:?} was taken",
        request.wait
    );
    hold!(
        request.wait.is_some() == one("wait").is_some(),
        "the wait of {pairs:?}"
    );
    filter_fits(&request.subscribe.filter, &all("topic"))
}

/// Is this the start that the texts mean (contract §3)?
fn start_fits(start: &Start, after: Option<&str>, since: Option<&str>) -> Checked {
    let fits = match (after, start) {
        (Some("latest"), start) => *start == Start::Latest,
        (Some("earliest"), start) => *start == Start::Earliest,
        (Some(text), Start::Earliest) => oracle::cursor(text) == Some((0, None)),
        (Some(text), Start::After(cursor)) => {
            oracle::cursor(text) == Some((cursor.vid, cursor.epoch.as_ref().map(Epoch::as_str)))
        }
        (None, Start::Since(_)) => since.is_some(),
        (None, Start::Latest | Start::Snapshot) => since.is_none(),
        _ => false,
    };
    hold!(
        fits,
        "after={after:?} since={since:?} was read as {start:?}"
    );
    Ok(())
}

fn filter_fits(filter: &Filter, topics: &[String]) -> Checked {
    let patterns: Vec<&str> = filter.patterns().iter().map(Pattern::as_str).collect();
    let expected: Vec<&str> = if topics.is_empty() {
        vec![">"]
    } else {
        topics.iter().map(String::as_str).collect()
    };
    hold!(
        patterns.len() <= 100 && patterns.iter().all(|p| oracle::pattern(p)),
        "{patterns:?} was taken"
    );
    let is_same = expected.iter().all(|t| patterns.contains(t))
        && patterns.iter().all(|p| expected.contains(p));
    hold!(is_same, "{expected:?} was read as {patterns:?}");
    Ok(())
}

/// An event whose first lines are these texts and whose data is the rest, when it can be one.
fn event_of<const N: usize>(input: &[u8]) -> Option<([&str; N], Bytes)> {
    let (mut texts, mut rest) = ([""; N], input);
    for text in &mut texts {
        let end = rest.iter().position(|b| *b == b'\n')?;
        *text = std::str::from_utf8(&rest[..end]).ok()?;
        rest = &rest[end + 1..];
    }
    Some((texts, Bytes::copy_from_slice(rest)))
}

/// An event through the SSE writer: lines for type, id and content type, then data.
pub fn sse(input: &[u8]) -> Checked {
    let Some(([kind, id, content_type], data)) = event_of(input) else {
        return Ok(());
    };
    let (kind, id, content_type) = (Some(kind), Some(id), Some(content_type));
    let parts = EventParts {
        topic: "door.3",
        kind,
        id,
        content_type,
        headers: Vec::new(),
        data,
    };
    let Ok(sent) = NewEvent::check(parts, MAX_EVENT_BYTES) else {
        return Ok(());
    };
    reads_back(&sent)?;
    let (bus, event) = (idle_bus(), Arc::new(Event::new(VID, 0, sent.clone())));
    let block = |format| event_block(bus, &event, format).clone();
    let stream = [
        block(Format::Object),
        position_block(bus, VID + 1),
        block(Format::Raw),
    ];
    let stream =
        String::from_utf8(stream.concat()).map_err(|e| format!("an event stream is UTF-8: {e}"))?;

    let with_lf = |text: &str| text.replace("\r\n", "\n").replace('\r', "\n");
    let is_binary = sent.content_type.form() == DataForm::Binary;
    let shown = if is_binary {
        STANDARD.encode(&sent.data)
    } else {
        String::from_utf8_lossy(&sent.data).into()
    };
    let object = String::from_utf8_lossy(event_json(&event)).into_owned();
    let kind = sent.kind.as_deref().unwrap_or_default();
    let cursor = |vid| Some(bus.cursor(vid).to_string());
    let expected = [
        (kind.into(), cursor(VID), Some(with_lf(&object))),
        (String::new(), cursor(VID + 1), None),
        (kind.into(), cursor(VID), Some(with_lf(&shown))),
    ];
    let blocks = oracle::sse(&stream);
    hold!(blocks == expected, "{expected:?} arrived as {blocks:?}");

    let arrived = fields(expected[0].2.as_deref().unwrap_or_default().as_bytes())?;
    let (_, value) = shown_data(&sent);
    let data = arrived
        .get("data")
        .or(arrived.get("data_base64"))
        .map(|d| d.get().to_owned());
    hold!(data == Some(with_lf(&value)), "{value} arrived as {data:?}");
    let texts = ["type", "id"].map(|name| {
        arrived
            .get(name)
            .and_then(|v| serde_json::from_str::<String>(v.get()).ok())
    });
    let sent_texts = [&sent.kind, &sent.id].map(|text| text.as_deref().map(str::to_owned));
    hold!(texts == sent_texts, "{sent_texts:?} arrived as {texts:?}");
    Ok(())
}

/// The name and the text of the data in the JSON object, without white space around it.
fn shown_data(sent: &NewEvent) -> (&'static str, String) {
    let text = String::from_utf8_lossy(&sent.data);
    match sent.content_type.form() {
        DataForm::Json => (
            "data",
            String::from_utf8_lossy(sent.data.trim_ascii()).into_owned(),
        ),
        DataForm::Text => ("data", raw(&text).get().to_owned()),
        DataForm::Binary => (
            "data_base64",
            raw(&STANDARD.encode(&sent.data)).get().to_owned(),
        ),
    }
}

/// A `PublishRequest`: what is taken keeps every field, also when a reader decodes it again.
pub fn grpc_publish(message: &[u8]) -> Checked {
    let Ok(request) = proto::PublishRequest::decode(message) else {
        return Ok(());
    };
    let Ok(events) = grpc::batch(idle_bus(), request.clone()) else {
        return Ok(());
    };
    hold!(
        events.len() == request.events.len(),
        "{request:?} became {events:?}"
    );
    for (sent, taken) in request.events.into_iter().zip(events) {
        reads_back(&taken)?;
        let encoded = grpc::encode_event(&Event::new(VID, 1500, taken.clone()));
        let read = client_proto::Event::decode(&*encoded).map_err(|e| format!("{taken:?}: {e}"))?;
        let is_typed =
            sent.content_type.trim().is_empty() || read.content_type == sent.content_type.trim();
        hold!(
            is_typed,
            "the content type {:?} became {:?}",
            sent.content_type,
            read.content_type
        );
        let expected = client_proto::Event {
            vid: VID,
            topic: sent.topic,
            time: Some(prost_types::Timestamp {
                seconds: 1,
                nanos: 500_000_000,
            }),
            r#type: sent.r#type,
            id: sent.id,
            content_type: read.content_type.clone(),
            data: sent.data,
            headers: sent.headers,
        };
        hold!(read == expected, "{expected:?} was read as {read:?}");
    }
    Ok(())
}

/// A `SubscribeRequest`: what is taken means what contract §3 says.
pub fn grpc_subscribe(message: &[u8]) -> Checked {
    let Ok(request) = proto::SubscribeRequest::decode(message) else {
        return Ok(());
    };
    let Ok(taken) = grpc::subscribe_request(&request) else {
        return Ok(());
    };
    let given = |text: &'static str, value: &str| (!value.is_empty()).then_some(text);
    let starts = [
        given("after", &request.after),
        given("since", &request.since),
        request.snapshot.then_some("snapshot"),
    ];
    hold!(
        starts.iter().flatten().count() <= 1,
        "{starts:?} were taken together"
    );
    let text = |value: &'_ String| (!value.is_empty()).then(|| value.clone());
    start_fits(
        &taken.start,
        text(&request.after).as_deref(),
        text(&request.since).as_deref(),
    )?;
    hold!(
        request.snapshot == (taken.start == Start::Snapshot),
        "{request:?} was read as {:?}",
        taken.start
    );
    hold!(
        (0..=2).contains(&request.on_gap),
        "on_gap = {} was taken",
        request.on_gap
    );
    hold!(
        taken.limit.unwrap_or(0) == request.limit && request.limit <= limits::MAX_LIMIT,
        "{request:?}: {taken:?}"
    );
    filter_fits(&taken.filter, &request.topic)
}

/// The legacy page's flat object: lines for callback and content type, then data.
pub fn legacy(input: &[u8]) -> Checked {
    let Some(([callback, content_type], data)) = event_of(input) else {
        return Ok(());
    };
    let is_name = |c: char| c.is_ascii_alphanumeric() || "_$.".contains(c);
    if legacy::check_callback(callback.into(), true).is_ok() {
        hold!(
            callback.chars().all(is_name),
            "the callback {callback:?} was taken"
        );
    }
    let parts = EventParts {
        topic: "door.3",
        content_type: Some(content_type),
        data,
        ..EventParts::default()
    };
    let Ok(sent) = NewEvent::check(parts, MAX_EVENT_BYTES) else {
        return Ok(());
    };
    let flat = String::from_utf8(legacy::flat_json(&Event::new(VID, 0, sent.clone())))
        .map_err(|e| e.to_string())?;
    hold!(
        !flat.contains(['\u{2028}', '\u{2029}']),
        "{flat:?} has a line separator"
    );
    let is_object =
        sent.content_type.form() == DataForm::Json && sent.data.trim_ascii().starts_with(b"{");
    let (name, value) = shown_data(&sent);
    let shown = if is_object {
        value
    } else {
        format!("{{\"{name}\":{value}}}")
    };
    let mut expected = named_fields(&shown)?;
    expected.insert("vid".into(), VID.to_string());
    let flat = named_fields(&flat)?;
    hold!(flat == expected, "{expected:?} was written as {flat:?}");
    Ok(())
}

/// The fields of an object as a page sees them: of those of one name the last, line separators as
/// escapes. A name that is no text in Unicode stays as it was written.
fn named_fields(json: &str) -> Result<BTreeMap<String, String>, String> {
    #[derive(serde::Deserialize, PartialEq, Eq, PartialOrd, Ord)]
    #[serde(from = "Box<RawValue>")]
    struct Name(String);

    impl From<Box<RawValue>> for Name {
        fn from(name: Box<RawValue>) -> Self {
            Name(serde_json::from_str(name.get()).unwrap_or_else(|_| name.get().to_owned()))
        }
    }

    let escaped = |text: &str| {
        text.replace('\u{2028}', "\\u2028")
            .replace('\u{2029}', "\\u2029")
    };
    let fields: BTreeMap<Name, Box<RawValue>> =
        serde_json::from_str(json).map_err(|e| format!("{json:?}: {e}"))?;
    Ok(fields
        .into_iter()
        .map(|(Name(name), value)| (name, escaped(value.get())))
        .collect())
}
