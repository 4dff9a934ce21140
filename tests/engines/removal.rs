//! Events that an operator takes out of the log.

use vidette::engine::{Bounds, PageBudget, Removal, Sizes};
use vidette::error::ErrorKind;
use vidette::topic::Topic;

use crate::bench::{Bench, T0, event, vids};

crate::on_every_engine! {
    a_hole_is_passed_over_in_every_way_of_reading,
}

crate::on_engines_timed_by_the_test! {
    a_purge_goes_in_steps_and_leaves_what_comes_later,
}

/// Removes to the end; gives the vids, and how many steps it took. None where the engine cannot.
async fn remove(bench: &Bench, what: Removal) -> Option<(Vec<u64>, usize)> {
    let (mut removed, mut steps) = (Vec::new(), 0);
    loop {
        let step = bench.engine().remove(&what).await;
        if step
            .as_ref()
            .is_err_and(|e| e.kind() == ErrorKind::Unsupported)
        {
            assert!(bench.is_shared());
            return None;
        }
        let step = step.expect("a step");
        removed.extend(step.vids);
        steps += 1;
        if !step.more {
            return Some((removed, steps));
        }
    }
}

async fn newest(bench: &Bench, topics: &[&str]) -> Vec<u64> {
    let request = vidette::engine::ReadRequest {
        after: 0,
        through: bench.engine().state().bounds.last,
        filter: crate::bench::filter(topics),
        budget: PageBudget::of_events(100),
    };
    let page = bench.engine().read_newest(request).await;
    vids(&page.expect("a page").events)
}

async fn topics(bench: &Bench) -> Vec<(String, u64)> {
    let all = bench
        .engine()
        .topics(crate::bench::filter(&[">"]), None, 10);
    let all = all.await.expect("topics").into_iter();
    all.map(|(topic, vid)| (topic.as_str().to_owned(), vid))
        .collect()
}

async fn a_hole_is_passed_over_in_every_way_of_reading(mut bench: Bench) {
    for topic in ["a", "b", "a", "b", "a"] {
        bench.append(vec![event(topic, "x")], T0).await;
    }
    let sizes = bench.engine().state().sizes;
    let Some(removed) = remove(&bench, Removal::Event(5)).await else {
        return;
    };
    assert_eq!(removed, (vec![5], 1));
    remove(&bench, Removal::Event(2)).await;
    assert_eq!(remove(&bench, Removal::Event(2)).await, Some((vec![], 1)));

    for _ in 0..2 {
        assert_eq!(
            bench.read_all(&[">"], PageBudget::of_events(1)).await,
            [1, 3, 4]
        );
        assert_eq!(
            bench.read_all(&["a"], PageBudget::of_events(7)).await,
            [1, 3]
        );
        assert_eq!(newest(&bench, &[">"]).await, [3, 4]);
        assert_eq!(newest(&bench, &["a"]).await, [3]);
        assert_eq!(topics(&bench).await, [("a".into(), 3), ("b".into(), 4)]);
        let state = bench.engine().state();
        assert_eq!(state.bounds, Bounds { first: 1, last: 5 });
        let bytes = sizes.bytes / 5 * 3;
        assert_eq!(state.sizes, Sizes { events: 3, bytes });
        if !bench.is_durable() {
            break;
        }
        bench.reopen();
    }

    // The oldest event moves the beginning of the log; the newest vid is not given again.
    remove(&bench, Removal::Event(1)).await;
    assert_eq!(bench.engine().state().bounds, Bounds { first: 3, last: 5 });
    let receipts = bench.append(vec![event("a", "x")], T0).await;
    assert_eq!(receipts[0].vid, 6);
}

async fn a_purge_goes_in_steps_and_leaves_what_comes_later(mut bench: Bench) {
    bench.append_many("a", 700, T0).await;
    bench.append_many("b", 3, T0).await;
    bench.append_many("a", 4000, T0).await;
    let topic = || Topic::for_publisher("a").expect("a topic");
    let of_a = |through| Removal::Topic {
        topic: topic(),
        through,
    };
    let Some((removed, steps)) = remove(&bench, of_a(4701)).await else {
        return;
    };
    let expected: Vec<u64> = (1..=700).chain(704..=4701).collect();
    assert_eq!(removed, expected);
    assert!(steps > 5 || !bench.is_durable(), "{steps} steps");
    assert_eq!(
        bench.engine().state().bounds,
        Bounds {
            first: 701,
            last: 4703
        }
    );
    assert_eq!(
        topics(&bench).await,
        [("a".into(), 4703), ("b".into(), 703)]
    );

    remove(&bench, of_a(4703)).await;
    assert_eq!(topics(&bench).await, [("b".into(), 703)]);
    if bench.is_durable() {
        bench.reopen();
    }
    assert_eq!(
        bench.read_all(&[">"], PageBudget::of_events(100)).await,
        [701, 702, 703]
    );
    bench.append_many("a", 1, T0).await;
    assert_eq!(
        bench.read_all(&["a"], PageBudget::of_events(100)).await,
        [4704]
    );
    assert_eq!(newest(&bench, &[">"]).await, [703, 4704]);

    // A log that was purged empty goes on with the next vid.
    remove(&bench, of_a(9000)).await;
    remove(
        &bench,
        Removal::Topic {
            topic: Topic::trusted("b"),
            through: 9000,
        },
    )
    .await;
    assert_eq!(
        bench.engine().state().bounds,
        Bounds {
            first: 4705,
            last: 4704
        }
    );
    assert_eq!(
        bench.engine().state().sizes,
        Sizes {
            events: 0,
            bytes: 0
        }
    );
}
