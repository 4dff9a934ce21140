//! Tokens: which one is sent, what happens when it is refused, and that nobody sees it.

use std::path::PathBuf;

use futures_util::stream;
use tempfile::TempDir;
use vidette::client::{
    Client, ClientErrorKind, ClientOptions, EventParts, NewEvent, PublishLine, PublishReport,
    ReadItem, ReadOptions, TokenSource, Transport,
};

use crate::reading::{next, stream_of, vids};
use crate::scripted::{Scene, ScriptedServer, answer};

/// A file with a token in it.
struct TokenFile {
    folder: TempDir,
}

impl TokenFile {
    fn of(token: &str) -> Self {
        let folder = TempDir::new().expect("a folder");
        let file = TokenFile { folder };
        file.replace(token);
        file
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("token")
    }

    fn replace(&self, token: &str) {
        let fresh = self.folder.path().join("fresh");
        std::fs::write(&fresh, format!("{token}\n")).expect("a file");
        std::fs::rename(fresh, self.path()).expect("it is replaced");
    }
}

fn client(server: &ScriptedServer, source: TokenSource) -> Client {
    let options = ClientOptions::new().token(source);
    Client::with_options(&server.url(), options).expect("an address")
}

/// The tokens of the requests until now.
fn tokens(server: &ScriptedServer) -> Vec<String> {
    let of_request = |request: &String| {
        let mut lines = request.lines();
        let value = lines.find_map(|line| line.strip_prefix("authorization: Bearer "));
        value.unwrap_or("none").to_owned()
    };
    server.requests().iter().map(of_request).collect()
}

const EXPIRED: &str = "event: vidette.closing\ndata: {\"reason\":\"expired\",\"retry_ms\":1}\n\n";

const PROBLEM: &str = r#"{"title":"Unauthenticated","status":401,"detail":"it has expired"}"#;

fn unauthenticated() -> Scene {
    answer("401 Unauthorized", "application/problem+json", "", PROBLEM)
}

fn event(data: &str) -> NewEvent {
    let parts = EventParts {
        topic: "a",
        data: data.to_owned().into(),
        ..EventParts::default()
    };
    NewEvent::check(parts, 1000).expect("an event")
}

#[tokio::test]
async fn a_reader_whose_token_expires_resumes_with_the_one_that_is_in_the_file_then() {
    let server = ScriptedServer::play(vec![
        Scene::Send(stream_of(&[5], EXPIRED)),
        Scene::Hold(stream_of(&[6], "")),
    ])
    .await;
    let file = TokenFile::of("first");
    let mut reader = client(&server, TokenSource::file(file.path())).read(ReadOptions::new());
    assert_eq!(vids(&mut reader, 1).await, [5]);
    file.replace("second");
    assert_eq!(vids(&mut reader, 1).await, [6]);
    assert_eq!(tokens(&server), ["first", "second"]);
    assert!(server.requests()[1].contains("after=5-abcdef"));
}

