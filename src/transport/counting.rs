//! How requests are counted by what answers them.
//!
//! Invariant: a request is counted once: by the status of its answer, or, if it is a call of gRPC,
//! by the code that ends it, which may be behind its body.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::State;
use axum::http::{HeaderMap, Method, Request, StatusCode, Uri};
use axum::response::Response;
use hyper::body::{Frame, SizeHint};
use tracing::Level;

use super::problem::grpc_content_type;
use super::state::AppState;
use crate::bus::Bus;
use crate::metrics::{CANCELLED, Transport};

const GRPC_STATUS: &str = "grpc-status";

/// What a request is counted by that does not wait for events over HTTP.
pub(super) fn transport_of_call(headers: &HeaderMap) -> Transport {
    match grpc_content_type(headers) {
        Some(_) => Transport::Grpc,
        None => Transport::Http,
    }
}

/// A request that is being answered, until it is counted.
pub(super) struct RequestTally {
    pub(super) transport: Transport,
    /// None where requests are not logged.
    logged: Option<Box<LoggedRequest>>,
}

impl RequestTally {
    pub(super) fn begin<B>(transport: Transport, request: &Request<B>) -> Self {
        let is_logged = tracing::enabled!(Level::DEBUG);
        RequestTally {
            transport,
            logged: is_logged.then(|| Box::new(LoggedRequest::of(request))),
        }
    }

    /// The same, to be counted by whoever takes it.
    pub(super) fn take(&mut self) -> Self {
        RequestTally {
            transport: self.transport,
            logged: self.logged.take(),
        }
    }

    /// Counts a request that has this answer. A call of gRPC whose code comes behind the answer's
    /// body is counted there.
    pub(super) fn count(&self, bus: &Bus, answer: &Response) {
        let (status, requests) = (answer.status(), &bus.metrics().requests);
        if let Some(request) = &self.logged {
            request.log(status);
        }
        if self.transport != Transport::Grpc {
            return requests.count_status(self.transport, status.as_u16());
        }
        match code_in(answer.headers()) {
            Some(code) => requests.count_code(code),
            None if status != StatusCode::OK => {
                requests.count_status(self.transport, status.as_u16());
            }
            None => {}
        }
    }
}

/// What is logged of a request once it is answered: nothing that it shows or carries.
struct LoggedRequest {
    method: Method,
    asked: String,
    begun: Instant,
}

impl LoggedRequest {
    fn of<B>(request: &Request<B>) -> Self {
        LoggedRequest {
            method: request.method().clone(),
            asked: what_is_asked(request.uri()),
            begun: Instant::now(),
        }
    }

    fn log(&self, status: StatusCode) {
        let LoggedRequest { method, asked, .. } = self;
        let (status, took_us) = (status.as_u16(), self.begun.elapsed().as_micros());
        tracing::debug!(%method, asked, status, took_us, "a request is answered");
    }
}

/// The parameters that may be shown: any other may be a secret.
const SHOWN_PARAMETERS: [&str; 9] = [
    "topic", "after", "since", "snapshot", "on_gap", "limit", "wait", "format", "maxvid",
];
/// What is longer is cut.
const MAX_ASKED_CHARS: usize = 200;

/// The path and the parameters of a request, without those that may be secrets.
pub(super) fn what_is_asked(uri: &Uri) -> String {
    let name_of = |parameter: &str| parameter.split('=').next().unwrap_or_default().to_owned();
    let parameters = uri.query().unwrap_or_default().split('&');
    let shown: Vec<_> = parameters
        .filter(|parameter| SHOWN_PARAMETERS.contains(&&*name_of(parameter)))
        .collect();
    let mark = if shown.is_empty() { "" } else { "?" };
    let asked = format!("{}{mark}{}", uri.path(), shown.join("&"));
    asked.chars().take(MAX_ASKED_CHARS).collect()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_be_a_secret_is_not_shown() {
        let asked = |uri: &str| what_is_asked(&uri.parse().expect("a URI"));
        let secret = "/v1/sse?access_token=hunter2&topic=door.%3E&after=3&x=topic&topic";
        assert_eq!(asked(secret), "/v1/sse?topic=door.%3E&after=3&topic");
        assert_eq!(asked("/v1/topics/door.1?id=7"), "/v1/topics/door.1");
        assert_eq!(
            asked(&format!("/{}", "x".repeat(900))).len(),
            MAX_ASKED_CHARS
        );
    }
}
