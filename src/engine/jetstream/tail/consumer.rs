//! One consumer of the stream, from its making until the first doubt.
//!
//! Invariants:
//! - its name and its inbox are used once, so nothing of an earlier one is taken for its own;
//! - what it delivers is counted: a message that was lost on the way, or a consumer that was
//!   rebuilt on its server, is noticed with the next message or heartbeat;
//! - messages that wait in memory are bounded by what was asked for;
//! - no call but that for the next messages has to be waited for, and that one loses nothing where
//!   it is not waited for to its end.

use std::time::Duration;

use async_nats::{Message, StatusCode, Subscriber};
use futures_util::{FutureExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::time::{Instant, timeout_at};

use super::delivery::Delivery;
use crate::cursor::Vid;
use crate::engine::jetstream::api::{Api, ApiError, StoredMessage, last};
use crate::limits;

const HEARTBEAT: u16 = 100;
const TIMEOUT: u16 = 408;
const CONFLICT: u16 = 409;

/// A consumer that has been asked for messages.
pub(super) struct Consumer {
    api: Api,
    name: String,
    inbox: String,
    messages: Subscriber,
    asked_for: AskedFor,
    /// How many messages it has delivered.
    delivered: u64,
    /// Without anything from it until then, it is given up.
    silent_until: Instant,
    /// Met after messages that are still to be handed on.
    doubt: Option<String>,
}

/// What has been heard of a consumer.
pub(super) enum Heard {
    /// Messages in the order of the stream.
    Messages(Vec<StoredMessage>),
    /// Nothing new, but it is there.
    Alive,
    /// It cannot be relied on any more.
    Doubt(String),
}

/// What was asked for and has not come.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct AskedFor {
    messages: usize,
    bytes: usize,
}

enum Signal {
    Message(StoredMessage),
    Alive,
    Doubt(String),
}

impl Consumer {
    /// Makes a consumer of what comes after this vid, and asks it for messages.
    ///
    /// # Errors
    /// There is nobody who could make one now, or no stream.
    pub(super) async fn create(api: Api, name: String, after: Vid) -> Result<Self, ApiError> {
        let inbox = api.client().new_inbox();
        let subscribed = api.client().subscribe(inbox.clone()).await;
        let messages = subscribed.map_err(|error| ApiError::Broken(error.to_string()))?;

        let subject = format!("CONSUMER.CREATE.{}.{name}", api.stream());
        let body = creation(api.stream(), &name, after);
        let mut consumer = Consumer {
            api,
            name,
            inbox,
            messages,
            asked_for: AskedFor::default(),
            delivered: 0,
            silent_until: Instant::now() + limits::NATS_CONSUMER_SILENCE,
            doubt: None,
        };
        // From here on it is deleted when it is dropped: an answer may be lost.
        let wait = limits::NATS_CONSUMER_CREATE_WAIT;
        let created = consumer.api.call::<Value>(&subject, &body, wait);
        created.await?;
        consumer.pull().await?;
        consumer.allow_silence(limits::NATS_CONSUMER_SILENCE);
        Ok(consumer)
    }

    /// What comes next, as much as is there and fits into a step.
    pub(super) async fn next(&mut self) -> Heard {
        if let Some(doubt) = self.doubt.take() {
            return Heard::Doubt(doubt);
        }
        if self.asked_for.is_low()
            && let Err(error) = self.pull().await
        {
            return Heard::Doubt(error.to_string());
        }
        match timeout_at(self.silent_until, self.messages.next()).await {
            Ok(Some(message)) => self.hear(message),
            Ok(None) => Heard::Doubt("the connection closed".into()),
            Err(_) => Heard::Doubt("nothing has been heard of it".into()),
        }
    }

    /// Asks again at once after a reconnect. The server of the consumer may have gone.
    pub(super) fn reconnected(&mut self) {
        self.asked_for = AskedFor::default();
        self.allow_silence(limits::NATS_CONSUMER_SILENCE_AFTER_RECONNECT);
    }

    fn allow_silence(&mut self, time: Duration) {
        self.silent_until = Instant::now() + time;
    }

    fn hear(&mut self, message: Message) -> Heard {
        let (mut messages, mut bytes) = (Vec::new(), 0);
        let mut next = Some(message);
        while let Some(message) = next.take() {
            bytes += message.length;
            match self.read(message) {
                Signal::Message(message) => messages.push(message),
                Signal::Alive => {}
                Signal::Doubt(why) if messages.is_empty() => return Heard::Doubt(why),
                // What came before it is good.
                Signal::Doubt(why) => {
                    self.doubt = Some(why);
                    break;
                }
            }
            if messages.len() < limits::NATS_STEP_MESSAGES && bytes < limits::NATS_STEP_BYTES {
                next = self.messages.next().now_or_never().flatten();
            }
        }

        self.allow_silence(limits::NATS_CONSUMER_SILENCE);
        if messages.is_empty() {
            Heard::Alive
        } else {
            Heard::Messages(messages)
        }
    }