#[tokio::test]
async fn a_refused_token_is_replaced_once_and_the_request_made_again() {
    const EMPTY: &str = r#"{"epoch":"abcdef","first":1,"last":4,"vid":4,"cursor":"4-abcdef",
        "up_to_date":true,"events":[]}"#;
    let server = ScriptedServer::play(vec![
        answer("200 OK", "application/json", "", EMPTY),
        unauthenticated(),
        answer("200 OK", "application/json", "", EMPTY),
        unauthenticated(),
    ])
    .await;
    let file = TokenFile::of("first");
    let options = ReadOptions::new().via(Transport::LongPoll);
    let mut reader = client(&server, TokenSource::file(file.path())).read(options);
    // The first answer, before the token is refused.
    let first = next(&mut reader).await;
    assert!(
        matches!(first, Some(Ok(ReadItem::Connected(_)))),
        "{first:?}"
    );
    file.replace("second");
    let error = loop {
        match next(&mut reader).await {
            Some(Ok(ReadItem::CaughtUp(_) | ReadItem::Progress(_))) => {}
            Some(Err(error)) => break error,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(error.kind(), ClientErrorKind::Unauthenticated);
    // The refused token is not sent again: the file has no other.
    assert_eq!(tokens(&server), ["first", "first", "second", "second"]);
    let text = error.to_string();
    assert!(
        text.contains("it has expired") && text.contains("has no other token"),
        "{text}"
    );
    assert!(!text.contains("second"), "{text}");
}

#[tokio::test]
async fn a_client_without_a_token_is_told_how_to_give_one_and_one_without_the_right_that_it_lacks_it()
 {
    let forbidden = r#"{"title":"Forbidden","detail":"this caller may not subscribe"}"#;
    let server = ScriptedServer::play(vec![
        unauthenticated(),
        answer("403 Forbidden", "application/problem+json", "", forbidden),
    ])
    .await;
    let plain = Client::new(&server.url()).expect("an address");
    let error = next(&mut plain.read(ReadOptions::new())).await;
    let error = error.expect("an item").expect_err("a refusal");
    assert_eq!(error.kind(), ClientErrorKind::Unauthenticated);
    assert!(error.to_string().contains("--token-file"), "{error}");

    let knowing = client(&server, TokenSource::fixed("s3cret"));
    let mut reader = knowing.read(ReadOptions::new());
    let error = next(&mut reader).await.expect("an item");
    let error = error.expect_err("a refusal");
    assert_eq!(error.kind(), ClientErrorKind::Refused);
    assert!(error.to_string().contains("may not subscribe"), "{error}");
    assert!(next(&mut reader).await.is_none());
    let shown = format!("{knowing:?} {reader:?} {error:?}");
    assert!(!shown.contains("s3cret"), "{shown}");
    assert_eq!(server.requests().len(), 2);
}

#[tokio::test]
async fn a_token_that_cannot_be_got_now_is_asked_for_again_later() {
    let server = ScriptedServer::play(vec![Scene::Hold(stream_of(&[5], ""))]).await;
    let asked = std::sync::atomic::AtomicUsize::new(0);
    let asked = std::sync::Arc::new(asked);
    let source = TokenSource::function(move || {
        let tries = asked.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        async move {
            match tries {
                0 => Err("the identity provider is away"),
                _ => Ok("got".to_owned()),
            }
        }
    });
    let mut reader = client(&server, source).read(ReadOptions::new());
    assert_eq!(vids(&mut reader, 1).await, [5]);
    assert_eq!(tokens(&server), ["got"]);
    assert_eq!(reader.status().reconnects, 1);
}

#[tokio::test]
async fn a_token_goes_to_the_address_that_was_given_and_to_no_other() {
    let elsewhere = ScriptedServer::play(vec![Scene::Nothing]).await;
    let location = format!("Location: {}/v1/sse?token=x\r\n", elsewhere.url());
    let redirecting = answer("308 Permanent Redirect", "text/plain", &location, "");
    let server = ScriptedServer::play(vec![redirecting]).await;
    let mut reader = client(&server, TokenSource::fixed("s3cret")).read(ReadOptions::new());
    let error = next(&mut reader).await.expect("an item");
    let error = error.expect_err("an end").to_string();
    assert!(
        error.contains(&elsewhere.url()) && !error.contains("token="),
        "{error}"
    );
    assert!(elsewhere.requests().is_empty());
}

#[tokio::test]
async fn a_batch_and_a_stream_of_lines_go_on_with_a_fresh_token() {
    const RECEIPT: &str = r#"{"events":[{"vid":7,"cursor":"7-abcdef"}]}"#;
    let server = ScriptedServer::play(vec![
        unauthenticated(),
        answer("200 OK", "application/json", "", RECEIPT),
        unauthenticated(),
        Scene::Answers(vec![
            r#"{"vid":8,"cursor":"8-abcdef"}"#.to_owned(),
            r#"{"line":2,"error":{"status":401,"detail":"it has expired"}}"#.to_owned(),
        ]),
        Scene::Answers(vec![
            r#"{"vid":9,"cursor":"9-abcdef"}"#.to_owned(),
            r#"{"vid":10,"cursor":"10-abcdef"}"#.to_owned(),
        ]),
    ])
    .await;
    // As of a provider that gives another token each time.
    let given = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(1));
    let source = TokenSource::function(move || {
        let number = given.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        async move { Ok::<_, std::io::Error>(format!("token-{number}")) }
    });
    let client = client(&server, source);
    let single = client.publish(event("0")).await.expect("it is published");
    assert_eq!(single.vid, 7);

    // Without ids: what is refused is known not to be published.
    let lines = ["1", "2", "3"].map(|data| Ok(PublishLine::new(data, &event(data))));
    let mut publisher = client.publisher(stream::iter(lines));
    let mut done = Vec::new();
    while let Some(report) = publisher.next().await {
        match report.expect("it goes on") {
            PublishReport::Published { key, receipt } => done.push((key, receipt.vid)),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(done, [("1", 8), ("2", 9), ("3", 10)]);
    let sent = ["token-1", "token-2", "token-2", "token-3", "token-4"];
    assert_eq!(tokens(&server), sent);
}

#[tokio::test]
async fn a_stream_of_lines_ends_when_a_fresh_token_is_refused_as_well() {
    let server = ScriptedServer::play(vec![unauthenticated()]).await;
    let given = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(1));
    let source = TokenSource::function(move || {
        let number = given.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        async move { Ok::<_, std::io::Error>(format!("token-{number}")) }
    });
    let lines = stream::iter([Ok(PublishLine::new((), &event("1")))]);
    let mut publisher = client(&server, source).publisher(lines);
    let error = publisher.next().await.expect("an end");
    let error = error.expect_err("a refusal");
    assert_eq!(error.kind(), ClientErrorKind::Unauthenticated);
    assert_eq!(tokens(&server), ["token-1", "token-2"]);
    assert_eq!(publisher.unsettled().count(), 1);
    assert!(publisher.next().await.is_none());
}
