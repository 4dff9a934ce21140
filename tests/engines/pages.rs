//! Reading: pages, budgets, filters, the newest of each topic, times and topics.

use vidette::engine::{PageBudget, ReadRequest};
use vidette::topic::Topic;

use crate::bench::{Bench, T0, event, filter, vids};

crate::on_every_engine! {
    a_page_holds_what_is_after_one_vid_up_to_another,
    a_page_is_bounded_by_events,
    a_page_is_bounded_by_bytes_but_has_at_least_one_event,
    filters_take_in_what_they_name_and_nothing_else,
    the_newest_of_each_topic_is_read_in_vid_order,
    topics_are_listed_page_by_page_in_byte_order,
}

crate::on_engines_timed_by_the_test! {
    a_page_is_bounded_by_events_looked_at,
    a_rare_topic_is_found_in_a_long_log_however_small_the_budget,
    more_topics_than_are_expanded_are_read_all_the_same,
    the_vid_before_a_time_is_exact_at_its_boundaries,
}

const MANY: PageBudget = PageBudget {
    events: 1000,
    bytes: 1 << 20,
    scan: 8192,
};

async fn a_page_holds_what_is_after_one_vid_up_to_another(bench: Bench) {
    bench.append_many("a", 10, T0).await;
    for (after, through, expected) in [
        (0, 10, (1..=10).collect::<Vec<u64>>()),
        (3, 7, vec![4, 5, 6, 7]),
        (9, 10, vec![10]),
        (10, 10, vec![]),
        (4, 4, vec![]),
    ] {
        let page = bench.read(after, through, &[]).await;
        assert_eq!(
            vids(&page.events),
            expected,
            "after {after} through {through}"
        );
        assert_eq!((page.through, page.first), (through, 1));
    }
}

async fn a_page_is_bounded_by_events(bench: Bench) {
    for n in 0..10 {
        bench
            .append(vec![event(if n % 2 == 0 { "a" } else { "b" }, "x")], T0)
            .await;
    }
    let budget = PageBudget { events: 2, ..MANY };
    let page = bench.read_within(0, 10, &["a"], budget).await;
    assert_eq!(vids(&page.events), [1, 3]);
    assert!(
        (3..5).contains(&page.through),
        "everything up to 4 is known, and 5 is not: {page:?}"
    );
    let page = bench.read_within(0, 3, &["a"], budget).await;
    assert_eq!((vids(&page.events), page.through), (vec![1, 3], 3));
    assert_eq!(bench.read_all(&["a"], budget).await, [1, 3, 5, 7, 9]);
}

async fn a_page_is_bounded_by_bytes_but_has_at_least_one_event(bench: Bench) {
    let large = "x".repeat(10_000);
    bench
        .append((0..6).map(|_| event("a", &large)).collect(), T0)
        .await;
    let page = bench
        .read_within(0, 6, &[], PageBudget { bytes: 1, ..MANY })
        .await;
    assert_eq!((vids(&page.events), page.through), (vec![1], 1));
    let page = bench
        .read_within(
            0,
            6,
            &["a"],
            PageBudget {
                bytes: 15_000,
                ..MANY
            },
        )
        .await;
    assert_eq!((vids(&page.events), page.through), (vec![1, 2], 2));
    assert_eq!(
        bench
            .read_all(&["a"], PageBudget { bytes: 1, ..MANY })
            .await,
        (1..=6).collect::<Vec<u64>>()
    );
}

async fn a_page_is_bounded_by_events_looked_at(bench: Bench) {
    bench.append_many("busy", 100, T0).await;
    bench.append(vec![event("rare", "x")], T0).await;
    let budget = PageBudget { scan: 10, ..MANY };
    let page = bench.read_within(0, 101, &["*.x"], budget).await;
    assert!(page.events.is_empty());
    // Each event is looked at; none where the log searches its topics, and finds no such one.
    assert!([10, 101].contains(&page.through), "{page:?}");
    assert_eq!(bench.read_all(&["*.x"], budget).await, Vec::<u64>::new());
    assert_eq!(bench.read_all(&["*"], budget).await.len(), 101);
    assert_eq!(bench.read_all(&["rare"], budget).await, [101]);
}

