//! Batches of a copy: each with a name that says whose events they are, and behind a vid that is
//! expected to be the last.

use async_nats::Message;
use async_nats::header::{HeaderValue, NATS_EXPECTED_LAST_SEQUENCE};
use serde::Deserialize;
use tokio::time::{Instant, timeout};

use super::super::JetStreamOptions;
use super::super::message::OutgoingMessage;
use super::answer::{Answer, Refusal};
use super::attempt::{add_batch_headers, answer_wait, not_sent};
use super::link::{Link, ReplyTo};
use super::random_name;
use crate::cursor::Vid;
use crate::limits;

/// Something else has been appended.
const OTHER_LAST: u64 = 10071;

/// What has become of a batch.
#[derive(Debug)]
pub(in super::super) enum Sent {
    /// Stored up to this vid.
    Stored(Vid),
    /// Nothing was stored: an id is known.
    KnownId,
    /// Nothing was stored by this try: the stream does not end where it was expected to.
    OtherLast,
    /// It is not known, or nobody took it now; the same may be sent again.
    Again(String),
    /// It will not be stored.
    Refused(String),
}

/// What one batch is.
pub(in super::super) struct CopyBatch {
    pub(in super::super) messages: Vec<OutgoingMessage>,
    /// What the name of the batch begins with, which is stored with each of its events.
    pub(in super::super) name: String,
    /// Only where the stream ends with this vid.
    pub(in super::super) expected_last: Option<Vid>,
}

/// The way of a copy into its stream: one batch at a time.
pub(in super::super) struct CopyLane {
    options: JetStreamOptions,
    /// None before the first batch, and after a connection that has failed.
    link: Option<Link>,
    /// Each message asks for an answer, after a batch of which one was refused without.
    asks_each: bool,
}

impl CopyLane {
    pub(in super::super) fn new(options: JetStreamOptions) -> Self {
        CopyLane {
            options,
            link: None,
            asks_each: false,
        }
    }

    /// Sends a batch once, and waits for the answer.
    pub(in super::super) async fn send(&mut self, batch: &CopyBatch) -> Sent {
        let bytes = batch.messages.iter().map(|message| message.data.len());
        let wait = answer_wait(bytes.sum(), Instant::now() + limits::COPY_PATIENCE);
        let messages = with_batch_headers(batch);
        match timeout(wait, self.ask(messages)).await {
            Ok(Ok(sent)) => {
                self.asks_each = matches!(sent, Sent::Again(_));
                sent
            }
            Ok(Err(why)) => self.lost(why),
            // Who does not answer may be frozen: another server is connected to.
            Err(_) => self.lost(format!("no answer within {wait:?}")),
        }
    }

    fn lost(&mut self, why: String) -> Sent {
        self.link = None;
        Sent::Again(why)
    }

    async fn ask(&mut self, messages: Vec<OutgoingMessage>) -> Result<Sent, String> {
        let stream = self.options.stream.clone();
        let mut link = match self.link.take() {
            Some(link) if link.is_connected() => link,
            _ => Link::open(&self.options).await?,
        };
        if let Some(refusal) = link.check_sizes(&messages) {
            return Ok(Sent::Refused(refusal.into_error().to_string()));
        }
        let reply = link.new_question();
        if let Err(error) = link.send(messages, self.asks_each, &reply).await {
            let refused = not_sent(&error)?;
            return Ok(meaning_of(refused).unwrap_or_else(|| Sent::Again(error.to_string())));
        }
        let sent = answered(&mut link, &reply, &stream).await?;
        self.link = Some(link);
        Ok(sent)
    }
}

async fn answered(link: &mut Link, reply: &ReplyTo, stream: &str) -> Result<Sent, String> {
    loop {
        let (_, message) = link.answer(reply).await?;
        if refused_with(&message) == Some(OTHER_LAST) {
            return Ok(Sent::OtherLast);
        }
        if let Some(sent) = meaning_of(Answer::of(&message, stream)) {
            return Ok(sent);
        }
    }
}

/// None where the answer to the batch is still to come.
fn meaning_of(answer: Answer) -> Option<Sent> {
    Some(match answer {
        Answer::Accepted => return None,
        Answer::Stored { last, .. } => Sent::Stored(last),
        Answer::KnownId => Sent::KnownId,
        Answer::NotNow { why, .. } | Answer::Unknown { why } => Sent::Again(why),
        Answer::Refused(refusal) => Sent::Refused(text_of(refusal)),
    })
}

fn text_of(refusal: Refusal) -> String {
    refusal.into_error().to_string()
}

fn refused_with(message: &Message) -> Option<u64> {
    #[derive(Deserialize)]
    struct Answer {
        error: Refused,
    }
    #[derive(Deserialize)]
    struct Refused {
        err_code: u64,
    }
    let answer: Answer = serde_json::from_slice(&message.payload).ok()?;
    Some(answer.error.err_code)
}

fn with_batch_headers(batch: &CopyBatch) -> Vec<OutgoingMessage> {
    let mut messages = batch.messages.clone();
    let id = format!("{}.{}", batch.name, random_name());
    add_batch_headers(&mut messages, &id);
    if let Some(vid) = batch.expected_last {
        let headers = &mut messages[0].headers;
        headers.insert(NATS_EXPECTED_LAST_SEQUENCE, HeaderValue::from(vid));
    }
    messages
}
