//! Spans as messages of OTLP.
//!
//! Names of attributes are those of OpenTelemetry where it has one, else they begin with
//! `vidette.`.

use std::ops::Range;

use super::TraceContext;
use super::span::{Outcome, PublishTrace};
use proto::any_value::Value;
use proto::span::SpanKind;
use proto::status::StatusCode;
use proto::{
    AnyValue, ExportTraceServiceRequest, InstrumentationScope, KeyValue, Resource, ResourceSpans,
    ScopeSpans, Span, Status,
};

/// The generated messages, and a client of the service.
#[allow(
    missing_docs,
    unreachable_pub,
    clippy::enum_variant_names,
    clippy::pedantic
)]
pub(super) mod proto {
    include!(concat!(
        env!("OUT_DIR"),
        "/otlp/opentelemetry.proto.collector.trace.v1.rs"
    ));
}

/// Flags of a span: recorded, it is known whether its parent is another program's, and it is.
const RECORDED: u32 = 0x1;
const PARENT_IS_KNOWN: u32 = 0x100;
const PARENT_IS_REMOTE: u32 = 0x200;

const NAME: &str = env!("CARGO_PKG_NAME");
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// What all spans say of the gateway.
pub(super) fn resource(host: Option<String>) -> Resource {
    let host = host.map(|host| text("host.name", host));
    let own = [text("service.name", NAME), text("service.version", VERSION)];
    Resource {
        attributes: own.into_iter().chain(host).collect(),
    }
}

/// How many spans a request is.
pub(super) fn spans_of(trace: &PublishTrace) -> u64 {
    1 + u64::from(trace.append.is_some()) + u64::from(trace.sync.is_some())
}

pub(super) fn request(resource: &Resource, traces: &[PublishTrace]) -> ExportTraceServiceRequest {
    let scope = InstrumentationScope {
        name: NAME.to_owned(),
        version: VERSION.to_owned(),
    };
    ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans {
            resource: Some(resource.clone()),
            scope_spans: vec![ScopeSpans {
                scope: Some(scope),
                spans: traces.iter().flat_map(spans).collect(),
            }],
        }],
    }
}

/// The span of a request, and those below it.
fn spans(trace: &PublishTrace) -> impl Iterator<Item = Span> {
    let own = trace.context;
    let append = trace.append.as_ref();
    let append = append.map(|time| below(own, "append", time));
    let append_id = append.as_ref().map_or(own.span_id, span_id);
    let sync = trace.sync.as_ref().map(|time| {
        let of_append = TraceContext {
            span_id: append_id,
            ..own
        };
        below(of_append, "sync", time)
    });
    [Some(publish(trace)), append, sync].into_iter().flatten()
}

fn publish(trace: &PublishTrace) -> Span {
    let remote = trace.parent.map_or(0, |_| PARENT_IS_REMOTE);
    Span {
        trace_id: trace.context.trace_id.to_be_bytes().into(),
        span_id: trace.context.span_id.to_be_bytes().into(),
        parent_span_id: trace
            .parent
            .map(|parent| parent.span_id.to_be_bytes().into())
            .unwrap_or_default(),
        flags: RECORDED | PARENT_IS_KNOWN | remote,
        name: "publish".to_owned(),
        kind: SpanKind::Server.into(),
        start_time_unix_nano: trace.time.start,
        end_time_unix_nano: trace.time.end,
        attributes: attributes(trace),
        status: Some(status(trace.outcome)),
    }
}

/// A part of what the gateway does for a request.
fn below(parent: TraceContext, name: &str, time: &Range<u64>) -> Span {
    Span {
        trace_id: parent.trace_id.to_be_bytes().into(),
        span_id: fastrand::u64(1..).to_be_bytes().into(),
        parent_span_id: parent.span_id.to_be_bytes().into(),
        flags: RECORDED | PARENT_IS_KNOWN,
        name: name.to_owned(),
        kind: SpanKind::Internal.into(),
        start_time_unix_nano: time.start,
        end_time_unix_nano: time.end,
        attributes: Vec::new(),
        status: None,
    }
}

fn span_id(span: &Span) -> u64 {
    let bytes = <[u8; 8]>::try_from(&*span.span_id);
    u64::from_be_bytes(bytes.expect("made above of a number of eight bytes"))
}

fn attributes(trace: &PublishTrace) -> Vec<KeyValue> {
    let mut attributes = vec![
        text("messaging.system", NAME),
        text("messaging.operation.type", "send"),
        text("vidette.transport", trace.transport),
        text("vidette.engine", trace.engine),
        text("vidette.outcome", outcome(trace.outcome)),
        number("messaging.batch.message_count", trace.batch.events),
        number("vidette.topics", trace.batch.topics),
        number("vidette.data_bytes", trace.batch.bytes),
    ];
    if let Outcome::Published {
        last_vid,
        duplicates,
    } = trace.outcome
    {
        attributes.push(number("vidette.last_vid", last_vid));
        attributes.push(number("vidette.duplicates", duplicates));
        let is_duplicate = duplicates == trace.batch.events;
        attributes.push(attribute(
            "vidette.duplicate",
            Value::BoolValue(is_duplicate),
        ));
    }
    attributes
}

fn outcome(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Left => "left",
        Outcome::Published { .. } => "published",
        Outcome::Failed(error) => error,
    }
}

fn status(outcome: Outcome) -> Status {
    let is_error = matches!(outcome, Outcome::Failed(_));
    let code = if is_error {
        StatusCode::Error
    } else {
        StatusCode::Unset
    };
    Status {
        code: code.into(),
        message: String::new(),
    }
}

fn text(key: &str, text: impl Into<String>) -> KeyValue {
    attribute(key, Value::StringValue(text.into()))
}

fn number(key: &str, number: impl TryInto<i64>) -> KeyValue {
    attribute(key, Value::IntValue(number.try_into().unwrap_or(i64::MAX)))
}

fn attribute(key: &str, value: Value) -> KeyValue {
    KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue { value: Some(value) }),
    }
}
