//! A log that others append to as well: what its tail brings, and what subscribers and publishers
//! see of it.

use tokio::time::Instant;
use vidette::bus::{Bus, ClosingReason, OnGap, Step, SubscribeRequest, Subscription};
use vidette::caller::Caller;
use vidette::cursor::{Cursor, Epoch, GapReason, Start};
use vidette::engine::{BatchBounds, Bounds, TailStep};
use vidette::error::{Error, ErrorKind};
use vidette::limits;
use vidette::lineage::{EarlierEpoch, Lineage};

use crate::scripted::ScriptedEngine;
use crate::{ask, event, step, subscribe, vids};

fn after(vid: u64, epoch: &str) -> Start {
    Start::After(Cursor {
        vid,
        epoch: Some(epoch.parse::<Epoch>().expect("an epoch")),
    })
}

#[tokio::test(start_paused = true)]
async fn only_what_the_tail_has_sent_is_visible() {
    let log = ScriptedEngine::new(0);
    let bus = log.bus();
    let mut reader = subscribe(&bus, ">", Start::Latest).await;
    assert!(matches!(step(&mut reader).await, Step::CaughtUp(0)));
    log.append_foreign([1, 2, 3]);
    log.send_through(2);
    assert_eq!(vids(&mut reader).await, [1, 2]);
    assert_eq!(bus.bounds(), Bounds { first: 1, last: 2 });
    log.send_through(3);
    assert_eq!(vids(&mut reader).await, [3]);
}

#[tokio::test(start_paused = true)]
async fn vids_without_an_event_move_cursors() {
    let log = ScriptedEngine::new(0);
    let bus = log.bus();
    let mut reader = subscribe(&bus, ">", Start::Latest).await;
    assert!(matches!(step(&mut reader).await, Step::CaughtUp(0)));
    log.append_foreign([3, 7]);
    log.send_through(5);
    assert_eq!(vids(&mut reader).await, [3]);
    assert_eq!(reader.position(), 5);
    log.send_through(7);
    assert_eq!(vids(&mut reader).await, [7]);
    log.send_through(20);
    assert!(matches!(step(&mut reader).await, Step::Progress(20)));
}

#[tokio::test(start_paused = true)]
async fn a_reset_is_a_gap_for_every_reader_which_goes_on_from_the_earliest() {
    let log = ScriptedEngine::new(0);
    let bus = log.bus();
    log.append_foreign(1..=9);
    log.send_through(9);
    visible(&bus, 9).await;
    let mut waiting = subscribe(&bus, ">", Start::Earliest).await;
    assert_eq!(vids(&mut waiting).await, (1..=9).collect::<Vec<_>>());
    assert!(matches!(step(&mut waiting).await, Step::CaughtUp(9)));
    let mut unread = subscribe(&bus, "door.1", Start::Earliest).await;

    log.replace("secondlog", [4, 5]);
    log.send_reset();
    for (reader, requested) in [(&mut waiting, 9), (&mut unread, 0)] {
        match step(reader).await {
            Step::Gap(gap) => {
                assert_eq!(gap.reason, GapReason::Reset);
                assert_eq!(gap.requested, format!("{requested}-firstlog"));
                assert_eq!(
                    (gap.first, gap.last, gap.epoch.as_str()),
                    (4, 5, "secondlog")
                );
            }
            other => panic!("not a gap: {other:?}"),
        }
        assert_eq!(vids(reader).await, [4, 5]);
        assert!(matches!(step(reader).await, Step::CaughtUp(5)));
        assert_eq!(reader.log().cursor(5).to_string(), "5-secondlog");
    }
}

#[tokio::test(start_paused = true)]
async fn a_log_that_is_reported_twice_is_no_second_gap() {
    let log = ScriptedEngine::new(0);
    let bus = log.bus();
    let mut reader = subscribe(&bus, ">", Start::Earliest).await;
    assert!(matches!(step(&mut reader).await, Step::CaughtUp(0)));
    log.replace("secondlog", [4, 5]);
    log.send_reset();
    assert!(matches!(step(&mut reader).await, Step::Gap(_)));
    assert_eq!(vids(&mut reader).await, [4, 5]);
    assert!(matches!(step(&mut reader).await, Step::CaughtUp(5)));

    // Events that came meanwhile are in the log, and the tail does not send them again.
    log.append_foreign(6..=7);
    log.send_reset();
    assert_eq!(vids(&mut reader).await, [6, 7]);
}

