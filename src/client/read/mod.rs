//! Reading the bus, over as many connections as it takes.

mod choice;
mod connection;
#[cfg(feature = "client-grpc")]
mod grpc;
mod item;
mod options;
mod poll;
mod sse;
mod sse_parser;
mod state;
mod status;

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_util::Stream;
use futures_util::stream::BoxStream;
use tokio::time::{Instant, Sleep, sleep};

use super::error::{ClientError, ClientErrorKind};
use super::http::GatewayHttp;
pub use item::{GapReport, Interruption, LogBounds, ReadItem};
pub use options::{GapPolicy, ReadOptions, Transport};
pub use status::{ReaderActivity, ReaderStatus};

use item::Received;
use options::ReadQuery;
use state::ReaderState;

/// What one connection brings, until it ends.
type Incoming = BoxStream<'static, Result<Received, ClientError>>;

/// Reads the bus and resumes by itself: a [`Stream`] of [`ReadItem`]s.
///
/// - Nothing runs unless the stream is polled, and dropping it closes its connection.
/// - Events come by rising vid, each once. Reading resumes behind the last item that the
///   application has finished with, which means that it has asked for the next one. To go on after
///   a restart, save the cursor of each event once it has been handled (in the transaction of the
///   handling, if it has one) and start with [`ReadOptions::after`].
/// - An error is the last item: one that passes is a [`ReadItem::Interrupted`] instead.
/// - What is not asked for is not read: a slow application holds the gateway back, and nothing is
///   dropped.
pub struct Reader {
    http: GatewayHttp,
    state: ReaderState,
    phase: ReaderPhase,
    /// The end of the wait before the next connection, or of the silence of this one.
    timer: Pin<Box<Sleep>>,
}

enum ReaderPhase {
    /// Until the timer ends.
    Waiting,
    Reading(Incoming),
    Ended,
}

impl fmt::Debug for Reader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader")
            .field("url", &self.http.address())
            .field("status", &self.status())
            .finish_non_exhaustive()
    }
}

impl Reader {
    pub(super) fn new(http: GatewayHttp, options: ReadOptions) -> Self {
        let state = ReaderState::new(options, http.clock().clone(), Instant::now());
        Reader {
            http,
            state,
            phase: ReaderPhase::Waiting,
            timer: Box::pin(sleep(Duration::ZERO)),
        }
    }

    /// The position, and what has happened until now.
    pub fn status(&self) -> ReaderStatus {
        self.state.status()
    }

    fn connect(&mut self) {
        // Making the connection is part of the stream, so it is cancelled with it.
        let query = self.state.connect(Instant::now());
        let http = self.http.clone();
        self.phase = ReaderPhase::Reading(match self.state.transport() {
            Transport::Auto | Transport::Sse => sse::read(http, query),
            Transport::LongPoll => poll::read(http, query),
            #[cfg(feature = "client-grpc")]
            Transport::Grpc => grpc::read(http, query),
        });
        self.listen_on();
    }

    /// Something came: the connection may be silent for its whole time again.
    fn listen_on(&mut self) {
        // Until the heartbeat is known, the gateway has to greet within a short time.
        let silence = self.http.clock().limit(self.state.silence());
        let deadline = Instant::now() + silence;
        self.timer.as_mut().reset(deadline);
    }

    /// Takes what the connection brought, and gives what the application gets of it.
    fn take(
        &mut self,
        received: Option<Result<Received, ClientError>>,
    ) -> Option<Result<ReadItem, ClientError>> {
        let taken = match received {
            Some(Ok(received)) => self.state.take(received),
            Some(Err(error)) => Err(error),
            // The bus has no end, so the end of a stream is only that of its connection.
            None => Err(ended("the stream ended")),
        };

        match taken {
            Ok(item) => {
                // Behind a gap the open connection may be of no use.
                if self.state.wants_new_connection() {
                    self.wait_for(Duration::ZERO);
                } else {
                    self.listen_on();
                }
                item.map(Ok)
            }
            Err(error) => Some(self.interrupted(error)),
        }
    }

    /// Waits for the next connection, or ends.
    fn interrupted(&mut self, error: ClientError) -> Result<ReadItem, ClientError> {
        match self.state.interrupted(error, Instant::now()) {
            Ok(interruption) => {
                self.wait_for(self.http.clock().wait(interruption.wait));
                Ok(ReadItem::Interrupted(interruption))
            }
            Err(error) => {
                // Nothing comes behind an error.
                self.phase = ReaderPhase::Ended;
                Err(error)
            }
        }
    }

    /// Leaves the connection, and makes the next one after this time.
    fn wait_for(&mut self, pause: Duration) {
        self.phase = ReaderPhase::Waiting;
        self.timer.as_mut().reset(Instant::now() + pause);
    }

    /// What the application gets of what a connection brings, or of its silence.
    fn poll_item(
        &mut self,
        received: Poll<Option<Result<Received, ClientError>>>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<ReadItem, ClientError>>> {
        // Whatever has come counts, also if the time for it is just over.
        if let Poll::Ready(received) = received {
            return Poll::Ready(self.take(received));
        }

        // A connection that is silent for too long is dead, although nothing has said so.
        ready!(self.timer.as_mut().poll(cx));
        let silent = self.silent();
        Poll::Ready(Some(self.interrupted(silent)))
    }

    fn silent(&self) -> ClientError {
        let seconds = self.state.silence().as_secs_f32();
        ended(&format!(
            "nothing came from {} for {seconds} s",
            self.http.address()
        ))
    }
}

fn ended(why: &str) -> ClientError {
    ClientError::new(ClientErrorKind::Unavailable, why)
}

impl Stream for Reader {
    type Item = Result<ReadItem, ClientError>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let reader = self.get_mut();

        // Whoever asks for the next item has finished with the one before.
        reader.state.finish_item();
        loop {
            match &mut reader.phase {
                ReaderPhase::Ended => return Poll::Ready(None),
                ReaderPhase::Waiting => {
                    ready!(reader.timer.as_mut().poll(cx));
                    reader.connect();
                }
                ReaderPhase::Reading(incoming) => {
                    let received = incoming.as_mut().poll_next(cx);
                    if let Some(item) = ready!(reader.poll_item(received, cx)) {
                        return Poll::Ready(Some(item));
                    }
                }
            }
        }
    }
}

/// Which statuses of a read request are worth another try: all but those that say that the request
/// itself is wrong, or is not for this reader.
fn passes(status: u16) -> bool {
    !matches!(status, 400 | 401 | 403 | 404 | 405 | 410)
}
