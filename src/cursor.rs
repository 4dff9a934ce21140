//! Cursors: "I have everything up to here" (contract §1, §3).
//!
//! Invariants:
//! - a cursor is exclusive, reading resumes after it;
//! - whatever text comes in, parsing gives a cursor or an error, never a clamped value.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::Serialize;

use crate::limits::MAX_VID;

/// An event's place in the order of the bus.
pub type Vid = u64;

/// The name of one log: a new log has a new epoch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Epoch(Arc<str>);

impl Epoch {
    /// A new random epoch of eight characters.
    pub fn random() -> Self {
        // About 2·10^11 names, so that two logs hardly ever have the same.
        let letters = std::iter::repeat_with(|| fastrand::char('a'..='z'));
        Epoch(letters.take(8).collect::<String>().into())
    }

    /// The epoch as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Epoch {
    type Err = ParseCursorError;

    fn from_str(text: &str) -> Result<Self, ParseCursorError> {
        let is_allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        if (6..=16).contains(&text.len()) && text.bytes().all(is_allowed) {
            Ok(Epoch(text.into()))
        } else {
            Err(ParseCursorError::NoEpoch)
        }
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

/// Why a text is not a cursor.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseCursorError {
    /// It has another form.
    #[error("the cursor {0:?} is not VID or VID-EPOCH, as 1042 or 1042-k3x9q2")]
    NoCursor(String),
    /// No event will ever have this vid.
    #[error("the cursor {0} is larger than the largest vid, {max}", max = MAX_VID)]
    TooLarge(Vid),
    /// An epoch by itself has another form.
    #[error("an epoch is 6 to 16 of the characters a-z and 0-9")]
    NoEpoch,
}

impl FromStr for Cursor {
    type Err = ParseCursorError;

    fn from_str(text: &str) -> Result<Self, ParseCursorError> {
        let no_cursor = || ParseCursorError::NoCursor(shorten(text));
        let (digits, epoch) = match text.split_once('-') {
            Some((digits, epoch)) => (digits, Some(epoch)),
            None => (text, None),
        };
        // A vid beyond the largest is not ahead of the log, it is a mistake.
        let vid = parse_digits(digits).ok_or_else(no_cursor)?;
        if vid > MAX_VID {
            return Err(ParseCursorError::TooLarge(vid));
        }
        let epoch = epoch.map(str::parse).transpose();
        let epoch = epoch.map_err(|_| no_cursor())?;
        Ok(Cursor { vid, epoch })
    }
}

/// A number of digits alone: `parse` would take a sign, too.
fn parse_digits(text: &str) -> Option<Vid> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    // Leading zeros are fine, up to the 20 digits that the largest `u64` has.
    text.parse().ok().filter(|_| is_number && text.len() <= 20)
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
    // Cut between characters: a cut within one would not be UTF-8.
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
        let (requested, first, last) = (&self.requested, self.first, self.last);
        let epoch = &self.epoch;
        match self.reason {
            GapReason::Expired => write!(
                f,
                "events after {requested} are no longer kept; the oldest kept is {first}"
            )?,
            GapReason::Reset => write!(
                f,
                "the cursor {requested} is from another log; the epoch of this one is {epoch}"
            )?,
            GapReason::Ahead => write!(
                f,
                "the cursor {requested} is beyond the newest event, {last}"
            )?,
        }
        f.write_str(GAP_REMEDY)
    }
}

/// What a subscriber does about a gap, whatever its reason.
const GAP_REMEDY: &str = "; load the current state again, then resume with after=earliest, \
                          after=latest or snapshot=true";

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
