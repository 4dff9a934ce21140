//! What can go wrong, and how each fault looks on every wire.
//!
//! Invariants:
//! - one [`ErrorKind`] has one HTTP status, one gRPC code and one meaning on all transports (contract
//!   §5);
//! - the detail says what was wrong, where, and what to do about it.

use crate::cursor::Gap;

/// A fault as a client is told it.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{detail}")]
pub struct Error {
    kind: ErrorKind,
    detail: String,
    gap: Option<Box<Gap>>,
}

/// A result with vidette's own error.
pub type Result<T> = std::result::Result<T, Error>;

/// The kinds of fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// The request cannot be understood or breaks a rule of the contract.
    BadRequest,
    /// Not for this caller.
    Forbidden,
    /// There is nothing at this address.
    NotFound,
    /// The address knows no such method.
    MethodNotAllowed,
    /// The cursor cannot be served and the client asked to be refused then.
    Gap,
    /// An event, a batch or a body is too large.
    TooLarge,
    /// A queue or a number of subscribers is at its bound.
    Busy,
    /// The disk has no room for more events.
    StorageFull,
    /// The gateway is shutting down; cursors stay good.
    Closing,
    /// This gateway cannot reach the log; cursors stay good.
    Behind,
    /// Another program holds the write lock of the log.
    Locked,
    /// The log cannot be written any more until the gateway is restarted.
    Broken,
    /// The content encoding of a request is not supported.
    UnsupportedEncoding,
    /// The request names a host that is not this gateway's.
    WrongHost,
    /// The memory budget is used up.
    OutOfMemory,
    /// A fault of vidette itself.
    Internal,
}

/// How a kind looks on the wires: its HTTP status, gRPC code, slug, title, and the seconds after
/// which it makes sense to try again.
struct Face(u16, tonic::Code, &'static str, &'static str, Option<u32>);

impl ErrorKind {
    #[rustfmt::skip] // a table with one line a kind
    fn face(self) -> Face {
        use tonic::Code;
        match self {
            ErrorKind::BadRequest => Face(400, Code::InvalidArgument, "bad-request", "Bad request", None),
            ErrorKind::Forbidden => Face(403, Code::PermissionDenied, "forbidden", "Not allowed", None),
            ErrorKind::NotFound => Face(404, Code::NotFound, "not-found", "Not found", None),
            ErrorKind::MethodNotAllowed => Face(405, Code::Unimplemented, "method-not-allowed", "Method not allowed", None),
            ErrorKind::Gap => Face(410, Code::OutOfRange, "gap", "The cursor cannot be served", None),
            ErrorKind::TooLarge => Face(413, Code::ResourceExhausted, "too-large", "Too large", None),
            ErrorKind::UnsupportedEncoding => Face(415, Code::Unimplemented, "unsupported-encoding", "Content encoding not supported", None),
            ErrorKind::WrongHost => Face(421, Code::PermissionDenied, "wrong-host", "Not a host of this gateway", None),
            ErrorKind::Busy => Face(429, Code::ResourceExhausted, "busy", "Too much at once", Some(1)),
            ErrorKind::Internal => Face(500, Code::Internal, "internal", "Internal error", None),
            ErrorKind::Closing => Face(503, Code::Unavailable, "closing", "The gateway is shutting down", Some(2)),
            ErrorKind::Behind => Face(503, Code::Unavailable, "behind", "The gateway cannot reach the log", Some(3)),
            ErrorKind::Locked => Face(503, Code::Unavailable, "locked", "The log is locked by another program", Some(1)),
            ErrorKind::Broken => Face(503, Code::Unavailable, "broken", "The log cannot be written", Some(10)),
            ErrorKind::OutOfMemory => Face(503, Code::ResourceExhausted, "out-of-memory", "No memory left for this", Some(2)),
            ErrorKind::StorageFull => Face(507, Code::ResourceExhausted, "storage-full", "No room for events", Some(10)),
        }
    }

    /// The HTTP status.
    pub fn http_status(self) -> u16 {
        self.face().0
    }

    /// The gRPC status code.
    pub fn grpc_code(self) -> tonic::Code {
        self.face().1
    }

    /// The last part of the problem type, for example `bad-request`.
    pub fn slug(self) -> &'static str {
        self.face().2
    }

    /// The problem's title.
    pub fn title(self) -> &'static str {
        self.face().3
    }

    /// Seconds after which it makes sense to try again, where it does.
    pub fn retry_after_s(self) -> Option<u32> {
        self.face().4
    }
}

impl Error {
    /// A fault of this kind.
    pub fn new(kind: ErrorKind, detail: impl Into<String>) -> Self {
        Error {
            kind,
            detail: detail.into(),
            gap: None,
        }
    }

    /// A request that breaks the contract.
    pub fn bad_request(detail: impl Into<String>) -> Self {
        Self::new(ErrorKind::BadRequest, detail)
    }

    /// Something over its bound.
    pub fn too_large(detail: impl Into<String>) -> Self {
        Self::new(ErrorKind::TooLarge, detail)
    }

    /// A fault of vidette itself.
    pub fn internal(detail: impl Into<String>) -> Self {
        Self::new(ErrorKind::Internal, detail)
    }

    /// The gateway is going away.
    pub fn closing() -> Self {
        Self::new(
            ErrorKind::Closing,
            "the gateway is shutting down; try again shortly, with the same cursor",
        )
    }

    /// The end of the log is not known here now.
    pub fn behind() -> Self {
        Self::new(
            ErrorKind::Behind,
            "this gateway cannot reach the log; try again shortly or elsewhere, with the same cursor",
        )
    }

    /// A gap, for a subscriber that asked to be refused at one.
    pub fn gap(gap: Gap) -> Self {
        Error {
            kind: ErrorKind::Gap,
            detail: gap.to_string(),
            gap: Some(Box::new(gap)),
        }
    }

    /// The kind of fault.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// The gap, when this is one.
    pub fn gap_details(&self) -> Option<&Gap> {
        self.gap.as_deref()
    }

    /// The same fault with the place it was found in put before its text.
    #[must_use]
    pub fn at(mut self, place: &str) -> Self {
        self.detail = format!("{place}: {}", self.detail);
        self
    }
}
