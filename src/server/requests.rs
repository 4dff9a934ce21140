//! The requests of a connection that hyper drives over HTTP/1.1.
//!
//! hyper reads a stream of bytes; this follows where in it each request begins, so that a target
//! means the same wherever its request stands ([`head::encode_target`]). Invariants:
//! - every byte is passed on as it came and in its order, but for the targets of requests;
//! - a head is passed on when it is whole, within [`limits::HEADER_TIMEOUT`] of its first byte;
//!   where a request ends follows from its head alone, as hyper finds it. What is ambiguous, and
//!   all that comes behind it, is passed on untouched: hyper refuses it;
//! - the head of the next request is held back while one is answered;
//! - a peer that sends no more while it is answered has not left: whoever waits for events is
//!   notified, and hyper only when all has been answered;
//! - the last answer is let arrive ([`Lingering`]).

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, ReadBuf};
use tokio::time::{Sleep, sleep};

use super::chunks::{Chunks, Malformed};
use super::head::{self, RequestFraming};
use super::in_flight::InFlight;
use super::layered::ReadLayer;
use crate::limits;
use crate::transport::Peer;

/// Bytes of one read of a head; most are smaller.
const READ_BYTES: usize = 4096;

/// What hyper reads requests through.
pub(super) struct Requests {
    /// Read, and not looked at yet.
    input: BytesMut,
    /// Looked at, and not passed on yet.
    output: Bytes,
    state: ReadState,
    /// Runs while a head has begun and is not whole.
    head_timer: Option<Pin<Box<Sleep>>>,
    peer: Peer,
    in_flight: InFlight,
    /// All has been answered, and nothing has come since.
    is_idle: bool,
}

/// What comes next.
enum ReadState {
    /// A head, of which so many bytes were not enough.
    Head(usize),
    /// So many bytes of a body.
    SizedBody(u64),
    ChunkedBody(Chunks),
    /// Whatever it is: where the next request begins is not known.
    Unknown,
}

impl Requests {
    /// Requests that begin with these bytes.
    pub(super) fn new(first: Bytes, peer: Peer, in_flight: InFlight) -> Self {
        Requests {
            input: BytesMut::from(first),
            output: Bytes::new(),
            state: ReadState::Head(0),
            head_timer: None,
            peer,
            in_flight,
            is_idle: false,
        }
    }

    /// Looks at what was read until there is something to pass on.
    fn advance(&mut self) {
        while self.output.is_empty() && !self.input.is_empty() {
            match &mut self.state {
                // With the next request in its hands hyper would no longer look whether its peer
                // is still there.
                ReadState::Head(_) if !self.in_flight.is_none() => return,
                ReadState::Head(looked_at) => {
                    let looked_at = std::mem::replace(looked_at, self.input.len());
                    if !self.take_head(looked_at) {
                        return;
                    }
                }
                // A body that was read together with its head.
                _ => {
                    let taken = self.state.follow(&self.input);
                    self.output = self.input.split_to(taken).freeze();
                }
            }
        }
        if self.input.is_empty() {
            self.input = BytesMut::new(); // gives the memory back
        }
    }

    /// Takes a whole head; false when more of it has to come.
    fn take_head(&mut self, looked_at: usize) -> bool {
        match self.measure_head(looked_at) {
            Ok(None) if self.input.len() <= limits::MAX_HEAD_BYTES => return false,
            // Passed on as it is, but for its target.
            Ok(Some((length, body))) => {
                self.output = head::encode_target(self.input.split_to(length).freeze());
                self.state = ReadState::behind_head(body);
            }
            // Too long, or no head at all: hyper says so.
            Ok(None) | Err(_) => self.state = ReadState::Unknown,
        }
        self.head_timer = None;
        true
    }

    /// Measures a head of which so many bytes were not enough before.
    fn measure_head(
        &self,
        looked_at: usize,
    ) -> Result<Option<(usize, RequestFraming)>, httparse::Error> {
        // The first look finds what is wrong; another one is worth it only at the head's end.
        let is_first = looked_at == 0;
        if is_first || has_empty_line(&self.input[looked_at.saturating_sub(2)..]) {
            head::measure(&self.input)
        } else {
            Ok(None)
        }
    }

    /// Passes on what was looked at; false when there is nothing.
    fn pass_on(&mut self, out: &mut ReadBuf<'_>) -> bool {
        if self.output.is_empty() {
            return false;
        }
        let count = out.remaining().min(self.output.len());
        out.put_slice(&self.output.split_to(count));
        true
    }
}

