//! The handle to the one thread that writes.

use std::sync::Arc;

use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot};

use super::errors;
use super::published::PublishedState;
use super::threads::spawn;
use super::writer_command::{Batches, WriterCommand};
use super::writer_thread::{WriterSetup, WriterThread};
use crate::cursor::Vid;
use crate::engine::import::CopiedPart;
use crate::engine::{
    Appended, GroupSource, GroupThread, LogState, Moment, OpenError, Removal, RemovalStep,
    Retention, TrimStep,
};
use crate::error::Result;
use crate::limits;

/// Commands waiting for the thread: all steps of a round of retention, and a few others. There is
/// one source of groups at a time.
const QUEUED_COMMANDS: usize = limits::TRIM_STEPS_IN_A_ROW + 8;

/// A handle to the thread.
pub(super) struct Writer {
    commands: mpsc::Sender<WriterCommand>,
    published: Arc<PublishedState>,
}

impl Writer {
    pub(super) fn start(setup: WriterSetup) -> std::result::Result<Self, OpenError> {
        let (commands, queue) = mpsc::channel(QUEUED_COMMANDS);
        let published = Arc::new(PublishedState::new(&setup.state, &setup.lineage));
        let mut thread = WriterThread::new(setup, published.clone());
        spawn("sqlite-writer", move || thread.run(queue))?;
        Ok(Writer {
            commands,
            published,
        })
    }

    pub(super) fn log_state(&self) -> Arc<LogState> {
        self.published.log_state()
    }

    pub(super) fn newest_moment(&self) -> Option<Moment> {
        self.published.newest_moment()
    }

    /// For the probe, which does not keep the thread running.
    pub(super) fn observer(&self) -> WriterObserver {
        WriterObserver {
            commands: self.commands.downgrade(),
            published: self.published.clone(),
        }
    }

    pub(super) async fn append(&self, batches: Batches, now: Moment) -> Result<Appended> {
        self.call(|reply| WriterCommand::Append {
            batches,
            now,
            reply,
        })
        .await
    }

    pub(super) async fn import(&self, part: CopiedPart) -> Result<()> {
        self.call(|reply| WriterCommand::Import { part, reply })
            .await
    }

    pub(super) async fn note(&self, now: Moment) -> Result<()> {
        self.call(|reply| WriterCommand::Note { now, reply }).await
    }

    pub(super) async fn trim(&self, retention: Retention, counted_ms: i64) -> Result<TrimStep> {
        self.call(|reply| WriterCommand::Trim {
            retention,
            counted_ms,
            reply,
        })
        .await
    }

    pub(super) async fn remove(&self, what: Removal) -> Result<RemovalStep> {
        self.call(|reply| WriterCommand::Remove { what, reply })
            .await
    }

    /// Where the thread has ended, all that waits is refused.
    fn refuse(mut source: Box<dyn GroupSource>) {
        while source.next_group().is_some() {
            source.settle(Err(errors::broken()));
        }
    }

    async fn call<T>(
        &self,
        command: impl FnOnce(oneshot::Sender<Result<T>>) -> WriterCommand,
    ) -> Result<T> {
        let (reply, answer) = oneshot::channel();

        // The thread ends only with this handle, or when it has panicked.
        let sent = self.commands.send(command(reply)).await;
        sent.map_err(|_| errors::broken())?;
        answer.await.map_err(|_| errors::broken())?
    }
}

impl GroupThread for Writer {
    fn append_groups(&self, source: Box<dyn GroupSource>) {
        let sent = self.commands.try_send(WriterCommand::AppendGroups(source));
        let Err(refused) = sent else { return };
        match refused {
            TrySendError::Full(command) => {
                let commands = self.commands.clone();
                tokio::spawn(async move { commands.send(command).await });
            }
            TrySendError::Closed(WriterCommand::AppendGroups(source)) => Self::refuse(source),
            TrySendError::Closed(_) => {}
        }
    }
}

/// Watches the writer, and has it try the write lock.
pub(super) struct WriterObserver {
    commands: mpsc::WeakSender<WriterCommand>,
    published: Arc<PublishedState>,
}

impl WriterObserver {
    /// When there are commands waiting they try it themselves.
    pub(super) fn try_lock(&self) {
        // Gone when the engine is being closed.
        if let Some(commands) = self.commands.upgrade() {
            let _ = commands.try_send(WriterCommand::TryLock);
        }
    }

    /// The newest durable vid.
    pub(super) fn last_vid(&self) -> Vid {
        self.published.log_state().bounds.last
    }
}
