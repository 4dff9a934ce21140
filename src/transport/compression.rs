//! Answers that are compressed, where a client takes that: pages, lists and polls.
//!
//! Invariants:
//! - streams are never compressed, nor is anything of gRPC;
//! - what is small stays as it is, and so does what is compressed already;
//! - a poll's answer that many get is compressed once for all of them.

use std::io::Write as _;
use std::sync::Arc;

use axum::body::Bytes;
use axum::http::{HeaderMap, HeaderValue, header};
use flate2::Compression;
use flate2::write::GzEncoder;
use tokio::sync::Semaphore;
use tower_http::CompressionLevel;
use tower_http::compression::CompressionLayer;
use tower_http::compression::predicate::{NotForContentType, Predicate, SizeAbove};

use super::json::{PollHead, poll_answer};
use crate::bus::Batch;
use crate::encodings::Coding;
use crate::limits::{COMPRESSED_ANSWER_BYTES, COMPRESSED_ELSEWHERE_BYTES, COMPRESSIONS_AT_ONCE};

/// Levels that cost little: most of what can be saved, for a few milliseconds of a large page.
const GZIP_LEVEL: u32 = 1;
const ZSTD_LEVEL: i32 = 1;

/// Large answers that are compressed just now.
static AT_ONCE: Semaphore = Semaphore::const_new(COMPRESSIONS_AT_ONCE);

/// The best coding that a client takes (RFC 9110 §12.5.3).
pub(super) fn accepted(headers: &HeaderMap) -> Option<Coding> {
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

/// A poll's answer, compressed: once for all who get the same. None where it has to be sent as it is.
pub(super) async fn poll(
    coding: Coding,
    head: PollHead<'_>,
    batches: &[Arc<Batch>],
    bytes: usize,
) -> Option<Bytes> {
    if let ([batch], true) = (batches, head.is_common()) {
        let (batch, key) = (batch.clone(), (head.standing, coding));
        let make = move || {
            let last = batch.last_compressed();
            last.get_or_make(key, |(standing, coding)| {
                let head = PollHead::common(standing.clone());
                compressed(*coding, &poll_answer(&head, std::slice::from_ref(&batch)))
            })
        };
        return within_bounds(bytes, make).await;
    }
    let pieces = poll_answer(&head, batches);
    within_bounds(bytes, move || compressed(coding, &pieces).into()).await
}

/// A large answer takes milliseconds, which are not taken from those who are served live; and only a
/// few are compressed at once.
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

/// Compresses pages and lists, at the level that costs least.
pub(super) fn layer() -> CompressionLayer<impl Predicate> {
    // Pictures, and what has a coding already, are left out.
    let sizes = SizeAbove::new(COMPRESSED_ANSWER_BYTES as u64);
    let worth_it = sizes
        .and(NotForContentType::IMAGES)
        .and(NotForContentType::GRPC)
        .and(NotForContentType::SSE)
        .and(NotForContentType::const_new("video/"))
        .and(NotForContentType::const_new("audio/"))
        .and(NotForContentType::const_new("font/"))
        .and(NotForContentType::const_new("application/zip"));
    CompressionLayer::new()
        .quality(CompressionLevel::Fastest)
        .compress_when(worth_it)
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
