//! The threads of an open log.

use std::thread;

use super::refusal::no_thread;
use crate::engine::OpenError;

/// Starts a thread that ends by itself when the engine is dropped.
pub(super) fn spawn(
    name: &'static str,
    run: impl FnOnce() + Send + 'static,
) -> Result<(), OpenError> {
    let builder = thread::Builder::new().name(name.into());
    let spawned = builder.spawn(run);
    spawned.map(drop).map_err(|e| no_thread(name, &e))
}
