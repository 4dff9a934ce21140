//! An answer's body made of pieces that other answers share.
//!
//! Invariants:
//! - pieces are not copied, unless all of them together are small: one write of one piece costs
//!   less then;
//! - a piece is paid from the memory budget until the connection has taken it.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::BoxError;
use axum::body::{Body, Bytes, HttpBody};
use axum::response::Response;
use http_body_util::BodyExt as _;
use hyper::body::{Frame, SizeHint};

use crate::limits;
use crate::memory::{MemoryBudget, MemoryKind};

struct Pieces {
    rest: std::vec::IntoIter<Bytes>,
    left_bytes: u64,
}

/// A body of these pieces, in their order.
pub(super) fn body(memory: &MemoryBudget, pieces: Vec<Bytes>) -> Body {
    // One write of one piece costs less than several of small ones.
    let bytes: usize = pieces.iter().map(Bytes::len).sum();
    if bytes < limits::PAID_FROM_BYTES {
        return pieces.concat().into();
    }
    // A piece that several connections hold is paid once.
    let shared: Vec<_> = pieces
        .into_iter()
        .map(|piece| memory.share(piece))
        .collect();
    Body::new(Pieces {
        rest: shared.into_iter(),
        left_bytes: bytes as u64,
    })
}

/// Any other answer, paid as its pieces come.
pub(super) fn paid<B>(memory: &MemoryBudget, response: http::Response<B>) -> Response
where
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    let memory = memory.clone();
    // Trailers cost nothing worth counting.
    response.map(|body| {
        let pay = move |piece| memory.own(MemoryKind::Answer, piece);
        Body::new(body.map_frame(move |frame| frame.map_data(&pay)))
    })
}

impl HttpBody for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let piece = self.rest.next();
        self.left_bytes -= piece.as_ref().map_or(0, |piece| piece.len() as u64);
        Poll::Ready(piece.map(|piece| Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.len() == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left_bytes)
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;

    use super::*;

    #[tokio::test]
    async fn pieces_come_in_order_and_are_paid_until_they_are_taken() {
        let memory = MemoryBudget::new(1 << 20);
        let paid = || memory.used_bytes(MemoryKind::Page);
        let large = Bytes::from(vec![b'x'; 10_000]);
        let pieces = vec![Bytes::from_static(b"ab"), large.clone(), large];
        let mut body = body(&memory, pieces.clone());
        assert_eq!(body.size_hint().exact(), Some(20_002));
        assert_eq!(paid(), 10_000, "the same piece is paid once");
        let mut taken = Vec::new();
        while let Some(frame) = body.frame().await {
            taken.push(frame.expect("no error").into_data().expect("data"));
        }
        assert_eq!(taken, pieces);
        assert!(body.is_end_stream());
        drop((body, taken));
        assert_eq!(paid(), 0);
    }

    #[tokio::test]
    async fn small_pieces_are_one() {
        let memory = MemoryBudget::new(1 << 20);
        let pieces = vec![Bytes::from_static(b"ab"), Bytes::from_static(b"cd")];
        let mut body = body(&memory, pieces);
        let frame = body.frame().await.expect("a frame").expect("no error");
        assert_eq!(frame.into_data().expect("data"), "abcd");
        assert!(body.is_end_stream());
    }
}
