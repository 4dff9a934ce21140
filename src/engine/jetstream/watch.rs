//! What the stream says of itself, asked each second and whenever somebody has to know now.
//!
//! Invariants:
//! - one question is under way at a time, and its answer serves everybody who asked before it;
//! - an answer replaces the state of the log as a whole;
//! - another log is believed in only where its leader is in touch with a majority;
//! - a stream that was deleted and is back, or that has become shorter, and has the same epoch is
//!   given another one, and until it has that nothing of it is believed.

mod replaced;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use async_nats::jetstream::stream::{ClusterInfo, Info, PeerInfo};
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep, timeout};

use super::api::{Api, ApiError};
use super::connection::Connects;
use super::{epoch, lineage};
use crate::cursor::{Epoch, Vid};
use crate::engine::{Bounds, LogState, Sizes};
use crate::limits;
use crate::lineage::{EarlierEpoch, Lineage};
use replaced::{Judgement, Replacement};

/// What a stream said of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct StreamView {
    /// The name of this log: another one where the stream was made anew.
    pub(super) epoch: Epoch,
    /// Those that it goes on from.
    pub(super) earlier: Arc<[EarlierEpoch]>,
    pub(super) bounds: Bounds,
    pub(super) sizes: Sizes,
    /// Has a leader answered that was in touch with a majority of the servers?
    pub(super) is_confirmed: bool,
    /// How long before it had heard of the last one of them.
    pub(super) unheard_for: Duration,
}

impl StreamView {
    pub(super) fn of(info: &Info) -> Self {
        let state = &info.state;
        let unheard_for = unheard_for(info.cluster.as_ref(), info.config.num_replicas);
        StreamView {
            epoch: epoch::of(info),
            earlier: lineage::earlier_of(info),
            bounds: Bounds {
                first: state.first_sequence.max(1),
                last: state.last_sequence,
            },
            sizes: Sizes {
                events: state.messages,
                bytes: state.bytes,
            },
            is_confirmed: unheard_for.is_some_and(|time| time < limits::NATS_REPLICA_SILENCE),
            unheard_for: unheard_for.unwrap_or(Duration::MAX),
        }
    }
}

impl StreamView {
    pub(super) fn state(&self, live: bool) -> LogState {
        LogState {
            lineage: Lineage::with_earlier(self.epoch.clone(), self.earlier.to_vec()),
            bounds: self.bounds,
            sizes: self.sizes,
            live,
        }
    }
}

/// How long ago the leader has last heard of so many of the others that together they are a
/// majority; none where it has not, or where nobody leads. A leader that is cut off goes on
/// answering for a while.
fn unheard_for(cluster: Option<&ClusterInfo>, servers: usize) -> Option<Duration> {
    // A single server has no cluster.
    let Some(cluster) = cluster else {
        return Some(Duration::ZERO);
    };
    cluster.leader.as_ref().filter(|name| !name.is_empty())?;
    // One that was gone before this leader was elected is shown with no time at all.
    let was_heard_of = |peer: &&PeerInfo| peer.current || !peer.active.is_zero();
    let others = cluster.replicas.iter().filter(|peer| !peer.offline);
    let mut unheard_for: Vec<_> = others.filter(was_heard_of).map(|p| p.active).collect();
    unheard_for.sort_unstable();
    match servers / 2 {
        0 => Some(Duration::ZERO),
        needed => unheard_for.get(needed - 1).copied(),
    }
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
    connects: Connects,
    /// The newest vid that is known by the tail or by an answer.
    reached: AtomicU64,
    replacement: Mutex<Replacement>,
}

