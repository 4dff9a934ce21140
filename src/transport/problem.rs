//! How errors look to clients: problem+json (RFC 9457) over HTTP, a status with details over gRPC.
//!
//! Invariant: [`error_face`] alone knows the statuses, codes and names of the kinds of error, and
//! when a client should retry (contract §5).

use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use prost::Message as _;
use serde::Serialize;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, FieldViolation, StatusExt as _};

use super::content_encoding;
use super::grpc::client_proto;
use super::headers::{no_store, set};
use super::json::to_json;
use crate::cursor::Gap;
use crate::error::{Error, ErrorKind};

/// How a kind of error looks to clients.
#[derive(Debug, Clone, Copy)]
pub struct ErrorFace {
    /// The HTTP status.
    pub http_status: u16,
    /// The gRPC status code.
    pub grpc_code: Code,
    /// The last part of the problem type, for example `bad-request`.
    pub slug: &'static str,
    /// The problem's title.
    pub title: &'static str,
    /// Seconds after which it makes sense to retry, where it does.
    pub retry_after_s: Option<u32>,
}

impl ErrorFace {
    const fn new(
        http_status: u16,
        grpc_code: Code,
        retry_after_s: Option<u32>,
        slug: &'static str,
        title: &'static str,
    ) -> Self {
        ErrorFace {
            http_status,
            grpc_code,
            slug,
            title,
            retry_after_s,
        }
    }

    fn status(&self) -> StatusCode {
        StatusCode::from_u16(self.http_status).expect("a status of the table")
    }
}

/// The table of contract §5: how each kind of error looks to clients.
#[rustfmt::skip] // a row for each kind
pub fn error_face(kind: ErrorKind) -> ErrorFace {
    let face = ErrorFace::new;
    match kind {
        ErrorKind::BadRequest => face(400, Code::InvalidArgument, None,
            "bad-request", "Bad request"),
        ErrorKind::Unauthenticated => face(401, Code::Unauthenticated, None,
            "unauthenticated", "Credentials are missing or not accepted"),
        ErrorKind::Forbidden => face(403, Code::PermissionDenied, None,
            "forbidden", "Not allowed"),
        ErrorKind::NotFound => face(404, Code::NotFound, None,
            "not-found", "Not found"),
        ErrorKind::MethodNotAllowed => face(405, Code::Unimplemented, None,
            "method-not-allowed", "Method not allowed"),
        ErrorKind::Gap => face(410, Code::OutOfRange, None,
            "gap", "The cursor cannot be served"),
        ErrorKind::TooLarge => face(413, Code::ResourceExhausted, None,
            "too-large", "Too large"),
        ErrorKind::UnsupportedEncoding => face(415, Code::Unimplemented, None,
            "unsupported-encoding", "Content encoding not supported"),
        ErrorKind::UnsupportedMediaType => face(415, Code::Unimplemented, None,
            "unsupported-media-type", "Format not supported"),
        ErrorKind::WrongHost => face(421, Code::PermissionDenied, None,
            "wrong-host", "Not a host of this gateway"),
        ErrorKind::Busy => face(429, Code::ResourceExhausted, Some(1),
            "busy", "Too much at once"),
        ErrorKind::Internal => face(500, Code::Internal, None,
            "internal", "Internal error"),
        ErrorKind::Unsupported => face(501, Code::Unimplemented, None,
            "unsupported", "Not supported here"),
        ErrorKind::ReadOnly => face(503, Code::Unavailable, Some(10),
            "read-only", "Publishing is switched off"),
        ErrorKind::Closing => face(503, Code::Unavailable, Some(2),
            "closing", "The gateway is shutting down"),
        ErrorKind::Behind => face(503, Code::Unavailable, Some(3),
            "behind", "The gateway cannot reach the log"),
        ErrorKind::Locked => face(503, Code::Unavailable, Some(1),
            "locked", "The log is locked by another program"),
        ErrorKind::Broken => face(503, Code::Unavailable, Some(10),
            "broken", "The log cannot be written"),
        ErrorKind::KeysUnavailable => face(503, Code::Unavailable, Some(3),
            "keys-unavailable", "The keys of an identity provider cannot be fetched"),
        ErrorKind::OutOfMemory => face(503, Code::ResourceExhausted, Some(2),
            "out-of-memory", "No memory left for this"),
        ErrorKind::StorageFull => face(507, Code::ResourceExhausted, Some(10),
            "storage-full", "No space left for events"),
    }
}

