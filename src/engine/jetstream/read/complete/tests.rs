//! The rule against servers that keep to no more than what is known of them.

use std::collections::BTreeSet;
use std::sync::Mutex;

use async_nats::HeaderMap;
use bytes::Bytes;
use proptest::collection::{btree_set, vec};
use proptest::prelude::*;
use proptest::test_runner::Config;

use super::*;

/// A leader, and replicas of which each answers one request after the other.
#[derive(Debug, Clone)]
struct Cluster {
    /// Messages with the letter that is their subject.
    log: Vec<(Vid, char)>,
    /// The leader has trimmed what is below.
    first: Vid,
    replicas: Vec<Replica>,
}

#[derive(Debug, Clone, Copy)]
struct Replica {
    /// It has the log up to here, …
    last: Vid,
    /// … has trimmed what is below, …
    first: Vid,
    /// … and says that nothing is pending, whatever it has.
    hides_pending: bool,
}

struct Servers {
    cluster: Cluster,
    asked: Mutex<Asked>,
}

#[derive(Default)]
struct Asked {
    replicas: usize,
    leader: usize,
}

/// A subject filter is the letters that it takes in.
fn takes_in(subjects: &str, subject: char) -> bool {
    subjects == ">" || subjects.contains(subject)
}

impl Replica {
    fn answer(self, log: &[(Vid, char)], request: &DirectGet) -> DirectPage {
        let subjects = request.next_by_subj.as_deref().expect("subjects");
        let from = request.seq.expect("a vid").max(self.first);
        let matching = log
            .iter()
            .filter(|(vid, subject)| *vid >= from && takes_in(subjects, *subject));
        let matching: Vec<_> = matching.filter(|(vid, _)| *vid <= self.last).collect();
        let sent = matching.len().min(request.batch);
        let pending = (matching.len() - sent) as u64;
        DirectPage {
            messages: matching[..sent].iter().map(|m| message(**m)).collect(),
            pending: if self.hides_pending { 0 } else { pending },
            as_of: None,
        }
    }
}

fn message((vid, subject): (Vid, char)) -> StoredMessage {
    StoredMessage {
        vid,
        time_ms: 0,
        subject: subject.into(),
        headers: HeaderMap::new(),
        data: Bytes::new(),
    }
}

impl Replicas for Servers {
    async fn messages(&self, request: DirectGet) -> Result<DirectPage, ApiError> {
        let Cluster { log, replicas, .. } = &self.cluster;
        let mut asked = self.asked.lock().expect("not poisoned");
        let replica = replicas[asked.replicas % replicas.len()];
        asked.replicas += 1;
        Ok(replica.answer(log, &request))
    }

    async fn leader_next(&self, from: Vid, subjects: &str) -> Result<Option<Vid>, ApiError> {
        self.asked.lock().expect("not poisoned").leader += 1;
        let matching = self.cluster.matching(subjects);
        Ok(matching.into_iter().find(|vid| *vid >= from))
    }
}

impl Cluster {
    /// What the leader has.
    fn matching(&self, subjects: &str) -> Vec<Vid> {
        let retained = self.log.iter().filter(|(vid, _)| *vid >= self.first);
        let matching = retained.filter(|(_, subject)| takes_in(subjects, *subject));
        matching.map(|(vid, _)| *vid).collect()
    }

    fn read(self, subjects: &[&str], range: Range, messages: usize) -> (Option<Stretch>, Asked) {
        let servers = Servers {
            cluster: self,
            asked: Mutex::default(),
        };
        let subjects: Vec<_> = subjects.iter().map(|s| (*s).to_owned()).collect();
        let amount = Amount {
            messages,
            bytes: 1000,
        };
        let read = read_range(&servers, &subjects, range, amount);
        let read = futures_util::FutureExt::now_or_never(read).expect("nothing waits");
        let asked = servers.asked.into_inner().expect("not poisoned");
        (read.expect("everybody answers"), asked)
    }

    fn up_to_date(log: impl Iterator<Item = Vid>) -> Self {
        let log: Vec<_> = log.map(|vid| (vid, 'a')).collect();
        let last = log.last().map_or(0, |(vid, _)| *vid);
        Cluster {
            log,
            first: 1,
            replicas: vec![Replica {
                last,
                first: 1,
                hides_pending: false,
            }],
        }
    }
}

fn range(after: Vid, through: Vid) -> Range {
    Range { after, through }
}

