//! What the stream says of itself, asked each second and whenever somebody has to know now.
//!
//! Invariants:
//! - one question is under way at a time, and its answer serves everybody who asked before it;
//! - an answer replaces the state of the log as a whole;
//! - another log is believed in only where its leader is in touch with a majority.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use async_nats::jetstream::stream::Info;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, timeout};

use super::api::{Api, ApiError};
use super::epoch;
use crate::cursor::Epoch;
use crate::engine::{Bounds, LogState, Sizes};
use crate::limits;
use crate::lineage::Lineage;

/// What a stream said of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct StreamView {
    /// The name of this log: another one where the stream was made anew.
    pub(super) epoch: Epoch,
    pub(super) bounds: Bounds,
    pub(super) sizes: Sizes,
    /// Has a leader answered that was in touch with a majority of the servers?
    pub(super) is_confirmed: bool,
}

impl StreamView {
    pub(super) fn of(info: &Info) -> Self {
        let state = &info.state;
        StreamView {
            epoch: epoch::of(info),
            bounds: Bounds {
                first: state.first_sequence.max(1),
                last: state.last_sequence,
            },
            sizes: Sizes {
                events: state.messages,
                bytes: state.bytes,
            },
            is_confirmed: is_confirmed(info),
        }
    }
}

impl StreamView {
    fn state(&self, live: bool) -> LogState {
        LogState {
            lineage: Lineage::new(self.epoch.clone()),
            bounds: self.bounds,
            sizes: self.sizes,
            live,
        }
    }
}

/// Has the leader heard of so many of the others within the last seconds that together they are a
/// majority? A leader that is cut off goes on answering for a while.
fn is_confirmed(info: &Info) -> bool {
    // A single server has no cluster.
    let Some(cluster) = &info.cluster else {
        return true;
    };
    let in_touch = |active: &Duration| *active < limits::NATS_REPLICA_SILENCE;
    let others = cluster.replicas.iter();
    let heard_of = others
        .filter(|peer| !peer.offline && in_touch(&peer.active))
        .count();
    let has_leader = cluster.leader.as_ref().is_some_and(|name| !name.is_empty());
    has_leader && heard_of >= info.config.num_replicas / 2
}

/// An answer, or why there was none.
pub(super) type Answer = Result<Arc<StreamView>, ApiError>;

/// A question and its answer.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    /// Questions are counted from 1.
    pub(super) number: u64,
    /// When it was asked.
    pub(super) at: Instant,
    pub(super) answer: Answer,
}

/// Asks the stream what it is.
pub(super) struct StreamWatch {
    api: Api,
    /// The number of the newest question.
    asked: AtomicU64,
    wanted: Notify,
    newest: watch::Sender<Asked>,
    state: ArcSwap<LogState>,
}

impl StreamWatch {
    /// Begins with what was found when the stream was opened.
    pub(super) fn new(api: Api, found: StreamView) -> Self {
        let state = found.state(false);
        let first = Asked {
            number: 0,
            at: Instant::now(),
            answer: Ok(Arc::new(found)),
        };
        StreamWatch {
            state: ArcSwap::from_pointee(state),
            api,
            asked: AtomicU64::new(0),
            wanted: Notify::new(),
            newest: watch::Sender::new(first),
        }
    }

    /// What the log is, as of the newest answer that counts.
    pub(super) fn state(&self) -> Arc<LogState> {
        self.state.load_full()
    }

    /// Takes note whether the end of the log is known.
    pub(super) fn set_live(&self, live: bool) {
        self.state.rcu(|state| LogState {
            live,
            ..(**state).clone()
        });
    }

    /// Each answer, as it comes.
    pub(super) fn answers(&self) -> watch::Receiver<Asked> {
        self.newest.subscribe()
    }

    /// Asks for as long as it is polled.
    pub(super) async fn run(&self) {
        loop {
            let was_answered = self.newest.borrow().answer.is_ok();
            self.ask(was_answered).await;
            // Earlier where somebody wants to know.
            let _ = timeout(limits::NATS_INFO_INTERVAL, self.wanted.notified()).await;
        }
    }

    async fn ask(&self, was_answered: bool) {
        // Short while nobody answers: what was sent while nobody led is lost.
        let wait = if was_answered {
            limits::NATS_INFO_WAIT
        } else {
            limits::NATS_INFO_WAIT_AGAIN
        };
        let at = Instant::now();
        let number = self.asked.fetch_add(1, Ordering::SeqCst) + 1;
        let info = self.api.stream_info(wait).await;
        let answer = info.map(|info| Arc::new(StreamView::of(&info)));
        if let Ok(view) = &answer {
            self.take_over(view);
        }
        self.newest.send_replace(Asked { number, at, answer });
    }

    fn take_over(&self, view: &StreamView) {
        self.state.rcu(|state| {
            let is_same_log = *state.lineage.epoch() == view.epoch;
            if is_same_log {
                // Who answers may lag, and the log only goes on.
                let mut next = view.state(state.live);
                next.bounds.first = next.bounds.first.max(state.bounds.first);
                next.bounds.last = next.bounds.last.max(state.bounds.last);
                next
            } else if view.is_confirmed {
                view.state(state.live)
            } else {
                (**state).clone()
            }
        });
    }

    /// What the stream says to a question that is asked after this call.
    ///
    /// # Errors
    /// Nobody has answered, or none who can be believed.
    pub(super) async fn ask_now(&self) -> Answer {
        let mut answers = self.newest.subscribe();
        // A question that is under way was asked before.
        let number = self.asked.load(Ordering::SeqCst) + 1;
        self.wanted.notify_one();
        let answered = answers.wait_for(|asked| asked.number >= number).await;
        let closed = |_| ApiError::Broken("the gateway shuts down".into());
        answered.map_err(closed)?.answer.clone()
    }
}
