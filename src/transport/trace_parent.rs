//! Requests that publish, as parts of traces (W3C Trace Context; see [`crate::traces`]).
//!
//! A `traceparent` is kept as a header of the event and handed on with it, so that whoever reads
//! the event can go on with the trace. Invariants:
//! - a wrong one is passed over, and never a reason to refuse events;
//! - what an event says itself stays, and so does what its request says: whether the gateway sends
//!   spans changes nothing of them.

use axum::http::HeaderMap;

use super::problem::error_face;
use crate::bus::{NewBatch, Receipt};
use crate::error::{Error, Result};
use crate::event::NewEvent;
use crate::traces::{PublishSpan, TraceContext, Traces};

const TRACEPARENT: &str = "traceparent";

/// By what a request publishes, as its span says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PublishedBy {
    Http,
    Ndjson,
    Grpc,
    GrpcStream,
}

impl PublishedBy {
    fn name(self) -> &'static str {
        match self {
            PublishedBy::Http => "http",
            PublishedBy::Ndjson => "ndjson",
            PublishedBy::Grpc => "grpc",
            PublishedBy::GrpcStream => "grpc_stream",
        }
    }
}

/// A request that publishes one batch, as a part of a trace.
#[derive(Default)]
pub(crate) struct TracedRequest {
    /// The `traceparent` of the request, where it is valid.
    parent: Option<String>,
    span: PublishSpan,
}

impl TracedRequest {
    /// Of a request over HTTP, or of a call's metadata.
    pub(super) fn begin(traces: &Traces, headers: &HeaderMap, by: PublishedBy) -> Self {
        let named = named_by(headers);
        TracedRequest {
            parent: named.map(|(text, _)| text.to_owned()),
            span: traces.begin(named.map(|(_, context)| context), by.name()),
        }
    }

    /// Its events, as the bus is to take them. They keep the trace, unless they say another one
    /// themselves.
    pub(super) fn batch(&mut self, mut events: Vec<NewEvent>) -> NewBatch {
        // A trace that begins here is kept as well: else its readers could not go on with it.
        let begun = self.span.begun_trace().map(|trace| trace.to_string());
        if let Some(parent) = self.parent.as_ref().or(begun.as_ref()) {
            for event in &mut events {
                event.add_header(TRACEPARENT, parent);
            }
        }
        self.span.batch(events)
    }

    /// What its batch was answered.
    pub(super) fn published(&mut self, receipts: &[Receipt]) {
        self.span.published(receipts);
    }

    /// Ends with the answer, and gives that back.
    pub(super) fn end<T>(mut self, answer: Result<T>) -> Result<T> {
        answer.inspect_err(|error| self.failed(error))
    }

    /// The same with what its batch was answered.
    pub(super) fn end_with(mut self, answer: Result<Vec<Receipt>>) -> Result<Vec<Receipt>> {
        let answer = answer.inspect(|receipts| self.published(receipts));
        self.end(answer)
    }

    fn failed(&mut self, error: &Error) {
        self.span.failed(error_face(error.kind()).slug);
    }
}

/// A stream of batches, each of which is a part of a trace: of the one that its first event says,
/// else of that of the stream's request.
#[derive(Clone)]
pub(crate) struct TracedStream {
    traces: Traces,
    of_request: Option<TraceContext>,
    by: PublishedBy,
}

impl TracedStream {
    pub(super) fn new(traces: &Traces, headers: &HeaderMap, by: PublishedBy) -> Self {
        TracedStream {
            traces: traces.clone(),
            of_request: named_by(headers).map(|(_, context)| context),
            by,
        }
    }

    /// Of a stream that nobody traces.
    #[cfg(fuzzing)]
    pub(crate) fn off() -> Self {
        Self::new(&Traces::default(), &HeaderMap::new(), PublishedBy::Ndjson)
    }

    /// Begins a batch.
    pub(super) fn begin(&self, events: &[NewEvent]) -> TracedRequest {
        if self.traces.are_off() {
            return TracedRequest::default();
        }
        let own = events.first().and_then(named_in);
        TracedRequest {
            parent: None,
            span: self.traces.begin(own.or(self.of_request), self.by.name()),
        }
    }
}

fn named_by(headers: &HeaderMap) -> Option<(&str, TraceContext)> {
    let text = headers.get(TRACEPARENT)?.to_str().ok()?;
    Some((text, TraceContext::parse(text)?))
}

fn named_in(event: &NewEvent) -> Option<TraceContext> {
    let is_it = |(name, _): &&(String, String)| name.eq_ignore_ascii_case(TRACEPARENT);
    let (_, text) = event.headers.iter().find(is_it)?;
    TraceContext::parse(text)
}
