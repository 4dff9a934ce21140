//! What every engine promises, checked on each of them by the public trait.

mod bench;
mod closing;
mod epochs;
mod model;
mod old_versions;
mod order;
mod pages;
mod readers;
mod sqlite_only;
mod trimming;

/// Runs each of these functions on every engine.
macro_rules! on_every_engine {
    ($($name:ident),* $(,)?) => {
        mod memory {
            $(#[tokio::test] async fn $name() { super::$name(crate::bench::Bench::memory()).await; })*
        }
        mod sqlite {
            $(#[tokio::test] async fn $name() { super::$name(crate::bench::Bench::sqlite()).await; })*
        }
    };
}
pub(crate) use on_every_engine;
