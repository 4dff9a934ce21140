//! Reads the one request message of `Subscribe`.
//!
//! Invariant: a request is read to its end, within its bounds of length and time.

use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue};
use tokio::time::timeout;
use tonic::codec::{Codec as _, CompressionEncoding};
use tonic::metadata::MetadataValue;
use tonic::{Status, Streaming};

use super::encoded::SmallBuffers;
use super::proto;
use crate::bus::{OnGap, SubscribeRequest};
use crate::error::{Error, Result};
use crate::limits;
use crate::topic::Filter;
use crate::transport::request::StartTexts;

pub(super) async fn read_in_time(
    request: Request,
) -> std::result::Result<proto::SubscribeRequest, Status> {
    // A client that does not end its request would hold the call without having a stream.
    let read = timeout(limits::BODY_TIMEOUT, read(request)).await;
    read.unwrap_or_else(|_| Err(too_slow().into()))
}

fn too_slow() -> Error {
    let seconds = limits::BODY_TIMEOUT.as_secs();
    Error::bad_request(format!(
        "the request was not complete after {seconds} s; \
         it is one message and the end of the request"
    ))
}

type RequestCodec = SmallBuffers<proto::SubscribeRequest, proto::SubscribeRequest>;

async fn read(request: Request) -> std::result::Result<proto::SubscribeRequest, Status> {
    let encoding = encoding_of(request.headers())?;
    let decoder = RequestCodec::default().decoder();
    let most = Some(limits::SMALL_MESSAGE_BYTES);
    let mut messages = Streaming::new_request(decoder, request.into_body(), encoding, most);
    let message = messages.message().await?;
    // A request ends behind its one message.
    messages.trailers().await?;
    message.ok_or_else(|| Error::bad_request("the request has no message").into())
}

/// How the request is compressed: gzip or not at all, here as in the other calls. The answer's
/// messages never are: they are made once for all who read them, and most clients say that they
/// take gzip, so each page would be made twice, the second time at a fraction of the speed.
fn encoding_of(headers: &HeaderMap) -> std::result::Result<Option<CompressionEncoding>, Status> {
    match headers.get("grpc-encoding").map(HeaderValue::as_bytes) {
        None | Some(b"identity") => Ok(None),
        Some(b"gzip") => Ok(Some(CompressionEncoding::Gzip)),
        Some(other) => Err(unsupported(other)),
    }
}

/// The status that tonic gives in the other calls.
fn unsupported(encoding: &[u8]) -> Status {
    let encoding = String::from_utf8_lossy(encoding);
    // In the same words, so that a client sees no difference between the two.
    let mut status = Status::unimplemented(format!(
        "Content is compressed with `{encoding}` which isn't supported"
    ));
    let accepted = MetadataValue::from_static("gzip,identity");
    let metadata = status.metadata_mut();
    metadata.insert("grpc-accept-encoding", accepted);
    status
}

pub(crate) fn subscribe_request(request: &proto::SubscribeRequest) -> Result<SubscribeRequest> {
    let on_gap = on_gap_of(request.on_gap)?;
    check_limit(request.limit)?;

    // In protobuf an empty text and a 0 stand for none.
    let start = StartTexts {
        after: not_empty(&request.after),
        since: not_empty(&request.since),
        snapshot: request.snapshot,
    };
    Ok(SubscribeRequest {
        filter: Filter::parse(request.topic.iter().map(String::as_str))?,
        start: start.parse()?,
        on_gap,
        limit: Some(request.limit).filter(|limit| *limit > 0),
    })
}

fn not_empty(text: &str) -> Option<&str> {
    Some(text).filter(|text| !text.is_empty())
}

fn on_gap_of(value: i32) -> Result<OnGap> {
    use proto::OnGap as Wire;
    match Wire::try_from(value) {
        Ok(Wire::Unspecified | Wire::Continue) => Ok(OnGap::Continue),
        Ok(Wire::Fail) => Ok(OnGap::Fail),
        Err(_) => Err(unknown_on_gap(value)),
    }
}

fn unknown_on_gap(value: i32) -> Error {
    Error::bad_request(format!("on_gap = {value} is not a value of OnGap"))
}

fn check_limit(limit: u32) -> Result<()> {
    const MOST: u32 = limits::MAX_LIMIT;
    if limit > MOST {
        return Err(Error::bad_request(format!("limit is more than {MOST}")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use axum::body::{Body, Bytes};
    use tonic::Code;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_request_that_does_not_end_is_given_up() {
        let body = Body::from_stream(futures_util::stream::pending::<std::io::Result<Bytes>>());
        let status = read_in_time(Request::new(body))
            .await
            .expect_err("no request");
        assert_eq!(status.code(), Code::InvalidArgument);
    }

    #[test]
    fn requests_may_be_compressed_as_in_other_calls() {
        let mut headers = HeaderMap::new();
        assert_eq!(encoding_of(&headers).expect("none"), None);
        headers.insert("grpc-encoding", HeaderValue::from_static("identity"));
        assert_eq!(encoding_of(&headers).expect("none"), None);
        headers.insert("grpc-encoding", HeaderValue::from_static("gzip"));
        assert_eq!(
            encoding_of(&headers).expect("gzip"),
            Some(CompressionEncoding::Gzip)
        );
        headers.insert("grpc-encoding", HeaderValue::from_static("deflate"));
        let refusal = encoding_of(&headers).expect_err("a refusal");
        assert_eq!(refusal.code(), Code::Unimplemented);
        assert!(refusal.metadata().contains_key("grpc-accept-encoding"));
    }
}
