//! One connection to a job server.
//!
//! Invariants:
//! - every wait for the server has a bound;
//! - the server handles a connection's packets in their order, so an answer says that all before it
//!   has arrived.

use std::time::Duration;

use bytes::BytesMut;
use futures_util::StreamExt as _;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::time::timeout;
use tokio_util::codec::FramedRead;

use super::packet::{Job, Packets, Request, Response};
use crate::limits;
use crate::source::SourceFault;

pub(super) struct Connection {
    responses: FramedRead<OwnedReadHalf, Packets>,
    requests: OwnedWriteHalf,
}

impl Connection {
    /// Connects, and says which function is served.
    pub(super) async fn open(
        server: &str,
        function: &str,
        max_body_bytes: usize,
    ) -> Result<Self, SourceFault> {
        let connecting = timeout(limits::GEARMAN_CONNECT_TIMEOUT, TcpStream::connect(server)).await;
        let stream = connecting
            .map_err(|_| SourceFault::new(format!("{server} did not answer in time")))?
            .map_err(|fault| SourceFault::new(format!("{server} cannot be reached: {fault}")))?;
        let _ = stream.set_nodelay(true);
        let (responses, requests) = stream.into_split();
        let mut connection = Connection {
            responses: FramedRead::new(responses, Packets::new(max_body_bytes)),
            requests,
        };
        connection
            .send([
                Request::SetClientId { name: "vidette" },
                Request::CanDo { function },
            ])
            .await?;
        Ok(connection)
    }

    pub(super) async fn send<'a>(
        &mut self,
        requests: impl IntoIterator<Item = Request<'a>>,
    ) -> Result<(), SourceFault> {
        let mut bytes = BytesMut::new();
        requests
            .into_iter()
            .for_each(|request| request.encode(&mut bytes));
        match timeout(
            limits::GEARMAN_REPLY_TIMEOUT,
            self.requests.write_all(&bytes),
        )
        .await
        {
            Ok(Ok(())) => Ok(()),
            Ok(Err(fault)) => Err(SourceFault::new(format!(
                "the connection to the job server broke: {fault}"
            ))),
            Err(_) => Err(SourceFault::new("the job server takes nothing")),
        }
    }

    /// Asks for so many jobs at once. Fewer, or none, when there are not as many.
    pub(super) async fn grab(&mut self, jobs: usize) -> Result<Vec<Job>, SourceFault> {
        self.send(std::iter::repeat_n(Request::GrabJob, jobs))
            .await?;
        let (mut grabbed, mut unanswered) = (Vec::new(), jobs);
        while unanswered > 0 {
            match self.answer(limits::GEARMAN_REPLY_TIMEOUT).await? {
                Some(Response::Job(job)) => grabbed.push(job),
                Some(Response::NoJob) => {}
                Some(_) => continue,
                None => return Err(SourceFault::new("the job server does not answer")),
            }
            unanswered -= 1;
        }
        Ok(grabbed)
    }

    /// Waits until there may be a job, but not for ever: then it asks whether the server is still
    /// there.
    pub(super) async fn sleep(&mut self) -> Result<(), SourceFault> {
        self.send([Request::PreSleep]).await?;
        let mut patience = limits::GEARMAN_IDLE;
        loop {
            match self.answer(patience).await? {
                Some(Response::Noop | Response::Echo) => return Ok(()),
                Some(_) => {}
                None if patience == limits::GEARMAN_IDLE => {
                    self.send([Request::Echo { data: b"vidette" }]).await?;
                    patience = limits::GEARMAN_REPLY_TIMEOUT;
                }
                None => return Err(SourceFault::new("the job server does not answer")),
            }
        }
    }

    /// The next packet, or `None` when there is none in time.
    async fn answer(&mut self, within: Duration) -> Result<Option<Response>, SourceFault> {
        let response = match timeout(within, self.responses.next()).await {
            Err(_) => return Ok(None),
            Ok(None) => return Err(SourceFault::new("the job server closed the connection")),
            Ok(Some(response)) => response?,
        };
        match &response {
            // It knows a job no more that it gave; the job is in the log all the same.
            Response::Error { code, text } if code == "JOB_NOT_FOUND" => {
                tracing::debug!(text, "the job server had forgotten a job that it gave");
            }
            Response::Error { code, text } => {
                return Err(SourceFault::new(format!(
                    "the job server refuses: {code}: {text}"
                )));
            }
            _ => {}
        }
        Ok(Some(response))
    }
}
