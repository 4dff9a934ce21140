//! Slow is not lost: who falls out of retention while connected is notified in its place (contract
//! §2.3, §2.5).

use vidette::proto::{NewEvent, PublishRequest};

use crate::common::gateway::Gateway;
use crate::common::grpc;
use crate::common::read::{ALL, Reader, Refused, Step, SubscribeParams, Transport};
use crate::support::{bounds, gateways, open, publish_one};

/// Retention of some megabytes, which is less than what a connection may have on its way.
const KEEP_FIFTY: &str = "[retention]\nmax_events = 50";
/// The data of one event; a page holds five of them.
const BYTES: usize = 100_000;
/// So many of them are more than sockets buffer.
const EVENTS: usize = 400;
/// Events published together.
const BATCH: usize = 20;

/// Reads one event and then nothing, while so many come that the log and the sockets cannot hold
/// them; ends with `end`.
async fn fall_behind(
    gateway: &Gateway,
    via: Transport,
    params: &SubscribeParams,
) -> (Reader, String, u64) {
    let begin = publish_one(gateway, "begin", 0).await;
    let params = SubscribeParams {
        after: Some((begin - 1).to_string()),
        ..params.clone()
    };
    let mut reader = open(via, gateway, &params).await;
    let (seen, cursor) = reader.event().await;
    assert_eq!(seen.vid, begin, "{via:?}");
    let large = NewEvent {
        topic: "large".into(),
        data: vec![0xff; BYTES].into(),
        ..NewEvent::default()
    };
    let mut client = grpc::client(&gateway.url()).await;
    for _ in 0..EVENTS / BATCH {
        let events = vec![large.clone(); BATCH];
        client
            .publish(PublishRequest { events })
            .await
            .expect("an answer");
    }
    let end = publish_one(gateway, "end", 0).await;
    let is_trimmed = || async { bounds(gateway).await == (end - 49, end) };
    gateway.until("the log is trimmed", is_trimmed).await;
    (reader, cursor, end)
}

#[tokio::test]
async fn a_reader_that_falls_out_of_retention_is_told_before_the_next_event_and_reads_on() {
    for (engine, gateway) in gateways(KEEP_FIFTY) {
        for via in ALL {
            let (mut reader, mut cursor, end) =
                fall_behind(&gateway, via, &SubscribeParams::default()).await;
            let (mut gaps, mut next) = (0, None);
            let mut last: u64 = cursor
                .split('-')
                .next()
                .and_then(|vid| vid.parse().ok())
                .expect("a vid");
            while last < end {
                match reader.next().await.expect("no error").expect("no end") {
                    Step::Gap(gap) => {
                        assert_eq!(gap.reason, "expired", "{engine} {via:?}");
                        assert!(
                            next.is_some() || gap.requested == cursor,
                            "{engine} {via:?}: {gap:?} at {cursor}"
                        );
                        assert!(
                            gap.first > last + 1,
                            "{engine} {via:?}: {gap:?} after {last}"
                        );
                        (gaps, next) = (gaps + 1, Some(gap.first));
                    }
                    Step::Event(seen, at) => {
                        // Retention may go on between the gap that is reported and the event that
                        // is read.
                        let follows = next.map_or(seen.vid == last + 1, |first| seen.vid >= first);
                        assert!(
                            follows,
                            "{engine} {via:?}: {} after {last} without a word",
                            seen.vid
                        );
                        (last, cursor, next) = (seen.vid, at, None);
                    }
                    _ => {}
                }
            }
            assert!(
                gaps > 0,
                "{engine} {via:?}: the reader was slow enough to miss something"
            );
        }
    }
}

#[tokio::test]
async fn a_reader_that_falls_out_of_retention_and_wants_no_gap_is_ended_with_it() {
    for (engine, gateway) in gateways(KEEP_FIFTY) {
        for via in ALL {
            let params = SubscribeParams::default().fail_on_gap();
            let (mut reader, mut cursor, end) = fall_behind(&gateway, via, &params).await;
            let gap = loop {
                match reader.next().await {
                    Ok(Some(Step::Event(_, at))) => cursor = at,
                    // An EventSource is notified in a block; it comes back and gets 410 then, which
                    // stops it.
                    Ok(Some(Step::Gap(gap))) if via == Transport::Sse => {
                        assert_eq!(reader.next().await, Ok(None), "{engine}");
                        break gap;
                    }
                    Err(Refused::Gap(gap)) if via != Transport::Sse => break gap,
                    Ok(Some(Step::Progress(_) | Step::CaughtUp(_))) => {}
                    other => panic!("{engine} {via:?}: {other:?}"),
                }
            };
            assert_eq!(
                (&*gap.reason, &gap.requested),
                ("expired", &cursor),
                "{engine} {via:?}"
            );
            assert!(
                gap.first <= end - 49 && gap.last <= end,
                "{engine} {via:?}: {gap:?} and the last is {end}"
            );
        }
    }
}
