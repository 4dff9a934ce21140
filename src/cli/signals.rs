//! Signals by which a person or a service manager ends a command, or has it look at its
//! configuration again.

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::cli::Failure;

/// SIGINT and SIGTERM of this process.
pub(super) struct InterruptSignals {
    interrupt: Signal,
    terminate: Signal,
}

impl InterruptSignals {
    pub(super) fn listen() -> Result<Self, Failure> {
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

    /// What is ready after the first signal, and what is after the second.
    pub(super) fn first_and_second(mut self) -> [CancellationToken; 2] {
        let tokens = [CancellationToken::new(), CancellationToken::new()];
        let to_cancel = tokens.clone();
        tokio::spawn(async move {
            for token in to_cancel {
                self.next().await;
                token.cancel();
            }
        });
        tokens
    }
}

/// SIGHUP of this process, which ends it no more.
pub(super) fn listen_to_hangups() -> Result<Signal, Failure> {
    listen(SignalKind::hangup())
}

fn listen(kind: SignalKind) -> Result<Signal, Failure> {
    signal(kind).map_err(Failure::new)
}
