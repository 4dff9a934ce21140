//! Readers of the log on disk that leave before they are answered.

use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::join_all;
use vidette::engine::{PageBudget, ReadRequest};
use vidette::limits::COLD_READERS;

use crate::bench::{Bench, T0, filter, vids};

/// A read goes on for a moment after its reader has gone, and has its connection for so long.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_that_leave_take_no_connection_from_those_who_stay() {
    let bench = Bench::sqlite();
    bench.append_many("a", 20_000, T0).await;
    let request = || ReadRequest {
        after: 0,
        through: 20_000,
        filter: filter(&["a"]),
        budget: PageBudget::of_events(1000),
    };
    for _ in 0..100 {
        let mut leaving = Vec::new();
        for patience in 0..4 * COLD_READERS {
            leaving.push(bench.engine().read(request()));
            leaving.retain_mut(|read| read.now_or_never().is_none());
            for _ in 0..patience {
                tokio::task::yield_now().await;
            }
            leaving.truncate(patience % 4);
        }
        drop(leaving);
        let pages = join_all((0..2 * COLD_READERS).map(|_| bench.engine().read(request()))).await;
        for page in pages {
            let page = page.expect("a page, whoever else has left");
            assert_eq!(vids(&page.events), (1..=1000).collect::<Vec<_>>());
        }
    }
}

/// As when its own peer reads nothing: the answer to it is then not asked for, for long.
#[tokio::test]
async fn a_reader_that_stands_still_takes_no_turn_from_the_others() {
    let bench = Bench::sqlite();
    bench.append_many("a", 100, T0).await;
    let request = || ReadRequest {
        after: 0,
        through: 100,
        filter: filter(&["a"]),
        budget: PageBudget::of_events(1000),
    };
    let mut still: Vec<_> = (0..4 * COLD_READERS)
        .map(|_| bench.engine().read(request()))
        .collect();
    for read in &mut still {
        assert!(
            read.now_or_never().is_none(),
            "a read of the disk has to wait"
        );
    }
    let page = tokio::time::timeout(Duration::from_secs(20), bench.engine().read(request())).await;
    assert_eq!(page.expect("its turn").expect("a page").events.len(), 100);
    for page in join_all(still).await {
        assert_eq!(page.expect("a page").events.len(), 100);
    }
}