/// The body of an error over HTTP.
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
        let face = error_face(error.kind());
        Problem {
            r#type: format!("urn:vidette:problem:{}", face.slug),
            title: face.title,
            status: face.http_status,
            detail: error.to_string(),
            gap: error.gap_details(),
        }
    }
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        let face = error_face(self.kind());
        let mut response = Response::new(Body::from(to_json(&Problem::of(&self))));
        *response.status_mut() = face.status();
        *response.headers_mut() = headers(self.kind(), retry_after_s(&self));
        response
    }
}

/// As the error itself says, else as all errors of its kind do.
fn retry_after_s(error: &Error) -> Option<u32> {
    let of_kind = || error_face(error.kind()).retry_after_s;
    error.retry_after_s().or_else(of_kind)
}

const PROBLEM: HeaderValue = HeaderValue::from_static("application/problem+json");
const AUTHENTICATE: &str = "Bearer realm=\"vidette\"";

fn headers(kind: ErrorKind, retry_after_s: Option<u32>) -> HeaderMap {
    let mut headers = no_store(PROBLEM);
    if let Some(seconds) = retry_after_s {
        headers.insert(header::RETRY_AFTER, seconds.into());
    }
    // Which credentials are taken (RFC 9110 §11.6.1, RFC 6750 §3).
    if kind == ErrorKind::Unauthenticated {
        set(&mut headers, header::WWW_AUTHENTICATE, AUTHENTICATE);
    }
    // Whoever was refused an encoding is shown the one that is taken (RFC 9110 §15.5.16).
    if kind == ErrorKind::UnsupportedEncoding {
        let accepted = content_encoding::ACCEPTED;
        set(&mut headers, header::ACCEPT_ENCODING, accepted);
    }
    headers
}

/// The answer to a request that no route has seen: a status where gRPC asks, a problem elsewhere.
pub(super) fn refusal(request: &HeaderMap, error: Error) -> Response {
    let Some(content_type) = grpc_content_type(request) else {
        return error.into_response();
    };
    // Of the request's own type: a gRPC-web client reads no other.
    let mut response: Response = Status::from(error).into_http();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, content_type.clone());
    response
}

pub(super) fn grpc_content_type(request: &HeaderMap) -> Option<&HeaderValue> {
    let content_type = request.get(header::CONTENT_TYPE)?;
    let text = content_type.as_bytes();

    // gRPC-web and types with an encoding, such as `+proto`, begin like this, too.
    text.starts_with(b"application/grpc")
        .then_some(content_type)
}

/// A whole HTTP/1.1 answer, for a connection that no router will see.
pub(crate) fn bare_refusal(error: &Error) -> Vec<u8> {
    let face = error_face(error.kind());
    let (status, retry_after_s) = (face.status(), face.retry_after_s.unwrap_or(1));

    // The connection is closed behind it: there is no place for another one.
    let body = to_json(&Problem::of(error));
    let length = body.len();
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: application/problem+json\r\n\
         Retry-After: {retry_after_s}\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n"
    );
    [head.into_bytes(), body].concat()
}

impl From<Error> for Status {
    fn from(error: Error) -> Self {
        let code = error_face(error.kind()).grpc_code;
        let message = error.to_string();
        // A gap has a message of its own, which says where to go on.
        if let Some(gap) = error.gap_details() {
            return status_with_gap(code, &message, gap);
        }
        match details(&error, &message) {
            Some(details) => Status::with_error_details(code, message, details),
            None => Status::new(code, message),
        }
    }
}

/// What the standard messages of `google.rpc` can add to a status.
fn details(error: &Error, message: &str) -> Option<ErrorDetails> {
    match error.kind() {
        ErrorKind::BadRequest => Some(bad_request(message)),
        _ => retry_after_s(error).map(retry_info),
    }
}

fn bad_request(message: &str) -> ErrorDetails {
    // No field is named, because the message itself says what is wrong.
    let violation = FieldViolation::new("", message);
    ErrorDetails::with_bad_request([violation])
}

fn retry_info(after_s: u32) -> ErrorDetails {
    let delay = Duration::from_secs(after_s.into());
    ErrorDetails::with_retry_info(Some(delay))
}

/// A status whose details hold the same `Gap` message as a stream that goes on behind a gap.
fn status_with_gap(code: Code, message: &str, gap: &Gap) -> Status {
    let status = tonic_types::pb::Status {
        code: code as i32,
        message: message.into(),
        details: vec![any_gap(gap)],
    };
    Status::with_details(code, message, status.encode_to_vec().into())
}

const GAP_TYPE: &str = "type.googleapis.com/vidette.v1.Gap";

fn any_gap(gap: &Gap) -> prost_types::Any {
    let gap = client_proto::Gap::from(gap.clone());
    prost_types::Any {
        type_url: GAP_TYPE.into(),
        value: gap.encode_to_vec(),
    }
}
