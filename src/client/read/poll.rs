//! Reading by long-poll.

use std::fmt::Display;
use std::mem;

use async_stream::try_stream;
use futures_util::StreamExt as _;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::item::{GapReport, LogBounds, Received};
use super::options::ReadStart;
use super::{Incoming, ReadQuery, ended};
use crate::client::error::ClientError;
use crate::client::event::ReceivedEvent;
use crate::client::http::{GatewayHttp, innermost, refusal};
use crate::client::token::BearerToken;
use crate::cursor::{Cursor, Epoch};
use crate::limits;

/// The answer to a poll, of which the events are read later.
#[derive(Deserialize)]
struct PollAnswer<'a> {
    #[serde(flatten)]
    bounds: LogBounds,
    cursor: String,
    up_to_date: bool,
    #[serde(borrow)]
    events: Vec<&'a RawValue>,
    gap: Option<GapReport>,
}

pub(super) fn read(http: GatewayHttp, query: ReadQuery) -> Incoming {
    try_stream! {
        let mut polls = Polls::new(query);
        loop {
            let asking = http.with_fresh_token(|token| polls.ask(&http, token));
            let (mut response, _) = asking.await?;

            // Each part of an answer shows that the connection is alive.
            let mut body = Vec::new();
            while let Some(chunk) = response.chunk().await.map_err(|e| broken_off(&e))? {
                append(&mut body, &chunk)?;
                yield Received::Activity;
            }

            for received in polls.take(&body)? {
                yield received;
            }
        }
    }
    .boxed()
}

/// Adds a part of an answer, of which more than a bound is not kept.
fn append(body: &mut Vec<u8>, chunk: &[u8]) -> Result<(), ClientError> {
    body.extend_from_slice(chunk);
    if body.len() > limits::READ_ANSWER_BYTES {
        return Err(too_long());
    }
    Ok(())
}

fn broken_off(error: &reqwest::Error) -> ClientError {
    ClientError::unreachable(format!("the answer broke off: {}", innermost(error)))
}

fn too_long() -> ClientError {
    let most = limits::READ_ANSWER_BYTES;
    ClientError::protocol(format!("the answer has more than {most} bytes"))
}

/// One poll after another, each from where the one before has ended.
struct Polls {
    query: ReadQuery,
    /// The log of the last answer.
    epoch: Option<Epoch>,
    is_up_to_date: bool,
}

impl Polls {
    fn new(query: ReadQuery) -> Self {
        Polls {
            query,
            epoch: None,
            is_up_to_date: false,
        }
    }

    async fn ask(
        &self,
        http: &GatewayHttp,
        token: Option<BearerToken>,
    ) -> Result<reqwest::Response, ClientError> {
        // The wait is named, so that a late answer shows that the connection is dead.
        let request = http
            .get("/v1/poll", token.as_ref())
            .query(&self.query.parameters());
        let request = request.query(&[("wait", self.wait_s())]);
        let response = request.send().await.map_err(|e| http.no_answer(&e))?;
        if !response.status().is_success() {
            return Err(refusal(response, super::passes).await);
        }
        Ok(response)
    }

    /// "From now on" has to become a cursor before anything is waited for: the next request would
    /// mean a later now.
    fn wait_s(&self) -> u64 {
        if self.query.start.is_latest() {
            0
        } else {
            limits::READ_POLL_WAIT.as_secs()
        }
    }

    /// What an answer says, in the order in which readers get it.
    fn take(&mut self, body: &[u8]) -> Result<Vec<Received>, ClientError> {
        // A page that a proxy sends in place of an answer is no JSON.
        let answer: PollAnswer<'_> = serde_json::from_slice(body).map_err(unreadable)?;
        let cursor = answer.cursor.parse::<Cursor>().map_err(unreadable)?;
        let epoch = answer.bounds.epoch.parse::<Epoch>().map_err(unreadable)?;

        // The next poll goes on from here, whatever of this answer has been handled by then.
        self.query.start = ReadStart::After(answer.cursor);

        // The log's name goes first: events are held against it.
        let mut received = Vec::with_capacity(answer.events.len() + 3);
        if self.epoch.as_ref() != Some(&epoch) {
            received.push(Received::Bounds(answer.bounds));
        }
        received.extend(answer.gap.map(Received::Gap));
        for event in answer.events {
            if event.get().len() > self.query.most_wire_bytes {
                return Err(super::sse::too_long(self.query.most_wire_bytes));
            }
            received.push(event_of(event, &epoch)?);
        }
        received.push(self.position(cursor, answer.up_to_date));

        self.epoch = Some(epoch);
        Ok(received)
    }

    /// The live end is reached once, not with each answer.
    fn position(&mut self, cursor: Cursor, is_up_to_date: bool) -> Received {
        let was_up_to_date = mem::replace(&mut self.is_up_to_date, is_up_to_date);
        if is_up_to_date && !was_up_to_date {
            Received::CaughtUp(cursor)
        } else {
            Received::Progress(cursor)
        }
    }
}

fn unreadable(why: impl Display) -> ClientError {
    ended(&format!("the answer cannot be read: {why}"))
}

fn event_of(json: &RawValue, epoch: &Epoch) -> Result<Received, ClientError> {
    let cursor_of = |vid| Cursor {
        vid,
        epoch: Some(epoch.clone()),
    };
    let event = ReceivedEvent::from_json(json.get(), cursor_of).map_err(unreadable)?;
    Ok(Received::Event(event))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANSWER: &str = r#"{"epoch":"abcdef","first":1,"last":9,"vid":7,"cursor":"7-abcdef",
        "up_to_date":true,"gap":{"reason":"expired","requested":"0"},"events":[
        {"vid":7,"topic":"a","time":"2026-11-22T10:00:00.000Z","data":1}]}"#;

    fn polls() -> Polls {
        Polls::new(ReadQuery {
            topics: Vec::new(),
            start: ReadStart::Latest,
            fails_at_gap: false,
            most_wire_bytes: 1000,
        })
    }

    #[test]
    fn an_answer_is_taken_in_order_and_the_next_poll_goes_on_from_it() {
        let mut polls = polls();
        let received = polls.take(ANSWER.as_bytes()).expect("an answer");
        assert!(matches!(
            &received[..],
            [
                Received::Bounds(_),
                Received::Gap(_),
                Received::Event(event),
                Received::CaughtUp(_)
            ] if event.cursor.to_string() == "7-abcdef"
        ));
        assert_eq!(polls.query.start, ReadStart::After("7-abcdef".into()));

        // The same log again, and still at its end.
        let again = polls.take(ANSWER.as_bytes()).expect("an answer");
        assert!(matches!(
            &again[..],
            [Received::Gap(_), Received::Event(_), Received::Progress(_)]
        ));
    }

    #[test]
    fn a_page_of_a_proxy_is_no_answer() {
        assert!(polls().take(b"<html>").is_err());
    }
}
