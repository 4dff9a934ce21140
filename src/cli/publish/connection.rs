//! One request that streams lines to the gateway, and their answers back.

use std::convert::Infallible;
use std::pin::Pin;

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _, stream};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::codec::{FramedRead, LinesCodec};
use tokio_util::io::StreamReader;

use super::unreachable;
use crate::cli::{Failure, problem_text};
use crate::limits;

/// What a connection brings.
pub(super) enum Heard {
    /// The gateway is there.
    Connected,
    /// A line's answer.
    Answer(String),
    /// The connection has gone, or the gateway is about to; nothing comes after this.
    Broken(Failure),
    /// The gateway does not take such a stream; nothing comes after this.
    Refused(Failure),
}

pub(super) type Answers = Pin<Box<dyn Stream<Item = Heard> + Send>>;

/// Where lines go in, and where answers come out.
pub(super) type Connection = (mpsc::Sender<Bytes>, Answers);

/// A gateway that answers nothing at all for a while is taken to be gone.
pub(super) fn client() -> Result<reqwest::Client, Failure> {
    let gone = limits::PUBLISH_PEER_TIMEOUT;
    let client = reqwest::Client::builder()
        .connect_timeout(gone)
        .tcp_user_timeout(gone);
    client
        .tcp_keepalive(gone / 2)
        .tcp_keepalive_interval(gone / 4)
        .build()
        .map_err(Failure::new)
}

pub(super) fn open(client: &reqwest::Client, url: &str) -> Connection {
    let (sender, lines) = mpsc::channel(limits::PUBLISH_CHUNKS);
    let body = reqwest::Body::wrap_stream(ReceiverStream::new(lines).map(Ok::<_, Infallible>));
    let request = client
        .post(format!("{url}/v1/events"))
        .header("content-type", "application/x-ndjson")
        .body(body);
    let url = url.to_owned();
    let answers = stream::once(async move {
        match request.send().await {
            Ok(response) if response.status().is_success() => heard(response).boxed(),
            Ok(response) => stream::iter([refusal(response).await]).boxed(),
            Err(fault) => stream::iter([Heard::Broken(unreachable(&url, &fault))]).boxed(),
        }
    });
    (sender, answers.flatten().boxed())
}

fn heard(response: reqwest::Response) -> impl Stream<Item = Heard> {
    let reader = StreamReader::new(
        response
            .bytes_stream()
            .map(|chunk| chunk.map_err(std::io::Error::other)),
    );
    let answers = FramedRead::new(
        reader,
        LinesCodec::new_with_max_length(limits::MAX_LINE_BYTES),
    );
    let answers = answers.map(|answer| match answer {
        Ok(answer) => Heard::Answer(answer),
        Err(fault) => Heard::Broken(Failure::new(format!(
            "the gateway's answers broke off: {fault}"
        ))),
    });
    stream::iter([Heard::Connected]).chain(answers)
}

async fn refusal(response: reqwest::Response) -> Heard {
    let is_for_later = matches!(response.status().as_u16(), 429 | 502..=504 | 507);
    let fault = Failure::new(problem_text(response).await);
    if is_for_later {
        Heard::Broken(fault)
    } else {
        Heard::Refused(fault)
    }
}
