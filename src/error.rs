//! What can go wrong, and how each fault looks on every wire.
//!
//! Invariants:
//! - one [`Kind`] has one HTTP status, one gRPC code and one meaning on all transports (contract
//!   §5);
//! - the detail says what was wrong, where, and what to do about it.

use crate::cursor::Gap;

/// A fault as a client is told it.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{detail}")]
pub struct Error {
    kind: Kind,
    detail: String,
    gap: Option<Box<Gap>>,
}

/// A result with vidette's own error.
pub type Result<T> = std::result::Result<T, Error>;

/// The kinds of fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
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
    /// The log cannot be written any more until the gateway is restarted.
    Broken,
    /// A fault of vidette itself.
    Internal,
}

/// How a kind looks on the wires.
struct Face {
    http_status: u16,
    grpc_code: tonic::Code,
    slug: &'static str,
    title: &'static str,
    retry_after_s: Option<u32>,
}

impl Kind {
    fn face(self) -> Face {
        use tonic::Code;
        let (http_status, grpc_code, slug, title, retry_after_s) = match self {
            Kind::BadRequest => (
                400,
                Code::InvalidArgument,
                "bad-request",
                "Bad request",
                None,
            ),
            Kind::Forbidden => (
                403,
                Code::PermissionDenied,
                "forbidden",
                "Not allowed",
                None,
            ),
            Kind::NotFound => (404, Code::NotFound, "not-found", "Not found", None),
            Kind::MethodNotAllowed => (
                405,
                Code::Unimplemented,
                "method-not-allowed",
                "Method not allowed",
                None,
            ),
            Kind::Gap => (
                410,
                Code::OutOfRange,
                "gap",
                "The cursor cannot be served",
                None,
            ),
            Kind::TooLarge => (413, Code::ResourceExhausted, "too-large", "Too large", None),
            Kind::Busy => (
                429,
                Code::ResourceExhausted,
                "busy",
                "Too much at once",
                Some(1),
            ),
            Kind::StorageFull => (
                507,
                Code::ResourceExhausted,
                "storage-full",
                "No room for events",
                Some(10),
            ),
            Kind::Closing => (
                503,
                Code::Unavailable,
                "closing",
                "The gateway is shutting down",
                Some(2),
            ),
            Kind::Broken => (
                503,
                Code::Unavailable,
                "broken",
                "The log cannot be written",
                Some(10),
            ),
            Kind::Internal => (500, Code::Internal, "internal", "Internal fault", None),
        };
        Face {
            http_status,
            grpc_code,
            slug,
            title,
            retry_after_s,
        }
    }

    /// The HTTP status.
    pub fn http_status(self) -> u16 {
        self.face().http_status
    }

    /// The gRPC status code.
    pub fn grpc_code(self) -> tonic::Code {
        self.face().grpc_code
    }

    /// The last part of the problem type, for example `bad-request`.
    pub fn slug(self) -> &'static str {
        self.face().slug
    }

    /// The problem's title.
    pub fn title(self) -> &'static str {
        self.face().title
    }

    /// Seconds after which it makes sense to try again, where it does.
    pub fn retry_after_s(self) -> Option<u32> {
        self.face().retry_after_s
    }
}

impl Error {
    /// A fault of this kind.
    pub fn new(kind: Kind, detail: impl Into<String>) -> Self {
        Error {
            kind,
            detail: detail.into(),
            gap: None,
        }
    }

    /// A request that breaks the contract.
    pub fn bad_request(detail: impl Into<String>) -> Self {
        Self::new(Kind::BadRequest, detail)
    }

    /// Something over its bound.
    pub fn too_large(detail: impl Into<String>) -> Self {
        Self::new(Kind::TooLarge, detail)
    }

    /// A fault of vidette itself.
    pub fn internal(detail: impl Into<String>) -> Self {
        Self::new(Kind::Internal, detail)
    }

    /// The gateway is going away.
    pub fn closing() -> Self {
        Self::new(
            Kind::Closing,
            "the gateway is shutting down; try again shortly, with the same cursor",
        )
    }

    /// A gap, for a subscriber that asked to be refused at one.
    pub fn gap(gap: Gap) -> Self {
        Error {
            kind: Kind::Gap,
            detail: gap.to_string(),
            gap: Some(Box::new(gap)),
        }
    }

    /// The kind of fault.
    pub fn kind(&self) -> Kind {
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
