//! Signals by which a person or a service manager ends a command.

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::cli::Failure;

/// SIGINT and SIGTERM of this process.
pub(super) struct InterruptSignals {
    interrupt: Signal,
    terminate: Signal,
}

impl InterruptSignals {
    pub(super) fn listen() -> Result<Self, Failure> {
        let listen = |kind| signal(kind).map_err(Failure::new);
        Ok(InterruptSignals {
            interrupt: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
        })
    }

    /// Waits for one; gives what the command ends with.
    pub(super) async fn next(&mut self) -> Failure {
        // SIGINT is Ctrl-C; SIGTERM comes from a service manager.
        let kind = tokio::select! {
            _ = self.interrupt.recv() => SignalKind::interrupt(),
            _ = self.terminate.recv() => SignalKind::terminate(),
        };

        // As a shell reports a program that a signal has ended.
        Failure {
            text: "interrupted".to_owned(),
            code: u8::try_from(128 + kind.as_raw_value()).unwrap_or(1),
        }
    }
}
