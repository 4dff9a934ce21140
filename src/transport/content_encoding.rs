//! Request bodies that are compressed (RFC 9110 §8.4).
//!
//! Invariants:
//! - a body is decoded piece by piece while it is read, so whoever bounds what is read bounds what
//!   is decoded: a small body that decodes to gigabytes is never in memory;
//! - a body without an encoding is passed on as it is, at no cost.

use std::io;

use async_compression::tokio::bufread::GzipDecoder;
use axum::body::Body;
use axum::http::{HeaderMap, header};
use futures_util::TryStreamExt as _;
use tokio_util::io::{ReaderStream, StreamReader};

use crate::cursor::shorten;
use crate::error::{Error, ErrorKind, Result};

/// What `Accept-Encoding` says in an answer that refuses another encoding (RFC 9110 §15.5.16).
pub(super) const ACCEPTED: &str = "gzip";

/// Bytes that are decoded in one step.
const STEP_BYTES: usize = 16 * 1024;

/// The body as it was before the sender encoded it.
///
/// # Errors
/// Unsupported encoding, when it is another one than gzip, or gzip more than once.
pub(super) fn decoded(headers: &HeaderMap, body: Body) -> Result<Body> {
    match encodings_of(headers)?[..] {
        [] => Ok(body),
        [name] if is_gzip(name) => Ok(gunzipped(body)),
        // Each further layer could multiply what a small body decodes to.
        ref names => Err(unsupported(&shorten(&names.join(", ")))),
    }
}

/// The encodings in the order in which they were applied, over all lines of the header.
fn encodings_of(headers: &HeaderMap) -> Result<Vec<&str>> {
    // Some clients and proxies name `identity`, which changes nothing.
    let mut names = Vec::new();
    for line in headers.get_all(header::CONTENT_ENCODING) {
        let text = line.to_str().map_err(|_| unsupported("other than ASCII"))?;
        names.extend(text.split(',').map(str::trim).filter(is_encoding));
    }
    Ok(names)
}

fn is_encoding(name: &&str) -> bool {
    !name.is_empty() && !is(name, "identity")
}

fn is_gzip(name: &str) -> bool {
    is(name, "gzip") || is(name, "x-gzip")
}

fn is(name: &str, expected: &str) -> bool {
    name.eq_ignore_ascii_case(expected)
}

fn unsupported(encoding: &str) -> Error {
    Error::new(
        ErrorKind::UnsupportedEncoding,
        format!("the Content-Encoding is {encoding:?}; send the body as it is, or gzip"),
    )
}

fn gunzipped(body: Body) -> Body {
    let encoded = body.into_data_stream().map_err(io::Error::other);
    let mut decoder = GzipDecoder::new(StreamReader::new(encoded));
    // A sender may append a member to a file, or send one a line.
    decoder.multiple_members(true);
    Body::from_stream(ReaderStream::with_capacity(decoder, STEP_BYTES))
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use axum::body::Bytes;
    use flate2::Compression;
    use flate2::write::GzEncoder;
    use futures_util::StreamExt as _;
    use http_body_util::BodyExt as _;

    use super::*;

    fn headers(values: &[&'static str]) -> HeaderMap {
        let lines = values.iter().map(|value| {
            let value = axum::http::HeaderValue::from_static(value);
            (header::CONTENT_ENCODING, value)
        });
        lines.collect()
    }

    fn gzip(text: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(text).expect("memory");
        encoder.finish().expect("memory")
    }

    async fn read(values: &[&'static str], body: impl Into<Body>) -> std::io::Result<Bytes> {
        let body = decoded(&headers(values), body.into()).expect("an encoding");
        let collected = body.collect().await.map_err(std::io::Error::other)?;
        Ok(collected.to_bytes())
    }

    #[tokio::test]
    async fn one_encoding_is_taken_off() {
        for values in [&["gzip"][..], &["GZip"], &["x-gzip"], &["identity", "gzip"]] {
            assert_eq!(read(values, gzip(b"text")).await.expect("a body"), "text");
        }
        for values in [&[][..], &["identity"], &["", " , identity"]] {
            assert_eq!(read(values, "text").await.expect("a body"), "text");
        }
        let members = [gzip(b"one "), gzip(b"two")].concat();
        assert_eq!(read(&["gzip"], members).await.expect("all"), "one two");
        let cut = gzip(b"text")[..8].to_vec();
        for wrong in [
            b"text".to_vec(),
            cut,
            [gzip(b"a"), b"more".to_vec()].concat(),
        ] {
            assert!(read(&["gzip"], wrong).await.is_err());
        }
    }

    #[test]
    fn every_other_encoding_is_refused() {
        for values in [&["br"][..], &["gzip, gzip"], &["gzip", "gzip"], &["zstd"]] {
            let error = decoded(&headers(values), Body::empty()).expect_err("a refusal");
            assert_eq!(error.kind(), ErrorKind::UnsupportedEncoding, "{values:?}");
        }
    }

    /// What a stream of events is made of: each piece arrives as soon as the sender has flushed it.
    #[tokio::test]
    async fn what_was_flushed_is_decoded_before_more_comes() {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(b"a line\n").expect("memory");
        encoder.flush().expect("memory");
        let first = Bytes::from(encoder.get_ref().clone());
        let pieces = futures_util::stream::iter([Ok::<_, std::io::Error>(first)])
            .chain(futures_util::stream::pending());
        let body = decoded(&headers(&["gzip"]), Body::from_stream(pieces)).expect("a body");
        let line = body.into_data_stream().next().await;
        assert_eq!(line.expect("a piece").expect("no error"), "a line\n");
    }
}
