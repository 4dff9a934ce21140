//! Request bodies, as they come in.
//!
//! Invariants:
//! - a body is paid from the memory budget as it arrives, by what it takes in memory, and given up
//!   when it is not complete in time;
//! - a body that came whole with the request waits for nothing, so it costs nothing.

use std::ops::Deref;

use axum::body::{Body, Bytes, HttpBody as _};
use http_body_util::BodyExt as _;
use tokio::time::timeout;

use crate::error::{Error, Result};
use crate::limits;
use crate::memory::{MemoryBudget, MemoryKind, Reservation};

/// A whole body, and what it costs until it is dropped.
pub(super) struct WholeBody {
    bytes: Bytes,
    /// None for a small one.
    _held: Option<Reservation>,
}

impl Deref for WholeBody {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

impl AsRef<[u8]> for WholeBody {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl WholeBody {
    fn free(bytes: Bytes) -> Self {
        WholeBody { bytes, _held: None }
    }
}

/// Reads a whole body, within its bounds of length and time and the memory budget.
///
/// # Errors
/// Too large, out of memory, or a bad request when it broke off or came too slowly.
pub(super) async fn read_body(
    memory: &MemoryBudget,
    body: Body,
    max_bytes: usize,
) -> Result<WholeBody> {
    let read = timeout(limits::BODY_TIMEOUT, read(memory, body, max_bytes)).await;
    read.unwrap_or_else(|_| Err(too_slow("the body")))
}

async fn read(memory: &MemoryBudget, mut body: Body, max_bytes: usize) -> Result<WholeBody> {
    // Most bodies come whole with their head, and are used where they lie.
    let first = next_piece(&mut body).await?.unwrap_or_default();
    check_length(first.len(), max_bytes)?;
    if body.is_end_stream() {
        return Ok(WholeBody::free(first));
    }

    // Copied together: pieces of a byte each would keep a buffer of the connection each.
    let mut gathered = GatheredBody::new(memory, &first, max_bytes)?;
    drop(first);
    while let Some(piece) = next_piece(&mut body).await? {
        gathered.push(&piece)?;
    }
    Ok(gathered.into())
}

/// The next piece with data; none at the end.
async fn next_piece(body: &mut Body) -> Result<Option<Bytes>> {
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| broken_off(&error))?;
        // What is no data is the trailers, which say nothing here.
        if let Ok(data) = frame.into_data() {
            return Ok(Some(data));
        }
    }
    Ok(None)
}

/// What has come of a body of more than one piece.
struct GatheredBody {
    bytes: Vec<u8>,
    held: Reservation,
    max_bytes: usize,
}

impl GatheredBody {
    fn new(memory: &MemoryBudget, first: &[u8], max_bytes: usize) -> Result<Self> {
        Ok(GatheredBody {
            held: memory.reserve(MemoryKind::Body, first.len())?,
            bytes: first.to_vec(),
            max_bytes,
        })
    }

    fn push(&mut self, piece: &[u8]) -> Result<()> {
        // Checked before it is paid: a body that is too large has its own error.
        check_length(self.bytes.len() + piece.len(), self.max_bytes)?;
        self.reserve(piece.len())?;
        self.bytes.extend_from_slice(piece);
        Ok(())
    }

    /// Lets the buffer grow by doubling, and pays before it does.
    fn reserve(&mut self, more_bytes: usize) -> Result<()> {
        let needed = self.bytes.len() + more_bytes;
        let capacity = self.bytes.capacity();
        if needed <= capacity {
            return Ok(());
        }
        // Never more than a whole body may have.
        let capacity = needed.max(capacity * 2).min(self.max_bytes);
        self.held.resize(capacity)?;
        self.bytes.reserve_exact(capacity - self.bytes.len());
        Ok(())
    }
}

impl From<GatheredBody> for WholeBody {
    fn from(gathered: GatheredBody) -> Self {
        WholeBody {
            bytes: gathered.bytes.into(),
            _held: Some(gathered.held),
        }
    }
}

fn check_length(bytes: usize, max_bytes: usize) -> Result<()> {
    if bytes > max_bytes {
        return Err(too_large(max_bytes));
    }
    Ok(())
}

fn too_large(max_bytes: usize) -> Error {
    Error::too_large(format!(
        "the body has more than {max_bytes} bytes; send less at once"
    ))
}

/// What did not arrive in time.
pub(super) fn too_slow(what: &str) -> Error {
    let seconds = limits::BODY_TIMEOUT.as_secs();
    Error::bad_request(format!(
        "{what} was not complete after {seconds} s; send it faster or in parts"
    ))
}

fn broken_off(error: &axum::Error) -> Error {
    Error::bad_request(format!("the body broke off: {error}"))
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use futures_util::stream::{iter, pending};
    use futures_util::{FutureExt as _, StreamExt as _};

    use super::*;
    use crate::error::ErrorKind;

    fn pieces(count: usize, bytes: usize) -> Vec<std::result::Result<Bytes, Infallible>> {
        vec![Ok(vec![b'x'; bytes].into()); count]
    }

    #[tokio::test]
    async fn a_body_is_paid_while_it_comes_and_until_it_is_dropped() {
        let memory = MemoryBudget::new(1 << 20);
        let paid = || memory.used_bytes(MemoryKind::Body);
        let endless = Body::from_stream(iter(pieces(10, 1000)).chain(pending()));
        let mut reading = Box::pin(read_body(&memory, endless, 100_000));
        assert!(reading.as_mut().now_or_never().is_none(), "it has no end");
        assert!((10_000..20_000).contains(&paid()), "{}", paid());
        drop(reading);
        assert_eq!(paid(), 0, "a body that is given up costs nothing");

        let body = Body::from_stream(iter(pieces(10, 1000)));
        let body = read_body(&memory, body, 10_000).await.expect("a body");
        assert_eq!((body.len(), paid()), (10_000, 10_000));
        drop(body);
        assert_eq!(paid(), 0);

        let body = read_body(&memory, Body::from("whole"), 5).await;
        assert_eq!((&*body.expect("a body"), paid()), (&b"whole"[..], 0));
    }

    #[tokio::test]
    async fn what_does_not_fit_is_refused() {
        let memory = MemoryBudget::new(8000);
        let read = |body, most| read_body(&memory, body, most).map(Result::err);
        let kind = |error: Option<Error>| error.expect("a refusal").kind();
        let body = || Body::from_stream(iter(pieces(10, 1000)));
        assert_eq!(kind(read(body(), 100_000).await), ErrorKind::OutOfMemory);
        assert_eq!(kind(read(body(), 1999).await), ErrorKind::TooLarge);
        assert_eq!(
            kind(read(Body::from("whole"), 4).await),
            ErrorKind::TooLarge
        );
        assert_eq!(memory.used_bytes(MemoryKind::Body), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_does_not_end_is_given_up() {
        let memory = MemoryBudget::new(1 << 20);
        let body = Body::from_stream(iter(pieces(2, 1000)).chain(pending()));
        let error = read_body(&memory, body, 100_000).await.err();
        assert_eq!(error.expect("given up").kind(), ErrorKind::BadRequest);
        assert_eq!(memory.used_bytes(MemoryKind::Body), 0);
    }
}
