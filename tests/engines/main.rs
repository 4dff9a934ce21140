//! What every engine promises, checked on each of them by the public trait.

#[path = "../common/mod.rs"]
mod common;

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
        mod on_every_engine {
            use crate::bench::Bench;
            use crate::common::engines;

            $(
                #[tokio::test]
                async fn $name() {
                    for engine in engines() {
                        println!("on {}", engine.name); // shown when it fails
                        super::$name(Bench::new(engine)).await;
                    }
                }
            )*
        }
    };
}
pub(crate) use on_every_engine;
