//! A reader of Server-Sent Events. It is ready once it has its head.
//!
//! Invariant: one that may hang up counts whole events only, and comes back with the id of the last
//! one that it had, as a browser does. What was due while it was away is checked like any other
//! event, and its latency is not counted.

use std::io::Write as _;

use super::events::{Events, id_of};
use super::{Plan, Wire, With};
use crate::address::Fill;
use crate::answer::{first_line, head_end, status};
use crate::limits;
use crate::markers::now_us;
use crate::tally::Seen;

const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

pub(crate) struct Sse {
    /// Up to its empty line.
    request: String,
    topic: usize,
    head: Vec<u8>,
    is_reading: bool,
    has_read: bool,
    seen: Seen,
    resuming: Option<Box<Resuming>>,
}

/// What a reader needs that may hang up.
#[derive(Default)]
struct Resuming {
    events: Events,
    last_event_id: String,
}

impl Sse {
    pub(crate) fn new(plan: &Plan, reader: usize) -> Self {
        let topic = plan.first_topic + reader % plan.topics;
        let path = plan.address.path(Fill {
            run: plan.run,
            topic,
            cursor: &plan.cursor,
        });
        Sse {
            request: format!(
                "GET {path} HTTP/1.1\r\nHost: {}\r\nAccept: text/event-stream\r\n",
                plan.address.authority
            ),
            topic,
            head: Vec::new(),
            is_reading: false,
            has_read: false,
            seen: Seen::new(plan.publishers),
            resuming: (plan.churn > 0.0).then(Box::default),
        }
    }

    /// Gives what of the bytes comes after the head.
    fn take_head<'a>(&mut self, bytes: &'a [u8]) -> Result<&'a [u8], String> {
        let before = self.head.len();
        self.head.extend_from_slice(bytes);
        let Some(end) = head_end(&self.head) else {
            let is_endless = self.head.len() > limits::MAX_HEAD_BYTES;
            return if is_endless {
                Err("a head without an end".to_owned())
            } else {
                Ok(&[])
            };
        };
        if status(&self.head) != Some(200) {
            return Err(first_line(&self.head));
        }
        self.head = Vec::new();
        if self.has_read {
            self.seen.live_from_us = now_us();
        }
        (self.is_reading, self.has_read) = (true, true);
        Ok(&bytes[end - before..])
    }
}

impl Wire for Sse {
    fn begin(&mut self, out: &mut Vec<u8>) {
        match &self.resuming {
            None => out.extend_from_slice(std::mem::take(&mut self.request).as_bytes()),
            Some(resuming) => {
                out.extend_from_slice(self.request.as_bytes());
                if !resuming.last_event_id.is_empty() {
                    let _ = write!(out, "Last-Event-ID: {}\r\n", resuming.last_event_id);
                }
            }
        }
        out.extend_from_slice(b"\r\n");
    }

    fn take(&mut self, bytes: &[u8], with: &mut With<'_>) -> Result<(), String> {
        let bytes = if self.is_reading {
            bytes
        } else {
            self.take_head(bytes)?
        };
        let Sse { seen, resuming, .. } = self;
        if let Some(Resuming {
            events,
            last_event_id,
        }) = resuming.as_deref_mut()
        {
            return events.feed(bytes, |event| {
                seen.feed(event, with.tally);
                if let Some(id) = id_of(event) {
                    id.clone_into(last_event_id);
                }
            });
        }
        seen.feed(bytes, with.tally);
        // The connection goes on, for another request that nobody makes.
        let is_end = bytes == LAST_CHUNK || bytes.ends_with(b"\r\n0\r\n\r\n");
        if is_end {
            Err("the server ended the stream".to_owned())
        } else {
            Ok(())
        }
    }

    fn reading(&self) -> usize {
        usize::from(self.is_reading)
    }

    fn hang_up(&mut self) {
        self.is_reading = false;
        self.head.clear();
        if let Some(resuming) = &mut self.resuming {
            resuming.events = Events::default();
        }
    }

    fn received(&self) -> Vec<(usize, u64)> {
        if self.has_read {
            vec![(self.topic, self.seen.received)]
        } else {
            Vec::new()
        }
    }
}
