//! A reader of Server-Sent Events. It is ready once it has the head of the answer.
//!
//! Invariant: a reader that may hang up counts complete events only, and comes back with the id of
//! the last one that it received, as a browser does. Events that were due while it was away are
//! checked like any others, but their latency is not counted.

use std::io::Write as _;

use super::ReaderPlan;
use super::chunks::Chunks;
use super::whole_events::{EventSplitter, id_of};
use super::wire::{Wire, WireContext};
use crate::address::AddressValues;
use crate::answer::{first_line, head_end, is_in_chunks, status};
use crate::limits;
use crate::markers::now_us;
use crate::tally::{ReceivedEvents, Tally};

pub(super) struct SseWire {
    /// Up to its empty line.
    request: String,
    topic: usize,
    head: Vec<u8>,
    is_reading: bool,
    has_read: bool,
    /// None where the body is the text itself.
    chunks: Option<Chunks>,
    events: ReceivedEvents,
    resuming: Option<Box<ResumingReader>>,
}

/// What a reader needs that may hang up.
#[derive(Default)]
struct ResumingReader {
    splitter: EventSplitter,
    last_event_id: String,
}

impl ResumingReader {
    fn take(
        &mut self,
        bytes: &[u8],
        events: &mut ReceivedEvents,
        tally: &mut Tally,
    ) -> Result<(), String> {
        self.splitter.feed(bytes, |event| {
            events.feed(event, tally);

            // Comments and heartbeats may have none, and leave the last one as it is.
            if let Some(id) = id_of(event) {
                id.clone_into(&mut self.last_event_id);
            }
        })
    }
}

impl SseWire {
    pub(super) fn new(plan: &ReaderPlan, reader: usize) -> Self {
        let topic = plan.topic_of(reader);
        SseWire {
            request: request(plan, topic),
            topic,
            head: Vec::new(),
            is_reading: false,
            has_read: false,
            chunks: None,
            events: ReceivedEvents::new(plan.publishers),
            resuming: (plan.churn > 0.0).then(Box::default),
        }
    }

    /// Takes the head of the answer. Returns the bytes that follow it.
    fn take_head<'a>(&mut self, bytes: &'a [u8]) -> Result<&'a [u8], String> {
        // The head may come in parts, and the last part may have events behind it.
        let before = self.head.len();
        self.head.extend_from_slice(bytes);
        let Some(end) = head_end(&self.head) else {
            self.check_head_length()?;
            return Ok(&[]);
        };

        // The first line says why a reader was refused.
        if status(&self.head) != Some(200) {
            return Err(first_line(&self.head));
        }
        self.chunks = is_in_chunks(&self.head).then(Chunks::default);
        self.start_reading();
        Ok(&bytes[end - before..])
    }

    fn check_head_length(&self) -> Result<(), String> {
        if self.head.len() > limits::MAX_HEAD_BYTES {
            return Err("a head without an end".to_owned());
        }
        Ok(())
    }

    fn start_reading(&mut self) {
        // The memory is not needed again, and there may be many readers.
        self.head = Vec::new();

        // After an absence, events that were due meanwhile are late because of the reader.
        if self.has_read {
            self.events.live_from_us = now_us();
        }
        (self.is_reading, self.has_read) = (true, true);
    }
}

fn request(plan: &ReaderPlan, topic: usize) -> String {
    let path = plan.address.path(AddressValues {
        run: plan.run,
        topic,
        cursor: &plan.cursor,
    });

    // Without its empty line, so that a Last-Event-ID can still be added.
    let (host, authorization) = (&plan.address.authority, plan.access.authorization_line());
    format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n{authorization}Accept: text/event-stream\r\n")
}

impl Wire for SseWire {
    fn begin(&mut self, out: &mut Vec<u8>) {
        let Some(resuming) = &self.resuming else {
            // Sent only once, so its memory is freed.
            let request = std::mem::take(&mut self.request);
            out.extend_from_slice(request.as_bytes());
            out.extend_from_slice(b"\r\n");
            return;
        };
        out.extend_from_slice(self.request.as_bytes());

        // Before its first event a reader has nothing but the cursor in the address.
        if !resuming.last_event_id.is_empty() {
            let _ = write!(out, "Last-Event-ID: {}\r\n", resuming.last_event_id);
        }
        out.extend_from_slice(b"\r\n");
    }

    fn take(&mut self, bytes: &[u8], context: &mut WireContext<'_>) -> Result<(), String> {
        let bytes = if self.is_reading {
            bytes
        } else {
            self.take_head(bytes)?
        };

        // Splitting costs more than scanning, so only those do it that need complete events.
        if let Some(resuming) = &mut self.resuming {
            return resuming.take(bytes, &mut self.events, context.tally);
        }
        let events = &mut self.events;
        let Some(chunks) = &mut self.chunks else {
            events.feed(bytes, context.tally);
            return Ok(());
        };
        chunks.feed(bytes, |text| events.feed(text, context.tally))?;

        // The connection stays open for another request, which nobody sends.
        if chunks.has_ended() {
            return Err("the server ended the stream".to_owned());
        }
        Ok(())
    }

    fn reading(&self) -> usize {
        usize::from(self.is_reading)
    }

    fn hang_up(&mut self) {
        // The rest of the old stream means nothing on the new one; the id stays.
        self.is_reading = false;
        self.head.clear();
        if let Some(resuming) = &mut self.resuming {
            resuming.splitter = EventSplitter::default();
        }
    }

    fn received(&self) -> Vec<(usize, u64)> {
        if self.has_read {
            vec![(self.topic, self.events.received)]
        } else {
            Vec::new()
        }
    }
}
