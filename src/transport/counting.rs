//! How requests are counted by what answers them.
//!
//! Invariant: a request is counted once: by the status of its answer, or, if it is a call of gRPC,
//! by the code that ends it, which may be behind its body.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use hyper::body::{Frame, SizeHint};

use super::problem::grpc_content_type;
use super::state::AppState;
use crate::bus::Bus;
use crate::metrics::{CANCELLED, Requests, Transport};

const GRPC_STATUS: &str = "grpc-status";

/// What a request is counted by that does not wait for events over HTTP.
pub(super) fn transport_of_call(headers: &HeaderMap) -> Transport {
    match grpc_content_type(headers) {
        Some(_) => Transport::Grpc,
        None => Transport::Http,
    }
}

/// Counts a request that has this answer. A call of gRPC whose code comes behind the answer's body
/// is counted there.
pub(super) fn count_answer(requests: &Requests, transport: Transport, answer: &Response) {
    let status = answer.status();
    if transport != Transport::Grpc {
        return requests.count_status(transport, status.as_u16());
    }
    match code_in(answer.headers()) {
        Some(code) => requests.count_code(code),
        None if status != StatusCode::OK => requests.count_status(transport, status.as_u16()),
        None => {}
    }
}

fn code_in(headers: &HeaderMap) -> Option<usize> {
    let code = headers.get(GRPC_STATUS)?.to_str().ok()?;
    code.parse().ok()
}

/// Has an answer's code counted when its body ends.
pub(super) async fn count_code_behind(
    State(AppState { bus, .. }): State<AppState>,
    answer: Response,
) -> Response {
    // In the head already, where it is seen without this.
    if code_in(answer.headers()).is_some() || answer.status() != StatusCode::OK {
        return answer;
    }
    answer.map(|body| {
        Body::new(CountedBody {
            body,
            not_counted: Some(bus),
        })
    })
}

/// The body of a call's answer, until it has ended with its code.
struct CountedBody {
    body: Body,
    /// None once the code has come.
    not_counted: Option<Bus>,
}

impl CountedBody {
    fn count(&mut self, code: usize) {
        if let Some(bus) = self.not_counted.take() {
            bus.metrics().requests.count_code(code);
        }
    }
}

impl HttpBody for CountedBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        if let Some(Ok(frame)) = &frame
            && let Some(code) = frame.trailers_ref().and_then(code_in)
        {
            self.count(code);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for CountedBody {
    /// Whoever has called does not wait for the end.
    fn drop(&mut self) {
        self.count(CANCELLED);
    }
}
