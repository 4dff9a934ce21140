//! Vids, batches, times and ids.

use vidette::engine::{Bounds, Receipt, Sizes};
use vidette::event::{EventParts, NewEvent};
use vidette::limits;

use crate::bench::{Bench, T0, WINDOW, event, event_with_id, keep, receipts_of, vids};

crate::on_every_engine! {
    an_empty_log_begins_before_vid_1,
    several_batches_of_one_append_keep_their_order,
    an_id_that_was_seen_gets_the_vid_of_the_first,
    an_id_of_a_trimmed_event_is_still_a_duplicate,
    an_append_of_duplicates_only_appends_nothing,
}

crate::on_engines_timed_by_the_test! {
    an_id_is_forgotten_when_its_window_is_over,
    times_never_fall_when_the_clock_goes_back,
    vids_rise_from_1_and_a_batch_has_neighbouring_vids,
    what_was_sent_comes_back_byte_for_byte,
}

fn new(vid: u64) -> Receipt {
    Receipt {
        vid,
        duplicate: false,
    }
}

fn duplicate(vid: u64) -> Receipt {
    Receipt {
        vid,
        duplicate: true,
    }
}

async fn an_empty_log_begins_before_vid_1(bench: Bench) {
    assert_eq!(bench.engine().state().bounds, Bounds { first: 1, last: 0 });
    assert_eq!(bench.engine().state().sizes, Sizes::default());
    assert!(bench.engine().writable().is_ok());
    let page = bench.read(0, 0, &[]).await;
    assert_eq!((page.events.len(), page.through, page.first), (0, 0, 1));
    assert_eq!(bench.engine().vid_before(T0).await.expect("a vid"), 0);
    assert!(
        bench
            .engine()
            .topics(crate::bench::filter(&[]), None, 10)
            .await
            .expect("topics")
            .is_empty()
    );
}

async fn vids_rise_from_1_and_a_batch_has_neighbouring_vids(bench: Bench) {
    for round in 0..5 {
        let receipts = bench
            .append(
                vec![event("a", "1"), event("b", "2"), event("a", "3")],
                T0 + round,
            )
            .await;
        let first = u64::try_from(round).expect("a round") * 3 + 1;
        assert_eq!(receipts, [new(first), new(first + 1), new(first + 2)]);
    }
    assert_eq!(bench.engine().state().bounds, Bounds { first: 1, last: 15 });
    assert_eq!(bench.engine().state().sizes.events, 15);
}

async fn several_batches_of_one_append_keep_their_order(bench: Bench) {
    let batches = vec![
        vec![event_with_id("a", "one", "1")],
        vec![
            event("b", "2"),
            event_with_id("b", "one", "again"),
            event("b", "3"),
        ],
        vec![event("c", "4")],
    ];
    let appended = bench
        .engine()
        .append(batches, T0.into())
        .await
        .expect("it is appended");
    assert_eq!(
        receipts_of(&appended),
        [
            vec![new(1)],
            vec![new(2), duplicate(1), new(3)],
            vec![new(4)]
        ]
    );
    if !bench.is_shared() {
        assert_eq!(vids(&appended.events), [1, 2, 3, 4]);
    }
    let page = bench.read(0, 4, &[]).await;
    let data: Vec<_> = page.events.iter().map(|e| e.sent.data.to_vec()).collect();
    assert_eq!(data, [b"1", b"2", b"3", b"4"]);
}

async fn an_id_that_was_seen_gets_the_vid_of_the_first(bench: Bench) {
    let batch = vec![
        event_with_id("a", "x", "1"),
        event_with_id("a", "x", "in the batch"),
        event("a", "2"),
    ];
    assert_eq!(
        bench.append(batch, T0).await,
        [new(1), duplicate(1), new(2)]
    );
    assert_eq!(
        bench
            .append(vec![event_with_id("other", "x", "later")], T0 + 5)
            .await,
        [duplicate(1)]
    );
    assert_eq!(
        bench
            .append(vec![event_with_id("a", "y", "3")], T0 + 5)
            .await,
        [new(3)]
    );
    let page = bench.read(0, 3, &[]).await;
    assert_eq!(vids(&page.events), [1, 2, 3]);
    assert_eq!(&page.events[0].sent.data[..], b"1", "the first one counts");
}

