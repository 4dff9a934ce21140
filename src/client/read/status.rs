//! What a reader shows of itself.

use super::options::Transport;
use crate::cursor::{Cursor, Vid};

/// What has happened to a reader until now.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReaderStatus {
    /// What it is doing.
    pub activity: ReaderActivity,
    /// By which transport: SSE or long-poll where [`Transport::Auto`] was chosen.
    pub transport: Transport,
    /// Where reading would resume, once a cursor is known.
    pub cursor: Option<Cursor>,
    /// How many vids it was behind when the last connection was made, where that is known.
    pub lag: Option<Vid>,
    /// Connections after the first one.
    pub reconnects: u64,
    /// Gaps that were delivered.
    pub gaps: u64,
    /// Events that came a second time and were dropped.
    pub duplicates: u64,
}

/// What a reader is doing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReaderActivity {
    /// It connects, or is about to.
    #[default]
    Connecting,
    /// It reads what is retained.
    CatchingUp,
    /// It has everything, and gets what comes.
    Live,
    /// It waits before it connects again.
    Waiting,
    /// It has ended with an error.
    Ended,
}
