//! The reader's rules, one after the other.

use super::*;
use crate::proto;

const SECOND: Duration = Duration::from_secs(1);

fn state(options: ReadOptions) -> ReaderState {
    ReaderState::new(options, ClientClock::default(), Instant::now())
}

fn cursor(text: &str) -> Cursor {
    text.parse().expect("a cursor")
}

fn event(text: &str) -> Received {
    let cursor = cursor(text);
    let message = proto::Event {
        vid: cursor.vid,
        ..proto::Event::default()
    };
    Received::Event(ReceivedEvent::from_proto(message, cursor))
}

fn bounds(epoch: &str, last: Vid) -> Received {
    Received::Bounds(LogBounds {
        epoch: epoch.into(),
        first: 1,
        last,
        heartbeat_ms: 4000,
        filter: Vec::new(),
    })
}

fn gap(reason: &str, epoch: &str) -> Received {
    Received::Gap(GapReport {
        reason: reason.into(),
        epoch: epoch.into(),
        ..GapReport::default()
    })
}

fn gone() -> ClientError {
    ClientError::unreachable("gone")
}

/// Takes what is delivered as an item, and asks for the next one.
fn handle(state: &mut ReaderState, received: Received) -> Option<ReadItem> {
    let item = state.take(received).expect("no error");
    state.finish_item();
    item
}

fn resumes_from(state: &mut ReaderState) -> ReadStart {
    state.connect(Instant::now()).start
}

fn after(cursor: &str) -> ReadStart {
    ReadStart::After(cursor.into())
}

fn wait(state: &mut ReaderState, error: ClientError, now: Instant) -> Duration {
    state.interrupted(error, now).expect("it goes on").wait
}

#[tokio::test(start_paused = true)]
async fn reading_resumes_behind_what_the_application_has_finished_with() {
    let mut state = state(ReadOptions::new().since("15m"));
    assert_eq!(resumes_from(&mut state), ReadStart::Since("15m".into()));
    handle(&mut state, bounds("abcdef", 9));
    assert_eq!(resumes_from(&mut state), ReadStart::Since("15m".into()));

    handle(&mut state, event("4-abcdef"));
    state.take(event("5-abcdef")).expect("an event in hand");
    assert_eq!(resumes_from(&mut state), after("4-abcdef"));
    state.finish_item();
    assert_eq!(resumes_from(&mut state), after("5-abcdef"));

    handle(&mut state, Received::Progress(cursor("8-abcdef")));
    assert_eq!(resumes_from(&mut state), after("8-abcdef"));
}

#[tokio::test(start_paused = true)]
async fn from_now_on_means_the_first_connection_also_when_it_broke_before_anything_came() {
    for options in [ReadOptions::new(), ReadOptions::new().after("latest")] {
        let mut state = state(options);
        handle(&mut state, bounds("abcdef", 9));
        assert_eq!(resumes_from(&mut state), after("9-abcdef"));
        handle(&mut state, bounds("abcdef", 12));
        assert_eq!(resumes_from(&mut state), after("9-abcdef"));
    }
}

#[tokio::test(start_paused = true)]
async fn an_event_that_comes_again_is_dropped_and_counted() {
    let mut state = state(ReadOptions::new().after("3-abcdef"));
    handle(&mut state, bounds("abcdef", 9));
    for (vid, is_new) in [(3, false), (4, true), (4, false), (2, false), (7, true)] {
        let item = handle(&mut state, event(&format!("{vid}-abcdef")));
        assert_eq!(item.is_some(), is_new, "{vid}");
    }
    handle(&mut state, Received::Progress(cursor("6-abcdef")));
    assert_eq!(resumes_from(&mut state), after("7-abcdef"));
    assert_eq!(state.status().duplicates, 3);
}

#[tokio::test(start_paused = true)]
async fn a_gap_is_delivered_and_lower_vids_come_behind_it() {
    let mut state = state(ReadOptions::new().after("9-abcdef"));
    handle(&mut state, bounds("ghijkl", 2));
    let item = handle(&mut state, gap("reset", "ghijkl"));
    assert!(matches!(item, Some(ReadItem::Gap(gap)) if gap.reason == "reset"));
    // Nothing has come behind the gap yet: it is reported again.
    assert_eq!(resumes_from(&mut state), after("9-abcdef"));
    handle(&mut state, bounds("ghijkl", 2));
    handle(&mut state, gap("reset", "ghijkl"));

    assert!(handle(&mut state, event("1-ghijkl")).is_some());
    assert_eq!(resumes_from(&mut state), after("1-ghijkl"));
    assert_eq!(state.status().gaps, 2);
}

#[tokio::test(start_paused = true)]
async fn a_gap_ends_reading_where_that_is_asked_for() {
    let mut state = state(ReadOptions::new().on_gap(GapPolicy::Fail));
    assert!(state.connect(Instant::now()).fails_at_gap);
    let error = state.take(gap("expired", "abcdef")).expect_err("a gap");
    assert_eq!(error.kind(), ClientErrorKind::Gap);
    assert_eq!(error.gap_report().expect("a gap").reason, "expired");
    assert!(state.interrupted(error, Instant::now()).is_err());
}

