//! When a part of the stream is complete.
//!
//! Any replica answers, and one may lag: what it leaves out is no proof of anything. A replica has
//! the log up to some point, without holes of its own. Invariants:
//! - up to the last message of an answer nothing that matches is missing behind its first one;
//! - beyond that, and before the first one, the leader has the last word;
//! - a part is returned only when all of that is settled.

use std::cmp::min;
use std::future::Future;

use futures_util::future::try_join_all;

use super::super::api::{ApiError, DirectGet, DirectPage, StoredMessage};
use crate::cursor::Vid;

/// Who is asked.
pub(super) trait Replicas {
    /// Any replica.
    fn messages(
        &self,
        request: DirectGet,
    ) -> impl Future<Output = Result<DirectPage, ApiError>> + Send;

    /// The leader, for the first matching message from a vid on.
    fn leader_next(
        &self,
        from: Vid,
        subjects: &str,
    ) -> impl Future<Output = Result<Option<Vid>, ApiError>> + Send;
}

/// Vids behind one and up to another.
#[derive(Debug, Clone, Copy)]
pub(super) struct Range {
    pub(super) after: Vid,
    pub(super) through: Vid,
}

/// How much is asked for at most.
#[derive(Debug, Clone, Copy)]
pub(super) struct Amount {
    pub(super) messages: usize,
    pub(super) bytes: usize,
}

/// A part of the stream.
#[derive(Debug)]
pub(super) struct Stretch {
    /// In vid order, each once.
    pub(super) messages: Vec<StoredMessage>,
    /// Every message that matches up to here is there.
    pub(super) through: Vid,
}

/// Reads the messages of these subjects, as far as one answer for each of them goes. None where a
/// replica has left something out, so that it has to be asked again.
///
/// # Errors
/// Somebody has not answered.
pub(super) async fn read_range(
    replicas: &impl Replicas,
    subjects: &[String],
    range: Range,
    amount: Amount,
) -> Result<Option<Stretch>, ApiError> {
    let asked = subjects.iter().map(|matching| {
        replicas.messages(DirectGet {
            seq: Some(range.after + 1),
            next_by_subj: Some(matching.clone()),
            batch: amount.messages.max(1),
            // 0 would be no bound.
            max_bytes: (amount.bytes / subjects.len()).max(1),
            ..DirectGet::default()
        })
    });
    let answers = try_join_all(asked).await?;
    let parts = subjects.iter().zip(answers);
    let parts: Vec<_> = parts.map(|(of, answer)| Part::new(of, answer)).collect();

    // Behind the end of an answer that is cut off, others have what this one lacks.
    let ends = parts.iter().filter_map(|part| part.cut_off_at(range.after));
    let through = ends.fold(range.through, min);

    let doubts = parts.iter().flat_map(|part| part.doubts(range, through));
    let settled = doubts.map(|doubt| doubt.ask(replicas));
    let is_complete = try_join_all(settled).await?.into_iter().all(|yes| yes);
    Ok(is_complete.then(|| merge(parts, range, through)))
}

/// What a replica has answered for one of the subjects.
struct Part<'s> {
    subjects: &'s str,
    messages: Vec<StoredMessage>,
    pending: u64,
}

/// Vids of which only the leader knows whether something matches there.
struct Doubt<'s> {
    subjects: &'s str,
    from: Vid,
    before: Vid,
}

impl<'s> Part<'s> {
    fn new(subjects: &'s str, answer: DirectPage) -> Self {
        Part {
            subjects,
            messages: answer.messages,
            pending: answer.pending,
        }
    }

    /// Where it ends, if the replica knows that there is more.
    fn cut_off_at(&self, after: Vid) -> Option<Vid> {
        let last = self.messages.last().map_or(after, |message| message.vid);
        (self.pending > 0).then_some(last)
    }

    /// What it does not prove of a range that ends at `through`.
    fn doubts(&self, range: Range, through: Vid) -> impl Iterator<Item = Doubt<'s>> {
        let end = through + 1;
        let first = self.messages.first().map_or(end, |m| min(m.vid, end));
        let last = self.messages.last().map_or(range.after, |m| m.vid);

        // A replica may have trimmed before the leader does; only those that are there are due.
        let is_empty = self.messages.is_empty();
        let start = (range.after + 1, if is_empty { 0 } else { first });
        // A replica that lags has nothing behind its own end.
        let rest = (last + 1, end);
        let subjects = self.subjects;
        let doubts = [start, rest].map(|(from, before)| Doubt {
            subjects,
            from,
            before,
        });
        doubts.into_iter().filter(|doubt| doubt.from < doubt.before)
    }
}

impl Doubt<'_> {
    /// Does the leader have nothing there either?
    async fn ask(self, replicas: &impl Replicas) -> Result<bool, ApiError> {
        let next = replicas.leader_next(self.from, self.subjects).await?;
        Ok(next.is_none_or(|vid| vid >= self.before))
    }
}

fn merge(parts: Vec<Part<'_>>, range: Range, through: Vid) -> Stretch {
    let messages = parts.into_iter().flat_map(|part| part.messages);
    let is_in_range = |message: &StoredMessage| (range.after + 1..=through).contains(&message.vid);
    let mut messages: Vec<_> = messages.filter(is_in_range).collect();

    // Patterns may have topics in common.
    messages.sort_unstable_by_key(|message| message.vid);
    messages.dedup_by_key(|message| message.vid);
    Stretch { messages, through }
}

#[cfg(test)]
mod tests;
