//! Answers that are compressed, where a client takes that: pages and polls.
//!
//! Invariants:
//! - streams are never compressed, nor is anything of gRPC;
//! - what is small stays as it is, and so does what is compressed already;
//! - a poll's answer that many get is compressed once for all of them.

use std::io::Write as _;
use std::sync::Arc;

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use flate2::Compression;
use flate2::write::GzEncoder;
use http_body_util::BodyExt as _;
use tokio::sync::Semaphore;

use super::json::{PollHead, poll_answer};
use crate::bus::Batch;
use crate::encodings::Coding;
use crate::error::Error;
use crate::limits::{
    COMPRESSED_ANSWER_BYTES, COMPRESSED_ELSEWHERE_BYTES, COMPRESSED_WHOLE_BYTES,
    COMPRESSIONS_AT_ONCE,
};

/// Levels that cost little: most of what can be saved, for a few milliseconds of a large page.
const GZIP_LEVEL: u32 = 1;
const ZSTD_LEVEL: i32 = 1;

/// Large answers that are compressed just now.
static AT_ONCE: Semaphore = Semaphore::const_new(COMPRESSIONS_AT_ONCE);

/// The best coding that a client takes (RFC 9110 §12.5.3).
pub(super) fn accepted(headers: &HeaderMap) -> Option<Coding> {
    // Most readers that are programs send none.
    headers.get(header::ACCEPT_ENCODING)?;
    let lines = headers.get_all(header::ACCEPT_ENCODING).into_iter();
    let texts = lines.filter_map(|line| line.to_str().ok());
    let taken = texts.flat_map(|text| text.split(',')).filter_map(taken);
    // zstd is smaller and costs less, so it is preferred whatever the order.
    taken.max_by_key(|coding| *coding == Coding::Zstd)
}

/// `gzip;q=0` is one that is not taken.
fn taken(entry: &str) -> Option<Coding> {
    let (name, parameters) = entry.split_once(';').unwrap_or((entry, ""));
    let quality = parameters.trim().strip_prefix("q=");
    let is_refused = quality.is_some_and(|q| q.trim().parse::<f32>().is_ok_and(|q| q <= 0.0));
    let coding = match name.trim() {
        name if name.eq_ignore_ascii_case("zstd") => Coding::Zstd,
        name if name.eq_ignore_ascii_case("gzip") => Coding::Gzip,
        _ => return None,
    };
    (!is_refused).then_some(coding)
}

/// Says that an answer depends on what the client takes, and how it is compressed.
pub(super) fn mark(headers: &mut HeaderMap, coding: Option<Coding>) {
    headers.append(header::VARY, HeaderValue::from_static("accept-encoding"));
    let name = coding.map(|coding| match coding {
        Coding::Gzip => HeaderValue::from_static("gzip"),
        Coding::Zstd => HeaderValue::from_static("zstd"),
    });
    headers.extend(name.map(|name| (header::CONTENT_ENCODING, name)));
}

/// A poll's answer, compressed: once for all who get the same, which is of the shared batch. None
/// where it has to be sent as it is.
pub(super) async fn poll(
    coding: Coding,
    head: PollHead<'_>,
    objects: Vec<Bytes>,
    shared: Option<&Arc<Batch>>,
    bytes: usize,
) -> Option<Bytes> {
    if let Some(batch) = shared {
        let (batch, key) = (batch.clone(), (head.standing, coding));
        let make = move || {
            let last = batch.last_compressed();
            last.get_or_make(key, |(standing, coding)| {
                let head = PollHead::common(standing.clone());
                compressed(*coding, &poll_answer(&head, objects.into_iter()))
            })
        };
        return within_bounds(bytes, make).await;
    }
    let pieces = poll_answer(&head, objects.into_iter());
    within_bounds(bytes, move || compressed(coding, &pieces).into()).await
}

/// A large answer takes milliseconds, which are not taken from those who are served live; and only
/// a few are compressed at once.
async fn within_bounds(
    bytes: usize,
    make: impl FnOnce() -> Bytes + Send + 'static,
) -> Option<Bytes> {
    if bytes < COMPRESSED_ELSEWHERE_BYTES {
        return Some(make());
    }
    let _permit = AT_ONCE.acquire().await.ok()?;
    tokio::task::spawn_blocking(make).await.ok()
}

fn compressed(coding: Coding, pieces: &[Bytes]) -> Vec<u8> {
    let compressed = match coding {
        Coding::Gzip => gzip(pieces),
        Coding::Zstd => zstd(pieces),
    };
    compressed.expect("writing to memory does not fail")
}

