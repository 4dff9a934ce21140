//! One request that streams lines to the gateway, and their answers back.

use std::convert::Infallible;
use std::io;

use bytes::Bytes;
use futures_util::stream::BoxStream;
use futures_util::{Stream, StreamExt as _, stream};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::codec::{FramedRead, LinesCodec, LinesCodecError};
use tokio_util::io::StreamReader;

use super::PublishWire;
use super::batch::passes;
use crate::client::error::ClientError;
use crate::client::http::{GatewayHttp, refusal};
use crate::client::token::BearerToken;
use crate::limits;

/// What a request brings.
pub(super) enum LineReply {
    /// The gateway has begun to answer, for this token.
    Connected(Option<BearerToken>),
    /// A line's answer.
    Answer(String),
    /// The connection has gone, or the gateway does not take the stream; nothing comes after this.
    Failed(ClientError),
}

/// What happens to a request.
pub(super) enum RequestEvent {
    /// A reply came, or the last one has come.
    Reply(Option<LineReply>),
    /// The connection takes another line.
    Space,
}

/// A request that is open, and what has become of it.
pub(super) struct LineRequest {
    /// None once the request is ended: the gateway answers what it has, and ends its answers.
    body: Option<mpsc::Sender<Bytes>>,
    replies: BoxStream<'static, LineReply>,
    /// The gateway could not take a line just then.
    pub(super) put_off: Option<ClientError>,
    ended_at: Option<Instant>,
    /// What the gateway takes its lines for.
    pub(super) token: Option<BearerToken>,
}

impl LineRequest {
    pub(super) fn open(http: &GatewayHttp, wire: &PublishWire) -> Self {
        // A short channel: lines that wait in it are not on the connection yet.
        let (body, lines) = mpsc::channel(limits::PUBLISH_CHUNKS);
        LineRequest {
            body: Some(body),
            replies: match wire {
                PublishWire::Http => replies(http.clone(), lines),
                #[cfg(feature = "client-grpc")]
                PublishWire::Grpc(channel) => {
                    super::grpc_lines::replies(http.clone(), channel.clone(), lines)
                }
            },
            put_off: None,
            ended_at: None,
            token: None,
        }
    }

    pub(super) fn is_open(&self) -> bool {
        self.body.is_some()
    }

    /// Ends the request; it is never broken off, so each line of it is answered.
    pub(super) fn end(&mut self) {
        // Dropping the sender is what ends the body.
        if self.body.take().is_some() {
            self.ended_at = Some(Instant::now());
        }
    }

    /// When an ended request that brings nothing more is taken to be lost.
    pub(super) fn lost_at(&self, heard_at: Instant) -> Instant {
        // Each answer gives it the whole time again.
        let ended_at = self.ended_at.unwrap_or(heard_at);
        ended_at.max(heard_at) + limits::PUBLISH_ANSWER_TIMEOUT
    }

    /// Waits for a reply, or until there is space for another line.
    pub(super) async fn next(&mut self, wants_space: bool) -> RequestEvent {
        // Answers are taken while lines wait for space, so neither can block the other.
        tokio::select! {
            reply = self.replies.next() => RequestEvent::Reply(reply),
            () = space(self.body.as_ref()), if wants_space => RequestEvent::Space,
        }
    }

    /// Sends a line that there is space for.
    pub(super) fn send(&self, line: Bytes) {
        if let Some(body) = &self.body {
            // A connection that has just gone takes nothing; the line stays unanswered then.
            let _ = body.try_send(line);
        }
    }
}

/// Waits until the connection takes another line; for ever where it is not read any more, of which
/// its replies say why.
async fn space(body: Option<&mpsc::Sender<Bytes>>) {
    // A reserved place is given back at once: this is the only sender, so it stays free.
    let is_open = match body {
        Some(body) => body.reserve().await.is_ok(),
        None => false,
    };
    if !is_open {
        std::future::pending::<()>().await;
    }
}

/// Sends the request, and gives what comes back.
fn replies(http: GatewayHttp, lines: mpsc::Receiver<Bytes>) -> BoxStream<'static, LineReply> {
    // Bytes of the body go out as lines come, while answers come back.
    let body = reqwest::Body::wrap_stream(ReceiverStream::new(lines).map(Ok::<_, Infallible>));
    // Until the head of the answer has come there is one thing to wait for.
    let replies = stream::once(async move {
        match begin(&http, body).await {
            Ok((response, token)) => answers(response, token).boxed(),
            Err(error) => failed(error),
        }
    });
    replies.flatten().boxed()
}

/// Sends the head of the request, and gives that of the answer.
async fn begin(
    http: &GatewayHttp,
    body: reqwest::Body,
) -> Result<(reqwest::Response, Option<BearerToken>), ClientError> {
    let token = http.token().await?;
    let request = http
        .post("/v1/events", token.as_ref())
        .header("content-type", "application/x-ndjson")
        .body(body);
    let response = request.send().await.map_err(|e| http.no_answer(&e))?;
    if response.status().is_success() {
        return Ok((response, token));
    }

    // The lines have gone with this request, so a fresh token is for the next one.
    let error = refusal(response, passes).await;
    http.refused(token.as_ref(), error.clone())?;
    Err(error)
}

pub(super) fn failed(error: ClientError) -> BoxStream<'static, LineReply> {
    stream::iter([LineReply::Failed(error)]).boxed()
}

fn answers(
    response: reqwest::Response,
    token: Option<BearerToken>,
) -> impl Stream<Item = LineReply> {
    let bytes = response
        .bytes_stream()
        .map(|chunk| chunk.map_err(|error| io::Error::other(error.without_url())));
    // An answer is short; a page that a proxy sends in its place may not be.
    let codec = LinesCodec::new_with_max_length(limits::MAX_LINE_BYTES);
    let answers = FramedRead::new(StreamReader::new(bytes), codec).map(|answer| match answer {
        Ok(answer) => LineReply::Answer(answer),
        Err(error) => LineReply::Failed(broken_off(&error)),
    });

    // The head of the answer alone shows that the gateway has been reached.
    stream::iter([LineReply::Connected(token)]).chain(answers)
}

fn broken_off(error: &LinesCodecError) -> ClientError {
    ClientError::unreachable(format!("the gateway's answers broke off: {error}"))
}
