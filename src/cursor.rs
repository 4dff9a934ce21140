//! Cursors: "I have everything up to here" (contract §1, §3).
//!
//! Invariants:
//! - a cursor is exclusive, reading resumes after it;
//! - whatever text comes in, parsing answers with a cursor or a bad request, never a clamped value.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::Serialize;

use crate::error::Error;
use crate::limits::MAX_VID;

/// An event's place in the order of the bus.
pub type Vid = u64;

/// The name of one log: a new log has a new epoch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Epoch(Arc<str>);

impl Epoch {
    /// A new random epoch of eight characters.
    pub fn random() -> Self {
        Epoch(
            std::iter::repeat_with(|| fastrand::char('a'..='z'))
                .take(8)
                .collect::<String>()
                .into(),
        )
    }

    /// The epoch as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Epoch {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let fits = (6..=16).contains(&text.len());
        if fits
            && text
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
        {
            return Ok(Epoch(text.into()));
        }
        Err(Error::bad_request(
            "an epoch is 6 to 16 of the characters a-z and 0-9",
        ))
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// `VID` or `VID-EPOCH`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cursor {
    /// Everything up to this vid has been seen.
    pub vid: Vid,
    /// The log it was seen in, when the client says so.
    pub epoch: Option<Epoch>,
}

impl FromStr for Cursor {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let (vid, epoch) = match text.split_once('-') {
            Some((vid, epoch)) => (vid, Some(epoch)),
            None => (text, None),
        };
        let bad = || {
            Error::bad_request(format!(
                "the cursor {:?} is not VID or VID-EPOCH, as 1042 or 1042-k3x9q2",
                shorten(text)
            ))
        };
        if vid.is_empty() || vid.len() > 20 || !vid.bytes().all(|b| b.is_ascii_digit()) {
            return Err(bad());
        }
        let vid: u64 = vid.parse().map_err(|_| bad())?;
        if vid > MAX_VID {
            return Err(Error::bad_request(format!(
                "the cursor {vid} is larger than the largest vid, {MAX_VID}"
            )));
        }
        let epoch = epoch.map(str::parse).transpose().map_err(|_| bad())?;
        Ok(Cursor { vid, epoch })
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.epoch {
            Some(epoch) => write!(f, "{}-{epoch}", self.vid),
            None => write!(f, "{}", self.vid),
        }
    }
}

/// At most the first 40 characters of what a client sent, for an error text.
pub(crate) fn shorten(text: &str) -> String {
    let mut short: String = text.chars().take(40).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    short
}

/// Where a subscription starts (contract §3).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Start {
    /// Only what comes from now on.
    Latest,
    /// All that is retained, then live.
    Earliest,
    /// Everything after the cursor, then live.
    After(Cursor),
    /// Everything from this time on, in milliseconds since 1970, then live.
    Since(i64),
    /// Everything of the last so many milliseconds, then live.
    SinceAgo(i64),
    /// The newest event of every matching topic, then live.
    Snapshot,
}

/// Why a cursor could not be served as it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum GapReason {
    /// Events after the cursor have been trimmed.
    Expired,
    /// The cursor is of another log.
    Reset,
    /// The cursor is beyond the newest event.
    Ahead,
}

impl GapReason {
    /// The name on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            GapReason::Expired => "expired",
            GapReason::Reset => "reset",
            GapReason::Ahead => "ahead",
        }
    }
}

/// Events that a subscriber has not seen are gone, or may be (contract §4).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Gap {
    /// Why.
    pub reason: GapReason,
    /// The cursor that could not be served, as it came.
    pub requested: String,
    /// The oldest retained vid.
    pub first: Vid,
    /// The newest vid.
    pub last: Vid,
    /// The epoch of the log.
    pub epoch: Epoch,
}

impl fmt::Display for Gap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Gap {
            requested,
            first,
            last,
            epoch,
            ..
        } = self;
        match self.reason {
            GapReason::Expired => write!(
                f,
                "events after {requested} are no longer kept; the oldest kept is {first}"
            )?,
            GapReason::Reset => write!(
                f,
                "the cursor {requested} is of another log than this one, {epoch}"
            )?,
            GapReason::Ahead => write!(
                f,
                "the cursor {requested} is beyond the newest event, {last}"
            )?,
        }
        f.write_str("; load the present state afresh, then read on with after=earliest, after=latest or snapshot=true")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_reads_back_as_it_was_written() {
        for text in [
            "0",
            "1042",
            "1042-k3x9q2",
            "9007199254740991",
            "1-abcdef0123456789",
        ] {
            assert_eq!(text.parse::<Cursor>().expect(text).to_string(), text);
        }
    }

    #[test]
    fn anything_else_is_a_bad_request() {
        for text in [
            "",
            "-1",
            "-abc",
            "1042-",
            "1042-abc",
            "1042-ABCDEF",
            "+1",
            "1 ",
            "0x10",
            "1e3",
            "٣",
            "9007199254740992",
            "1042-k3x9q2-k3x9q2",
            "99999999999999999999999",
        ] {
            assert!(
                text.parse::<Cursor>().is_err(),
                "{text:?} was taken for a cursor"
            );
        }
    }

    #[test]
    fn a_new_epoch_is_a_valid_epoch() {
        assert!(Epoch::random().as_str().parse::<Epoch>().is_ok());
        assert_ne!(Epoch::random(), Epoch::random());
    }
}
