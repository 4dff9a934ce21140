//! A stream that another log is copied into.
//!
//! Events that keep their vids are stored at the sequence that is their vid: the stream begins
//! with the first of them, and where the source has no event a message stands that no reader is
//! shown. Each batch is taken only behind the one before it, so that nothing else can come between.
//! How far such a copy has come is where the stream ends, and whose events stand there the name of
//! their batch says.
//!
//! Events under new vids come between those of others. Each batch has a message that says up to
//! which vid of the source it goes, and the newest of these messages is how far the copy has come.
//!
//! Invariants:
//! - a batch is sent again until it is known to be stored, and is stored once;
//! - an id is compared with others only as long as a publisher may still send it again.

mod notes;

use std::collections::VecDeque;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep};

use super::api::Api;
use super::message::OutgoingMessage;
use super::publish::copying::{CopyBatch, CopyLane, Sent};
use super::subjects::Subjects;
use super::{JetStreamOptions, connection, copied, stream_config};
use crate::cursor::Vid;
use crate::engine::import::{CopiedPart, CopiedVids, CopyError, CopyTarget, Standing};
use crate::engine::{LogRequirements, LogState, OpenError, millis};
use crate::limits;
use crate::lineage::Lineage;

pub(super) use notes::refuse_unfinished;

/// A stream that another log is copied into.
pub(crate) struct JetStreamTarget {
    api: Api,
    subjects: Subjects,
    dedupe_window: Duration,
    lane: Mutex<CopyLane>,
}

impl JetStreamTarget {
    /// Connects, and opens the stream; where the options say so it is created, with the first event
    /// of the source at its vid.
    ///
    /// # Errors
    /// As [`super::JetStreamEngine::open`].
    pub(crate) async fn open(
        options: JetStreamOptions,
        required: LogRequirements,
        first_vid: Vid,
    ) -> Result<Self, OpenError> {
        let options = JetStreamOptions {
            first_vid: Some(first_vid),
            ..options
        };
        let (client, _) = connection::connect(&options).await?;
        let api = Api::new(client, &options.stream);
        let opened = stream_config::open(&api, &options, &required).await?;
        Ok(JetStreamTarget {
            api,
            subjects: opened.subjects,
            dedupe_window: required.retention.dedupe_window,
            lane: Mutex::new(CopyLane::new(options)),
        })
    }

    async fn keep_vids(&self, part: &CopiedPart) -> Result<(), CopyError> {
        let mut messages = self.messages_with_holes(part);
        let mut last = part.after;
        while !messages.is_empty() {
            let count = messages.len().min(limits::NATS_BATCH_EVENTS);
            let batch = CopyBatch {
                messages: messages.drain(..count).collect(),
                name: notes::batch_name(part.source.epoch()),
                expected_last: Some(last),
            };
            last += count as u64;
            self.store_kept(batch, last, &part.source).await?;
        }
        Ok(())
    }

    /// One message for each vid of the part.
    fn messages_with_holes(&self, part: &CopiedPart) -> VecDeque<OutgoingMessage> {
        let compared_since_ms = wall_clock_ms().saturating_sub(millis(self.dedupe_window));
        let mut messages = VecDeque::new();
        let mut events = part.events.iter().peekable();
        for vid in part.after + 1..=part.through {
            let message = match events.next_if(|event| event.vid == vid) {
                Some(event) => {
                    let is_recent = event.time_ms >= compared_since_ms;
                    copied::kept(event, is_recent, &self.subjects)
                }
                None => copied::hole(&self.subjects),
            };
            messages.push_back(message);
        }
        messages
    }

    /// Stores a batch, after which the stream ends with this vid.
    async fn store_kept(
        &self,
        mut batch: CopyBatch,
        last: Vid,
        source: &Lineage,
    ) -> Result<(), CopyError> {
        let deadline = Instant::now() + limits::COPY_PATIENCE;
        loop {
            let sent = self.lane.lock().await.send(&batch).await;
            match sent {
                Sent::Stored(vid) if vid == last => return Ok(()),
                Sent::Stored(vid) => return Err(stored_elsewhere(last, vid)),
                // The source had forgotten some of them, which the stream still knows.
                Sent::KnownId => batch.messages.iter_mut().for_each(copied::forget_id),
                // Perhaps an earlier try has stored it.
                Sent::OtherLast => match notes::kept_through(&self.api, source).await? {
                    Some(vid) if vid >= last => return Ok(()),
                    _ => return Err(CopyError::new(OTHERS_APPEND)),
                },
                Sent::Again(why) => wait_again(deadline, &why).await?,
                Sent::Refused(why) => return Err(CopyError::new(why)),
            }
        }
    }

