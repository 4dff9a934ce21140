//! One subscription, read only as far as the kit wants it.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures_util::StreamExt as _;
use serde_json::{Value, json};
use vidette::client::{
    ClientError, ClientErrorKind, EventData, GapPolicy, GapReport, ReadItem, ReadOptions, Reader,
    ReaderActivity, ReaderStatus, ReceivedEvent, Transport,
};

use crate::{say, say_wait};

type Item = Option<Result<ReadItem, ClientError>>;

/// A subscription, and how much of it is wanted.
pub(crate) struct Reading {
    /// None once it has ended.
    reader: Option<Reader>,
    last_status: ReaderStatus,
    wanted: u64,
    /// The next event is to be asked for, although no more are wanted yet.
    asks_ahead: bool,
    /// That event.
    kept: Option<ReceivedEvent>,
}

/// The next item, once there is a subscription from which one is wanted.
pub(crate) async fn next(reading: &mut Option<Reading>) -> Item {
    match reading {
        Some(Reading {
            reader: Some(reader),
            wanted,
            asks_ahead,
            ..
        }) if *wanted > 0 || *asks_ahead => reader.next().await,
        _ => std::future::pending().await,
    }
}

impl Reading {
    pub(crate) fn new(reader: Reader) -> Self {
        Reading {
            last_status: reader.status(),
            reader: Some(reader),
            wanted: 0,
            asks_ahead: false,
            kept: None,
        }
    }

    /// So many events more; without a number, until the end.
    pub(crate) fn want(&mut self, count: Option<u64>) {
        self.wanted = self.wanted.saturating_add(count.unwrap_or(u64::MAX));
        if let Some(event) = self.kept.take() {
            self.hand_on(event);
        }
    }

    /// The last event is finished.
    pub(crate) fn ask_ahead(&mut self) {
        self.asks_ahead = self.kept.is_none();
    }

    pub(crate) fn take_in(&mut self, item: Item) {
        match item {
            Some(Ok(ReadItem::Event(event))) => self.hand_on(event),
            Some(Ok(ReadItem::Gap(gap))) => say(&gap_line(&gap)),
            Some(Ok(ReadItem::CaughtUp(cursor))) => {
                say(&json!({"say": "caught_up", "cursor": cursor.to_string()}));
            }
            Some(Ok(ReadItem::Interrupted(why))) => say_wait(why.wait, "retry"),
            Some(Ok(_)) => {}
            Some(Err(error)) => {
                say(&error_line(&error));
                self.close();
            }
            None => self.close(),
        }
    }

    fn hand_on(&mut self, event: ReceivedEvent) {
        self.asks_ahead = false;
        if self.wanted == 0 {
            self.kept = Some(event);
            return;
        }
        self.wanted = self.wanted.saturating_sub(1);
        say(&event_line(&event));
    }

    /// Ends it, once.
    pub(crate) fn close(&mut self) {
        if let Some(reader) = self.reader.take() {
            self.last_status = reader.status();
            self.last_status.activity = ReaderActivity::Ended;
            say(&json!({"say": "ended"}));
        }
    }

    pub(crate) fn state(&self) -> Value {
        let status = self.reader.as_ref().map(Reader::status);
        let status = status.as_ref().unwrap_or(&self.last_status);
        let state = match status.activity {
            ReaderActivity::Connecting => "connecting",
            ReaderActivity::CatchingUp => "catching-up",
            ReaderActivity::Live => "live",
            ReaderActivity::Waiting => "waiting",
            _ => "closed",
        };
        let transport = match status.transport {
            Transport::LongPoll => "poll",
            Transport::Grpc => "grpc",
            _ => "sse",
        };
        json!({
            "say": "state", "state": state, "transport": transport,
            "cursor": status.cursor.as_ref().map(ToString::to_string),
            "duplicates": status.duplicates, "gaps": status.gaps, "reconnects": status.reconnects,
        })
    }
}

/// What a `subscribe` asks for.
pub(crate) fn options(command: &Value) -> ReadOptions {
    let text = |name: &str| command[name].as_str();
    let topics = command["topic"].as_array().into_iter().flatten();
    let mut options = ReadOptions::new().topics(topics.filter_map(Value::as_str));

    if let Some(cursor) = text("after") {
        options = options.after(cursor);
    }
    if let Some(time) = text("since") {
        options = options.since(time);
    }
    if command["snapshot"] == true {
        options = options.snapshot();
    }
    if let Some(again_ms) = command["sse_again_ms"].as_u64() {
        options = options.stream_again_after(Duration::from_millis(again_ms));
    }
    if let Some(bytes) = command["max_event_bytes"].as_u64() {
        options = options.max_event_bytes(usize::try_from(bytes).unwrap_or(usize::MAX));
    }
    let transport = match text("transport") {
        Some("sse") => Transport::Sse,
        Some("poll") => Transport::LongPoll,
        _ => Transport::Auto,
    };
    options.via(transport).on_gap(match text("on_gap") {
        Some("fail") => GapPolicy::Fail,
        Some("snapshot") => GapPolicy::Snapshot,
        _ => GapPolicy::Continue,
    })
}

fn event_line(event: &ReceivedEvent) -> Value {
    let mut line = json!({
        "say": "event", "vid": event.vid, "cursor": event.cursor.to_string(), "topic": event.topic,
    });
    if let Some(kind) = &event.kind {
        line["type"] = json!(kind);
    }
    if let Some(id) = &event.id {
        line["id"] = json!(id);
    }
    match &event.data {
        EventData::Json(text) => line["raw"] = json!(text.get()),
        EventData::Binary(bytes) => line["base64"] = json!(STANDARD.encode(bytes)),
    }
    line
}

fn gap_line(gap: &GapReport) -> Value {
    json!({
        "say": "gap", "reason": gap.reason, "requested": gap.requested,
        "first": gap.first, "last": gap.last, "epoch": gap.epoch,
    })
}

fn error_line(error: &ClientError) -> Value {
    let message = error.to_string();
    let kind = match (error.kind(), error.status()) {
        (ClientErrorKind::Gap, _) => "gap",
        (ClientErrorKind::Protocol, _) => "protocol",
        (ClientErrorKind::TooLarge, _) => "too_large",
        (_, Some(_)) => "status",
        _ => "other",
    };
    json!({"say": "error", "kind": kind, "status": error.status(), "message": message})
}
