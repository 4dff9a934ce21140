//! Bounds of what proxies say.

/// Entries of `proxy.trusted`: each request of a proxy is compared with all.
pub const MAX_TRUSTED_PROXIES: usize = 256;
/// Hops of a request that proxies name and that are looked at.
pub const MAX_FORWARDED_HOPS: usize = 32;
