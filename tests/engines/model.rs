//! Random histories against a plain list that is obviously right.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use proptest::prelude::*;
use proptest::test_runner::Config;
use vidette::engine::{Bounds, Moment, PageBudget, ReadRequest, Receipt, Retention};
use vidette::event::NewEvent;

use crate::bench::{Bench, T0, WINDOW, event, event_with_id, filter, keep, receipts_of, vids};
use crate::common::engines::SHARED;

const TOPICS: [&str; 6] = ["a", "a.1", "a.2", "b.1", "b.1.x", "c"];
const FILTERS: [&[&str]; 7] = [
    &[],
    &["a"],
    &["a.*"],
    &["b.>", "c"],
    &["*.1"],
    &["none"],
    &["a", "a.1", "a.2", "b.1", "c"],
];

#[derive(Debug, Clone)]
enum Step {
    /// Batches of (topic, id), and how far the clock moves. The wall clock may move back.
    Append(Vec<Vec<(usize, Option<u8>)>>, i64),
    /// The wall clock alone is set forward or back; ages are no matter of it.
    JumpWall(i64),
    TrimToCount(u64),
    TrimToAge(u64),
    TrimToBytes(u64),
    Reopen,
    Read {
        filter: usize,
        after: u8,
        through: u8,
        events: usize,
        bytes: usize,
        scan: usize,
    },
    Newest {
        filter: usize,
        after: u8,
    },
    Times(i64),
    Topics {
        filter: usize,
        limit: usize,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let draft = (0..TOPICS.len(), prop::option::weighted(0.4, 0..20_u8));
    let batches = prop::collection::vec(prop::collection::vec(draft, 1..6), 1..4);
    let part = 0..=100_u8;
    prop_oneof![
        6 => (batches, -20_000..60_000_i64).prop_map(|(batches, move_ms)| Step::Append(batches, move_ms)),
        1 => (-2_000_000..2_000_000_i64).prop_map(Step::JumpWall),
        1 => (0..40_u64).prop_map(Step::TrimToCount),
        1 => (0..200_u64).prop_map(Step::TrimToAge),
        1 => (0..4000_u64).prop_map(Step::TrimToBytes),
        1 => Just(Step::Reopen),
        4 => (0..FILTERS.len(), part.clone(), part.clone(), 1..20_usize, 1..2000_usize, 1..50_usize)
            .prop_map(|(filter, after, through, events, bytes, scan)| Step::Read { filter, after, through, events, bytes, scan }),
        1 => (0..FILTERS.len(), part).prop_map(|(filter, after)| Step::Newest { filter, after }),
        1 => (-100_000..400_000_i64).prop_map(Step::Times),
        1 => (0..FILTERS.len(), 1..8_usize).prop_map(|(filter, limit)| Step::Topics { filter, limit }),
    ]
}

#[derive(Default)]
struct Model {
    /// All that was ever appended: vid - 1 is the index.
    log: Vec<Entry>,
    /// How many of them have been trimmed.
    trimmed: usize,
    /// The vid and when it came.
    ids: HashMap<String, (u64, i64)>,
    /// Of the last event; what was a duplicate moves neither.
    last_time_ms: i64,
    last_counted_ms: i64,
    /// The clock that ages are measured by. It falls only over a restart.
    counted_ms: i64,
    wall_ahead_ms: i64,
}

struct Entry {
    time_ms: i64,
    counted_ms: i64,
    event: NewEvent,
}

impl Model {
    fn bounds(&self) -> Bounds {
        Bounds {
            first: self.trimmed as u64 + 1,
            last: self.log.len() as u64,
        }
    }

    fn now(&self) -> Moment {
        Moment {
            time_ms: self.counted_ms + self.wall_ahead_ms,
            counted_ms: self.counted_ms,
        }
    }

    /// (vid, time, event) of what is retained.
    fn retained(&self) -> impl Iterator<Item = (u64, i64, &NewEvent)> {
        (1..)
            .zip(&self.log)
            .skip(self.trimmed)
            .map(|(vid, entry)| (vid, entry.time_ms, &entry.event))
    }

    fn append(&mut self, batches: &[Vec<NewEvent>]) -> Vec<Vec<Receipt>> {
        let now = self.now();
        let time_ms = now.time_ms.max(self.last_time_ms);
        let counted_ms = now.counted_ms.max(self.last_counted_ms);
        let since = counted_ms - i64::try_from(WINDOW.as_millis()).expect("a window");
        let mut one = |event: &NewEvent| {
            if let Some((vid, time)) = event.id.as_deref().and_then(|id| self.ids.get(id))
                && *time >= since
            {
                return Receipt {
                    vid: *vid,
                    duplicate: true,
                };
            }
            self.log.push(Entry {
                time_ms,
                counted_ms,
                event: event.clone(),
            });
            (self.last_time_ms, self.last_counted_ms) = (time_ms, counted_ms);
            let vid = self.log.len() as u64;
            if let Some(id) = &event.id {
                self.ids.insert(id.to_string(), (vid, counted_ms));
            }
            Receipt {
                vid,
                duplicate: false,
            }
        };
        batches
            .iter()
            .map(|batch| batch.iter().map(&mut one).collect())
            .collect()
    }