    async fn renumber(&self, part: &CopiedPart) -> Result<(), CopyError> {
        let epoch = part.source.epoch();
        let (mut after, mut events) = (part.after, &part.events[..]);
        while after < part.through {
            // One message is for the mark.
            let count = events.len().min(limits::NATS_BATCH_EVENTS - 1);
            let (now, later) = events.split_at(count);
            let through = match later.first() {
                Some(_) => now.last().map_or(after, |event| event.vid),
                None => part.through,
            };
            let mut messages = vec![copied::mark(epoch, after, through, &self.subjects)];
            let events_now = now.iter().map(|e| copied::renumbered(e, &self.subjects));
            messages.extend(events_now);
            let batch = CopyBatch {
                messages,
                name: "copied".to_owned(),
                expected_last: None,
            };
            self.store_renumbered(batch, through, &part.source).await?;
            (after, events) = (through, later);
        }
        Ok(())
    }

    async fn store_renumbered(
        &self,
        batch: CopyBatch,
        through: Vid,
        source: &Lineage,
    ) -> Result<(), CopyError> {
        let deadline = Instant::now() + limits::COPY_PATIENCE;
        loop {
            let sent = self.lane.lock().await.send(&batch).await;
            match sent {
                Sent::Stored(_) => return Ok(()),
                // An earlier try has stored it; else somebody else copies the same.
                Sent::KnownId => {
                    let marked = notes::renumbered_through(&self.api, &self.subjects, source);
                    if marked.await? == Some(through) {
                        return Ok(());
                    }
                    return Err(CopyError::new(COPIED_BY_OTHERS));
                }
                Sent::OtherLast => return Err(CopyError::new(OTHERS_APPEND)),
                Sent::Again(why) => wait_again(deadline, &why).await?,
                Sent::Refused(why) => return Err(CopyError::new(why)),
            }
        }
    }
}

#[async_trait]
impl CopyTarget for JetStreamTarget {
    fn most_holes(&self) -> u64 {
        limits::COPY_HOLES
    }

    async fn standing(&self, source: &LogState) -> Result<Standing, CopyError> {
        notes::standing(&self.api, &self.subjects, source).await
    }

    async fn begin(&self, source: &Lineage, vids: CopiedVids, after: Vid) -> Result<(), CopyError> {
        match vids {
            CopiedVids::Kept => notes::begin_kept(&self.api, source, after).await,
            CopiedVids::New => Ok(()),
        }
    }

    async fn take(&self, part: CopiedPart) -> Result<(), CopyError> {
        match part.vids {
            CopiedVids::Kept => self.keep_vids(&part).await,
            CopiedVids::New => self.renumber(&part).await,
        }
    }

    async fn end(&self, source: &Lineage, vids: CopiedVids, through: Vid) -> Result<(), CopyError> {
        match vids {
            CopiedVids::Kept => notes::end_kept(&self.api, source, through).await,
            CopiedVids::New => Ok(()),
        }
    }
}

const OTHERS_APPEND: &str = "something else is appended to the stream while it is copied into. \
    Stop the gateways on it, and give the copy a new stream";
const COPIED_BY_OTHERS: &str = "the stream has got these events from another copy within its \
    dedupe window. Is another `vidette copy` running? If not, start this one again in two minutes";

fn stored_elsewhere(expected: Vid, found: Vid) -> CopyError {
    CopyError::new(format!(
        "the stream has stored events up to vid {found}, and not {expected}: its servers do not \
         heed the sequence that is expected. Delete the stream, and copy with newer servers"
    ))
}

async fn wait_again(deadline: Instant, why: &str) -> Result<(), CopyError> {
    if Instant::now() >= deadline {
        let patience_s = limits::COPY_PATIENCE.as_secs();
        return Err(CopyError::new(format!(
            "the stream has taken nothing for {patience_s} s: {why}. Start the same command again \
             when its servers are well; it goes on where it was"
        )));
    }
    sleep(limits::COPY_RETRY_WAIT).await;
    Ok(())
}

fn wall_clock_ms() -> i64 {
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH);
    since_1970.map_or(0, millis)
}
