//! What can go wrong, as it is reported to clients and operators.
//!
//! How a kind looks on a wire, its status and its code, is a transport's matter. Invariants:
//! - an [`ErrorKind`] has one meaning, whichever part of the gateway finds the error (contract §5);
//! - the detail says what was wrong, where, and what to do about it.

use std::num::NonZeroU32;
use std::time::Duration;

use crate::cursor::{Gap, ParseCursorError};

/// An error as it is reported to a client.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{detail}")]
pub struct Error {
    kind: ErrorKind,
    detail: String,
    gap: Option<Box<Gap>>,
    retry_after_s: Option<NonZeroU32>,
}

/// A result with vidette's own error.
pub type Result<T> = std::result::Result<T, Error>;

/// The kinds of error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// The request cannot be understood or breaks a rule of the contract.
    BadRequest,
    /// Whoever asks has shown no credentials, or bad ones, where good ones would help.
    Unauthenticated,
    /// Not for this caller.
    Forbidden,
    /// Nothing is served at this address.
    NotFound,
    /// The address does not take this method.
    MethodNotAllowed,
    /// The cursor cannot be served, and the client asked for an error in that case.
    Gap,
    /// An event, a batch or a body is too large.
    TooLarge,
    /// A queue or a number of subscribers has reached its limit.
    Busy,
    /// The disk has no space for more events.
    StorageFull,
    /// The gateway is shutting down; cursors stay good.
    Closing,
    /// This gateway cannot reach the log; cursors stay good.
    Behind,
    /// Another program holds the write lock of the log.
    Locked,
    /// The log cannot be written any more until the gateway is restarted.
    Broken,
    /// The content encoding of a request is not supported.
    UnsupportedEncoding,
    /// The events of a request are in a format that is not taken.
    UnsupportedMediaType,
    /// The request names a host that is not this gateway's.
    WrongHost,
    /// An operator has set this gateway to read-only.
    ReadOnly,
    /// This gateway, as it is set up, cannot do what was asked for.
    Unsupported,
    /// The memory budget is used up.
    OutOfMemory,
    /// The keys of an identity provider cannot be fetched, and without them nobody knows who asks.
    KeysUnavailable,
    /// An error of vidette itself.
    Internal,
}

impl From<ParseCursorError> for Error {
    fn from(error: ParseCursorError) -> Self {
        Error::bad_request(error.to_string())
    }
}

const CLOSING: &str = "the gateway is shutting down; try again shortly, with the same cursor";
const CREDENTIALS_ENDED: &str = "the credentials have expired or were revoked; \
                                 come back with new ones, and with the same cursor";
const BEHIND: &str = "this gateway cannot reach the log; \
                      try again shortly or elsewhere, with the same cursor";

impl Error {
    /// An error of this kind.
    pub fn new(kind: ErrorKind, detail: impl Into<String>) -> Self {
        Error {
            kind,
            detail: detail.into(),
            gap: None,
            retry_after_s: None,
        }
    }

    /// Credentials that were good have expired, or were revoked.
    pub(crate) fn credentials_ended() -> Self {
        Self::new(ErrorKind::Unauthenticated, CREDENTIALS_ENDED)
    }

    /// A request that breaks the contract.
    pub fn bad_request(detail: impl Into<String>) -> Self {
        Self::new(ErrorKind::BadRequest, detail)
    }

    /// Something over its limit.
    pub fn too_large(detail: impl Into<String>) -> Self {
        Self::new(ErrorKind::TooLarge, detail)
    }

    /// An error of vidette itself.
    pub fn internal(detail: impl Into<String>) -> Self {
        Self::new(ErrorKind::Internal, detail)
    }

    /// The gateway is shutting down.
    pub fn closing() -> Self {
        Self::new(ErrorKind::Closing, CLOSING)
    }

    /// The end of the log is not known here now.
    pub fn behind() -> Self {
        Self::new(ErrorKind::Behind, BEHIND)
    }

    /// A gap, for a subscriber that asked for an error at one.
    pub fn gap(gap: Gap) -> Self {
        let mut error = Self::new(ErrorKind::Gap, gap.to_string());
        error.gap = Some(Box::new(gap));
        error
    }

    /// The same error, where it is known how long it lasts.
    #[must_use]
    pub fn passing_after(mut self, wait: Duration) -> Self {
        // Whole seconds, no earlier than that.
        let seconds = wait.as_nanos().div_ceil(1_000_000_000);
        self.retry_after_s = NonZeroU32::new(u32::try_from(seconds).unwrap_or(u32::MAX));
        self
    }

    /// The kind of error.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// The gap, when this is one.
    pub fn gap_details(&self) -> Option<&Gap> {
        self.gap.as_deref()
    }

    /// Seconds after which it has passed, where that is known better than of its kind.
    pub fn retry_after_s(&self) -> Option<u32> {
        self.retry_after_s.map(NonZeroU32::get)
    }

    /// The same error with the place it was found in put before its text.
    #[must_use]
    pub fn at(mut self, place: &str) -> Self {
        self.detail = format!("{place}: {}", self.detail);
        self
    }
}
