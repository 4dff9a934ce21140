//! The end of the stream, followed in vid order.
//!
//! A task follows it, and puts steps where [`Tail::next`] takes them from. Messages come by a
//! consumer (`consumer`), or by pages while there is none (`bridge`); `source` chooses. What
//! follows from them and from what the stream says of itself is decided by `progress`; whether the
//! end of the log is known, by `liveness`.
//!
//! Invariants:
//! - each step goes on where the one before ended, and a vid is passed over only where it holds no
//!   event or is gone;
//! - a call that is not waited for to its end loses nothing;
//! - the task ends when the tail is dropped.

mod bridge;
mod consumer;
mod delivery;
mod follower;
mod frozen;
mod liveness;
mod progress;
mod skipped;
mod source;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;

use super::SharedStream;
use crate::cursor::Vid;
use crate::engine::{LogState, Tail, TailStep};
use crate::limits;
use follower::Follower;

/// The tail of a stream.
pub(super) struct StreamTail {
    stream: Arc<SharedStream>,
    stale_after: Duration,
    /// As the stream was when it was opened.
    log: Arc<LogState>,
    after: Vid,
    following: Option<Following>,
}

struct Following {
    steps: mpsc::Receiver<TailStep>,
    _task: AbortOnDropHandle<()>,
}

impl StreamTail {
    pub(super) fn new(stream: Arc<SharedStream>, stale_after: Duration) -> Self {
        StreamTail {
            log: stream.watch.state(),
            stream,
            stale_after,
            after: 0,
            following: None,
        }
    }

    pub(super) fn starting_after(mut self, after: Vid) -> Self {
        self.after = after;
        self
    }

    /// Begins with the first step that is asked for.
    fn following(&mut self) -> &mut Following {
        let (stream, log, after) = (&self.stream, &self.log, self.after);
        let stale_after = self.stale_after;
        self.following.get_or_insert_with(|| {
            let (sending, steps) = mpsc::channel(limits::NATS_STEPS_AHEAD);
            let follower = Follower::new(stream.clone(), sending, log, after, stale_after);
            Following {
                steps,
                _task: AbortOnDropHandle::new(tokio::spawn(follower.run())),
            }
        })
    }
}

#[async_trait]
impl Tail for StreamTail {
    async fn next(&mut self) -> TailStep {
        match self.following().steps.recv().await {
            Some(step) => step,
            // The task runs for as long as the channel is there.
            None => std::future::pending().await,
        }
    }
}
