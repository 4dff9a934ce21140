//! Bounds of encrypted connections.

use std::time::Duration;

/// A handshake has to be done within this time, as a request head has to be complete.
pub const TLS_HANDSHAKE_TIMEOUT: Duration = super::HEADER_TIMEOUT;
/// Encrypted bytes that one connection holds until its socket takes them: a record.
pub const TLS_UNSENT_BYTES: usize = 16 * 1024;
/// Bytes of a file of certificates, or of a key.
pub const TLS_FILE_BYTES: u64 = 1024 * 1024;
/// How often the files of `[tls]` are looked at. A change has to stand for one look before it is
/// read, because a certificate and its key are replaced one after the other.
pub const TLS_LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// Names that are taken from a client's certificate, …
pub const CERTIFICATE_NAMES: usize = 32;
/// … and the bytes that one of them may have; longer ones are left out.
pub const CERTIFICATE_NAME_BYTES: usize = 255;
