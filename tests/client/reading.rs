//! Reading: what resumes, what ends, and what is never lost.

use std::time::Duration;

use futures_util::StreamExt as _;
use tokio::time::timeout;
use vidette::client::{
    Client, ClientError, ClientErrorKind, GapPolicy, ReadItem, ReadOptions, Reader, Transport,
};

use crate::common::gateway::{Gateway, PATIENCE, Setup};
use crate::scripted::{Scene, ScriptedServer, answer, event_stream};

const TRANSPORTS: [Transport; 3] = [Transport::Sse, Transport::LongPoll, Transport::Grpc];

fn client(url: &str) -> Client {
    Client::new(url).expect("an address")
}

pub(crate) async fn next(reader: &mut Reader) -> Option<Result<ReadItem, ClientError>> {
    let item = timeout(PATIENCE, reader.next()).await;
    item.unwrap_or_else(|_| panic!("nothing comes: {reader:?}"))
}

/// Events until there are so many: their vids.
pub(crate) async fn vids(reader: &mut Reader, count: usize) -> Vec<u64> {
    let mut vids = Vec::new();
    while vids.len() < count {
        match next(reader).await {
            Some(Ok(ReadItem::Event(event))) => vids.push(event.vid),
            Some(Ok(_)) => {}
            other => panic!("after {vids:?}: {other:?}"),
        }
    }
    vids
}

/// The next event, gap or error.
async fn next_of_interest(reader: &mut Reader) -> Result<ReadItem, ClientError> {
    loop {
        match next(reader).await.expect("it goes on") {
            Ok(item @ (ReadItem::Event(_) | ReadItem::Gap(_))) => return Ok(item),
            Ok(_) => {}
            Err(error) => return Err(error),
        }
    }
}

#[tokio::test]
async fn a_reader_resumes_over_crashes_and_shutdowns_without_loss_or_repetition() {
    for transport in TRANSPORTS {
        let mut gateway = Gateway::start_on_a_port_of_its_own(Setup::default());
        let options = ReadOptions::new()
            .topic("door.*")
            .after("earliest")
            .via(transport);
        let mut reader = client(&gateway.url()).read(options);
        let mut seen = Vec::new();
        for round in 0..4 {
            gateway.publish_numbers("door.1", 20).await;
            // Some are in the connection's buffers when the gateway goes.
            seen.extend(vids(&mut reader, 13).await);
            if round % 2 == 0 {
                gateway.kill();
            } else {
                gateway.terminate().await;
            }
            gateway.start_again();
        }
        seen.extend(vids(&mut reader, 80 - seen.len()).await);
        assert_eq!(seen, (1..=80).collect::<Vec<_>>(), "{transport:?}");
        let status = reader.status();
        assert_eq!((status.gaps, status.duplicates), (0, 0), "{transport:?}");
        // A poll may find that the gateway is back before it has missed it.
        let has_missed_it = status.reconnects > 0 || transport == Transport::LongPoll;
        assert!(has_missed_it, "{transport:?}");
    }
}

#[tokio::test]
async fn a_saved_cursor_goes_on_behind_the_event_that_it_came_with() {
    let gateway = Gateway::start();
    gateway.publish_numbers("door.1", 5).await;
    for transport in TRANSPORTS {
        let options = ReadOptions::new().via(transport);
        let client = client(&gateway.url());
        let mut reader = client.read(options.clone().after("earliest"));
        let saved = loop {
            match next(&mut reader).await {
                Some(Ok(ReadItem::Event(event))) if event.vid == 3 => break event.cursor,
                Some(Ok(_)) => {}
                other => panic!("{other:?}"),
            }
        };
        let mut reader = client.read(options.after(&saved));
        assert_eq!(vids(&mut reader, 2).await, [4, 5], "{transport:?}");
    }
}

#[tokio::test]
async fn caught_up_comes_once_and_only_behind_what_is_retained() {
    let gateway = Gateway::start();
    gateway.publish_numbers("door.1", 3).await;
    for transport in TRANSPORTS {
        let options = ReadOptions::new().after("earliest").via(transport);
        let mut reader = client(&gateway.url()).read(options);
        let mut events = 0;
        let cursor = loop {
            match next(&mut reader)
                .await
                .expect("it goes on")
                .expect("no error")
            {
                ReadItem::Event(_) => events += 1,
                ReadItem::CaughtUp(cursor) => break cursor,
                _ => {}
            }
        };
        assert_eq!((events, cursor.vid), (3, 3), "{transport:?}");
    }
}

#[tokio::test]
async fn a_gap_is_delivered_or_ends_reading_or_starts_a_snapshot() {
    let gateway = Gateway::in_memory();
    gateway.publish_numbers("door.1", 2).await;
    gateway.publish_numbers("door.2", 1).await;
    for transport in TRANSPORTS {
        let options = ReadOptions::new().after("1-otherlog").via(transport);
        let read = |policy| client(&gateway.url()).read(options.clone().on_gap(policy));

        let mut reader = read(GapPolicy::Continue);
        let item = next_of_interest(&mut reader).await;
        assert!(
            matches!(&item, Ok(ReadItem::Gap(gap)) if gap.reason == "reset" && gap.last == 3),
            "{transport:?} {item:?}"
        );
        assert_eq!(vids(&mut reader, 3).await, [1, 2, 3], "{transport:?}");

        let mut reader = read(GapPolicy::Fail);
        let error = next_of_interest(&mut reader).await.expect_err("a gap");
        assert_eq!(error.kind(), ClientErrorKind::Gap, "{transport:?} {error}");
        let gap = error.gap_report().expect("what is lost");
        assert_eq!((gap.reason.as_str(), gap.last), ("reset", 3));
        assert!(next(&mut reader).await.is_none(), "{transport:?}");

        let mut reader = read(GapPolicy::Snapshot);
        let item = next_of_interest(&mut reader).await;
        assert!(matches!(item, Ok(ReadItem::Gap(_))), "{transport:?}");
        assert_eq!(vids(&mut reader, 2).await, [2, 3], "{transport:?}");
    }
}

