//! The connection to publish by, and answers on it.
//!
//! All answers come by one subscription. Invariant: an answer to an earlier try is never taken for
//! one to a later try, as each try has a reply subject of its own.

use async_nats::connection::State;
use async_nats::{Client, Message, Subscriber};
use futures_util::{FutureExt as _, StreamExt as _};

use super::super::{JetStreamOptions, connection};

/// A connection with a subscription for answers.
pub(super) struct Link {
    client: Client,
    /// What reply subjects begin with.
    inbox: String,
    answers: Subscriber,
    questions: u64,
}

/// Where answers to one try, or to one set of questions, go.
#[derive(Debug, Clone)]
pub(super) struct ReplyTo(String);

impl ReplyTo {
    /// The subject for all messages of a try.
    pub(super) fn subject(&self) -> String {
        self.numbered(0)
    }

    /// The subject for one of several messages.
    pub(super) fn numbered(&self, number: usize) -> String {
        format!("{}{number}", self.0)
    }

    /// The number of the message that is answered; none where it is another try's.
    fn number_of(&self, subject: &str) -> Option<usize> {
        subject.strip_prefix(&self.0)?.parse().ok()
    }
}

impl Link {
    /// Connects to one of the servers.
    pub(super) async fn open(options: &JetStreamOptions) -> Result<Self, String> {
        let connected = connection::connect_to_publish(options).await;
        let client = connected.map_err(|error| error.to_string())?;
        let inbox = client.new_inbox();
        let answers = client.subscribe(format!("{inbox}.*.*")).await;
        Ok(Link {
            answers: answers.map_err(|error| error.to_string())?,
            client,
            inbox,
            questions: 0,
        })
    }

    pub(super) fn client(&self) -> &Client {
        &self.client
    }

    pub(super) fn is_connected(&self) -> bool {
        self.client.connection_state() == State::Connected
    }

    /// For answers to what is asked from now on.
    pub(super) fn new_question(&mut self) -> ReplyTo {
        // What came late for earlier ones.
        while let Some(Some(_)) = self.answers.next().now_or_never() {}
        self.questions += 1;
        ReplyTo(format!("{}.{}.", self.inbox, self.questions))
    }

    /// The next answer, with the number of what it answers.
    ///
    /// # Errors
    /// The connection is closed.
    pub(super) async fn answer(&mut self, to: &ReplyTo) -> Result<(usize, Message), String> {
        while let Some(message) = self.answers.next().await {
            if let Some(number) = to.number_of(&message.subject) {
                return Ok((number, message));
            }
        }
        Err("the connection is closed".into())
    }
}
