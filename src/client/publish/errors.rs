//! Why a stream of lines does not go on.

use std::io;

use crate::client::error::{ClientError, ClientErrorKind};
use crate::limits;

/// Is another try worth it, where the gateway has been reached before?
pub(super) fn passes(error: &ClientError) -> bool {
    // A gateway that has been reached may renew its certificate late.
    error.is_passing() || error.kind() == ClientErrorKind::Tls
}

pub(super) fn failed_input(error: &io::Error) -> ClientError {
    ClientError::new(
        ClientErrorKind::Input,
        format!("failed to read input: {error}"),
    )
}

pub(super) fn ended_early() -> ClientError {
    let text = "the gateway has ended the stream";
    ClientError::new(ClientErrorKind::Unavailable, text)
}

pub(super) fn unanswered() -> ClientError {
    let seconds = limits::PUBLISH_ANSWER_TIMEOUT.as_secs();
    ClientError::unreachable(format!("the gateway has answered nothing for {seconds} s"))
}