async fn filters_take_in_what_they_name_and_nothing_else(bench: Bench) {
    let topics = [
        "door.1",
        "door.2.opened",
        "doors",
        "door",
        "window.1",
        "door.1",
        "a.b.c",
        "door\u{10FFFF}",
    ];
    bench
        .append(topics.iter().map(|t| event(t, "x")).collect(), T0)
        .await;
    for (filter, expected) in [
        (vec![], vec![1, 2, 3, 4, 5, 6, 7, 8]),
        (vec![">"], vec![1, 2, 3, 4, 5, 6, 7, 8]),
        (vec!["door.1"], vec![1, 6]),
        (vec!["door.*"], vec![1, 6]),
        (vec!["door.>"], vec![1, 2, 6]),
        (vec!["*.1"], vec![1, 5, 6]),
        (vec!["door", "window.>", "door.2.opened"], vec![2, 4, 5]),
        (vec!["door.1", "door.*", "door.1"], vec![1, 6]),
        (vec!["*"], vec![3, 4, 8]),
        (vec!["a.*.c"], vec![7]),
        (vec!["nothing"], vec![]),
        (vec!["nothing.>", "no.*"], vec![]),
    ] {
        let page = bench.read(0, 8, &filter).await;
        assert_eq!(vids(&page.events), expected, "{filter:?}");
        assert_eq!(
            page.through, 8,
            "{filter:?}: everything that matches up to the end is here"
        );
        assert_eq!(
            bench
                .read_all(&filter, PageBudget { events: 1, ..MANY })
                .await,
            expected,
            "{filter:?}"
        );
    }
}

async fn a_rare_topic_is_found_in_a_long_log_however_small_the_budget(bench: Bench) {
    // Over several blocks of vids, and on both sides of their borders.
    let mut expected = Vec::new();
    for stretch in [4093, 1, 0, 9000, 4000] {
        bench.append_many("busy.topic", stretch, T0).await;
        expected.push(bench.append(vec![event("rare.topic", "x")], T0).await[0].vid);
    }
    bench.append_many("busy.topic", 5000, T0).await;
    let all = bench.engine().state().bounds.last;
    assert_eq!(all, 22_099);
    for budget in [
        MANY,
        PageBudget { events: 1, ..MANY },
        PageBudget { scan: 1000, ..MANY },
        PageBudget { scan: 1, ..MANY },
        PageBudget { bytes: 1, ..MANY },
    ] {
        assert_eq!(
            bench.read_all(&["rare.topic"], budget).await,
            expected,
            "{budget:?}"
        );
        assert_eq!(
            bench.read_all(&["rare.*"], budget).await,
            expected,
            "{budget:?}"
        );
    }
    assert_eq!(bench.read_all(&["*.topic"], MANY).await.len() as u64, all);
    let page = bench
        .read(expected[3] - 1, expected[3], &["rare.topic"])
        .await;
    assert_eq!(
        (vids(&page.events), page.through),
        (vec![expected[3]], expected[3])
    );
}

async fn more_topics_than_are_expanded_are_read_all_the_same(bench: Bench) {
    let count = vidette::limits::MAX_EXPANDED_TOPICS + 50;
    bench
        .append(
            (0..count).map(|n| event(&format!("t.{n}"), "x")).collect(),
            T0,
        )
        .await;
    bench.append(vec![event("other", "x")], T0).await;
    let expected: Vec<u64> = (1..=count as u64).collect();
    assert_eq!(
        bench
            .read_all(&["t.>"], PageBudget { events: 7, ..MANY })
            .await,
        expected
    );
    assert_eq!(bench.read_all(&["t.*", "t.1"], MANY).await, expected);
}

