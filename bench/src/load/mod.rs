//! Readers, thousands on one thread: non-blocking sockets that are read in sweeps.
//!
//! Client and server share the machine, so what the client costs is taken from what is measured.
//! Between two sweeps the thread sleeps, as a network card gathers interrupts: without that each
//! delivery would wake the client, and the server would pay for waking it. Invariants:
//! - a connection is never dropped by this side before the end, however slow it is;
//! - what broke before publishing began is `failed` and expected to get nothing, what broke later
//!   is `lost` and missed.

mod connection;
mod events;
mod h2;
mod poll;
mod sse;

use std::io::{self, ErrorKind};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use mio::{Events, Interest, Token};
use socket2::SockRef;

use self::connection::{Connection, connect};
use super::address::Address;
use super::tally::Tally;
use crate::limits;

/// Who reads, and how.
#[derive(Clone)]
pub(crate) struct Plan {
    pub(crate) run: u32,
    pub(crate) via: Via,
    pub(crate) address: Address,
    pub(crate) readers: usize,
    /// HTTP/2 connections that the readers share; otherwise each has its own.
    pub(crate) connections: usize,
    /// Reader i reads topic i mod this.
    pub(crate) topics: usize,
    /// Added to the topics' numbers.
    pub(crate) first_topic: usize,
    pub(crate) publishers: usize,
    pub(crate) cursor: String,
    pub(crate) coalesce: Duration,
    /// Readers that hang up and come back, a second; by Server-Sent Events only.
    pub(crate) churn: f64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Via {
    Sse,
    Poll,
    Grpc,
}

/// What the thread tells while it runs.
#[derive(Default)]
pub(crate) struct Shared {
    stop: AtomicBool,
    working: AtomicBool,
    ready: AtomicUsize,
    failed: AtomicUsize,
    lost: AtomicUsize,
    delivered: AtomicU64,
    first_fault: Mutex<Option<String>>,
}

impl Shared {
    fn fault(&self, text: String) {
        self.first_fault
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get_or_insert(text);
    }
}

/// Readers that are running.
pub(crate) struct Load {
    shared: Arc<Shared>,
    thread: JoinHandle<io::Result<Counted>>,
}

/// What is left of them.
pub(crate) struct Counted {
    pub(crate) tally: Tally,
    /// Topic and events of each reader that was there when publishing began.
    pub(crate) received: Vec<(usize, u64)>,
    pub(crate) failed: usize,
    pub(crate) lost: usize,
    pub(crate) first_fault: Option<String>,
}

impl Load {
    pub(crate) fn start(plan: Plan) -> Self {
        let shared = Arc::new(Shared::default());
        let told = shared.clone();
        Load {
            shared,
            thread: std::thread::spawn(move || Sweeper::new(plan, told)?.run()),
        }
    }

    pub(crate) fn ready(&self) -> usize {
        self.shared.ready.load(Ordering::Relaxed)
    }

    pub(crate) fn failed(&self) -> usize {
        self.shared.failed.load(Ordering::Relaxed)
    }

    pub(crate) fn delivered(&self) -> u64 {
        self.shared.delivered.load(Ordering::Relaxed)
    }

    pub(crate) fn is_running(&self) -> bool {
        !self.thread.is_finished()
    }

    /// From now on a reader that breaks is one that was lost.
    pub(crate) fn work(&self) {
        self.shared.working.store(true, Ordering::Relaxed);
    }

