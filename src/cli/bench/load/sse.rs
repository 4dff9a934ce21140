//! A reader of Server-Sent Events. It is ready once it has its head.

use super::{Plan, Wire, With};
use crate::cli::bench::address::Fill;
use crate::cli::bench::answer::{first_line, head_end, status};
use crate::cli::bench::tally::Seen;
use crate::limits;

const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

pub(super) struct Sse {
    request: String,
    topic: usize,
    head: Vec<u8>,
    is_reading: bool,
    seen: Seen,
}

impl Sse {
    pub(super) fn new(plan: &Plan, reader: usize) -> Self {
        let topic = plan.first_topic + reader % plan.topics;
        let path = plan.address.path(Fill { run: plan.run, topic, cursor: &plan.cursor });
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: {}\r\nAccept: text/event-stream\r\n\r\n", plan.address.authority);
        Sse { request, topic, head: Vec::new(), is_reading: false, seen: Seen::new(plan.publishers) }
    }

    /// Gives what of the bytes comes after the head.
    fn take_head<'a>(&mut self, bytes: &'a [u8]) -> Result<&'a [u8], String> {
        let before = self.head.len();
        self.head.extend_from_slice(bytes);
        let Some(end) = head_end(&self.head) else {
            let is_endless = self.head.len() > limits::MAX_HEAD_BYTES;
            return if is_endless { Err("a head without an end".to_owned()) } else { Ok(&[]) };
        };
        if status(&self.head) != Some(200) {
            return Err(first_line(&self.head));
        }
        self.head = Vec::new();
        self.is_reading = true;
        Ok(&bytes[end - before..])
    }
}

impl Wire for Sse {
    fn begin(&mut self, out: &mut Vec<u8>) {
        out.extend_from_slice(std::mem::take(&mut self.request).as_bytes());
    }

    fn take(&mut self, bytes: &[u8], with: &mut With<'_>) -> Result<(), String> {
        let events = if self.is_reading { bytes } else { self.take_head(bytes)? };
        self.seen.feed(events, with.tally);
        // The connection goes on, for another request that nobody makes.
        let is_end = events == LAST_CHUNK || events.ends_with(b"\r\n0\r\n\r\n");
        if is_end { Err("the server ended the stream".to_owned()) } else { Ok(()) }
    }

    fn reading(&self) -> usize {
        usize::from(self.is_reading)
    }

    fn received(&self) -> Vec<(usize, u64)> {
        if self.is_reading { vec![(self.topic, self.seen.received)] } else { Vec::new() }
    }
}