async fn the_newest_of_each_topic_is_read_in_vid_order(bench: Bench) {
    for topic in ["a.1", "a.2", "a.1", "b.1", "a.3", "a.2"] {
        bench.append(vec![event(topic, "x")], T0).await;
    }
    let newest = async |after, through, topics: &[&str], events| {
        let budget = PageBudget { events, ..MANY };
        let request = ReadRequest {
            after,
            through,
            filter: filter(topics),
            budget,
        };
        let page = bench.engine().read_newest(request).await.expect("a page");
        (vids(&page.events), page.through)
    };
    assert_eq!(newest(0, 6, &[], 10).await, (vec![3, 4, 5, 6], 6));
    assert_eq!(newest(0, 6, &["a.>"], 10).await, (vec![3, 5, 6], 6));
    assert_eq!(newest(3, 6, &["a.>"], 10).await, (vec![5, 6], 6));
    assert_eq!(newest(0, 6, &["c"], 10).await, (vec![], 6));
    let (first, through) = newest(0, 6, &["a.>"], 2).await;
    assert_eq!(first, [3, 5]);
    assert!(through == 5, "up to 5 all is here, 6 is not: {through}");
    // A topic whose newest event is beyond the end has none here; a reader gets that one live.
    assert_eq!(newest(0, 5, &[], 10).await, (vec![3, 4, 5], 5));
}

async fn the_vid_before_a_time_is_exact_at_its_boundaries(bench: Bench) {
    for time in [10, 10, 20, 20, 20, 30] {
        bench.append(vec![event("a", "x")], T0 + time).await;
    }
    for (time, expected) in [
        (-5000, 0),
        (9, 0),
        (10, 0),
        (11, 2),
        (20, 2),
        (21, 5),
        (30, 5),
        (31, 6),
        (999, 6),
    ] {
        assert_eq!(
            bench.engine().vid_before(T0 + time).await.expect("a vid"),
            expected,
            "{time}"
        );
    }
    let retention = vidette::engine::Retention {
        max_events: 2,
        ..crate::bench::keep()
    };
    bench
        .engine()
        .trim(retention, T0 + 30)
        .await
        .expect("a step");
    for (time, expected) in [(0, 4), (20, 4), (21, 5), (31, 6)] {
        assert_eq!(
            bench.engine().vid_before(T0 + time).await.expect("a vid"),
            expected,
            "{time} after trimming"
        );
    }
}

async fn topics_are_listed_page_by_page_in_byte_order(bench: Bench) {
    let topics = ["b", "a.2", "a.10", "ä", "a", "a.2"];
    bench
        .append(topics.iter().map(|t| event(t, "x")).collect(), T0)
        .await;
    let list = async |patterns: &[&str], limit| {
        let (mut all, mut after): (Vec<(String, u64)>, Option<Topic>) = (Vec::new(), None);
        loop {
            let page = bench
                .engine()
                .topics(filter(patterns), after, limit)
                .await
                .expect("topics");
            assert!(page.len() <= limit);
            after = page.last().map(|(topic, _)| topic.clone());
            if page.is_empty() {
                return all;
            }
            all.extend(
                page.into_iter()
                    .map(|(topic, vid)| (topic.as_str().to_owned(), vid)),
            );
            assert!(
                all.len() <= topics.len(),
                "it goes round in circles: {all:?}"
            );
        }
    };
    let named = |list: &[(&str, u64)]| {
        list.iter()
            .map(|(t, v)| ((*t).to_owned(), *v))
            .collect::<Vec<_>>()
    };
    for limit in [1, 2, 5, 100] {
        assert_eq!(
            list(&[], limit).await,
            named(&[("a", 5), ("a.10", 3), ("a.2", 6), ("b", 1), ("ä", 4)]),
            "{limit}"
        );
        assert_eq!(
            list(&["a.*", "b"], limit).await,
            named(&[("a.10", 3), ("a.2", 6), ("b", 1)]),
            "{limit}"
        );
    }
    assert_eq!(list(&["c.>"], 1).await, []);
}