#[tokio::test(start_paused = true)]
async fn a_cursor_of_a_log_that_another_gateway_has_met_first_is_waited_for() {
    let log = ScriptedEngine::new(0);
    let bus = log.bus();
    log.replace("secondlog", [4, 5]);
    let opening = tokio::spawn({
        let bus = bus.clone();
        async move { subscribe(&bus, ">", after(4, "secondlog")).await }
    });
    tokio::task::yield_now().await;
    log.send_reset();
    let mut reader = opening.await.expect("it opens");
    assert_eq!(vids(&mut reader).await, [5], "and no gap");
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_wants_to_fail_on_a_gap_fails_on_a_reset() {
    let log = ScriptedEngine::new(0);
    let bus = log.bus();
    let request = SubscribeRequest {
        on_gap: OnGap::Fail,
        ..ask(">", Start::Latest)
    };
    let mut reader = open(&bus, request).await.expect("a subscription");
    assert!(matches!(step(&mut reader).await, Step::Hello { .. }));
    assert!(matches!(step(&mut reader).await, Step::CaughtUp(0)));
    log.replace("secondlog", [1]);
    log.send_reset();
    let error = reader.next().await.expect_err("a gap");
    let gap = error.gap_details().expect("its details");
    assert_eq!((gap.reason, gap.last), (GapReason::Reset, 1));
}

/// The engine reads the new log before its tail has reported that there is one.
#[tokio::test(start_paused = true)]
async fn a_page_of_another_log_is_not_shown_under_the_epoch_of_the_one_before() {
    let log = ScriptedEngine::new(0);
    let bus = log.bus();
    log.append_foreign(1..=9);
    log.skip_through(9); // nothing is in memory
    visible(&bus, 9).await;
    log.replace("secondlog", 1..=20);
    let mut reader = subscribe(&bus, ">", after(3, "firstlog")).await;
    let first = tokio::spawn(async move { (step(&mut reader).await, vids(&mut reader).await) });
    while log.reads() == 0 {
        tokio::task::yield_now().await;
    }
    assert!(!first.is_finished());
    log.send_reset();
    let (first, events) = first.await.expect("the reader");
    match first {
        Step::Gap(gap) => {
            assert_eq!(
                (gap.reason, &*gap.requested),
                (GapReason::Reset, "3-firstlog")
            );
        }
        other => panic!("not a gap: {other:?}"),
    }
    assert_eq!(events, (1..=20).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn what_a_tail_reports_as_trimmed_is_a_gap_for_those_who_have_not_read_it() {
    let log = ScriptedEngine::new(0);
    let bus = log.bus();
    let mut reader = subscribe(&bus, ">", Start::Latest).await;
    log.append_foreign(1..=9);
    log.send_through(9);
    log.trim_below(7);
    visible(&bus, 9).await;
    match step(&mut reader).await {
        Step::Gap(gap) => {
            assert_eq!(gap.reason, GapReason::Expired);
            assert_eq!((gap.first, gap.last), (7, 9));
        }
        other => panic!("not a gap: {other:?}"),
    }
    assert_eq!(vids(&mut reader).await, [7, 8, 9]);
}

/// Events that have never come here are gone: nobody may pass over them as over others' events.
#[tokio::test(start_paused = true)]
async fn a_trim_beyond_what_has_come_here_is_a_gap_for_live_readers() {
    let log = ScriptedEngine::new(0);
    let bus = log.bus();
    let mut reader = subscribe(&bus, ">", Start::Latest).await;
    assert!(matches!(step(&mut reader).await, Step::CaughtUp(0)));
    log.append_foreign(1..=50);
    log.send_through(10);
    assert_eq!(vids(&mut reader).await, (1..=10).collect::<Vec<_>>());

    log.trim_below(41);
    log.send_through(50);
    match step(&mut reader).await {
        Step::Gap(gap) => {
            assert_eq!((gap.reason, gap.first), (GapReason::Expired, 41));
            assert_eq!(gap.requested, "10-firstlog");
            assert_eq!(reader.position(), 40);
        }
        other => panic!("not a gap: {other:?}"),
    }
    assert_eq!(vids(&mut reader).await, (41..=50).collect::<Vec<_>>());
}

/// The log is trimmed beyond what has come here, and its tail has not said so yet.
#[tokio::test(start_paused = true)]
async fn a_reader_goes_on_exactly_where_its_gap_says() {
    let log = ScriptedEngine::new(0);
    let bus = log.bus();
    log.append_foreign(1..=46);
    log.skip_through(46);
    visible(&bus, 46).await;
    log.append_foreign(47..=80);
    log.drop_below(71);
    let mut reader = subscribe(&bus, ">", after(46, "firstlog")).await;
    let mut early = subscribe(&bus, ">", Start::Latest).await;
    assert!(matches!(step(&mut early).await, Step::CaughtUp(46)));
    assert!(matches!(step(&mut reader).await, Step::CaughtUp(46)));

    log.trim_below(71);
    log.send_through(80);
    for reader in [&mut reader, &mut early] {
        match step(reader).await {
            Step::Gap(gap) => assert_eq!((gap.first - 1, gap.first), (reader.position(), 71)),
            other => panic!("not a gap: {other:?}"),
        }
        assert_eq!(vids(reader).await, (71..=80).collect::<Vec<_>>());
    }
}

#[tokio::test(start_paused = true)]
async fn after_a_long_break_the_events_between_are_read_from_the_log() {
    let log = ScriptedEngine::new(0);
    let bus = log.bus();
    let mut reader = subscribe(&bus, "door.1", Start::Latest).await;
    assert!(matches!(step(&mut reader).await, Step::CaughtUp(0)));
    log.append_foreign(1..=50);
    log.skip_through(50);
    assert_eq!(vids(&mut reader).await, (1..=50).collect::<Vec<_>>());
    let reads = log.reads();
    log.append_foreign([51]);
    log.send_through(51);
    assert_eq!(vids(&mut reader).await, [51]);
    assert_eq!(log.reads(), reads, "live events are in memory");
}

#[tokio::test(start_paused = true)]
async fn an_empty_page_is_not_the_end() {
    let log = ScriptedEngine::new(0);
    let bus = log.bus();
    log.append_foreign([1, 2, 3]);
    log.skip_through(3);
    visible(&bus, 3).await;
    // A replica that lags: it has nothing yet, and does not say that there is nothing.
    log.stall_reads(5);
    let begun = Instant::now();
    let mut reader = subscribe(&bus, ">", Start::Earliest).await;
    assert_eq!(vids(&mut reader).await, [1, 2, 3]);
    assert_eq!(begun.elapsed(), 5 * limits::EMPTY_PAGE_PAUSE);
    assert_eq!(log.reads(), 6, "it is not asked again and again");
}

#[tokio::test(start_paused = true)]
async fn the_newest_events_of_the_log_are_in_memory_from_the_start() {
    let log = ScriptedEngine::new(0);
    log.append_foreign(1..=limits::PAGE_EVENTS as u64 * 2);
    let bus = log.bus();
    wait_until_warm(&log).await;
    let reads = log.reads();
    assert_eq!(reads, 2, "page by page");
    let mut reader = subscribe(&bus, ">", after(1500, "firstlog")).await;
    assert_eq!(vids(&mut reader).await, (1501..=2000).collect::<Vec<_>>());
    assert_eq!(log.reads(), reads);
}

#[tokio::test(start_paused = true)]
async fn a_gateway_that_is_behind_ends_streams_and_refuses_until_it_is_live_again() {
    let log = ScriptedEngine::new(0);
    let bus = log.bus();
    let mut reader = subscribe(&bus, ">", Start::Latest).await;
    assert!(matches!(step(&mut reader).await, Step::CaughtUp(0)));
    let begun = Instant::now();
    log.send(TailStep::Live(false));
    match step(&mut reader).await {
        Step::Closing(closing) => assert_eq!(closing.reason, ClosingReason::Behind),
        other => panic!("not closing: {other:?}"),
    }
    assert_eq!(begun.elapsed().as_millis(), 0, "and at once");
    assert!(reader.next().await.expect("no error").is_none());

    let refused = [
        open(&bus, ask(">", Start::Latest)).await.err(),
        bus.publish(&Caller::gateway(), vec![event("a")])
            .await
            .err(),
        bus.ready().err(),
    ];
    for error in refused {
        assert_eq!(error.expect("refused").kind(), ErrorKind::Behind);
    }
    log.send(TailStep::Live(true));
    while bus.ready().is_err() {
        tokio::task::yield_now().await;
    }
    assert!(open(&bus, ask(">", Start::Latest)).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_publisher_is_answered_once_its_events_are_visible_here() {
    let log = ScriptedEngine::new(0);
    let bus = log.bus();
    let publishing = publish(&bus, &["a", "b"]);
    tokio::task::yield_now().await;
    assert!(
        !publishing.is_finished(),
        "it is durable, and nobody can read it here"
    );
    log.send_through(1);
    tokio::task::yield_now().await;
    assert!(!publishing.is_finished());
    // The next group is committed meanwhile.
    let next = publish(&bus, &["c"]);
    log.send_through(2);
    assert_eq!(publishing.await.expect("the task").expect("vids"), [1, 2]);
    log.send_through(3);
    assert_eq!(next.await.expect("the task").expect("vids"), [3]);
    assert_eq!(bus.bounds().last, 3);
}

#[tokio::test(start_paused = true)]
async fn what_is_durable_and_not_visible_in_time_is_a_success() {
    let log = ScriptedEngine::new(0);
    let bus = log.bus();
    let begun = Instant::now();
    assert_eq!(
        publish(&bus, &["a"])
            .await
            .expect("the task")
            .expect("vids"),
        [1]
    );
    assert_eq!(begun.elapsed(), limits::VISIBLE_WAIT);
    assert_eq!(bus.bounds().last, 0);
}

#[tokio::test(start_paused = true)]
async fn a_publish_that_a_reset_overtakes_is_not_answered_with_a_vid_of_the_log_before() {
    let log = ScriptedEngine::new(0);
    let bus = log.bus();
    let publishing = publish(&bus, &["a"]);
    tokio::task::yield_now().await;
    log.replace("secondlog", [4, 5]);
    log.send_reset();
    let refused = publishing.await.expect("the task").expect_err("refused");
    assert_eq!(refused.kind(), ErrorKind::Behind);
}

#[tokio::test(start_paused = true)]
async fn of_a_group_one_batch_may_be_refused_and_the_next_one_not() {
    let log = ScriptedEngine::new(0);
    let bus = log.bus();
    log.refuse("bad");
    log.hold_appends();
    let batches = [&["first"][..], &["a"], &["b", "bad"], &["c"]];
    let publishing = batches.map(|topics| publish(&bus, topics));
    log.let_appends_through();
    log.send_all_appends().await;

    let mut answers = Vec::new();
    for answer in publishing {
        let answer = answer.await.expect("the task");
        answers.push(answer.map_err(|error| error.kind()));
    }
    let refused = Err(ErrorKind::TooLarge);
    assert_eq!(answers, [Ok(vec![1]), Ok(vec![2]), refused, Ok(vec![3])]);
    assert_eq!(log.groups(), [1, 4], "all but the first are one group");
}

#[tokio::test(start_paused = true)]
async fn the_engine_says_how_much_a_batch_may_hold() {
    let bounds = BatchBounds {
        events: 3,
        ..BatchBounds::default()
    };
    let log = ScriptedEngine::with_bounds(0, bounds);
    let bus = log.bus();
    let refused = publish(&bus, &["a"; 4]).await.expect("the task");
    let error = refused.expect_err("one more than the bound");
    assert_eq!(error.kind(), ErrorKind::TooLarge);
    assert!(error.to_string().contains("at most 3 events"), "{error}");

    log.hold_appends();
    let publishing = [2, 2, 1, 3].map(|count| publish(&bus, &["a", "a", "a"][..count]));
    tokio::task::yield_now().await;
    log.let_appends_through();
    log.send_all_appends().await;
    for answer in publishing {
        answer.await.expect("the task").expect("vids");
    }
    assert_eq!(
        log.groups(),
        [2, 3, 3],
        "cut between batches, and never beyond the bound"
    );
}

#[tokio::test(start_paused = true)]
async fn a_cursor_is_of_another_log_only_when_the_log_confirms_what_it_is() {
    let log = ScriptedEngine::new(5);
    let bus = log.bus();
    let of_another = || open(&bus, ask(">", after(3, "secondlog")));

    // The log may have been replaced, and this gateway not have heard of it.
    log.confirm(Err(Error::internal("nobody leads")));
    assert_eq!(
        of_another().await.err().expect("behind").kind(),
        ErrorKind::Behind
    );

    log.confirm(Ok(5));
    let mut reader = of_another().await.expect("a subscription");
    assert!(matches!(step(&mut reader).await, Step::Hello { .. }));
    match step(&mut reader).await {
        Step::Gap(gap) => assert_eq!(gap.reason, GapReason::Reset),
        other => panic!("not a gap: {other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_cursor_is_ahead_only_when_the_log_confirms_where_it_ends() {
    let log = ScriptedEngine::new(5);
    let bus = log.bus();
    let ahead = || open(&bus, ask(">", after(9, "firstlog")));

    // Others have appended up to 9, and this gateway lags.
    log.confirm(Ok(9));
    assert_eq!(
        ahead().await.err().expect("behind").kind(),
        ErrorKind::Behind
    );
    log.confirm(Err(Error::internal("nobody leads")));
    assert_eq!(
        ahead().await.err().expect("behind").kind(),
        ErrorKind::Behind
    );

    log.confirm(Ok(8));
    let begun = Instant::now();
    let mut reader = ahead().await.expect("a subscription");
    assert_eq!(begun.elapsed(), limits::AHEAD_WAIT);
    assert!(matches!(
        step(&mut reader).await,
        Step::Hello { last: 5, .. }
    ));
    match step(&mut reader).await {
        Step::Gap(gap) => assert_eq!((gap.reason, gap.last), (GapReason::Ahead, 5)),
        other => panic!("not a gap: {other:?}"),
    }
    assert_eq!(reader.position(), 5);
}

#[tokio::test(start_paused = true)]
async fn a_cursor_of_an_earlier_epoch_is_good_up_to_where_that_ended() {
    let log = ScriptedEngine::new(0);
    log.append_foreign(1..=9);
    let earlier = EarlierEpoch {
        epoch: "copiedlog".parse().expect("an epoch"),
        good_through: 6,
    };
    let today = "firstlog".parse().expect("an epoch");
    log.set_lineage(Lineage::with_earlier(today, vec![earlier]));
    let bus = log.bus();
    let mut reader = subscribe(&bus, ">", after(6, "copiedlog")).await;
    assert_eq!(vids(&mut reader).await, [7, 8, 9]);
    assert_eq!(reader.log().cursor(9).to_string(), "9-firstlog");

    for (vid, epoch) in [(7, "copiedlog"), (1, "unknown")] {
        let mut reader = subscribe(&bus, ">", after(vid, epoch)).await;
        match step(&mut reader).await {
            Step::Gap(gap) => assert_eq!(gap.reason, GapReason::Reset, "{vid}-{epoch}"),
            other => panic!("not a gap: {other:?}"),
        }
        assert_eq!(vids(&mut reader).await, (1..=9).collect::<Vec<_>>());
    }
}

/// Readers under load that stand at every position while the log is replaced again and again: each
/// sees the events of a log in order, and none of another log before the gap that reports it.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn readers_never_mix_two_logs() {
    let log = ScriptedEngine::new(0);
    let bus = log.bus();
    let readers: Vec<_> = (0..8)
        .map(|_| tokio::spawn(read_to_the_last_log(bus.clone())))
        .collect();
    let mut last = 0;
    for round in 0..200 {
        for _ in 0..5 {
            log.append_foreign(last + 1..=last + 20);
            last += 20;
            log.send_through(last);
            tokio::task::yield_now().await;
        }
        // Odd logs begin further up, so that vids of two logs are never the same events.
        last = 10 + round % 7;
        log.replace(&format!("log{round:05}"), 5..=last);
        log.send_reset();
        tokio::task::yield_now().await;
    }
    log.replace("thelastlog", [1]);
    log.send_reset();
    for reader in readers {
        let read = tokio::time::timeout(std::time::Duration::from_secs(60), reader);
        read.await.expect("no reader hangs").expect("a reader");
    }
}

async fn read_to_the_last_log(bus: Bus) {
    let mut reader = open(&bus, ask(">", Start::Earliest))
        .await
        .expect("a subscription");
    let mut position = 0;
    loop {
        let epoch = reader.log().epoch().clone();
        match step(&mut reader).await {
            Step::Gap(gap) => {
                assert_eq!(gap.requested.split('-').nth(1), Some(epoch.as_str()));
                assert_ne!(gap.epoch, epoch);
                assert!(gap.first <= gap.last + 1);
                position = gap.first - 1;
            }
            Step::Events(events, through) => {
                for event in events.iter() {
                    assert!(event.vid > position, "{} after {position}", event.vid);
                    assert_eq!(event.sent.id.as_deref(), Some(epoch.as_str()));
                    position = event.vid;
                }
                position = position.max(through);
            }
            Step::CaughtUp(_) if epoch.as_str() == "thelastlog" => return,
            _ => {}
        }
    }
}

async fn open(bus: &Bus, request: SubscribeRequest) -> Result<Subscription, Error> {
    Subscription::open(bus, &Caller::gateway(), request).await
}

/// Publishes one batch of these topics; its vids.
fn publish(bus: &Bus, topics: &[&str]) -> tokio::task::JoinHandle<Result<Vec<u64>, Error>> {
    let batch: Vec<_> = topics.iter().map(|topic| event(topic)).collect();
    let publishing = bus.enqueue(&Caller::gateway(), batch);
    tokio::spawn(async move {
        let receipts = publishing?.done().await?;
        Ok(receipts.iter().map(|receipt| receipt.vid).collect())
    })
}

async fn visible(bus: &Bus, vid: u64) {
    while bus.bounds().last < vid {
        tokio::task::yield_now().await;
    }
}

/// The bus reads the newest events first of all.
async fn wait_until_warm(log: &ScriptedEngine) {
    let mut before = usize::MAX;
    while log.reads() == 0 || log.reads() != before {
        before = log.reads();
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
    }
}
