//! A long-poller: it sends a request, takes the events of the answer, and sends the next request
//! with the answer's cursor. It is ready once it has sent one.

use std::sync::Arc;

use super::ReaderPlan;
use super::wire::{Wire, WireContext};
use crate::access::Access;
use crate::address::{Address, AddressValues};
use crate::answer::HttpAnswer;
use crate::tally::ReceivedEvents;

const CURSOR: &[u8] = b"\"cursor\":\"";

/// Where some servers put the cursor of an answer, and where they expect it in the next request.
const CONDITIONS: [(&str, &str); 2] = [
    ("last-modified", "If-Modified-Since"),
    ("etag", "If-None-Match"),
];

pub(super) struct LongPollWire {
    address: Address,
    access: Arc<Access>,
    run: u32,
    topic: usize,
    cursor: String,
    /// Header lines, for servers whose cursor is in two headers of the answer.
    conditions: String,
    answer: Vec<u8>,
    has_asked: bool,
    events: ReceivedEvents,
}

impl LongPollWire {
    pub(super) fn new(plan: &ReaderPlan, reader: usize) -> Self {
        LongPollWire {
            address: plan.address.clone(),
            access: plan.access.clone(),
            run: plan.run,
            topic: plan.topic_of(reader),
            cursor: plan.cursor.clone(),
            conditions: String::new(),
            answer: Vec::new(),
            has_asked: false,
            events: ReceivedEvents::new(plan.publishers),
        }
    }

    fn ask(&mut self, out: &mut Vec<u8>) {
        let path = self.address.path(AddressValues {
            run: self.run,
            topic: self.topic,
            cursor: &self.cursor,
        });

        // Header lines end with a line break each, so none of them leaves the empty line alone.
        let (host, conditions) = (&self.address.authority, &self.conditions);
        let authorization = self.access.authorization_line();
        let head = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n");
        let request = [&head, authorization.as_str(), conditions, "\r\n"].concat();
        out.extend_from_slice(request.as_bytes());
        self.has_asked = true;
    }

    fn take_answer(
        &mut self,
        answer: &HttpAnswer<'_>,
        context: &mut WireContext<'_>,
    ) -> Result<(), String> {
        // 304 is how some servers say that nothing came in time.
        if !matches!(answer.status, 200 | 304) {
            return Err(format!("a poll was answered {}", answer.status));
        }
        self.events.feed(answer.body, context.tally);

        // The next request goes on where this answer ended.
        match cursor(answer.body) {
            Some(cursor) => self.cursor = cursor,
            None => self.conditions = conditions(answer),
        }
        self.ask(context.out);
        Ok(())
    }
}

/// The cursor of a poll's answer, which comes before the events.
fn cursor(body: &[u8]) -> Option<String> {
    // Searched for as bytes, because parsing every answer would make the client costly.
    let start = memchr::memmem::find(body, CURSOR)? + CURSOR.len();
    let rest = body.get(start..)?;
    let end = memchr::memchr(b'"', rest)?;
    String::from_utf8(rest[..end].to_vec()).ok()
}

fn conditions(answer: &HttpAnswer<'_>) -> String {
    let given = CONDITIONS.iter();
    let lines = given.filter_map(|(from, to)| Some(line(to, answer.header(from)?)));
    lines.collect()
}

fn line(name: &str, value: &str) -> String {
    format!("{name}: {value}\r\n")
}

impl Wire for LongPollWire {
    fn begin(&mut self, out: &mut Vec<u8>) {
        self.ask(out);
    }

    fn take(&mut self, bytes: &[u8], context: &mut WireContext<'_>) -> Result<(), String> {
        self.answer.extend_from_slice(bytes);
        let whole = std::mem::take(&mut self.answer);

        // There is one request at a time, so nothing follows a complete answer.
        match HttpAnswer::read(&whole)? {
            Some(answer) => self.take_answer(&answer, context)?,
            None => self.answer = whole,
        }
        Ok(())
    }

    fn reading(&self) -> usize {
        usize::from(self.has_asked)
    }

    fn received(&self) -> Vec<(usize, u64)> {
        // A reader that has never sent a request is expected to receive nothing.
        if self.has_asked {
            vec![(self.topic, self.events.received)]
        } else {
            Vec::new()
        }
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_cursor_of_an_answer_is_the_first_one() {
        let body = br#"{"vid":7,"cursor":"7-abcdef","events":[{"data":{"cursor":"9"}}]}"#;
        assert_eq!(super::cursor(body).as_deref(), Some("7-abcdef"));
        assert_eq!(super::cursor(b"hello"), None);
    }
}
