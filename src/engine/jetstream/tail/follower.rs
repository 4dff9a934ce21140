//! The task that follows a stream.
//!
//! Invariants:
//! - it is one task, so steps leave it in the order in which it finds them;
//! - what comes by a page, or behind a hole, waits for an answer of a leader in touch with a
//!   majority that was asked for afterwards and is of the same log;
//! - while such messages wait, nothing else is taken, so what waits in memory is bounded.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, sleep_until};

use super::bridge::BridgePage;
use super::frozen::FrozenServer;
use super::liveness::Liveness;
use super::progress::Progress;
use super::skipped::SkippedLog;
use super::source::{Received, Source};
use crate::cursor::Vid;
use crate::engine::jetstream::SharedStream;
use crate::engine::jetstream::api::StoredMessage;
use crate::engine::jetstream::connection::Connects;
use crate::engine::jetstream::watch::{Answer, Asked, StreamView};
use crate::engine::{LogState, TailStep};
use crate::limits;

/// Follows a stream, step by step.
pub(super) struct Follower {
    stream: Arc<SharedStream>,
    steps: mpsc::Sender<TailStep>,
    progress: Progress,
    source: Source,
    liveness: Liveness,
    frozen: FrozenServer,
    skipped: SkippedLog,
    answers: watch::Receiver<Asked>,
    connects: Connects,
    /// Messages behind a hole, and the question whether it was trimmed.
    behind_hole: Option<BehindHole>,
}

struct BehindHole {
    messages: Vec<StoredMessage>,
    asking: Pin<Box<dyn Future<Output = Answer> + Send>>,
}

/// What the loop has met.
enum Met {
    Received(Received),
    /// An answer to the question about a hole.
    Hole(Answer),
    Answer,
    Reconnect,
    Nothing,
}

/// Nobody takes steps any more.
struct Ended;

impl Follower {
    /// Follows from behind this vid of that log.
    pub(super) fn new(
        stream: Arc<SharedStream>,
        steps: mpsc::Sender<TailStep>,
        log: &LogState,
        after: Vid,
        stale_after: Duration,
    ) -> Self {
        let now = Instant::now();
        Follower {
            steps,
            progress: Progress::at(log, after),
            source: Source::new(stream.clone()),
            liveness: Liveness::new(stale_after, now),
            frozen: FrozenServer::new(now),
            skipped: SkippedLog::default(),
            answers: stream.watch.answers(),
            connects: stream.watch.connects(),
            behind_hole: None,
            stream,
        }
    }

    /// Ends with whoever takes the steps.
    pub(super) async fn run(mut self) {
        // At once, so that the gateway is ready soon.
        self.stream.watch.ask_soon();
        loop {
            let met = self.meet().await;
            let handled = self.handle(met).await;
            let checked = self.check(Instant::now()).await;
            if handled.is_err() || checked.is_err() {
                return;
            }
        }
    }

    /// Waits for what comes next. Nothing is lost of what is not waited for to its end.
    async fn meet(&mut self) -> Met {
        let next_check = Instant::now() + limits::NATS_TAIL_CHECK;
        let received = async {
            match &mut self.behind_hole {
                Some(behind) => Met::Hole((&mut behind.asking).await),
                None => Met::Received(self.source.next(self.progress.last()).await),
            }
        };
        tokio::select! {
            met = received => met,
            Ok(()) = self.answers.changed() => Met::Answer,
            Ok(()) = self.connects.changed() => Met::Reconnect,
            () = sleep_until(next_check) => Met::Nothing,
        }
    }

    async fn handle(&mut self, met: Met) -> Result<(), Ended> {
        match met {
            Met::Received(Received::Messages(messages)) => self.take_messages(messages).await,
            Met::Received(Received::Page(page)) => self.take_page(page).await,
            Met::Received(Received::Made(view)) => self.look_at_made(&view).await,
            Met::Hole(answer) => self.take_behind_hole(answer).await,
            Met::Answer => self.take_answer().await,
            Met::Reconnect => {
                self.source.reconnected();
                Ok(())
            }
            Met::Nothing => Ok(()),
        }
    }

    async fn take_messages(&mut self, mut messages: Vec<StoredMessage>) -> Result<(), Ended> {
        let next = self.progress.split(&mut messages);
        self.events(next).await?;
        if !messages.is_empty() {
            self.ask_about_hole(messages, Duration::ZERO);
        }
        Ok(())
    }

