//! Pages where replicas do not answer, read message by message from the leader.
//!
//! A message whose headers are none ends the connection of a client that gets it, so that each page
//! with it fails. The leader can send it in another form; it is no event, and is passed over.

use super::super::SharedStream;
use super::super::api::{ApiError, LeaderMessage};
use super::complete::{Amount, Range, Stretch};
use crate::limits;

/// Reads up to the next message that cannot be read otherwise, and past it. What it reads matches
/// or not: whoever asks filters again.
///
/// # Errors
/// The leader has not answered.
pub(super) async fn read_by_leader(
    stream: &SharedStream,
    range: Range,
    amount: Amount,
) -> Result<Stretch, ApiError> {
    let all = stream.subjects.all();
    let mut read = Stretch {
        messages: Vec::new(),
        through: range.after,
    };
    let mut bytes = 0;
    for _ in 0..amount.messages {
        let wait = limits::NATS_READ_WAIT;
        let next = stream.api.leader_message(read.through + 1, &all, wait);
        match next.await? {
            Some(LeaderMessage::Readable(message)) if message.vid <= range.through => {
                bytes += message.data.len();
                read.through = message.vid;
                read.messages.push(message);
            }
            Some(LeaderMessage::Unreadable(vid)) if vid <= range.through => {
                tracing::warn!(
                    vid,
                    "a message of the stream has broken headers; it is left out"
                );
                stream.requests.note_unreadable(vid);
                read.through = vid;
                return Ok(read);
            }
            _ => read.through = range.through,
        }
        if read.through >= range.through || bytes >= amount.bytes {
            break;
        }
    }
    Ok(read)
}