/// Is there an empty line, behind the end of another one?
fn has_empty_line(bytes: &[u8]) -> bool {
    memchr::memmem::find(bytes, b"\n\r\n").is_some()
        || memchr::memmem::find(bytes, b"\n\n").is_some()
}

impl ReadState {
    fn behind_head(body: RequestFraming) -> Self {
        match body {
            RequestFraming::Sized(0) => ReadState::Head(0),
            RequestFraming::Sized(bytes) => ReadState::SizedBody(bytes),
            RequestFraming::Chunked => ReadState::ChunkedBody(Chunks::default()),
            RequestFraming::Ambiguous => ReadState::Unknown,
        }
    }

    /// Follows a body, and gives how many of the bytes belong to it. It comes to its end, and to
    /// the next head, where they do.
    fn follow(&mut self, bytes: &[u8]) -> usize {
        match self {
            ReadState::SizedBody(left) => {
                let taken =
                    usize::try_from(*left).map_or(bytes.len(), |left| left.min(bytes.len()));
                *left -= taken as u64;
                if *left == 0 {
                    *self = ReadState::Head(0);
                }
                taken
            }
            ReadState::ChunkedBody(chunks) => {
                let end = chunks.follow(bytes);
                self.follow_chunks(end).unwrap_or(bytes.len())
            }
            ReadState::Head(_) => 0,
            ReadState::Unknown => bytes.len(),
        }
    }

    /// Where a body in chunks ends, if it does.
    fn follow_chunks(&mut self, end: Result<Option<usize>, Malformed>) -> Option<usize> {
        match end {
            Ok(Some(_)) => *self = ReadState::Head(0),
            Ok(None) => {}
            Err(Malformed) => *self = ReadState::Unknown,
        }
        end.unwrap_or_default()
    }
}

impl Requests {
    /// Reads a part of a head.
    fn poll_head<S: AsyncRead + Unpin>(
        &mut self,
        stream: &mut S,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        // While one is answered a part of the next head is read ahead, and may take its time.
        let is_answering = !self.in_flight.is_none();
        if is_answering && self.input.len() > limits::MAX_HEAD_BYTES {
            return Poll::Pending; // hyper asks again when it has answered
        }
        if !is_answering && !self.input.is_empty() && self.is_head_late(context) {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }

        // On the stack, so that nothing is held while nothing comes.
        let mut bytes = [0; READ_BYTES];
        let mut bytes = ReadBuf::new(&mut bytes);
        self.is_idle = !is_answering && self.input.is_empty();
        ready!(Pin::new(stream).poll_read(context, &mut bytes))?;
        self.is_idle = false;

        match bytes.filled() {
            // Not an end for hyper, which would give up what is being answered; it asks again
            // later.
            [] if is_answering => {
                self.peer.end();
                return Poll::Pending;
            }
            [] => self.state = ReadState::Unknown,
            read => self.input.extend_from_slice(read),
        }
        Poll::Ready(Ok(()))
    }

    /// Has a head that has begun taken too long?
    fn is_head_late(&mut self, context: &mut Context<'_>) -> bool {
        let timer = self
            .head_timer
            .get_or_insert_with(|| Box::pin(sleep(limits::HEADER_TIMEOUT)));
        timer.as_mut().poll(context).is_ready()
    }

    /// Reads a part of a body to where it goes.
    fn poll_body<S: AsyncRead + Unpin>(
        &mut self,
        stream: &mut S,
        context: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let begin = out.filled().len();
        ready!(Pin::new(stream).poll_read(context, out))?;

        // What is behind the body's end is the next request's.
        let read = &out.filled()[begin..];
        let taken = self.state.follow(read);
        self.input.extend_from_slice(&read[taken..]);
        out.set_filled(begin + taken);
        Poll::Ready(Ok(()))
    }
}

