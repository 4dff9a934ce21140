//! The thread of the readers: opens their connections, and reads them in sweeps.

use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use mio::{Events, Interest, Token};
use socket2::SockRef;

use super::connection::{Connection, connect};
use super::grpc::GrpcWire;
use super::nats::NatsWire;
use super::pipe::Pipe;
use super::poll::LongPollWire;
use super::sse::SseWire;
use super::wire::{ReaderCounts, Wire, WireContext};
use super::{LoadState, ReaderPlan, ReaderResults, Transport};
use crate::access::Protocol;
use crate::limits;
use crate::tally::Tally;

/// How long a sweep waits for an event before it looks whether it has to stop.
const SWEEP_WAIT: Duration = Duration::from_millis(20);

pub(super) struct Sweeper {
    plan: ReaderPlan,
    state: Arc<LoadState>,
    poll: mio::Poll,
    connections: Vec<Connection>,
    opening: usize,
    /// When the next reader hangs up.
    next_churn: Option<Instant>,
    /// Loopback addresses from which to connect.
    sources: u32,
    tally: Tally,
    buffer: Vec<u8>,
}

impl Sweeper {
    pub(super) fn new(plan: ReaderPlan, state: Arc<LoadState>) -> io::Result<Self> {
        let connections: Vec<_> = wires(&plan).map(Connection::new).collect();
        Ok(Sweeper {
            poll: mio::Poll::new()?,
            opening: 0,
            next_churn: None,
            sources: source_addresses(connections.len()),
            tally: Tally::new(plan.run),
            buffer: vec![0; limits::READ_BYTES],
            connections,
            state,
            plan,
        })
    }

    pub(super) fn run(mut self) -> io::Result<ReaderResults> {
        // With capacity for all, no event waits for the next sweep.
        let mut events = Events::with_capacity(self.connections.len() + 1);
        let mut next = 0;
        while !self.state.stop.load(Ordering::Relaxed) {
            // Opening goes on between sweeps, so that those that are connected are served
            // meanwhile.
            next = self.open_from(next);
            match self.poll.poll(&mut events, Some(SWEEP_WAIT)) {
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                polled => polled?,
            }
            self.churn();
            self.sweep(&events);

            // Meanwhile further events gather, which the next sweep takes together.
            if !self.plan.coalesce.is_zero() {
                std::thread::sleep(self.plan.coalesce);
            }
        }
        Ok(self.results())
    }

    fn sweep(&mut self, events: &Events) {
        for event in events {
            self.handle(event.token().0, event);
        }

        // Stored once a sweep: precise enough for the progress, and no cost for each event.
        let delivered = &self.state.delivered;
        delivered.store(self.tally.delivered, Ordering::Relaxed);
    }

    /// Opens further connections, not too many at once. Returns which one is next.
    fn open_from(&mut self, mut next: usize) -> usize {
        while next < self.connections.len() && self.opening < limits::OPENING {
            self.open(next);
            next += 1;
        }
        next
    }

    fn open(&mut self, at: usize) {
        // Counted until it has opened or failed, which bounds how many are made at once.
        self.opening += 1;
        self.connections[at].is_opening = true;
        match self.begin_to_connect(at) {
            Ok(pipe) => self.connections[at].pipe = Some(pipe),
            Err(error) => self.close(at, &format!("failed to connect: {error}")),
        }
    }

    fn begin_to_connect(&self, at: usize) -> io::Result<Pipe> {
        let address = &self.plan.address;
        let mut socket = connect(address.socket, at, self.sources)?;

        // Writable means connected, and that more of a request can be sent.
        let both = Interest::READABLE | Interest::WRITABLE;
        let registry = self.poll.registry();
        registry.register(&mut socket, Token(at), both)?;

        // Until then it is only memory: the handshake begins with the connection.
        let session = self.plan.access.session(address, protocol(self.plan.via))?;
        Ok(Pipe::new(socket, session))
    }

    fn handle(&mut self, at: usize, event: &mio::event::Event) {
        let connection = &mut self.connections[at];
        let before = ReaderCounts::of(&*connection.wire);

        // The protocol counts events and may write an answer; everything else is done here.
        let mut context = WireContext {
            tally: &mut self.tally,
            out: &mut Vec::new(),
            working: self.state.is_working(),
        };
        let outcome = connection.serve(event, &mut self.buffer, &mut context);
        let after = ReaderCounts::of(&*connection.wire);
        self.note(before, after);

        // A reader that hangs up is not one that the server has cut.
        if self.connections[at].hangs_up_after == Some(0) {
            self.come_back(at);
        } else if let Err(error) = outcome {
            self.close(at, &error);
        } else if after.total() == self.connections[at].wire.readers() {
            self.opened(at);
        }
    }

    /// Chooses who hangs up next: behind any byte of the stream, so also within an event.
    fn churn(&mut self) {
        if self.plan.churn <= 0.0 || !self.state.is_working() {
            return;
        }

        // Due times are kept, so that a slow sweep makes up for what it missed.
        let next = *self.next_churn.get_or_insert_with(Instant::now);
        if next <= Instant::now() {
            self.next_churn = Some(next + Duration::from_secs_f64(1.0 / self.plan.churn));
            self.choose_to_hang_up();
        }
    }

