//! One connection to a job server.
//!
//! Invariants:
//! - every wait for the server has a bound;
//! - the server handles the packets of a connection in their order, so an answer shows that all
//!   packets before it have arrived.

use std::io;
use std::time::Duration;

use bytes::BytesMut;
use futures_util::StreamExt as _;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::time::timeout;
use tokio_util::codec::FramedRead;

use super::decode::PacketDecoder;
use super::packet::{GearmanJob, ServerResponse, WorkerRequest};
use crate::limits;
use crate::source::work::SourceError;

pub(super) struct GearmanConnection {
    responses: FramedRead<OwnedReadHalf, PacketDecoder>,
    requests: OwnedWriteHalf,
}

impl GearmanConnection {
    /// Connects, and registers the function with the job server.
    pub(super) async fn open(
        server: &str,
        function: &str,
        max_body_bytes: usize,
    ) -> Result<Self, SourceError> {
        let (responses, requests) = connect(server).await?.into_split();
        let decoder = PacketDecoder::new(max_body_bytes);
        let mut connection = GearmanConnection {
            responses: FramedRead::new(responses, decoder),
            requests,
        };

        // The name is for people who look at the job server's list of workers.
        let name = WorkerRequest::SetClientId { name: "vidette" };
        let can_do = WorkerRequest::CanDo { function };
        connection.send([name, can_do]).await?;
        Ok(connection)
    }

    pub(super) async fn send<'a>(
        &mut self,
        requests: impl IntoIterator<Item = WorkerRequest<'a>>,
    ) -> Result<(), SourceError> {
        let mut bytes = BytesMut::new();
        for request in requests {
            request.encode(&mut bytes);
        }

        // A job server that reads nothing would otherwise hold the source for ever.
        let writing = self.requests.write_all(&bytes);
        let written = timeout(limits::GEARMAN_REPLY_TIMEOUT, writing).await;
        Ok(written.map_err(|_| accepts_nothing())??)
    }

    /// Asks for so many jobs at once. Returns fewer, or none, when there are not as many.
    pub(super) async fn grab(&mut self, jobs: usize) -> Result<Vec<GearmanJob>, SourceError> {
        // All requests go out before the first answer is read, so that a full queue costs one
        // round trip.
        let requests = std::iter::repeat_n(WorkerRequest::GrabJob, jobs);
        self.send(requests).await?;

        let (mut grabbed, mut unanswered) = (Vec::new(), jobs);
        while unanswered > 0 {
            match self.reply().await? {
                ServerResponse::Job(job) => grabbed.push(job),
                ServerResponse::NoJob => {}
                // Left over from before, such as a second notification of a job.
                _ => continue,
            }
            unanswered -= 1;
        }
        Ok(grabbed)
    }

    /// Waits until there may be a job. When none is announced for [`limits::GEARMAN_IDLE`] it
    /// checks that the server is still there.
    pub(super) async fn sleep(&mut self) -> Result<(), SourceError> {
        self.send([WorkerRequest::PreSleep]).await?;
        while let Some(response) = self.next(limits::GEARMAN_IDLE).await? {
            if wakes(&response) {
                return Ok(());
            }
        }

        // A silent server may be idle or gone: an echo shows which.
        let echo = WorkerRequest::Echo { data: b"vidette" };
        self.send([echo]).await?;
        while !wakes(&self.reply().await?) {}
        Ok(())
    }

    /// The next packet, which has to come soon.
    async fn reply(&mut self) -> Result<ServerResponse, SourceError> {
        let response = self.next(limits::GEARMAN_REPLY_TIMEOUT).await?;
        response.ok_or_else(silent)
    }

    /// The next packet, or `None` when none comes in time.
    async fn next(&mut self, within: Duration) -> Result<Option<ServerResponse>, SourceError> {
        let Ok(response) = timeout(within, self.responses.next()).await else {
            return Ok(None);
        };
        let response = response.ok_or_else(closed)??;

        // Any packet may be an error that belongs to an earlier request.
        if let ServerResponse::Error { code, text } = &response {
            check_error(code, text)?;
        }
        Ok(Some(response))
    }
}

async fn connect(server: &str) -> Result<TcpStream, SourceError> {
    let connecting = timeout(limits::GEARMAN_CONNECT_TIMEOUT, TcpStream::connect(server));
    let connected = connecting.await.map_err(|_| timed_out(server))?;
    let stream = connected.map_err(|error| unreachable(server, &error))?;

    // Packets are written whole; waiting to gather more would only delay them.
    let _ = stream.set_nodelay(true);
    Ok(stream)
}

fn wakes(response: &ServerResponse) -> bool {
    matches!(response, ServerResponse::Noop | ServerResponse::Echo)
}

/// A job server that has forgotten a job answers with an error to its result. The event of that job
/// is in the log, so nothing is lost.
fn check_error(code: &str, text: &str) -> Result<(), SourceError> {
    if code == "JOB_NOT_FOUND" {
        tracing::debug!(text, "the job server has forgotten a job that it gave");
        return Ok(());
    }
    Err(SourceError::new(format!(
        "the job server reports an error: {code}: {text}"
    )))
}

fn timed_out(server: &str) -> SourceError {
    SourceError::new(format!("{server} did not accept the connection in time"))
}

fn unreachable(server: &str, error: &io::Error) -> SourceError {
    SourceError::new(format!("failed to connect to {server}: {error}"))
}

fn silent() -> SourceError {
    SourceError::new("the job server does not answer")
}

fn closed() -> SourceError {
    SourceError::new("the job server closed the connection")
}

fn accepts_nothing() -> SourceError {
    SourceError::new("the job server reads nothing from the connection")
}
