//! One try to store the events of a plan.
//!
//! Invariants:
//! - all messages of a batch are sent at once, and its id is never used again;
//! - a message that is larger than the servers take is found before anything is sent;
//! - what has been sent and not been answered may have been stored.

use std::time::Duration;

use async_nats::header::{
    HeaderMap, HeaderValue, NATS_BATCH_COMMIT, NATS_BATCH_COMMIT_FINAL, NATS_BATCH_ID,
    NATS_BATCH_SEQUENCE,
};
use async_nats::{PublishError, PublishErrorKind};
use tokio::time::error::Elapsed;
use tokio::time::{Instant, timeout, timeout_at};

use super::super::message::OutgoingMessage;
use super::answer::{Answer, NotNow, Refusal};
use super::link::{Link, ReplyTo};
use super::plan::Plan;
use super::{Lane, random_name};
use crate::error::Error;
use crate::limits;

/// What the tries of one group have in common.
pub(super) struct Tries {
    /// None begins after this.
    pub(super) deadline: Instant,
    /// Since when one of them may have stored the group.
    pub(super) uncertain_since: Option<Instant>,
    /// Each message asks for an answer: one was refused without.
    pub(super) asks_each: bool,
    /// The ids of the batches that were sent, and of the single events.
    pub(super) batch_ids: Vec<String>,
}

impl Tries {
    pub(super) fn new(deadline: Instant) -> Self {
        Tries {
            deadline,
            uncertain_since: None,
            asks_each: false,
            batch_ids: Vec::new(),
        }
    }

    fn new_batch_id(&mut self) -> &str {
        self.batch_ids.push(random_name());
        self.batch_ids.last().expect("it has just been added")
    }

    pub(super) fn is_uncertain(&self) -> bool {
        self.uncertain_since.is_some()
    }
}

impl Lane {
    /// Sends the events once, and waits for the answer.
    pub(super) async fn attempt(&mut self, plan: &Plan<'_>, tries: &mut Tries) -> Answer {
        let subjects = &self.stream.subjects;
        let events = plan.events.iter();
        let mut messages: Vec<_> = events.map(|e| OutgoingMessage::of(e, subjects)).collect();
        if let Some((index, id)) = plan.group_id {
            messages[index].identify(id);
        }
        match &mut messages[..] {
            [single] if plan.group_id.is_none() => {
                single.headers.insert(SINGLE_BATCH_ID, tries.new_batch_id());
            }
            [_] => {}
            batch => add_batch_headers(batch, tries.new_batch_id()),
        }

        let stream = self.stream.api.stream().to_owned();
        let link = match self.connected(tries.deadline).await {
            Ok(link) => link,
            Err(why) => {
                let reason = NotNow::Away;
                return Answer::NotNow { why, reason };
            }
        };
        if let Some(refusal) = link.check_sizes(&messages) {
            return Answer::Refused(refusal);
        }
        let wait = answer_wait(plan.bytes(), tries.deadline);
        let asked = link.ask(messages, tries.asks_each, &stream);
        let answered = timeout(wait, asked).await;
        self.note(&answered);
        let answer = answered.unwrap_or_else(|_| Err(format!("no answer within {wait:?}")));
        answer.unwrap_or_else(|why| Answer::Unknown { why })
    }

    /// The connection, made anew where it has failed.
    pub(super) async fn connected(&mut self, deadline: Instant) -> Result<&mut Link, String> {
        if self.link.as_ref().is_some_and(|link| !link.is_connected()) {
            self.link = None;
        }
        if self.link.is_none() {
            let opening = timeout_at(deadline, Link::open(&self.options)).await;
            let opened = opening.map_err(|_| "no server can be connected to".to_owned())?;
            self.link = Some(opened?);
            self.silent_tries = 0;
        }
        self.link.as_mut().ok_or_else(String::new)
    }

    /// Takes note whether there was an answer. Who gives none may be frozen: another server is
    /// connected to after a while.
    pub(super) fn note<T>(&mut self, answered: &Result<Result<T, String>, Elapsed>) {
        self.silent_tries = match answered {
            Ok(Ok(_)) => 0,
            Ok(Err(_)) => limits::NATS_PUBLISH_SILENT_TRIES,
            Err(_) => self.silent_tries + 1,
        };
        if self.silent_tries >= limits::NATS_PUBLISH_SILENT_TRIES {
            self.link = None;
        }
    }
}