impl StreamWatch {
    /// Begins with what was found when the stream was opened.
    pub(super) fn new(api: Api, found: StreamView, connects: Connects) -> Self {
        let state = found.state(false);
        let last = found.bounds.last;
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
            connects,
            reached: AtomicU64::new(last),
            replacement: Mutex::default(),
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

    /// Takes note that the tail has come to this vid.
    pub(super) fn has_reached(&self, vid: Vid) {
        self.reached.fetch_max(vid, Ordering::SeqCst);
    }

    /// The connection to the servers: how often it has been made.
    pub(super) fn connects(&self) -> Connects {
        self.connects.clone()
    }

    /// Asks for as long as it is polled.
    pub(super) async fn run(&self) {
        let mut connects = self.connects.clone();
        loop {
            let is_good = self.ask(&mut connects).await;
            let pause = if is_good {
                limits::NATS_INFO_INTERVAL
            } else {
                limits::NATS_INFO_INTERVAL_AGAIN
            };
            // Earlier where somebody wants to know.
            let _ = timeout(pause, self.wanted.notified()).await;
        }
    }

    /// Asks once. True where the answer counts.
    async fn ask(&self, connects: &mut Connects) -> bool {
        let reached = self.reached.load(Ordering::SeqCst);
        let at = Instant::now();
        let number = self.asked.fetch_add(1, Ordering::SeqCst) + 1;
        let answer = self.info(connects).await;
        let answer = answer.map(|info| Arc::new(StreamView::of(&info)));

        let answer = self.judge(answer, reached, at).await;
        if let Ok(view) = &answer {
            self.take_over(view);
        }
        let is_good = answer.as_ref().is_ok_and(|view| view.is_confirmed);
        self.newest.send_replace(Asked { number, at, answer });
        is_good
    }

    async fn info(&self, connects: &mut Connects) -> Result<Info, ApiError> {
        // Short while nobody answers: what was sent while nobody led is lost.
        let was_answered = self.newest.borrow().answer.is_ok();
        let wait = if was_answered && self.state().live {
            limits::NATS_INFO_WAIT
        } else {
            limits::NATS_INFO_WAIT_AGAIN
        };
        // An answer that was on its way when the connection broke does not come any more.
        connects.mark_unchanged();
        let asking = self.api.stream_info(wait);
        tokio::select! {
            answer = asking => answer,
            Ok(()) = connects.changed() => self.api.stream_info(limits::NATS_INFO_WAIT_AGAIN).await,
        }
    }

    /// What is to be believed of an answer that was asked for when the tail was at `reached`.
    async fn judge(&self, answer: Answer, reached: Vid, at: Instant) -> Answer {
        let judgement = {
            let epoch = self.state().lineage.epoch().clone();
            let replacement = self.replacement.lock();
            let mut replacement = replacement.unwrap_or_else(PoisonError::into_inner);
            replacement.judge(&answer, &epoch, reached, at)
        };
        match judgement {
            Judgement::Believed => answer,
            Judgement::InDoubt => Err(replaced::not_believed()),
            Judgement::IsAnother => {
                self.begin_another_epoch().await;
                Err(replaced::not_believed())
            }
        }
    }

    async fn begin_another_epoch(&self) {
        let stream = self.api.stream();
        let Err(error) = epoch::renew(&self.api).await else {
            tracing::warn!(
                stream,
                "the stream is not the one that was there before, though it had the same epoch, as \
                 after a restore from a backup; it has another epoch now"
            );
            return;
        };
        tracing::warn!(
            stream,
            %error,
            "the stream is not the one that was there before, and cannot be given another epoch \
             yet; if this goes on, check that the gateway may update the stream"
        );
        // So that neither the servers nor the log of the gateway is flooded.
        sleep(limits::NATS_RENEW_WAIT).await;
    }

    fn take_over(&self, view: &StreamView) {
        if *self.state().lineage.epoch() == view.epoch {
            self.has_reached(view.bounds.last);
        } else if view.is_confirmed {
            self.reached.store(view.bounds.last, Ordering::SeqCst);
        }
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

    /// Asks without waiting for the next question to be due.
    pub(super) fn ask_soon(&self) {
        self.wanted.notify_one();
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// A cluster of three with this leader; of the others it has heard so many seconds ago.
    fn cluster(leader: Option<&str>, others: [(f64, bool); 2]) -> ClusterInfo {
        let others = others.iter().map(|(seconds, is_current)| {
            let active = Duration::from_secs_f64(*seconds).as_nanos();
            json!({ "name": "n", "current": is_current, "active": u64::try_from(active).ok() })
        });
        let others: Vec<_> = others.collect();
        let cluster = json!({ "name": "c", "leader": leader, "replicas": others });
        serde_json::from_value(cluster).expect("a cluster")
    }

    #[test]
    fn a_leader_counts_for_as_long_as_it_has_heard_of_a_majority() {
        let of = |leader, others| {
            let unheard_for = unheard_for(Some(&cluster(leader, others)), 3);
            unheard_for.map(|time| time.as_secs_f64())
        };
        assert_eq!(unheard_for(None, 1), Some(Duration::ZERO));
        assert_eq!(of(Some("n1"), [(0.5, true), (9.0, true)]), Some(0.5));
        assert_eq!(of(Some("n1"), [(8.0, true), (9.0, true)]), Some(8.0));
        assert_eq!(of(None, [(0.5, true), (0.5, true)]), None);
        assert_eq!(of(Some(""), [(0.5, true), (0.5, true)]), None);
        // It was dead when this leader was elected, and has never been heard of.
        assert_eq!(of(Some("n1"), [(0.0, false), (4.0, true)]), Some(4.0));
        assert_eq!(of(Some("n1"), [(0.0, false), (0.0, false)]), None);
    }
}