fn cluster() -> impl Strategy<Value = Cluster> {
    let log = (btree_set(1..60_u64, 0..50), vec(0..4_usize, 60));
    let replica = (0..70_u64, 1..30_u64, any::<bool>());
    let replica = replica.prop_map(|(last, first, hides_pending)| Replica {
        last,
        first,
        hides_pending,
    });
    (log, 1..30_u64, vec(replica, 1..6)).prop_map(|((vids, subjects), first, replicas)| {
        let letters = ['a', 'b', 'c', 'd'];
        let log = vids.into_iter().zip(subjects);
        Cluster {
            log: log.map(|(vid, subject)| (vid, letters[subject])).collect(),
            first,
            replicas,
        }
    })
}

proptest! {
    #![proptest_config(Config { cases: 3000, failure_persistence: None, ..Config::default() })]

    #[test]
    fn what_is_returned_has_everything_that_the_leader_has(
        cluster in cluster(),
        subjects in vec(prop_oneof![Just(">"), Just("a"), Just("b"), Just("ab"), Just("bcd")], 1..5),
        (after, length) in (0..60_u64, 1..60_u64),
        messages in 1..20_usize,
    ) {
        let through = after + length;
        let (read, _) = cluster.clone().read(&subjects, range(after, through), messages);
        if let Some(read) = read {
            prop_assert!(read.through >= after && read.through <= through);
            let found: BTreeSet<_> = read.messages.iter().map(|message| message.vid).collect();
            for vid in subjects.iter().flat_map(|of| cluster.matching(of)) {
                let is_in_range = vid > after && vid <= read.through;
                prop_assert!(!is_in_range || found.contains(&vid), "{vid} of {read:?}");
            }
            let in_order: Vec<_> = found.into_iter().collect();
            let sent: Vec<_> = read.messages.iter().map(|message| message.vid).collect();
            prop_assert_eq!(sent, in_order);
            let is_in_range = |message: &StoredMessage| message.vid > after && message.vid <= read.through;
            prop_assert!(read.messages.iter().all(is_in_range));
        }
    }

    #[test]
    fn replicas_that_are_up_to_date_always_bring_it_further(
        mut cluster in cluster(),
        subjects in vec(prop_oneof![Just(">"), Just("a"), Just("ab"), Just("cd")], 1..5),
        (after, length) in (0..60_u64, 1..60_u64),
        messages in 1..20_usize,
    ) {
        for replica in &mut cluster.replicas {
            (replica.last, replica.first, replica.hides_pending) = (Vid::MAX, cluster.first, false);
        }
        let (read, _) = cluster.read(&subjects, range(after, after + length), messages);
        let read = read.expect("it is complete");
        prop_assert!(read.through > after);
    }
}

#[test]
fn a_part_without_holes_needs_no_word_of_the_leader() {
    let cluster = Cluster::up_to_date(1..=600);
    for (subjects, range, through) in [
        (&[">"][..], range(0, 512), 512),
        (&[">"], range(512, 600), 600),
        (&["a", ">"], range(0, 600), 512),
    ] {
        let (read, asked) = cluster.clone().read(subjects, range, 512);
        assert_eq!(read.expect("it is complete").through, through);
        assert_eq!(asked.leader, 0, "{subjects:?}");
    }
}

#[test]
fn with_a_hole_at_the_end_a_later_message_is_the_proof() {
    let cluster = Cluster::up_to_date((1..=600).filter(|vid| !(500..=520).contains(vid)));
    let (read, asked) = cluster.read(&[">"], range(0, 512), 512);
    let read = read.expect("it is complete");
    assert_eq!((read.messages.len(), read.through), (499, 512));
    assert_eq!(asked.leader, 0);
}

#[test]
fn a_replica_that_lags_is_not_believed() {
    let mut cluster = Cluster::up_to_date(1..=10);
    cluster.replicas[0].last = 7;
    let (read, _) = cluster.clone().read(&[">"], range(0, 10), 100);
    assert!(read.is_none(), "8 to 10 are missing");
    // It knows enough for this one.
    let (read, _) = cluster.read(&[">"], range(0, 7), 100);
    assert_eq!(read.expect("it is complete").messages.len(), 7);
}

#[test]
fn a_replica_that_has_trimmed_early_is_not_believed() {
    let mut cluster = Cluster::up_to_date(1..=10);
    cluster.replicas[0].first = 4;
    let (read, _) = cluster.clone().read(&[">"], range(1, 10), 100);
    assert!(read.is_none(), "the leader still has 2 and 3");
    cluster.first = 4;
    let (read, _) = cluster.read(&[">"], range(1, 10), 100);
    assert_eq!(read.expect("it is complete").messages.len(), 7);
}
