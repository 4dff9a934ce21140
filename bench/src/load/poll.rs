//! A long-poller: asks, takes what comes, asks again with the cursor it was given. It is ready once
//! it has asked.

use super::{Plan, Wire, With};
use crate::address::{Address, Fill};
use crate::answer::Answer;
use crate::tally::Seen;

pub(crate) struct LongPoll {
    address: Address,
    run: u32,
    topic: usize,
    cursor: String,
    /// For servers whose cursor is in two headers of the answer.
    conditions: String,
    answer: Vec<u8>,
    has_asked: bool,
    seen: Seen,
}

impl LongPoll {
    pub(crate) fn new(plan: &Plan, reader: usize) -> Self {
        LongPoll {
            address: plan.address.clone(),
            run: plan.run,
            topic: plan.first_topic + reader % plan.topics,
            cursor: plan.cursor.clone(),
            conditions: String::new(),
            answer: Vec::new(),
            has_asked: false,
            seen: Seen::new(plan.publishers),
        }
    }

    fn ask(&mut self, out: &mut Vec<u8>) {
        let path = self.address.path(Fill {
            run: self.run,
            topic: self.topic,
            cursor: &self.cursor,
        });
        let LongPoll {
            address: Address { authority, .. },
            conditions,
            ..
        } = self;
        let request = format!("GET {path} HTTP/1.1\r\nHost: {authority}\r\n{conditions}\r\n");
        out.extend_from_slice(request.as_bytes());
        self.has_asked = true;
    }
}

/// The cursor of a poll's answer; it stands before the events.
fn cursor(body: &[u8]) -> Option<String> {
    let (_, rest) = body.split_at_checked(memchr::memmem::find(body, CURSOR)? + CURSOR.len())?;
    let end = memchr::memchr(b'"', rest)?;
    String::from_utf8(rest[..end].to_vec()).ok()
}

const CURSOR: &[u8] = b"\"cursor\":\"";

fn conditions(answer: &Answer<'_>) -> String {
    let pairs = [
        ("last-modified", "If-Modified-Since"),
        ("etag", "If-None-Match"),
    ];
    let given = pairs
        .iter()
        .filter_map(|(told, asked)| Some(format!("{asked}: {}\r\n", answer.header(told)?)));
    given.collect()
}

impl Wire for LongPoll {
    fn begin(&mut self, out: &mut Vec<u8>) {
        self.ask(out);
    }

    fn take(&mut self, bytes: &[u8], with: &mut With<'_>) -> Result<(), String> {
        self.answer.extend_from_slice(bytes);
        let whole = std::mem::take(&mut self.answer);
        let Some(answer) = Answer::read(&whole)? else {
            self.answer = whole;
            return Ok(());
        };
        if !matches!(answer.status, 200 | 304) {
            return Err(format!("a poll was answered {}", answer.status));
        }
        self.seen.feed(answer.body, with.tally);
        match cursor(answer.body) {
            Some(cursor) => self.cursor = cursor,
            None => self.conditions = conditions(&answer),
        }
        self.ask(with.out);
        Ok(())
    }

    fn reading(&self) -> usize {
        usize::from(self.has_asked)
    }

    fn received(&self) -> Vec<(usize, u64)> {
        if self.has_asked {
            vec![(self.topic, self.seen.received)]
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