    /// What was counted since the last event is not known any more.
    fn restart(&mut self) {
        if self.last_counted_ms > 0 {
            self.wall_ahead_ms += self.counted_ms - self.last_counted_ms;
            self.counted_ms = self.last_counted_ms;
        }
    }

    fn trim(&mut self, retention: &Retention) {
        let oldest_id = self.last_counted_ms.max(self.counted_ms)
            - i64::try_from(retention.dedupe_window.as_millis()).expect("a window");
        self.ids.retain(|_, (_, came_ms)| *came_ms >= oldest_id);
        let oldest = self.last_counted_ms.max(self.counted_ms)
            - i64::try_from(retention.max_age.as_millis()).expect("an age");
        let bytes = |model: &Model| {
            model
                .retained()
                .map(|(.., e)| e.size_bytes() as u64)
                .sum::<u64>()
        };
        while let Some(entry) = self.log.get(self.trimmed) {
            let is_old = entry.counted_ms < oldest;
            let count = (self.log.len() - self.trimmed) as u64;
            if count <= retention.max_events && bytes(self) <= retention.max_bytes && !is_old {
                return;
            }
            self.trimmed += 1;
        }
    }

    fn matching(&self, patterns: &[&str], after: u64, through: u64) -> Vec<u64> {
        let filter = filter(patterns);
        let wanted = self
            .retained()
            .filter(|(vid, _, e)| *vid > after && *vid <= through && filter.matches(&e.topic));
        wanted.map(|(vid, ..)| vid).collect()
    }

    fn newest(&self, patterns: &[&str]) -> BTreeMap<String, u64> {
        let filter = filter(patterns);
        let wanted = self.retained().filter(|(.., e)| filter.matches(&e.topic));
        wanted
            .map(|(vid, _, e)| (e.topic.as_str().to_owned(), vid))
            .collect()
    }

    /// A vid at about this percentage of the log.
    fn at(&self, percent: u8) -> u64 {
        self.log.len() as u64 * u64::from(percent) / 100
    }
}

struct Run {
    bench: Bench,
    model: Model,
    serial: u32,
}

impl Run {
    async fn step(&mut self, step: &Step) {
        match step {
            Step::Append(batches, move_ms) => self.append(batches, *move_ms).await,
            Step::JumpWall(by_ms) => self.model.wall_ahead_ms += by_ms,
            Step::TrimToCount(max_events) => {
                self.trim(Retention {
                    max_events: *max_events,
                    ..keep()
                })
                .await;
            }
            Step::TrimToAge(seconds) => {
                self.trim(Retention {
                    max_age: Duration::from_secs(*seconds),
                    ..keep()
                })
                .await;
            }
            Step::TrimToBytes(max_bytes) => {
                self.trim(Retention {
                    max_bytes: *max_bytes,
                    ..keep()
                })
                .await;
            }
            Step::Reopen if self.bench.is_durable() => {
                self.bench.reopen();
                self.model.restart();
            }
            Step::Reopen => {}
            Step::Read {
                filter,
                after,
                through,
                events,
                bytes,
                scan,
            } => {
                let (after, through) = (
                    self.model.at(*after.min(through)),
                    self.model.at(*after.max(through)),
                );
                let budget = PageBudget {
                    events: *events,
                    bytes: *bytes,
                    scan: *scan,
                };
                self.read(FILTERS[*filter], after, through, budget).await;
            }
            Step::Newest { filter, after } => {
                self.newest(FILTERS[*filter], self.model.at(*after)).await;
            }
            Step::Times(offset) => {
                let earlier = self
                    .model
                    .retained()
                    .take_while(|(_, time, _)| *time < T0 + offset)
                    .last();
                let expected = earlier.map_or(self.model.trimmed as u64, |(vid, ..)| vid);
                assert_eq!(
                    self.bench
                        .engine()
                        .vid_before(T0 + offset)
                        .await
                        .expect("a vid"),
                    expected
                );
            }
            Step::Topics {
                filter: wanted,
                limit,
            } => {
                let topics = self
                    .bench
                    .engine()
                    .topics(filter(FILTERS[*wanted]), None, *limit)
                    .await
                    .expect("topics");
                let expected: Vec<_> = self
                    .model
                    .newest(FILTERS[*wanted])
                    .into_iter()
                    .take(*limit)
                    .collect();
                let topics: Vec<_> = topics
                    .into_iter()
                    .map(|(t, vid)| (t.as_str().to_owned(), vid))
                    .collect();
                assert_eq!(topics, expected);
            }
        }
        assert_eq!(
            self.bench.engine().state().bounds,
            self.model.bounds(),
            "after {step:?}"
        );
        let size = self.bench.engine().state().sizes;
        assert_eq!(
            size.events,
            self.model.retained().count() as u64,
            "after {step:?}"
        );
        assert_eq!(
            size.bytes,
            self.model
                .retained()
                .map(|(.., e)| e.size_bytes() as u64)
                .sum::<u64>()
        );
    }

