//! Lines on their way to standard error, which a thread of their own writes.
//!
//! A terminal that is stopped, or a pipe whose reader hangs, takes no more bytes, and whoever
//! writes to it waits. Invariants:
//! - whoever logs only adds to a queue of at most [`limits::LOG_QUEUE_BYTES`]; what does not fit is
//!   lost, and how many lines were is logged as soon as lines are taken again;
//! - an end of the terminal or the pipe ends nothing: what is logged from then on is lost;
//! - the end of the process waits for the queue, and no longer than [`limits::LOG_FLUSH`].

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd as _;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use tracing_subscriber::fmt::MakeWriter;

use crate::limits;

/// What is logged goes here. A clone is the same queue.
#[derive(Clone, Default)]
pub(super) struct LogQueue(Arc<Shared>);

/// Waits, when dropped, until what was logged is written.
pub(crate) struct LogFlush(LogQueue);

#[derive(Default)]
struct Shared {
    pending: Mutex<Pending>,
    /// Something was added, or all was written.
    changed: Condvar,
}

#[derive(Default)]
struct Pending {
    /// Whole lines, in their order.
    lines: Vec<u8>,
    /// Lines that did not fit since the last ones were written.
    lost: u64,
    is_writing: bool,
}

impl LogQueue {
    /// A queue to standard error.
    pub(super) fn start() -> (Self, LogFlush) {
        Self::to(standard_error())
    }

    fn to(out: Box<dyn Write + Send>) -> (Self, LogFlush) {
        let queue = LogQueue::default();
        let of_thread = queue.clone();
        let thread = std::thread::Builder::new().name("logs".to_owned());
        // Without a thread there are no logs, and the gateway serves all the same.
        let _ = thread.spawn(move || of_thread.write_all_that_comes(out));
        (queue.clone(), LogFlush(queue))
    }

    fn pending(&self) -> MutexGuard<'_, Pending> {
        let pending = &self.0.pending;
        pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, line: &[u8]) {
        let mut pending = self.pending();
        if pending.lines.len() + line.len() > limits::LOG_QUEUE_BYTES {
            pending.lost += 1;
            return;
        }
        pending.lines.extend_from_slice(line);
        drop(pending);
        self.0.changed.notify_all();
    }

    /// Writes for as long as the process lives.
    fn write_all_that_comes(&self, mut out: Box<dyn Write + Send>) {
        loop {
            let lines = self.next_lines();
            // With nobody to read them they are lost, and so is any word about that.
            let written = out.write_all(&lines);
            let lost = self.have_written();
            if written.is_ok() && lost > 0 {
                tracing::warn!(lines = lost, "lines of this log are lost: nobody took them");
            }
        }
    }

    /// Waits for lines, and takes them.
    fn next_lines(&self) -> Vec<u8> {
        let mut pending = self.pending();
        while pending.lines.is_empty() {
            let waited = self.0.changed.wait(pending);
            pending = waited.unwrap_or_else(PoisonError::into_inner);
        }
        pending.is_writing = true;
        std::mem::take(&mut pending.lines)
    }

    /// Gives how many lines were lost meanwhile.
    fn have_written(&self) -> u64 {
        let mut pending = self.pending();
        pending.is_writing = false;
        self.0.changed.notify_all();
        std::mem::take(&mut pending.lost)
    }
}

impl Drop for LogFlush {
    fn drop(&mut self) {
        let queue = &self.0;
        let is_pending = |pending: &mut Pending| pending.is_writing || !pending.lines.is_empty();
        let changed = &queue.0.changed;
        // A reader that hangs is left to itself.
        let _ = changed.wait_timeout_while(queue.pending(), limits::LOG_FLUSH, is_pending);
    }
}

/// Not the one of the standard library, whose lock others would wait for.
fn standard_error() -> Box<dyn Write + Send> {
    match io::stderr().as_fd().try_clone_to_owned() {
        Ok(own) => Box::new(File::from(own)),
        Err(_) => Box::new(io::stderr()),
    }
}

impl Write for LogQueue {
    /// Takes a whole line at a time, as it is formatted.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.add(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for LogQueue {
    type Writer = LogQueue;

    fn make_writer(&'a self) -> LogQueue {
        self.clone()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;
    use std::time::Instant;

    use super::*;

    #[test]
    fn what_was_logged_is_written_in_its_order_before_the_end() {
        let (mut reader, writer) = io::pipe().expect("a pipe");
        let (queue, flush) = LogQueue::to(Box::new(writer));
        let lines: Vec<String> = (0..1000).map(|n| format!("line {n}\n")).collect();
        for line in &lines {
            queue.add(line.as_bytes());
        }
        drop(flush);
        let mut read = vec![0; lines.concat().len()];
        reader.read_exact(&mut read).expect("all of it");
        assert_eq!(String::from_utf8_lossy(&read), lines.concat());
    }

    #[test]
    fn nobody_waits_for_a_reader_that_reads_nothing_and_memory_is_bounded() {
        let (reader, writer) = io::pipe().expect("a pipe");
        let (queue, flush) = LogQueue::to(Box::new(writer));
        let line = [b'x'; 1000];
        for _ in 0..5000 {
            queue.add(&line);
        }
        let pending = queue.pending();
        assert!(pending.lines.len() <= limits::LOG_QUEUE_BYTES);
        assert!(pending.lost > 1000, "{} are lost", pending.lost);
        drop(pending);

        let began = Instant::now();
        drop(flush);
        assert!(began.elapsed() >= limits::LOG_FLUSH, "it waits for a while");
        drop(reader);
    }

    #[test]
    fn an_end_of_the_reader_ends_nothing() {
        let (reader, writer) = io::pipe().expect("a pipe");
        drop(reader);
        let (queue, flush) = LogQueue::to(Box::new(writer));
        for _ in 0..10 {
            queue.add(b"a line\n");
        }
        drop(flush);
        assert!(queue.pending().lines.is_empty(), "they were taken");
    }
}
