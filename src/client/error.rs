//! What can go wrong for a client, and whether trying again makes sense.

use std::time::Duration;

use super::read::GapReport;

/// Why a client could not go on.
///
/// Its text names what was wrong, where, and what to do about it.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{text}")]
pub struct ClientError {
    kind: ClientErrorKind,
    text: String,
    retry_after: Duration,
    status: Option<u16>,
    gap: Option<Box<GapReport>>,
    /// There was no connection, so nothing has been sent.
    is_unsent: bool,
}

/// The kinds of error that a client meets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ClientErrorKind {
    /// The address of the gateway is not one that this client can use.
    Address,
    /// No gateway was reached, or the connection to it broke. It passes.
    Unreachable,
    /// The gateway, or a proxy before it, cannot serve the request now. It passes.
    Unavailable,
    /// The gateway refused the request; the same request will be refused again.
    Refused,
    /// The gateway does not know who asks: there is no token, or it is not accepted and there is no
    /// fresh one.
    Unauthenticated,
    /// A certificate or key cannot be used, or encryption with the gateway failed: one of the two
    /// does not trust the other.
    Tls,
    /// Events were lost to retention, and the reader was to fail in that case.
    Gap,
    /// What came is not what a gateway sends.
    Protocol,
    /// An event has more bytes than the reader takes.
    TooLarge,
    /// The input that was to be published could not be read.
    Input,
    /// The events may or may not have been published: nothing answered for them, and they cannot be
    /// sent again without the danger that they are published twice.
    OutcomeUnknown,
}

impl ClientError {
    pub(super) fn new(kind: ClientErrorKind, text: impl Into<String>) -> Self {
        ClientError {
            kind,
            text: text.into(),
            retry_after: Duration::ZERO,
            status: None,
            gap: None,
            is_unsent: false,
        }
    }

    pub(super) fn unreachable(text: impl Into<String>) -> Self {
        Self::new(ClientErrorKind::Unreachable, text)
    }

    pub(super) fn protocol(text: impl Into<String>) -> Self {
        Self::new(ClientErrorKind::Protocol, text)
    }

    pub(super) fn gap(gap: GapReport) -> Self {
        ClientError {
            text: gap.to_string(),
            gap: Some(Box::new(gap)),
            ..Self::new(ClientErrorKind::Gap, "")
        }
    }

    /// The same error, where there was no connection or there was one.
    #[must_use]
    pub(super) fn unsent(mut self, is_unsent: bool) -> Self {
        self.is_unsent = is_unsent;
        self
    }

    /// Has nothing of the request been sent?
    pub(super) fn is_unsent(&self) -> bool {
        self.is_unsent
    }

    #[must_use]
    pub(super) fn with_retry_after(mut self, pause: Duration) -> Self {
        self.retry_after = pause;
        self
    }

    /// The same error, for an answer with this status of HTTP.
    #[must_use]
    pub(super) fn with_status(mut self, status: u16) -> Self {
        self.status = Some(status);
        self
    }

    /// The same error, with what helps a client that has said nothing about who it is.
    pub(super) fn with_advice(mut self) -> Self {
        if self.kind == ClientErrorKind::Unauthenticated {
            self.text += "; give a token (--token-file FILE, or VIDETTE_TOKEN)";
        }
        self
    }

    /// The kind of error.
    pub fn kind(&self) -> ClientErrorKind {
        self.kind
    }

    /// Does it make sense to try the same again later?
    pub fn is_passing(&self) -> bool {
        matches!(
            self.kind,
            ClientErrorKind::Unreachable | ClientErrorKind::Unavailable
        )
    }

    /// The least time to wait before another try, as the server asked (`Retry-After`); zero where
    /// it did not.
    pub fn retry_after(&self) -> Duration {
        self.retry_after
    }

    /// The status of HTTP of the answer that was the error, where there was one.
    pub fn status(&self) -> Option<u16> {
        self.status
    }

    /// What was lost, where the kind is [`ClientErrorKind::Gap`].
    pub fn gap_report(&self) -> Option<&GapReport> {
        self.gap.as_deref()
    }
}
