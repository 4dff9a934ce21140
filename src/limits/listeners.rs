//! Bounds of listeners, and of what proxies say.

use std::time::Duration;

/// Connections that wait to be accepted, as after a restart; the kernel may allow fewer
/// (`net.core.somaxconn`).
pub const ACCEPT_BACKLOG: u32 = 4096;
/// A listener that cannot accept connections tries again after this long.
pub const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// A listener that cannot accept connections reports that at most this often.
pub const ACCEPT_WARNING_INTERVAL: Duration = Duration::from_secs(10);
/// Connections over `max_connections` that are being answered with an error at once. Further ones
/// are closed without an answer, so that a flood of them holds no more sockets than this.
pub const REFUSALS: usize = 1024;
/// Bytes that such a connection may still send before it is closed: its request is not read.
pub const REFUSAL_BYTES: usize = 64 * 1024;
/// Bytes of the path of a Unix socket: `sun_path` of `unix(7)`, less the 0 at its end.
pub const MAX_SOCKET_PATH_BYTES: usize = 107;
/// Open files that are kept for what the gateway opens while it serves: sources, pages, readers and
/// copies of the log.
pub const RESERVED_FILES: usize = 128;
/// Entries of `proxy.trusted`: each request of a proxy is compared with all.
pub const MAX_TRUSTED_PROXIES: usize = 256;
/// Hops of a request that proxies name and that are looked at.
pub const MAX_FORWARDED_HOPS: usize = 32;
/// Bytes of a header of the PROXY protocol, version 2. One with everything that a proxy or a
/// cloud's load balancer adds takes some hundred.
pub const MAX_PROXY_HEADER_BYTES: usize = 4096;
/// The same of version 1, which is one line: the longest that there can be.
pub const MAX_PROXY_LINE_BYTES: usize = 107;
/// A trusted proxy sends its header within this time; it has it before it connects.
pub const PROXY_HEADER_TIMEOUT: Duration = Duration::from_secs(5);