    fn ask_about_hole(&mut self, messages: Vec<StoredMessage>, pause: Duration) {
        let stream = self.stream.clone();
        self.behind_hole = Some(BehindHole {
            messages,
            asking: Box::pin(async move {
                sleep(pause).await;
                stream.watch.ask_now().await
            }),
        });
    }

    async fn take_behind_hole(&mut self, answer: Answer) -> Result<(), Ended> {
        let Some(behind) = self.behind_hole.take() else {
            return Ok(());
        };
        let view = match answer {
            Ok(view) if view.is_confirmed => view,
            // It may be a hole or not: nothing goes on before that is known.
            _ => {
                self.ask_about_hole(behind.messages, limits::NATS_BRIDGE_PAUSE);
                return Ok(());
            }
        };
        if self.look_at(&view).await? {
            self.events(behind.messages).await?;
        }
        Ok(())
    }

    async fn take_page(&mut self, page: BridgePage) -> Result<(), Ended> {
        if self.look_at(&page.view).await? {
            self.skip(&page.view).await?;
            self.events(page.messages).await?;
        }
        Ok(())
    }

    async fn look_at_made(&mut self, view: &StreamView) -> Result<(), Ended> {
        // The consumer would deliver all that is skipped.
        if self.look_at(view).await? && self.skip(view).await? {
            self.source.restart();
        }
        Ok(())
    }

    async fn take_answer(&mut self) -> Result<(), Ended> {
        let asked = self.answers.borrow_and_update().clone();
        // First: the answer may be of another log, which has another end.
        if let Ok(view) = &asked.answer {
            self.look_at(view).await?;
        }
        self.liveness.answered(&asked);
        Ok(())
    }

    /// Follows what the stream says of itself. True where that is of the log that is followed, and
    /// to be believed.
    async fn look_at(&mut self, view: &StreamView) -> Result<bool, Ended> {
        if !view.is_confirmed {
            return Ok(false);
        }
        let log = self.stream.watch.state();
        if log.lineage.epoch() != self.progress.epoch() {
            self.reset(&log).await?;
        }
        if view.epoch != *self.progress.epoch() {
            return Ok(false);
        }
        if let Some(step) = self.progress.trim(view.bounds.first) {
            self.send(step).await?;
        }
        Ok(true)
    }

    async fn reset(&mut self, log: &LogState) -> Result<(), Ended> {
        self.progress = Progress::at(log, log.bounds.last);
        self.behind_hole = None;
        self.source.restart();
        self.liveness.forget_ends();
        self.stream.tail_at.store(log.bounds.last, Ordering::SeqCst);
        self.send(TailStep::Reset(log.clone())).await
    }

    async fn skip(&mut self, view: &StreamView) -> Result<bool, Ended> {
        let Some(step) = self.progress.skip(view) else {
            return Ok(false);
        };
        self.send(step).await?;
        Ok(true)
    }

    /// Everything up to the last of these messages is in them, or is not on the log.
    async fn events(&mut self, messages: Vec<StoredMessage>) -> Result<(), Ended> {
        let mut skipped = 0;
        let step = self
            .progress
            .take(messages, &self.stream.subjects, &mut skipped);
        if skipped > 0 {
            self.stream.skipped.fetch_add(skipped, Ordering::Relaxed);
            self.skipped
                .add(skipped, self.progress.last(), Instant::now());
        }
        match step {
            Some(step) => self.send(step).await,
            None => Ok(()),
        }
    }

    /// What is due at this time.
    async fn check(&mut self, now: Instant) -> Result<(), Ended> {
        let verdict = self.liveness.judge(now, self.progress.last());
        if verdict.needs_another_consumer {
            self.source.doubt("the end of the log is not known");
        }
        if let Some(is_live) = verdict.live {
            log_live(self.stream.api.stream(), is_live);
            self.stream.watch.set_live(is_live);
            self.send(TailStep::Live(is_live)).await?;
        }
        self.frozen.check(self.stream.api.client(), now).await;
        Ok(())
    }

    async fn send(&mut self, step: TailStep) -> Result<(), Ended> {
        self.steps.send(step).await.map_err(|_| Ended)?;
        let at = self.progress.last();
        self.stream.tail_at.store(at, Ordering::SeqCst);
        self.stream.watch.has_reached(at);
        Ok(())
    }
}

fn log_live(stream: &str, is_live: bool) {
    if is_live {
        tracing::info!(stream, "the end of the stream is known; the gateway serves");
    } else {
        tracing::warn!(
            stream,
            "the end of the stream has not been known for too long; the gateway is not ready and \
             ends its streams until it is known again. Are the NATS servers running and connected?"
        );
    }
}