impl ReadLayer for Requests {
    fn poll_read<S: AsyncRead + Unpin>(
        &mut self,
        stream: &mut S,
        context: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            // What is read already comes first.
            self.advance();
            if self.pass_on(out) {
                return Poll::Ready(Ok(()));
            }
            match self.state {
                ReadState::Head(_) => ready!(self.poll_head(stream, context))?,
                _ => return self.poll_body(stream, context, out),
            }
        }
    }

    fn is_idle(&self) -> bool {
        self.is_idle
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio_util::io::StreamReader;

    use super::*;
    use crate::server::layered::Layered;

    const STREAM: &str = "GET /a?<> HTTP/1.1\r\nX: <>\r\n\r\n\
        \r\n\nPOST /> HTTP/1.1\r\nContent-Length: 8\r\n\r\n\r\nGET <>\
        POST /< HTTP/1.1\nTransfer-Encoding: gzip, Chunked\n\n\
        0A;x=<>\r\nGET /<> a\n\r\n1\r\n>\r\n000\r\nTrailer: <>\r\n\r\n\
        HEAD /> HTTP/1.0\r\n\r\nGET /> HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n> /<>";
    const PASSED_ON: &str = "GET /a?%3C%3E HTTP/1.1\r\nX: <>\r\n\r\n\
        \r\n\nPOST /%3E HTTP/1.1\r\nContent-Length: 8\r\n\r\n\r\nGET <>\
        POST /%3C HTTP/1.1\nTransfer-Encoding: gzip, Chunked\n\n\
        0A;x=<>\r\nGET /<> a\n\r\n1\r\n>\r\n000\r\nTrailer: <>\r\n\r\n\
        HEAD /%3E HTTP/1.0\r\n\r\nGET /%3E HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n> /<>";

    /// What is read of a stream that comes in these pieces, into a buffer of this size.
    async fn read(pieces: Vec<&'static str>, buffer: usize) -> String {
        let pieces = pieces.into_iter().filter(|piece| !piece.is_empty());
        let pieces = pieces.map(|piece| Ok::<_, io::Error>(piece.as_bytes()));
        let stream = StreamReader::new(futures_util::stream::iter(pieces));
        let requests = Requests::new(Bytes::new(), Peer::default(), InFlight::default());
        let mut requests = Layered::new(requests, stream);
        let (mut all, mut bytes) = (Vec::new(), vec![0; buffer]);
        loop {
            match requests.read(&mut bytes).await.expect("bytes") {
                0 => return String::from_utf8(all).expect("text"),
                count => all.extend_from_slice(&bytes[..count]),
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig {
            failure_persistence: None,
            ..ProptestConfig::with_cases(200)
        })]

        #[test]
        fn targets_are_encoded_and_nothing_else_however_it_comes(
            mut cuts in proptest::collection::vec(0..STREAM.len(), 0..9),
            buffer in 1..200_usize,
        ) {
            cuts.extend([0, STREAM.len()]);
            cuts.sort_unstable();
            let pieces = cuts.windows(2).map(|cut| &STREAM[cut[0]..cut[1]]).collect();
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
            let read = runtime.expect("a runtime").block_on(read(pieces, buffer));
            prop_assert_eq!(read, PASSED_ON);
        }
    }

    #[tokio::test]
    async fn targets_are_encoded_where_each_byte_and_each_half_comes_by_itself() {
        let bytes = (0..STREAM.len()).map(|at| &STREAM[at..=at]);
        assert_eq!(read(bytes.collect(), 7).await, PASSED_ON);
        for cut in 1..STREAM.len() {
            let (first, second) = STREAM.split_at(cut);
            assert_eq!(read(vec![first, second], 1000).await, PASSED_ON, "{cut}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_head_that_does_not_come_is_given_up_and_silence_is_not() {
        let (near, mut far) = tokio::io::duplex(100);
        let requests = Requests::new(Bytes::new(), Peer::default(), InFlight::default());
        let mut requests = Layered::new(requests, near);
        let mut bytes = [0; 100];
        let hour = std::time::Duration::from_secs(3600);
        let silence = tokio::time::timeout(hour, requests.read(&mut bytes)).await;
        assert!(silence.is_err());
        far.write_all(b"GET / HT").await.expect("sent");
        let error = requests.read(&mut bytes).await.expect_err("no head");
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test]
    async fn the_peers_end_is_noticed_while_it_is_answered_and_is_an_end_before_and_after() {
        let (peer, in_flight) = (Peer::default(), InFlight::default());
        let first = Bytes::from_static(b"GET /1 HTTP/1.1\r\n\r\nGET /2 HTTP/1.1\r\n\r\n");
        let requests = Requests::new(first, peer.clone(), in_flight.clone());
        let mut requests = Layered::new(requests, tokio::io::empty());
        let mut bytes = [0; 100];
        for target in ["GET /1", "GET /2"] {
            let count = requests.read(&mut bytes).await.expect("a head");
            assert!(bytes[..count].starts_with(target.as_bytes()));
            let answered = in_flight.begin();
            let reading = std::pin::pin!(requests.read(&mut bytes));
            assert!(futures_util::poll!(reading).is_pending(), "{target}");
            assert!(peer.has_ended());
            drop(answered);
        }
        assert_eq!(requests.read(&mut bytes).await.expect("an end"), 0);
    }
}
