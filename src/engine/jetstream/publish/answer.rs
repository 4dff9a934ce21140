//! What JetStream says to a message that it was to store.
//!
//! Invariant: an answer that is not understood never counts as stored, nor as not stored.

use async_nats::{Message, StatusCode};
use serde::Deserialize;

use crate::cursor::Vid;
use crate::error::{Error, ErrorKind};

/// An id is known, or twice within the batch.
const KNOWN_ID: u64 = 10201;
/// An id is being stored.
const ID_IN_PROCESS: u64 = 10158;
/// A message of the batch was lost or refused.
const BATCH_INCOMPLETE: u64 = 10176;
/// Too many batches are open.
const TOO_MANY_BATCHES: u64 = 10210;
/// What a message may not ask for: that older ones are rolled up.
const ROLL_UP_REFUSED: u64 = 10111;
/// The message, or its headers, are too large.
const TOO_LARGE: [u64; 3] = [10054, 10097, 10199];
/// The account, the server or its disk has no space: 10002, 10023, 10028, 10047, 10120.
const FULL: [u64; 5] = [10002, 10023, 10028, 10047, 10120];
/// It could not be stored; the text says why.
const STORE_FAILED: u64 = 10077;
/// The stream takes nothing as it is now: sealed, without atomic batches, JetStream switched off.
const CLOSED: [u64; 5] = [10109, 10174, 10177, 10039, 10076];

/// An answer.
#[derive(Debug)]
pub(super) enum Answer {
    /// A message of an open batch has been taken.
    Accepted,
    /// Stored up to this vid.
    Stored { last: Vid, duplicate: bool },
    /// Nothing was stored, as an id is known.
    KnownId,
    /// This try has stored nothing; another one may.
    NotNow { why: String, reason: NotNow },
    /// This try may have stored everything.
    Unknown { why: String },
    /// It will not be stored.
    Refused(Refusal),
}

/// Why a try has stored nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NotNow {
    /// Nobody leads the stream, or it cannot be reached.
    Away,
    /// Too many batches are open.
    Busy,
    /// A message did not come, or was refused without an answer.
    Incomplete,
}

/// Why something is not stored.
#[derive(Debug, Clone)]
pub(super) enum Refusal {
    /// For the sake of one event; others may be stored.
    OfEvent(Error),
    /// Nothing would be stored.
    OfAll(Error),
}

impl Refusal {
    pub(super) fn into_error(self) -> Error {
        match self {
            Refusal::OfEvent(error) | Refusal::OfAll(error) => error,
        }
    }
}

/// Whether the stream knows an id.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Known {
    As(Vid),
    No,
    /// It cannot be said now.
    Unclear,
}

#[derive(Deserialize, Default)]
struct Acknowledgement {
    #[serde(default)]
    stream: String,
    #[serde(default)]
    seq: Vid,
    #[serde(default)]
    duplicate: bool,
    error: Option<ApiError>,
}

#[derive(Deserialize)]
struct ApiError {
    #[serde(default)]
    code: u64,
    #[serde(default)]
    err_code: u64,
    #[serde(default)]
    description: String,
}

impl Answer {
    /// Understands an answer of this stream.
    pub(super) fn of(message: &Message, stream: &str) -> Self {
        if message.status == Some(StatusCode::NO_RESPONDERS) {
            return not_now("no server leads the stream now", NotNow::Away);
        }
        if message.payload.is_empty() {
            return Answer::Accepted;
        }
        let parsed = serde_json::from_slice::<Acknowledgement>(&message.payload);
        let Ok(acknowledgement) = parsed else {
            return unknown("the answer cannot be understood");
        };
        acknowledgement.answer(stream)
    }
}

impl Acknowledgement {
    fn answer(self, stream: &str) -> Answer {
        if let Some(error) = self.error {
            return error.answer();
        }
        if self.stream != stream {
            let taken_by = self.stream;
            return Answer::Refused(Refusal::OfAll(closed(&format!(
                "its subjects belong to the stream {taken_by}"
            ))));
        }
        if self.seq == 0 {
            return unknown("the answer names no sequence");
        }
        Answer::Stored {
            last: self.seq,
            duplicate: self.duplicate,
        }
    }
}

impl ApiError {
    fn answer(self) -> Answer {
        let text = format!("{} ({})", self.description, self.err_code);
        match self.err_code {
            KNOWN_ID => Answer::KnownId,
            ID_IN_PROCESS => unknown(&text),
            BATCH_INCOMPLETE => not_now(&text, NotNow::Incomplete),
            TOO_MANY_BATCHES => not_now(&text, NotNow::Busy),
            STORE_FAILED => self.store_failed(&text),
            code if TOO_LARGE.contains(&code) => too_large(&text),
            code if FULL.contains(&code) => full(&text),
            code if CLOSED.contains(&code) => Answer::Refused(Refusal::OfAll(closed(&text))),
            // An election, or a server that is starting.
            _ if self.code == 503 => not_now(&text, NotNow::Away),
            _ => Answer::Refused(Refusal::OfAll(closed(&text))),
        }
    }

