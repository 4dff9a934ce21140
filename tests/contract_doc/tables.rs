//! The tables of the page against the code.

use vidette::error::ErrorKind;
use vidette::{error_face, limits};

use crate::page::{pages, table};

const KINDS: [ErrorKind; 21] = [
    ErrorKind::BadRequest,
    ErrorKind::Unauthenticated,
    ErrorKind::Forbidden,
    ErrorKind::NotFound,
    ErrorKind::MethodNotAllowed,
    ErrorKind::Gap,
    ErrorKind::TooLarge,
    ErrorKind::UnsupportedEncoding,
    ErrorKind::UnsupportedMediaType,
    ErrorKind::WrongHost,
    ErrorKind::Busy,
    ErrorKind::Internal,
    ErrorKind::Unsupported,
    ErrorKind::ReadOnly,
    ErrorKind::Closing,
    ErrorKind::Locked,
    ErrorKind::Behind,
    ErrorKind::Broken,
    ErrorKind::KeysUnavailable,
    ErrorKind::OutOfMemory,
    ErrorKind::StorageFull,
];

/// A page behind the rules.
fn page(name: &str) -> String {
    let path = format!("docs/contract/{name}");
    let page = pages().into_iter().find(|(file, _)| *file == path);
    page.unwrap_or_else(|| panic!("no page {path}")).1
}

/// `InvalidArgument` as `INVALID_ARGUMENT`.
fn screaming(name: &str) -> String {
    let word = |c: char| {
        if c.is_ascii_uppercase() {
            format!("_{c}")
        } else {
            c.to_ascii_uppercase().to_string()
        }
    };
    name.chars()
        .map(word)
        .collect::<String>()
        .trim_start_matches('_')
        .to_owned()
}

#[test]
fn the_table_of_errors_is_that_of_the_code() {
    let shown: Vec<Vec<String>> = table(&page("errors.md"), "## The table of errors")
        .into_iter()
        .map(|row| row[..4].to_vec())
        .collect();
    let known = KINDS.map(|kind| {
        let face = error_face(kind);
        let retry = face.retry_after_s.map(|seconds| format!("{seconds} s"));
        let code = screaming(&format!("{:?}", face.grpc_code));
        vec![
            format!("`{}`", face.slug),
            face.http_status.to_string(),
            format!("`{code}`"),
            retry.unwrap_or_default(),
        ]
    });
    assert_eq!(shown, known);
}

#[test]
fn the_table_of_limits_is_that_of_the_code() {
    let known: [(&str, u64); 30] = [
        ("the largest vid", limits::MAX_VID),
        ("bytes of a topic", limits::MAX_TOPIC_BYTES as u64),
        ("tokens of a topic", limits::MAX_TOPIC_TOKENS as u64),
        ("bytes of a type", limits::MAX_TYPE_BYTES as u64),
        ("bytes of an id", limits::MAX_ID_BYTES as u64),
        (
            "bytes of a content type",
            limits::MAX_CONTENT_TYPE_BYTES as u64,
        ),
        ("levels that JSON data", limits::MAX_JSON_DEPTH as u64),
        ("headers of an event", limits::MAX_HEADERS as u64),
        ("bytes of the headers", limits::MAX_HEADERS_BYTES as u64),
        ("topics in a filter", limits::MAX_FILTER_TOPICS as u64),
        ("patterns of all subscriptions", limits::MAX_PATTERNS as u64),
        ("combinations of `*` beyond", limits::MAX_FAR_SHAPES as u64),
        ("the largest `limit`", limits::MAX_LIMIT.into()),
        (
            "bytes of an event's data",
            limits::MAX_EVENT_BYTES_CEILING as u64,
        ),
        ("events in a batch", limits::MAX_BATCH_EVENTS as u64),
        ("bytes of a request body", limits::MAX_BODY_BYTES as u64),
        (
            "bytes of a gRPC request",
            limits::SMALL_MESSAGE_BYTES as u64,
        ),
        ("bytes of a line of NDJSON", limits::MAX_LINE_BYTES as u64),
        ("events in an answer", limits::PAGE_EVENTS as u64),
        ("bytes of events in the same", limits::PAGE_BYTES as u64),
        ("bytes of a snapshot", limits::SNAPSHOT_ANSWER_BYTES as u64),
        ("topics in one list", limits::MAX_LISTED_TOPICS.into()),
        (
            "seconds that the gateway waits for a cursor",
            limits::AHEAD_WAIT.as_secs(),
        ),
        (
            "seconds that a long-poll waits by default",
            limits::DEFAULT_WAIT.as_secs(),
        ),
        (
            "seconds that a long-poll waits at most",
            limits::MAX_WAIT.as_secs(),
        ),
        (
            "seconds that a request head",
            limits::HEADER_TIMEOUT.as_secs(),
        ),
        (
            "seconds that an idle connection is kept",
            limits::DEFAULT_KEEP_ALIVE.as_secs(),
        ),
        (
            "seconds that a request body",
            limits::BODY_TIMEOUT.as_secs(),
        ),
        (
            "streams of an HTTP/2 connection",
            limits::MAX_H2_STREAMS.into(),
        ),
        ("ids that are remembered", limits::MAX_DEDUPE_IDS),
    ];
    let shown = table(&page("limits.md"), "## The table of limits");
    assert_eq!(shown.len(), known.len());
    for (row, (what, value)) in shown.iter().zip(known) {
        assert!(row[0].starts_with(what), "{} instead of {what}", row[0]);
        assert_eq!(row[1], value.to_string(), "{what}");
    }
}
