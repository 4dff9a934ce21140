//! What a publisher reports.

use super::PublishReceipt;
use super::line::PublishLine;
use crate::client::error::ClientError;
use crate::limits;

/// What became of a line, or of the connection.
#[derive(Debug)]
#[non_exhaustive]
pub enum PublishReport<K> {
    /// The line is an event, and durable.
    Published {
        /// The line's key.
        key: K,
        /// Where the event stands.
        receipt: PublishReceipt,
    },
    /// The line is not published, and will not be.
    Refused {
        /// The line's key.
        key: K,
        /// What is wrong with it.
        reason: String,
    },
    /// The gateway cannot be reached or cannot take lines; the publisher goes on trying.
    Interrupted(ClientError),
}

impl<K> PublishReport<K> {
    /// A line that is longer than any line that the gateway takes.
    pub(super) fn too_long(line: PublishLine<K>) -> Self {
        let most = limits::MAX_LINE_BYTES;
        PublishReport::Refused {
            key: line.key,
            reason: format!("it has more than {most} bytes"),
        }
    }
}