    pub(crate) fn finish(self) -> Result<Counted, String> {
        let lost = self.shared.lost.load(Ordering::Relaxed); // before the readers hang up
        self.shared.stop.store(true, Ordering::Relaxed);
        let counted = self
            .thread
            .join()
            .map_err(|_| "the thread of the readers panicked".to_owned())?;
        counted
            .map(|counted| Counted { lost, ..counted })
            .map_err(|e| format!("the readers: {e}"))
    }
}

/// One connection's protocol, with the readers on it.
trait Wire {
    /// What to send once connected. A reader that comes back says what it has.
    fn begin(&mut self, out: &mut Vec<u8>);
    /// Takes the next bytes, and may answer them.
    fn take(&mut self, bytes: &[u8], with: &mut With<'_>) -> Result<(), String>;
    /// The readers that read now.
    fn reading(&self) -> usize;
    /// The readers that have been refused or whose stream has ended, while the connection goes on.
    fn ended(&self) -> usize {
        0
    }
    fn readers(&self) -> usize {
        1
    }
    /// The connection is gone, and is to be made again.
    fn hang_up(&mut self) {}
    /// Topic and events of the readers that read, or did so while it counted.
    fn received(&self) -> Vec<(usize, u64)>;
}

/// What a wire works with.
struct With<'a> {
    tally: &'a mut Tally,
    out: &'a mut Vec<u8>,
    working: bool,
}

struct Sweeper {
    plan: Plan,
    shared: Arc<Shared>,
    poll: mio::Poll,
    connections: Vec<Connection>,
    opening: usize,
    /// When the next reader hangs up.
    next_churn: Option<Instant>,
    sources: u32,
    tally: Tally,
    buffer: Vec<u8>,
}

impl Sweeper {
    fn new(plan: Plan, shared: Arc<Shared>) -> io::Result<Self> {
        let wires: Vec<Box<dyn Wire>> = match plan.via {
            Via::Sse => (0..plan.readers)
                .map(|i| Box::new(sse::Sse::new(&plan, i)) as Box<dyn Wire>)
                .collect(),
            Via::Poll => (0..plan.readers)
                .map(|i| Box::new(poll::LongPoll::new(&plan, i)) as Box<dyn Wire>)
                .collect(),
            Via::Grpc => (0..plan.connections)
                .map(|c| Box::new(h2::H2::new(&plan, c)) as Box<dyn Wire>)
                .collect(),
        };
        let connections: Vec<_> = wires.into_iter().map(Connection::new).collect();
        Ok(Sweeper {
            poll: mio::Poll::new()?,
            opening: 0,
            next_churn: None,
            // With more on one source address, finding it a free port takes long.
            sources: u32::try_from(connections.len().div_ceil(limits::CONNECTIONS_A_SOURCE))
                .unwrap_or(1)
                .max(1),
            tally: Tally::new(plan.run),
            buffer: vec![0; limits::READ_BYTES],
            connections,
            shared,
            plan,
        })
    }

    fn run(mut self) -> io::Result<Counted> {
        // Room for all: none waits for the next sweep.
        let mut events = Events::with_capacity(self.connections.len() + 1);
        let mut next = 0;
        while !self.shared.stop.load(Ordering::Relaxed) {
            while next < self.connections.len() && self.opening < limits::OPENING {
                self.open(next);
                next += 1;
            }
            match self.poll.poll(&mut events, Some(Duration::from_millis(20))) {
                Err(e) if e.kind() == ErrorKind::Interrupted => continue,
                polled => polled?,
            }
            self.churn();
            for event in &events {
                self.event(event.token().0, event);
            }
            self.shared
                .delivered
                .store(self.tally.delivered, Ordering::Relaxed);
            if !self.plan.coalesce.is_zero() {
                std::thread::sleep(self.plan.coalesce);
            }
        }
        Ok(self.counted())
    }

    fn open(&mut self, at: usize) {
        self.opening += 1;
        self.connections[at].is_opening = true;
        match connect(self.plan.address.socket, at, self.sources) {
            Ok(mut socket) => {
                let both = Interest::READABLE | Interest::WRITABLE;
                let registered = self.poll.registry().register(&mut socket, Token(at), both);
                self.connections[at].socket = Some(socket);
                if let Err(e) = registered {
                    self.close(at, &e.to_string());
                }
            }
            Err(e) => self.close(at, &format!("cannot connect: {e}")),
        }
    }