    async fn append(&mut self, batches: &[Vec<(usize, Option<u8>)>], move_ms: i64) {
        self.model.counted_ms += move_ms.max(0);
        self.model.wall_ahead_ms += move_ms.min(0);
        let mut new = |(topic, id): &(usize, Option<u8>)| {
            self.serial += 1;
            let data = format!("{} {}", self.serial, "x".repeat(self.serial as usize % 90));
            match id {
                Some(id) => event_with_id(TOPICS[*topic], &format!("id-{id}"), &data),
                None => event(TOPICS[*topic], &data),
            }
        };
        let batches: Vec<Vec<NewEvent>> = batches
            .iter()
            .map(|batch| batch.iter().map(&mut new).collect())
            .collect();
        let before = self.model.log.len() as u64;
        let expected = self.model.append(&batches);
        let appended = self
            .bench
            .engine()
            .append(batches, self.model.now())
            .await
            .expect("it is appended");
        assert_eq!(receipts_of(&appended), expected);
        if !self.bench.is_shared() {
            let new: Vec<u64> = (before + 1..=self.model.log.len() as u64).collect();
            assert_eq!(vids(&appended.events), new);
        }
    }

    async fn trim(&mut self, retention: Retention) {
        self.model.trim(&retention);
        while self
            .bench
            .engine()
            .trim(retention, self.model.counted_ms)
            .await
            .expect("a step")
            .more
        {}
    }

    async fn read(&self, patterns: &[&str], after: u64, through: u64, budget: PageBudget) {
        let page = self
            .bench
            .read_within(after, through, patterns, budget)
            .await;
        assert_eq!(page.first, self.model.bounds().first);
        assert!(page.through <= through && page.events.len() <= budget.events);
        assert!(
            page.through > after || page.through == through,
            "no step forward: {page:?}"
        );
        assert_eq!(
            vids(&page.events),
            self.model.matching(patterns, after, page.through)
        );
        for event in &page.events {
            let entry = &self.model.log[usize::try_from(event.vid).expect("a vid") - 1];
            assert_eq!(
                (event.time_ms, format!("{:?}", event.sent)),
                (entry.time_ms, format!("{:?}", entry.event))
            );
        }
    }

    async fn newest(&self, patterns: &[&str], after: u64) {
        let through = self.model.bounds().last;
        let budget = PageBudget::of_events(100);
        let request = ReadRequest {
            after,
            through,
            filter: filter(patterns),
            budget,
        };
        let page = self
            .bench
            .engine()
            .read_newest(request)
            .await
            .expect("a page");
        let mut expected: Vec<u64> = self
            .model
            .newest(patterns)
            .into_values()
            .filter(|vid| *vid > after)
            .collect();
        expected.sort_unstable();
        assert_eq!((vids(&page.events), page.through), (expected, through));
    }
}

fn run(bench: Bench, steps: &[Step]) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let mut run = Run {
            bench,
            model: Model {
                counted_ms: T0,
                ..Model::default()
            },
            serial: 0,
        };
        for step in steps {
            run.step(step).await;
        }
        run.read(&[], 0, run.model.bounds().last, PageBudget::of_events(1000))
            .await;
    });
}

proptest! {
    #![proptest_config(Config { cases: 60, failure_persistence: None, ..Config::default() })]

    #[test]
    fn sqlite_does_as_a_plain_list_does(steps in prop::collection::vec(step(), 1..40)) {
        run(Bench::sqlite(), &steps);
    }

    #[test]
    fn memory_does_as_a_plain_list_does(steps in prop::collection::vec(step(), 1..60)) {
        run(Bench::memory(), &steps);
    }

    #[test]
    fn a_shared_log_does_as_a_plain_list_does(steps in prop::collection::vec(step(), 1..60)) {
        run(Bench::new(SHARED), &steps);
    }
}

/// A restart knows of time what the log says, and an append that writes nothing says nothing.
#[test]
fn an_append_of_duplicates_only_moves_no_time() {
    let with_id = |move_ms| Step::Append(vec![vec![(0, Some(13))]], move_ms);
    let earlier = Step::Append(vec![vec![(1, None)]], -1);
    let in_one_run = [with_id(0), with_id(1), earlier.clone()];
    let over_a_restart = [with_id(0), with_id(1), Step::Reopen, earlier];
    run(Bench::sqlite(), &over_a_restart);
    run(Bench::sqlite(), &in_one_run);
    run(Bench::memory(), &in_one_run);
}