#[tokio::test]
async fn a_request_that_is_wrong_ends_reading_with_its_reason() {
    let gateway = Gateway::in_memory();
    for transport in TRANSPORTS {
        let options = ReadOptions::new().topic("a..b").via(transport);
        let mut reader = client(&gateway.url()).read(options);
        let error = next_of_interest(&mut reader).await.expect_err("a refusal");
        assert_eq!(error.kind(), ClientErrorKind::Refused, "{transport:?}");
        assert!(error.to_string().contains("a..b"), "{transport:?} {error}");
    }
}

const HELLO: &str = "event: vidette.hello\n\
     data: {\"epoch\":\"abcdef\",\"first\":1,\"last\":4,\"heartbeat_ms\":15000}\n\n";

fn event(vid: u64) -> String {
    format!(
        "id: {vid}-abcdef\ndata: {{\"vid\":{vid},\"topic\":\"a\",\
         \"time\":\"2026-11-22T10:00:00.000Z\",\"data\":{vid}}}\n\n"
    )
}

pub(crate) fn stream_of(vids: &[u64], end: &str) -> String {
    let events: String = vids.iter().map(|vid| event(*vid)).collect();
    event_stream(&format!("{HELLO}{events}{end}"))
}

/// Where each request says that it goes on.
fn starts(server: &ScriptedServer) -> Vec<String> {
    let after = |request: &String| {
        let line = request.lines().next().unwrap_or_default().to_owned();
        let rest = line.split("after=").nth(1).unwrap_or("nothing").to_owned();
        rest.split([' ', '&']).next().unwrap_or_default().to_owned()
    };
    server.requests().iter().map(after).collect()
}

#[tokio::test]
async fn each_request_carries_the_last_cursor_however_the_connection_ended() {
    let server = ScriptedServer::play(vec![
        Scene::Nothing,
        // Before any cursor, with "from now on".
        Scene::Send(event_stream(HELLO)),
        Scene::Send(stream_of(&[5], "id: 7-abcdef\n\n")),
        Scene::Send(stream_of(&[8], "id: 9-abcdef\ndata: {\"vid\":9,\"top")),
        Scene::Hold(stream_of(&[9], "")),
    ])
    .await;
    let mut reader = client(&server.url()).read(ReadOptions::new());
    assert_eq!(vids(&mut reader, 3).await, [5, 8, 9]);
    let expected = ["nothing", "nothing", "4-abcdef", "7-abcdef", "8-abcdef"];
    assert_eq!(starts(&server), expected);
}

#[tokio::test]
async fn a_poll_from_now_on_learns_where_that_is_before_it_waits() {
    let empty = r#"{"epoch":"abcdef","first":1,"last":4,"vid":4,"cursor":"4-abcdef",
        "up_to_date":true,"events":[]}"#;
    let server = ScriptedServer::play(vec![
        answer("200 OK", "application/json", "", empty),
        Scene::Nothing,
        Scene::Hold(String::new()),
    ])
    .await;
    let mut reader = client(&server.url()).read(ReadOptions::new().via(Transport::LongPoll));
    while server.requests().len() < 3 {
        let waiting = timeout(Duration::from_millis(20), reader.next()).await;
        assert!(!matches!(waiting, Ok(None | Some(Err(_)))), "{waiting:?}");
    }
    assert_eq!(starts(&server), ["nothing", "4-abcdef", "4-abcdef"]);
    assert!(server.requests()[0].contains("wait=0 "));
    assert!(server.requests()[1].contains("wait=25 "));
}

#[tokio::test]
async fn what_is_no_gateway_for_a_while_is_waited_for() {
    let server = ScriptedServer::play(vec![
        answer("200 OK", "text/html", "", "<html>sign in</html>"),
        answer("502 Bad Gateway", "text/html", "", "<html>sorry</html>"),
        answer("503 Unavailable", "text/plain", "Retry-After: 1\r\n", ""),
        Scene::Send(stream_of(&[5, 5, 3], "")),
        Scene::Hold(stream_of(&[5, 6], "")),
    ])
    .await;
    let mut reader = client(&server.url()).read(ReadOptions::new().via(Transport::Sse));
    assert_eq!(vids(&mut reader, 2).await, [5, 6]);
    let status = reader.status();
    assert_eq!((status.reconnects, status.duplicates), (4, 3));
}

#[tokio::test]
async fn reading_gives_up_only_after_the_time_that_is_given() {
    let options = ReadOptions::new().give_up_after(Duration::from_millis(100));
    let mut reader = client("http://127.0.0.1:9").read(options);
    let mut interruptions = 0;
    let error = loop {
        match next(&mut reader).await.expect("it goes on") {
            Ok(ReadItem::Interrupted(_)) => interruptions += 1,
            Ok(item) => panic!("{item:?}"),
            Err(error) => break error,
        }
    };
    assert!(interruptions > 0 && error.kind() == ClientErrorKind::Unreachable);
    assert!(
        error
            .to_string()
            .contains("no gateway at http://127.0.0.1:9")
    );
}
