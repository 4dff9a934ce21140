//! A fault on the wires: problem+json (RFC 9457) over HTTP, a status with details over gRPC.

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use prost::Message as _;
use serde::Serialize;
use tonic_types::{ErrorDetails, FieldViolation, StatusExt as _};

use super::content_encoding;
use super::grpc::client_proto;
use crate::cursor::Gap;
use crate::error::{Error, ErrorKind};

/// The body of a fault over HTTP.
#[derive(Serialize)]
pub(super) struct Problem<'e> {
    r#type: String,
    title: &'static str,
    status: u16,
    detail: String,
    #[serde(flatten)]
    gap: Option<&'e Gap>,
}

impl<'e> Problem<'e> {
    pub(super) fn of(error: &'e Error) -> Self {
        let kind = error.kind();
        Problem {
            r#type: format!("urn:vidette:problem:{}", kind.slug()),
            title: kind.title(),
            status: kind.http_status(),
            detail: error.to_string(),
            gap: error.gap_details(),
        }
    }
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        let body = serde_json::to_vec(&Problem::of(&self)).expect("texts and numbers are JSON");
        let mut response = Response::new(Body::from(body));
        *response.status_mut() =
            StatusCode::from_u16(self.kind().http_status()).expect("a status of our own");
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(seconds) = self.kind().retry_after_s() {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.kind() == ErrorKind::UnsupportedEncoding {
            let accepted = HeaderValue::from_static(content_encoding::ACCEPTED);
            headers.insert(header::ACCEPT_ENCODING, accepted);
        }
        response
    }
}

/// The answer to a request that no route has seen: a status where gRPC asks, a problem elsewhere.
pub(super) fn refusal(request: &HeaderMap, error: Error) -> Response {
    let content_type = request
        .get(header::CONTENT_TYPE)
        .filter(|content_type| content_type.as_bytes().starts_with(b"application/grpc"));
    let Some(content_type) = content_type else {
        return error.into_response();
    };
    let mut response: Response = tonic::Status::from(error).into_http();
    // As it was asked: a client of gRPC-web reads no other.
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, content_type.clone());
    response
}

/// A whole HTTP/1.1 answer, for a connection that no router will see.
pub(crate) fn bare_refusal(error: &Error) -> Vec<u8> {
    let body = serde_json::to_string(&Problem::of(error)).expect("texts and numbers are JSON");
    let status = StatusCode::from_u16(error.kind().http_status()).expect("a status of our own");
    let retry_after_s = error.kind().retry_after_s().unwrap_or(1);
    format!(
        "HTTP/1.1 {status}\r\nContent-Type: application/problem+json\r\nRetry-After: {retry_after_s}\r\n\
         Connection: close\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

impl From<Error> for tonic::Status {
    fn from(error: Error) -> Self {
        let (code, message) = (error.kind().grpc_code(), error.to_string());
        match (error.kind(), error.gap_details()) {
            (_, Some(gap)) => with_gap(code, &message, gap),
            (ErrorKind::BadRequest, _) => {
                let violation = FieldViolation::new("", message.clone());
                tonic::Status::with_error_details(
                    code,
                    message,
                    ErrorDetails::with_bad_request(vec![violation]),
                )
            }
            (kind, _) => match kind.retry_after_s() {
                Some(seconds) => {
                    let delay = std::time::Duration::from_secs(u64::from(seconds));
                    tonic::Status::with_error_details(
                        code,
                        message,
                        ErrorDetails::with_retry_info(Some(delay)),
                    )
                }
                None => tonic::Status::new(code, message),
            },
        }
    }
}

/// A status whose details hold the same `Gap` message that a stream would have told.
fn with_gap(code: tonic::Code, message: &str, gap: &Gap) -> tonic::Status {
    let any = prost_types::Any {
        type_url: "type.googleapis.com/vidette.v1.Gap".into(),
        value: client_proto::Gap::from(gap.clone()).encode_to_vec(),
    };
    let status = tonic_types::pb::Status {
        code: code as i32,
        message: message.into(),
        details: vec![any],
    };
    tonic::Status::with_details(code, message, status.encode_to_vec().into())
}

/// Headers of everything that must not be kept by a cache.
pub(super) fn no_store(content_type: &'static str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers
}