    fn event(&mut self, at: usize, event: &mio::event::Event) {
        let connection = &mut self.connections[at];
        let before = (connection.wire.reading(), connection.wire.ended());
        let mut with = With {
            tally: &mut self.tally,
            out: &mut Vec::new(),
            working: self.shared.working.load(Ordering::Relaxed),
        };
        let outcome = connection.serve(event, &mut self.buffer, &mut with);
        let after = (connection.wire.reading(), connection.wire.ended());
        self.note(before, after);
        if self.connections[at].hangs_up_after == Some(0) {
            self.come_back(at);
        } else if let Err(fault) = outcome {
            self.close(at, &fault);
        } else if after.0 + after.1 == self.connections[at].wire.readers() {
            self.opened(at);
        }
    }

    /// Chooses who hangs up next: behind any byte of what comes, so also within an event.
    fn churn(&mut self) {
        if self.plan.churn <= 0.0 || !self.shared.working.load(Ordering::Relaxed) {
            return;
        }
        let next = *self.next_churn.get_or_insert_with(Instant::now);
        if next <= Instant::now() {
            self.next_churn = Some(next + Duration::from_secs_f64(1.0 / self.plan.churn));
            let at = fastrand::usize(..self.connections.len());
            let connection = &mut self.connections[at];
            if connection.socket.is_some() && connection.wire.reading() > 0 {
                connection.hangs_up_after = Some(fastrand::usize(1..=limits::HANG_UP_BYTES));
            }
        }
    }

    /// Hangs up, half of the times without a goodbye, and connects again.
    fn come_back(&mut self, at: usize) {
        let connection = &mut self.connections[at];
        let reading = connection.wire.reading();
        let socket = connection.hang_up().filter(|_| fastrand::bool());
        let _ = socket.map(|socket| SockRef::from(&socket).set_linger(Some(Duration::ZERO)));
        self.note((reading, 0), (0, 0));
        self.tally.reconnects += 1;
        self.open(at);
    }

    /// Tells what has become of a connection's readers.
    fn note(&self, before: (usize, usize), after: (usize, usize)) {
        let shared = &self.shared;
        shared.ready.fetch_add(after.0, Ordering::Relaxed);
        shared.ready.fetch_sub(before.0, Ordering::Relaxed);
        let gone = after.1 - before.1;
        if gone > 0 {
            let counter = if shared.working.load(Ordering::Relaxed) {
                &shared.lost
            } else {
                &shared.failed
            };
            counter.fetch_add(gone, Ordering::Relaxed);
            shared.fault("the server refused or ended a stream".to_owned());
        }
    }

    fn opened(&mut self, at: usize) {
        self.opening -= usize::from(std::mem::take(&mut self.connections[at].is_opening));
    }

    fn close(&mut self, at: usize, fault: &str) {
        self.opened(at);
        let connection = &mut self.connections[at];
        connection.socket = None;
        let reading = connection.wire.reading();
        let never_read = connection.wire.readers() - connection.wire.ended() - reading;
        self.shared.failed.fetch_add(never_read, Ordering::Relaxed);
        if self.shared.working.load(Ordering::Relaxed) {
            self.shared.lost.fetch_add(reading, Ordering::Relaxed);
        } else {
            connection.is_excluded = true;
            self.shared.failed.fetch_add(reading, Ordering::Relaxed);
            self.shared.ready.fetch_sub(reading, Ordering::Relaxed);
        }
        self.shared.fault(format!("connection {at}: {fault}"));
    }

    fn counted(self) -> Counted {
        for socket in self.connections.iter().filter_map(|c| c.socket.as_ref()) {
            // A reset leaves nothing behind in TIME_WAIT, which the next run would stumble over.
            let _ = SockRef::from(socket).set_linger(Some(Duration::ZERO));
        }
        let counting = self.connections.iter().filter(|c| !c.is_excluded);
        Counted {
            received: counting.flat_map(|c| c.wire.received()).collect(),
            failed: self.shared.failed.load(Ordering::Relaxed),
            lost: 0,
            first_fault: self
                .shared
                .first_fault
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .take(),
            tally: self.tally,
        }
    }
}
