//! The lines that a publisher has taken and that are not settled yet.
//!
//! Invariants:
//! - lines are answered in the order sent, so an answer belongs to the oldest unanswered one;
//! - a line that may have been published is sent again only when it can be sent twice.

use std::collections::VecDeque;
use std::mem;

use bytes::Bytes;
use serde::Deserialize;

use super::line::PublishLine;
use super::{PublishReceipt, PublishReport};
use crate::client::error::{ClientError, ClientErrorKind};
use crate::limits;

/// See the module.
pub(super) struct LineWindow<K> {
    /// Lines that are to be sent.
    unsent: VecDeque<PublishLine<K>>,
    /// Lines that may have been published, in the order sent.
    unanswered: VecDeque<PublishLine<K>>,
    /// Lines that the gateway could not take just then.
    put_off: VecDeque<PublishLine<K>>,
    unanswered_bytes: usize,
    /// A line that is refused for its token can be sent with another one.
    has_token: bool,
}

/// What an answer means for its line.
pub(super) enum LineOutcome<K> {
    /// It is settled.
    Settled(PublishReport<K>),
    /// The gateway could not take it just then.
    PutOff(ClientError),
}

/// The answer to a line: a receipt or an error.
#[derive(Default, Deserialize)]
#[serde(default)]
struct LineAnswer {
    #[serde(flatten)]
    receipt: Option<PublishReceipt>,
    error: Option<LineProblem>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct LineProblem {
    status: u16,
    detail: Option<String>,
}

impl LineAnswer {
    /// Why the gateway could not take the line just then, if that is what it says.
    fn put_off(&self, has_token: bool) -> Option<ClientError> {
        let problem = self.error.as_ref()?;
        // Too much at once, shutting down, no space, or an old token: the line itself is good.
        let kind = match problem.status {
            429 | 503 | 507 => ClientErrorKind::Unavailable,
            401 if has_token => ClientErrorKind::Unauthenticated,
            _ => return None,
        };
        Some(ClientError::new(kind, problem.text()))
    }

    /// What it says about its line for good.
    fn report<K>(self, key: K) -> PublishReport<K> {
        // An error counts before a receipt, so that nothing refused is taken for an event.
        let reason = match (self.error, self.receipt) {
            (None, Some(receipt)) => return PublishReport::Published { key, receipt },
            (Some(problem), _) => problem.text(),
            (None, None) => "its answer cannot be read".to_owned(),
        };
        PublishReport::Refused { key, reason }
    }
}

impl LineProblem {
    fn text(&self) -> String {
        let reason = self.detail.as_deref();
        reason.unwrap_or("the gateway gives no reason").to_owned()
    }
}

impl<K> LineWindow<K> {
    pub(super) fn new(has_token: bool) -> Self {
        LineWindow {
            has_token,
            unsent: VecDeque::new(),
            unanswered: VecDeque::new(),
            put_off: VecDeque::new(),
            unanswered_bytes: 0,
        }
    }

    pub(super) fn push(&mut self, line: PublishLine<K>) {
        self.unsent.push_back(line);
    }

    /// The oldest line that is to be sent: its text. From now on it may have been published.
    pub(super) fn send(&mut self) -> Option<Bytes> {
        // Once it is handed over nobody knows whether it has arrived.
        let line = self.unsent.pop_front()?;
        let text = line.text.clone();
        self.unanswered_bytes += line.size_bytes();
        self.unanswered.push_back(line);
        text
    }

    pub(super) fn has_unsent(&self) -> bool {
        !self.unsent.is_empty()
    }

    pub(super) fn unanswered(&self) -> usize {
        self.unanswered.len()
    }

    /// Is every line settled?
    pub(super) fn is_empty(&self) -> bool {
        self.unsettled().next().is_none()
    }

    /// Is there space for another line? One is read when the one before has been sent.
    pub(super) fn has_space(&self, max_bytes: usize) -> bool {
        self.unsent.is_empty()
            && self.unanswered.len() < limits::PUBLISH_WINDOW_LINES
            && self.unanswered_bytes < max_bytes
    }

    /// The keys of the lines that have no answer that settles them.
    pub(super) fn unsettled(&self) -> impl Iterator<Item = &K> {
        // In the order of the input: what was put off had been sent before the others.
        let taken = self.put_off.iter().chain(&self.unanswered);
        taken.chain(&self.unsent).map(|line| &line.key)
    }

