//! Retention: what leaves the log, and what the log reports about it.

use std::time::Duration;

use vidette::engine::{Bounds, PageBudget, ReadRequest, Retention, Sizes};
use vidette::limits::{TRIM_STEP_BYTES, TRIM_STEP_EVENTS};

use crate::bench::{Bench, T0, event, event_with_id, filter, keep, vids};

crate::on_every_engine! {
    a_read_below_the_first_vid_tells_the_first_vid,
    topics_leave_with_their_last_event_and_come_back,
}

crate::on_engines_timed_by_the_test! {
    a_log_that_was_trimmed_empty_goes_on_with_the_next_vid,
    a_step_that_only_forgets_ids_says_when_there_are_more,
    a_step_is_bounded_in_bytes,
    nothing_is_trimmed_that_is_not_due,
    the_clock_going_back_trims_nothing_that_is_not_due,
    sizes_count_what_is_retained,
    too_many_bytes_are_trimmed,
    too_many_events_are_trimmed_in_steps_the_oldest_first,
    too_old_events_are_trimmed,
}

async fn nothing_is_trimmed_that_is_not_due(bench: Bench) {
    bench.append_many("a", 10, T0).await;
    let size = bench.engine().state().sizes;
    let exact = Retention {
        max_age: Duration::ZERO,
        max_events: 10,
        max_bytes: size.bytes,
        ..keep()
    };
    let step = bench.engine().trim(exact, T0).await.expect("a step");
    assert_eq!((step.trimmed, step.more), (0, false));
    assert_eq!(bench.engine().state().bounds, Bounds { first: 1, last: 10 });
}

async fn too_many_events_are_trimmed_in_steps_the_oldest_first(bench: Bench) {
    let step_events = u64::from(TRIM_STEP_EVENTS);
    bench.append_many("a", 2 * step_events + 110, T0).await;
    let retention = Retention {
        max_events: 100,
        ..keep()
    };
    let mut first = 1;
    for (trimmed, more) in [
        (TRIM_STEP_EVENTS, true),
        (TRIM_STEP_EVENTS, true),
        (10, false),
        (0, false),
    ] {
        let step = bench.engine().trim(retention, T0).await.expect("a step");
        assert_eq!((step.trimmed, step.more), (trimmed, more));
        first += u64::from(trimmed);
        assert_eq!(
            bench.engine().state().bounds,
            Bounds {
                first,
                last: 2 * step_events + 110
            }
        );
    }
    assert_eq!(bench.engine().state().sizes.events, 100);
    assert_eq!(
        bench.read_all(&["a"], PageBudget::of_events(7)).await,
        (first..first + 100).collect::<Vec<_>>()
    );
}

async fn a_step_is_bounded_in_bytes(bench: Bench) {
    let large = "x".repeat(usize::try_from(TRIM_STEP_BYTES).expect("a size") / 4 - 1000);
    for _ in 0..7 {
        bench.append(vec![event("a", &large)], T0).await;
    }
    let all = Retention {
        max_events: 0,
        ..keep()
    };
    for (trimmed, more) in [(4, true), (3, false), (0, false)] {
        let step = bench.engine().trim(all, T0).await.expect("a step");
        assert_eq!((step.trimmed, step.more), (trimmed, more));
    }
}

async fn a_step_that_only_forgets_ids_says_when_there_are_more(bench: Bench) {
    let ids = u64::from(TRIM_STEP_EVENTS) * 5 / 2;
    let with_ids = |n: u64| event_with_id("a", &format!("id {n}"), "x");
    for part in 0..5 {
        let batch = (part * ids / 5..(part + 1) * ids / 5).map(with_ids);
        bench.append(batch.collect(), T0).await;
    }
    let later = T0 + 1_000_000;
    bench.append(vec![event("a", "x")], later).await;
    let mut steps = Vec::new();
    while steps.last().is_none_or(|more| *more) {
        let step = bench.engine().trim(keep(), later).await.expect("a step");
        assert_eq!(step.trimmed, 0);
        steps.push(step.more);
    }
    assert!(steps.len() > 1, "ids are forgotten in steps: {steps:?}");
    let again = bench.append(vec![with_ids(0)], later).await;
    assert!(!again[0].duplicate);
}

