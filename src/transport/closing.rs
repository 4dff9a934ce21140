//! How an event stream ends when its reader is to come back (contract §5).
//!
//! An `EventSource` gives up for good on any status but 200 (WHATWG HTML, "Server-sent events"), so
//! what passes by itself is reported within a stream. Invariants:
//! - an error that passes is a stream of one `vidette.closing` with a `retry:`, never a status;
//! - an error of the request, and a gap where the client asked for an error, keep their status.

use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use serde_json::json;

use crate::bus::{Closing, ClosingReason};
use crate::error::{Error, ErrorKind, Result};
use crate::metrics::{Readers, Transport};

/// The last block of a stream, with the time after which an `EventSource` comes back.
pub(super) fn closing_block(Closing { reason, retry_ms }: Closing) -> Bytes {
    let data = json!({ "reason": reason.as_str(), "retry_ms": retry_ms });
    format!("retry: {retry_ms}\nevent: vidette.closing\ndata: {data}\n\n").into()
}

/// Why a stream ends with this error, if the same request may be served later.
pub(super) fn passing_reason(error: &Error) -> Option<ClosingReason> {
    match error.kind() {
        ErrorKind::Closing => Some(ClosingReason::Shutdown),
        ErrorKind::Busy | ErrorKind::OutOfMemory => Some(ClosingReason::Busy),
        // The reader lags behind a log that cannot be read or written at the moment.
        ErrorKind::Behind
        | ErrorKind::Locked
        | ErrorKind::Broken
        | ErrorKind::StorageFull
        | ErrorKind::KeysUnavailable
        | ErrorKind::Internal => Some(ClosingReason::Behind),
        // The same request would be refused again.
        ErrorKind::BadRequest
        | ErrorKind::Unauthenticated
        | ErrorKind::Forbidden
        | ErrorKind::NotFound
        | ErrorKind::MethodNotAllowed
        | ErrorKind::Gap
        | ErrorKind::TooLarge
        | ErrorKind::UnsupportedEncoding
        | ErrorKind::UnsupportedMediaType
        | ErrorKind::WrongHost
        | ErrorKind::ReadOnly
        | ErrorKind::Unsupported => None,
    }
}

/// A stream that has just been opened and ends at once.
///
/// # Errors
/// The error itself, if it does not pass.
pub(super) fn opened_and_closed(
    readers: &Readers,
    error: Error,
    headers: HeaderMap,
    closing: impl FnOnce(ClosingReason) -> Closing,
) -> Result<Response> {
    let Some(reason) = passing_reason(&error) else {
        return Err(error);
    };
    // It has come and gone, as the status says.
    readers.count_opened(Transport::Sse);
    readers.count_closed(Transport::Sse, reason.into());
    let block = last_words(&error, closing(reason));
    Ok((headers, block).into_response())
}

/// The reason, and what exactly is wrong in a comment: an `EventSource` does not look at it, a
/// person with curl does.
pub(super) fn last_words(error: &Error, closing: Closing) -> Bytes {
    // A line end would end the comment.
    let detail = error.to_string().replace(['\r', '\n'], " ");
    let comment = format!(": {detail}\n");
    [comment.as_bytes(), &closing_block(closing)]
        .concat()
        .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn last_words_are_one_comment_and_one_block() {
        let error = Error::internal("the disk says:\r\nno\n\nevent: forged");
        let closing = Closing {
            reason: ClosingReason::Behind,
            retry_ms: 7,
        };
        assert_eq!(
            last_words(&error, closing),
            concat!(
                ": the disk says:  no  event: forged\n",
                "retry: 7\nevent: vidette.closing\n",
                "data: {\"reason\":\"behind\",\"retry_ms\":7}\n\n"
            )
        );
    }

    #[test]
    fn an_error_of_the_request_keeps_its_status() {
        let readers = Readers::default();
        let headers = HeaderMap::new;
        let closed = |error| opened_and_closed(&readers, error, headers(), Closing::because);
        assert!(closed(Error::bad_request("no")).is_err());
        for kind in [
            ErrorKind::Busy,
            ErrorKind::OutOfMemory,
            ErrorKind::Closing,
            ErrorKind::Behind,
            ErrorKind::Broken,
        ] {
            let answer = closed(Error::new(kind, "later")).expect("a stream");
            assert_eq!(answer.status(), 200, "{kind:?}");
        }
    }
}
