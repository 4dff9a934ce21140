//! Bounds of credentials, and of what they are checked against.

use std::time::Duration;

/// A token or key that is shown, in bytes.
pub const MAX_CREDENTIAL_BYTES: usize = 8 * 1024;
/// A name by which a credential can be revoked (`jti`, `sub`, an API key's name), in bytes.
pub const MAX_CREDENTIAL_ID_BYTES: usize = 512;
/// Bytes of verified tokens that are remembered, so that their signatures are checked once. What is
/// kept of a token takes up to about six times its length.
pub const TOKEN_CACHE_BYTES: u64 = 8 * 1024 * 1024;

/// The shortest secret that tokens may be signed with, in bytes: what HMAC with SHA-256 takes (RFC
/// 7518 §3.2).
pub const MIN_SECRET_BYTES: usize = 32;
/// A file with a secret or public keys, in bytes.
pub const MAX_KEY_FILE_BYTES: u64 = 64 * 1024;
/// The shortest and the longest RSA key that is taken, in bits.
pub const MIN_RSA_BITS: usize = 2048;
/// See [`MIN_RSA_BITS`].
pub const MAX_RSA_BITS: usize = 8192;
/// Keys of one file, or of one key set of an identity provider.
pub const MAX_VERIFICATION_KEYS: usize = 64;
/// `[[auth.jwt]]` entries: a token without a key id is compared with all of their keys.
pub const MAX_JWT_ENTRIES: usize = 16;
/// The longest `leeway` of a clock that may be configured.
pub const MAX_CLOCK_LEEWAY: Duration = Duration::from_secs(300);
/// API keys, and certificates, that may be configured.
pub const MAX_CONFIGURED_IDENTITIES: usize = 10_000;

/// The list of revoked names, in bytes …
pub const MAX_REVOKED_FILE_BYTES: u64 = 16 * 1024 * 1024;
/// … and how often it is looked at.
pub const REVOKED_FILE_INTERVAL: Duration = Duration::from_secs(1);

/// The key set of an identity provider, in bytes.
pub const MAX_KEY_SET_BYTES: usize = 256 * 1024;
/// The id of a key in it, in bytes; keys with longer ones are left out.
pub const MAX_KEY_ID_BYTES: usize = 256;
/// A key set has to arrive within this time.
pub const KEY_SET_TIMEOUT: Duration = Duration::from_secs(5);
/// Redirects that are followed to it.
pub const KEY_SET_REDIRECTS: usize = 3;
/// A key set is fetched again after the time that its `Cache-Control` says, within these bounds …
pub const KEY_SET_AGE_MIN: Duration = Duration::from_secs(60);
/// See [`KEY_SET_AGE_MIN`].
pub const KEY_SET_AGE_MAX: Duration = Duration::from_secs(24 * 3600);
/// … and after this long where it says none.
pub const KEY_SET_AGE: Duration = Duration::from_secs(600);
/// For a token whose key is not known it is fetched at once, but no more often than this.
pub const KEY_SET_INTERVAL: Duration = Duration::from_secs(2);
/// After a failure it is fetched again after this long, then after twice as long, …
pub const KEY_SET_BACKOFF_MIN: Duration = Duration::from_secs(1);
/// … up to this, …
pub const KEY_SET_BACKOFF_MAX: Duration = Duration::from_secs(60);
/// … and for a token whose key is not known after at most this long.
pub const KEY_SET_BACKOFF_ASKED: Duration = Duration::from_secs(10);
/// How long a request waits for a key set that may have its token's key: for a fetch that is under
/// way, and one that begins after the interval.
pub const KEY_SET_WAIT: Duration = Duration::from_secs(8);
/// Requests that wait for one key set at once; further ones are to come again.
pub const KEY_SET_WAITERS: usize = 10_000;
