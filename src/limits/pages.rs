//! Bounds of pages, of compressed answers and of what is said about a configuration.

/// Errors that are shown of a configuration that is not TOML.
pub const MAX_TOML_ERRORS: usize = 20;

/// Origins whose pages may show the gateway's in a frame.
pub const MAX_FRAMING_ORIGINS: usize = 32;

/// Answers from this size on, in bytes, are compressed for clients that take it: a smaller one is
/// one packet anyway.
pub const COMPRESSED_ANSWER_BYTES: usize = 1024;
/// From this size on they are compressed on threads that may take their time.
pub const COMPRESSED_ELSEWHERE_BYTES: usize = 32 * 1024;
/// As many of these are compressed at once.
pub const COMPRESSIONS_AT_ONCE: usize = 4;
/// Pages and files up to this size, in bytes, are compressed; larger ones are sent as they are.
pub const COMPRESSED_WHOLE_BYTES: usize = 1024 * 1024;