async fn too_many_bytes_are_trimmed(bench: Bench) {
    bench.append_many("a", 10, T0).await;
    let each = bench.engine().state().sizes.bytes / 10;
    let trimmed = async |max_bytes| {
        let retention = Retention {
            max_bytes,
            ..keep()
        };
        bench
            .engine()
            .trim(retention, T0)
            .await
            .expect("a step")
            .trimmed
    };
    assert_eq!(trimmed(each * 9).await, 1);
    assert_eq!(trimmed(each * 9 - 1).await, 1);
    assert_eq!(trimmed(each * 4 + 1).await, 4);
    assert_eq!(
        bench.engine().state().sizes,
        Sizes {
            events: 4,
            bytes: each * 4
        }
    );
    assert_eq!(trimmed(0).await, 4);
}

async fn too_old_events_are_trimmed(bench: Bench) {
    for seconds in 0..10 {
        bench
            .append(vec![event("a", "x")], T0 + seconds * 1000)
            .await;
    }
    let retention = Retention {
        max_age: Duration::from_secs(5),
        ..keep()
    };
    let trimmed = async |seconds: i64| {
        bench
            .engine()
            .trim(retention, T0 + seconds * 1000)
            .await
            .expect("a step")
            .trimmed
    };
    assert_eq!(trimmed(9).await, 4, "0 to 3; 4 is just 5 s old");
    assert_eq!(trimmed(9).await, 0);
    assert_eq!(bench.engine().state().bounds, Bounds { first: 5, last: 10 });
    assert_eq!(trimmed(100).await, 6);
    assert_eq!(
        bench.engine().state().bounds,
        Bounds {
            first: 11,
            last: 10
        }
    );
}

async fn the_clock_going_back_trims_nothing_that_is_not_due(bench: Bench) {
    bench.append(vec![event("a", "1")], T0).await;
    bench.append(vec![event("a", "2")], T0 + 10_000).await;
    let retention = Retention {
        max_age: Duration::from_secs(5),
        ..keep()
    };
    assert_eq!(
        bench
            .engine()
            .trim(retention, T0 - 1_000_000)
            .await
            .expect("a step")
            .trimmed,
        1
    );
    assert_eq!(bench.engine().state().bounds, Bounds { first: 2, last: 2 });
}

async fn a_read_below_the_first_vid_tells_the_first_vid(bench: Bench) {
    bench.append_many("a", 10, T0).await;
    let retention = Retention {
        max_events: 4,
        ..keep()
    };
    bench.engine().trim(retention, T0).await.expect("a step");
    for topics in [vec![], vec!["a"], vec!["a.>", "*"], vec!["none"]] {
        for after in [0, 3, 6] {
            let page = bench.read(after, 10, &topics).await;
            assert_eq!(
                (page.first, page.through),
                (7, 10),
                "{topics:?} after {after}"
            );
            let expected = if topics == ["none"] {
                vec![]
            } else {
                vec![7, 8, 9, 10]
            };
            assert_eq!(vids(&page.events), expected, "{topics:?} after {after}");
        }
        let page = bench.read(0, 5, &topics).await;
        assert_eq!(
            (page.events.len(), page.first),
            (0, 7),
            "{topics:?}: what is gone is not made up"
        );
    }
}