    /// Takes the answer to the oldest unanswered line. The gateway's last word before it ends a
    /// stream may belong to no line.
    pub(super) fn answered(&mut self, answer: &str) -> Option<LineOutcome<K>> {
        // Answers come in the order of lines.
        let line = self.unanswered.pop_front();
        self.unanswered_bytes -= line.as_ref().map_or(0, PublishLine::size_bytes);

        // An answer that cannot be read settles its line: sent again it might be published twice.
        let answer: LineAnswer = serde_json::from_str(answer).unwrap_or_default();
        if let Some(error) = answer.put_off(self.has_token) {
            self.put_off.extend(line);
            return Some(LineOutcome::PutOff(error));
        }
        Some(LineOutcome::Settled(answer.report(line?.key)))
    }

    /// Takes back the lines that are to be sent again after this error.
    ///
    /// # Errors
    /// When a line may have been published and cannot be sent twice.
    pub(super) fn take_back(&mut self, error: &ClientError) -> Result<(), ClientError> {
        // Sent again, a line without an id might be a second event.
        let is_sent = !error.is_unsent();
        if is_sent && self.unanswered.iter().any(|line| !line.is_repeatable) {
            return Err(outcome_unknown(error));
        }
        self.put_back();
        Ok(())
    }

    /// Takes back the lines that are not settled, of which none is published.
    pub(super) fn put_back(&mut self) {
        // In the order of the input: what was put off had been sent before the others.
        self.put_off.append(&mut self.unanswered);
        self.put_off.append(&mut self.unsent);
        self.unanswered_bytes = 0;
        mem::swap(&mut self.put_off, &mut self.unsent);
    }
}

fn outcome_unknown(error: &ClientError) -> ClientError {
    let text = format!(
        "{error}. Some lines on their way have no id and may have been published, \
         so they are not sent again; compare them with the log"
    );
    ClientError::new(ClientErrorKind::OutcomeUnknown, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(ids: &[Option<&str>]) -> LineWindow<usize> {
        let mut window = LineWindow::new(true);
        for (key, id) in ids.iter().enumerate() {
            window.push(PublishLine::from_json(
                key,
                b"{\"topic\":\"a\"}".into(),
                *id,
            ));
        }
        window
    }

    fn keys(window: &LineWindow<usize>) -> Vec<usize> {
        window.unsettled().copied().collect()
    }

    const RECEIPT: &str = r#"{"vid":7,"cursor":"7-abcdef"}"#;
    const BUSY: &str = r#"{"line":1,"error":{"status":503,"detail":"later"}}"#;
    const REFUSAL: &str = r#"{"line":1,"error":{"status":400,"detail":"no topic"}}"#;

    #[test]
    fn answers_belong_to_lines_in_the_order_sent() {
        let mut window = window(&[Some("a"), Some("b"), Some("c")]);
        assert!(window.answered(RECEIPT).is_none(), "nothing has been sent");
        while window.send().is_some() {}
        let mut settled = |answer| match window.answered(answer) {
            Some(LineOutcome::Settled(PublishReport::Published { key, receipt })) => {
                (key, receipt.cursor)
            }
            Some(LineOutcome::Settled(PublishReport::Refused { key, reason })) => (key, reason),
            _ => panic!("{answer} settles a line"),
        };
        assert_eq!(settled(RECEIPT), (0, "7-abcdef".into()));
        assert_eq!(settled(REFUSAL), (1, "no topic".into()));
        assert_eq!(settled("nonsense"), (2, "its answer cannot be read".into()));
        assert!(window.is_empty());
    }

    #[test]
    fn lines_that_are_put_off_or_unanswered_are_sent_again_before_the_others() {
        let mut window = window(&[Some("a"), Some("b"), Some("c"), Some("d")]);
        for _ in 0..3 {
            window.send();
        }
        let put_off = window.answered(BUSY);
        assert!(matches!(put_off, Some(LineOutcome::PutOff(error)) if error.is_passing()));
        window.answered(RECEIPT);
        window
            .take_back(&ClientError::unreachable("gone"))
            .expect("all have ids");
        assert_eq!(keys(&window), [0, 2, 3]);
        assert!(window.has_unsent() && window.unanswered() == 0);
    }

    #[test]
    fn a_line_that_may_have_been_published_is_not_taken_back_without_an_id() {
        let gone = ClientError::unreachable("gone");
        let mut window = window(&[None, None]);
        window.take_back(&gone).expect("nothing was sent");
        window.send();
        let error = window.take_back(&gone).expect_err("it may be published");
        assert_eq!(error.kind(), ClientErrorKind::OutcomeUnknown);
        assert_eq!(keys(&window), [0, 1]);
    }
}
