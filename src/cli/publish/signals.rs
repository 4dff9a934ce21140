//! What a person or the system interrupts a command with.

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::cli::Failure;

pub(super) struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

/// A signal came.
pub(super) struct Interrupt(SignalKind);

impl From<Interrupt> for Failure {
    /// Exits as a shell says that a program was ended by a signal.
    fn from(Interrupt(kind): Interrupt) -> Self {
        Failure {
            text: "interrupted".to_owned(),
            code: u8::try_from(128 + kind.as_raw_value()).unwrap_or(1),
        }
    }
}

impl Signals {
    pub(super) fn new() -> Result<Self, Failure> {
        let listen = |kind| signal(kind).map_err(Failure::new);
        Ok(Signals {
            interrupt: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
        })
    }

    pub(super) async fn next(&mut self) -> Interrupt {
        tokio::select! {
            _ = self.interrupt.recv() => Interrupt(SignalKind::interrupt()),
            _ = self.terminate.recv() => Interrupt(SignalKind::terminate()),
        }
    }

    pub(super) async fn unless_interrupted<T>(
        &mut self,
        work: impl Future<Output = T>,
    ) -> Result<T, Interrupt> {
        tokio::select! {
            done = work => Ok(done),
            interrupt = self.next() => Err(interrupt),
        }
    }
}