async fn a_log_that_was_trimmed_empty_goes_on_with_the_next_vid(mut bench: Bench) {
    bench
        .append(vec![event("a", "1"), event_with_id("a", "x", "2")], T0)
        .await;
    let retention = Retention {
        max_age: Duration::from_secs(1),
        ..keep()
    };
    assert_eq!(
        bench
            .engine()
            .trim(retention, T0 + 2000)
            .await
            .expect("a step")
            .trimmed,
        2
    );
    for reopened in [false, true] {
        if reopened && bench.is_durable() {
            bench.reopen();
        }
        assert_eq!(
            bench.engine().state().bounds,
            Bounds { first: 3, last: 2 },
            "reopened: {reopened}"
        );
        assert_eq!(bench.engine().state().sizes, Sizes::default());
        assert_eq!(bench.engine().vid_before(T0).await.expect("a vid"), 2);
        let page = bench.read(0, 2, &[]).await;
        assert_eq!((page.events.len(), page.through, page.first), (0, 2, 3));
        let page = bench.read(2, 2, &[]).await;
        assert_eq!((page.events.len(), page.through, page.first), (0, 2, 3));
    }
    let receipts = bench
        .append(
            vec![event_with_id("a", "x", "2"), event("a", "3")],
            T0 + 3000,
        )
        .await;
    assert_eq!(
        (receipts[0].vid, receipts[0].duplicate),
        (2, true),
        "the id is within its window"
    );
    assert_eq!(
        (receipts[1].vid, receipts[1].duplicate),
        (3, false),
        "a vid is never given again"
    );
    assert_eq!(bench.engine().state().bounds, Bounds { first: 3, last: 3 });
}

async fn topics_leave_with_their_last_event_and_come_back(bench: Bench) {
    bench
        .append(["a", "b", "a", "c"].map(|t| event(t, "x")).into(), T0)
        .await;
    let topics = async || {
        let found = bench
            .engine()
            .topics(filter(&[]), None, 10)
            .await
            .expect("topics");
        found
            .into_iter()
            .map(|(topic, vid)| format!("{topic}:{vid}"))
            .collect::<Vec<_>>()
    };
    let trim_to = async |max_events| {
        bench
            .engine()
            .trim(
                Retention {
                    max_events,
                    ..keep()
                },
                T0,
            )
            .await
            .expect("a step");
    };
    assert_eq!(topics().await, ["a:3", "b:2", "c:4"]);
    trim_to(2).await;
    assert_eq!(topics().await, ["a:3", "c:4"]);
    trim_to(1).await;
    assert_eq!(topics().await, ["c:4"]);
    bench
        .append(["b", "d", "a"].map(|t| event(t, "y")).into(), T0)
        .await;
    assert_eq!(topics().await, ["a:7", "b:5", "c:4", "d:6"]);
    for (topic, vid) in [("a", 7), ("b", 5), ("c", 4), ("d", 6)] {
        let page = bench.read(0, 7, &[topic]).await;
        assert_eq!(vids(&page.events), [vid], "{topic}");
        assert_eq!(page.events[0].sent.topic.as_str(), topic);
    }
    let request = ReadRequest {
        after: 0,
        through: 7,
        filter: filter(&[]),
        budget: PageBudget::of_events(10),
    };
    let newest = bench.engine().read_newest(request).await.expect("a page");
    assert_eq!((vids(&newest.events), newest.first), (vec![4, 5, 6, 7], 4));
}

async fn sizes_count_what_is_retained(mut bench: Bench) {
    for n in 0..20_usize {
        bench
            .append(vec![event("a", &"x".repeat(n * 10))], T0)
            .await;
    }
    bench
        .engine()
        .trim(
            Retention {
                max_events: 5,
                ..keep()
            },
            T0,
        )
        .await
        .expect("a step");
    if bench.is_durable() {
        bench.reopen();
    }
    let expected: usize = bench
        .read(0, 20, &[])
        .await
        .events
        .iter()
        .map(|e| e.size_bytes())
        .sum();
    assert_eq!(
        bench.engine().state().sizes,
        Sizes {
            events: 5,
            bytes: expected as u64
        }
    );
}