    fn read(&mut self, message: Message) -> Signal {
        let Some(status) = message.status else {
            return self.read_message(message);
        };
        match status.as_u16() {
            HEARTBEAT => self.read_heartbeat(&message),
            // A request is used up or has expired; the next one is made where that is due.
            TIMEOUT => self.end_of_request(&message),
            CONFLICT if is_used_up(&message) => self.end_of_request(&message),
            _ => Signal::Doubt(named(status, &message)),
        }
    }

    fn read_message(&mut self, message: Message) -> Signal {
        let reply = message.reply.as_deref();
        let Some(delivery) = reply.and_then(Delivery::parse) else {
            return Signal::Doubt("a message without its place".into());
        };
        if delivery.number != self.delivered + 1 {
            return Signal::Doubt(format!(
                "message {} came after message {}",
                delivery.number, self.delivered
            ));
        }
        self.delivered = delivery.number;
        self.asked_for.take(1, message.length);
        Signal::Message(StoredMessage {
            vid: delivery.vid,
            time_ms: delivery.time_ms,
            subject: message.subject.to_string(),
            headers: message.headers.unwrap_or_default(),
            data: message.payload,
        })
    }

    fn read_heartbeat(&self, message: &Message) -> Signal {
        match number(message, "Nats-Last-Consumer") {
            Some(delivered) if delivered != self.delivered => Signal::Doubt(format!(
                "it has delivered {delivered} messages, and {} have come",
                self.delivered
            )),
            _ => Signal::Alive,
        }
    }

    fn end_of_request(&mut self, message: &Message) -> Signal {
        let left = |name| {
            let left = number(message, name).unwrap_or(u64::MAX);
            usize::try_from(left).unwrap_or(usize::MAX)
        };
        let (messages, bytes) = (left("Nats-Pending-Messages"), left("Nats-Pending-Bytes"));
        self.asked_for.take(messages, bytes);
        Signal::Alive
    }

    async fn pull(&mut self) -> Result<(), ApiError> {
        let subject = format!(
            "$JS.API.CONSUMER.MSG.NEXT.{}.{}",
            self.api.stream(),
            self.name
        );
        let body = json!({
            "batch": limits::NATS_PULL_MESSAGES,
            "max_bytes": limits::NATS_PULL_BYTES,
            "expires": nanos(limits::NATS_PULL_EXPIRY),
            "idle_heartbeat": nanos(limits::NATS_CONSUMER_HEARTBEAT),
        });
        let inbox = self.inbox.clone();
        let body = body.to_string().into();
        let sent = self.api.client().publish_with_reply(subject, inbox, body);
        sent.await
            .map_err(|error| ApiError::Broken(error.to_string()))?;
        self.asked_for.messages += limits::NATS_PULL_MESSAGES;
        self.asked_for.bytes += limits::NATS_PULL_BYTES;
        Ok(())
    }
}

impl AskedFor {
    fn is_low(self) -> bool {
        self.messages < limits::NATS_PULL_MESSAGES / 2 || self.bytes < limits::NATS_PULL_BYTES / 2
    }

    fn take(&mut self, messages: usize, bytes: usize) {
        self.messages = self.messages.saturating_sub(messages);
        self.bytes = self.bytes.saturating_sub(bytes);
    }
}

impl Drop for Consumer {
    /// The servers would delete it by themselves, a while later.
    fn drop(&mut self) {
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            return;
        };
        let (api, name) = (self.api.clone(), std::mem::take(&mut self.name));
        runtime.spawn(async move {
            let subject = format!("CONSUMER.DELETE.{}.{name}", api.stream());
            let wait = limits::NATS_CONSUMER_CREATE_WAIT;
            // It may be gone already.
            let _ = api.call::<Value>(&subject, &json!({}), wait).await;
        });
    }
}

/// In memory and on one server, as the stream itself keeps everything.
fn creation(stream: &str, name: &str, after: Vid) -> Value {
    json!({
        "stream_name": stream,
        "action": "create",
        "config": {
            "name": name,
            "deliver_policy": "by_start_sequence",
            "opt_start_seq": after + 1,
            "ack_policy": "none",
            "mem_storage": true,
            "num_replicas": 1,
            "inactive_threshold": nanos(limits::NATS_CONSUMER_INACTIVE),
        },
    })
}

fn is_used_up(message: &Message) -> bool {
    let description = message.description.as_deref().unwrap_or_default();
    description.eq_ignore_ascii_case("Batch Completed")
}

fn named(status: StatusCode, message: &Message) -> String {
    let description = message.description.as_deref().unwrap_or_default();
    format!("{} {description}", status.as_u16())
}

fn number(message: &Message, name: &str) -> Option<u64> {
    last(message.headers.as_ref()?, name)?.parse().ok()
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