/// By which a try is recognized that has stored a single event with an id. The server gives it no
/// meaning: to it, a single message is no batch.
pub(super) const SINGLE_BATCH_ID: &str = "Vidette-Batch-Id";

/// Makes the messages one batch of this id, which is never used again, not even for the same ones.
pub(super) fn add_batch_headers(messages: &mut [OutgoingMessage], id: &str) {
    let last = messages.len() - 1;
    for (index, message) in messages.iter_mut().enumerate() {
        let headers = &mut message.headers;
        headers.insert(NATS_BATCH_ID, id);
        headers.insert(NATS_BATCH_SEQUENCE, HeaderValue::from(index + 1));
        if index == last {
            headers.insert(NATS_BATCH_COMMIT, NATS_BATCH_COMMIT_FINAL);
        }
    }
}

/// How long the answer to so many bytes may take. The last try has its second, too.
pub(super) fn answer_wait(bytes: usize, deadline: Instant) -> Duration {
    let least = limits::NATS_PUBLISH_ANSWER_WAIT;
    let seconds = bytes / limits::NATS_PUBLISH_BYTES_A_SECOND;
    let more = Duration::from_secs(seconds.try_into().unwrap_or(u64::MAX));
    let left = deadline.saturating_duration_since(Instant::now());
    least.saturating_add(more).min(left.max(least))
}

impl Link {
    pub(super) fn check_sizes(&self, messages: &[OutgoingMessage]) -> Option<Refusal> {
        let most = self.client().max_payload();
        let sizes = messages
            .iter()
            .map(|m| wire_bytes(&m.headers) + m.data.len());
        let size = sizes.max().filter(|size| *size > most)?;
        Some(Refusal::OfEvent(Error::too_large(format!(
            "an event takes {size} bytes as a message of NATS; its servers take at most {most} \
             (max_payload)"
        ))))
    }

    /// # Errors
    /// The connection has ended, and with it what waited in it to be sent.
    async fn ask(
        &mut self,
        messages: Vec<OutgoingMessage>,
        asks_each: bool,
        stream: &str,
    ) -> Result<Answer, String> {
        let reply = self.new_question();
        if let Err(error) = self.send(messages, asks_each, &reply).await {
            return not_sent(&error);
        }
        loop {
            let (_, message) = self.answer(&reply).await?;
            match Answer::of(&message, stream) {
                // The first messages of a batch; the answer to it comes with the last.
                Answer::Accepted => {}
                answer => return Ok(answer),
            }
        }
    }

    pub(super) async fn send(
        &self,
        messages: Vec<OutgoingMessage>,
        asks_each: bool,
        reply: &ReplyTo,
    ) -> Result<(), PublishError> {
        let client = self.client();
        let last = messages.len() - 1;
        for (index, message) in messages.into_iter().enumerate() {
            let (subject, headers, data) = (message.subject, message.headers, message.data);
            let asks = asks_each || index == 0 || index == last;
            if asks {
                let reply = reply.subject();
                let sent = client.publish_with_reply_and_headers(subject, reply, headers, data);
                sent.await?;
            } else {
                client.publish_with_headers(subject, headers, data).await?;
            }
        }
        Ok(())
    }
}

pub(super) fn not_sent(error: &PublishError) -> Result<Answer, String> {
    let refusal = match error.kind() {
        PublishErrorKind::MaxPayloadExceeded => {
            Error::too_large(format!("NATS does not take an event so large: {error}"))
        }
        PublishErrorKind::InvalidSubject => {
            Error::bad_request(format!("the topic is no subject of NATS: {error}"))
        }
        PublishErrorKind::Send => return Err(error.to_string()),
    };
    Ok(Answer::Refused(Refusal::OfEvent(refusal)))
}

/// The bytes of headers as they are sent.
fn wire_bytes(headers: &HeaderMap) -> usize {
    const FRAME: usize = "NATS/1.0\r\n\r\n".len();
    const LINE: usize = ": \r\n".len();
    let lines = headers.iter().flat_map(|(name, values)| {
        let name: &str = name.as_ref();
        let values = values.iter();
        values.map(|value| name.len() + value.as_str().len() + LINE)
    });
    FRAME + lines.sum::<usize>()
}