async fn an_id_is_forgotten_when_its_window_is_over(bench: Bench) {
    let window = i64::try_from(WINDOW.as_millis()).expect("a window");
    let x = || vec![event_with_id("a", "x", "1")];
    assert_eq!(bench.append(x(), T0).await, [new(1)]);
    assert_eq!(
        bench.append(x(), T0 + window).await,
        [duplicate(1)],
        "the window's last moment"
    );
    assert_eq!(bench.append(x(), T0 + window + 1).await, [new(2)]);
    assert_eq!(
        bench.append(x(), T0 + window + 2).await,
        [duplicate(2)],
        "the window begins anew"
    );
    // What the first one left behind must not take the second one's entry along.
    let step = bench
        .engine()
        .trim(keep(), T0 + window + 3)
        .await
        .expect("a step");
    assert_eq!((step.trimmed, step.more), (0, false));
    assert_eq!(bench.append(x(), T0 + 2 * window).await, [duplicate(2)]);
}

async fn an_id_of_a_trimmed_event_is_still_a_duplicate(bench: Bench) {
    bench
        .append(vec![event_with_id("a", "x", "1"), event("a", "2")], T0)
        .await;
    let retention = vidette::engine::Retention {
        max_events: 1,
        ..keep()
    };
    assert_eq!(
        bench
            .engine()
            .trim(retention, T0)
            .await
            .expect("a step")
            .trimmed,
        1
    );
    assert_eq!(
        bench
            .append(vec![event_with_id("a", "x", "1")], T0 + 1)
            .await,
        [duplicate(1)]
    );
}

async fn an_append_of_duplicates_only_appends_nothing(bench: Bench) {
    bench.append(vec![event_with_id("a", "x", "1")], T0).await;
    let before = (bench.engine().state().bounds, bench.engine().state().sizes);
    let appended = bench
        .engine()
        .append(vec![vec![event_with_id("a", "x", "1")]; 3], (T0 + 1).into())
        .await
        .expect("it is appended");
    assert!(appended.events.is_empty());
    assert_eq!(receipts_of(&appended), vec![vec![duplicate(1)]; 3]);
    assert_eq!(
        (bench.engine().state().bounds, bench.engine().state().sizes),
        before
    );
}

async fn times_never_fall_when_the_clock_goes_back(mut bench: Bench) {
    bench.append(vec![event("a", "1")], T0 + 1000).await;
    bench.append(vec![event("a", "2")], T0).await;
    if bench.is_durable() {
        bench.reopen();
    }
    bench.append(vec![event("a", "3")], T0 + 500).await;
    bench.append(vec![event("a", "4")], T0 + 1001).await;
    let page = bench.read(0, 4, &[]).await;
    let times: Vec<i64> = page.events.iter().map(|e| e.time_ms - T0).collect();
    assert_eq!(times, [1000, 1000, 1000, 1001]);
}

async fn what_was_sent_comes_back_byte_for_byte(mut bench: Bench) {
    let all_bytes: Vec<u8> = (0..=255).cycle().take(100_000).collect();
    let parts = |kind, id, content_type, headers, data: &[u8]| EventParts {
        topic: "门.3.🚪",
        kind,
        id,
        content_type,
        headers,
        data: data.to_vec().into(),
    };
    let headers = vec![
        ("b".to_owned(), "2".to_owned()),
        ("a".to_owned(), "\"ü\n\0".to_owned()),
    ];
    let sent: Vec<NewEvent> = [
        parts(
            Some("opened"),
            Some("id-ü"),
            Some("application/json"),
            headers,
            br#"{ "n": 1.50e0 }"#,
        ),
        parts(
            None,
            None,
            Some("application/octet-stream"),
            Vec::new(),
            &all_bytes,
        ),
        parts(
            None,
            None,
            Some("text/plain; charset=utf-8"),
            Vec::new(),
            b"",
        ),
    ]
    .into_iter()
    .map(|parts| NewEvent::check(parts, limits::MAX_EVENT_BYTES_CEILING).expect("an event"))
    .collect();
    bench.append(sent.clone(), T0).await;
    let size = bench.engine().state().sizes;
    assert_eq!(
        size.bytes,
        sent.iter().map(|e| e.size_bytes() as u64).sum::<u64>()
    );
    if bench.is_durable() {
        bench.reopen();
        assert_eq!(bench.engine().state().sizes, size);
    }
    let page = bench.read(0, 3, &[]).await;
    assert_eq!(page.events.len(), 3);
    for (read, sent) in page.events.iter().zip(&sent) {
        assert_eq!(format!("{:?}", read.sent), format!("{sent:?}"));
    }
}