fn gzip(pieces: &[Bytes]) -> std::io::Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::new(GZIP_LEVEL));
    pieces
        .iter()
        .try_for_each(|piece| encoder.write_all(piece))?;
    encoder.finish()
}

fn zstd(pieces: &[Bytes]) -> std::io::Result<Vec<u8>> {
    let mut encoder = zstd::Encoder::new(Vec::new(), ZSTD_LEVEL)?;
    pieces
        .iter()
        .try_for_each(|piece| encoder.write_all(piece))?;
    encoder.finish()
}

/// Has the answers of some routes compressed; to be used with [`axum::middleware::from_fn`].
pub(super) async fn of_route(request: Request, next: Next) -> Response {
    let coding = accepted(request.headers());
    whole(coding, next.run(request).await).await
}

/// Compresses an answer that comes whole, where that is worth it.
pub(super) async fn whole(coding: Option<Coding>, answer: Response) -> Response {
    let Some(bytes) = worth_it(&answer) else {
        return answer;
    };
    let (mut parts, body) = answer.into_parts();
    mark(&mut parts.headers, coding);
    let Some(coding) = coding else {
        return Response::from_parts(parts, body);
    };

    // It is bounded, so it can be read as a whole.
    let Ok(collected) = body.collect().await else {
        return Error::internal("a page could not be read").into_response();
    };
    let pieces = [collected.to_bytes()];
    let plain = pieces[0].clone();
    let made = within_bounds(bytes, move || compressed(coding, &pieces).into()).await;
    parts.headers.remove(header::CONTENT_LENGTH);
    parts.headers.remove(header::ACCEPT_RANGES);
    if made.is_none() {
        parts.headers.remove(header::CONTENT_ENCODING);
    }
    Response::from_parts(parts, Body::from(made.unwrap_or(plain)))
}

/// How long an answer is that is neither too small nor too large, and text.
fn worth_it(answer: &Response) -> Option<usize> {
    let headers = answer.headers();
    let is_whole = answer.status() == StatusCode::OK || answer.status() == StatusCode::NOT_FOUND;
    if !is_whole || headers.contains_key(header::CONTENT_ENCODING) || !is_text(headers) {
        return None;
    }
    let announced = headers.get(header::CONTENT_LENGTH);
    let announced = announced.and_then(|length| length.to_str().ok()?.parse().ok());
    let length = match HttpBody::size_hint(answer.body()).exact() {
        // To HEAD there is a length and no body.
        Some(length) => Some(length),
        None => announced,
    };
    let length = usize::try_from(length?).ok()?;
    (COMPRESSED_ANSWER_BYTES..=COMPRESSED_WHOLE_BYTES)
        .contains(&length)
        .then_some(length)
}

/// Pictures and archives are compressed already.
fn is_text(headers: &HeaderMap) -> bool {
    let content_type = headers.get(header::CONTENT_TYPE);
    let content_type = content_type.and_then(|value| value.to_str().ok());
    let text = ["text/", "json", "javascript", "xml", "wasm"];
    content_type.is_some_and(|named| {
        let is_stream = named.starts_with("text/event-stream");
        !is_stream && text.iter().any(|part| named.contains(part))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_coding_that_a_client_takes_is_chosen() {
        let chosen = |text: &'static str| {
            let value = HeaderValue::from_static(text);
            accepted(&HeaderMap::from_iter([(header::ACCEPT_ENCODING, value)]))
        };
        for (text, coding) in [
            ("gzip, deflate, br", Some(Coding::Gzip)),
            ("gzip, deflate, br, zstd", Some(Coding::Zstd)),
            ("GZIP;q=0.5", Some(Coding::Gzip)),
            ("zstd;q=0, gzip;q=1.0", Some(Coding::Gzip)),
            ("gzip; q=0.000", None),
            ("identity, br", None),
            ("", None),
        ] {
            assert_eq!(chosen(text), coding, "{text}");
        }
        assert_eq!(accepted(&HeaderMap::new()), None);
    }

    #[test]
    fn what_is_compressed_is_the_same_again() {
        let pieces = [Bytes::from("a".repeat(5000)), Bytes::from_static(b"b")];
        let whole = pieces.concat();
        let gzip = compressed(Coding::Gzip, &pieces);
        let mut text = Vec::new();
        let mut decoder = flate2::read::GzDecoder::new(&gzip[..]);
        std::io::Read::read_to_end(&mut decoder, &mut text).expect("gzip");
        assert_eq!(text, whole);
        let zstd = compressed(Coding::Zstd, &pieces);
        assert_eq!(zstd::decode_all(&zstd[..]).expect("zstd"), whole);
        assert!(gzip.len() < 200 && zstd.len() < 200);
    }
}