    fn store_failed(&self, text: &str) -> Answer {
        let says = |words: &str| self.description.contains(words);
        if says("too large") {
            return too_large(text);
        }
        if says("exceeded") || says("no space") {
            return full(text);
        }
        // Some servers may have stored it, and others not.
        unknown(text)
    }
}

impl Known {
    /// Understands the answer to a probe.
    pub(super) fn of(message: &Message, stream: &str) -> Self {
        let parsed = serde_json::from_slice::<Acknowledgement>(&message.payload);
        let acknowledgement = parsed.unwrap_or_default();
        match acknowledgement.error {
            Some(error) if error.err_code == ROLL_UP_REFUSED => Known::No,
            None if acknowledgement.duplicate && acknowledgement.stream == stream => {
                Known::As(acknowledgement.seq)
            }
            _ => Known::Unclear,
        }
    }
}

fn not_now(why: &str, reason: NotNow) -> Answer {
    let why = why.to_owned();
    Answer::NotNow { why, reason }
}

fn unknown(why: &str) -> Answer {
    Answer::Unknown {
        why: why.to_owned(),
    }
}

fn too_large(text: &str) -> Answer {
    Answer::Refused(Refusal::OfEvent(Error::too_large(format!(
        "NATS does not take an event so large: {text}; its data and headers have to fit into \
         max_payload of the servers"
    ))))
}

fn full(text: &str) -> Answer {
    Answer::Refused(Refusal::OfAll(Error::new(
        ErrorKind::StorageFull,
        format!(
            "NATS has no space for more events: {text}. Give the stream's servers or \
             account more, or let events leave the log earlier"
        ),
    )))
}

fn closed(text: &str) -> Error {
    Error::new(
        ErrorKind::Broken,
        format!("the stream takes no events: {text}; look at its configuration"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(text: &str) -> Answer {
        Answer::of(&message(text), "doors")
    }

    fn message(text: &str) -> Message {
        Message {
            subject: "inbox".into(),
            reply: None,
            payload: text.to_owned().into(),
            headers: None,
            status: None,
            description: None,
            length: 0,
        }
    }

    fn error(code: u64, err_code: u64, description: &str) -> String {
        let error = serde_json::json!({
            "code": code, "err_code": err_code, "description": description
        });
        serde_json::json!({"error": error, "stream": "doors", "seq": 0}).to_string()
    }

    #[test]
    fn only_an_acknowledgement_of_this_stream_counts_as_stored() {
        let stored = answer(r#"{"stream":"doors","seq":7,"batch":"x","count":3}"#);
        assert!(matches!(
            stored,
            Answer::Stored {
                last: 7,
                duplicate: false
            }
        ));
        for text in ["{", r#"{"stream":"doors"}"#, "[]", "null"] {
            assert!(matches!(answer(text), Answer::Unknown { .. }), "{text}");
        }
        let other = answer(r#"{"stream":"windows","seq":7}"#);
        assert!(matches!(other, Answer::Refused(Refusal::OfAll(_))));
        assert!(matches!(answer(""), Answer::Accepted));
    }

    #[test]
    fn a_refusal_says_whether_others_may_be_stored_and_whether_to_try_again() {
        let kind = |answer: Answer| match answer {
            Answer::Refused(Refusal::OfAll(error)) => (false, error.kind()),
            Answer::Refused(Refusal::OfEvent(error)) => (true, error.kind()),
            other => panic!("{other:?}"),
        };
        let refused = |code, text: &str| kind(answer(&error(503, code, text)));
        assert_eq!(refused(10054, "too large"), (true, ErrorKind::TooLarge));
        assert_eq!(
            refused(10077, "message too large"),
            (true, ErrorKind::TooLarge)
        );
        assert_eq!(
            refused(10077, "maximum bytes exceeded"),
            (false, ErrorKind::StorageFull)
        );
        assert_eq!(refused(10047, "no space"), (false, ErrorKind::StorageFull));
        assert_eq!(refused(10109, "sealed"), (false, ErrorKind::Broken));

        let again = |code| answer(&error(503, code, "later"));
        assert!(matches!(
            again(10008),
            Answer::NotNow {
                reason: NotNow::Away,
                ..
            }
        ));
        assert!(matches!(
            again(10210),
            Answer::NotNow {
                reason: NotNow::Busy,
                ..
            }
        ));
        assert!(matches!(again(10158), Answer::Unknown { .. }));
        assert!(matches!(again(10077), Answer::Unknown { .. }));
        assert!(matches!(again(10201), Answer::KnownId));
    }

    #[test]
    fn a_probe_is_answered_by_a_duplicate_or_by_what_is_refused_behind_it() {
        let known = |text: &str| Known::of(&message(text), "doors");
        let duplicate = r#"{"stream":"doors","seq":7,"duplicate":true}"#;
        assert_eq!(known(duplicate), Known::As(7));
        assert_eq!(known(&error(500, 10111, "rollup")), Known::No);
        for text in [
            "",
            r#"{"stream":"doors","seq":7}"#,
            &error(409, 10158, "in process"),
        ] {
            assert_eq!(known(text), Known::Unclear, "{text}");
        }
    }
}