#[tokio::test(start_paused = true)]
async fn a_snapshot_is_read_behind_a_gap_where_that_is_asked_for() {
    let options = ReadOptions::new()
        .after("9-abcdef")
        .on_gap(GapPolicy::Snapshot);
    let mut state = state(options);
    handle(&mut state, gap("expired", "abcdef"));
    assert!(state.wants_new_connection());
    assert_eq!(resumes_from(&mut state), ReadStart::Snapshot);
    assert!(!state.wants_new_connection());
    handle(&mut state, event("5-abcdef"));
    assert_eq!(resumes_from(&mut state), after("5-abcdef"));
}

#[tokio::test(start_paused = true)]
async fn an_event_of_another_log_than_was_named_is_an_error_and_final_the_second_time() {
    let mut state = state(ReadOptions::new());
    for is_passing in [true, false] {
        handle(&mut state, bounds("abcdef", 9));
        let error = state.take(event("10-ghijkl")).expect_err("another log");
        assert_eq!(error.is_passing(), is_passing);
    }
    // A log that goes on from a copy names its new epoch first.
    handle(&mut state, bounds("ghijkl", 9));
    assert!(handle(&mut state, event("10-ghijkl")).is_some());
}

#[tokio::test(start_paused = true)]
async fn a_server_that_ends_in_good_order_is_left_alone_for_as_long_as_it_asks() {
    let mut state = state(ReadOptions::new());
    let closing = Received::Closing {
        reason: "busy".into(),
        retry: 3 * SECOND,
    };
    for _ in 0..10 {
        state.connect(Instant::now());
        let closing = match &closing {
            Received::Closing { reason, retry } => Received::Closing {
                reason: reason.clone(),
                retry: *retry,
            },
            _ => unreachable!("it is closing"),
        };
        handle(&mut state, closing);
        let wait = wait(&mut state, gone(), Instant::now());
        assert!(wait >= 3 * SECOND && wait <= 5 * SECOND, "{wait:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn failures_are_waited_for_longer_and_longer_until_a_connection_was_good() {
    let mut state = state(ReadOptions::new());
    let mut longest = Duration::ZERO;
    for _ in 0..200 {
        state.connect(Instant::now());
        longest = longest.max(wait(&mut state, gone(), Instant::now()));
    }
    assert!(longest > limits::CLIENT_RETRY_MAX / 2 && longest <= limits::CLIENT_RETRY_MAX);

    state.connect(Instant::now());
    handle(&mut state, event("1-abcdef"));
    assert!(wait(&mut state, gone(), Instant::now()) <= limits::CLIENT_RETRY_BASE);
    state.connect(Instant::now());
    tokio::time::advance(limits::READ_GOOD_CONNECTION).await;
    assert!(wait(&mut state, gone(), Instant::now()) <= limits::CLIENT_RETRY_BASE);
    assert_eq!(state.status().reconnects, 202);
}

#[tokio::test(start_paused = true)]
async fn reading_never_ends_by_itself_unless_a_time_is_given() {
    let mut patient = state(ReadOptions::new());
    let mut hasty = state(ReadOptions::new().give_up_after(60 * SECOND));
    let begun = Instant::now();
    while begun.elapsed() < 60 * SECOND {
        wait(&mut hasty, gone(), Instant::now());
        tokio::time::advance(20 * SECOND).await;
    }
    assert!(hasty.interrupted(gone(), Instant::now()).is_err());
    for _ in 0..10_000 {
        wait(&mut patient, gone(), Instant::now());
    }
}

#[tokio::test(start_paused = true)]
async fn silence_is_measured_in_heartbeats_whatever_the_gateway_says_they_are() {
    let mut state = state(ReadOptions::new());
    assert_eq!(state.silence(), limits::READ_HELLO_TIMEOUT);
    handle(&mut state, bounds("abcdef", 1));
    assert_eq!(state.silence(), 10 * SECOND);
    handle(
        &mut state,
        Received::Bounds(LogBounds {
            epoch: "abcdef".into(),
            first: 1,
            last: 1,
            heartbeat_ms: u64::MAX,
            filter: Vec::new(),
        }),
    );
    assert!(state.silence() < 3 * LONGEST_HEARTBEAT);
    state.connect(Instant::now());
    assert_eq!(state.silence(), limits::READ_HELLO_TIMEOUT);
}

#[tokio::test(start_paused = true)]
async fn a_certificate_that_is_not_trusted_ends_reading_unless_it_was_trusted_before() {
    let untrusted = || ClientError::new(ClientErrorKind::Tls, "not trusted");
    let mut state = state(ReadOptions::new());
    assert!(state.interrupted(untrusted(), Instant::now()).is_err());
    handle(&mut state, bounds("abcdef", 9));
    assert!(state.interrupted(untrusted(), Instant::now()).is_ok());
}
