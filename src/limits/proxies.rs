//! Bounds of what proxies say.

use std::time::Duration;

/// Entries of `proxy.trusted`: each request of a proxy is compared with all.
pub const MAX_TRUSTED_PROXIES: usize = 256;
/// Hops of a request that proxies name and that are looked at.
pub const MAX_FORWARDED_HOPS: usize = 32;
/// Bytes of a header of the PROXY protocol, version 2. One with everything that HAProxy or a cloud's
/// load balancer adds takes some hundred.
pub const MAX_PROXY_HEADER_BYTES: usize = 4096;
/// The same of version 1, which is one line: the longest that there can be.
pub const MAX_PROXY_LINE_BYTES: usize = 107;
/// A trusted proxy sends its header within this time; it has it before it connects.
pub const PROXY_HEADER_TIMEOUT: Duration = Duration::from_secs(5);
