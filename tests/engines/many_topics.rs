//! Logs of many topics: searched for by wildcards, listed, and with few or many events in a block.

use vidette::engine::{PageBudget, ReadRequest, Retention};
use vidette::limits::TOPIC_SCAN_STEP;
use vidette::topic::Topic;

use crate::bench::{Bench, T0, event, filter, keep, vids};

crate::on_engines_timed_by_the_test! {
    topics_are_found_by_their_last_token_in_several_steps,
    topics_with_few_and_with_many_events_in_a_block_are_read_together,
    a_topic_that_comes_after_all_others_have_gone_is_found,
}

const MANY: PageBudget = PageBudget {
    events: 1000,
    bytes: 1 << 20,
    scan: 8192,
};

async fn topics_are_found_by_their_last_token_in_several_steps(bench: Bench) {
    // Two in three have a first token of their own, so that nothing can be passed over.
    let name = |n: usize| match n % 3 {
        0 => format!("same.{n}"),
        _ => format!("t{n}.room.{}", n % 1000),
    };
    let count = TOPIC_SCAN_STEP * 2;
    for first in (0..count).step_by(4096) {
        let names = (first..first + 4096).map(name);
        bench
            .append(names.map(|topic| event(&topic, "x")).collect(), T0)
            .await;
    }
    let numbers = (0..count).filter(|n| n % 3 != 0 && n % 1000 == 7);
    let mut expected: Vec<u64> = numbers.map(|n| n as u64 + 1).collect();
    let patterns = ["*.room.7", "*.30000"];
    expected.push(30_001);
    expected.sort_unstable();
    assert_eq!(bench.read_all(&patterns, MANY).await, expected);

    // Found once; what has come since is found as well.
    let newer = bench.append(vec![event("new.room.7", "x"), event("other", "x")], T0);
    expected.push(newer.await[0].vid);
    assert_eq!(bench.read_all(&patterns, MANY).await, expected);
    assert_eq!(read_all_newest(&bench, &patterns).await, expected);

    // Listed page by page.
    let (mut listed, mut after) = (Vec::new(), None::<Topic>);
    loop {
        let page = bench.engine().topics(filter(&patterns), after, 7);
        let page = page.await.expect("topics");
        let Some((last, _)) = page.last() else { break };
        after = Some(last.clone());
        listed.extend(page.into_iter().map(|(_, vid)| vid));
    }
    listed.sort_unstable();
    assert_eq!(listed, expected);
}

async fn read_all_newest(bench: &Bench, patterns: &[&str]) -> Vec<u64> {
    let through = bench.engine().state().bounds.last;
    let (mut after, mut seen) = (0, Vec::new());
    while after < through {
        let request = ReadRequest {
            after,
            through,
            filter: filter(patterns),
            budget: MANY,
        };
        let page = bench.engine().read_newest(request).await.expect("a page");
        seen.extend(vids(&page.events));
        after = page.through;
    }
    seen
}

async fn topics_with_few_and_with_many_events_in_a_block_are_read_together(bench: Bench) {
    let topic = |n: u64| match n {
        _ if n.is_multiple_of(1500) => "thin.events",
        _ if n % 50 == 1 => "medium.events",
        _ => "busy",
    };
    // The index adds to a block several times.
    let count = 14_000;
    for first in (1..=count).step_by(700) {
        let batch = (first..first + 700).map(|n| event(topic(n), "x"));
        bench.append(batch.collect(), T0).await;
    }
    let of = |wanted: &[&str]| -> Vec<u64> {
        (1..=count)
            .filter(|n| wanted.contains(&topic(*n)))
            .collect()
    };
    let [thin, medium] = ["thin.events", "medium.events"];
    for (patterns, expected) in [
        (vec![thin], of(&[thin])),
        (vec![medium], of(&[medium])),
        (vec![thin, medium], of(&[thin, medium])),
        (vec!["*.events"], of(&[thin, medium])),
    ] {
        for budget in [
            MANY,
            PageBudget { events: 7, ..MANY },
            PageBudget { scan: 100, ..MANY },
        ] {
            assert_eq!(
                bench.read_all(&patterns, budget).await,
                expected,
                "{patterns:?}"
            );
        }
    }
}

/// What was found of a filter is kept by the numbers of topics.
async fn a_topic_that_comes_after_all_others_have_gone_is_found(bench: Bench) {
    let old = (0..100).map(|n| event(&format!("t{n}.x"), "x"));
    bench.append(old.collect(), T0).await;
    assert_eq!(bench.read_all(&["*.x", "*.y"], MANY).await.len(), 100);
    let retention = Retention {
        max_events: 0,
        ..keep()
    };
    while bench
        .engine()
        .trim(retention, T0)
        .await
        .expect("a step")
        .more
    {}
    bench.append(vec![event("new.x", "x")], T0).await;
    assert_eq!(bench.read_all(&["*.x", "*.y"], MANY).await, [101]);
    let listed = bench.engine().topics(filter(&["*.x"]), None, 9).await;
    assert_eq!(listed.expect("topics").len(), 1);
}