    fn choose_to_hang_up(&mut self) {
        let at = fastrand::usize(..self.connections.len());
        // One that is being connected has nothing to hang up on; another round chooses another one.
        let connection = &mut self.connections[at];
        if connection.pipe.is_some() && connection.wire.reading() > 0 {
            connection.hangs_up_after = Some(fastrand::usize(1..=limits::HANG_UP_BYTES));
        }
    }

    /// Hangs up and connects again.
    fn come_back(&mut self, at: usize) {
        let connection = &mut self.connections[at];
        let before = ReaderCounts {
            reading: connection.wire.reading(),
            ended: 0,
        };

        // Half of them reset the connection instead of closing it.
        if let Some(pipe) = connection.hang_up().filter(|_| fastrand::bool()) {
            reset_on_close(&pipe.socket);
        }

        // Until its new stream has begun, it is not among the connected readers.
        self.note(before, ReaderCounts::default());
        self.tally.reconnects += 1;
        self.open(at);
    }

    /// Counts what has become of a connection's readers.
    fn note(&self, before: ReaderCounts, after: ReaderCounts) {
        let ready = &self.state.ready;
        ready.fetch_add(after.reading, Ordering::Relaxed);
        ready.fetch_sub(before.reading, Ordering::Relaxed);

        // Streams end one by one while their connection goes on.
        let gone = after.ended - before.ended;
        if gone > 0 {
            self.state.gone().fetch_add(gone, Ordering::Relaxed);
            let text = "the server refused or ended a stream";
            self.state.note_error(text.to_owned());
        }
    }

    fn opened(&mut self, at: usize) {
        // Counted down once, whether the connection has opened or failed.
        let was_opening = std::mem::take(&mut self.connections[at].is_opening);
        self.opening -= usize::from(was_opening);
    }

    fn close(&mut self, at: usize, error: &str) {
        self.opened(at);
        let connection = &mut self.connections[at];
        connection.pipe = None;

        // Readers that were never connected failed, whenever that is noticed.
        let counts = ReaderCounts::of(&*connection.wire);
        let never_read = connection.wire.readers() - counts.total();
        let failed = &self.state.failed;
        failed.fetch_add(never_read, Ordering::Relaxed);
        self.close_readers(at, counts.reading);
        self.state.note_error(format!("connection {at}: {error}"));
    }

    /// Counts those that were reading. Before the run counts they are expected to receive nothing.
    fn close_readers(&mut self, at: usize, reading: usize) {
        // Read once, because the run may begin to count at any moment.
        let is_working = self.state.is_working();
        self.state.gone().fetch_add(reading, Ordering::Relaxed);
        if !is_working {
            self.connections[at].is_excluded = true;
            self.state.ready.fetch_sub(reading, Ordering::Relaxed);
        }
    }

    fn results(self) -> ReaderResults {
        // A reset leaves nothing behind in TIME_WAIT, which would slow the next run down.
        let pipes = self.connections.iter().filter_map(|c| c.pipe.as_ref());
        pipes.for_each(|pipe| reset_on_close(&pipe.socket));

        let counting = self.connections.iter().filter(|c| !c.is_excluded);
        ReaderResults {
            received: counting.flat_map(|c| c.wire.received()).collect(),
            failed: self.state.failed.load(Ordering::Relaxed),
            lost: 0,
            first_error: self.state.first_error().take(),
            tally: self.tally,
        }
    }
}

fn wires(plan: &ReaderPlan) -> impl Iterator<Item = Box<dyn Wire>> {
    let connections = match plan.via {
        Transport::Sse | Transport::Poll => plan.readers,
        Transport::Grpc => plan.connections,
    };
    (0..connections).map(|connection| wire(plan, connection))
}

fn wire(plan: &ReaderPlan, connection: usize) -> Box<dyn Wire> {
    match plan.via {
        Transport::Sse if plan.address.is_nats => Box::new(NatsWire::new(plan, connection)),
        Transport::Sse => Box::new(SseWire::new(plan, connection)),
        Transport::Poll => Box::new(LongPollWire::new(plan, connection)),
        Transport::Grpc => Box::new(GrpcWire::new(plan, connection)),
    }
}

fn protocol(via: Transport) -> Protocol {
    match via {
        Transport::Sse | Transport::Poll => Protocol::Http1,
        Transport::Grpc => Protocol::Http2,
    }
}

fn source_addresses(connections: usize) -> u32 {
    let addresses = connections.div_ceil(limits::CONNECTIONS_PER_SOURCE);
    u32::try_from(addresses).unwrap_or(1).max(1)
}

fn reset_on_close(socket: &mio::net::TcpStream) {
    // With a linger time of zero, closing sends a reset instead of an orderly end.
    let _ = SockRef::from(socket).set_linger(Some(Duration::ZERO));
}
